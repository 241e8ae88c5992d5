"""Verb: recommend the next items for a user of the data set or for a made-up history."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from patchrec.config import ScoreName
from patchrec.data.histories import Example, window_start
from patchrec.errors import UsageError
from patchrec.history import History, IntArray
from patchrec.operations.candidates import NO_FILTERS, Filtered, Filters, find_items
from patchrec.operations.ready import NOTHING, Ready, make_ready, pick_run
from patchrec.ranking.ranker import Query, Ranker, Search
from patchrec.reporting import SILENT, Reporter
from patchrec.store import Store


@dataclass(frozen=True, slots=True)
class RankedItem:
    """One recommended item; rank 1 is the best, a higher score is better.

    Attributes:
        probability: Of the title among all titles of the catalog; None where it is not known.
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
        certificate: Why the ranking is exact (`patchrec.ranking.items.Certificate`), and whether that `holds`.
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
    home: Path | None = None,
    report: Reporter = SILENT,
) -> Recommendations:
    """Rank the catalog after everything a user did, or after a history given by titles or item ids.

    Args:
        filters: Which items may be ranked; what the user has had is left out unless they say otherwise.
        search: `best-first` stops with a proof; `whole` scores every title.
        max_tokens: Prompt positions run at a time; chosen from free memory where not given.

    Raises:
        NotFoundError: No such user, item or run. UsageError: Neither or both of user and history, or filters that
            leave nothing, or a title of several items.
    """
    if (user is None) == (history is None):
        raise UsageError("whose history? give either --user ID or --history TITLE (repeated, oldest first)")
    with Store.open(home) as store:
        ready = make_ready(store, pick_run(store, run, data, report), score, report)
    filtered = Filtered.of(ready.dataset.catalog, filters)
    if user is not None:
        query = user_query(ready, ready.dataset.user(user), keep_seen=filters.keep_seen)
    else:
        query = history_query(ready, find_items(ready.dataset.catalog, history or ()), keep_seen=filters.keep_seen)
    ranker = ranker_of(ready, max_tokens, report)
    [found] = ranker.rank([query], k, allowed=filtered.allowed, search=search)
    catalog = ready.dataset.catalog
    certificate = found.certificate
    return Recommendations(
        run=ready.run.name,
        label=ready.run.label,
        dataset=ready.dataset.name,
        user=user,
        score=ready.scorer.score,
        history=[catalog.titles[item] for item in query.history.items[-5:]],
        history_length=len(query.history),
        ranking=[
            RankedItem(line.rank, catalog.item_ids[line.item], line.title, line.score, line.probability)
            for line in found.recommendations
        ],
        shortfall=filtered.shortfall(k, query.seen, len(found.recommendations)) or found.shortfall,
        certificate=None if certificate is None else {**asdict(certificate), "holds": certificate.holds},
    )


def ranker_of(ready: Ready, max_tokens: int | None, report: Reporter) -> Ranker:
    """The ranker of a run, with the size of its batches.

    Args:
        max_tokens: Prompt positions run at a time; None chooses from free memory.
    """
    return replace(ready.ranker, max_tokens=max_tokens, report=report)


def user_query(ready: Ready, user: int, *, keep_seen: bool = False) -> Query:
    """What is asked after everything that a user of the data set did.

    Args:
        user: Index of the user.
        keep_seen: Rank what the user has had, too.
    """
    prompt = ready.run.config.prompt
    position = len(ready.dataset.sequences.items_of(user))
    return ready.query(Example.at(user, position, prompt.K, prompt.windows), keep_seen=keep_seen)


def history_query(ready: Ready, items: IntArray, *, keep_seen: bool = False) -> Query:
    """What is asked after a made-up history of catalog indices, oldest first."""
    prompt = ready.run.config.prompt
    start = window_start(len(items), prompt.K, prompt.windows)
    past = History(items[start:], None, start, prompt.windows == "anchored")
    return Query(past, ready.planner.plan(past), NOTHING if keep_seen else np.unique(items))
