"""Users' sequences, the examples of a split and the histories before their targets. No titles, no files."""

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import compress
from typing import Any

import numpy as np

from patchrec.config import SplitName, Windows
from patchrec.data.catalog import Catalog
from patchrec.data.digests import sequences_digest
from patchrec.errors import not_found
from patchrec.history import PER_ITEM, BoolArray, FloatArray, History, IntArray


def list_users(dataset: str) -> str:
    """The command that lists the users of a data set, for messages."""
    return f"`patchrec data users {dataset}`"


@dataclass(frozen=True, slots=True)
class Example:
    """One target and where its history starts: history = positions [start, position) of the user.

    Attributes:
        user: User index.
        start: First history position in the user's sequence.
        position: The target's position in the user's sequence.
        anchored: Whether the window was cut at an anchor.
    """

    user: int
    start: int
    position: int
    anchored: bool = False

    @classmethod
    def at(cls, user: int, position: int, K: int, windows: Windows) -> "Example":
        """The example of a target, which may be one past the user's last item."""
        return cls(user, window_start(position, K, windows), position, windows != "sliding")


@dataclass(frozen=True)
class Sequences:
    """All users' interactions in one flat array, each user oldest first.

    Attributes:
        user_ids: (U,) ids as in the source.
        offsets: (U + 1,) user u owns items[offsets[u]:offsets[u + 1]].
        items: (n,) catalog indices.
        timestamps: (n,) unix seconds, or None.
        train_stop: (U,) positions below are train.
        validation_stop: (U,) positions from train_stop below this are validation, the rest test.
        sessions: (n,) number of the session that the source names, or None.
        ratings: (n,) what users gave, NaN where nothing, or None. No part of the fingerprint.
    """

    user_ids: tuple[str, ...]
    offsets: IntArray
    items: IntArray
    timestamps: IntArray | None
    train_stop: IntArray
    validation_stop: IntArray
    sessions: IntArray | None = None
    ratings: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.user_ids)

    @cached_property
    def index(self) -> dict[str, int]:
        """User id -> index."""
        return {user_id: index for index, user_id in enumerate(self.user_ids)}

    def items_of(self, user: int) -> IntArray:
        """(n_u,) catalog indices of one user, oldest first."""
        return self.items[self.offsets[user] : self.offsets[user + 1]]

    def bounds(self, user: int, split: SplitName) -> tuple[int, int]:
        """Half-open range of positions of a user that belong to a split."""
        length = int(self.offsets[user + 1] - self.offsets[user])
        train, validation = int(self.train_stop[user]), int(self.validation_stop[user])
        return {"train": (0, train), "validation": (train, validation), "test": (validation, length)}[split]

    def all_bounds(self, split: SplitName) -> tuple[IntArray, IntArray]:
        """(U,) first and (U,) stop of what `bounds` gives one user at a time."""
        edges = (np.zeros(len(self), dtype=np.int64), self.train_stop, self.validation_stop, np.diff(self.offsets))
        place = ("train", "validation", "test").index(split)
        return edges[place], edges[place + 1]

    def places_of(self, split: SplitName) -> IntArray:
        """(n,) places in the flat arrays of all interactions of a split."""
        first, stop = self.all_bounds(split)
        users = np.repeat(np.arange(len(self)), np.diff(self.offsets))
        positions = np.arange(len(users)) - self.offsets[users]
        return np.flatnonzero((positions >= first[users]) & (positions < stop[users]))

    def targets_per_user(self, split: SplitName, min_history: int) -> IntArray:
        """(U,) number of interactions of each user in a split that come after so many of the user."""
        first, stop = self.all_bounds(split)
        return np.maximum(stop - np.maximum(first, min_history), 0)

    def select(self, mask: BoolArray) -> "Sequences":
        """The interactions where `mask` (n,) holds, each in the split that it was in; users without any go."""
        before = np.concatenate([[0], np.cumsum(mask)]).astype(np.int64)
        first, stop = before[self.offsets[:-1]], before[self.offsets[1:]]
        some = stop > first
        return Sequences(
            user_ids=tuple(compress(self.user_ids, some.tolist())),
            offsets=np.append(first[some], before[-1]),
            items=self.items[mask],
            timestamps=None if self.timestamps is None else self.timestamps[mask],
            train_stop=(before[self.offsets[:-1] + self.train_stop] - first)[some],
            validation_stop=(before[self.offsets[:-1] + self.validation_stop] - first)[some],
            sessions=None if self.sessions is None else self.sessions[mask],
            ratings=None if self.ratings is None else self.ratings[mask],
        )

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over users, items, times and split bounds (hex, 16 digits)."""
        columns = (self.offsets, self.items, self.timestamps, self.train_stop, self.validation_stop)
        whole = (None if column is None else [column] for column in columns)
        return sequences_digest([self.user_ids], whole, None if self.sessions is None else [self.sessions])


@dataclass(frozen=True)
class Dataset:
    """A data set in memory: what every later step reads.

    Attributes:
        min_history: Fewest items before a target (the paper's rule: 3, and only users with more than 3 items).
        noun, verb: Words of the prompt, such as "movie", "watched".
    """

    name: str
    catalog: Catalog
    sequences: Sequences
    min_history: int = 1
    noun: str = "item"
    verb: str = "chosen"

    @property
    def fingerprints(self) -> dict[str, str]:
        """Of `catalog` and `sequences`, as the store keeps them."""
        return {"catalog": self.catalog.fingerprint, "sequences": self.sequences.fingerprint}

    def user(self, user_id: str) -> int:
        """Index of a user id.

        Raises:
            NotFoundError: No such user.
        """
        if user_id not in self.sequences.index:
            raise not_found("user", user_id, self.sequences.user_ids, f"list them: {list_users(self.name)}")
        return self.sequences.index[user_id]

    def examples(self, split: SplitName, K: int, windows: Windows = "sliding") -> list[Example]:
        """Every target of a split with its history window: users in order, targets oldest first.

        Under `blocks` train targets are cut in consecutive blocks of K; others are asked after anchored windows.
        """
        in_blocks = windows == "blocks" and split == "train"
        found = []
        for user in range(len(self.sequences)):
            first, stop = self.sequences.bounds(user, split)
            for position in range(max(self.min_history, first), stop):
                if in_blocks:
                    found.append(Example(user, position // K * K, position, anchored=True))
                else:
                    found.append(Example.at(user, position, K, windows))
        return found

    def targets_per_user(self, split: SplitName) -> IntArray:
        """(U,) number of targets of each user in a split."""
        return self.sequences.targets_per_user(split, self.min_history)

    def num_targets(self, split: SplitName) -> int:
        """Number of targets of a split."""
        return int(self.targets_per_user(split).sum())

    def history(self, example: Example) -> History:
        """The history of an example (works for a made-up target at the end of the sequence too)."""
        base = int(self.sequences.offsets[example.user])
        cut = slice(base + example.start, base + example.position)
        arrays = ((name, getattr(self.sequences, name)) for name in PER_ITEM)
        own: dict[str, Any] = {name: None if array is None else array[cut] for name, array in arrays}
        return History(start=example.start, anchored=example.anchored, fields=self.catalog.metadata or None, **own)

    def target(self, example: Example) -> int:
        """Catalog index of an example's target."""
        return int(self.sequences.items[self.sequences.offsets[example.user] + example.position])

    def seen(self, example: Example) -> IntArray:
        """Distinct catalog indices of everything the user did before the target, older than the window too."""
        return np.unique(self.sequences.items_of(example.user)[: example.position])

    @cached_property
    def popularity(self) -> IntArray:
        """(I,) interactions of each item in the train split."""
        counts = np.zeros(len(self.catalog), dtype=np.int64)
        for user in range(len(self.sequences)):
            np.add.at(counts, self.sequences.items_of(user)[: self.sequences.train_stop[user]], 1)
        return counts


def newest(history: History, K: int, windows: Windows) -> History:
    """A history as another window would have cut it: without the older items that it leaves out.

    Args:
        history: At least as long as that window.
        K: History length.
        windows: How histories are cut.
    """
    start = max(history.start, window_start(history.start + len(history), K, windows))
    return replace(history.since(start - history.start), anchored=windows != "sliding")


def window_start(position: int, K: int, windows: Windows) -> int:
    """First history position for a target at `position`.

    `sliding` keeps the newest K. `anchored` starts on multiples of K/2 and keeps K/2 to K - 1 items (fewer only where
    the user has fewer), so that neighbouring targets share their prefix; so does `blocks`, but for training.
    """
    if windows == "sliding" or K < 2:
        return max(0, position - K)
    half = K // 2
    return max(0, (position // half - 1) * half)
