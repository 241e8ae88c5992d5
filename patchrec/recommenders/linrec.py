"""LinRec as a kind of recommender: SASRec with linear attention."""

from __future__ import annotations

from typing import TYPE_CHECKING

from patchrec.recommenders.factories import item_model_kind
from patchrec.recommenders.sasrec import SHAPE, TransformerOptions
from patchrec.recommenders.sasrec import TRAINING as SASREC_TRAINING

if TYPE_CHECKING:
    from torch import nn


class LinRecOptions(TransformerOptions):
    """Size and regularisation of the transformer."""


def make_linrec(num_items: int, max_items: int, options: LinRecOptions) -> nn.Module:
    """A new model of so many items for histories of at most `max_items`; weights come from torch's generator."""
    from patchrec.model.linrec import LinearAttention
    from patchrec.model.sasrec import CausalItems, SASRecLayer

    width, heads, dropout = options.width, options.heads, options.dropout
    stack = [SASRecLayer(width, heads, dropout, LinearAttention(width, heads)) for _ in range(options.layers)]
    return CausalItems(num_items, max_items, stack, width=width, dropout=dropout)


TRAINING = SASREC_TRAINING
KIND = item_model_kind(
    "linrec",
    "SASRec with attention whose cost is linear in a history's length",
    make_linrec,
    options=LinRecOptions,
    training=TRAINING,
    shape=SHAPE,
    defaults_from="measured for linrec",
    source="Liu et al., LinRec, SIGIR 2023",
)
