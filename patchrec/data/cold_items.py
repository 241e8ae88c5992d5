"""Cold items: a drawn share of the items that the test split alone is to know. Knows no files and no store.

Their interactions in train and validation are left out after the split was cut: moments of cuts, and what is test, are
as without it. Histories get shorter by them, and a test interaction with too short a one is no target.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from patchrec.data.splits import Arranged, fraction_of
from patchrec.errors import InputError
from patchrec.history import IntArray

REASON = "of items that only the test split shall know (--cold-items)"
"""Why an interaction is left out."""


class WithColdItems(NamedTuple):
    """Interactions without those that would make cold items known.

    Attributes:
        record: `share`, `seed`, how many `items` were drawn and how many of them are `in_test`; how many
            `interactions`, `users` (all of whose interactions those were) and test `targets` (with too short a history
            now) are gone.
    """

    arranged: Arranged
    record: dict[str, Any]


def draw(items: IntArray, share: float, seed: int) -> IntArray:
    """A share of the items that occur, rounded down and at least one of them, drawn by the seed.

    Args:
        items: (n,) catalog indices of interactions, in any order.
        share: Above 0 and below 1.
        seed: Of NumPy's default generator.
    """
    occurring = np.unique(items)
    number = max(fraction_of(share) * len(occurring) // 1, 1)
    return np.random.default_rng(seed).choice(occurring, number, replace=False)


def leave_to_test(arranged: Arranged, share: float, seed: int) -> WithColdItems:
    """Leave out what train and validation have of a drawn share of the items.

    Raises:
        InputError: No interaction is left in train, or no target where there were some.
    """
    before = arranged.sequences
    drawn = draw(before.items, share, seed)
    test = before.places_of("test")
    mask = np.isin(before.items, drawn, invert=True)
    mask[test] = True
    after = before.select(mask)
    least = arranged.min_history
    targets = {
        split: [int(one.targets_per_user(split, least).sum()) for one in (before, after)] for split in ("train", "test")
    }
    if not after.train_stop.any() or (targets["train"][0] and not targets["train"][1]):
        raise InputError(
            f"--cold-items {share!r} leaves nothing to learn from in the train split; lower it, or draw other items "
            "with --seed"
        )
    ratings = None if arranged.ratings is None else arranged.ratings[mask]
    record = {
        "share": share,
        "seed": seed,
        "items": len(drawn),
        "in_test": len(np.intersect1d(drawn, before.items[test])),
        "interactions": len(before.items) - len(after.items),
        "users": len(before) - len(after),
        "targets": targets["test"][0] - targets["test"][1],
    }
    return WithColdItems(replace(arranged, sequences=after, ratings=ratings), record)
