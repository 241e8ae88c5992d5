"""Tables in files: CSV, TSV, JSON lines, Parquet and RecBole's atomic files, every value as it was written.

Nothing is taken for a number or a missing value here: `007`, `NA` and `1e5` stay those characters. Quotes group a field
in CSV alone; in TSV and RecBole files, which have no such rule, a quote is a character like any other, unless the
caller says that the file is quoted.
"""

import csv
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NoReturn

from patchrec.data.lines import Rejects, numbered_lines, open_bytes, reading
from patchrec.errors import InputError, UsageError

Format = Literal["csv", "tsv", "jsonl", "parquet", "recbole"]
Quotes = Literal["group", "text"]
FORMATS: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".json": "jsonl",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".inter": "recbole",
    ".item": "recbole",
}
"""By file ending; `.gz` after it (not for Parquet) is unpacked."""

RECBOLE_TYPES = ("token", "token_seq", "float", "float_seq")

Row = dict[str, Any]
"""Column -> value: text, or what the file marks as something else (None, bool, float, list, dict)."""


@dataclass
class Table:
    """An open file of rows.

    Attributes:
        file: Its name in messages.
        columns: Of its header; of JSON all keys of all rows.
        rows: Numbered by line (Parquet and a JSON array: by row), from 1 with the header counted.
    """

    file: str
    columns: tuple[str, ...]
    rows: Iterator[tuple[int, Row]]
    _stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> "Table":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def format_of(path: Path, named: str | None = None) -> Format:
    """The format that was named, else the one of the file's ending.

    Raises:
        UsageError: There is no such format, or the ending tells none.
    """
    known = sorted(set(FORMATS.values()))
    if named is not None:
        if named not in known:
            raise UsageError(f"no format {named!r}; choices: {', '.join(known)}")
        return next(name for name in FORMATS.values() if name == named)
    ending = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    if ending.lower() not in FORMATS:
        raise UsageError(
            f"cannot tell the format of {path.name!r} by its ending; name it: --format {' | '.join(known)}"
        )
    return FORMATS[ending.lower()]


def open_table(path: Path, named_format: str | None, rejects: Rejects, quotes: Quotes | None = None) -> Table:
    """Open a file of rows; close it by using the table in a `with`.

    Args:
        path: The file.
        named_format: Its format; None tells it by the ending.
        rejects: Takes the lines that cannot be used.
        quotes: Whether quotes group a field (RFC 4180) or are text; None: they group in CSV.

    Raises:
        InputError: The file is missing, empty, damaged, or has no usable header.
        UsageError: Its format is not known, or has no quotes to speak of.
    """
    kind = format_of(path, named_format)
    if quotes is not None and kind in ("jsonl", "parquet"):
        raise UsageError(f"--quotes is for CSV, TSV and RecBole files, and {path.name!r} is none; drop it")
    group = (quotes or ("group" if kind == "csv" else "text")) == "group"
    with reading(str(path)):
        if path.is_dir():
            raise InputError(f"{str(path)!r} is a folder; give a file")
        if path.stat().st_size == 0:
            raise InputError(f"{str(path)!r} is empty; give a file with a header and rows")
    if kind == "parquet":
        from patchrec.data.parquet import open_parquet

        stack = ExitStack()
        columns, rows = open_parquet(path, stack)
        return Table(path.name, columns, rows, stack)
    stack = ExitStack()
    try:
        lines = _open_lines(path, rejects, stack)
        if kind == "jsonl":
            columns, rows = _json_columns(path), _json_rows(lines, path.name, rejects)
        else:
            delimiter, typed = "," if kind == "csv" else "\t", kind == "recbole"
            columns, rows = _delimited(lines, path.name, rejects, delimiter=delimiter, group=group, typed=typed)
    except BaseException:
        stack.close()
        raise
    return Table(path.name, columns, rows, stack)


def _open_lines(path: Path, rejects: Rejects, stack: ExitStack) -> "_TextLines":
    """The lines of a text file, until the stack is closed."""
    with reading(str(path)):
        stream = stack.enter_context(open_bytes(path))
    return _text_lines(numbered_lines(stream, path.name, rejects), path.name, rejects)


class _TextLines:
    """Decoded lines that remember the number of the last one given out, and of the first since `first` was reset."""

    def __init__(self, lines: Iterator[tuple[int, str]]) -> None:
        self._lines = lines
        self.number = 0
        self.first = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        self.number, text = next(self._lines)
        self.first = self.first or self.number
        return text


def _text_lines(lines: Iterator[tuple[int, bytes]], file: str, rejects: Rejects) -> _TextLines:
    return _TextLines(_decoded(lines, file, rejects))


def _decoded(lines: Iterator[tuple[int, bytes]], file: str, rejects: Rejects) -> Iterator[tuple[int, str]]:
    for number, raw in lines:
        if number == 1 and raw.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise InputError(f"{file}:1: the file is UTF-16; save it as UTF-8")
        line = raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw
        if b"\0" in line:
            rejects.add(file, number, "a NUL byte", "is it a text file in UTF-8? fix the line, or pass --skip-bad")
            continue
        try:
            yield number, line.decode("utf-8")
        except UnicodeDecodeError as error:
            byte = line[error.start]
            rejects.add(file, number, f"not UTF-8 (byte 0x{byte:02x} at {error.start + 1})", "save the file as UTF-8")


def _delimited(
    lines: _TextLines, file: str, rejects: Rejects, *, delimiter: str, group: bool, typed: bool
) -> tuple[tuple[str, ...], Iterator[tuple[int, Row]]]:
    records = _records(lines, file, rejects, delimiter) if group else _split_lines(lines, file, rejects, delimiter)
    _, header = next(records, (0, None))
    if header is None:
        raise InputError(f"{file!r} has no header; give a first line that names the columns")
    columns = tuple(_untyped(file, name) for name in header) if typed else tuple(header)
    if len(set(columns)) != len(columns) or not all(name.strip() for name in columns):
        raise InputError(f"{file}:1: a column has no name, or two have the same ({_shown(columns)}); name each once")
    return columns, _checked(records, columns, file, rejects)


def _checked(
    records: Iterator[tuple[int, list[str]]], columns: tuple[str, ...], file: str, rejects: Rejects
) -> Iterator[tuple[int, Row]]:
    for number, fields in records:
        if len(fields) != len(columns):
            rejects.add(file, number, f"{len(fields)} fields where the header has {len(columns)}")
            continue
        yield number, dict(zip(columns, fields, strict=True))


def _records(lines: _TextLines, file: str, rejects: Rejects, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Records with the number of their first line; empty lines are left out."""
    parser = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        lines.first = 0
        try:
            fields = next(parser)
        except StopIteration:
            return
        except csv.Error as error:
            swallowed = f" (a quote opened here runs on to line {lines.number})" if lines.number > lines.first else ""
            hint = 'write a quote inside a quoted field twice (""), or leave the line out with --skip-bad'
            rejects.add(file, lines.first, f"{error}{swallowed}", hint)
            continue
        if fields:
            yield lines.first, fields


def _split_lines(lines: _TextLines, file: str, rejects: Rejects, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Records of a line each, whose quotes are text; empty lines are left out. Fields that look quoted are counted."""
    quoted = 0
    for line in lines:
        text = line.rstrip("\r\n")
        if text:
            fields = text.split(delimiter)
            quoted += any(len(field) > 1 and field[0] == field[-1] == '"' for field in fields)
            yield lines.number, fields
    if quoted:
        rejects.notice(
            f"{file}: {quoted:,} lines have a field in quotes, which are kept as its text; if they only group it, give "
            "--quotes group"
        )


def _untyped(file: str, name: str) -> str:
    plain, _, kind = name.rpartition(":")
    if kind not in RECBOLE_TYPES or not plain:
        raise InputError(
            f"{file}:1: {name[:40]!r} is not a typed column such as 'user_id:token'; types: {', '.join(RECBOLE_TYPES)}"
        )
    return plain


def _json_columns(path: Path) -> tuple[str, ...]:
    """All keys of all rows, in the order in which they appear: a row of its own may lack any of them."""
    found: dict[str, None] = {}
    unread = Rejects(skip=True)  # lines that cannot be used are told when the rows are read
    with ExitStack() as stack:
        rows = 0
        for _, row in _json_rows(_open_lines(path, unread, stack), path.name, unread):
            found |= dict.fromkeys(row)
            rows += 1
    if not rows and unread.messages:
        raise InputError(f"{unread.messages[0]}; no line of {path.name!r} can be used: is it JSON?")
    if not rows:
        raise InputError(f"{path.name!r} has no rows; give one JSON object a line, or an array of objects")
    return tuple(found)


def _json_rows(lines: _TextLines, file: str, rejects: Rejects) -> Iterator[tuple[int, Row]]:
    """Objects, one a line; those of a file that is one array, numbered from 1."""
    at_first = True
    for text in lines:
        if not text.strip():
            continue
        if at_first and text.lstrip().startswith("["):
            yield from _array_rows(text + "".join(lines), file, rejects)
            return
        at_first = False
        try:
            row = _parsed(text)
            if not isinstance(row, dict):
                raise ValueError("not a JSON object")
        except (ValueError, RecursionError) as error:
            rejects.add(file, lines.number, f"not JSON ({_reason(error)})")
            continue
        yield lines.number, row


def _array_rows(text: str, file: str, rejects: Rejects) -> Iterator[tuple[int, Row]]:
    """The objects of one array, which is read whole.

    Raises:
        InputError: It is no JSON.
    """
    try:
        rows = _parsed(text)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{file!r} begins as a JSON array and is none ({_reason(error)}); give an array of objects, or one a line"
        ) from error
    for number, row in enumerate(rows, start=1):
        if isinstance(row, dict):
            yield number, row
        else:
            rejects.add(file, number, "not a JSON object")


def _parsed(text: str) -> Any:
    """JSON whose numbers stay as they are written: an id 1e5 is not 100000."""
    return json.loads(
        text, parse_int=str, parse_float=str, parse_constant=_no_constant, object_pairs_hook=_no_repeated_keys
    )


def _reason(error: Exception) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")


def _no_repeated_keys(pairs: list[tuple[str, Any]]) -> Row:
    row = dict(pairs)
    if len(row) != len(pairs):
        raise ValueError("a key stands there twice")
    return row


def _shown(columns: tuple[str, ...]) -> str:
    return ", ".join(repr(name[:40]) for name in columns[:12]) + (", ..." if len(columns) > 12 else "")


def missing_column(table: Table, name: str, option: str) -> InputError:
    """The error for a column that is not there: what is, and how to name another."""
    found = _shown(table.columns)
    hint = f"name the right one with {option}"
    for delimiter in ";\t|,":
        if len(table.columns) == 1 and delimiter in table.columns[0]:
            hint = f"the header is one piece with {delimiter!r} in it: give a file of the format that its content has"
    return InputError(f"{table.file}:1: no column {name!r}; columns: {found}; {hint}")
