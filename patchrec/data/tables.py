"""Own data: a table of items and a table of interactions become a catalog and interactions.

Ids and titles are kept byte for byte. What cannot be used is refused with file and line, or skipped and listed.
"""

import json
import math
import re
from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from patchrec.data.catalog import Catalog
from patchrec.data.interactions import Interactions
from patchrec.data.lines import Rejects
from patchrec.data.readers import Quotes, Row, Table, missing_column, open_table
from patchrec.data.timestamps import NUMBER, Kind, common_kind, parse_time, refuse_written_dates
from patchrec.errors import InputError
from patchrec.history import IntArray

UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
"""Control characters and lone surrogates: no id or title has them, and a title is one line of a prompt."""

SURROGATE = re.compile(r"[\ud800-\udfff]")


@dataclass(frozen=True)
class Columns:
    """Names of the columns. None means the usual name, and for time and rating that the column may be missing.

    Attributes:
        user, item, time, rating: Of the interactions; usually `user_id`, `item_id`, `timestamp`, `rating`.
        item, title: Of the items; usually `item_id`, `title`.
    """

    user: str | None = None
    item: str | None = None
    time: str | None = None
    rating: str | None = None
    title: str | None = None


def read_items(
    path: Path,
    named_format: str | None,
    columns: Columns,
    rejects: Rejects,
    *,
    quotes: Quotes | None = None,
    into: Catalog | None = None,
) -> Catalog:
    """The items, in file order; further columns become their metadata.

    Args:
        path: The file.
        named_format: Its format; None tells it by the ending.
        columns: Names of its columns.
        rejects: Takes the lines that cannot be used.
        quotes: Whether quotes group a field or are text; None: as the format has it.
        into: The catalog that they will be added to: ids that it has cannot be used, and metadata takes its kinds.

    Raises:
        InputError: The file or a line cannot be used.
    """
    item_ids: dict[str, int] = {}
    titles: list[str] = []
    metadata: list[dict[str, Any]] = []
    with open_table(path, named_format, rejects, quotes) as table:
        id_column = _column(table, columns.item, "item_id", "--item-col")
        title_column = _column(table, columns.title, "title", "--title-col")
        for number, row in table.rows:
            try:
                item_id = clean_text(row, id_column)
                if item_id in item_ids:
                    raise ValueError(f"item {item_id[:40]!r} was on line {item_ids[item_id]} already")
                if into is not None and item_id in into.index:
                    raise ValueError(f"item {item_id[:40]!r} is in the catalog already")
                title = clean_text(row, title_column)
                further = further_columns(row, (id_column, title_column))
                further = further if into is None else into.fit_metadata(further)
            except ValueError as error:
                rejects.add(table.file, number, str(error))
                continue
            item_ids[item_id] = number
            titles.append(title)
            metadata.append(further)
        if not item_ids:
            raise InputError(f"{table.file!r} has no usable item; give one row per item")
    return Catalog(tuple(item_ids), tuple(titles), tuple(metadata) if any(metadata) else ())


def read_interactions(
    paths: Sequence[Path],
    named_format: str | None,
    columns: Columns,
    catalog: Catalog,
    rejects: Rejects,
    *,
    quotes: Quotes | None = None,
    min_rating: float | None = None,
) -> tuple[Interactions, int]:
    """Interactions in file order, file after file, with the number of rows read.

    Args:
        paths: The files, with the same columns in any order.
        named_format: Their format; None tells it by the ending of each.
        columns: Names of their columns.
        catalog: The items that may occur.
        rejects: Takes the lines that cannot be used.
        quotes: Whether quotes group a field or are text; None: as the format has it.
        min_rating: Keep ratings from here on; None keeps all.

    Raises:
        InputError: A file or a line cannot be used, some files have times or ratings and others have none, or nothing
            is left.
    """
    rows = _Rows()
    found_in = [_read_file(path, named_format, columns, catalog, rejects, rows, quotes, min_rating) for path in paths]
    for what, has in zip(("time", "rating"), zip(*found_in, strict=True), strict=True):
        if len(set(has)) > 1:
            one, other = paths[has.index(True)].name, paths[has.index(False)].name
            raise InputError(f"{one!r} has {what}s and {other!r} has none; give all files the column --{what}-col")
    shown = ", ".join(repr(path.name) for path in paths)
    if not rows.numbers:
        raise InputError(f"{shown} has no usable interaction; give one row per interaction")
    (timed, rated), *_ = found_in
    interactions = rows.finish(rejects, timed=timed, rated=rated)
    num_read = len(interactions)
    if min_rating is not None:
        assert interactions.ratings is not None
        interactions = interactions.select(interactions.ratings >= min_rating)
        if not len(interactions):
            raise InputError(f"{shown} has no rating of {min_rating:g} or more; lower --min-rating")
    return interactions, num_read


def _read_file(
    path: Path,
    named_format: str | None,
    columns: Columns,
    catalog: Catalog,
    rejects: Rejects,
    rows: "_Rows",
    quotes: Quotes | None,
    min_rating: float | None,
) -> tuple[bool, bool]:
    """Add the interactions of a file to others'; say whether it has times, and ratings."""
    with open_table(path, named_format, rejects, quotes) as table:
        rows.begin(table.file)
        user_column = _column(table, columns.user, "user_id", "--user-col")
        item_column = _column(table, columns.item, "item_id", "--item-col")
        time_column = _optional(table, columns.time, "timestamp", "--time-col")
        needs_rating = "rating" if min_rating is not None else None
        rating_column = _optional(table, columns.rating or needs_rating, "rating", "--rating-col")
        for number, row in table.rows:
            try:
                user = clean_text(row, user_column)
                item_id = clean_text(row, item_column)
                if item_id not in catalog.index:
                    raise ValueError(f"item {item_id[:40]!r} is not among the items")
                time = _time(row, time_column) if time_column else None
                rating = _rating(row, rating_column, required=min_rating is not None) if rating_column else math.nan
            except ValueError as error:
                rejects.add(table.file, number, str(error))
                continue
            rows.add(number, user, catalog.index[item_id], time, rating)
    return time_column is not None, rating_column is not None


class _Rows:
    """Interactions line by line, until all are there and the kind of their times is known."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self._files: list[str] = []
        self._starts: list[int] = []  # places where each file's lines begin
        self._users: dict[str, int] = {}
        self._user_of: list[int] = []
        self._items: list[int] = []
        self._kinds: list[Kind] = []
        self._milliseconds: list[int] = []
        self._ratings: list[float] = []

    def begin(self, file: str) -> None:
        """The lines that follow are of a file."""
        self._files.append(file)
        self._starts.append(len(self.numbers))

    def line(self, place: int) -> tuple[str, int]:
        """File and line of an interaction."""
        return self._files[bisect_right(self._starts, place) - 1], self.numbers[place]

    def add(self, number: int, user: str, item: int, time: tuple[Kind, int] | None, rating: float) -> None:
        """Take one line."""
        self.numbers.append(number)
        self._user_of.append(self._users.setdefault(user, len(self._users)))
        self._items.append(item)
        self._ratings.append(rating)
        if time is not None:
            self._kinds.append(time[0])
            self._milliseconds.append(time[1])

    def finish(self, rejects: Rejects, *, timed: bool, rated: bool) -> Interactions:
        """Give the interactions; lines whose time is of another kind, or that repeat one, are rejected."""
        times = np.array(self._milliseconds, dtype=np.int64) if timed else None
        found = Interactions(
            user_ids=tuple(self._users),
            users=np.array(self._user_of, dtype=np.int64),
            items=np.array(self._items, dtype=np.int64),
            milliseconds=times,
            ratings=np.array(self._ratings) if rated else None,
        )
        if times is None:
            return found
        kind = common_kind(self._kinds)
        usable = np.array([one == kind for one in self._kinds])
        for place in np.flatnonzero(~usable).tolist():
            rejects.add(*self.line(place), f"the time is {self._kinds[place]}, most others are {kind}")
        refuse_written_dates(self._files[0], kind, times[usable].tolist())
        for place, first in _repeats(found, usable):
            (file, _), (other, number) = self.line(place), self.line(first)
            where = f"line {number}" if file == other else f"{other}:{number}"
            rejects.add(*self.line(place), f"the same user, item and time as {where}")
            usable[place] = False
        return found if usable.all() else found.select(usable)


def _repeats(found: Interactions, usable: Any) -> list[tuple[int, int]]:
    """Places that repeat the user, item and moment of an earlier one, each with that first one."""
    assert found.milliseconds is not None
    places: IntArray = np.flatnonzero(usable)
    keys = np.stack([found.users[places], found.items[places], found.milliseconds[places]])
    order = np.lexsort((places, *keys))
    same = np.all(keys[:, order[1:]] == keys[:, order[:-1]], axis=0)
    first = order.copy()
    for later in (np.flatnonzero(same) + 1).tolist():
        first[later] = first[later - 1]
    again = np.flatnonzero(same) + 1
    return sorted(zip(places[order[again]].tolist(), places[first[again]].tolist(), strict=True))


def _column(table: Table, named: str | None, usual: str, option: str) -> str:
    name = named or usual
    if name not in table.columns:
        raise missing_column(table, name, option)
    return name


def _optional(table: Table, named: str | None, usual: str, option: str) -> str | None:
    if named is None and usual not in table.columns:
        return None
    return _column(table, named, usual, option)


def clean_text(row: Row, column: str) -> str:
    """An id or a title, as it is.

    Raises:
        ValueError: It is missing, blank, no text, or has control characters.
    """
    value = row.get(column)
    if not isinstance(value, str):
        raise ValueError(f"{column} is {'missing' if value is None else 'no text: write it in quotes'}")
    if not value.strip():
        raise ValueError(f"{column} is blank")
    if unprintable := UNPRINTABLE.search(value):
        raise ValueError(f"{column} holds the control character U+{ord(unprintable[0]):04X}")
    return value


def further_columns(row: Row, used: Collection[str]) -> Row:
    """The columns of an item that become its metadata. NaN and infinite values are missing: JSON has neither.

    Raises:
        ValueError: Text is no Unicode, which no store keeps.
    """
    found = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in row.items()
        if key not in used
    }
    if SURROGATE.search(json.dumps(found, ensure_ascii=False)):
        raise ValueError("a further column holds half a character (a lone surrogate)")
    return found


def _time(row: Row, column: str) -> tuple[Kind, int]:
    value = row.get(column)
    if not isinstance(value, str | float):
        raise ValueError(f"{column} is missing")
    text = value if isinstance(value, str) else repr(value)
    try:
        return parse_time(text.strip())
    except ValueError as error:
        raise ValueError(f"{column} {text[:40]!r} {error}") from None


def _rating(row: Row, column: str, *, required: bool) -> float:
    value = row.get(column)
    if value is None or (isinstance(value, str) and not value.strip()):
        if required:
            raise ValueError(f"{column} is missing")
        return math.nan
    written = value if isinstance(value, str) else repr(value)
    rating = float(written) if NUMBER.fullmatch(written.strip()) else math.nan
    if not math.isfinite(rating):
        raise ValueError(f"{column} {str(value)[:40]!r} is no number")
    return rating
