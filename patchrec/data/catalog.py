"""The catalog: items in file order, with ids and titles kept byte for byte."""

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from patchrec.errors import not_found


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

    def find(self, item_id: str) -> int:
        """Index of an item id.

        Raises:
            NotFoundError: No such item.
        """
        if item_id not in self.index:
            raise not_found("item", item_id, self.item_ids)
        return self.index[item_id]

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over ids and titles in order (hex, 16 digits)."""
        text = json.dumps([self.item_ids, self.titles], ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
