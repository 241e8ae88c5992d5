"""Data sets: add, list, show, choose, remove, export; items added to them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from patchrec.config import SplitName
from patchrec.data.export import export_rows
from patchrec.data.prepare import prepare, prepare_item, prepare_items
from patchrec.data.readers import Quotes
from patchrec.data.splits import choose_split
from patchrec.data.tables import Columns
from patchrec.errors import UsageError
from patchrec.reporting import SILENT, Reporter
from patchrec.store import Store


def add_dataset(
    name: str,
    *,
    from_path: Path | None = None,
    interactions: Path | Sequence[Path] | None = None,
    items: Path | None = None,
    columns: Mapping[str, str] | None = None,
    format: str | None = None,  # noqa: A002 - the option's name
    quotes: Quotes | None = None,
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
        interactions: Own data: one row per interaction; several files are read one after another.
        items: Own data: one row per item.
        columns: Own data: names of the columns by what they hold: user, item, time, rating, title.
        format: Own data: format of both files; None tells it by their endings.
        quotes: Own data: whether quotes group a field or are text; None: they group in CSV alone.
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
            quotes=quotes,
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


def add_items(
    name: str,
    *,
    item_id: str | None = None,
    title: str | None = None,
    metadata: Mapping[str, str] | None = None,
    from_path: Path | None = None,
    columns: Mapping[str, str] | None = None,
    format: str | None = None,  # noqa: A002 - the option's name
    quotes: Quotes | None = None,
    skip_bad: bool = False,
    home: Path | None = None,
    report: Reporter = SILENT,
) -> dict[str, Any]:
    """Put new items at the end of a data set's catalog, all of them or none: one by its title, or those of a file.

    Runs made before can rank them at once.

    Args:
        name: The data set.
        item_id: Id of the one item.
        title: Its title.
        metadata: What else is known of it, as text; it takes the types that the catalog has.
        from_path: File with one row per item, instead of the one item.
        columns: Names of the file's columns by what they hold: item, title.
        format: Of the file; None tells it by the ending.
        quotes: Whether quotes group a field in it or are text; None: they group in CSV alone.
        skip_bad: Leave lines of the file out that cannot be used, instead of stopping at the first.
        home: Folder of the store.
        report: Where skipped lines are told.

    Returns:
        `dataset`, `items` (those added, as `list_items` gives them, in catalog order), `num_items` (of the whole
        catalog) and `rejected` (the skipped lines).

    Raises:
        NotFoundError: No such data set.
        InputError: The file, a line or an item cannot be used, or an id is in the catalog already.
        UsageError: Options that do not go together.
    """
    given = {"--item-id": item_id, "--title": title, "--set": metadata or None}
    named = {f"--{role}-col": column for role, column in (columns or {}).items()}
    _refuse_both(given, from_path, for_files={"--format": format, "--quotes": quotes, "--skip-bad": skip_bad, **named})
    with Store.open(home) as store:
        store.datasets.show(name)
        catalog = store.catalogs.load(name)
        rejected: tuple[str, ...] = ()
        if from_path is None:
            new = prepare_item(catalog, item_id or "", title or "", metadata)
        else:
            new, rejected = prepare_items(
                catalog,
                from_path,
                columns=Columns(**columns) if columns else None,
                format=format,
                quotes=quotes,
                skip_bad=skip_bad,
                report=report,
            )
        with store.write():
            store.catalogs.extend(name, new)
            items = store.catalogs.items(name, len(new))[::-1]
        return {
            "dataset": name,
            "items": [asdict(item) for item in items],
            "num_items": items[-1].item + 1,
            "rejected": list(rejected),
        }


def list_items(name: str, *, limit: int | None = None, home: Path | None = None) -> dict[str, Any]:
    """The items of a data set, the last one first.

    Args:
        name: The data set.
        limit: At most so many; None gives all.
        home: Folder of the store.

    Returns:
        `dataset`, `num_items` (of the whole catalog) and `items` (index, id, title, metadata, when it was added).

    Raises:
        NotFoundError: No such data set.
    """
    with Store.open(home) as store, store.read():
        num_items = store.datasets.show(name)["summary"]["items"]
        items = store.catalogs.items(name, limit)
    return {"dataset": name, "num_items": num_items, "items": [asdict(item) for item in items]}


def _refuse_both(one: Mapping[str, object], from_path: Path | None, *, for_files: Mapping[str, object]) -> None:
    """Refuse a mixture of one item and a file of items, and neither of the two."""
    given = [option for option, value in one.items() if value is not None]
    of_files = [option for option, value in for_files.items() if value]
    if from_path is not None and given:
        raise UsageError(f"--from FILE has its own ids, titles and columns; drop {', '.join(given)}")
    if from_path is None and of_files:
        raise UsageError(f"{', '.join(of_files)} is for --from FILE; drop it")
    if from_path is None and not {"--item-id", "--title"} <= set(given):
        raise UsageError("which item? give --item-id ID with --title TITLE, or --from FILE")


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
