"""Conditions over items: an SQL expression on their ids, titles and metadata becomes a mask over the catalog.

The expression is judged for each item alone, by a database in memory that holds nothing but the items. It may compare
and compute; it may not query, write, attach or configure anything, nor run on and on.
"""

import json
import math
import re
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

import numpy as np

from patchrec.data.catalog import Catalog
from patchrec.errors import UsageError, unknown
from patchrec.history import BoolArray

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
    mask = np.zeros(len(catalog), dtype=np.bool_)
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        try:
            place = _fill(db, catalog, wanted)
            _confine(db)
            # On lines of its own, so that it can neither end the line nor run into the bracket.
            found = db.execute(f"SELECT {place} FROM items WHERE (\n{condition}\n)").fetchall()  # noqa: S608
        except (sqlite3.Error, sqlite3.Warning, ValueError, OverflowError, MemoryError) as error:
            raise _refused(condition, str(error), columns) from error
    mask[[row for (row,) in found]] = True
    return mask


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


def _names(condition: str, columns: Mapping[str, str | None]) -> set[str]:
    """Every word of a condition that may be a column, case folded.

    Raises:
        UsageError: It is empty, too long, or more than one expression; or a quoted name is no column, which SQLite
            would take for text.
    """
    if not condition.strip():
        raise UsageError(f'--where is empty; give a condition such as "year >= 1990"; columns: {_shown(columns)}')
    if len(condition) > _MAX_CONDITION:
        raise UsageError(f"--where has {len(condition)} characters; at most {_MAX_CONDITION} are taken")
    known = {column.casefold() for column in columns}
    names, depth = set(), 0
    for token in _TOKEN.finditer(condition):
        text = token.group()
        depth += (token.lastgroup == "open") - (token.lastgroup == "close")
        if token.lastgroup == "forbidden" or depth < 0:
            raise _refused(condition, f"{text!r} has no place in one expression over an item", columns)
        if token.lastgroup == "quoted":
            name = text[1:-1].replace(text[-1] * 2, text[-1])
            if name.casefold() not in known:
                raise _refused(condition, f"no such column: {name}", columns)
            names.add(name.casefold())
        elif token.lastgroup == "word":
            names.add(text.casefold())
    if depth:
        raise _refused(condition, "a bracket is not closed", columns)
    return names


def _fill(db: sqlite3.Connection, catalog: Catalog, columns: Mapping[str, str | None]) -> str:
    """Put the items into a table, with the columns that are wanted; gives the quoted name of their index in it."""
    place = "#"
    while place in columns:
        place += "#"
    kinds = [f"{_quoted(column)} {'TEXT' if key is None else 'NUMERIC'}" for column, key in columns.items()]
    db.execute(f"CREATE TABLE items ({', '.join([f'{_quoted(place)} INTEGER PRIMARY KEY', *kinds])})")
    marks = ", ".join("?" * (len(columns) + 1))
    db.execute("BEGIN")
    db.executemany(f"INSERT INTO items VALUES ({marks})", _rows(catalog, columns))  # noqa: S608
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
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
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


def _refused(condition: str, why: str, columns: Mapping[str, str | None]) -> UsageError:
    """One line that says what is wrong and which columns there are."""
    shown = repr(condition if len(condition) <= 200 else condition[:200] + "...")
    missing = re.fullmatch(r"no such column: (.*)", why, re.DOTALL)
    if missing:
        return UsageError(f"--where {shown}: {unknown('column', missing[1], columns, 'write text in single quotes')}")
    if why == "interrupted":
        why = f"it was not judged in {MAX_SECONDS:.0f} s"
    said = " ".join(why.split())
    return UsageError(f"--where {shown} is no condition on an item ({said}); columns: {_shown(columns)}")


def _shown(columns: Mapping[str, str | None]) -> str:
    names = list(columns)
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
