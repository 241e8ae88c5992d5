"""Conditions over items, rows or runs: an SQL expression on their columns becomes a mask.

The expression is judged for each item alone, by a database in memory that holds nothing but the items. It may compare
and compute; it may not query, write, attach or configure anything, nor run on and on.
"""

import json
import math
import re
import sqlite3
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np

from patchrec.data.batches import Batch
from patchrec.data.catalog import Catalog
from patchrec.data.timestamps import NUMBER, Moment
from patchrec.data.values import is_missing
from patchrec.errors import UsageError, unknown
from patchrec.history import BoolArray


class Asked(NamedTuple):
    """The option that asks a condition, and what of: `one` in words."""

    option: str
    one: str


WHERE, ROWS = Asked("--where", "an item"), Asked("--rows", "a row")
MAX_SECONDS = 10.0
_STEPS_BETWEEN_LOOKS = 1000  # of SQLite's machine: less than a millisecond as a rule
_MAX_CONDITION = 100_000  # characters
_MAX_PATTERN = 1000  # bytes of a LIKE or GLOB pattern
_MAX_VALUE = 1 << 20  # bytes of a value that a condition makes

FUNCTIONS = frozenset(
    {
        "->", "->>", "abs", "ceil", "ceiling", "coalesce", "date", "datetime", "floor", "glob", "hex", "ifnull", "iif",
        "instr", "json_array_length", "json_extract", "json_type", "json_valid", "julianday", "length", "like", "lower",
        "ltrim", "max", "min", "mod", "nullif", "pow", "power", "replace", "round", "rtrim", "sign", "sqrt", "strftime",
        "substr", "substring", "time", "trim", "trunc", "typeof", "unicode", "unixepoch", "upper",
    }
)  # fmt: skip
"""What a condition may call: nothing random, nothing that reads more than its arguments (and the clock)."""

# SQLite's tokens, as far as they tell names from text and where an expression ends. A quote that is never closed is
# text to us and an error to SQLite.
_TOKEN = re.compile(
    r"""  '(?:[^']|'')*'
        | (?P<quoted> "(?:[^"]|"")*" | `(?:[^`]|``)*` | \[[^\]]*\] )
        | (?P<forbidden> -- | /\* | ; | [?@$:]\w* | \b(?:select|values|with)\b )
        | (?P<open> \( ) | (?P<close> \) )
        | (?P<word> [\w$\x80-\U0010ffff]+ )
        | .
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)

# Text and quoted names are passed over.
_NAMED = re.compile(
    r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|\[[^\]]*\]|(?P<name>(?<![\w.@])[A-Za-z_]\w*(?:[.@]\w+)+)"""
)


def fitting(catalog: Catalog, condition: str) -> BoolArray:
    """(I,) which items a condition holds for; where it is NULL it does not hold.

    Columns are `item_id`, `title` and the keys of the metadata. Metadata that reads as a number compares as one; lists
    and objects are JSON text; true and false are 1 and 0.

    Raises:
        UsageError: It is no condition over these columns.
    """
    columns = columns_of(catalog)
    names = _names(condition, columns)
    wanted = {column: key for column, key in columns.items() if column.casefold() in names}
    return _judged(condition, columns, wanted, _rows(catalog, wanted), len(catalog))


def _judged(
    condition: str,
    columns: Mapping[str, str | None],
    wanted: Mapping[str, str | None],
    rows: Iterable[Sequence[Any]],
    number: int,
    asked: Asked = WHERE,
) -> BoolArray:
    """(n,) for which rows, each with its place first, a condition holds."""
    mask = np.zeros(number, dtype=np.bool_)
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        try:
            place = _fill(db, rows, wanted)
            _confine(db)
            # On lines of its own, so that it can neither end the line nor run into the bracket.
            found = db.execute(f"SELECT {place} FROM items WHERE (\n{condition}\n)").fetchall()  # noqa: S608
        except (sqlite3.Error, sqlite3.Warning, ValueError, OverflowError, MemoryError) as error:
            raise _refused(condition, str(error), columns, asked) from error
    mask[[row for (row,) in found]] = True
    return mask


def holding(
    condition: str, rows: Sequence[Mapping[str, Any]], columns: Sequence[str], texts: Collection[str], asked: Asked
) -> BoolArray:
    """(n,) for which rows a condition holds; where it is NULL it does not.

    A name with a dot or an @ in it, such as `hr@10`, needs no quotes.

    Args:
        condition: In SQL.
        rows: Column -> value; a column that a row lacks is NULL there.
        columns: Those that there are; names that differ in nothing but case are one column, the first.
        texts: Those that are text even where they read as numbers.
        asked: By which option, of what.

    Raises:
        UsageError: It is no condition over these columns.
    """
    known = {column: None if column in texts else column for column in _unlike(columns)}
    condition = _with_quotes(condition, known)
    names = _names(condition, known, asked)
    wanted = {column: key for column, key in known.items() if column.casefold() in names}
    values = ([place, *(_value(row.get(column)) for column in wanted)] for place, row in enumerate(rows))
    return _judged(condition, known, wanted, values, len(rows), asked)


def _unlike(columns: Iterable[str]) -> list[str]:
    """Columns without those that SQLite would take for an earlier one."""
    found: dict[str, str] = {}
    for column in columns:
        found.setdefault(column.casefold(), column)
    return list(found.values())


def _with_quotes(condition: str, columns: Iterable[str]) -> str:
    """Put quotes around names of columns that are no words of SQL."""
    known = {column.casefold() for column in columns}

    def quoted(found: re.Match[str]) -> str:
        return _quoted(found["name"]) if found["name"] and found["name"].casefold() in known else found.group()

    return _NAMED.sub(quoted, condition)


class RowCondition:
    """A condition on the rows of a table, judged as `fitting` judges one on items.

    Texts that mean missing are NULL, and so are blank ones in a column of numbers, where the first rows that have a
    value tell what it is: SQLite would hold text to be above all numbers.
    """

    def __init__(self, condition: str, columns: Sequence[str], missing: Collection[str] = ()) -> None:
        """Read a condition on columns.

        Args:
            condition: In SQL.
            columns: Of the table.
            missing: Texts that mean that a value is missing.

        Raises:
            UsageError: It is none, or names a column that is not there.
        """
        self._condition = condition
        self._missing = frozenset(missing)
        self._of_numbers: dict[str, bool] = {}
        self._columns = _distinct(columns)
        names = _names(condition, self._columns, ROWS)
        self._wanted = {column: key for column, key in self._columns.items() if column.casefold() in names}

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that it asks for."""
        return tuple(name for name in self._wanted.values() if name is not None)

    def holds(self, batch: Batch) -> BoolArray:
        """(n,) for which rows it holds.

        Raises:
            UsageError: It cannot be judged.
        """
        values = [self._values(key, batch.columns[key]) for key in self.columns]
        rows = ([place, *map(_value, row)] for place, row in enumerate(zip(*values, strict=True)))
        numbers = ([place] for place in range(len(batch)))
        return _judged(self._condition, self._columns, self._wanted, rows if values else numbers, len(batch), ROWS)

    def _values(self, name: str, values: Sequence[Any]) -> Sequence[Any]:
        """The values of a column, None where one is missing."""
        there = values
        if self._missing:
            there = [None if is_missing(value, self._missing) else value for value in values]
        if name not in self._of_numbers:
            known = [value for value in there if value is not None and not _is_blank(value)]
            if known:
                self._of_numbers[name] = all(map(_is_number, known))
        if not self._of_numbers.get(name, False):
            return there
        return [None if _is_blank(value) else value for value in there]


def _is_blank(value: Any) -> bool:
    return isinstance(value, str) and not value.strip()


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) or (isinstance(value, str) and NUMBER.fullmatch(value.strip()) is not None)


def _distinct(names: Sequence[str]) -> dict[str, str | None]:
    """Column -> the name it shows, as `columns_of` does."""
    columns: dict[str, str | None] = {}
    taken: set[str] = set()
    for name in names:
        column, number = name, 1
        while column.casefold() in taken:
            number += 1
            column = f"{name}_{number}"
        taken.add(column.casefold())
        columns[column] = name
    return columns


def columns_of(catalog: Catalog) -> dict[str, str | None]:
    """Column -> the metadata key it shows: `item_id` and `title` (which show none), then keys as they first appear.

    SQLite's names do not know case: of names that differ in nothing else, later ones get a number (`Year_2`).
    """
    columns: dict[str, str | None] = {"item_id": None, "title": None}
    taken = set(columns)
    for key in dict.fromkeys(key for row in catalog.metadata for key in row):
        column, number = key, 1
        while column.casefold() in taken:
            number += 1
            column = f"{key}_{number}"
        if column:
            taken.add(column.casefold())
            columns[column] = key
    return columns


def _names(condition: str, columns: Mapping[str, str | None], asked: Asked = WHERE) -> set[str]:
    """Every word of a condition that may be a column, case folded.

    Raises:
        UsageError: It is empty, too long, or more than one expression; or a quoted name is no column, which SQLite
            would take for text.
    """
    if not condition.strip():
        raise UsageError(
            f'{asked.option} is empty; give a condition such as "year >= 1990"; columns: {_shown(columns)}'
        )
    if len(condition) > _MAX_CONDITION:
        raise UsageError(f"{asked.option} has {len(condition)} characters; at most {_MAX_CONDITION} are taken")
    known = {column.casefold() for column in columns}
    names, depth = set(), 0
    for token in _TOKEN.finditer(condition):
        text = token.group()
        depth += (token.lastgroup == "open") - (token.lastgroup == "close")
        if token.lastgroup == "forbidden" or depth < 0:
            raise _refused(condition, f"{text!r} has no place in one expression over {asked.one}", columns, asked)
        if token.lastgroup == "quoted":
            name = text[1:-1].replace(text[-1] * 2, text[-1])
            if name.casefold() not in known:
                raise _refused(condition, f"no such column: {name}", columns, asked)
            names.add(name.casefold())
        elif token.lastgroup == "word":
            names.add(text.casefold())
    if depth:
        raise _refused(condition, "a bracket is not closed", columns, asked)
    return names


def _fill(db: sqlite3.Connection, rows: Iterable[Sequence[Any]], columns: Mapping[str, str | None]) -> str:
    """Put rows into a table, with the columns that are wanted; gives the quoted name of their place in it."""
    place = "#"
    while place in columns:
        place += "#"
    kinds = [f"{_quoted(column)} {'TEXT' if key is None else 'NUMERIC'}" for column, key in columns.items()]
    db.execute(f"CREATE TABLE items ({', '.join([f'{_quoted(place)} INTEGER PRIMARY KEY', *kinds])})")
    marks = ", ".join("?" * (len(columns) + 1))
    db.execute("BEGIN")
    db.executemany(f"INSERT INTO items VALUES ({marks})", rows)  # noqa: S608
    db.execute("COMMIT")
    return _quoted(place)


def _rows(catalog: Catalog, columns: Mapping[str, str | None]) -> Iterator[Sequence[Any]]:
    own = {"item_id": catalog.item_ids, "title": catalog.titles}
    for item in range(len(catalog)):
        metadata = catalog.metadata[item] if catalog.metadata else {}
        values = (own[column][item] if key is None else metadata.get(key) for column, key in columns.items())
        yield [item, *map(_value, values)]


def _value(value: Any) -> str | int | float | None:
    """What SQLite can hold of a value."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or (isinstance(value, int) and abs(value) < 1 << 63):
        return value
    if isinstance(value, Moment):
        return str(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text.encode("utf-8", "replace").decode("utf-8")


def _confine(db: sqlite3.Connection) -> None:
    """From here on the database only judges items: no other table, no function that is not listed, no long run."""
    limits = {
        sqlite3.SQLITE_LIMIT_ATTACHED: 0,
        sqlite3.SQLITE_LIMIT_LENGTH: max(_MAX_VALUE, db.execute("PRAGMA page_count").fetchone()[0] * 4096),
        sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: _MAX_PATTERN,
    }
    for limit, value in limits.items():
        db.setlimit(limit, value)
    deadline = time.monotonic() + MAX_SECONDS
    db.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS_BETWEEN_LOOKS)
    db.set_authorizer(_only_judging)


def _only_judging(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    allowed = (
        action == sqlite3.SQLITE_SELECT
        or (action == sqlite3.SQLITE_READ and first == "items")
        or (action == sqlite3.SQLITE_FUNCTION and str(second).lower() in FUNCTIONS)
    )
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY


def _refused(condition: str, why: str, columns: Mapping[str, str | None], asked: Asked = WHERE) -> UsageError:
    """One line that says what is wrong and which columns there are."""
    shown = repr(condition if len(condition) <= 200 else condition[:200] + "...")
    missing = re.fullmatch(r"no such column: (.*)", why, re.DOTALL)
    if missing:
        return UsageError(
            f"{asked.option} {shown}: {unknown('column', missing[1], columns, 'write text in single quotes')}"
        )
    if why == "interrupted":
        why = f"it was not judged in {MAX_SECONDS:.0f} s"
    said = " ".join(why.split())
    return UsageError(f"{asked.option} {shown} is no condition on {asked.one} ({said}); columns: {_shown(columns)}")


def _shown(columns: Mapping[str, str | None]) -> str:
    names = list(columns)
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
