"""From scores to stored rows: one ranking row for each target, one metric row for each metric and view.

A view is a level (`item` or `title`) with a rule for items that the user had before (`dropped` or `kept`).
"""

from collections.abc import Sequence
from math import isfinite, nan

import numpy as np

from patchrec.data.histories import Dataset, Example
from patchrec.evaluation.metrics import rank_metrics
from patchrec.evaluation.ranks import target_ranks
from patchrec.evaluation.significance import bootstrap
from patchrec.history import BoolArray, FloatArray, IntArray
from patchrec.ranking.items import item_order, unseen
from patchrec.recommender import Level, Scores
from patchrec.store.evaluations import MetricRow, RankingRow, Seen, Slice

VIEWS: tuple[tuple[Level, Seen], ...] = (
    ("item", "dropped"),
    ("item", "kept"),
    ("title", "dropped"),
    ("title", "kept"),
)
LOG_PROB = "log_prob"
LOG_PROB_VIEW: tuple[Level, Seen] = ("title", "kept")  # a distribution over all titles, so this is its only view
TOP = 20


def ranking_row(dataset: Dataset, example: Example, scores: Scores, level: Level, place: IntArray) -> RankingRow:
    """Rank the catalog for one target.

    Args:
        dataset: Where the target is from.
        example: The target.
        scores: Of all items.
        level: What they are of: items or their titles.
        place: (I,) order among equals (`precedence`).
    """
    target, seen, log_probs = dataset.target(example), dataset.seen(example), scores.log_probs
    title_of_item = dataset.catalog.title_of_item
    order = item_order(log_probs, place)
    ranks = target_ranks(order, title_of_item, target, seen)
    item_ids = dataset.catalog.item_ids
    best = unseen(order, seen)[:TOP].tolist()
    return RankingRow(
        user=example.user,
        user_id=dataset.sequences.user_ids[example.user],
        position=example.position,
        item_id=item_ids[target],
        log_prob=title_log_prob(log_probs, level, title_of_item, target),
        item_rank_dropped=_rank(ranks.item_dropped),
        item_rank_kept=_rank(ranks.item_kept),
        title_rank_dropped=_rank(ranks.title_dropped),
        title_rank_kept=_rank(ranks.title_kept),
        top=tuple((item_ids[item], float(log_probs[item])) for item in best),
        tokens=scores.cost.positions,
        seconds=scores.cost.seconds,
    )


def title_log_prob(log_probs: FloatArray, level: Level, title_of_item: IntArray, item: int) -> float:
    """Log-probability of an item's title, in nats, so that all kinds of recommender compare.

    A title is as probable as its items together.

    Args:
        log_probs: (I,) of the items or of their titles, as `level` says.
        level: Which.
        title_of_item: (I,) title of every item.
        item: Catalog index.
    """
    if level == "title":
        return float(log_probs[item])
    return float(np.logaddexp.reduce(log_probs[title_of_item == title_of_item[item]]))


def ranks_of(rows: Sequence[RankingRow], level: Level, seen: Seen) -> FloatArray:
    """(B,) ranks under one view; nan where the target was no candidate."""
    found = (getattr(row, f"{level}_rank_{seen}") for row in rows)
    return np.array([nan if rank is None else rank for rank in found], dtype=np.float64)


def target_values(rows: Sequence[RankingRow], level: Level, seen: Seen, ks: Sequence[int]) -> dict[str, FloatArray]:
    """Value of every target under every metric of a view; the log-probability has one view alone."""
    values = rank_metrics(ranks_of(rows, level, seen), ks)
    if (level, seen) == LOG_PROB_VIEW:
        values[LOG_PROB] = np.array([row.log_prob for row in rows], dtype=np.float64)
    return values


def default_values(rows: Sequence[RankingRow], metric: str) -> FloatArray:
    """(B,) value of each target under a metric in its default view: items, seen ones dropped; titles for `log_prob`.

    Args:
        rows: Targets.
        metric: A name as in `hr@10`, with any cut-off.
    """
    _, _, k = metric.partition("@")
    level, seen = LOG_PROB_VIEW if metric == LOG_PROB else ("item", "dropped")
    return target_values(rows, level, seen, (int(k),) if k else ())[metric]


def metric_rows(
    rows: Sequence[RankingRow], ks: Sequence[int], *, cold: BoolArray | None = None, seed: int = 0
) -> list[MetricRow]:
    """Every metric of every view with its interval over users: of all targets, then of the slice `cold`.

    Args:
        rows: Of all targets.
        ks: Cut-offs.
        cold: (B,) targets whose item has no interaction in the train split; without any there is no such slice.
        seed: Fixes the intervals.
    """
    found = _slice_rows("all", rows, ks, seed)
    if cold is not None and cold.any():
        found += _slice_rows("cold", [row for row, new in zip(rows, cold.tolist(), strict=True) if new], ks, seed)
    return found


def _slice_rows(targets: Slice, rows: Sequence[RankingRow], ks: Sequence[int], seed: int) -> list[MetricRow]:
    users = np.array([row.user for row in rows], dtype=np.int64)
    found = []
    for level, seen in VIEWS:
        values = target_values(rows, level, seen, ks)
        if all(row.log_prob is None for row in rows):
            values.pop(LOG_PROB, None)  # lists of another system have none
        intervals = bootstrap(np.stack(list(values.values()), axis=1), users, seed=seed)
        for name, interval in zip(values, intervals, strict=True):
            low, high = _known(interval.low), _known(interval.high)
            found.append(MetricRow(name, level, seen, interval.value, low, high, targets))
    return found


def _rank(rank: float) -> int | None:
    return int(rank) if isfinite(rank) else None


def _known(value: float) -> float | None:
    return value if isfinite(value) else None
