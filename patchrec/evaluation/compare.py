"""Which targets runs have in common, so that they can be compared target by target. Knows stored rows only."""

from collections.abc import Mapping, Sequence

from patchrec.store.evaluations import RankingRow

TargetKey = tuple[str, int, str]


def target_key(row: RankingRow) -> TargetKey:
    """What makes two rows the same target, in whatever run: user id, position and item id."""
    return row.user_id, row.position, row.item_id


def shared_targets(rankings: Mapping[str, Sequence[RankingRow]]) -> dict[str, list[RankingRow]]:
    """Rows of the targets that every run ranked, in one order for all runs.

    Args:
        rankings: Rows by the name of the run.
    """
    by_key = {name: {target_key(row): row for row in rows} for name, rows in rankings.items()}
    keys = sorted(set.intersection(*(set(found) for found in by_key.values()))) if by_key else []
    return {name: [found[key] for key in keys] for name, found in by_key.items()}
