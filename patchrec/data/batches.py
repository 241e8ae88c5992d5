"""Rows of tables in batches, column by column: what every format gives and everything that reads tables takes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from patchrec.history import IntArray

Row = dict[str, Any]
"""Column -> value: text, or what the file marks as something else (None, bool, float, list, dict, Moment)."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows.

    Attributes:
        numbers: (n,) of their lines (Parquet and a JSON array: of the rows), from 1 with the header counted.
        columns: Name -> (n,) values.
    """

    numbers: Sequence[int] | IntArray
    columns: Mapping[str, Sequence[Any]]

    def __len__(self) -> int:
        return len(self.numbers)

    def row(self, place: int) -> Row:
        """One row."""
        return {name: values[place] for name, values in self.columns.items()}

    def take(self, places: Sequence[int]) -> "Batch":
        """The rows of these places, in their order."""
        taken = {name: [values[place] for place in places] for name, values in self.columns.items()}
        return Batch([int(self.numbers[place]) for place in places], taken)


@dataclass
class Table:
    """An open table.

    Attributes:
        file: Its name in messages.
        columns: Of its header; of JSON all keys of all rows.
        batches: All rows.
        num_rows: How many there are, where the file says so beforehand.
    """

    file: str
    columns: tuple[str, ...]
    batches: Iterator[Batch]
    _stack: ExitStack = field(default_factory=ExitStack)
    num_rows: int | None = None

    def __enter__(self) -> "Table":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def rows(self) -> Iterator[tuple[int, Row]]:
        """Each row with its number."""
        for batch in self.batches:
            for place, number in enumerate(batch.numbers):
                yield int(number), batch.row(place)


def of_rows(rows: Iterable[tuple[int, Row]], columns: Sequence[str], size: int) -> Iterator[Batch]:
    """Batches of rows that come one by one; a column that a row lacks is None."""
    numbers: list[int] = []
    values: list[Row] = []

    def batch() -> Batch:
        return Batch(numbers, {name: [row.get(name) for row in values] for name in columns})

    for number, row in rows:
        numbers.append(number)
        values.append(row)
        if len(numbers) == size:
            yield batch()
            numbers, values = [], []
    if numbers:
        yield batch()
