"""Columns of the catalog beside each recommended item: their names, their types in Parquet, and their values."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from patchrec.data.catalog import Catalog
from patchrec.data.conditions import columns_of
from patchrec.data.writers import COLUMNS, SOURCE
from patchrec.errors import UsageError, unknown

_WHOLE = 1 << 53
"""Whole numbers below it are floats, too."""


@dataclass(frozen=True, slots=True, eq=False)
class Beside:
    """What stands beside an item.

    Attributes:
        kinds: Column -> its type in Parquet, in order.
        values: By item, those of all columns.
    """

    kinds: dict[str, str]
    values: list[tuple[Any, ...]]


def beside(catalog: Catalog, asked: Sequence[str]) -> Beside:
    """The columns that are asked for: `title`, or a field of the metadata; letter case does not matter.

    What is no text among texts is JSON text, such as a list.

    Raises:
        UsageError: No item has such a field, or a row has a column of that name.
    """
    known = {name.casefold(): (name, key) for name, key in columns_of(catalog).items()}
    kinds: dict[str, str] = {}
    found: list[list[Any]] = []
    for name in asked:
        if name.casefold() not in known:
            raise UsageError(f"--with: {unknown('column', name, [shown for shown, _ in known.values()])}")
        shown, key = known[name.casefold()]
        if shown in COLUMNS or shown == SOURCE:
            raise UsageError(f"--with {name}: the file has a column {shown!r} of its own; drop it")
        if shown in kinds:
            continue
        if shown == "title":
            values: list[Any] = list(catalog.titles)
        else:
            values = [item.get(key or shown) for item in catalog.metadata]
        kinds[shown] = _kind(values)
        found.append([_text(value) for value in values] if kinds[shown] == "VARCHAR" else values)
    return Beside(kinds, list(zip(*found, strict=True)) if found else [()] * len(catalog))


def _kind(values: Sequence[Any]) -> str:
    """The type that holds all values, of which those that are missing are None."""
    some = [value for value in values if value is not None]
    if some and all(type(value) is int for value in some) and all(-_WHOLE < value < _WHOLE for value in some):
        return "BIGINT" if len(some) == len(values) else "DOUBLE"
    return "DOUBLE" if some and all(type(value) is float for value in some) else "VARCHAR"


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)
