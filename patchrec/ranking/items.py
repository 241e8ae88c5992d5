"""From scores to a ranking of items, in the one order that recommending and evaluating share.

Ties, such as those of items that share a title's score, go to the more popular item, then to the smaller index.
Knows no model.
"""

from collections.abc import Sequence

import numpy as np

from patchrec.errors import UsageError
from patchrec.history import FloatArray, IntArray
from patchrec.recommender import Recommendation


def precedence(popularity: IntArray) -> IntArray:
    """(I,) place of every item among equal scores: 0 for the most popular, equals by item index."""
    order = np.lexsort((np.arange(len(popularity)), -popularity))
    place = np.empty(len(popularity), dtype=np.int64)
    place[order] = np.arange(len(popularity))
    return place


def item_order(scores: FloatArray, place: IntArray) -> IntArray:
    """(I,) every item index, best first.

    Args:
        scores: (I,) of every item, higher is better.
        place: (I,) what `precedence` gave.
    """
    return np.lexsort((place, -scores)).astype(np.int64)


def unseen(order: IntArray, seen: IntArray) -> IntArray:
    """Leave the items in `seen` out of an order."""
    return order[~np.isin(order, seen)]


def rank_items(
    items: IntArray, scores: FloatArray, place: IntArray, titles: Sequence[str], *, k: int
) -> tuple[Recommendation, ...]:
    """The best k of some items, best first.

    Args:
        items: (n,) catalog indices of the candidates, or of those that can be among the best k.
        scores: (n,) their scores, higher is better.
        place: (I,) what `precedence` gave.
        titles: (I,) the catalog's titles.
        k: How many to give at most.

    Raises:
        UsageError: k is below 1.
    """
    if k < 1:
        raise UsageError(f"k must be at least 1, got {k!r}")
    order = np.lexsort((place[items], -scores))[:k].tolist()
    return tuple(
        Recommendation(number, int(items[index]), titles[items[index]], float(scores[index]))
        for number, index in enumerate(order, start=1)
    )


def shortfall(k: int, num_items: int, num_allowed: int, num_left: int) -> str | None:
    """Why a ranking has fewer than k items; None where it has k.

    Args:
        num_items: In the catalog. num_allowed: After filters. num_left: Of those, the ones that the user had not had.
    """
    if num_left >= k:
        return None
    steps = []
    if num_allowed < num_items:
        steps.append(f"the filters allow {num_allowed:,}")
    if num_left < num_allowed:
        steps.append(f"the user has had {num_allowed - num_left:,} of {'those' if steps else 'them'}")
    why = f": {', and '.join(steps)}" if steps else ""
    return f"asked for {k:,}, but {num_left:,} of {num_items:,} items can be ranked{why}"
