"""Whether data sets are what was stored: their fingerprints, in memory that does not grow with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from patchrec.data.digests import catalog_digest, sequences_digest
from patchrec.store.datasets import ROWS_AT_ONCE, refuse_changed
from patchrec.store.naming import json_object

if TYPE_CHECKING:  # NumPy takes a tenth of a second that a listing must not wait for
    from patchrec.history import IntArray
    from patchrec.store.connection import Store

_OTHER_METADATA = (
    "SELECT metadata FROM items WHERE dataset = ? AND metadata IS NOT NULL AND json_type(metadata) <> 'object' LIMIT 1"
)
_LENGTHS = (
    "SELECT count(position) FROM users LEFT JOIN interactions USING (dataset, user) WHERE dataset = ?"
    " GROUP BY user ORDER BY user"
)


def check(store: Store, dataset: str) -> None:
    """Read all that `Datasets.load` would read, and keep none of it.

    Raises:
        NotFoundError: No such data set.
        CorruptError: What is stored is not what was added.
    """
    with store.read():
        stored = store.datasets.show(dataset)["fingerprints"]
        for (metadata,) in store.rows(_OTHER_METADATA, [dataset]):
            json_object(metadata)
        found = {"catalog": catalog_fingerprint(store, dataset), "sequences": _sequences_fingerprint(store, dataset)}
    refuse_changed(dataset, found, stored)


def catalog_fingerprint(store: Store, dataset: str, num_items: int | None = None) -> str:
    """`Catalog.fingerprint` of the first items that are stored; None: of all."""
    first = [dataset, -1 if num_items is None else num_items]
    ids = _blocks(store, "SELECT item_id FROM items WHERE dataset = ? ORDER BY item LIMIT ?", first)
    titles = _blocks(store, "SELECT title FROM items WHERE dataset = ? ORDER BY item LIMIT ?", first)
    with store.read():
        return catalog_digest(ids, titles)


def _sequences_fingerprint(store: Store, dataset: str) -> str:
    """`Sequences.fingerprint` of what is stored."""

    def there(column: str) -> bool:
        some = f"SELECT 1 FROM interactions WHERE dataset = ? AND {column} IS NOT NULL LIMIT 1"  # noqa: S608 - ours
        return bool(store.rows(some, [dataset]))

    def of(table: str, column: str, order: str) -> Iterator[IntArray]:
        sql = f"SELECT {column} FROM {table} WHERE dataset = ? ORDER BY {order}"  # noqa: S608 - ours
        return _numbers(store, sql, dataset)

    place = "user, position"
    columns = (
        _offsets(store, dataset),
        of("interactions", "item", place),
        of("interactions", "coalesce(timestamp, 0)", place) if there("timestamp") else None,
        of("users", "train_stop", "user"),
        of("users", "validation_stop", "user"),
    )
    users = _blocks(store, "SELECT user_id FROM users WHERE dataset = ? ORDER BY user", [dataset])
    return sequences_digest(users, columns, of("interactions", "session", place) if there("session") else None)


def _offsets(store: Store, dataset: str) -> Iterator[IntArray]:
    """(U + 1,) where each user begins among all interactions, in blocks."""
    import numpy as np

    total = 0
    yield np.zeros(1, dtype=np.int64)
    for lengths in _numbers(store, _LENGTHS, dataset):
        ends = total + np.cumsum(lengths)
        total = int(ends[-1])
        yield ends


def _numbers(store: Store, sql: str, dataset: str) -> Iterator[IntArray]:
    """One column of whole numbers, in blocks."""
    import numpy as np

    for block in _blocks(store, sql, [dataset]):
        yield np.array(block, dtype=np.int64)


def _blocks(store: Store, sql: str, values: Sequence[Any]) -> Iterator[list[Any]]:
    """One column, in blocks."""
    with store.read() as db:
        cursor = db.execute(sql, values)
        while rows := cursor.fetchmany(ROWS_AT_ONCE):
            yield list(chain.from_iterable(rows))
