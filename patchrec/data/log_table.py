"""The interactions: tables of them become arrays of users, items, moments and ratings, and an account of every row."""

import math
import re
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from patchrec.data.batches import Batch, Table
from patchrec.data.catalog import Catalog
from patchrec.data.conditions import RowCondition
from patchrec.data.fields import Fields, Numbered
from patchrec.data.inputs import Part
from patchrec.data.interactions import Interactions
from patchrec.data.items_table import Items, ItemsOfLog
from patchrec.data.lines import SKIP_HINT, Rejects
from patchrec.data.readers import open_table
from patchrec.data.recipe import Recipe
from patchrec.data.roles import USUAL, Role, find_column, need_column
from patchrec.data.suspects import near_miss, near_misses, tell_suspects
from patchrec.data.timestamps import KINDS, NO_TIME, NUMBER, TIME_HINT, Clock, Moment, implausible, is_likely
from patchrec.data.values import LeftOutError, is_missing, text_of
from patchrec.errors import InputError, UsageError
from patchrec.history import BoolArray, FloatArray, IntArray
from patchrec.reporting import SILENT, Reporter

TYPE_CODES = {
    "numbers": "i", "users": "i", "items": "i", "kinds": "B", "times": "q", "ratings": "d", "orders": "d",
    "sessions": "i",
}  # fmt: skip
"""What is kept of each row, as `array.array` and NumPy have it."""
LONG = 8 << 20
"""Bytes of a file that takes long enough for a progress bar."""
OWN_TITLE = "its item has no title (--untitled drop)"


@dataclass(frozen=True, slots=True)
class _Roles:
    """The columns of one table by what they hold."""

    user: str
    item: str
    time: str | None
    rating: str | None
    order: str | None
    session: str | None

    @property
    def used(self) -> tuple[str, ...]:
        named = (self.user, self.item, self.time, self.rating, self.order, self.session)
        return tuple(name for name in named if name is not None)


def read_interactions(
    parts: Sequence[Part],
    recipe: Recipe,
    items: Items | None,
    rejects: Rejects,
    report: Reporter = SILENT,
    *,
    most: int | None = None,
) -> tuple[Interactions, Catalog]:
    """Interactions in file order, file after file, and the catalog.

    Args:
        parts: The files, with the same columns in any order.
        recipe: How they are read and what is kept.
        items: Those that may occur; None takes them and their titles from the interactions.
        rejects: Takes the lines that cannot be used, and counts what was left out.
        report: Shows progress, and is told which column is what.
        most: Stop after so many rows, or a few more; None reads all.

    Raises:
        InputError: A file or a line cannot be used, some files have times or ratings and others have none, or nothing
            is left.
    """
    log = _Log(recipe, items, rejects, report)
    for part in parts:
        shown = report if part.size > LONG else SILENT
        with (
            open_table(part, recipe.log, rejects) as table,
            shown.task(f"read {part.name}", part.size, "bytes") as task,
        ):
            log.begin(table)
            done, before = 0, rejects.read
            for batch in table.batches:
                log.take(batch)
                share = (rejects.read - before) / table.num_rows if table.num_rows else 0.0
                now = round(part.size * min(share, 1.0)) or part.position()
                task.advance(now - done)
                done = now
                if most is not None and rejects.read >= most:
                    break
            task.advance(part.size - done)
    return log.finish(", ".join(repr(part.name) for part in parts[:5]))


def check_options(recipe: Recipe) -> None:
    """Refuse what no file could make right, before any is read.

    Raises:
        UsageError: A form of times, a pattern or a title that is none.
    """
    Clock(recipe.time_format)
    _pattern(recipe.item_pattern)


class _Codes(dict[Any, int]):
    """Value of a column -> its number, or a negative number of why it has none. Each value is judged once."""

    def __init__(self, resolve: Callable[[str], int], missing: Sequence[str], what: str) -> None:
        super().__init__()
        self.name = ""
        self.reasons: list[tuple[bool, str]] = []
        self._resolve = resolve
        self._missing = frozenset(missing)
        self._what = what
        self._numbered = Numbered()
        self._code_of: IntArray = np.empty(0, dtype=np.int64)

    def __missing__(self, value: Any) -> int:
        try:
            if is_missing(value, self._missing):
                raise LeftOutError(f"{self._what} is missing (--missing)")
            code = self._resolve(text_of(value, self.name))
        except LeftOutError as reason:
            code = self._refused(left_out=True, reason=str(reason))
        except ValueError as reason:
            code = self._refused(left_out=False, reason=str(reason))
        if isinstance(value, str):
            self[value] = code
        return code

    def of(self, values: Sequence[Any]) -> IntArray:
        """(n,) numbers."""
        if isinstance(values, Fields):
            numbers = self._numbered.numbers(values)
            new = self._numbered.texts[len(self._code_of) :]
            self._code_of = np.append(self._code_of, self.of(new))
            return self._code_of[numbers]
        try:
            return np.fromiter(map(self.__getitem__, values), dtype=np.int64, count=len(values))
        except TypeError:  # a list is no key
            return np.array(
                [self[value] if isinstance(value, str) else self.__missing__(value) for value in values], dtype=np.int64
            )

    def _refused(self, *, left_out: bool, reason: str) -> int:
        self.reasons.append((left_out, reason))
        return -len(self.reasons)


class _Log:
    """Interactions batch by batch, until all are there and the kind of their times is known."""

    def __init__(self, recipe: Recipe, items: Items | None, rejects: Rejects, report: Reporter) -> None:
        self._recipe = recipe
        self._known = items
        self._rejects = rejects
        self._report = report
        self._clock = Clock(recipe.time_format)
        self._missing = frozenset(recipe.missing)
        self._pattern = _pattern(recipe.item_pattern)
        self._users: dict[str, int] = {}
        self._user_codes = _Codes(self._user, recipe.missing, "the user")
        self._item_codes = _Codes(self._item, recipe.missing, "the item")
        self._sessions: dict[str, int] = {}
        self._session_codes = _Codes(
            lambda text: self._sessions.setdefault(text, len(self._sessions)), recipe.missing, "the session"
        )
        self.unknown: Counter[str] = Counter()
        self._own: ItemsOfLog | None = None
        self._own_ids: dict[str, int] = {}
        self._files: list[str] = []
        self._starts: list[int] = []  # places where each file's rows begin
        self._has: list[tuple[bool, bool]] = []
        self._size = 0
        # They grow in place, and become NumPy's without a copy.
        self._columns = {name: array(code) for name, code in TYPE_CODES.items()}
        self._picked: list[tuple[str, str]] = []
        self._table: Table
        self._roles: _Roles
        self._condition: RowCondition | None = None

    def begin(self, table: Table) -> None:
        """The batches that follow are of a table."""
        recipe = self._recipe
        self._table = table
        self._files.append(table.file)
        self._starts.append(self._size)
        user = need_column(table, Role("user", "--user-col", recipe.user_col))
        item = need_column(table, Role("item", "--item-col", recipe.item_col))
        time = find_column(table, Role("time", "--time-col", recipe.time_col))
        rating_role = Role("rating", "--rating-col", recipe.rating_col)
        rating = (
            find_column(table, rating_role, usual=USUAL["rating"][:1])
            if recipe.min_rating is None
            else need_column(table, rating_role)
        )
        order = None if recipe.order_col is None else need_column(table, Role("time", "--order-col", recipe.order_col))
        session = (
            None
            if recipe.session_col is None
            else need_column(table, Role("session", "--session-col", recipe.session_col))
        )
        self._roles = _Roles(user, item, time, rating, order, session)
        self._has.append((time is not None, rating is not None))
        self._user_codes.name, self._item_codes.name, self._session_codes.name = user, item, session or ""
        self._condition = None if recipe.rows is None else RowCondition(recipe.rows, table.columns, recipe.missing)
        if self._known is None and self._own is None:
            self._own = ItemsOfLog(table, recipe, self._used, self._rejects)
        if len(self._files) == 1:
            self._tell_columns(table)

    @property
    def _used(self) -> tuple[str, ...]:
        """Columns of the table that mean something, or that the condition asks for."""
        return (*self._roles.used, *(() if self._condition is None else self._condition.columns))

    def _tell_columns(self, table: Table) -> None:
        """Say which column was taken without its usual name, and which are not used."""
        roles, recipe = self._roles, self._recipe
        for what, found, named, usual in (
            ("--user-col", roles.user, recipe.user_col, "user_id"),
            ("--item-col", roles.item, recipe.item_col, "item_id"),
            ("--time-col", roles.time, recipe.time_col, "timestamp"),
            ("--rating-col", roles.rating, recipe.rating_col, "rating"),
        ):
            if found is not None and named is None and found != usual:
                self._picked.append((what, found))
        if self._own is None:
            unused = [name for name in table.columns if name not in self._used]
            if unused:
                some = ", ".join(unused[:12]) + (f" and {len(unused) - 12} more" if len(unused) > 12 else "")
                self._rejects.notice(f"{table.file}: columns not used: {some}")

    def _user(self, text: str) -> int:
        return self._users.setdefault(text, len(self._users))

    def _item(self, text: str) -> int:
        if self._known is None:
            return self._own_ids.setdefault(text, len(self._own_ids))
        index = self._known.catalog.index.get(text)
        if index is not None:
            return index
        if text in self._known.without_title:
            raise LeftOutError(OWN_TITLE)
        raise ValueError(f"item {text[:40]!r} is not among the items")

    def take(self, batch: Batch) -> None:
        """Take some rows."""
        self._tell_times(batch)
        faults: dict[int, str] = {}
        left: dict[int, str] = {}
        if self._condition is not None:
            for place in np.flatnonzero(~self._condition.holds(batch)).tolist():
                left[place] = "another row (--rows)"
        if self._pattern is not None:
            batch, faults, left = self._exploded(batch, left)
        roles = self._roles
        columns: dict[str, Any] = {
            "numbers": np.asarray(batch.numbers),
            "users": self._numbered(self._user_codes, batch.columns[roles.user], faults, left),
            "items": self._numbered(self._item_codes, batch.columns[roles.item], faults, left),
        }
        if roles.time is not None:
            for place, value in enumerate(batch.columns[roles.time]) if self._missing else ():
                if is_missing(value, self._missing) and place not in faults:
                    left.setdefault(place, "the time is missing (--missing)")
            kinds, times = self._clock.read(batch.columns[roles.time], faults, roles.time, left)
            columns |= {"kinds": kinds, "times": times}
        if roles.rating is not None:
            columns["ratings"] = self._rated(batch.columns[roles.rating], roles.rating, faults, left)
        if roles.order is not None:
            orders = batch.columns[roles.order]
            asked = "the order is missing (--missing)"
            columns["orders"] = _numbers(orders, roles.order, faults, left, self._missing, asked=asked)
        if roles.session is not None:
            columns["sessions"] = self._numbered(self._session_codes, batch.columns[roles.session], faults, left)
        if self._own is not None:
            columns["items"] = self._own_items(batch, columns["items"], faults, left)
        self._keep(batch, columns, faults, left)

    def _tell_times(self, batch: Batch) -> None:
        """Say which column reads as times where none is used."""
        if self._roles.time is None and self._size == 0:
            for name in written_times(batch, self._roles.used):
                self._rejects.notice(
                    f"{self._table.file}: no times are used, and {name!r} reads as times: --time-col {name}"
                )

    def _keep(self, batch: Batch, columns: dict[str, Any], faults: dict[int, str], left: dict[int, str]) -> None:
        """Account for what is out, and keep the rest."""
        usable = np.ones(len(batch), dtype=np.bool_)
        usable[[*faults, *left]] = False
        for place in sorted(faults):
            self._reject(batch, place, faults[place])
        self._rejects.left_out.update(left.values())
        every = bool(usable.all())
        for name, values in columns.items():
            kept = values if every else values[usable]
            self._columns[name].frombytes(kept.astype(TYPE_CODES[name]).tobytes())
        self._size += int(usable.sum())

    def _reject(self, batch: Batch, place: int, reason: str) -> None:
        hint = f"{TIME_HINT}; {SKIP_HINT}" if reason.endswith(NO_TIME) else SKIP_HINT
        if "is not among the items" in reason and self._known is not None:
            raw = batch.columns[self._roles.item][place]
            if isinstance(raw, str):
                if len(self.unknown) < 100_000 or raw in self.unknown:
                    self.unknown[raw] += 1
                if not self._rejects.skip:
                    hint = (
                        near_miss(raw, self._known.catalog) or "add it to the items, or leave such out with --skip-bad"
                    )
        self._rejects.add(self._table.file, int(batch.numbers[place]), reason, hint, row=batch.row(place))

    def _numbered(self, codes: _Codes, values: Sequence[Any], faults: dict[int, str], left: dict[int, str]) -> IntArray:
        """(n,) numbers of ids; where there is none, why."""
        found = codes.of(values)
        for place in np.flatnonzero(found < 0).tolist():
            if place in faults or place in left:
                continue
            left_out, reason = codes.reasons[-1 - int(found[place])]
            (left if left_out else faults)[place] = reason
        return found

    def _rated(self, values: Sequence[Any], name: str, faults: dict[int, str], left: dict[int, str]) -> FloatArray:
        """(n,) ratings, NaN where there is none; those below the smallest that is kept are left out."""
        least = self._recipe.min_rating
        asked = None if least is None else "the rating is missing (--missing)"
        found = _numbers(values, name, faults, left, self._missing, asked=asked)
        if least is not None:
            for place in np.flatnonzero(found < least).tolist():
                if place not in faults:
                    left.setdefault(place, _too_low(least))
        return found

    def _own_items(self, batch: Batch, numbers: IntArray, faults: dict[int, str], left: dict[int, str]) -> IntArray:
        """(n,) numbers of items that the interactions name themselves."""
        assert self._own is not None
        ids = list(self._own_ids)
        found = np.full(len(batch), -1, dtype=np.int64)
        for place in range(len(batch)):
            if place in faults or place in left:
                continue
            item_id = ids[int(numbers[place])] if len(ids) > numbers[place] else ""
            row = batch.row(place)
            try:
                title = self._own.title_of(row)
            except ValueError as reason:
                faults[place] = str(reason)
            else:
                found[place] = self._own.add(row, item_id, title)
        return found

    def _exploded(self, batch: Batch, left: dict[int, str]) -> tuple[Batch, dict[int, str], dict[int, str]]:
        """A row for every item that the pattern finds in the column of items."""
        assert self._pattern is not None
        places: list[int] = []
        ids: list[Any] = []
        now_left: dict[int, str] = {}
        faults: dict[int, str] = {}
        for place, value in enumerate(batch.columns[self._roles.item]):
            text = " ".join(map(str, value)) if isinstance(value, list) else value
            found = self._pattern.findall(text) if isinstance(text, str) and place not in left else []
            if place in left:
                now_left[len(places)] = left[place]
            elif not found:
                now_left[len(places)] = "no item in it (--item-pattern)"
            for one in found or [""]:
                places.append(place)
                ids.append(one)
        self._rejects.read += len(places) - len(batch)
        taken = batch.take(places)
        return Batch(taken.numbers, {**taken.columns, self._roles.item: ids}), faults, now_left

    def line(self, place: int) -> tuple[str, int]:
        """File and line of a row that was kept."""
        return self._files[bisect_right(self._starts, place) - 1], int(self._numbers[place])

    def finish(self, names: str) -> tuple[Interactions, Catalog]:
        """Give the interactions; rows whose time is of another kind, or that repeat one, are rejected."""
        for what, has in zip(("time", "rating"), zip(*self._has, strict=True), strict=True):
            if len(set(has)) > 1:
                one, other = self._files[has.index(True)], self._files[has.index(False)]
                raise InputError(f"{one!r} has {what}s and {other!r} has none; give all files the column --{what}-col")
        if self._known is not None:
            for told in near_misses(self.unknown, self._known.catalog):
                self._rejects.notice(told)
        self._need_rows(names, self._size)
        self._numbers = self._joined("numbers")
        found, usable = self._timed()
        if self._known is None:
            catalog, found, usable = self._own_catalog(found, usable)
            self._need_rows(names, int(usable.sum()))
        else:
            catalog = self._known.catalog
        if self._roles.time is not None:
            usable = self._without_repeats(found, usable)
        if self._roles.order is not None:
            order = np.lexsort((np.arange(self._size), self._joined("orders"), found.users))
            found, usable = _reordered(found, order), usable[order]
        for what, column in self._picked:
            self._report.picked(what, column, "the column's name")
        del self._numbers
        found = found.select(usable)
        tell_suspects(found, catalog, self._rejects)
        return found, catalog

    def _need_rows(self, names: str, number: int) -> None:
        """Refuse files of which nothing is left."""
        if not number:
            why = "; ".join(self._rejects.summary()[:3])
            least = self._recipe.min_rating
            if least is not None and not why and list(self._rejects.left_out) == [_too_low(least)]:
                raise InputError(f"{names} has no rating of {least:g} or more; lower --min-rating")
            out = ", ".join(f"{reason} ({count:,})" for reason, count in self._rejects.left_out.most_common(3))
            what = "; ".join(filter(None, (why, f"left out: {out}" if out else "")))
            raise InputError(
                f"{names} has no usable interaction{': ' + what if what else ''}; give one row per interaction"
            )

    def _own_catalog(self, found: Interactions, usable: BoolArray) -> tuple[Catalog, Interactions, BoolArray]:
        """The items that the interactions name, and the interactions that have one with a title."""
        assert self._own is not None
        catalog, place_of = self._own.catalog(self._rejects)
        if len(catalog) == len(place_of):
            return catalog, found, usable
        items = place_of[found.items]
        untitled = usable & (items < 0)
        self._rejects.left_out[OWN_TITLE] += int(untitled.sum())
        return catalog, replace(found, items=items.astype(found.items.dtype)), usable & ~untitled

    def _joined(self, name: str) -> Any:
        """(n,) a column of all rows, which is then given away."""
        return np.frombuffer(self._columns.pop(name), dtype=TYPE_CODES[name])

    def _timed(self) -> tuple[Interactions, Any]:
        """The interactions, and which of them have a time of the kind that most have."""
        kinds: Any = None
        times: Any = None
        wrong, kind = np.zeros(self._size, dtype=np.bool_), ""
        if self._roles.time is not None:
            kinds = self._joined("kinds")
            times, kind, wrong = self._clock.finish(self._files[0], kinds, self._joined("times"))
        found = Interactions(
            user_ids=tuple(self._users),
            users=self._joined("users"),
            items=self._joined("items"),
            milliseconds=times,
            ratings=self._joined("ratings") if self._roles.rating is not None else None,
            sessions=self._joined("sessions") if self._roles.session is not None else None,
        )
        if times is None:
            return found, ~wrong
        usable = np.array([name == kind for name in KINDS])[kinds] & ~wrong
        for place in np.flatnonzero(~usable).tolist():
            reason = f"the time is {KINDS[int(kinds[place])]}, most others are {kind}"
            reason = "the time is on no day of a calendar" if wrong[place] else reason
            hint = f"say how times are written with --time-format, or {SKIP_HINT}"
            self._rejects.add(*self.line(place), reason, hint, row=self._row(found, place))
        every = bool(usable.all())
        for words, odd in implausible(times if every else times[usable], datetime.now(UTC)):
            place = odd if every else int(np.flatnonzero(usable)[odd])
            file, number = self.line(place)
            self._rejects.notice(f"{words}, such as {Moment(int(times[place]))} ({file}:{number})")
        return found, usable

    def _row(self, found: Interactions, place: int) -> dict[str, str]:
        """A row that was taken, as far as it was kept."""
        assert found.milliseconds is not None
        ids = self._known.catalog.item_ids if self._known is not None else list(self._own_ids)
        return {
            self._roles.user: found.user_ids[found.users[place]],
            self._roles.item: ids[found.items[place]],
            str(self._roles.time): str(Moment(int(found.milliseconds[place]))),
        }

    def _without_repeats(self, found: Interactions, usable: Any) -> Any:
        """Which rows stay, after what the recipe does with those that repeat one."""
        rule = self._recipe.repeats
        repeats = repeated(found, usable)
        if not repeats or rule == "keep":
            if repeats:
                self._rejects.notice(
                    f"{len(repeats):,} interactions repeat user, item and time of another; all are kept"
                )
            return usable
        usable = usable.copy()
        if rule == "refuse":
            for place, first in repeats:
                (file, number), (other, before) = self.line(place), self.line(first)
                where = f"line {before}" if file == other else f"{other}:{before}"
                hint = f"say which counts with --repeats keep, first or last, or {SKIP_HINT}"
                reason = f"the same user, item and time as {where}"
                self._rejects.add(file, number, reason, hint, row=self._row(found, place))
                usable[place] = False
            return usable
        last = {first: place for place, first in repeats}
        out = [place for place, _ in repeats]
        if rule == "last":
            out = [place for place, first in repeats if last[first] != place] + list(last)
        usable[out] = False
        self._rejects.left_out[f"the same user, item and time again (--repeats {rule})"] += len(out)
        return usable


def written_times(batch: Batch, used: Sequence[str]) -> list[str]:
    """Columns that are not used and whose first values read as times that are no plain numbers of seconds."""
    found, now = [], datetime.now(UTC)
    for name, values in batch.columns.items():
        first = [value for value in values[:50] if value is not None and str(value).strip()]
        if name in used or not first:
            continue
        if all(isinstance(one, Moment) or (isinstance(one, str) and is_likely(one.strip(), now)) for one in first):
            found.append(name)
    return found


def repeated(found: Interactions, usable: Any) -> list[tuple[int, int]]:
    """Places that repeat the user, item and moment of an earlier one, each with that first one."""
    assert found.milliseconds is not None
    every = bool(usable.all())
    users, times = (one if every else one[usable] for one in (found.users, found.milliseconds))
    places = np.flatnonzero(usable)[_crowded(users, times)] if not every else np.flatnonzero(_crowded(users, times))
    keys = np.stack([found.users[places], found.items[places], found.milliseconds[places]])
    order = np.lexsort((places, *keys))
    same = np.all(keys[:, order[1:]] == keys[:, order[:-1]], axis=0)
    first = order.copy()
    for later in (np.flatnonzero(same) + 1).tolist():
        first[later] = first[later - 1]
    again = np.flatnonzero(same) + 1
    return sorted(zip(places[order[again]].tolist(), places[first[again]].tolist(), strict=True))


def _crowded(users: IntArray, times: IntArray) -> BoolArray:
    """(n,) which rows may share user and moment with another."""
    found = np.zeros(len(times), dtype=np.bool_)
    if (times[1:] >= times[:-1]).all():  # a log in the order of time: the same moments stand side by side
        near = times[1:] == times[:-1]
        found[1:] |= near
        found[:-1] |= near
        return found
    first, span = int(times.min()), int(times.max()) - int(times.min()) + 1
    small = (int(users.max()) + 1) * span < 1 << 63
    order = np.argsort(users.astype(np.int64) * span + (times - first)) if small else np.lexsort((times, users))
    near = (users[order[1:]] == users[order[:-1]]) & (times[order[1:]] == times[order[:-1]])
    found[order[1:][near]] = found[order[:-1][near]] = True
    return found


def _reordered(found: Interactions, order: IntArray) -> Interactions:
    return Interactions(
        user_ids=found.user_ids,
        users=found.users[order],
        items=found.items[order],
        milliseconds=None if found.milliseconds is None else found.milliseconds[order],
        ratings=None if found.ratings is None else found.ratings[order],
        sessions=None if found.sessions is None else found.sessions[order],
    )


def _numbers(
    values: Sequence[Any],
    name: str,
    faults: dict[int, str],
    left: dict[int, str],
    missing: frozenset[str],
    *,
    asked: str | None,
) -> FloatArray:
    """(n,) numbers, NaN where one is missing.

    Args:
        values: As the file has them.
        name: Of the column.
        faults: Gets the reason where there should be a number.
        left: Gets the rows that are left out; those that are there or in `faults` are not looked at.
        missing: Texts that mean that a value is missing.
        asked: Why a row with such a text is left out; None where every row may do without.
    """
    if isinstance(values, Fields):
        different = Numbered()
        numbers = different.numbers(values)
        if not any(text in missing or _is_odd_number(text) for text in different.texts):
            return np.array(list(map(float, different.texts)))[numbers]
    found = np.full(len(values), math.nan)
    for place, value in enumerate(values):
        if place in faults or place in left:
            continue
        if is_missing(value, missing):
            if asked is not None:
                left[place] = asked
            continue
        blank = value is None or (isinstance(value, str) and not value.strip())
        if blank or (isinstance(value, float) and math.isnan(value)):
            if asked is not None:
                faults[place] = f"{name} is missing"
            continue
        written = value if isinstance(value, str) else repr(value)
        number = float(written) if NUMBER.fullmatch(written.strip()) else math.nan
        if not math.isfinite(number):
            faults[place] = f"{name} {str(value)[:40]!r} is no number"
        found[place] = number
    return found


def _too_low(least: float) -> str:
    return f"rating below {least:g} (--min-rating)"


def _is_odd_number(text: str) -> bool:
    """Whether a text has to be looked at to know what number it is, if any."""
    return not NUMBER.fullmatch(text) or not math.isfinite(float(text))


def _pattern(written: str | None) -> "re.Pattern[str] | None":
    if written is None:
        return None
    try:
        found = re.compile(written)
    except re.error as error:
        raise UsageError(f"--item-pattern {written!r} is no regular expression ({error})") from error
    if found.groups > 1:
        raise UsageError(f"--item-pattern {written!r} has {found.groups} groups; mark the item with one")
    return found
