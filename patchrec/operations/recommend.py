"""Verb: recommend the next items for a user of the data set or for a made-up history."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from patchrec.config import ScoreName
from patchrec.errors import UsageError
from patchrec.operations.explain import Explanation, LeftOut
from patchrec.operations.filters import NO_FILTERS, Filtered, Filters, find_items
from patchrec.operations.load import LoadedRun, load, pick_run
from patchrec.operations.unknown_users import MODEL, Source, Unknown, stand_in
from patchrec.recommender import Query, Ranking, Recommender, Search, nothing, rank
from patchrec.reporting import SILENT, Reporter
from patchrec.store import Store


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
        explanation: Which parts of the history carried each item, where that was asked.
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
    refuse_nobody(user, history)
    with Store.open(home) as store:
        chosen = pick_run(store, run, data, report)
        loaded = load(store, chosen, score, report, search=search, max_tokens=max_tokens, retrieve=retrieve)
    filtered = Filtered.of(loaded.dataset.catalog, filters)
    asked = question(loaded, filtered, user=user, history=history, keep_seen=filters.keep_seen, unknown=unknown)
    [found] = rank(asked.answering, [asked.query], k, allowed=filtered.allowed)
    explanation = None
    if explain:
        catalog = loaded.dataset.catalog
        left_out = LeftOut.of(asked.answering, asked.query, found, len(catalog))
        explanation = left_out.explained(catalog, left_out.rank())
    return answer(loaded, asked, k, found, explanation)


def refuse_nobody(user: str | None, history: Sequence[str] | None) -> None:
    """Refuse a question after no history, or after two.

    Raises:
        UsageError: The message says what to give.
    """
    if (user is None) == (history is None):
        raise UsageError("whose history? give either --user ID or --history TITLE (repeated, oldest first)")


def question(
    loaded: LoadedRun,
    filtered: Filtered,
    *,
    user: str | None = None,
    history: Sequence[str] | None = None,
    keep_seen: bool = False,
    unknown: Unknown = "error",
) -> Question:
    """What a run is asked after a user, or after a history (see `recommend`)."""
    if history is not None:
        items = find_items(loaded.dataset.catalog, history)
        source, answering = (MODEL, loaded.recommender) if len(items) else stand_in(loaded)
        return Question(None, loaded.history_query(items, keep_seen=keep_seen), filtered, answering, source)
    assert user is not None
    if unknown == "popular" and user not in loaded.dataset.sequences.index:
        source, answering = stand_in(loaded)
        return Question(user, loaded.history_query(nothing()), filtered, answering, source)
    query = loaded.user_query(loaded.dataset.user(user), keep_seen=keep_seen)
    return Question(user, query, filtered, loaded.recommender, MODEL)


def answer(
    loaded: LoadedRun, asked: Question, k: int, found: Ranking, explanation: Explanation | None = None
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
