"""Interactions as a source lists them: flat arrays in file order, before any sorting or splitting."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from patchrec.history import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class Interactions:
    """Who chose what and when, in file order.

    Attributes:
        user_ids: (U,) ids in order of first appearance.
        users: (n,) indices into `user_ids`.
        items: (n,) catalog indices.
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
        kept = self.users[mask]
        seen, first, inverse = np.unique(kept, return_index=True, return_inverse=True)
        by_appearance = np.argsort(first)
        new_number = np.empty(len(seen), dtype=np.int64)
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
