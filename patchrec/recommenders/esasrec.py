"""eSASRec as a kind of recommender: its options, and how they become a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from patchrec.recommenders.factories import item_model_kind
from patchrec.recommenders.sasrec import SHAPE, TransformerOptions
from patchrec.recommenders.sasrec import TRAINING as SASREC_TRAINING

if TYPE_CHECKING:
    from torch import nn


class ESASRecOptions(TransformerOptions):
    """Size and regularisation of the transformer, and how many items its loss compares."""

    dropout: float = Field(0.4, ge=0, lt=1, description="share of activations dropped in training")
    negatives: int = Field(
        256, ge=1, le=1_048_576, description="items that each step's loss compares targets with, drawn anew"
    )


def make_esasrec(num_items: int, max_items: int, options: ESASRecOptions) -> nn.Module:
    """A new model of so many items for histories of at most `max_items`; weights come from torch's generator."""
    from patchrec.model.esasrec import ESASRec

    return ESASRec(
        num_items,
        max_items,
        **options.size,
        negatives=options.negatives,
    )


# Chosen on the validation targets of ml-100k among six settings (docs/results.md).
TRAINING = SASREC_TRAINING | {"epochs": 20, "learning_rate": 2e-3}
KIND = item_model_kind(
    "esasrec",
    "SASRec with gated layers and a softmax over sampled items",
    make_esasrec,
    options=ESASRecOptions,
    training=TRAINING,
    shape=SHAPE,
    defaults_from="measured for esasrec",
    source="Tikhonovich et al., eSASRec, RecSys 2025",
)
