"""From files, or a name, to a data set ready for the store. Nothing is written here but the download cache."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from patchrec.config import SPLITS
from patchrec.data.archives import SourceFiles
from patchrec.data.catalog import Catalog
from patchrec.data.downloads import default_cache
from patchrec.data.goodreads import MIN_HISTORY
from patchrec.data.histories import Dataset
from patchrec.data.interactions import Interactions
from patchrec.data.lines import Rejects
from patchrec.data.movielens import Loaded
from patchrec.data.readers import Quotes
from patchrec.data.sources import SOURCES, Source
from patchrec.data.splits import Arranged, Split, arrange
from patchrec.data.tables import Columns, clean_text, further_columns, read_interactions, read_items
from patchrec.errors import InputError, UsageError, not_found
from patchrec.history import FloatArray
from patchrec.reporting import SILENT, Reporter

OWN_LICENCE = "own data; its terms were not given"


@dataclass(frozen=True)
class Prepared:
    """A data set with what the store keeps about it.

    Attributes:
        source: Where it came from, in words.
        licence: What its owner allows, in words.
        split: The rule that made the splits and what was kept before it, as plain JSON.
        ratings: (n,) aligned with the interactions, or None.
        rejected: `file:line: reason` of each line that was skipped.
    """

    dataset: Dataset
    source: str
    licence: str
    split: dict[str, Any]
    ratings: FloatArray | None = None
    rejected: tuple[str, ...] = ()


def prepare(
    name: str,
    *,
    from_path: Path | None = None,
    interactions: Path | Sequence[Path] | None = None,
    items: Path | None = None,
    columns: Columns | None = None,
    format: str | None = None,  # noqa: A002 - the option's name
    quotes: Quotes | None = None,
    split: Split | None = None,
    min_rating: float | None = None,
    skip_bad: bool = False,
    noun: str | None = None,
    verb: str | None = None,
    cache: Path | None = None,
    report: Reporter = SILENT,
) -> Prepared:
    """Read a data set known by name, or own data from two files.

    Args:
        name: `ml-100k`, `ml-1m`, `goodreads`, or a new name together with `interactions` and `items`.
        from_path: Archive or folder of a data set known by name; None downloads it.
        interactions: Own data: one row per interaction; several files are read one after another.
        items: Own data: one row per item.
        columns: Own data: names of the columns.
        format: Own data: format of both files; None tells it by their endings.
        quotes: Own data: whether quotes group a field or are text; None: they group in CSV alone.
        split: How to split; None takes the paper's for a data set known by name, for own data a cut in time where
            there are times, else leave-one-out (and says so).
        min_rating: Own data: keep ratings from here on.
        skip_bad: Own data: leave unusable lines out and list them, instead of stopping at the first.
        noun, verb: Words of the prompt, such as "movie" and "watched".
        cache: Folder for downloads; None is the platform's.
        report: Is told of picks, skipped lines and what a copy lacks.

    Raises:
        InputError: A file or a line cannot be used.
        NotFoundError: The name is not known and no files are given, or a download fails.
        UsageError: Options that do not go together.
    """
    logs = [interactions] if isinstance(interactions, Path) else list(interactions or ())
    files = {"--interactions": logs or None, "--items": items}
    given = [option for option, value in files.items() if value is not None]
    words = {"noun": noun, "verb": verb}
    if name in SOURCES:
        tuned = any(option is not None for option in (columns, format, quotes, min_rating)) or skip_bad
        if given or tuned:
            what = given[0] if given else "column, format, quotes, rating and --skip-bad options"
            raise UsageError(f"{name!r} is a data set known by name, {what} cannot go with it; choose another name")
        return _known(name, SOURCES[name], from_path, split, words, cache or default_cache(), report)
    if from_path is not None or not given:
        next_step = "For your own data give --interactions FILE and --items FILE."
        raise not_found("data set known by name", name, SOURCES, next_step)
    if not logs or items is None:
        missing = "--items" if items is None else "--interactions"
        raise UsageError(f"own data needs both --interactions FILE and --items FILE; {missing} is not there")
    if len({log.resolve() for log in logs}) < len(logs):
        raise UsageError("--interactions names a file twice; give each once")
    rejects = Rejects(skip=skip_bad)
    columns = columns or Columns()
    catalog = read_items(items, format, columns, rejects, quotes=quotes)
    found, num_read = read_interactions(logs, format, columns, catalog, rejects, quotes=quotes, min_rating=min_rating)
    _tell(rejects, report)
    arranged = arrange(found, split or _fitting_split(found, report))
    about = {**arranged.about, "interactions_read": num_read}
    if min_rating is not None:
        about["min_rating"] = min_rating
    dataset = _dataset(name, catalog, arranged, words, report)
    source = f"{', '.join(log.name for log in logs)} and {items.name}"
    return Prepared(dataset, source, OWN_LICENCE, about, arranged.ratings, tuple(rejects.messages))


def prepare_item(catalog: Catalog, item_id: str, title: str, metadata: Mapping[str, str] | None = None) -> Catalog:
    """One new item for a catalog, checked as a line of a file is.

    Raises:
        InputError: Its id or title cannot be used, or a value of its metadata is not of the kind that the catalog has.
    """
    try:
        row = {"--item-id": item_id, "--title": title}
        item_ids, titles = (clean_text(row, "--item-id"),), (clean_text(row, "--title"),)
        further = catalog.fit_metadata(further_columns(dict(metadata or {}), ()))
    except ValueError as error:
        raise InputError(f"{error}; nothing was added") from None
    return Catalog(item_ids, titles, (further,) if further else ())


def prepare_items(
    catalog: Catalog,
    path: Path,
    *,
    columns: Columns | None = None,
    format: str | None = None,  # noqa: A002 - the option's name
    quotes: Quotes | None = None,
    skip_bad: bool = False,
    report: Reporter = SILENT,
) -> tuple[Catalog, tuple[str, ...]]:
    """New items for a catalog from a file, in file order, and `file:line: reason` of each line that was skipped.

    Args:
        catalog: Where they will be added.
        path: One row per item, as the items of own data.
        columns: Names of the columns.
        format: Of the file; None tells it by the ending.
        quotes: Whether quotes group a field in it or are text; None: they group in CSV alone.
        skip_bad: Leave unusable lines out, and items that the catalog has, instead of stopping at the first.
        report: Is told of skipped lines.

    Raises:
        InputError: The file or a line cannot be used.
    """
    rejects = Rejects(skip=skip_bad)
    try:
        new = read_items(path, format, columns or Columns(), rejects, quotes=quotes, into=catalog)
    finally:
        _tell(rejects, report)
    return new, tuple(rejects.messages)


def _tell(rejects: Rejects, report: Reporter) -> None:
    """Say which lines were skipped, and what else is to be known of the files."""
    for message in rejects.messages:
        report.note(f"skipped {message}")
    for message in rejects.notices:
        report.note(message)


def _fitting_split(found: Interactions, report: Reporter) -> Split:
    if found.milliseconds is None:
        report.picked("split", "leave-one-out", "there are no times, so file order is time order")
        return Split(rule="leave-one-out")
    report.picked("split", "temporal", "there are times")
    return Split(rule="temporal")


def _known(
    name: str,
    source: Source,
    from_path: Path | None,
    split: Split | None,
    words: dict[str, str | None],
    cache: Path,
    report: Reporter,
) -> Prepared:
    path, origin = source.fetch(cache, report) if from_path is None else (from_path, f"file {from_path.name!r}")
    with SourceFiles(path) as files:
        loaded = source.read(files)
    words = {"noun": words["noun"] or source.noun, "verb": words["verb"] or source.verb}
    if not isinstance(loaded, Loaded):
        if split is not None:
            raise UsageError(f"{name!r} comes with its published splits and has no times; leave --split out")
        catalog, sequences = loaded
        arranged = Arranged(sequences, None, {"rule": "published"}, MIN_HISTORY)
        dataset = _dataset(name, catalog, arranged, words, report)
        return Prepared(dataset, origin, source.licence, arranged.about)
    for note in loaded.notes:
        report.note(note)
    arranged = arrange(loaded.interactions, split or Split(rule="paper"))
    dataset = _dataset(name, loaded.catalog, arranged, words, report)
    return Prepared(dataset, origin, source.licence, {**arranged.about, **loaded.selection}, arranged.ratings)


def _dataset(
    name: str, catalog: Catalog, arranged: Arranged, words: dict[str, str | None], report: Reporter
) -> Dataset:
    """The data set in memory; says where a split came out empty."""
    noun, verb = words["noun"] or "item", words["verb"] or "chosen"
    dataset = Dataset(name, catalog, arranged.sequences, arranged.min_history, noun, verb)
    for split in SPLITS:
        if not dataset.num_targets(split):
            report.note(f"the {split} split has no target; choose another --split or give more data")
    return dataset
