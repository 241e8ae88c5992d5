"""Verb: recommend the next items for a user of the data set or for a made-up history."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from patchrec.config import ScoreName
from patchrec.errors import UsageError
from patchrec.operations.filters import NO_FILTERS, Filtered, Filters, find_items
from patchrec.operations.load import load, pick_run
from patchrec.operations.unknown_users import MODEL, Source, Unknown, stand_in
from patchrec.recommender import Search, nothing, rank
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

    Raises:
        NotFoundError: No such user, item or run. UsageError: Neither or both of user and history, or filters that
            leave nothing, or a title of several items.
    """
    if (user is None) == (history is None):
        raise UsageError("whose history? give either --user ID or --history TITLE (repeated, oldest first)")
    with Store.open(home) as store:
        chosen = pick_run(store, run, data, report)
        loaded = load(store, chosen, score, report, search=search, max_tokens=max_tokens, retrieve=retrieve)
    catalog = loaded.dataset.catalog
    filtered = Filtered.of(catalog, filters)
    source, answering = MODEL, loaded.recommender
    if user is not None and unknown == "popular" and user not in loaded.dataset.sequences.index:
        source, answering = stand_in(loaded)
        query = loaded.history_query(nothing())
    elif user is not None:
        query = loaded.user_query(loaded.dataset.user(user), keep_seen=filters.keep_seen)
    else:
        query = loaded.history_query(find_items(catalog, history or ()), keep_seen=filters.keep_seen)
    [found] = rank(answering, [query], k, allowed=filtered.allowed)
    certificate = found.certificate
    return Recommendations(
        run=loaded.run.name,
        label=loaded.run.label,
        dataset=loaded.dataset.name,
        user=user,
        score=answering.score,
        history=[catalog.titles[item] for item in query.history.items[-5:]],
        history_length=len(query.history),
        ranking=[
            RankedItem(line.rank, catalog.item_ids[line.item], line.title, line.score, line.probability)
            for line in found.recommendations
        ],
        shortfall=filtered.shortfall(k, query.seen, len(found.recommendations)) or found.shortfall,
        certificate=None if certificate is None else {**asdict(certificate), "holds": certificate.holds},
        source=source,
    )
