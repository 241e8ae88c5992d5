"""From files, or a name, to a data set ready for the store. Nothing is written here but the download cache."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from patchrec.config import SPLITS
from patchrec.data.archives import SourceFiles
from patchrec.data.catalog import Catalog
from patchrec.data.cold_items import REASON, leave_to_test
from patchrec.data.downloads import default_cache
from patchrec.data.goodreads import MIN_HISTORY
from patchrec.data.histories import Dataset
from patchrec.data.inputs import STDIN, below, find_parts
from patchrec.data.interactions import Interactions
from patchrec.data.item_fields import retitled
from patchrec.data.items_table import Items, read_items
from patchrec.data.lines import Rejects, account, rejects_file
from patchrec.data.log_table import check_options, read_interactions
from patchrec.data.long_titles import long_titles_note
from patchrec.data.movielens import Loaded
from patchrec.data.readers import FORMATS
from patchrec.data.recipe import OF_ITEMS, Recipe, Written, known_recipes, make_recipe
from patchrec.data.selection import in_no_core, select
from patchrec.data.sources import SOURCES
from patchrec.data.splits import Arranged, Split, arrange, split_of
from patchrec.data.suspects import steering_note
from patchrec.data.values import further_columns, text_of, title_of
from patchrec.errors import InputError, UsageError, flag_of, not_found
from patchrec.history import FloatArray
from patchrec.reporting import SILENT, Reporter

OWN_LICENCE = "own data; its terms were not given"
LISTED = 20
"""So many skipped lines are told one by one."""
WORDS = ("noun", "verb")
OF_KNOWN = ("title", "core", "min_history", "sample_users", "cold_items", "seed")
"""What changes a data set known by name, beside its words and its split."""


@dataclass(frozen=True)
class Prepared:
    """A data set with what the store keeps about it.

    Attributes:
        source: Where it came from, in words.
        licence: What its owner allows, in words.
        split: The rule that made the splits, the recipe and the account of all rows that were read, as plain JSON.
        ratings: (n,) aligned with the interactions, or None.
        rejected: `file:line: reason` of the first lines that were skipped.
    """

    dataset: Dataset
    source: str
    licence: str
    split: dict[str, Any]
    ratings: FloatArray | None = None
    rejected: tuple[str, ...] = ()


def prepare(
    name: str,
    recipe: Recipe | None = None,
    *,
    known: str | None = None,
    from_path: Path | None = None,
    split: Split | None = None,
    cache: Path | None = None,
    rejects: Path | None = None,
    report: Reporter = SILENT,
    **options: Any,
) -> Prepared:
    """Read a data set known by name, or own files.

    Args:
        name: `ml-100k`, `ml-1m`, `goodreads`, the name of a recipe (`patchrec.data.recipe.known_recipes`), or a new
            name together with `interactions`.
        recipe: How files become the data set; `options` change it.
        known: The data set known by name that is meant, where it is to have another name.
        from_path: Archive or folder of a data set known by name, or of the files that a recipe names; None downloads
            it, where that is possible.
        split: How to split; None takes the recipe's, for a data set known by name the paper's, else a cut in time where
            there are times, or leave-one-out (and says so).
        cache: Folder for downloads; None is the platform's.
        rejects: File for the rows that cannot be used; they are then left out.
        report: Is told of picks, skipped lines and what a copy lacks.
        options: Fields of `Recipe`, such as `interactions`, `items`, `user_col`, `skip_bad`, `noun`.

    Raises:
        InputError: A file or a line cannot be used.
        NotFoundError: The name is not known and no files are given, or a download fails.
        UsageError: Options that do not go together.
    """
    known = known or name
    if known in SOURCES and recipe is None:
        return _known(name, known, from_path, split, options, cache or default_cache(), report)
    found = gathered(name, recipe, options, from_path=from_path)
    return _own(name, found, split or split_of(found.split, found.train, found.validation), rejects, report)


def gathered(
    name: str,
    recipe: Recipe | None,
    options: Mapping[str, Any],
    *,
    from_path: Path | None = None,
    folder: Path | None = None,
) -> Recipe:
    """All that is said of a data set of files: the options over a recipe, with the files that the recipe names found.

    Args:
        name: Of the data set; that of a known recipe stands for it where nothing else says which files are meant.
        recipe: The one that is named.
        options: Fields of `Recipe`; their files are taken as they are named.
        from_path: Folder or archive with the files that the recipe names.
        folder: The recipe's own, where they are looked for otherwise; None takes them as they are named.

    Raises:
        InputError: A file that the recipe names is not there.
        NotFoundError: No files are named, and the name is not known.
        UsageError: Options that do not go together, or the files of a known recipe are not there.
    """
    known = known_recipes()
    if recipe is None and not options.get("interactions"):
        recipe = known.get(name)
    found = with_options(recipe, options)
    kept = [key for key in ("interactions", "items") if recipe is not None and not options.get(key)]
    theirs: dict[str, tuple[str, ...]] = {key: getattr(found, key) for key in kept if getattr(found, key)}
    if not found.interactions and (from_path is not None or not found.items):
        split_of(found.split, found.train, found.validation)
        next_step = "for your own data give --interactions FILE and --items FILE"
        raise not_found("data set known by name", name, [*SOURCES, *known], next_step)
    if from_path is not None and not theirs:
        raise UsageError(
            "--from PATH holds the files of a known data set or of a --recipe, and all files are named here; drop it"
        )
    root = from_path or folder
    public = next((public for public, one in known.items() if one is recipe), None)
    if theirs and root is None and public is not None:
        files = ", ".join(file for one in theirs.values() for file in one)
        where = f"; the files are at {found.get_from}" if found.get_from else ""
        raise UsageError(
            f"{public} is not downloaded; give its folder or archive with --from PATH ({files}){where}: `patchrec data "
            f"add {name} --from PATH`"
        )
    if not found.interactions:
        raise UsageError("own data needs --interactions FILE; --interactions is not there")
    if STDIN in found.interactions and STDIN in found.items:
        raise UsageError("'-', standard input, is one table: name a file for --interactions or for --items")
    return found if root is None else make_recipe({key: below(root, files) for key, files in theirs.items()}, found)


def with_options(recipe: Recipe | None, options: Mapping[str, Any]) -> Recipe:
    """The recipe as options change it; another split rule has fractions of its own."""
    if recipe is not None and options.get("split") not in (None, recipe.split):
        recipe = recipe.model_copy(update={"train": None, "validation": None})
    return make_recipe(options, recipe)


def _own(name: str, recipe: Recipe, split: Split | None, rejects: Path | None, report: Reporter) -> Prepared:
    """A data set of own files."""
    check_options(recipe)
    read = read_files(recipe, rejects, report)
    of_log, of_items = read.of_log, None if read.items is None else read.of_items
    found, catalog, core = _selected(read.found, read.catalog, recipe, of_log, of_items, report)
    arranged, cold = _arranged(found, split or _fitting_split(found, report), recipe, of_log, report)
    about = {
        **arranged.about,
        "interactions_read": of_log.read,
        **_accounts(arranged, catalog, of_log, of_items),
        **core,
        **cold,
        "recipe": recipe.model_dump(mode="json", exclude_defaults=True),
    }
    if recipe.min_rating is not None:
        about["min_rating"] = recipe.min_rating
    dataset = _dataset(name, catalog, arranged, {"noun": recipe.noun, "verb": recipe.verb}, report)
    licence = recipe.licence or OWN_LICENCE
    return Prepared(dataset, read.source, licence, about, arranged.ratings, read.messages)


@dataclass(frozen=True, eq=False)
class Read:
    """What files hold, before anything is chosen of it.

    Attributes:
        found: The interactions.
        catalog: The items that may occur in them; where files are read into a catalog it begins with that one.
        items: Those of a table of items; None where the interactions name them.
        of_items, of_log: The accounts of both tables.
        source: Names of the files, in words.
    """

    found: Interactions
    catalog: Catalog
    items: Items | None
    of_items: Rejects
    of_log: Rejects
    source: str

    @property
    def messages(self) -> tuple[str, ...]:
        """`file:line: reason` of the first lines that were skipped."""
        return (*self.of_items.messages, *self.of_log.messages)


def read_files(recipe: Recipe, rejects: Path | None, report: Reporter, into: Catalog | None = None) -> Read:
    """Read a table of interactions, and one of items where there is one.

    Args:
        recipe: Which files, and how they are read.
        rejects: File for the rows that cannot be used; they are then left out.
        report: Is told of picks and skipped lines.
        into: A catalog whose items may occur too; those of a table of items come behind it, and rows of items that it
            has are left out. None where the recipe alone says what the items are.

    Raises:
        InputError: A file or a line cannot be used. UsageError: Options that do not go together.
    """
    skip = recipe.skip_bad or rejects is not None
    with ExitStack() as stack:
        sink = stack.enter_context(rejects_file(rejects))
        of_items, of_log = Rejects(skip=skip, sink=sink), Rejects(skip=skip, sink=sink)
        logs = find_parts(recipe.interactions, FORMATS, stack, any_ending=_any_ending(recipe.log))
        tables = find_parts(recipe.items, FORMATS, stack, any_ending=_any_ending(recipe.catalog))
        items = read_items(tables, recipe, of_items, into=into, again=into is not None) if tables else None
        if into is not None:
            items = Items(into) if items is None else replace(items, catalog=into.followed_by(items.catalog))
        found, catalog = read_interactions(logs, recipe, items, of_log, report)
    _tell(of_items, report)
    _tell(of_log, report)
    shown = [
        ", ".join(part.name for part in parts[:5]) + (", ..." if len(parts) > 5 else "") for parts in (logs, tables)
    ]
    return Read(found, catalog, items, of_items, of_log, " and ".join(filter(None, shown)))


def _selected(
    found: Interactions, catalog: Catalog, recipe: Recipe, of_log: Rejects, of_items: Rejects | None, report: Reporter
) -> tuple[Interactions, Catalog, dict[str, Any]]:
    """What the recipe keeps, told, and the record of its core; `of_items` None: there is no table of items."""
    before = {"users": len(found.user_ids), "items": len(catalog)}
    kept, left, core = select(found, catalog, recipe, of_log.left_out)
    if of_items is not None:
        if core is not None and core["items"]:
            of_items.left_out[in_no_core(core["core"])] += core["items"]
        tell_left_out(of_items, "items", report)
    tell_left_out(of_log, "interactions", report)
    if core is not None:
        users, items = (f"{core[what]:,} of {number:,} {what}" for what, number in before.items())
        report.note(f"{core['core']}-core: left out {users} and {items}")
    return kept, left, {} if core is None else {"core_left_out": core}


def _arranged(
    found: Interactions, split: Split, recipe: Recipe, of_log: Rejects, report: Reporter
) -> tuple[Arranged, dict[str, Any]]:
    """Interactions in the order of time, split, and the record of cold items, told."""
    arranged = arrange(found, split)
    if recipe.cold_items is None:
        return arranged, {}
    arranged, record = leave_to_test(arranged, recipe.cold_items, recipe.seed)
    if record["interactions"]:
        late = Rejects()
        late.left_out[f"interactions {REASON}"] = record["interactions"]
        tell_left_out(late, "interactions", report)
        of_log.left_out += late.left_out
    drawn, in_test = (f"{record[key]:,}" for key in ("items", "in_test"))
    report.note(f"cold items: {drawn} drawn, {in_test} of them in the test split, the others in none")
    if record["users"]:
        report.note(f"users of whom nothing is left, and who are left out: {record['users']:,}")
    if record["targets"]:
        report.note(f"test targets before which too few items are left, and which are not asked: {record['targets']:,}")
    return arranged, {"cold_items_left_out": record}


def _accounts(arranged: Arranged, catalog: Catalog, of_log: Rejects, of_items: Rejects | None) -> dict[str, Any]:
    """The account of all rows; `of_items` None: there is no table of items."""
    accounts = {"interactions": account(len(arranged.sequences.items), of_log)}
    if of_items is not None:
        accounts["items"] = account(len(catalog), of_items)
    return {"account": accounts}


def _any_ending(written: Written) -> bool:
    return written.format is not None or written.sep is not None


def prepare_item(catalog: Catalog, item_id: str, title: str, metadata: Mapping[str, str] | None = None) -> Catalog:
    """One new item for a catalog, checked as a line of a file is.

    Raises:
        InputError: Its id or title cannot be used, or a value of its metadata is not of the kind that the catalog has.
    """
    try:
        item_ids, titles = (text_of(item_id, "--item-id"),), (title_of(title, "--title"),)
        further = catalog.fit_metadata(further_columns(dict(metadata or {}), ()))
    except ValueError as error:
        raise InputError(f"{error}; nothing was added") from None
    return Catalog(item_ids, titles, (further,) if further else ())


def prepare_items(
    catalog: Catalog, path: Path, *, report: Reporter = SILENT, **options: Any
) -> tuple[Catalog, tuple[str, ...]]:
    """New items for a catalog from a file, in file order, and `file:line: reason` of each line that was skipped.

    Args:
        catalog: Where they will be added.
        path: One row per item, as the items of own data.
        report: Is told of skipped lines.
        options: Fields of `Recipe`, such as `item_col`, `title_col`, `sep`, `skip_bad` (which leaves items out that the
            catalog has, too).

    Raises:
        InputError: The file or a line cannot be used.
    """
    written = {OF_ITEMS + key if key in ("header", "columns") else key: value for key, value in options.items()}
    written["title"] = written.pop("title_of", None)
    recipe = make_recipe({**written, "items": (str(path),)})
    rejects = Rejects(skip=recipe.skip_bad)
    with ExitStack() as stack:
        parts = find_parts(recipe.items, FORMATS, stack, any_ending=_any_ending(recipe.catalog))
        try:
            new = read_items(parts, recipe, rejects, into=catalog)
        finally:
            _tell(rejects, report)
    tell_left_out(rejects, "items", report)
    return new.catalog, tuple(rejects.messages)


def _tell(rejects: Rejects, report: Reporter) -> None:
    """Say which lines were skipped, by reason where they are many, and what else is to be known of the files."""
    total = sum(rejects.rejected.values())
    if total <= LISTED:
        for message in rejects.messages:
            report.note(f"skipped {message}")
    else:
        for line in rejects.summary():
            report.note(f"skipped: {line}")
        report.note(f"{total:,} rows were skipped; --rejects FILE keeps them with their reasons")
    for message in rejects.notices:
        report.note(message)


def tell_left_out(rejects: Rejects, what: str, report: Reporter, *, but: str | None = None) -> None:
    """Say what options left out, by reason, but for one that goes without saying."""
    for reason, count in rejects.left_out.most_common():
        if reason == but:
            continue
        things = what if count != 1 else what.removesuffix("s")
        report.note(f"left out {count:,} {things}: {reason.removeprefix(f'{what} ')}")


def _fitting_split(found: Interactions, report: Reporter) -> Split:
    if found.milliseconds is None:
        report.picked("split", "leave-one-out", "there are no times, so file order is time order")
        return Split(rule="leave-one-out")
    report.picked("split", "temporal", "there are times")
    return Split(rule="temporal")


def _known(
    name: str,
    known: str,
    from_path: Path | None,
    split: Split | None,
    options: Mapping[str, Any],
    cache: Path,
    report: Reporter,
) -> Prepared:
    given = [key for key, value in options.items() if value not in (None, False, ()) and key not in WORDS]
    for key in given:
        if key not in OF_KNOWN:
            instead = "choose another name" if name == known else "drop it"
            raise UsageError(f"{known!r} is a data set known by name, {flag_of(key)} cannot go with it; {instead}")
    source = SOURCES[known]
    recipe = make_recipe({key: options.get(key) for key in (*WORDS, *OF_KNOWN)})
    words = {key: getattr(recipe, key) for key in WORDS}
    path, origin = source.fetch(cache, report) if from_path is None else (from_path, f"file {from_path.name!r}")
    with SourceFiles(path) as files:
        loaded = source.read(files)
    words = {"noun": words["noun"] or source.noun, "verb": words["verb"] or source.verb}
    if not isinstance(loaded, Loaded):
        if split is not None or given:
            left = "--split" if split is not None else flag_of(given[0])
            raise UsageError(f"{known!r} comes with its published splits and has no times; leave {left} out")
        catalog, sequences = loaded
        arranged = Arranged(sequences, None, {"rule": "published"}, MIN_HISTORY)
        dataset = _dataset(name, catalog, arranged, words, report)
        return Prepared(dataset, origin, source.licence, arranged.about)
    for note in loaded.notes:
        report.note(note)
    found, catalog, selection = loaded.interactions, loaded.catalog, loaded.selection
    if recipe.title is not None:
        catalog = retitled(catalog, recipe.title)
        selection |= {"title": recipe.title}
    of_log, of_items = Rejects(), Rejects()
    of_log.read, of_items.read = len(found), len(catalog)
    found, catalog, core = _selected(found, catalog, recipe, of_log, of_items, report)
    arranged, cold = _arranged(found, split or Split(rule="paper"), recipe, of_log, report)
    if given != ["title"] * len(given):
        selection |= {**_accounts(arranged, catalog, of_log, of_items), **core, **cold}
    dataset = _dataset(name, catalog, arranged, words, report)
    return Prepared(dataset, origin, source.licence, {**arranged.about, **selection}, arranged.ratings)


def _dataset(
    name: str, catalog: Catalog, arranged: Arranged, words: dict[str, str | None], report: Reporter
) -> Dataset:
    """The data set in memory; says where a split came out empty."""
    noun, verb = words["noun"] or "item", words["verb"] or "chosen"
    dataset = Dataset(name, catalog, arranged.sequences, arranged.min_history, noun, verb)
    for note in (steering_note(catalog), long_titles_note(catalog.titles)):
        if note:
            report.note(note)
    _tell_seen_targets(dataset, report)
    for split in SPLITS:
        if not dataset.num_targets(split):
            report.note(f"the {split} split has no target; choose another --split or give more data")
    return dataset


def _tell_seen_targets(dataset: Dataset, report: Reporter) -> None:
    """Say how many test targets are among what their user had before."""
    sequences, seen, total = dataset.sequences, 0, 0
    for user in np.flatnonzero(dataset.targets_per_user("test")).tolist():
        first, stop = sequences.bounds(user, "test")
        first = max(first, dataset.min_history)
        items = sequences.items_of(user)[:stop]
        fresh = np.unique(items, return_index=True)[1]
        seen += stop - first - int((fresh >= first).sum())
        total += stop - first
    if seen:
        report.note(
            f"{seen:,} of {total:,} test targets are items that their user had before: where seen items "
            "are dropped nothing can hit them; evaluations give both"
        )
