"""Data sets: add, list, show, choose, remove, export; items added to them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from patchrec.errors import InputError, UsageError, flag_of
from patchrec.reporting import SILENT, Reporter
from patchrec.store import Store
from patchrec.store.naming import check_name

if TYPE_CHECKING:  # what reads files takes half a second that a listing must not wait for
    from patchrec.config import SplitName
    from patchrec.data.recipe import Recipe


def add_dataset(
    name: str,
    *,
    from_path: Path | None = None,
    recipe: Path | str | Recipe | None = None,
    files: Sequence[Path] = (),
    rejects: Path | None = None,
    replace: bool = False,
    home: Path | None = None,
    report: Reporter = SILENT,
    **options: Any,
) -> dict[str, Any]:
    """Read a data set known by name, or own files, and store it: all of it or nothing.

    Args:
        name: A known name (`patchrec.data.sources`, `patchrec.data.recipe.known_recipes`), or a new one with
            `interactions`.
        from_path: Archive or folder of a known data set, or of the files that a recipe names; None downloads it, where
            that is possible.
        recipe: How files become the data set: a TOML file, the name of a known one, or a recipe; `options` change it.
            The name of a data set known by name makes that one under another.
            The files that it names are looked for in its folder, those of `options` and `files` where they are named.
        files: Tables whose place and form are found out (`plan_dataset`); what is found is told.
        rejects: File for the rows that cannot be used; they are then left out.
        replace: Take the place of a data set of this name, which no run was made with; until all is read it stays.
        home: Folder of the store.
        report: Where notes, picks and skipped lines are told.
        options: Fields of `patchrec.data.recipe.Recipe`: `interactions` and `items` (files), `user_col`, `sep`,
            `time_format`, `rows`, `skip_bad`, `split`, `train`, `noun` and so on. None counts as not given.

    Returns:
        As `show_dataset`, with the first skipped lines under `rejected`.

    Raises:
        InputError: A file or a line cannot be used. NotFoundError: Unknown name, or nothing to be had.
        UsageError: Options that do not go together, or the name is taken.
    """
    from patchrec.data.prepare import prepare
    from patchrec.data.sources import SOURCES
    from patchrec.data.splits import split_of
    from patchrec.data.understand import understand

    check_name("data set", name)  # before anything is read for it
    with Store.open(home) as store:
        if replace:
            store.datasets.refuse_used(name)
        elif name in store.datasets.names():
            raise UsageError(f"data set {name!r} is there already; see `patchrec data show {name}`, or remove it first")
        known = name if recipe is None else str(recipe)
        if known in SOURCES:
            _refuse_files(name, recipe, files)
            split = split_of(*(options.pop(key, None) for key in ("split", "train", "validation")))
            prepared = prepare(
                name, known=known, from_path=from_path, split=split, rejects=rejects, report=report, **options
            )
        else:
            found = _recipe(name, recipe, from_path, files, options)
            if files:
                understood = understand(found)
                report.note(f"understood as: {understood.command(name, home)}")
                found = understood.recipe
            prepared = prepare(name, found, rejects=rejects, report=report)
        store.datasets.add(
            prepared.dataset,
            source=prepared.source,
            licence=prepared.licence,
            split=prepared.split,
            ratings=prepared.ratings,
            replace=replace,
        )
        return shown_dataset(store, name) | {"rejected": list(prepared.rejected)}


def plan_dataset(
    name: str,
    *,
    from_path: Path | None = None,
    recipe: Path | str | Recipe | None = None,
    files: Sequence[Path] = (),
    home: Path | None = None,
    **options: Any,
) -> dict[str, Any]:
    """What `add_dataset` would make of files, from their heads: nothing is stored, `home` is only for the command.

    Returns:
        `name`, `command` (with every option written out) and the fields of `patchrec.data.understand.Understood`.

    Raises:
        InputError: A file cannot be read, or a column that must be there is not found.
        UsageError: Options that do not go together, or a data set that is not made of own files.
    """
    from patchrec.data.recipe import known_recipes
    from patchrec.data.sources import SOURCES
    from patchrec.data.understand import understand

    if (name if recipe is None else str(recipe)) in SOURCES:
        _refuse_files(name, recipe, files)
        raise UsageError(
            f"{recipe or name!r} is a data set known by name: there is nothing to find out; drop --dry-run"
        )
    if not (files or recipe or from_path or options.get("interactions") or name in known_recipes()):
        raise UsageError("which files? name them, or give --interactions FILE")
    understood = understand(_recipe(name, recipe, from_path, files, options))
    shown = {**asdict(understood), "recipe": understood.recipe.model_dump(mode="json", exclude_defaults=True)}
    return {"name": name, "command": understood.command(name, home), **shown}


def _recipe(
    name: str,
    named: Path | str | Recipe | None,
    from_path: Path | None,
    files: Sequence[Path],
    options: Mapping[str, Any],
) -> Recipe:
    """All that is said of a data set of files, each file where it belongs."""
    from patchrec.data.prepare import gathered, with_options
    from patchrec.data.recipe import Recipe, find_recipe, known_recipes
    from patchrec.data.splits import choose_split
    from patchrec.data.understand import assigned

    recipe = find_recipe(named)
    of_file = not (named is None or isinstance(named, Recipe) or str(named) in known_recipes())
    folder = Path(str(named)).absolute().parent if of_file else None
    if recipe is not None and recipe.split is not None:
        try:
            choose_split(recipe.split, recipe.train, recipe.validation)
        except UsageError as error:
            raise error if isinstance(named, Recipe) else InputError(f"{str(named)!r}: {error}") from error
    if files:
        if from_path is not None and recipe is None:
            raise UsageError("--from PATH holds the files of a known data set or of a --recipe, not own files; drop it")
        own = with_options(recipe, {"interactions": (), "items": (), **options})
        options = {**options, **assigned(list(map(str, files)), own, needed=not (recipe and recipe.interactions))}
    return gathered(name, recipe, options, from_path=from_path, folder=folder)


def _refuse_files(name: str, recipe: Path | str | Recipe | None, files: Sequence[Path]) -> None:
    """Refuse files beside a data set known by name, which is read whole: its place is said with `--from`.

    Raises:
        UsageError: The message has the right command.
    """
    if not files:
        return
    known = name if recipe is None else str(recipe)
    place = "PATH" if str(files[0]) == "-" else str(files[0])
    named = [] if recipe is None else ["--recipe", known]
    command = shlex.join(["patchrec", "data", "add", name, *named, "--from", place])
    own = "; or choose another name for files of your own" if recipe is None else ""
    raise UsageError(f"{known!r} is a data set known by name, its archive or folder goes with --from: `{command}`{own}")


def list_datasets(*, home: Path | None = None) -> list[dict[str, Any]]:
    """Every data set by name, with its sizes and whether it is the one in use."""
    with Store.open(home) as store:
        return [shown_dataset(store, name) for name in store.datasets.names()]


def show_dataset(name: str, *, home: Path | None = None) -> dict[str, Any]:
    """One data set: source, licence, words, split rule, fingerprints, sizes.

    Raises:
        NotFoundError: No such data set.
    """
    with Store.open(home) as store:
        return shown_dataset(store, name)


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
    home: Path | None = None,
    report: Reporter = SILENT,
    **options: Any,
) -> dict[str, Any]:
    """Put new items at the end of a data set's catalog, all of them or none: one by its title, or those of a file.

    Runs made before can rank them at once.

    Args:
        name: The data set.
        item_id: Id of the one item.
        title: Its title.
        metadata: What else is known of it, as text; it takes the types that the catalog has.
        from_path: File with one row per item, instead of the one item.
        home: Folder of the store.
        report: Where skipped lines are told.
        options: How the file is read: fields of `patchrec.data.recipe.Recipe` such as `item_col`, `title_col`,
            `format`, `sep`, `skip_bad`.

    Returns:
        `dataset`, `items` (those added, as `list_items` gives them, in catalog order), `num_items` (of the whole
        catalog) and `rejected` (the skipped lines).

    Raises:
        NotFoundError: No such data set.
        InputError: The file, a line or an item cannot be used, or an id is in the catalog already.
        UsageError: Options that do not go together.
    """
    from patchrec.data.long_titles import long_titles_note
    from patchrec.data.prepare import prepare_item, prepare_items
    from patchrec.data.suspects import steering_note

    given = {"--item-id": item_id, "--title": title, "--set": metadata or None}
    _refuse_both(given, from_path, for_files={flag_of(key): value for key, value in options.items()})
    with Store.open(home) as store:
        store.datasets.show(name)
        catalog = store.catalogs.load(name)
        rejected: tuple[str, ...] = ()
        if from_path is None:
            new = prepare_item(catalog, item_id or "", title or "", metadata)
        else:
            new, rejected = prepare_items(catalog, from_path, report=report, **options)
        for note in (steering_note(new), long_titles_note(new.titles)):
            if note:
                report.note(note)
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
    from patchrec.data.export import export_rows

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


def shown_dataset(store: Store, name: str) -> dict[str, Any]:
    """One data set as it is shown; see `show_dataset`."""
    about = store.datasets.show(name)
    targets = {split: part["targets"] for split, part in about["summary"]["splits"].items()}
    return about | {"targets": targets, "current": store.datasets.current() == name}
