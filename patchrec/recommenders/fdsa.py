"""FDSA as a kind of recommender: its options, and how they become a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from patchrec.recommenders.factories import item_model_kind
from patchrec.recommenders.item_fields import FieldOptions, feature_bags, settle_fields
from patchrec.recommenders.sasrec import SHAPE, TRAINING

if TYPE_CHECKING:
    from torch import nn

    from patchrec.recommenders.factories import Ground


def make_fdsa(ground: Ground, options: FieldOptions) -> nn.Module:
    """A new model of the items of a catalog; weights come from torch's generator."""
    from patchrec.model.fdsa import FDSA

    return FDSA(
        ground.num_items,
        ground.max_items,
        feature_bags(ground, options),
        **options.size,
    )


# SASRec's settings: of three tried on the validation targets of ml-100k they were best (docs/results.md).
KIND = item_model_kind(
    "fdsa",
    "self-attention over items and over their fields, joined",
    make_fdsa,
    options=FieldOptions,
    training=TRAINING,
    shape=SHAPE,
    defaults_from="measured for fdsa",
    on_ground=True,
    settle=settle_fields,
    source="Zhang et al., Feature-level Deeper Self-Attention Network for Sequential Recommendation, IJCAI 2019",
)
