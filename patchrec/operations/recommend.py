"""Verb: recommend the next items for a user of the data set or for a made-up history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from patchrec.config import ScoreName
from patchrec.errors import UsageError
from patchrec.operations.explain import Explanation, LeftOut
from patchrec.operations.filters import NO_FILTERS, Filtered, Filters, find_items
from patchrec.operations.load import LoadedRun, load, pick_run, refuse_no_items
from patchrec.operations.unknown_users import MODEL, NOBODY, Source, Unknown, stand_in
from patchrec.recommender import Query, Ranking, Recommender, Search, nothing, rank
from patchrec.reporting import SILENT, Reporter
from patchrec.store import Store

if TYPE_CHECKING:
    from patchrec.data.histories import Dataset
    from patchrec.history import IntArray


@dataclass(frozen=True, slots=True)
class RankedItem:
    """One recommended item; rank 1 is the best, a higher score is better.

    Attributes:
        probability: Of the item among all items, or of its title among all titles; None where it is not known.
    """

    rank: int
    item_id: str
    title: str
    score: float
    probability: float | None


@dataclass(frozen=True, slots=True)
class Recommendations:
    """A ranking and what it came from.

    Attributes:
        score: Name of the score.
        history: Newest titles of the history, oldest first, at most five.
        shortfall: Why there are fewer than asked for, else None.
        certificate: Why the ranking is exact (`patchrec.recommender.Certificate`), and whether that `holds`.
        source: What answered: the `model`, or for a user whom the data set does not have the run's answer to an `empty
            history`, or `popularity`.
    """

    run: str
    label: str
    dataset: str
    user: str | None
    score: ScoreName
    history: list[str]
    history_length: int
    ranking: list[RankedItem]
    shortfall: str | None
    certificate: dict[str, Any] | None
    source: Source = MODEL
    explanation: Explanation | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """Whose next items, and which items may be among them.

    Attributes:
        user: Id of a user; None for a made-up history.
        place: Index of the user; `NOBODY` for one whom the data set does not have, and for a made-up history.
        items: Catalog indices of the made-up history, oldest first.
    """

    user: str | None
    place: int
    items: IntArray
    filtered: Filtered
    keep_seen: bool

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        user: str | None,
        history: Sequence[str] | None,
        filters: Filters,
        filtered: Filtered | None = None,
        *,
        unknown: Unknown = "error",
    ) -> Question:
        """Check a question against a data set.

        Args:
            dataset: Whose users and items.
            user, history, filters, unknown: See `recommend`.
            filtered: What the filters leave, where that is known.

        Raises:
            NotFoundError: No such user or item. UsageError: Neither or both of user and history, or filters that leave
                nothing, or a title of several items.
        """
        if (user is None) == (history is None):
            raise UsageError("whose history? give either --user ID or --history TITLE (repeated, oldest first)")
        filtered = filtered or Filtered.of(dataset.catalog, filters)
        nobody = user is None or (unknown == "popular" and user not in dataset.sequences.index)
        place = NOBODY if nobody else dataset.user(str(user))
        return cls(user, place, find_items(dataset.catalog, history or ()), filtered, filters.keep_seen)

    def asked(self, loaded: LoadedRun) -> Asked:
        """What a run is asked, and who answers."""
        if self.place != NOBODY:
            query = loaded.user_query(self.place, keep_seen=self.keep_seen)
            return Asked(self.user, query, self.filtered, loaded.recommender, MODEL)
        items = nothing() if self.user is not None else self.items
        source, answering = (MODEL, loaded.recommender) if len(items) else stand_in(loaded)
        return Asked(self.user, loaded.history_query(items, keep_seen=self.keep_seen), self.filtered, answering, source)


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """What a ranking is asked after, and who answers.

    Attributes:
        user: Id of the user; None for a made-up history.
        query: The history, with what is left out.
        filtered: What may be ranked.
        answering: The run's recommender, or what stands in for it.
        source: See `Recommendations`.
    """

    user: str | None
    query: Query
    filtered: Filtered
    answering: Recommender
    source: Source


def recommend(
    *,
    user: str | None = None,
    history: Sequence[str] | None = None,
    run: str | None = None,
    k: int = 10,
    data: str | None = None,
    filters: Filters = NO_FILTERS,
    score: ScoreName | None = None,
    search: Search = "best-first",
    max_tokens: int | None = None,
    retrieve: int | None = None,
    unknown: Unknown = "error",
    explain: bool = False,
    home: Path | None = None,
    report: Reporter = SILENT,
) -> Recommendations:
    """Rank the catalog after everything a user did, or after a history given by titles or item ids.

    Args:
        filters: Which items may be ranked; what the user has had is left out unless they say otherwise.
        search: `best-first` stops with a proof; `whole` scores every title.
        max_tokens: Prompt positions run at a time; chosen from free memory where not given.
        retrieve: The run's item head proposes so many items, and only they are ranked; None ranks all.
        unknown: `popular` answers for a user whom the data set does not have, too (`stand_in`).
        explain: Tell which parts of the history carried each item (`patchrec.operations.explain`).

    Raises:
        NotFoundError: No such user, item or run. UsageError: Neither or both of user and history, or filters that
            leave nothing, or a title of several items.
    """
    refuse_no_items(k)
    with Store.open(home) as store:
        chosen = pick_run(store, run, data, report)
        dataset = store.datasets.load(chosen.dataset)
        # what is wrong with a question is told before a model is loaded
        question = Question.of(dataset, user, history, filters, unknown=unknown)
        how: dict[str, Any] = {"search": search, "max_tokens": max_tokens, "retrieve": retrieve}
        loaded = load(store, chosen, score, report, dataset=dataset, **how)
    return respond(loaded, question.asked(loaded), k, explain=explain)


def respond(loaded: LoadedRun, asked: Asked, k: int, *, explain: bool = False) -> Recommendations:
    """Rank after one question by a run that is loaded (see `recommend`).

    Raises:
        UsageError: k is below 1.
    """
    refuse_no_items(k)
    [found] = rank(asked.answering, [asked.query], k, allowed=asked.filtered.allowed)
    explanation = None
    if explain:
        catalog = loaded.dataset.catalog
        left_out = LeftOut.of(asked.answering, asked.query, found, len(catalog))
        explanation = left_out.explained(catalog, left_out.rank())
    return answer(loaded, asked, k, found, explanation)


def answer(
    loaded: LoadedRun, asked: Asked, k: int, found: Ranking, explanation: Explanation | None = None
) -> Recommendations:
    """What a ranking of k items says, in ids and titles."""
    catalog, query, certificate = loaded.dataset.catalog, asked.query, found.certificate
    return Recommendations(
        run=loaded.run.name,
        label=loaded.run.label,
        dataset=loaded.dataset.name,
        user=asked.user,
        score=asked.answering.score,
        history=[catalog.titles[item] for item in query.history.items[-5:]],
        history_length=len(query.history),
        ranking=[
            RankedItem(line.rank, catalog.item_ids[line.item], line.title, line.score, line.probability)
            for line in found.recommendations
        ],
        shortfall=asked.filtered.shortfall(k, query.seen, len(found.recommendations)) or found.shortfall,
        certificate=None if certificate is None else {**asdict(certificate), "holds": certificate.holds},
        source=asked.source,
        explanation=explanation,
    )
