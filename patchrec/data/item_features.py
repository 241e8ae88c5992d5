"""Fields of a catalog as features of its items: which fields suit, and a bag of features for every item.

A list gives a feature for each of its values, a text one, a number the tenth that it lies in, and a title its words. A
value that one item alone has says nothing of others and is none.

Shapes: I items, F features, W features of the item with most of them.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
import numpy.typing as npt

from patchrec.data.catalog import Catalog
from patchrec.errors import UsageError, unknown

TITLE = "title"  # always a field: its words
_BINS = 10  # of a number that has more values
_MOST_VALUES = 10_000  # of a field, the most frequent ones
_WIDEST = 32  # features of an item
_ADD = "give --items a file with further columns when you add it (`patchrec data add --help`)"


@dataclass(frozen=True, slots=True, eq=False)
class ItemFeatures:
    """The features of the items of a catalog.

    Attributes:
        names: (F,) field and value, such as "genres=Comedy".
        bags: (I + 1, W) features of each item, F where it has fewer; the last row is the start mark's, and all F.
    """

    names: tuple[str, ...]
    bags: npt.NDArray[np.int32]


def suitable_fields(catalog: Catalog) -> tuple[str, ...]:
    """The fields that tell items apart and that most of their items share values of; the title's words where none does.

    Raises:
        UsageError: No two titles share a word either.
    """
    found = []
    for field in _columns(catalog):
        values = _values(catalog, field)
        having = sum(map(bool, values))
        kept = _shared(values)
        sharing = sum(not kept.isdisjoint(own) for own in values)
        if len(kept) > 1 and 2 * sharing >= having and "," not in field:  # a comma is between fields in --fields
            found.append(field)
    if not found and not _shared(_values(catalog, TITLE)):
        raise UsageError(
            f"no two items share a value of a field or a word of their titles, so there is no feature; {_ADD}"
        )
    return tuple(found) or (TITLE,)


def checked_fields(catalog: Catalog, text: str) -> tuple[str, ...]:
    """Fields written as "genres,year".

    Raises:
        UsageError: No field, an unknown one, or one that no two items share a value of.
    """
    fields = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    known = (*_columns(catalog), TITLE)
    if not fields:
        raise UsageError(f"--fields {text!r} names no field; choices: {', '.join(sorted(known))}")
    for field in fields:
        if field not in known:
            next_step = "" if known[1:] else f"for more, {_ADD}"
            raise UsageError(f"--fields {text!r}: {unknown('field', field, known, next_step)}")
        if not _shared(_values(catalog, field)):
            raise UsageError(f"--fields {text!r}: no two items share a value of {field!r}; drop it")
    return fields


def known_fields(catalog: Catalog, text: str | None, *, titles: bool = False) -> tuple[str, ...]:
    """Fields that were written, checked, or all that suit.

    Args:
        catalog: The items.
        text: Written as "genres,year"; None: what suits.
        titles: Whether the words of titles join what suits, where titles share any.

    Raises:
        UsageError: As `checked_fields` and `suitable_fields`.
    """
    if text is not None:
        return checked_fields(catalog, text)
    fields = suitable_fields(catalog)
    return (*fields, TITLE) if titles and TITLE not in fields and _shared(_values(catalog, TITLE)) else fields


def item_features(catalog: Catalog, fields: Sequence[str]) -> ItemFeatures:
    """The features that some fields give."""
    names: dict[str, int] = {}
    bags: list[list[int]] = [[] for _ in range(len(catalog))]
    for field in fields:
        values = _values(catalog, field)
        kept = _shared(values)
        for bag, own in zip(bags, values, strict=True):
            bag += [names.setdefault(f"{field}={value}", len(names)) for value in own if value in kept]
    width = max(1, min(_WIDEST, max(map(len, bags), default=1)))
    table = np.full((len(bags) + 1, width), len(names), dtype=np.int32)
    for row, bag in enumerate(bags):
        table[row, : len(bag)] = bag[:width]
    return ItemFeatures(tuple(names), table)


def _columns(catalog: Catalog) -> tuple[str, ...]:
    """Names of the catalog's columns; one that is called as the title is hides behind it."""
    return tuple(key for key in dict.fromkeys(key for item in catalog.metadata for key in item) if key != TITLE)


def _values(catalog: Catalog, field: str) -> list[list[str]]:
    """The different values of each item, as text."""
    if field == TITLE:
        return [list(dict.fromkeys(re.findall(r"\w+", title.casefold()))) for title in catalog.titles]
    raw = [item.get(field) for item in catalog.metadata]
    numbers = [value for value in raw if value is not None]
    if numbers and all(type(value) in (int, float) for value in numbers):
        return _in_bins(raw)
    return [list(dict.fromkeys(_texts(value))) for value in raw]


def _texts(value: Any) -> Iterable[str]:
    """The values of a cell; none of one with parts of its own."""
    cells = value if isinstance(value, list) else [value]
    texts = (str(cell).strip() for cell in cells if isinstance(cell, str | int | float))
    return (text for text in texts if text)


def _in_bins(raw: Sequence[Any]) -> list[list[str]]:
    """Numbers as themselves where there are few different ones, else as the tenth that they lie in."""
    numbers = np.array([float(value) for value in raw if value is not None and isfinite(value)])
    if len(np.unique(numbers)) <= _BINS:
        return [[] if value is None or not isfinite(value) else [f"{value:g}"] for value in raw]
    edges = np.unique(np.quantile(numbers, np.arange(1, _BINS) / _BINS))
    lower = ["", *(f"{edge:g}" for edge in edges)]
    return [
        [] if value is None or not isfinite(value) else [f"{lower[np.searchsorted(edges, value, side='right')]}.."]
        for value in raw
    ]


def _shared(values: Sequence[Sequence[str]]) -> set[str]:
    """The values of more than one item, the most frequent ones."""
    counts = Counter(value for own in values for value in own)
    return {value for value, count in counts.most_common(_MOST_VALUES) if count > 1}
