"""Tables in files: CSV and other separated fields, JSON lines, Parquet and RecBole's atomic files.

Every value is as it was written. Nothing is taken for a number or a missing value here: `007`, `NA` and `1e5` stay
those characters. Quotes group a field in CSV alone; in other files, which have no such rule, a quote is a character
like any other, unless the caller says that the file is quoted.
"""

import csv
import io
from collections.abc import Iterator
from contextlib import ExitStack
from typing import BinaryIO, NoReturn

import numpy as np

from patchrec.data.batches import Batch, Table, of_rows
from patchrec.data.fields import split_fields
from patchrec.data.inputs import STDIN, Part
from patchrec.data.json_rows import json_array, json_columns, json_rows
from patchrec.data.lines import MAX_LINE_BYTES, Lines, Rejects, reading, recoded
from patchrec.data.recipe import FormatName, Written
from patchrec.errors import InputError, UsageError

FORMATS: dict[str, FormatName] = {
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
"""By file ending; the ending of a packing after it (not for Parquet) is unpacked."""

RECBOLE_TYPES = ("token", "token_seq", "float", "float_seq")
BATCH = 20_000
HEAD = 4096
MAX_ARRAY = 256 << 20
"""Bytes of a JSON array, which is read whole."""
SEPARATORS = ("::", "\t", ";", "|", ",")
NO_NAME = "a column without a name, of row numbers as a rule, is not used"
UNNAMED = "Unnamed: "
"""What pandas calls a column without a name when it writes it out again."""


def format_of(part: Part, written: Written) -> FormatName:
    """The format that was named, else the one of the file's ending, else that of separated fields.

    Raises:
        UsageError: There is no such format, or the ending tells none and no separator is named.
    """
    known = sorted(set(FORMATS.values()))
    if written.format is not None:
        return written.format
    if part.ending in FORMATS:
        return FORMATS[part.ending]
    if written.sep is not None:
        return "tsv"
    raise UsageError(
        f"cannot tell the format of {part.name!r} by its ending; name it: --format {' | '.join(known)}, or the "
        "separator of its fields: --sep '::'"
    )


def open_table(part: Part, written: Written, rejects: Rejects) -> Table:
    """Open a file of rows; close it by using the table in a `with`.

    Args:
        part: The file.
        written: How it is written.
        rejects: Takes the lines that cannot be used, and counts what is read.

    Raises:
        InputError: The file is damaged, or has no usable header.
        UsageError: Its format is not known, or has no quotes, separators or encodings to speak of.
    """
    kind, num_rows = format_of(part, written), None
    _refuse_options(part, kind, written)
    stack = ExitStack()
    try:
        if kind == "parquet":
            if part.path is None or part.member is not None:
                raise InputError(f"{part.name!r} cannot be read there; unpack it, and give the Parquet file itself")
            from patchrec.data.parquet import count_rows, open_parquet

            columns, batches = open_parquet(part.path, stack, BATCH)
            num_rows = count_rows(part.path)
        elif kind == "jsonl":
            columns, batches = _open_json(part, written, rejects, stack)
        else:
            columns, batches = _Delimited(part, kind, written, rejects, stack).open()
    except BaseException:
        stack.close()
        raise
    if kind in ("jsonl", "parquet") and any(_is_index(1, name) for name in columns):
        columns = tuple(name for name in columns if not _is_index(1, name))
        batches = (Batch(batch.numbers, {name: batch.columns[name] for name in columns}) for batch in batches)
        rejects.notice(f"{part.name}: {NO_NAME}")
    return Table(part.name, columns, _counted(batches, rejects), stack, num_rows)


def _open_json(
    part: Part, written: Written, rejects: Rejects, stack: ExitStack
) -> tuple[tuple[str, ...], Iterator[Batch]]:
    """Columns and rows of one array, which is read whole, or of lines, which are looked through for their keys first.

    Raises:
        InputError: No row can be used.
    """
    with ExitStack() as first, reading(part.name):
        head = _open_text(part, written, first).read(HEAD).removeprefix(b"\xef\xbb\xbf").lstrip()
    if head.startswith(b"["):
        with ExitStack() as first, reading(part.name):
            content = _open_text(part, written, first).read(MAX_ARRAY + 1)
        if len(content) > MAX_ARRAY:
            raise InputError(
                f"{part.name!r} is a JSON array of more than {MAX_ARRAY >> 20} MiB; give one object a line"
            )
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise InputError(f"{part.name!r} is not UTF-8; give its --encoding such as latin-1 or cp1252") from error
        rows = json_array(text, part.name, rejects)
        columns = tuple(dict.fromkeys(key for _, row in rows for key in row))
        if not rows:
            _refuse_empty(part, rejects)
        return columns, of_rows(rows, columns, BATCH)
    with ExitStack() as first:
        unread = Rejects(skip=True)  # lines that cannot be used are told when the rows are read
        columns = json_columns(_open_lines(part, written, unread, first), part.name, unread)
    found = json_rows(_open_lines(part, written, rejects, stack), part.name, rejects)
    if not columns:
        unread.settle()
        if unread.messages and not rejects.skip:
            way = "give its --encoding such as latin-1" if "not UTF-8" in unread.messages[0] else "is it JSON?"
            raise InputError(f"{unread.messages[0]}; no line of {part.name!r} can be used: {way}")
        for _ in found:
            pass
        _refuse_empty(part, rejects)
    return columns, of_rows(found, columns, BATCH)


def _refuse_empty(part: Part, rejects: Rejects) -> NoReturn:
    """Say why no row of a JSON file can be used."""
    rejects.settle()
    why = "; ".join(rejects.summary()[:3])
    if why:
        raise InputError(f"no line of {part.name!r} can be used: {why}; is it JSON?")
    raise InputError(f"{part.name!r} has no rows; give one JSON object a line, or an array of objects")


def _refuse_options(part: Part, kind: FormatName, written: Written) -> None:
    """Refuse what the format has no use for."""
    if kind in ("jsonl", "parquet"):
        for option, value in (("quotes", written.quotes), ("sep", written.sep), ("columns", written.columns)):
            if value is not None and option not in written.inherited:
                raise UsageError(f"--{option} is for CSV, TSV and RecBole files, and {part.name!r} is none; drop it")
    if kind == "parquet" and written.encoding is not None and "encoding" not in written.inherited:
        raise UsageError(f"--encoding is for text, and {part.name!r} is a Parquet file; drop it")


def _counted(batches: Iterator[Batch], rejects: Rejects) -> Iterator[Batch]:
    for batch in batches:
        rejects.read += len(batch)
        yield batch
        rejects.settle()
    rejects.settle()


def _open_lines(part: Part, written: Written, rejects: Rejects, stack: ExitStack) -> Lines:
    """The lines of a text file, until the stack is closed."""
    return Lines(_open_text(part, written, stack), part.name, rejects)


def _open_text(part: Part, written: Written, stack: ExitStack) -> BinaryIO:
    """A text file as UTF-8, until the stack is closed."""
    with reading(part.name):
        stream = part.open() if part.name == STDIN else stack.enter_context(part.open())
    return recoded(stream, written.encoding)


class _Delimited:
    """A file of separated fields."""

    def __init__(self, part: Part, kind: FormatName, written: Written, rejects: Rejects, stack: ExitStack) -> None:
        self._file = part.name
        self._rejects = rejects
        self._sep = (written.sep or ("," if kind == "csv" else "\t")).replace("\\t", "\t")
        self._written = written
        self._typed = kind == "recbole"
        self._group = (written.quotes or ("group" if kind == "csv" else "text")) == "group"
        if self._group and len(self._sep) > 1:
            if written.quotes == "group":
                raise UsageError(f"--quotes group needs a separator of one character, and --sep is {self._sep!r}")
            self._group = False
        self._lines = _open_lines(part, written, rejects, stack)
        self._quoted = self._faulty = 0
        csv.field_size_limit(MAX_LINE_BYTES)
        self._parser = csv.reader((line + "\n" for line in self._lines), delimiter=self._sep[0], strict=True)

    def open(self) -> tuple[tuple[str, ...], Iterator[Batch]]:
        """The columns, and the rows that follow."""
        names = self._header() if self._written.header else self._written.columns or ()
        if self._written.header and self._written.columns is not None:
            names = self._renamed(names)
        names = tuple(name.strip() for name in names)
        named = [name for place, name in enumerate(names) if not _is_index(place, name)]
        if len(named) < len(names):
            self._rejects.notice(f"{self._file}: {NO_NAME}")
        if len(set(named)) != len(named) or not all(named):
            raise InputError(
                f"{self._file}:1: a column has no name, or two have the same ({shown(names)}); name each once, "
                "or, where that line is data, say --no-header --columns A,B,..."
            )
        return tuple(named), self._batches(names)

    def _header(self) -> tuple[str, ...]:
        fields = next(self._records(), None)
        if self._lines.begins_late or (fields is not None and self._faulty):
            self._rejects.skip = False
            self._rejects.settle()
        if fields is None:
            self._rejects.settle()
            raise InputError(f"{self._file!r} has no header; give a first line that names the columns")
        return tuple(_untyped(self._file, name) for name in fields[1]) if self._typed else tuple(fields[1])

    def _renamed(self, header: tuple[str, ...]) -> tuple[str, ...]:
        """The names that were given instead of the header's.

        Raises:
            UsageError: They are not as many.
        """
        given = self._written.columns or ()
        if len(given) != len(header):
            raise UsageError(
                f"--columns names {len(given)} columns, and {self._file!r} has {len(header)}: {shown(header)}; name "
                "each, or drop --columns"
            )
        return given

    def _batches(self, names: tuple[str, ...]) -> Iterator[Batch]:
        used = [place for place, name in enumerate(names) if not _is_index(place, name)]
        while True:
            self._lines.skip_blank()
            quick = self._quick(names, used)
            if quick is not None:
                yield quick
                continue
            taken = self._lines.take()
            if taken is None:
                break
            found = self._plain(*taken)
            if found is None:
                self._lines.give_back()
                found = self._parsed()
            numbers, rows = self._of_width(*found, len(names))
            if rows:
                columns = list(zip(*rows, strict=True))
                yield Batch(numbers, {names[place]: columns[place] for place in used})
        if self._quoted:
            plural = "s have" if self._quoted > 1 else " has"
            self._rejects.notice(
                f"{self._file}: {self._quoted:,} line{plural} a field in quotes, kept as its text; if they only group "
                "it, give --quotes group"
            )

    def _quick(self, names: tuple[str, ...], used: list[int]) -> Batch | None:
        """A whole block whose lines all have their fields and nothing that needs a look; None where it has not."""
        block = self._lines.take_block() if len(self._sep) == 1 and self._sep.isascii() else None
        if block is None:
            return None
        number, content = block
        odd = b'"' in content or b"\r" in content or b"\n\n" in content or content.startswith(b"\n")
        fields = (
            None
            if odd or not content or content.endswith(b"\n")
            else split_fields(content, self._sep, len(names), used)
        )
        if fields is None:
            self._lines.give_back_block()
            return None
        lines = np.arange(number, number + content.count(b"\n") + 1)
        return Batch(lines, {names[place]: one for place, one in zip(used, fields, strict=True)})

    def _plain(
        self, numbers: "list[int] | range", texts: list[str]
    ) -> tuple["list[int] | range", list[list[str]]] | None:
        """Fields of lines that are split at separators alone; None where they need a parser.

        Blank lines are left out.
        """
        joined = "\n".join(texts)
        if "\r" in joined:
            texts = [text.removesuffix("\r") for text in texts]
            if self._group and any("\r" in text for text in texts):
                return None
        quotes = '"' in joined
        if quotes and self._group:
            return None
        if not all(texts):
            kept = [place for place, text in enumerate(texts) if text]
            numbers, texts = [numbers[place] for place in kept], [texts[place] for place in kept]
        rows = [text.split(self._sep) for text in texts]
        if quotes and self._written.quotes is None:
            self._quoted += sum(any(len(one) > 1 and one[0] == one[-1] == '"' for one in row) for row in rows)
        return numbers, rows

    def _parsed(self) -> tuple[list[int], list[list[str]]]:
        """Fields of the records that begin in this block."""
        numbers, rows = [], []
        while not self._lines.at_end_of_block:
            record = next(self._records(), None)
            if record is not None:
                numbers.append(record[0])
                rows.append(record[1])
        return numbers, rows

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        """Records with the number of their first line; empty lines are left out."""
        if not self._group:
            for text in self._lines:
                if text.rstrip("\r"):
                    yield self._lines.number, text.removesuffix("\r").split(self._sep)
                else:
                    self._lines.skip_blank()
            return
        lines = self._lines
        while True:
            lines.first = 0
            lines.given.clear()
            try:
                fields = next(self._parser)
            except StopIteration:
                return
            except csv.Error as error:
                ran_on = f" (a quote opened here runs on to line {lines.number})" if lines.number > lines.first else ""
                hint = 'write a quote inside a quoted field twice (""), or leave the line out with --skip-bad'
                if "new-line character" in str(error):
                    hint = "the lines end in carriage returns alone: save the file with line breaks"
                self._faulty += 1
                self._rejects.add_line(self._file, lines.first, f"{error}{ran_on}", hint, text="\n".join(lines.given))
                continue
            if fields:
                yield lines.first, fields
            else:
                lines.skip_blank()

    def _of_width(
        self, numbers: "list[int] | range", rows: list[list[str]], width: int
    ) -> tuple[list[int], list[list[str]]]:
        """The records that have as many fields as there are columns; others are rejected."""
        kept: tuple[list[int], list[list[str]]] = [], []
        named = "the header has" if self._written.header else "--columns names"
        for number, fields in zip(numbers, rows, strict=True):
            if len(fields) == width:
                kept[0].append(number)
                kept[1].append(fields)
            else:
                reason = f"{len(fields)} fields where {named} {width}"
                hint = self._width_hint(fields, width)
                self._rejects.add_line(self._file, number, reason, hint, text=self._joined(fields))
        return kept

    def _joined(self, fields: list[str]) -> str:
        """A record as a line."""
        if not self._group:
            return self._sep.join(fields)
        line = io.StringIO()
        csv.writer(line, delimiter=self._sep, lineterminator="").writerow(fields)
        return line.getvalue()

    def _width_hint(self, fields: list[str], width: int) -> str:
        one = self._sep.join(fields)
        other = next((sep for sep in SEPARATORS if sep != self._sep and one.count(sep) + 1 == width), None)
        if len(fields) == 1 and other is not None:
            return f"it seems to be split by {other!r}: --sep {other!r}"
        return "fix the line, or leave it out with --skip-bad"


def _is_index(place: int, name: str) -> bool:
    """Whether a column holds the row numbers that a data frame was written with."""
    return (not name and place == 0) or name.startswith(UNNAMED)


def _untyped(file: str, name: str) -> str:
    plain, _, kind = name.rpartition(":")
    if kind not in RECBOLE_TYPES or not plain:
        raise InputError(
            f"{file}:1: {name[:40]!r} is not a typed column such as 'user_id:token'; types: "
            f"{', '.join(RECBOLE_TYPES)}; if the file is none of RecBole's, say --format tsv and its --sep"
        )
    return plain


def shown(columns: tuple[str, ...]) -> str:
    """Names of columns in a message."""
    return ", ".join(repr(name[:40]) for name in columns[:12]) + (", ..." if len(columns) > 12 else "")
