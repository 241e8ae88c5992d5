"""A third party's recommender, held to the contract while it answers: what it does wrong is told by its kind's name.

Shapes: B queries, I items of the catalog.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from patchrec.config import NORMALISED, ScoreName
from patchrec.data.catalog import Catalog
from patchrec.errors import PatchrecError, PluginError
from patchrec.history import BoolArray, FloatArray, IntArray
from patchrec.plugins import is_builtin_kind, why
from patchrec.recommender import Lender, Level, Located, Locator, Query, Ranking, Recommender, Scores

_ROUNDING = 1e-3  # by which the probabilities of all items may miss 1: float32 over a million items


@contextmanager
def kind_errors(name: str) -> Iterator[None]:
    """Turn what a third party's kind of recommender raises into our error; a built-in kind has bugs, which stay.

    Args:
        name: Of the kind.

    Raises:
        PluginError: It failed with something else than an error of ours, and not for want of memory.
    """
    try:
        yield
    except (PatchrecError, MemoryError, BrokenPipeError, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # an extension may raise what is no Exception
        if is_builtin_kind(name) or _is_out_of_memory(error):
            raise
        raise PluginError(f"recommender {name!r} failed: {why(error)}; --debug shows where") from error


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out in torch, where that is loaded."""
    if "torch" not in sys.modules:
        return False
    from patchrec.model.memory import is_out_of_memory

    return is_out_of_memory(error)


@dataclass(frozen=True, eq=False)
class CheckedRecommender:
    """Answers as another does, or raises `PluginError`.

    Attributes:
        name: Its kind.
        recommender: What answers.
        catalog: Of the data set whose items it ranks.
    """

    name: str
    recommender: Recommender
    catalog: Catalog

    @property
    def level(self) -> Level:
        """See `Recommender.level`."""
        with kind_errors(self.name):
            return self.recommender.level

    @property
    def score(self) -> ScoreName:
        """See `Recommender.score`."""
        with kind_errors(self.name):
            return self.recommender.score

    @property
    def device(self) -> str:
        """See `Recommender.device`."""
        with kind_errors(self.name):
            return self.recommender.device

    def score_each(self, queries: Sequence[Query]) -> Iterator[tuple[int, Scores]]:
        """See `Recommender.score_each`.

        Raises:
            PluginError: It failed, or its scores are no distribution.
        """
        size = len(self.catalog)
        distinct = np.unique(self.catalog.title_of_item, return_index=True)[1] if self.level == "title" else None
        normalised = self.score in NORMALISED
        with kind_errors(self.name):
            for number, scores in self._each(self.recommender.score_each(queries), len(queries)):
                row = np.asarray(scores.log_probs)
                if row.shape != (size,):
                    raise PluginError(
                        f"recommender {self.name!r} gave log-probabilities of shape {row.shape} for a catalog of "
                        f"{size:,} items; they must be of shape ({size},)"
                    )
                row = finite(self.name, row)
                if normalised:
                    refuse_no_distribution(self.name, row[None] if distinct is None else row[None, distinct])
                yield number, replace(scores, log_probs=row)

    def item_vectors(self) -> FloatArray | None:
        """See `patchrec.recommender.Lender`."""
        with kind_errors(self.name):
            return self.recommender.item_vectors() if isinstance(self.recommender, Lender) else None

    def rank_each(
        self, queries: Sequence[Query], k: int, *, allowed: BoolArray | None = None
    ) -> Iterator[tuple[int, Ranking]]:
        """See `Recommender.rank_each`.

        Raises:
            PluginError: It failed, or a ranking has a score that is no number, an item that is none or one too many.
        """
        with kind_errors(self.name):
            for number, ranking in self._each(self.recommender.rank_each(queries, k, allowed=allowed), len(queries)):
                lines = ranking.recommendations
                finite(self.name, np.array([line.score for line in lines]))
                items = [line.item for line in lines]
                wrong = [item for item in items if not 0 <= item < len(self.catalog)]
                if wrong or len(items) > k or len(set(items)) < len(items):
                    what = f"item number {wrong[0]}" if wrong else f"{len(items)} lines, {len(set(items))} items,"
                    raise PluginError(
                        f"recommender {self.name!r} gave {what} in a ranking of the best {k} of "
                        f"{len(self.catalog):,} items; its rank_each must give each item once, at most {k}"
                    )
                yield number, ranking

    def locate_each(
        self, queries: Sequence[Query], targets: Sequence[int], limit: int, *, top: int
    ) -> Iterator[tuple[int, Located]]:
        """See `Locator.locate_each`; of one that cannot, all items are scored.

        Raises:
            PluginError: It failed, or a score is no number, an item is none or comes twice, or the target is not there.
        """
        if not isinstance(self.recommender, Locator):
            for number, scores in self.score_each(queries):
                yield number, Located.among_all(scores)
            return
        with kind_errors(self.name):
            answers = self.recommender.locate_each(queries, targets, limit, top=top)
            for number, located in self._each(answers, len(queries)):
                found, items = finite(self.name, located.log_probs), np.asarray(located.items)
                sound = items.ndim == 1 and items.shape == found.shape and len(np.unique(items)) == len(items)
                if not sound or targets[number] not in items or not 0 <= items.min() <= items.max() < len(self.catalog):
                    raise PluginError(
                        f"recommender {self.name!r} did not say where item number {targets[number]} stands; its "
                        "locate_each must give it and every item before it, each once"
                    )
                yield number, replace(located, log_probs=found)

    def lengths(self, queries: Sequence[Query]) -> IntArray:
        """See `Recommender.lengths`."""
        with kind_errors(self.name):
            return self.recommender.lengths(queries)

    def facts(self) -> dict[str, float | None]:
        """See `Recommender.facts`."""
        with kind_errors(self.name):
            return self.recommender.facts()

    def _each(self, answers: Iterator[tuple[int, Any]], count: int) -> Iterator[tuple[int, Any]]:
        """Answers, if each of so many queries has exactly one."""
        left = set(range(count))
        for number, answer in answers:
            if number not in left:
                raise PluginError(
                    f"recommender {self.name!r} answered query {number!r} of {count} twice, or without being asked"
                )
            left.remove(number)
            yield number, answer
        if left:
            raise PluginError(f"recommender {self.name!r} left {len(left)} of {count} queries without an answer")


def finite(name: str, scores: FloatArray) -> FloatArray:
    """Scores in float64, if they are numbers.

    Args:
        name: Of the kind that gave them.

    Raises:
        PluginError: Some are not.
    """
    try:
        found = np.asarray(scores, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise PluginError(f"recommender {name!r} gave scores that are no numbers ({error})") from error
    if not np.isfinite(found).all():
        raise PluginError(
            f"recommender {name!r} gave {np.count_nonzero(~np.isfinite(found)):,} scores that are not finite "
            "numbers; its weights are damaged or training diverged: fit it again"
        )
    return found


def refuse_no_distribution(name: str, scores: FloatArray) -> None:
    """Refuse (B, I) log-probabilities of which a row does not sum to 1.

    Raises:
        PluginError: The message names the kind and the sum.
    """
    totals = np.exp(np.logaddexp.reduce(scores, axis=1))
    worst = float(totals[np.abs(totals - 1).argmax()])
    if abs(worst - 1) > _ROUNDING:
        raise PluginError(
            f"recommender {name!r} gave probabilities that sum to {worst:.4g}, not to 1; its log_probs must "
            "be a distribution over the items (a log-softmax)"
        )
