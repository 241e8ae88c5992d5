"""Everything in a store, to see that nothing changed."""

from typing import Any

from patchrec.store import Store


def dump(store: Store) -> dict[str, list[Any]]:
    tables = [name for (name,) in store.rows("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
    contents = {name: store.rows(f"SELECT * FROM {name}") for name in tables}
    return {"schema": store.rows("SELECT sql FROM sqlite_master ORDER BY name"), **contents}
