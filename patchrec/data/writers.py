"""Files of recommendations: CSV, JSONL and Parquet with the same columns. The counterpart of `readers.py`."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, TextIO

from patchrec.errors import UsageError

WrittenFormat = Literal["csv", "jsonl", "parquet"]
WRITTEN_FORMATS: dict[str, WrittenFormat] = {
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}
"""By file ending."""

Row = Sequence[str | float | None]
COLUMNS = {"user_id": "VARCHAR", "item_id": "VARCHAR", "score": "DOUBLE", "rank": "INTEGER", "probability": "DOUBLE"}
"""Columns that every row has, in order, and their types in Parquet."""
SOURCE = "source"
"""Column of what answered, where that may be something else than the run."""

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def format_for(output: str, named: WrittenFormat | None) -> WrittenFormat:
    """The format that was named, else the one of the file's ending; JSONL for stdout ("-").

    Raises:
        UsageError: The ending tells none, or stdout is to be Parquet.
    """
    if output == "-":
        if named == "parquet":
            raise UsageError("Parquet is not written to stdout; name a file, or take --format jsonl or csv")
        return named or "jsonl"
    found = named or WRITTEN_FORMATS.get(Path(output).suffix.lower())
    if found is None:
        known = ", ".join(WRITTEN_FORMATS)
        raise UsageError(
            f"cannot tell the format of {output!r} by its ending; end it in one of {known}, or name it with --format"
        )
    return found


def write_rows(path: Path, kind: WrittenFormat, rows: Iterable[Row], columns: Mapping[str, str] = COLUMNS) -> None:
    """Write rows into a new file; it is not whole before this returns.

    Args:
        path: The file.
        kind: Its format.
        rows: Values in the order of the columns.
        columns: Names, with their types in Parquet.
    """
    if kind == "parquet":
        from patchrec.data.parquet import write_parquet

        write_parquet(path, columns, rows)
        return
    with path.open("w", encoding="utf-8", newline="") as stream:
        print_rows(stream, kind, rows, columns)


def print_rows(
    stream: TextIO,
    kind: WrittenFormat,
    rows: Iterable[Row],
    columns: Mapping[str, str] = COLUMNS,
    *,
    header: bool = True,
) -> None:
    """Write rows as CSV or JSONL.

    A text cell of CSV that a spreadsheet would take for a formula gets a `'` in front. JSON is ASCII only, and what is
    no finite number is null.

    Args:
        header: Whether CSV begins with the names of the columns.
    """
    if kind == "csv":
        if header:
            stream.write(",".join(map(csv_cell, columns)) + "\n")
        for row in rows:
            stream.write(",".join(map(csv_cell, row)) + "\n")
    else:
        for row in rows:
            values = [None if isinstance(value, float) and not math.isfinite(value) else value for value in row]
            stream.write(json.dumps(dict(zip(columns, values, strict=True)), separators=(",", ":")) + "\n")


def harmless(text: str) -> str:
    """Text for a cell of CSV, with a `'` in front where a spreadsheet would take it for a formula."""
    return f"'{text}" if text.startswith(FORMULA) else text


def csv_cell(value: str | float | None) -> str:
    """A cell of CSV; text that a spreadsheet would take for a formula gets a `'` in front.

    Python's own writer leaves a lone carriage return unquoted, which ends a row for many readers.
    """
    if not isinstance(value, str):
        return "" if value is None else repr(value)
    text = harmless(value)
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in ',"\r\n') else text
