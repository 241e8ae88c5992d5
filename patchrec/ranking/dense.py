"""Rankings from scores of all items at once: for every model that has them in one product, and for counts.

Shapes: B queries, I items of the catalog, F items that the scorer knows.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Protocol

import numpy as np

from patchrec.config import ScoreName
from patchrec.errors import PluginError, UsageError
from patchrec.history import BoolArray, FloatArray, IntArray
from patchrec.ranking.checked import finite, refuse_no_distribution
from patchrec.ranking.items import rank_items, shortfall
from patchrec.recommender import Cost, Level, Query, Ranking, Recommendation, Scores

_MOST = 1 << 22  # scores held at a time: 32 MiB


class Scorer(Protocol):
    """What a `DenseRecommender` asks."""

    def log_probs(self, queries: Sequence[Query]) -> FloatArray:
        """(B, F) log-probability of every item after each query; each row sums to 1."""
        ...


@dataclass(eq=False)
class DenseRecommender:
    """Ranks by log-probabilities of all items. Items that its scorer does not know rank below all others.

    Attributes:
        name: Its kind, for messages.
        scorer: Gives the log-probabilities.
        place: (I,) order among equal scores (`precedence`).
        titles: (I,) the catalog's titles.
        positions: Positions that a query of n items runs through a model: n times this, and one more; 0: no model.
        flops: Floating-point operations of one position. head_flops: Of scoring all items after a query.
        cost_of: Positions and floating-point operations of a query of n items, in place of these, where a model runs
            other positions than its items.
        vectors: (F, W) of the items, where its model has any.
    """

    name: str
    scorer: Scorer
    place: IntArray
    titles: Sequence[str]
    positions: int = 0
    flops: float = 0.0
    head_flops: float = 0.0
    cost_of: Callable[[int], tuple[int, float]] | None = None
    vectors: FloatArray | None = None
    device: str = "cpu"
    level: Level = "item"
    score: ScoreName = "item"

    def score_each(self, queries: Sequence[Query]) -> Iterator[tuple[int, Scores]]:
        """See `Recommender.score_each`.

        Raises:
            PluginError: What the model gives is no distribution over the items.
        """
        size = max(1, _MOST // max(1, len(self.titles)))
        for start in range(0, len(queries), size):
            own = queries[start : start + size]
            begun = perf_counter()
            scores = self._checked(own, self.scorer.log_probs(own))
            share = (perf_counter() - begun) / len(own)
            for number, (query, row) in enumerate(zip(own, scores, strict=True), start):
                run, flops = self._cost(len(query.history))
                yield number, Scores(row, Cost(positions=run, flops=flops, seconds=share))

    def rank_each(
        self, queries: Sequence[Query], k: int, *, allowed: BoolArray | None = None
    ) -> Iterator[tuple[int, Ranking]]:
        """See `Recommender.rank_each`."""
        if k < 1:
            raise UsageError(f"k must be at least 1, got {k!r}")
        for number, scores in self.score_each(queries):
            yield number, dense_ranking(scores.log_probs, queries[number].seen, k, allowed, self.place, self.titles)

    def lengths(self, queries: Sequence[Query]) -> IntArray:
        """See `Recommender.lengths`."""
        return np.array([max(1, self._cost(len(query.history))[0]) for query in queries], dtype=np.int64)

    def facts(self) -> dict[str, float | None]:
        """See `Recommender.facts`."""
        return {}

    def item_vectors(self) -> FloatArray | None:
        """See `patchrec.recommender.Lender`."""
        return self.vectors

    def _cost(self, num_items: int) -> tuple[int, float]:
        """Positions and floating-point operations of a query of so many items."""
        if self.cost_of is not None:
            return self.cost_of(num_items)
        run = self.positions and self.positions * num_items + 1
        return run, run * self.flops + self.head_flops

    def _checked(self, queries: Sequence[Query], scores: FloatArray) -> FloatArray:
        """(B, I) scores with those of new items at the end, if they are what the contract says."""
        scores = np.asarray(scores)
        known = scores.shape[1] if scores.ndim == 2 else 0
        if scores.ndim != 2 or len(scores) != len(queries) or not 0 < known <= len(self.titles):
            raise PluginError(
                f"recommender {self.name!r} gave scores of shape {scores.shape} for {len(queries)} queries over "
                f"{len(self.titles)} items; its log_probs must give (B, I)"
            )
        scores = finite(self.name, scores)
        refuse_no_distribution(self.name, scores)
        missing = len(self.titles) - known
        if not missing:
            return scores
        last = scores.min(axis=1, keepdims=True)
        grown = np.concatenate([scores, np.repeat(last, missing, axis=1)], axis=1)
        return np.asarray(grown - np.logaddexp.reduce(grown, axis=1, keepdims=True), dtype=np.float64)


def dense_ranking(
    scores: FloatArray,
    seen: IntArray,
    k: int,
    allowed: BoolArray | None,
    place: IntArray,
    titles: Sequence[str],
    *,
    normalised: bool = True,
) -> Ranking:
    """The exact best k of all items by their scores.

    Args:
        scores: (I,) log-probabilities.
        seen: Items left out.
        k: How many to give at most.
        allowed: (I,) items that may be ranked at all; None allows all.
        place: (I,) order among equal scores.
        titles: (I,) the catalog's titles.
        normalised: Whether the scores are probabilities.
    """
    mask = np.ones(len(scores), dtype=np.bool_) if allowed is None else allowed.copy()
    num_allowed = int(mask.sum())
    mask[seen] = False
    items = np.flatnonzero(mask)
    if len(items) > k:  # all that reach the k-th score: ties are settled below
        kth = np.partition(scores[items], len(items) - k)[len(items) - k]
        best = items[scores[items] >= kth]
    else:
        best = items
    lines = rank_items(best, scores[best], place, titles, k=k)
    if normalised:
        lines = with_probabilities(lines)
    return Ranking(lines, shortfall(k, len(scores), num_allowed, len(items)))


def with_probabilities(lines: Sequence[Recommendation], total: float = 0.0) -> tuple[Recommendation, ...]:
    """Recommendations with their probability, where `total` is the log of the sum of all exp(score)."""
    return tuple(
        Recommendation(line.rank, line.item, line.title, line.score, float(np.exp(line.score - total)))
        for line in lines
    )
