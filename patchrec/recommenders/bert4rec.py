"""BERT4Rec as a kind of recommender: its options, and how they become a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from patchrec.recommenders.factories import item_model_kind
from patchrec.recommenders.sasrec import SHAPE, TransformerOptions
from patchrec.recommenders.sasrec import TRAINING as SASREC_TRAINING

if TYPE_CHECKING:
    from torch import nn


class BERT4RecOptions(TransformerOptions):
    """Size and regularisation of the transformer, and how much it has to fill in."""

    masked: float = Field(0.3, gt=0, le=1, description="share of a row's targets that are masked and filled in")


def make_bert4rec(num_items: int, max_items: int, options: BERT4RecOptions) -> nn.Module:
    """A new model of so many items for histories of at most `max_items`; weights come from torch's generator."""
    from patchrec.model.bert4rec import BERT4Rec

    return BERT4Rec(
        num_items,
        max_items,
        **options.size,
        masked=options.masked,
    )


# Chosen on the validation targets of ml-100k among three settings (docs/results.md).
TRAINING = SASREC_TRAINING | {"learning_rate": 2e-3}
KIND = item_model_kind(
    "bert4rec",
    "bidirectional attention over item identifiers, learned by filling in masked ones",
    make_bert4rec,
    options=BERT4RecOptions,
    training=TRAINING,
    shape=SHAPE,
    defaults_from="measured for bert4rec",
    source="Sun et al., BERT4Rec, CIKM 2019",
)
