"""Interactions as a source lists them: flat arrays in file order, before any sorting or splitting."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from patchrec.history import FloatArray, IntArray

COUNTED_AT_ONCE = 1 << 20


@dataclass(frozen=True, eq=False)
class Interactions:
    """Who chose what and when, in file order.

    Attributes:
        user_ids: (U,) ids in order of first appearance.
        users: (n,) indices into `user_ids`; of 32 bits or 64.
        items: (n,) catalog indices; of 32 bits or 64.
        milliseconds: (n,) unix time, or None where the source has no times: then file order is time order.
        ratings: (n,) or None; NaN where a single one is missing.
        sessions: (n,) number of the session that the source names, or None.
    """

    user_ids: tuple[str, ...]
    users: IntArray
    items: IntArray
    milliseconds: IntArray | None = None
    ratings: FloatArray | None = None
    sessions: IntArray | None = None

    def __len__(self) -> int:
        return len(self.users)

    def select(self, mask: npt.NDArray[np.bool_]) -> "Interactions":
        """The interactions where `mask` holds; users are numbered anew, by first appearance among those."""
        if mask.all() and _in_order_of_appearance(self.users, len(self.user_ids)):
            return self
        kept = self.users[mask]
        seen, first, inverse = np.unique(kept, return_index=True, return_inverse=True)
        by_appearance = np.argsort(first)
        new_number = np.empty(len(seen), dtype=self.users.dtype)
        new_number[by_appearance] = np.arange(len(seen))
        return Interactions(
            user_ids=tuple(self.user_ids[user] for user in seen[by_appearance].tolist()),
            users=new_number[inverse],
            items=self.items[mask],
            milliseconds=None if self.milliseconds is None else self.milliseconds[mask],
            ratings=None if self.ratings is None else self.ratings[mask],
            sessions=None if self.sessions is None else self.sessions[mask],
        )

    def only_active(self, more_than: int) -> "Interactions":
        """The interactions of users who have more than so many."""
        counts = np.bincount(self.users, minlength=len(self.user_ids))
        return self.select(counts[self.users] > more_than)


def count(numbers: IntArray, size: int) -> IntArray:
    """(size,) how often each number stands there: `np.bincount`, which would make 64 bits of all of them at once."""
    found = np.zeros(size, dtype=np.int64)
    for start in range(0, len(numbers), COUNTED_AT_ONCE):
        found += np.bincount(numbers[start : start + COUNTED_AT_ONCE], minlength=size)
    return found


def _in_order_of_appearance(users: IntArray, number: int) -> bool:
    """Whether so many users are numbered as they first appear, and all of them do."""
    if not len(users):
        return number == 0
    highest = np.maximum.accumulate(users)
    return bool(users[0] == 0 and highest[-1] == number - 1 and (highest[1:] - highest[:-1] <= 1).all())
