"""From scores of titles to a ranking of items, in the one order that recommending and evaluating share.

Items of one title share its score; ties go to the more popular item, then to the smaller index. Knows no model.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from patchrec.errors import UsageError
from patchrec.history import FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class Recommendation:
    """One line of a ranking; a higher score is better.

    Attributes:
        rank: 1-based.
        item: Catalog index.
        score: Log-probability of the title, nats.
        probability: Of the title among all titles of the catalog; None where the score is not normalised over them.
    """

    rank: int
    item: int
    title: str
    score: float
    probability: float | None = None


@dataclass(frozen=True, slots=True)
class Certificate:
    """Why a ranking is exact: nothing that was left open can score above its last title.

    Attributes:
        search: `best-first` or `whole`.
        kth_score: Score of the last title that the ranking needed; None where candidates ran out before k.
        best_open_bound: Best score that anything not looked at could have; None where nothing was left open.
        num_expanded: Trie nodes whose children were scored.
        num_titles: Titles whose score is known (with a candidate, where the search is best-first).
        num_tokens: Positions run through the model after the prompt.
        num_rounds: Forward passes that they took.
    """

    search: str
    kth_score: float | None
    best_open_bound: float | None
    num_expanded: int
    num_titles: int
    num_tokens: int
    num_rounds: int

    @property
    def holds(self) -> bool:
        """Whether the k-th score is at least every open bound."""
        if self.best_open_bound is None:
            return True
        return self.kth_score is not None and self.kth_score >= self.best_open_bound


@dataclass(frozen=True, slots=True)
class Ranking:
    """The best items, and why there are fewer than asked for where there are (else None)."""

    recommendations: tuple[Recommendation, ...]
    shortfall: str | None = None
    certificate: Certificate | None = None


def precedence(popularity: IntArray) -> IntArray:
    """(I,) place of every item among equal scores: 0 for the most popular, equals by item index."""
    order = np.lexsort((np.arange(len(popularity)), -popularity))
    place = np.empty(len(popularity), dtype=np.int64)
    place[order] = np.arange(len(popularity))
    return place


def item_order(title_scores: FloatArray, title_of_item: IntArray, place: IntArray) -> IntArray:
    """(I,) every item index, best first.

    Args:
        title_scores: (num_titles,) higher is better.
        title_of_item: (I,) title of every item.
        place: (I,) what `precedence` gave.
    """
    return np.lexsort((place, -title_scores[title_of_item])).astype(np.int64)


def unseen(order: IntArray, seen: IntArray) -> IntArray:
    """Leave the items in `seen` out of an order."""
    return order[~np.isin(order, seen)]


def rank_items(
    items: IntArray, scores: FloatArray, place: IntArray, titles: Sequence[str], *, k: int
) -> tuple[Recommendation, ...]:
    """The best k of some items, best first.

    Args:
        items: (n,) catalog indices of the candidates, or of those that can be among the best k.
        scores: (n,) scores of their titles, higher is better.
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
