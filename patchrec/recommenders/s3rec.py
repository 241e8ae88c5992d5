"""S3-Rec as a kind of recommender: its options, and how they become a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from patchrec.recommenders.factories import item_model_kind
from patchrec.recommenders.item_fields import FieldOptions, feature_bags, settle_fields
from patchrec.recommenders.sasrec import SHAPE
from patchrec.recommenders.sasrec import TRAINING as SASREC_TRAINING

if TYPE_CHECKING:
    from torch import nn

    from patchrec.recommenders.factories import Ground


class S3RecOptions(FieldOptions):
    """Size and regularisation of the transformer, and its pre-training."""

    pretraining: float = Field(0.5, ge=0, lt=1, description="share of the steps that pre-train, before the rest")
    mask_share: float = Field(0.2, gt=0, lt=1, description="share of items hidden in the pre-training")
    aap: float = Field(0.2, ge=0, description="weight of an item's features from its vector")
    mip: float = Field(1.0, ge=0, description="weight of a hidden item from the others")
    map: float = Field(1.0, ge=0, description="weight of a hidden item's features from the others")
    sp: float = Field(0.5, ge=0, description="weight of which segment was cut out of a history")


def make_s3rec(ground: Ground, options: S3RecOptions) -> nn.Module:
    """A new model of the items of a catalog; weights come from torch's generator."""
    from patchrec.model.s3rec import Objectives, S3Rec

    return S3Rec(
        ground.num_items,
        ground.max_items,
        feature_bags(ground, options),
        **options.size,
        pretraining=options.pretraining,
        objectives=Objectives(options.aap, options.mip, options.map, options.sp, options.mask_share),
    )


# Enough for the second half: without pre-training the best of ml-100k came after 17 epochs (docs/results.md).
TRAINING = SASREC_TRAINING | {"epochs": 40}
KIND = item_model_kind(
    "s3rec",
    "pre-trained on items, their fields and segments, then on the next item",
    make_s3rec,
    options=S3RecOptions,
    training=TRAINING,
    shape=SHAPE,
    defaults_from="SASRec's, and more epochs for its pre-training",
    on_ground=True,
    settle=settle_fields,
    source="Zhou et al., S3-Rec: Self-Supervised Learning for Sequential Recommendation, CIKM 2020",
)
