"""What goes to the terminal: tables, fields, JSON, errors. Text from data passes `clean` and is never read as markup.

Results go to stdout, everything else to stderr. rich is imported only when a table is drawn.
"""

import json
import os
import re
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import asdict, dataclass, is_dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from patchrec.reporting import SILENT, Reporter
from patchrec_cli import logbook

SCHEMA = 1
WIDTH = 80
UNWRAPPED = 100_000

# The folder that `--home` names in this call: what we print to be typed next has to name it too.
HOME: ContextVar[Path | None] = ContextVar("HOME", default=None)
COMMAND = re.compile(r"(?<=`)((?:torchrun [^`]*-m )?patchrec(?:_cli)?) (?=[a-z])(?![^`]*--help`)|^(next: patchrec) ")

# Control characters (C0, DEL, C1), line separators, lone surrogates, and all that Unicode calls a format character
# (bidirectional marks, overrides and isolates, tags, what is invisible) but the two joiners, which emoji and several
# scripts need, and the signs that are drawn before Arabic, Syriac and Kaithi numbers.
UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f]"
)


def clean(text: object) -> str:
    """Make text from data safe to show on one line: white space becomes a blank, control characters go."""
    return UNSAFE.sub(lambda found: " " if found.group() in "\t\n\r\v\f\u2028\u2029" else "", str(text))


def plain(result: Any) -> Any:
    """Turn a result into JSON data: dataclasses and models become objects, what is no finite number becomes null."""
    if hasattr(result, "model_dump"):
        return result.model_dump(mode="json")
    if is_dataclass(result) and not isinstance(result, type):
        result = asdict(result)
    elif hasattr(result, "tolist"):  # NumPy arrays and scalars
        result = result.tolist()
    if isinstance(result, Mapping):
        return {str(key): plain(item) for key, item in result.items()}
    if isinstance(result, list | tuple):
        return [plain(item) for item in result]
    if isinstance(result, float) and not isfinite(result):
        return None
    return str(result) if isinstance(result, Path) else result


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes:
        heading: Its title.
        key: What of a row it shows.
        right: Whether it is aligned to the right, as numbers are.
    """

    heading: str
    key: str
    right: bool = False


@dataclass(frozen=True, slots=True)
class Output:
    """How one command prints: for people, as JSON, or quietly (only the essential, one a line)."""

    as_json: bool = False
    quiet: bool = False

    @property
    def reporter(self) -> Reporter:
        """Where the operation reports notes and progress to."""
        if self.quiet:
            return SILENT if logbook.FILE.get() is None else logbook.Logged()
        from patchrec_cli.progress import TerminalReporter

        return TerminalReporter()

    def emit(self, payload: Mapping[str, Any], essential: Iterable[object]) -> bool:
        """Print JSON or the quiet lines if either was asked for.

        Returns:
            Whether everything is said: False means the caller draws for people.
        """
        if self.as_json:
            print_json({"schema": SCHEMA, **payload})
        elif self.quiet:
            print_lines(essential)
        return self.as_json or self.quiet

    def next_step(self, *commands: str) -> None:
        """Suggest how to go on, on stderr."""
        if not self.quiet and not self.as_json:
            for command in commands:
                print_note(f"next: {command}")


def print_json(payload: Any) -> None:
    """Print one JSON document, ASCII only: exact, and free of control characters; indented on a terminal."""
    indent = 2 if sys.stdout.isatty() else None
    print_lines([json.dumps(plain(payload), indent=indent, allow_nan=False)])


def print_lines(lines: Iterable[object]) -> None:
    """Print lines to stdout, each safe to show."""
    for line in lines:
        sys.stdout.write("\n".join(clean(part) for part in str(line).split("\n")) + "\n")


def is_first_process() -> bool:
    """Whether this process speaks: of several that a launcher started, the first alone does."""
    return os.environ.get("RANK", "0") == "0"


def print_note(message: str) -> None:
    """Print one line to stderr; commands in it are of the store that `--home` names."""
    home = HOME.get()
    if home is not None:
        message = COMMAND.sub(lambda found: f"{found[1] or found[2]} --home {shlex.quote(str(home))} ", message)
    sys.stderr.write(clean(message) + "\n")
    sys.stderr.flush()
    logbook.write(message)


def print_error(message: str) -> None:
    """Print the one line of an error to stderr."""
    print_note(f"error: {message}")


def shortened(cell: object, most: int) -> object:
    """A cell for people: of a text with more letters than `most` the beginning."""
    text = str(cell)
    if cell is None or len(text) <= most:
        return cell
    return f"{text[:most]}… ({len(text):,} letters; --json gives all)"


def cell_text(cell: object) -> str:
    """What a cell shows: "-" for None, a line for each part of a tuple, all of a list in one line."""
    if isinstance(cell, tuple):
        return "\n".join(clean(part) for part in cell)
    if isinstance(cell, list):
        return ", ".join(clean(part) for part in cell)
    return "-" if cell is None else clean(cell)


def print_fields(fields: Mapping[str, object]) -> None:
    """Print names and values in two columns; a field without a value is left out."""
    shown = {name: value for name, value in fields.items() if value is not None and value != ""}
    print_table([Column("", "name"), Column("", "value")], [{"name": n, "value": v} for n, v in shown.items()])


def print_table(
    columns: Sequence[Column], rows: Iterable[Mapping[str, object]], *, title: str = "", listing: bool = False
) -> None:
    """Print a table that fits the terminal (80 columns where there is none); long cells wrap, nothing is cut.

    Args:
        columns: What is shown.
        rows: Of what.
        title: A line before it.
        listing: Whether each row is a thing of its own, which is one line where there is no terminal: for `grep`.
    """
    headings = [clean(column.heading) for column in columns]
    cells = [[cell_text(row.get(column.key)) for column in columns] for row in rows]
    rights = [column.right for column in columns]
    width = None if sys.stdout.isatty() else UNWRAPPED if listing else WIDTH
    lines = None if width is None else plain_table(headings, cells, rights, width)
    if title:
        print_lines([title])
    sys.stdout.write("\n".join(rich_table(headings, cells, rights, width) if lines is None else lines) + "\n")


def plain_table(
    headings: Sequence[str], cells: Sequence[Sequence[str]], rights: Sequence[bool], width: int
) -> list[str] | None:
    """The lines of a table that needs no wrapping, as rich draws it; None where rich has to see to it.

    Importing rich and drawing with it is most of what a listing takes.

    Args:
        headings: Of the columns; no line where all are empty.
        cells: By row, one for each column, with a line break between the lines of one.
        rights: Whether a column is aligned to the right.
        width: Most letters of a line.
    """
    rows = [*([headings] if any(headings) else []), *cells]
    split = [[cell.split("\n") for cell in row] for row in rows]
    if not all(line.isascii() and line == line.strip() for row in split for lines in row for line in lines):
        return None
    widths = [max((len(line) for row in split for line in row[place]), default=0) for place in range(len(headings))]
    if sum(widths) + 2 * (len(widths) - 1) > width:
        return None
    found = []
    for row in split:
        for number in range(max(map(len, row))):
            texts = [lines[number] if number < len(lines) else "" for lines in row]
            padded = [
                text.rjust(size) if right else text.ljust(size)
                for text, size, right in zip(texts, widths, rights, strict=True)
            ]
            found.append("  ".join(padded).rstrip())
    return found


def rich_table(
    headings: Sequence[str], cells: Iterable[Sequence[str]], rights: Sequence[bool], width: int | None
) -> list[str]:
    """The lines of any table, long cells wrapped; a width of None is that of the terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=sys.stdout, width=width, highlight=False, markup=False, emoji=False)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=any(headings))
    for heading, right in zip(headings, rights, strict=True):
        table.add_column(Text(heading), justify="right" if right else "left", overflow="fold")
    for row in cells:
        table.add_row(*map(Text, row))
    with console.capture() as drawn:
        console.print(table)
    return [line.rstrip() for line in drawn.get().splitlines()]
