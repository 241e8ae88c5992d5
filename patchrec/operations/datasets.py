"""Data sets: add, list, show, choose, remove, export."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from patchrec.config import SplitName
from patchrec.data.export import export_rows
from patchrec.data.prepare import prepare
from patchrec.data.splits import choose_split
from patchrec.data.tables import Columns
from patchrec.errors import UsageError
from patchrec.reporting import SILENT, Reporter
from patchrec.store import Store


def add_dataset(
    name: str,
    *,
    from_path: Path | None = None,
    interactions: Path | None = None,
    items: Path | None = None,
    columns: Mapping[str, str] | None = None,
    format: str | None = None,  # noqa: A002 - the option's name
    split: str | None = None,
    train: float | None = None,
    validation: float | None = None,
    min_rating: float | None = None,
    noun: str | None = None,
    verb: str | None = None,
    skip_bad: bool = False,
    home: Path | None = None,
    report: Reporter = SILENT,
) -> dict[str, Any]:
    """Read a data set known by name, or own files, and store it: all of it or nothing.

    Args:
        name: A known name (`patchrec.data.sources`), or a new one together with interactions and items.
        from_path: Archive or folder of a known data set; None downloads it.
        interactions: Own data: one row per interaction.
        items: Own data: one row per item.
        columns: Own data: names of the columns by what they hold: user, item, time, rating, title.
        format: Own data: format of both files; None tells it by their endings.
        split: The rule; None takes the paper's for known data, for own data one that fits it.
        train: Fraction for training, where the rule has one.
        validation: Fraction for validation.
        min_rating: Own data: keep ratings from here on.
        noun: What an item is called in a prompt.
        verb: What users did with it.
        skip_bad: Own data: leave unusable lines out instead of stopping at the first.
        home: Folder of the store.
        report: Where notes, picks and skipped lines are told.

    Returns:
        As `show_dataset`, with the skipped lines under `rejected`.

    Raises:
        InputError: A file or a line cannot be used. NotFoundError: Unknown name, or nothing to be had.
        UsageError: Options that do not go together, or the name is taken.
    """
    with Store.open(home) as store:
        if name in store.datasets.names():
            raise UsageError(f"data set {name!r} is there already; see `patchrec data show {name}`, or remove it first")
        if split is None and (train is not None or validation is not None):
            raise UsageError("--train and --validation are fractions of a rule; name it: --split temporal or ratio")
        prepared = prepare(
            name,
            from_path=from_path,
            interactions=interactions,
            items=items,
            columns=Columns(**columns) if columns else None,
            format=format,
            split=choose_split(split, train, validation) if split is not None else None,
            min_rating=min_rating,
            skip_bad=skip_bad,
            noun=noun,
            verb=verb,
            report=report,
        )
        store.datasets.add(
            prepared.dataset,
            source=prepared.source,
            licence=prepared.licence,
            split=prepared.split,
            ratings=prepared.ratings,
        )
        return _shown(store, name) | {"rejected": list(prepared.rejected)}


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


def pick_dataset(store: Store, name: str | None, report: Reporter) -> str:
    """The data set named, else the one in use or the only one, told as picked.

    Raises:
        NotFoundError: No such data set.
        UsageError: None is named and there is none, or a choice.
    """
    found, picked = store.datasets.resolve(name)
    if picked:
        report.picked("data", found, "the one in use" if store.datasets.current() else "the only one")
    return found


def _shown(store: Store, name: str) -> dict[str, Any]:
    about = store.datasets.show(name)
    targets = {split: part["targets"] for split, part in about["summary"]["splits"].items()}
    return about | {"targets": targets, "current": store.datasets.current() == name}
