"""Parts of the targets of an evaluation, so that a mean does not hide where a recommender is good.

Slices are of targets, not of runs: the same targets give the same slices, whoever ranked them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from patchrec.data.histories import Dataset
from patchrec.history import BoolArray, IntArray
from patchrec.store.evaluations import RankingRow

PARTS = 3


@dataclass(frozen=True, slots=True, eq=False)
class SliceOfTargets:
    """Some of the targets.

    Attributes:
        by: What they were divided by: `all`, `history` or `popularity`.
        name: Which part, in words.
        chosen: (B,) whether a target belongs.
    """

    by: str
    name: str
    chosen: BoolArray


def slices(dataset: Dataset, rows: Sequence[RankingRow]) -> list[SliceOfTargets]:
    """All targets, then their slices by history length and by popularity of the target; empty ones are left out.

    - `history`: items before the target, in three parts of about as many targets; equal lengths stay together.
    - `popularity`: interactions of the target's item in the train split. `head` items are the most popular ones that
      have a third of these interactions together, `middle` those that have the next third, `tail` the others; items
      that have none are never seen in training.

    Args:
        dataset: Where the targets are from.
        rows: Targets, each an item of the catalog.
    """
    items = np.array([dataset.catalog.index[row.item_id] for row in rows], dtype=np.int64)
    lengths = np.array([row.position for row in rows], dtype=np.int64)
    group = popularity_groups(dataset.popularity)[items]
    names = ("head: most popular items", "middle", "tail: least popular items", "never seen in training")
    found = [
        SliceOfTargets("all", "all targets", np.ones(len(rows), dtype=np.bool_)),
        *_by_length(lengths),
        *(SliceOfTargets("popularity", name, group == number) for number, name in enumerate(names)),
    ]
    return [one for one in found if one.chosen.any()]


def popularity_groups(popularity: IntArray) -> IntArray:
    """(I,) 0 for items of the head, 1 for the middle, 2 for the tail, 3 without an interaction.

    Args:
        popularity: (I,) interactions of each item. Items that are equally popular are of one group.
    """
    order = np.argsort(-popularity, kind="stable")
    before = np.empty(len(popularity), dtype=np.int64)
    before[order] = np.cumsum(popularity[order]) - popularity[order]  # interactions of more popular items
    first = {count: before[popularity == count].min() for count in np.unique(popularity).tolist()}
    share = np.array([first[count] for count in popularity.tolist()], dtype=np.int64) * PARTS
    group = np.minimum(share // max(int(popularity.sum()), 1), PARTS - 1)
    return np.asarray(np.where(popularity == 0, PARTS, group), dtype=np.int64)


def _by_length(lengths: IntArray) -> list[SliceOfTargets]:
    """Targets by the length of their history; none where all are of one part."""
    if len(lengths) == 0:
        return []
    edges = np.unique(np.quantile(lengths, [part / PARTS for part in range(1, PARTS)], method="lower"))
    part = np.searchsorted(edges, lengths, side="left")  # a length equal to an edge is of the part that it ends
    found = []
    for number in np.unique(part).tolist():
        chosen = part == number
        least, most = int(lengths[chosen].min()), int(lengths[chosen].max())
        name = f"after {least:,} items" if least == most else f"after {least:,} to {most:,} items"
        found.append(SliceOfTargets("history", name, chosen))
    return found if len(found) > 1 else []
