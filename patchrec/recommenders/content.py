"""What is known of items, as a kind of recommender: its options, and how they become a model."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pydantic import Field

from patchrec.recommenders.factories import counted_kind
from patchrec.recommenders.item_fields import ReadsFields, settle_fields

if TYPE_CHECKING:
    from patchrec.recommender import Counted


class ContentOptions(ReadsFields):
    """What is read of items, and how fast a history fades."""

    decay: float = Field(0.9, gt=0, le=1, description="weight of a history's item relative to the next newer one")


def _content(options: ContentOptions) -> Counted:
    from patchrec.ranking.content import Content

    return Content(options)


KIND = counted_kind(
    "content",
    "items like the history's by fields and titles, new ones as well as old",
    _content,
    options=ContentOptions,
    settle=partial(settle_fields, titles=True),
    knows_new_items=True,
    source="Lops, de Gemmis and Semeraro, Content-based recommender systems: state of the art and trends, 2011",
)
