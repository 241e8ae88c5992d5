"""From scores to stored rows: one ranking row for each target, one metric row for each metric and view.

A view is a level (`item` or `title`) with a rule for items that the user had before (`dropped` or `kept`).
"""

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite, nan

import numpy as np

from patchrec.data.histories import Dataset, Example
from patchrec.errors import UsageError
from patchrec.evaluation.metrics import rank_metrics
from patchrec.evaluation.ranks import target_ranks
from patchrec.evaluation.significance import Interval, bootstrap
from patchrec.history import BoolArray, FloatArray, IntArray
from patchrec.ranking.items import item_order, unseen
from patchrec.recommender import Level, Located
from patchrec.store.evaluations import ALL, MetricRow, RankingRow, Seen

VIEWS: tuple[tuple[Level, Seen], ...] = (
    ("item", "dropped"),
    ("item", "kept"),
    ("title", "dropped"),
    ("title", "kept"),
)
LOG_PROB = "log_prob"
LOG_PROB_VIEW: tuple[Level, Seen] = ("title", "kept")  # a distribution over all titles, so this is its only view
TOP = 20


def ranking_row(
    dataset: Dataset,
    example: Example,
    located: Located,
    level: Level,
    place: IntArray,
    exact_to: int | None = None,
    top: int = TOP,
) -> RankingRow:
    """Rank the catalog for one target.

    Args:
        dataset: Where the target is from.
        example: The target.
        located: Scores of all items, or of as many as the ranks need.
        level: What they are of: items or their titles.
        place: (I,) order among equals (`precedence`).
        exact_to: Ranks beyond this are not known; None: all are.
        top: How many of the best items it keeps, where so many are known.
    """
    target, seen, title_of_item = dataset.target(example), dataset.seen(example), dataset.catalog.title_of_item
    best_first = item_order(located.log_probs, place[located.items])
    order = located.items[best_first]
    score_of = dict(zip(order.tolist(), located.log_probs[best_first].tolist(), strict=True))
    ranks = target_ranks(order, title_of_item, target, seen)
    item_ids = dataset.catalog.item_ids
    best = unseen(order, seen)[: top_length(exact_to, top)].tolist()
    log_prob = title_log_prob(located.log_probs, level, title_of_item, target) if located.is_whole else located.log_prob
    return RankingRow(
        user=example.user,
        user_id=dataset.sequences.user_ids[example.user],
        position=example.position,
        item_id=item_ids[target],
        log_prob=log_prob,
        item_rank_dropped=_rank(ranks.item_dropped, exact_to),
        item_rank_kept=_rank(ranks.item_kept, exact_to),
        title_rank_dropped=_rank(ranks.title_dropped, exact_to),
        title_rank_kept=_rank(ranks.title_kept, exact_to),
        top=tuple((item_ids[item], score_of[item]) for item in best),
        tokens=located.cost.positions,
        seconds=located.cost.seconds,
    )


def top_length(exact_to: int | None, top: int = TOP) -> int:
    """How many of the best items a row keeps of those asked for, where ranks are exact up to a limit or all of them."""
    return top if exact_to is None else min(top, exact_to)


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


def target_values(
    rows: Sequence[RankingRow], level: Level, seen: Seen, ks: Sequence[int], exact_to: int | None = None
) -> dict[str, FloatArray]:
    """Value of every target under every metric of a view; the log-probability has one view alone.

    Where ranks are exact up to a limit there is no `mrr`, which needs all of them, and no `log_prob` where some target
    has none.

    Raises:
        UsageError: A k is beyond the limit.
    """
    check_cutoffs(ks, exact_to)
    values = rank_metrics(ranks_of(rows, level, seen), ks)
    if exact_to is not None:
        del values["mrr"]
    if (level, seen) == LOG_PROB_VIEW and all(row.log_prob is not None for row in rows):
        values[LOG_PROB] = np.array([row.log_prob for row in rows], dtype=np.float64)
    return values


def check_cutoffs(ks: Sequence[int], exact_to: int | None) -> None:
    """Refuse cutoffs beyond the ranks that are known.

    Raises:
        UsageError: The message says what to do.
    """
    if exact_to is not None and max(ks, default=0) > exact_to:
        raise UsageError(
            f"a cutoff of {max(ks)} needs ranks beyond {exact_to}, which an evaluation with --exact-to {exact_to} does "
            f"not know; take --exact-to {max(ks)}, or cutoffs up to {exact_to}"
        )


def default_values(rows: Sequence[RankingRow], metric: str) -> FloatArray:
    """(B,) value of each target under a metric in its default view: items, seen ones dropped; titles for `log_prob`.

    Args:
        rows: Targets, whose ranks are known as far as the metric needs them (`check_cutoffs`).
        metric: A name as in `hr@10`, with any cut-off.
    """
    _, _, k = metric.partition("@")
    level, seen = LOG_PROB_VIEW if metric == LOG_PROB else ("item", "dropped")
    return target_values(rows, level, seen, (int(k),) if k else ())[metric]


def metric_rows(
    rows: Sequence[RankingRow],
    ks: Sequence[int],
    *,
    slices: Mapping[str, BoolArray] | None = None,
    seed: int = 0,
    exact_to: int | None = None,
) -> list[MetricRow]:
    """Every metric of every view with its interval over users: of all targets, then of each slice.

    Args:
        rows: Of all targets.
        ks: Cut-offs.
        slices: (B,) targets of each, one at least, by its name.
        seed: Fixes the intervals.
        exact_to: Ranks beyond this are not known; None: all are.

    Raises:
        UsageError: A k is beyond the ranks that are known.
    """
    users = np.array([row.user for row in rows], dtype=np.int64)
    columns = [(name, *view, own) for view in VIEWS for name, own in target_values(rows, *view, ks, exact_to).items()]
    values = np.stack([own for *_, own in columns], axis=1)
    found = []
    for part, members, intervals in part_intervals(values, users, slices or {}, seed=seed):
        sizes = int(members.sum()), len(np.unique(users[members]))
        for (name, level, seen, _), interval in zip(columns, intervals, strict=True):
            low, high = _known(interval.low), _known(interval.high)
            found.append(MetricRow(name, level, seen, interval.value, low, high, part, *sizes))
    return found


def part_intervals(
    values: FloatArray, users: IntArray, slices: Mapping[str, BoolArray], *, seed: int = 0
) -> Iterator[tuple[str, BoolArray, list[Interval]]]:
    """All targets, then each slice: its name, its targets, and the interval of every metric over its users.

    Args:
        values: (B, m) value of each target under each metric.
        users: (B,) user of each target.
        slices: (B,) targets of each, by its name.
        seed: Fixes the intervals.
    """
    parts = {ALL: np.ones(len(users), dtype=np.bool_), **slices}
    for part, members in parts.items():
        yield part, members, bootstrap(values[members], users[members], seed=seed)


def _rank(rank: float, exact_to: int | None) -> int | None:
    """A rank as it is stored: one beyond what is exact says just that, None that the target is no candidate."""
    if not isfinite(rank):
        return None
    return int(rank) if exact_to is None else int(min(rank, exact_to + 1))


def _known(value: float) -> float | None:
    return value if isfinite(value) else None
