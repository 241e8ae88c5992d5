"""Runs side by side: differences on the targets that all of them ranked. Knows stored rows, not how they were made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, groupby

import numpy as np

from patchrec.errors import UsageError
from patchrec.evaluation.rows import target_values
from patchrec.evaluation.significance import PairedDifference, holm, paired
from patchrec.store.evaluations import Level, RankingRow, Seen

TargetKey = tuple[str, int, str]


@dataclass(frozen=True, slots=True)
class Comparison:
    """First run minus second run under one metric and view.

    Attributes:
        p_adjusted: The p-value after Holm's correction over all pairs of this metric.
        num_targets, num_users: What both runs share.
    """

    first: str
    second: str
    metric: str
    level: Level
    seen: Seen
    paired: PairedDifference
    p_adjusted: float
    num_targets: int
    num_users: int


def shared_targets(rankings: Mapping[str, Sequence[RankingRow]]) -> dict[str, list[RankingRow]]:
    """Rows of the targets (user, position, item) that every run ranked, in one order."""
    by_key = {name: {target_key(row): row for row in rows} for name, rows in rankings.items()}
    keys = sorted(set.intersection(*(set(found) for found in by_key.values()))) if by_key else []
    return {name: [found[key] for key in keys] for name, found in by_key.items()}


def target_key(row: RankingRow) -> TargetKey:
    """What makes two rows the same target, in whatever run."""
    return row.user_id, row.position, row.item_id


def compare_runs(
    rankings: Mapping[str, Sequence[RankingRow]],
    *,
    level: Level = "item",
    seen: Seen = "dropped",
    ks: Sequence[int] = (10, 20),
    seed: int = 0,
) -> list[Comparison]:
    """Compare every pair of runs under every metric of a view, metric by metric.

    Log-probabilities (view `title`, `kept`) compare only between runs of the same score.

    Args:
        rankings: Rows of each run; pairs are taken in this order.
        level: Items or titles.
        seen: Whether items the user had before are dropped or kept.
        ks: Cut-offs.
        seed: Fixes the draws.

    Raises:
        UsageError: The runs have no target in common.
    """
    rows = shared_targets(rankings)
    if not rows or not next(iter(rows.values())):
        raise UsageError(
            f"runs {', '.join(rankings)} ranked no target in common; evaluate them on the same split with one --limit"
        )
    user_ids = [row.user_id for row in next(iter(rows.values()))]
    users = np.unique(user_ids, return_inverse=True)[1]
    values = {name: target_values(found, level, seen, ks) for name, found in rows.items()}
    found = [
        Comparison(
            first, second, metric, level, seen,
            paired(values[first][metric], values[second][metric], users, seed=seed),
            p_adjusted=1.0, num_targets=len(users), num_users=len(set(user_ids)),
        )
        for metric in next(iter(values.values()))
        for first, second in combinations(values, 2)
    ]  # fmt: skip
    return _adjusted(found)


def _adjusted(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Fill in the corrected p-values, metric by metric."""
    found: list[Comparison] = []
    for _, group in groupby(comparisons, key=lambda comparison: comparison.metric):
        pairs = list(group)
        corrected = holm([pair.paired.p_value for pair in pairs])
        found += [replace(pair, p_adjusted=p) for pair, p in zip(pairs, corrected, strict=True)]
    return found
