"""Lists that another system recommended: user, item, and a rank or a score, from a table or a TREC run.

A list is for a target where the file says so by a column `position` (as `patchrec data export` prints it) or
`timestamp` (unix seconds), in a TREC run by a query `USER:POSITION`; else it is the user's.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from patchrec.data.catalog import Catalog
from patchrec.data.histories import Sequences
from patchrec.data.inputs import Part, find_parts
from patchrec.data.lines import BLOCK, Rejects, reading
from patchrec.data.list_rows import (
    MEND,
    NEEDED,
    QUERY,
    TREC,
    columns_of,
    number,
    open_rows,
    seconds,
    whole,
    without_options,
)
from patchrec.data.readers import FORMATS, shown
from patchrec.data.timestamps import WHOLE
from patchrec.data.values import text_of
from patchrec.data.writers import FORMULA
from patchrec.errors import InputError
from patchrec.history import FloatArray, IntArray

By = Literal["position", "timestamp", "user"]

_WHOLE_LIST = -1  # the moment of a list that is the user's


@dataclass(frozen=True, slots=True, eq=False)
class RankedList:
    """One list.

    Attributes:
        items: (n,) best first: catalog indices, and a negative number for what is not in the catalog, each its own.
        scores: (n,) higher is better: the file's scores, else the ranks with a minus.
    """

    items: IntArray
    scores: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Lists:
    """All lists of a file.

    Attributes:
        file: Its name, without the folder.
        sha256: Of its bytes, unpacked (hex, 16 digits).
        by: What says which target a list is for.
        unknown_users: Users of the file that the data set does not have; their lists are left out.
        unknown_items: What the catalog does not have; it keeps its place in a list.
        num_unknown: How many places such items have in all lists.
    """

    file: str
    sha256: str
    by: By
    unknown_users: tuple[str, ...]
    unknown_items: tuple[str, ...]
    num_unknown: int
    _found: dict[tuple[int, int], RankedList]

    def __len__(self) -> int:
        return len(self._found)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """User and moment of each list: the position or the unix seconds of its target, or -1."""
        return iter(self._found)

    def get(self, user: int, moment: int = _WHOLE_LIST) -> RankedList | None:
        """The list of a user for a target; None where there is none."""
        return self._found.get((user, moment))

    @property
    def lengths(self) -> IntArray:
        """(number of lists,) how long each is."""
        return np.array([len(one.items) for one in self._found.values()], dtype=np.int64)


@dataclass(slots=True)
class _Rows:
    """Rows as they are read, column by column."""

    files: list[str] = field(default_factory=list)
    lines: list[tuple[int, int]] = field(default_factory=list)
    users: list[int] = field(default_factory=list)
    moments: list[int] = field(default_factory=list)
    items: list[int] = field(default_factory=list)
    ranks: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)

    def where(self, row: int) -> str:
        """File and line of a row."""
        file, line = self.lines[row]
        return f"{self.files[file]}:{line}"


def read_lists(named: str, sequences: Sequences, catalog: Catalog, place: IntArray) -> Lists:
    """Read a file of lists, or a folder of its parts.

    Lists are in the order of their ranks where the file has them, else of their scores, higher first; equal scores
    stand as `place` says.

    Args:
        named: The file, packed or not.
        sequences: Whose users have lists.
        catalog: Whose items are in them.
        place: (I,) order of items among equal scores.

    Raises:
        InputError: The file cannot be read, a row is no such thing, an item is twice in a list, ranks and scores
            contradict each other, or none of its users or of its items is known.
    """
    try:
        with ExitStack() as stack:
            parts = find_parts([named], {**FORMATS, **dict.fromkeys(TREC, "trec")}, stack)
            reader = _Reader(sequences, catalog)
            for part in parts:
                reader.read(part)
            digest = _digest(parts)
    except InputError as error:
        raise without_options(error) from error
    return reader.lists(parts[0].name if len(parts) == 1 else named, digest, place)


class _Reader:
    """Reads rows, and makes them lists."""

    def __init__(self, sequences: Sequences, catalog: Catalog) -> None:
        self._sequences, self._catalog = sequences, catalog
        self._rows = _Rows()
        self._by: By | None = None
        self._unknown_users: dict[str, None] = {}
        self._unknown_items: dict[str, int] = {}
        self._ranked: bool | None = None

    def read(self, part: Part) -> None:
        """Add the rows of a file."""
        rejects = Rejects()
        with open_rows(part, rejects) as table:
            columns = columns_of(table, part)
            self._rows.files.append(table.file)
            for batch in table.batches:
                values = {what: batch.columns[name] for what, name in columns.items()}
                for row, line in enumerate(batch.numbers):
                    try:
                        self._add({what: column[row] for what, column in values.items()}, int(line))
                    except ValueError as error:
                        rejects.add(table.file, int(line), str(error), MEND)

    def _add(self, row: dict[str, Any], line: int) -> None:
        user, moment, by = self._target(row)
        if by != (self._by or by):
            raise ValueError(f"this list is by {by}, and those before are by {self._by}")
        ranked = "rank" in row
        if ranked != (ranked if self._ranked is None else self._ranked):
            raise ValueError("this file has ranks and another has none")
        self._by, self._ranked = by, ranked
        item = self._item(text_of(row["item"], "the item"))
        rank = float(whole(row["rank"], "rank")) if ranked else 0.0
        score = number(row["score"], "score") if "score" in row else -rank
        if user < 0:
            return
        rows = self._rows
        rows.lines.append((len(rows.files) - 1, line))
        rows.users.append(user)
        rows.moments.append(moment)
        rows.items.append(item)
        rows.ranks.append(rank)
        rows.scores.append(score)

    def _target(self, row: dict[str, Any]) -> tuple[int, int, By]:
        """User and moment of a row's list; the user is -1 where it is none of the data set."""
        index = self._sequences.index
        if QUERY in row:
            query = text_of(row[QUERY], "the query")
            name, _, position = query.rpartition(":")
            if query not in index and name and WHOLE.fullmatch(position):
                return self._user(name), int(position), "position"
            return self._user(query), _WHOLE_LIST, "user"
        user = self._user(text_of(row["user"], "the user"))
        if "position" in row:
            return user, whole(row["position"], "position"), "position"
        if "timestamp" in row:
            return user, seconds(row["timestamp"]), "timestamp"
        return user, _WHOLE_LIST, "user"

    def _user(self, name: str) -> int:
        found = _find(self._sequences.index, name)
        if found is None:
            self._unknown_users[name] = None
        return -1 if found is None else found

    def _item(self, name: str) -> int:
        found = _find(self._catalog.index, name)
        return -1 - self._unknown_items.setdefault(name, len(self._unknown_items)) if found is None else found

    def lists(self, file: str, digest: str, place: IntArray) -> Lists:
        """What was read, as lists.

        Raises:
            InputError: As `read_lists`.
        """
        rows = self._rows
        users, moments = np.array(rows.users, dtype=np.int64), np.array(rows.moments, dtype=np.int64)
        items = np.array(rows.items, dtype=np.int64)
        self._refuse_strangers(file, items)
        self._refuse_twice(users, moments, items)
        ranks, scores = np.array(rows.ranks), np.array(rows.scores)
        ties = np.where(items < 0, len(place), place[np.maximum(items, 0)])
        order = np.lexsort((ties, -scores, ranks, moments, users))
        new = np.ones(len(order), dtype=np.bool_)  # begins a list
        new[1:] = (np.diff(users[order]) != 0) | (np.diff(moments[order]) != 0)
        if self._ranked:
            self._refuse_contradiction(order, new, ranks[order], scores[order])
        starts = np.flatnonzero(new)
        stops = [*starts[1:].tolist(), len(order)]
        found = {
            (int(users[order[start]]), int(moments[order[start]])): RankedList(
                items[order[start:stop]], scores[order[start:stop]]
            )
            for start, stop in zip(starts.tolist(), stops, strict=True)
        }
        assert self._by is not None
        unknown = tuple(self._unknown_users), tuple(self._unknown_items)
        return Lists(file, digest, self._by, *unknown, int((items < 0).sum()), found)

    def _refuse_strangers(self, file: str, items: IntArray) -> None:
        """Refuse a file that is of another data set, or of ids that another program numbered anew."""
        if not self._rows.users and not self._unknown_users:
            raise InputError(f"{file!r} has no rows; {NEEDED}")
        for what, own, theirs, known in (
            ("user", self._sequences.user_ids, self._unknown_users, bool(self._rows.users)),
            ("item", self._catalog.item_ids, self._unknown_items, bool((items >= 0).any())),
        ):
            if not known:
                raise InputError(
                    f"no {what} of {file!r} is one of the data set: {shown(tuple(theirs)[:3])} there, "
                    f"{shown(own[:3])} here; write {what}s with the ids that `patchrec data export` prints"
                )

    def _refuse_twice(self, users: IntArray, moments: IntArray, items: IntArray) -> None:
        order = np.lexsort((items, moments, users))
        same = np.ones(max(len(order) - 1, 0), dtype=np.bool_)
        for column in (users, moments, items):
            same &= np.diff(column[order]) == 0
        if same.any():
            first, second = (int(order[np.flatnonzero(same)[0] + step]) for step in (0, 1))
            raise InputError(
                f"{self._rows.where(second)}: item {self._name(int(items[first]))!r} is in the list of user "
                f"{self._sequences.user_ids[users[first]]!r} already ({self._rows.where(first)}); give each once"
            )

    def _refuse_contradiction(
        self, order: IntArray, new: np.ndarray[Any, Any], ranks: FloatArray, scores: FloatArray
    ) -> None:
        """Refuse two items of one rank, and scores that rise where ranks fall."""
        within = ~new[1:]
        for wrong, why, mend in (
            (np.diff(ranks) == 0, "has a rank that another item of its list has", "give each a rank of its own"),
            (
                np.diff(scores) > 0,
                "is not where its score puts it: a higher score is better",
                "mend one, or leave it out",
            ),
        ):
            if (wrong & within).any():
                at = int(np.flatnonzero(wrong & within)[0])
                row = int(order[at : at + 2].max())  # of the two the one that is read later
                raise InputError(f"{self._rows.where(row)}: {self._name(self._rows.items[row])!r} {why}; {mend}")

    def _name(self, item: int) -> str:
        return self._catalog.item_ids[item] if item >= 0 else list(self._unknown_items)[-1 - item]


def _find(index: dict[str, int], name: str) -> int | None:
    """The index of an id, also as our own CSV writes one that a spreadsheet would take for a formula."""
    if name in index or not name.startswith("'") or not name[1:].startswith(FORMULA):
        return index.get(name)
    return index.get(name[1:])


def _digest(parts: Sequence[Part]) -> str:
    """sha256 over the bytes of all parts, unpacked (hex, 16 digits)."""
    digest = hashlib.sha256()
    for part in parts:
        with reading(part.name), part.open() as stream:
            read: Callable[[int], bytes] = stream.read
            while chunk := read(BLOCK):
                digest.update(chunk)
    return digest.hexdigest()[:16]
