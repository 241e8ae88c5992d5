"""SASRec as a kind of recommender: its options, and how they become a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from patchrec.options import Options
from patchrec.recommenders.factories import item_model_kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn


class TransformerOptions(Options):
    """Size and regularisation of the transformer."""

    width: int = Field(64, ge=1, le=2**48, description="size of item vectors and states")
    layers: int = Field(2, ge=1, le=1_024, description="transformer layers")
    heads: int = Field(2, ge=1, description="attention heads, a divisor of the width")
    dropout: float = Field(0.3, ge=0, lt=1, description="share of activations dropped in training")

    @property
    def size(self) -> Mapping[str, Any]:
        """What a model of `patchrec.model` is made with, by the names that it has there."""
        return {name: getattr(self, name) for name in ("width", "layers", "heads", "dropout")}

    @model_validator(mode="after")
    def _heads_divide_width(self) -> TransformerOptions:
        if self.width % self.heads:
            raise ValueError(f"--width {self.width} must be a multiple of --heads {self.heads}")
        return self


class SASRecOptions(TransformerOptions):
    """The transformer, and what it learns by."""

    loss: Literal["softmax", "bce"] = Field(
        "softmax", description="over all items, or each target against one item drawn, as published"
    )


def make_sasrec(num_items: int, max_items: int, options: SASRecOptions) -> nn.Module:
    """A new model of so many items for histories of at most `max_items`; weights come from torch's generator."""
    from patchrec.model.sasrec import SASRec

    return SASRec(
        num_items,
        max_items,
        **options.size,
        bce=options.loss == "bce",
    )


# Chosen on the validation targets of ml-100k among twelve settings (docs/results.md).
TRAINING = {
    "epochs": 30,
    "batch_size": 1024,
    "learning_rate": 1e-3,
    "validate_every": 50,
    "validate_metric": "ndcg@20",
    "validation_targets": 1000,
    "patience": 8,
}
SHAPE = {"K": 100, "windows": "blocks"}
KIND = item_model_kind(
    "sasrec",
    "self-attention over item identifiers, softmax over all items",
    make_sasrec,
    options=SASRecOptions,
    training=TRAINING,
    shape=SHAPE,
    defaults_from="measured for sasrec",
    source="Kang and McAuley, Self-Attentive Sequential Recommendation, ICDM 2018",
)
