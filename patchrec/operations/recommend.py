"""Verb: recommend the next items for a user of the data set or for a made-up history."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from patchrec.config import ScoreName
from patchrec.data.catalog import Catalog
from patchrec.data.histories import Example, window_start
from patchrec.errors import NotFoundError, UsageError, unknown
from patchrec.history import History, IntArray
from patchrec.operations.ready import Ready, make_ready, pick_run
from patchrec.ranking.items import precedence, rank_items
from patchrec.reporting import SILENT, Reporter
from patchrec.store import Store


@dataclass(frozen=True, slots=True)
class RankedItem:
    """One recommended item; rank 1 is the best, a higher score is better."""

    rank: int
    item_id: str
    title: str
    score: float


@dataclass(frozen=True, slots=True)
class Recommendations:
    """A ranking and what it came from.

    Attributes:
        score: Name of the score.
        history: Newest titles of the history, oldest first, at most five.
        shortfall: Why there are fewer than asked for, else None.
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


def recommend(
    *,
    user: str | None = None,
    history: Sequence[str] | None = None,
    run: str | None = None,
    k: int = 10,
    data: str | None = None,
    keep_seen: bool = False,
    score: ScoreName | None = None,
    home: Path | None = None,
    report: Reporter = SILENT,
) -> Recommendations:
    """Rank the catalog after everything a user did, or after a history given by titles or item ids.

    Raises:
        NotFoundError: No such user, item or run. UsageError: Neither or both of user and history.
    """
    if (user is None) == (history is None):
        raise UsageError("whose history? give either --user ID or --history TITLE (repeated, oldest first)")
    with Store.open(home) as store:
        ready = make_ready(store, pick_run(store, run, data, report), score, report)
    prompt = ready.run.config.prompt
    dataset = ready.dataset
    if user is not None:
        index = dataset.user(user)
        length = len(dataset.sequences.items_of(index))
        example = Example.at(index, length, prompt.K, prompt.windows)
        past, seen = dataset.history(example), dataset.seen(example)
    else:
        items = find_items(dataset.catalog, history or ())
        start = window_start(len(items), prompt.K, prompt.windows)
        past, seen = History(items[start:], None, start, prompt.windows == "anchored"), np.unique(items)
    ranking = _rank(ready, past, None if keep_seen else seen, k)
    titles = dataset.catalog.titles
    return Recommendations(
        run=ready.run.name,
        label=ready.run.label,
        dataset=dataset.name,
        user=user,
        score=ready.scorer.score,
        history=[titles[item] for item in past.items[-5:]],
        history_length=len(past),
        ranking=ranking[0],
        shortfall=ranking[1],
    )


def _rank(ready: Ready, past: History, seen: IntArray | None, k: int) -> tuple[list[RankedItem], str | None]:
    catalog = ready.dataset.catalog
    path = ready.scorer.encoder.prompt_path(past, ready.planner.plan(past))
    found = rank_items(
        ready.scorer.score_prompt(path),
        ready.scorer.trie.title_of_item,
        precedence(ready.dataset.popularity),
        catalog.titles,
        k=k,
        seen=seen,
    )
    items = [
        RankedItem(line.rank, catalog.item_ids[line.item], line.title, line.score) for line in found.recommendations
    ]
    return items, found.shortfall


def find_items(catalog: Catalog, names: Sequence[str]) -> IntArray:
    """Catalog indices of items given by title (first of its name; case and blanks may differ) or by id.

    Raises:
        NotFoundError: No such title or id.
    """
    folded = {title.casefold().strip(): items[0] for title, items in reversed(catalog.by_title.items())}
    found = []
    for name in names:
        item = folded.get(name.casefold().strip(), catalog.index.get(name))
        if item is None:
            raise NotFoundError(unknown("item titled", name, catalog.titles, "or give an item id."))
        found.append(item)
    return np.array(found, dtype=np.int64)
