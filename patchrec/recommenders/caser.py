"""Caser as a kind of recommender: its options, and how they become a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from patchrec.options import Options
from patchrec.recommenders.factories import item_model_kind
from patchrec.recommenders.sasrec import SHAPE
from patchrec.recommenders.sasrec import TRAINING as SASREC_TRAINING

if TYPE_CHECKING:
    from torch import nn


class CaserOptions(Options):
    """Size and regularisation of the convolutions."""

    width: int = Field(64, ge=1, le=2**48, description="size of item vectors and states")
    newest: int = Field(5, ge=1, le=1_024, description="newest items that a prediction reads")
    horizontal: int = Field(16, ge=1, le=65_536, description="filters over whole items, of each height up to --newest")
    vertical: int = Field(4, ge=1, le=65_536, description="filters that are weighted sums of the newest items")
    dropout: float = Field(0.3, ge=0, lt=1, description="share of activations dropped in training")


def make_caser(num_items: int, max_items: int, options: CaserOptions) -> nn.Module:
    """A new model of so many items; weights come from torch's generator."""
    from patchrec.model.caser import CaserLayer
    from patchrec.model.sasrec import CausalItems

    layer = CaserLayer(options.width, options.newest, options.horizontal, options.vertical, options.dropout)
    return CausalItems(num_items, max_items, [layer], width=options.width, dropout=options.dropout, positions=False)


# Chosen on the validation targets of ml-100k among two settings (docs/results.md).
TRAINING = SASREC_TRAINING
KIND = item_model_kind(
    "caser",
    "convolutions over the newest items",
    make_caser,
    options=CaserOptions,
    training=TRAINING,
    shape=SHAPE,
    defaults_from="measured for caser",
    source="Tang and Wang, Convolutional Sequence Embedding, WSDM 2018",
)
