"""What a section of a benchmark found: rows of raw numbers, columns that show them in 80 characters, and targets."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

WIDTH = 80


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        header: What stands above.
        key: Which number of a row.
        form: How it is written, as `format` takes it; text stands on the left, numbers on the right.
    """

    header: str
    key: str
    form: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """A bound on one number.

    Attributes:
        measured: None where it was not measured.
        at_most: Whether the bound is an upper one.
    """

    what: str
    bound: float
    measured: float | None
    at_most: bool = True

    @property
    def met(self) -> bool | None:
        """Whether the bound holds; None where nothing was measured."""
        if self.measured is None:
            return None
        return self.measured <= self.bound if self.at_most else self.measured >= self.bound

    def __str__(self) -> str:
        verdict = {True: "met", False: "NOT MET", None: "not measured"}[self.met]
        measured = "-" if self.measured is None else f"{self.measured:,.2f}"
        return f"{self.what:<46} {'<=' if self.at_most else '>='} {self.bound:>6g} {measured:>9}  {verdict}"


@dataclass(frozen=True, slots=True)
class Section:
    """What one section found.

    Attributes:
        rows: All numbers of each line, those included that the table does not show.
        notes: Sentences below the table.
    """

    title: str
    columns: Sequence[Column]
    rows: Sequence[Mapping[str, Any]]
    targets: Sequence[Target] = ()
    notes: Sequence[str] = ()

    def lines(self) -> Iterator[str]:
        """The section as text."""
        yield self.title
        if self.columns:
            yield from self._table()
        yield from map(str, self.targets)
        for note in self.notes:
            yield from textwrap.wrap(note, WIDTH)

    def _table(self) -> Iterator[str]:
        cells = [[_cell(row.get(column.key), column.form) for column in self.columns] for row in self.rows]
        widths = [max(map(len, texts)) for texts in zip([c.header for c in self.columns], *cells, strict=True)]
        for line in ([column.header for column in self.columns], *cells):
            padded = [
                text.rjust(width) if column.form else text.ljust(width)
                for text, width, column in zip(line, widths, self.columns, strict=True)
            ]
            yield "  ".join(padded).rstrip()

    def raw(self) -> dict[str, Any]:
        """The section as plain values."""
        return {
            "title": self.title,
            "rows": [dict(row) for row in self.rows],
            "targets": [{**asdict(target), "met": target.met} for target in self.targets],
            "notes": list(self.notes),
        }


def _cell(value: object, form: str) -> str:
    return "-" if value is None else format(value, form)
