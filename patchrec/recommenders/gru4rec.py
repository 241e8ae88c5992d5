"""GRU4Rec as a kind of recommender: its options, and how they become a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from patchrec.options import Options
from patchrec.recommenders.factories import item_model_kind
from patchrec.recommenders.sasrec import SHAPE
from patchrec.recommenders.sasrec import TRAINING as SASREC_TRAINING

if TYPE_CHECKING:
    from torch import nn


class GRU4RecOptions(Options):
    """Size and regularisation of the recurrent network, and what it learns by."""

    width: int = Field(64, ge=1, le=2**48, description="size of item vectors and states")
    layers: int = Field(1, ge=1, le=1_024, description="recurrent layers")
    dropout: float = Field(0.3, ge=0, lt=1, description="share of activations dropped in training")
    loss: Literal["softmax", "bpr-max", "top1"] = Field(
        "softmax", description="over all items, or one of the published losses against items drawn"
    )
    negatives: int = Field(
        256, ge=2, le=1_048_576, description="items that bpr-max and top1 compare targets with, drawn anew each step"
    )
    penalty: float = Field(1.0, ge=0, description="of bpr-max: weight of the squared scores of items drawn")


def make_gru4rec(num_items: int, max_items: int, options: GRU4RecOptions) -> nn.Module:
    """A new model of so many items for histories of at most `max_items`; weights come from torch's generator."""
    from patchrec.model.gru4rec import GRU4Rec

    return GRU4Rec(
        num_items,
        max_items,
        width=options.width,
        layers=options.layers,
        dropout=options.dropout,
        loss=options.loss,
        negatives=options.negatives,
        penalty=options.penalty,
    )


TRAINING = SASREC_TRAINING
KIND = item_model_kind(
    "gru4rec",
    "a recurrent network over item identifiers",
    make_gru4rec,
    options=GRU4RecOptions,
    training=TRAINING,
    shape=SHAPE,
    source="Hidasi et al., Session-based Recommendations with Recurrent Neural Networks, ICLR 2016",
)
