"""The exact rank of a target, among items and among titles, with seen items dropped and kept.

The order of items is the one of `patchrec.ranking.items`; the order of titles is the order in which they first appear
in it. So a title is a candidate where any of its items is, and the title-level hit is the target's title.
"""

from dataclasses import dataclass
from math import inf

import numpy as np

from patchrec.history import IntArray
from patchrec.ranking.items import unseen


@dataclass(frozen=True, slots=True)
class TargetRanks:
    """1-based ranks of one target; inf where it is not a candidate.

    Under `dropped` a target that the user had before (repeat consumption) is a miss among items; among titles it is
    still a candidate where another, unseen item has the same title.
    """

    item_dropped: float
    item_kept: float
    title_dropped: float
    title_kept: float


def target_ranks(order: IntArray, title_of_item: IntArray, target: int, seen: IntArray) -> TargetRanks:
    """Find the ranks of a target.

    Args:
        order: (I,) every item, best first (`item_order`).
        title_of_item: (I,) title of every item.
        target: Catalog index.
        seen: Items of the user before the target.
    """
    dropped = unseen(order, seen)
    return TargetRanks(
        item_dropped=item_rank(dropped, target),
        item_kept=item_rank(order, target),
        title_dropped=title_rank(dropped, title_of_item, target),
        title_kept=title_rank(order, title_of_item, target),
    )


def item_rank(candidates: IntArray, target: int) -> float:
    """1-based place of an item among candidates, best first; inf where it is none of them."""
    found = np.flatnonzero(candidates == target)
    return float(found[0]) + 1 if len(found) else inf


def title_rank(candidates: IntArray, title_of_item: IntArray, target: int) -> float:
    """1-based place of an item's title among the distinct titles of candidates, best first; inf where it has none."""
    titles = title_of_item[candidates]
    found = np.flatnonzero(titles == title_of_item[target])
    return float(len(np.unique(titles[: found[0]]))) + 1 if len(found) else inf
