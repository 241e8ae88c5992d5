"""GRU4Rec as a kind of recommender: its options, and how they become a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

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
    negatives: int | None = Field(
        None, ge=2, le=1_048_576, description="items drawn in each step, with bpr-max and top1; 256 unless given"
    )
    penalty: float | None = Field(
        None, ge=0, description="weight of their squared scores, with bpr-max; 1 unless given"
    )

    @model_validator(mode="after")
    def _belong_to_the_loss(self) -> GRU4RecOptions:
        if self.negatives is not None and self.loss == "softmax":
            raise ValueError("--negatives belongs to --loss bpr-max or top1; the softmax is over all items")
        if self.penalty is not None and self.loss != "bpr-max":
            raise ValueError(f"--penalty belongs to --loss bpr-max, not to {self.loss}")
        return self


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
        negatives=options.negatives or 256,
        penalty=1.0 if options.penalty is None else options.penalty,
    )


# Chosen on the validation targets of ml-100k among two settings (docs/results.md).
TRAINING = SASREC_TRAINING
KIND = item_model_kind(
    "gru4rec",
    "a recurrent network over item identifiers",
    make_gru4rec,
    options=GRU4RecOptions,
    training=TRAINING,
    shape=SHAPE,
    defaults_from="measured for gru4rec",
    source="Hidasi et al., Session-based Recommendations with Recurrent Neural Networks, ICLR 2016",
)
