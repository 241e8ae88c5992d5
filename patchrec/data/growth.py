"""A data set that grows: where new interactions stand among the stored ones, and which split they are of.

What is stored keeps its order and its split. A new interaction stands at its time, after what is stored of the same
second; where there are no times it is the user's newest. Under rules that cut at moments its time says its split; under
the others what is newer than all that is stored of its user is test, and what is older is of the split of the
interaction that it comes before. Knows no files and no store.

Shapes: U users and n interactions as stored, m new ones.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from patchrec.data.histories import Sequences
from patchrec.data.interactions import Interactions
from patchrec.data.splits import TIMED_RULES, Split, cut
from patchrec.errors import InputError
from patchrec.history import BoolArray, FloatArray, IntArray

TRAIN, VALIDATION, TEST = 0, 1, 2


@dataclass(frozen=True, eq=False)
class Growth:
    """What new interactions make of the sequences, and where each of them went.

    Attributes:
        sequences: With them, at version + 1.
        users: (m,) whose each is. A number from U on is a new user's.
        positions: (m,) its place in the user's sequence now.
        before: (m,) how many stored interactions of the user stand before it.
        ratings: (m,) or None.
        split: The rule with its cuts, as it is from now on.
        account: `interactions` and `users` that are new, `late` (older than the newest stored of their user),
            `into_train` and `into_validation`, and `repeated` (left out: user, item and second are stored already).
    """

    sequences: Sequences
    users: IntArray
    positions: IntArray
    before: IntArray
    ratings: FloatArray | None
    split: dict[str, Any]
    account: dict[str, int]

    def __len__(self) -> int:
        return len(self.users)


def grow(old: Sequences, found: Interactions, split: dict[str, Any], *, keep_repeats: bool = False) -> Growth:
    """Put new interactions among the stored ones.

    Args:
        old: What is stored.
        found: What is new, in file order; its items are those of the catalog as it will be.
        split: The rule of the data set with its cuts, as `cut` told it.
        keep_repeats: Keep what is stored already: user, item and second.

    Raises:
        InputError: Times or sessions are stored and the new have none, or the other way round.
    """
    _refuse_unlike(old, found)
    fresh = [user_id for user_id in found.user_ids if user_id not in old.index]
    number_of = old.index | {user_id: len(old) + place for place, user_id in enumerate(fresh)}
    renumbered = np.array([number_of[user_id] for user_id in found.user_ids], dtype=np.int64)
    users = renumbered[found.users]
    milliseconds = np.zeros(len(users), dtype=np.int64) if found.milliseconds is None else found.milliseconds
    order = np.lexsort((milliseconds, users))
    repeated = 0
    if old.timestamps is not None and not keep_repeats:
        stored = _stored(old, users[order], found.items[order], milliseconds[order] // 1000)
        repeated = int(stored.sum())
        order = order[~stored]
    users, seconds = users[order], None if old.timestamps is None else milliseconds[order] // 1000
    before = _places(old, users, seconds)
    parts = _parts(old, users, before, seconds, split)
    lengths = np.append(np.diff(old.offsets), np.zeros(len(fresh), dtype=np.int64))
    ends = np.append(old.offsets[1:], np.full(len(fresh), old.offsets[-1]))
    starts = ends - lengths
    at = starts[users] + before  # in the stored arrays: new ones of one place keep their order there
    first = np.searchsorted(users, users)  # of their user
    positions = before + np.arange(len(users)) - first
    counts = np.bincount(users, minlength=len(lengths))
    added = [np.bincount(users[parts <= part], minlength=len(lengths)) for part in (TRAIN, VALIDATION)]
    sessions = None
    if old.sessions is not None and found.sessions is not None:  # names are not kept: a new file's are others
        new = found.sessions[order].astype(np.int64) + int(old.sessions.max(initial=-1)) + 1
        sessions = np.insert(old.sessions, at, new)
    sequences = Sequences(
        user_ids=old.user_ids + tuple(fresh),
        offsets=np.concatenate([[0], np.cumsum(lengths + counts)]).astype(np.int64),
        items=np.insert(old.items, at, found.items[order]),
        timestamps=None if old.timestamps is None or seconds is None else np.insert(old.timestamps, at, seconds),
        train_stop=np.append(old.train_stop, np.zeros(len(fresh), dtype=np.int64)) + added[TRAIN],
        validation_stop=np.append(old.validation_stop, np.zeros(len(fresh), dtype=np.int64)) + added[VALIDATION],
        sessions=sessions,
        ratings=_ratings(old, found.ratings, order, at),
    )
    ratings = None if found.ratings is None else found.ratings[order]
    account = {
        "interactions": len(users),
        "users": len(fresh),
        "late": int((before < lengths[users]).sum()),
        "into_train": int((parts == TRAIN).sum()),
        "into_validation": int((parts == VALIDATION).sum()),
        "repeated": repeated,
    }
    return Growth(sequences, users, positions, before, ratings, split, account)


def resplit(growth: Growth, split: Split) -> Growth:
    """The same with a split of its own, by a rule over all that is there."""
    sequences = growth.sequences
    train_stop, validation_stop, about = cut(split, sequences.offsets, sequences.timestamps)
    sequences = replace(
        sequences, train_stop=train_stop.astype(np.int64), validation_stop=validation_stop.astype(np.int64)
    )
    kept = {key: value for key, value in growth.account.items() if not key.startswith("into_")}
    return replace(growth, sequences=sequences, split=about, account=kept)


def unchanged(old: Sequences, split: dict[str, Any]) -> Growth:
    """No new interaction at all."""
    nothing = np.empty(0, dtype=np.int64)
    return Growth(old, nothing, nothing, nothing, None, split, {"interactions": 0, "users": 0})


def first_rows(
    sequences: Sequences, mask: BoolArray, num_users: int, train_stop: IntArray, validation_stop: IntArray
) -> Sequences:
    """The sequences as they were when only some interactions were there.

    Args:
        sequences: As they are now.
        mask: (n,) the interactions that were there.
        num_users: Users that were there: the first so many.
        train_stop, validation_stop: (num_users,) how many of the interactions that were there are of a split.
    """
    before = np.concatenate([[0], np.cumsum(mask)])
    return Sequences(
        user_ids=sequences.user_ids[:num_users],
        offsets=before[sequences.offsets[: num_users + 1]].astype(np.int64),
        items=sequences.items[mask],
        timestamps=None if sequences.timestamps is None else sequences.timestamps[mask],
        train_stop=train_stop,
        validation_stop=validation_stop,
        sessions=None if sequences.sessions is None else sequences.sessions[mask],
        ratings=None if sequences.ratings is None else sequences.ratings[mask],
    )


def _ratings(old: Sequences, found: FloatArray | None, order: IntArray, at: IntArray) -> FloatArray | None:
    """Ratings of all interactions, NaN where there is none; None where there are none at all.

    Args:
        old: What is stored.
        found: Of the new ones, as they were read.
        order: Which of these are taken, in their order.
        at: Where each goes among the stored ones.
    """
    if old.ratings is None and found is None:
        return None
    stored = np.full(len(old.items), np.nan) if old.ratings is None else old.ratings
    return np.insert(stored, at, np.full(len(order), np.nan) if found is None else found[order])


def _refuse_unlike(old: Sequences, found: Interactions) -> None:
    """Refuse new interactions that do not say what the stored ones do."""
    for what, option, stored, new in (
        ("times", "--time-col", old.timestamps, found.milliseconds),
        ("named sessions", "--session-col", old.sessions, found.sessions),
    ):
        if stored is None and new is not None and len(old):
            raise InputError(f"the data set has no {what} and the file has; leave the column of {option} out of it")
        if stored is not None and new is None:
            raise InputError(f"the data set has {what} and the file has none; name their column with {option}")


def _stored(old: Sequences, users: IntArray, items: IntArray, seconds: IntArray) -> BoolArray:
    """(m,) whether user, item and second are stored already; ordered by users."""
    assert old.timestamps is not None
    found = np.zeros(len(users), dtype=np.bool_)
    for user, start, stop in _runs(users):
        if user < len(old):
            there = slice(int(old.offsets[user]), int(old.offsets[user + 1]))
            # of one user there are few: times decide nearly always
            near = np.isin(seconds[start:stop], old.timestamps[there])
            if near.any():
                pairs = set(zip(old.items[there].tolist(), old.timestamps[there].tolist(), strict=True))
                own = zip(items[start:stop].tolist(), seconds[start:stop].tolist(), strict=True)
                found[start:stop] = [pair in pairs for pair in own]
    return found


def _places(old: Sequences, users: IntArray, seconds: IntArray | None) -> IntArray:
    """(m,) how many stored interactions of its user stand before each; ordered by users."""
    found = np.zeros(len(users), dtype=np.int64)
    for user, start, stop in _runs(users):
        if user < len(old):
            first, end = int(old.offsets[user]), int(old.offsets[user + 1])
            if seconds is None or old.timestamps is None:
                found[start:stop] = end - first
            else:
                found[start:stop] = np.searchsorted(old.timestamps[first:end], seconds[start:stop], side="right")
    return found


def _runs(users: IntArray) -> list[tuple[int, int, int]]:
    """Each user of an ordered list, with the range of its places."""
    if not len(users):
        return []
    starts = np.flatnonzero(np.concatenate([[True], users[1:] != users[:-1]]))
    stops = np.append(starts[1:], len(users))
    return list(zip(users[starts].tolist(), starts.tolist(), stops.tolist(), strict=True))


def _parts(
    old: Sequences, users: IntArray, before: IntArray, seconds: IntArray | None, split: dict[str, Any]
) -> IntArray:
    """(m,) the split of each."""
    found = np.full(len(users), TEST, dtype=np.int64)
    if seconds is not None and split.get("rule") in TIMED_RULES and "train_until" in split:
        for part, name in ((VALIDATION, "validation_until"), (TRAIN, "train_until")):
            if split[name] is not None:
                found[seconds <= split[name]] = part
        return found
    known = users < len(old)
    whose = users[known]
    late = before[known] < np.diff(old.offsets)[whose]
    parts = np.where(before[known] < old.validation_stop[whose], VALIDATION, TEST)
    parts = np.where(before[known] < old.train_stop[whose], TRAIN, parts)
    found[known] = np.where(late, parts, TEST)
    return found
