"""Several recommenders as one: the weighted mean of their log-probabilities, normalised over the items.

A recommender of titles gives each item of a title an equal share of the title's probability, so that all parts speak of
items. Each part is asked after the history that its own window would have cut.

Of an item that nobody chose in the train split most models know no more than that, and in a mean of logarithms each of
them could veto it. So one part speaks of such items: how likely it is that the next is one of them, by odds that are
learned (`patchrec.evaluation.weighting.learn_new`), and which. What the parts say together is left for all others.

Few models know how often people come back to what they had: the odds that the next item is one of the history are
multiplied by a factor, which is learned where the weights are (`patchrec.evaluation.weighting.learn_odds`). It moves
no item of the history past another, and none of the rest.

A mean of logarithms is as sure as its parts are in the mean, and weights that rank best say nothing of that: parts that
agree know more together. So what the mixture says of the items of the history, and of all others, is raised to a power
(`patchrec.evaluation.weighting.learn_temperatures`), and what one part says of new items to another; how likely it is
that the next is one of them stays as it is.

Sources: the logarithmic opinion pool; Genest and Zidek, "Combining probability distributions", Statistical Science
1986. The temperature: Guo et al., "On calibration of modern neural networks", ICML 2017.

Shapes: B queries, I items, R parts.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from patchrec.config import ScoreName
from patchrec.data.catalog import Catalog
from patchrec.data.histories import newest
from patchrec.errors import UsageError
from patchrec.history import BoolArray, FloatArray, IntArray
from patchrec.ranking.dense import dense_ranking
from patchrec.recommender import Cost, Level, Part, Query, Ranking, Scores

_MOST = 1 << 22  # scores held at a time: 32 MiB
_SUMMED = ("positions", "beside", "flops", "seconds")  # a blend has no prompt whose length could be told


@dataclass(frozen=True, eq=False)
class NewItems:
    """Who speaks of the items that nobody chose in the train split.

    Attributes:
        items: (I,) which those are.
        speaker: Place among the parts.
        factor: What the odds are multiplied by that it gives to all of them together.
        temperature: Below 1 it tells them apart more surely than it does alone, above 1 less.
    """

    items: BoolArray
    speaker: int
    factor: float
    temperature: float = 1.0

    def said(self, mixed: FloatArray, spoken: FloatArray) -> FloatArray:
        """(..., I) log-probabilities: of new items those of the speaker, of all others those of the mixture.

        Args:
            mixed: (..., I) what the parts say together, however far from 1 it adds up to; overwritten.
            spoken: (I,) what the speaker says alone.
        """
        new, rest = spoken[self._places] + np.log(self.factor), np.logaddexp.reduce(spoken[~self.items])
        both = np.logaddexp(np.logaddexp.reduce(new), rest)
        mixed[..., self._places] = -np.inf
        mixed -= log_sum(mixed) - (rest - both)
        mixed[..., self._places] = new - both
        return mixed

    @cached_property
    def _places(self) -> IntArray:
        return np.flatnonzero(self.items)


@dataclass(frozen=True, eq=False)
class BlendRecommender:
    """Answers as its parts do together.

    Attributes:
        parts: What it mixes.
        catalog: Whose items are ranked.
        place: (I,) order among equal scores (`precedence`).
        repeats: What the odds of the items of the history are multiplied by; 1 leaves what the parts say.
        new: Who speaks of items that nobody chose; None: all parts, as of others.
        temperature: Below 1 it is surer than its parts are in the mean, above 1 less sure; not of new items.
    """

    parts: Sequence[Part]
    catalog: Catalog
    place: IntArray
    repeats: float = 1.0
    new: NewItems | None = None
    temperature: float = 1.0

    level: Level = "item"
    score: ScoreName = "mixture"

    @property
    def device(self) -> str:
        """What its parts run on."""
        return next((found for part in self.parts if (found := part.recommender.device) != "cpu"), "cpu")

    @property
    def tempers(self) -> bool:
        """Whether a temperature is another than 1."""
        return self.temperature != 1 or (self.new is not None and self.new.temperature != 1)

    def score_each(self, queries: Sequence[Query]) -> Iterator[tuple[int, Scores]]:
        """See `Recommender.score_each`; in the queries' order."""
        weights = np.array([part.weight for part in self.parts])
        for start, rows, costs in self.each_part(queries):
            mixed = mix(rows, weights)
            if self.new is not None:
                for number, spoken in enumerate(rows[self.new.speaker]):
                    mixed[number] = self.new.said(mixed[number], spoken)
            if self.repeats != 1:
                for number, row in enumerate(mixed):
                    mixed[number] = with_repeats(row, queries[start + number].history.items, self.repeats)
            if self.tempers:
                for number, row in enumerate(mixed):
                    mixed[number] = tempered(row, self.groups(queries[start + number]))
            yield from ((start + number, Scores(mixed[number], cost)) for number, cost in enumerate(costs))

    def groups(self, query: Query) -> list[tuple[BoolArray, float]]:
        """What is told apart at which temperature: (I,) the items of the history, those that are not, and new ones."""
        mixed = np.ones(len(self.catalog), dtype=np.bool_) if self.new is None else ~self.new.items
        had = np.zeros(len(self.catalog), dtype=np.bool_)
        had[query.history.items] = True
        own = [(mixed & had, self.temperature), (mixed & ~had, self.temperature)]
        return own if self.new is None else [*own, (self.new.items, self.new.temperature)]

    def each_part(self, queries: Sequence[Query]) -> Iterator[tuple[int, FloatArray, list[Cost]]]:
        """What the parts say, some queries at a time.

        Returns:
            The number of the first of them, (R, B, I) log-probabilities of the items, and what each query cost.
        """
        size = max(1, _MOST // (len(self.catalog) * len(self.parts)))
        for start in range(0, len(queries), size):
            own = queries[start : start + size]
            rows = np.empty((len(self.parts), len(own), len(self.catalog)))
            costs = [Cost()] * len(own)
            for place, part in enumerate(self.parts):
                asked = [replace(q, history=newest(q.history, part.history.K, part.history.windows)) for q in own]
                for number, scores in part.recommender.score_each(asked):
                    rows[place, number] = self._of_items(scores.log_probs, part.recommender.level)
                    costs[number] = _sum(costs[number], scores.cost)
            yield start, rows, costs

    def rank_each(
        self, queries: Sequence[Query], k: int, *, allowed: BoolArray | None = None
    ) -> Iterator[tuple[int, Ranking]]:
        """See `Recommender.rank_each`."""
        if k < 1:
            raise UsageError(f"k must be at least 1, got {k!r}")
        for number, scores in self.score_each(queries):
            seen = queries[number].seen
            yield number, dense_ranking(scores.log_probs, seen, k, allowed, self.place, self.catalog.titles)

    def lengths(self, queries: Sequence[Query]) -> IntArray:
        """See `Recommender.lengths`."""
        total = np.zeros(len(queries), dtype=np.int64)
        for part in self.parts:
            total += part.recommender.lengths(queries)
        return total

    def facts(self) -> dict[str, float | None]:
        """See `Recommender.facts`."""
        return {}

    def _of_items(self, log_probs: FloatArray, level: Level) -> FloatArray:
        """(I,) log-probabilities of items, that add up to 1."""
        own = log_probs if level == "item" else log_probs - self._shared
        return np.asarray(own - np.logaddexp.reduce(own), dtype=np.float64)

    @cached_property
    def _shared(self) -> FloatArray:
        """(I,) log of how many items have an item's title."""
        titles = self.catalog.title_of_item
        return np.asarray(np.log(np.bincount(titles)[titles]), dtype=np.float64)


def mix(rows: FloatArray, weights: FloatArray) -> FloatArray:
    """(B, I) log-probabilities of a blend.

    Args:
        rows: (R, B, I) those of its parts.
        weights: (R,) of them.
    """
    mixed = np.tensordot(weights, rows, axes=1)
    return np.asarray(mixed - log_sum(mixed), dtype=np.float64)


def log_sum(log_probs: FloatArray) -> FloatArray:
    """(..., 1) log of the sum over the last axis; `numpy.logaddexp.reduce` takes several times as long."""
    most = log_probs.max(axis=-1, keepdims=True)
    return np.asarray(most + np.log(np.exp(log_probs - most).sum(axis=-1, keepdims=True)), dtype=np.float64)


def with_repeats(log_probs: FloatArray, had: IntArray, factor: float) -> FloatArray:
    """(I,) log-probabilities with the odds of some items multiplied.

    Args:
        log_probs: (I,) of a distribution.
        had: Items of the history.
        factor: Above 0.
    """
    moved = log_probs.copy()
    moved[np.unique(had)] += np.log(factor)
    return np.asarray(moved - np.logaddexp.reduce(moved), dtype=np.float64)


def tempered(log_probs: FloatArray, groups: Sequence[tuple[BoolArray, float]]) -> FloatArray:
    """(I,) log-probabilities, those of a group surer among themselves and together as likely as before.

    Args:
        log_probs: (I,) of a distribution.
        groups: (I,) each, none of which share an item, with temperatures above 0; below 1 is surer. Items of none stay.
    """
    moved = log_probs.copy()
    for group, temperature in groups:
        own = log_probs[group]
        if temperature != 1 and np.isfinite(own).any():
            scaled = (own - own.max()) / temperature
            moved[group] = scaled - log_sum(scaled) + log_sum(own)
    return moved


def _sum(one: Cost, other: Cost) -> Cost:
    return Cost(**{name: getattr(one, name) + getattr(other, name) for name in _SUMMED})
