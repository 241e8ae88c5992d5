"""Data sets: add, list, show, choose, remove, export."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from patchrec.config import SplitName
from patchrec.data.export import export_rows
from patchrec.store import Store


def list_datasets(*, home: Path | None = None) -> list[dict[str, Any]]:
    """Every data set by name, with its sizes and whether it is the one in use."""
    with Store.open(home) as store:
        return [_shown(store, name) for name in store.datasets.names()]


def show_dataset(name: str, *, home: Path | None = None) -> dict[str, Any]:
    """One data set: source, licence, words, split rule, fingerprints, sizes.

    Raises:
        NotFoundError: No such data set.
    """
    with Store.open(home) as store:
        return _shown(store, name)


def use_dataset(name: str, *, home: Path | None = None) -> None:
    """Make a data set the one that is taken where none is named.

    Raises:
        NotFoundError: No such data set.
    """
    with Store.open(home) as store:
        store.datasets.use(name)


def remove_dataset(name: str, *, home: Path | None = None) -> None:
    """Remove a data set.

    Raises:
        NotFoundError: No such data set.
        UsageError: Runs were made with it.
    """
    with Store.open(home) as store:
        store.datasets.remove(name)


def export_dataset(
    name: str, *, split: SplitName = "test", K: int = 100, home: Path | None = None
) -> Iterator[dict[str, Any]]:
    """Every target of a split with its history (`patchrec.data.export.export_rows`).

    Raises:
        NotFoundError: No such data set.
    """
    with Store.open(home) as store:
        dataset = store.datasets.load(name)
    return export_rows(dataset, split, K)


def _shown(store: Store, name: str) -> dict[str, Any]:
    return store.datasets.show(name) | {"current": store.datasets.current() == name}
