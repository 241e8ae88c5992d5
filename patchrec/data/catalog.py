"""The catalog: items in file order, with ids and titles kept byte for byte."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from math import isfinite
from typing import TYPE_CHECKING, Any

from patchrec.data.digests import catalog_digest
from patchrec.errors import InputError, not_found

if TYPE_CHECKING:  # NumPy takes a tenth of a second that a listing must not wait for
    from patchrec.history import IntArray


@dataclass(frozen=True)
class Catalog:
    """All items of a data set. An item's index is its place here (0-based, file order).

    Attributes:
        item_ids: Ids as in the source, unique.
        titles: Titles, not unique: several items may share one.
        metadata: Extra columns of each item, or an empty tuple when there are none.
    """

    item_ids: tuple[str, ...]
    titles: tuple[str, ...]
    metadata: tuple[dict[str, Any], ...] = field(default=(), repr=False)

    def __len__(self) -> int:
        return len(self.item_ids)

    @cached_property
    def index(self) -> dict[str, int]:
        """Item id -> index."""
        return {item_id: index for index, item_id in enumerate(self.item_ids)}

    @cached_property
    def by_title(self) -> dict[str, list[int]]:
        """Title -> indices of the items that share it, ascending."""
        found: dict[str, list[int]] = {}
        for index, title in enumerate(self.titles):
            found.setdefault(title, []).append(index)
        return found

    @cached_property
    def by_folded_title(self) -> dict[str, list[int]]:
        """The same with blanks around titles and letter case left aside."""
        found: dict[str, list[int]] = {}
        for index, title in enumerate(self.titles):
            found.setdefault(title.casefold().strip(), []).append(index)
        return found

    @cached_property
    def title_of_item(self) -> IntArray:
        """(I,) a number for every distinct title text, numbered as they appear."""
        return numbered(self.titles)

    def find(self, item_id: str) -> int:
        """Index of an item id.

        Raises:
            NotFoundError: No such item.
        """
        if item_id not in self.index:
            raise not_found("item", item_id, self.item_ids)
        return self.index[item_id]

    @cached_property
    def metadata_kinds(self) -> dict[str, type]:
        """The type that all values of a metadata column have; columns of several types are not there."""
        found: dict[str, set[type]] = {}
        for item in self.metadata:
            for key, value in item.items():
                if value is not None:
                    found.setdefault(key, set()).add(type(value))
        return {key: kinds.pop() for key, kinds in found.items() if len(kinds) == 1}

    def fit_metadata(self, written: dict[str, Any]) -> dict[str, Any]:
        """Metadata written as text, in the types that the catalog has: a year among whole numbers becomes one.

        Lists are split at "|". What is blank where the catalog has numbers or lists is left out.

        Raises:
            ValueError: A value is none of its column's type.
        """
        found = {}
        for key, value in written.items():
            kind = self.metadata_kinds.get(key, str)
            if not isinstance(value, str) or kind not in (int, float, list):
                found[key] = value
            elif value.strip():
                found[key] = _read_as(kind, key, value)
        return found

    def prefix(self, num_items: int) -> Catalog:
        """The first items: the catalog as it was before others were added at its end."""
        return Catalog(self.item_ids[:num_items], self.titles[:num_items], self.metadata[:num_items])

    def take(self, items: list[int]) -> Catalog:
        """Some items, in this order."""
        return Catalog(
            tuple(self.item_ids[item] for item in items),
            tuple(self.titles[item] for item in items),
            tuple(self.metadata[item] for item in items) if self.metadata else (),
        )

    def followed_by(self, new: Catalog) -> Catalog:
        """The catalog with new items at its end, where every item keeps its index.

        Raises:
            InputError: An id is there already.
        """
        for item_id in new.item_ids:
            if item_id in self.index:
                raise InputError(
                    f"item {item_id!r} is in the catalog already, as {self.titles[self.index[item_id]]!r}; "
                    "give a new item another id"
                )
        some = bool(self.metadata or new.metadata)
        metadata = tuple(item for part in (self, new) for item in part.metadata or ({},) * len(part)) if some else ()
        return Catalog(self.item_ids + new.item_ids, self.titles + new.titles, metadata)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over ids and titles in order (hex, 16 digits)."""
        return catalog_digest([self.item_ids], [self.titles])


def numbered(texts: Iterable[str]) -> IntArray:
    """(n,) a number for every distinct text, numbered as they appear."""
    import numpy as np

    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(text, len(numbers)) for text in texts], dtype=np.int64)


def _read_as(kind: type, key: str, text: str) -> Any:
    if kind is list:
        return [part.strip() for part in text.split("|")]
    from patchrec.data.timestamps import NUMBER, WHOLE

    form = WHOLE if kind is int else NUMBER
    if not form.fullmatch(text.strip()) or not isfinite(float(text)):
        raise ValueError(f"{key} {text[:40]!r} is no {'whole ' * (kind is int)}number, as the catalog has there")
    return kind(text)
