"""Catalogs in the store: their items, their growth at the end, and the versions that they had."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from patchrec.errors import CorruptError
from patchrec.store.naming import json_object, now

if TYPE_CHECKING:
    from patchrec.data.catalog import Catalog
    from patchrec.store.connection import Store


@dataclass(frozen=True, slots=True)
class CatalogVersion:
    """What a catalog was until the next items were added: its first `num_items` items.

    Attributes:
        fingerprint: `Catalog.fingerprint` of those.
        added_at: When the last of them were added.
    """

    num_items: int
    fingerprint: str
    added_at: str


@dataclass(frozen=True, slots=True)
class StoredItem:
    """One item of a catalog and when it was added.

    Attributes:
        item: Its index.
    """

    item: int
    item_id: str
    title: str
    metadata: dict[str, Any]
    added_at: str


class Catalogs:
    """The catalogs of a store, by the name of their data set. Unknown names have none: `Datasets` refuses those."""

    def __init__(self, store: "Store") -> None:
        self._store = store

    def load(self, dataset: str, *, with_metadata: bool = True) -> "Catalog":
        """Read a catalog into memory, without a check; its fingerprint needs no metadata."""
        from patchrec.data.catalog import Catalog

        metadata = "metadata" if with_metadata else "NULL"
        read = f"SELECT item_id, title, {metadata} FROM items WHERE dataset = ? ORDER BY item"  # noqa: S608 - ours
        rows = self._store.rows(read, [dataset])
        some = any(metadata is not None for _, _, metadata in rows)
        return Catalog(
            item_ids=tuple(item_id for item_id, _, _ in rows),
            titles=tuple(title for _, title, _ in rows),
            metadata=tuple(json_object(metadata or "{}") for _, _, metadata in rows) if some else (),
        )

    def titles(self, dataset: str) -> Iterator[tuple[str, int]]:
        """Distinct titles of a catalog with the number of items that have them, by first item; one at a time."""
        found = "SELECT title, count(*) FROM items WHERE dataset = ? GROUP BY title ORDER BY min(item)"
        with self._store.read() as db:
            yield from db.execute(found, [dataset])

    def versions(self, dataset: str) -> list[CatalogVersion]:
        """Every version of a catalog, the first one first; the last one is today's."""
        rows = self._store.rows(
            "SELECT num_items, fingerprint, added_at FROM catalog_versions WHERE dataset = ? ORDER BY num_items",
            [dataset],
        )
        return [CatalogVersion(*row) for row in rows]

    def items(self, dataset: str, limit: int | None = None) -> list[StoredItem]:
        """Items of a catalog, the last one first.

        Args:
            limit: At most so many; None gives all.
        """
        rows = self._store.rows(
            "SELECT item, item_id, title, metadata, (SELECT added_at FROM catalog_versions AS version"
            " WHERE version.dataset = items.dataset AND num_items > item ORDER BY num_items LIMIT 1)"
            " FROM items WHERE dataset = ? ORDER BY item DESC LIMIT coalesce(?, -1)",
            [dataset, limit],
        )
        return [
            StoredItem(item, item_id, title, json_object(metadata or "{}"), added_at)
            for item, item_id, title, metadata, added_at in rows
        ]

    def insert(self, dataset: str, catalog: "Catalog", start: int = 0) -> None:
        """Write the items of a catalog from an index on, and the version that they make. Call it inside a write."""
        with self._store.write() as db:
            # executemany rather than insert_all: half a million rows in one second instead of ten.
            db.conn.executemany("INSERT INTO items VALUES (?, ?, ?, ?, ?)", _rows(dataset, catalog, start))
            db.execute(
                "INSERT INTO catalog_versions VALUES (?, ?, ?, ?)",
                [dataset, len(catalog), catalog.fingerprint, now()],
            )

    def extend(self, dataset: str, new: "Catalog") -> None:
        """Put new items at the end of a catalog, all of them or none.

        Raises:
            NotFoundError: No such data set.
            InputError: An id is there already.
            CorruptError: What is stored is not what was added.
        """
        with self._store.write() as db:
            old = self.load(dataset)
            if old.fingerprint != self._store.datasets.show(dataset)["fingerprints"]["catalog"]:
                raise CorruptError(
                    f"the catalog of data set {dataset!r} is not what was stored; "
                    f"remove it with `patchrec data rm {dataset}` and add it again"
                )
            catalog = old.followed_by(new)
            self.insert(dataset, catalog, start=len(old))
            db.execute(
                "UPDATE datasets SET catalog_fingerprint = ?,"
                " summary = json_set(summary, '$.items', ?, '$.titles', ?) WHERE name = ?",
                [catalog.fingerprint, len(catalog), len(set(catalog.titles)), dataset],
            )


def _rows(dataset: str, catalog: "Catalog", start: int) -> Iterator[tuple[str, int, str, str, str | None]]:
    for item in range(start, len(catalog)):
        metadata = json.dumps(catalog.metadata[item], ensure_ascii=False) if catalog.metadata else None
        yield dataset, item, catalog.item_ids[item], catalog.titles[item], metadata
