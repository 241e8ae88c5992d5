"""Several seeds as one: means over seeds with their standard deviation, and targets with seeds averaged.

The interval over users and the deviation over seeds answer two questions: how much would other users change the number,
and how much would another training of the same. B targets, S seeds, m metrics.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

import numpy as np

from patchrec.evaluation.compare import shared_targets
from patchrec.evaluation.rows import VIEWS, part_intervals, target_values
from patchrec.history import BoolArray, FloatArray
from patchrec.recommender import Level
from patchrec.store.evaluations import MetricRow, RankingRow, Seen

Cut = Callable[[Sequence[RankingRow]], Mapping[str, BoolArray]]  # (B,) targets of each slice, by its name


@dataclass(frozen=True, slots=True)
class SeedMetric:
    """A metric over the seeds of a group; see `MetricRow`.

    Attributes:
        value: Mean over seeds.
        sd: Their standard deviation (that of a sample: S - 1); None for one seed.
        low, high: Interval over users of targets whose seeds are averaged; None where there are too few, and for
            slices that nobody cut (`mean_metrics`).
    """

    name: str
    level: Level
    seen: Seen
    value: float | None
    low: float | None
    high: float | None
    slice: str
    sd: float | None
    slice_targets: int | None = None
    slice_users: int | None = None


def mean_metrics(
    metrics: Sequence[Sequence[MetricRow]],
    rankings: Sequence[Sequence[RankingRow]],
    *,
    cut: Cut | None = None,
    seed: int = 0,
) -> list[SeedMetric]:
    """The metrics that all seeds have, averaged.

    Args:
        metrics: Of each seed.
        rankings: Of each seed, of the same targets.
        cut: Finds the targets of slices, which then have intervals too.
        seed: Fixes the intervals.
    """
    found = [{(row.name, row.level, row.seen, row.slice): row for row in rows} for rows in metrics]
    intervals = _intervals(found[0].values(), rankings, cut, seed)
    averaged = []
    for key, row in found[0].items():
        values = [rows[key].value for rows in found if key in rows]
        if len(values) < len(found):
            continue
        known = [value for value in values if value is not None]
        whole = known if len(known) == len(values) else []
        low, high = intervals.get(key, (None, None))
        mean = fmean(whole) if whole else None
        sizes = row.slice_targets, row.slice_users
        averaged.append(SeedMetric(row.name, row.level, row.seen, mean, low, high, row.slice, deviation(whole), *sizes))
    return averaged


def deviation(values: Sequence[float]) -> float | None:
    """Standard deviation over seeds, that of a sample; None for fewer than two."""
    return stdev(values) if len(values) > 1 else None


def averaged_targets(values: Sequence[FloatArray]) -> FloatArray:
    """(B,) the mean over seeds of each target, of (B,) values for each seed."""
    return np.asarray(np.mean(np.stack(list(values)), axis=0), dtype=np.float64)


Key = tuple[str, Level, Seen, str]


def _intervals(
    rows: Iterable[MetricRow], rankings: Sequence[Sequence[RankingRow]], cut: Cut | None, seed: int
) -> dict[Key, tuple[float | None, float | None]]:
    """Intervals over users of seed-averaged targets, for every metric over all of them and over the slices cut."""
    ks = sorted({int(k) for row in rows if (k := row.name.partition("@")[2])})
    shared = list(shared_targets({str(number): found for number, found in enumerate(rankings)}).values())
    if not shared or not shared[0]:
        return {}
    columns: dict[tuple[str, Level, Seen], FloatArray] = {}
    for level, seen in VIEWS:
        each = [target_values(rows, level, seen, ks) for rows in shared]
        for name in each[0]:
            if all(name in values for values in each):
                columns[name, level, seen] = averaged_targets([values[name] for values in each])
    users = np.array([row.user for row in shared[0]], dtype=np.int64)
    values = np.stack(list(columns.values()), axis=1)
    found: dict[Key, tuple[float | None, float | None]] = {}
    for part, _, intervals in part_intervals(values, users, cut(shared[0]) if cut else {}, seed=seed):
        for key, interval in zip(columns, intervals, strict=True):
            ends = (interval.low, interval.high)
            found[*key, part] = ends if np.isfinite(ends).all() else (None, None)
    return found
