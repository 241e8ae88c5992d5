"""HSTU as a kind of recommender: its options, and how they become a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from patchrec.recommenders.factories import item_model_kind
from patchrec.recommenders.sasrec import SHAPE, TransformerOptions
from patchrec.recommenders.sasrec import TRAINING as SASREC_TRAINING

if TYPE_CHECKING:
    from torch import nn


class HSTUOptions(TransformerOptions):
    """Size and regularisation of the transducer."""


def make_hstu(num_items: int, max_items: int, options: HSTUOptions) -> nn.Module:
    """A new model of so many items for histories of at most `max_items`; weights come from torch's generator."""
    from patchrec.model.hstu import HSTU

    return HSTU(
        num_items,
        max_items,
        **options.size,
    )


# Chosen on the validation targets of ml-100k among two settings (docs/results.md).
TRAINING = SASREC_TRAINING
KIND = item_model_kind(
    "hstu",
    "gated attention without a softmax, by distance and by time",
    make_hstu,
    options=HSTUOptions,
    training=TRAINING,
    shape=SHAPE,
    defaults_from="measured for hstu",
    source="Zhai et al., Actions Speak Louder than Words, ICML 2024",
)
