"""Data frames of any kind, through narwhals (extra `frames`): which kind a program has is its own affair.

Columns are called as RecTools calls them: `user_id`, `item_id`, `score`, `rank`, and `datetime` for a time.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from math import isnan
from typing import TYPE_CHECKING, Any, Literal, get_args

from patchrec.errors import InputError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

FrameKind = Literal["pandas", "polars", "pyarrow"]
USER, ITEM, SCORE, RANK = "user_id", "item_id", "score", "rank"
TIMES = ("timestamp", "datetime")  # columns that order a history, the first that is there


def is_frame(value: object) -> bool:
    """Whether this is a data frame of a library that is loaded; text, lists and paths are none."""
    if isinstance(value, str | bytes | list | tuple | dict) or value is None:
        return False
    libraries = (*get_args(FrameKind), "modin", "cudf", "duckdb")
    # of the type: a frame that is not computed yet would look them up, and warn of that
    return any(name in sys.modules for name in libraries) and hasattr(type(value), "columns")


def kind_of(frame: object) -> FrameKind | None:
    """The library that a frame is of; None for no frame, or one of another library."""
    library = type(frame).__module__.partition(".")[0]
    return next((kind for kind in get_args(FrameKind) if kind == library), None)


def rows_of(frame: object, needed: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
    """Rows of a frame by column; what is missing in it is None.

    Raises:
        InputError: It lacks a column.
        UsageError: narwhals is not installed.
    """
    nw = _narwhals()
    known = nw.from_native(frame)
    if isinstance(known, nw.LazyFrame):
        known = known.collect()
    lacking = [name for name in needed if name not in known.columns]
    if lacking:
        raise InputError(
            f"the data frame has no column {lacking[0]!r}; it has {', '.join(map(repr, known.columns))}: rename one"
        )
    for row in known.iter_rows(named=True):
        yield {name: None if _is_missing(value) else value for name, value in row.items()}


def frame_of(rows: Sequence[Mapping[str, Any]], kind: FrameKind, columns: Sequence[str]) -> Any:
    """A frame of rows.

    Args:
        rows: Each with these columns.
        kind: Of which library.
        columns: Their order, which an empty frame has too.

    Raises:
        UsageError: The library, or narwhals, is not installed.
    """
    if kind not in get_args(FrameKind):
        raise UsageError(f"no data frames {kind!r}; choices: {', '.join(get_args(FrameKind))}")
    nw = _narwhals()
    table = {name: [row[name] for row in rows] for name in columns}
    try:
        return nw.from_dict(table, backend=kind).to_native()
    except ImportError as error:
        raise UsageError(f"{kind} is not installed; install it, or choose another kind of data frame") from error


def write_rows(frame: object, file: Path) -> None:
    """Write a frame as JSON lines, every cell as the text that it is, a time as ISO 8601 in UTC where it has a zone."""
    with file.open("w", encoding="utf-8") as stream:
        for row in rows_of(frame):
            given = {name: _plain(value) for name, value in row.items() if value is not None}
            stream.write(json.dumps(given, ensure_ascii=False) + "\n")


def _plain(value: Any) -> Any:
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, str | int | float | list):
        return value
    return value.item() if hasattr(value, "item") else str(value)  # a scalar of NumPy


def _is_missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and isnan(value)) or type(value).__name__ in ("NAType", "NaTType")


def _narwhals() -> Any:
    try:
        import narwhals.stable.v2 as nw
    except ImportError as error:
        raise UsageError('data frames need narwhals; install it with `pip install "patchrec[frames]"`') from error
    return nw
