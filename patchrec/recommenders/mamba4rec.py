"""Mamba4Rec as a kind of recommender: its options, and how they become a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from patchrec.options import Options
from patchrec.recommenders.factories import item_model_kind
from patchrec.recommenders.sasrec import SHAPE
from patchrec.recommenders.sasrec import TRAINING as SASREC_TRAINING

if TYPE_CHECKING:
    from torch import nn


class Mamba4RecOptions(Options):
    """Size and regularisation of the state space model."""

    width: int = Field(64, ge=1, le=2**48, description="size of item vectors and states")
    layers: int = Field(1, ge=1, le=1_024, description="layers")
    state: int = Field(16, ge=1, le=65_536, description="size of the state of each feature")
    convolved: int = Field(4, ge=1, le=1_024, description="neighbouring items that a layer's convolution reads")
    dropout: float = Field(0.4, ge=0, lt=1, description="share of activations dropped in training")


def make_mamba4rec(num_items: int, max_items: int, options: Mamba4RecOptions) -> nn.Module:
    """A new model of so many items; weights come from torch's generator."""
    from patchrec.model.mamba4rec import Mamba4RecLayer
    from patchrec.model.sasrec import CausalItems

    width, dropout = options.width, options.dropout
    stack = [Mamba4RecLayer(width, options.state, options.convolved, dropout) for _ in range(options.layers)]
    return CausalItems(num_items, max_items, stack, width=width, dropout=dropout, positions=False)


# Chosen on the validation targets of ml-100k among two settings (docs/results.md).
TRAINING = SASREC_TRAINING | {"epochs": 18}
KIND = item_model_kind(
    "mamba4rec",
    "a selective state space model over item identifiers",
    make_mamba4rec,
    options=Mamba4RecOptions,
    training=TRAINING,
    shape=SHAPE,
    defaults_from="measured for mamba4rec",
    source="Liu et al., Mamba4Rec, 2024",
)
