"""Files with what came since: read as the data set's own were, into its catalog. Nothing is written here."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from patchrec.data.catalog import Catalog
from patchrec.data.inputs import ending_of
from patchrec.data.interactions import Interactions
from patchrec.data.items_table import KNOWN
from patchrec.data.lines import account
from patchrec.data.long_titles import long_titles_note
from patchrec.data.prepare import read_files, tell_left_out
from patchrec.data.readers import FORMATS
from patchrec.data.recipe import OF_ITEMS, Recipe, Written, make_recipe
from patchrec.data.suspects import steering_note
from patchrec.errors import InputError
from patchrec.reporting import SILENT, Reporter

NOT_AGAIN = ("core", "min_history", "sample_users", "cold_items")
"""What is kept by looking at all interactions is not asked of some."""
_ASKED_ANEW = ("skip_bad", "split", "train", "validation", "interactions", "items", *NOT_AGAIN)
_WRITTEN = tuple(name for name in Written.model_fields if name != "inherited")


@dataclass(frozen=True, eq=False)
class Arrived:
    """What files bring for a data set.

    Attributes:
        found: The interactions, with items of `new` from `len(into)` on.
        into: The catalog that they were read into.
        new: Items for its end.
        keep_repeats: Whether what is stored already is kept again.
        accounts: What became of every row, by table, as plain JSON.
        rejected: `file:line: reason` of the first lines that were skipped.
    """

    found: Interactions
    into: Catalog
    new: Catalog
    keep_repeats: bool
    accounts: dict[str, Any]
    rejected: tuple[str, ...]

    def over(self, catalog: Catalog) -> tuple[Interactions, Catalog]:
        """The same over the catalog that there is by now, which begins with `into`: items are known by their ids.

        Returns:
            The interactions, and the catalog with what is still new at its end.
        """
        missing = [place for place, item_id in enumerate(self.new.item_ids) if item_id not in catalog.index]
        grown = catalog.followed_by(self.new.take(missing)) if missing else catalog
        ids = self.into.item_ids + self.new.item_ids
        place = np.array([grown.index[item_id] for item_id in ids], dtype=np.int64)
        return replace(self.found, items=place[self.found.items]), grown


def read_more(
    catalog: Catalog,
    stored: Mapping[str, Any],
    options: Mapping[str, Any],
    *,
    rejects: Path | None = None,
    report: Reporter = SILENT,
) -> Arrived:
    """Read interactions, and items where they are given, as the files of the data set were read.

    Args:
        catalog: Of the data set.
        stored: What the data set says of its split, with the recipe that it was made by.
        options: Fields of `Recipe` that are otherwise now; `interactions` is there.
        rejects: File for the rows that cannot be used; they are then left out.
        report: Is told of picks and of what was left out.

    Raises:
        InputError: A file or a line cannot be used. UsageError: Options that do not go together.
    """
    first = Recipe.model_validate_json(json.dumps(stored.get("recipe", {})))
    recipe = make_recipe(options, _kept(first, options, report))
    named = bool(first.interactions and not first.items) or any(options.get(key) for key in ("title", "title_col"))
    if named and not recipe.items:
        read = read_files(recipe, rejects, report)
        found, new = _into(catalog, read.catalog, read.found, report)
    else:
        read = read_files(recipe, rejects, report, into=catalog)
        found, new = read.found, read.catalog.take(list(range(len(catalog), len(read.catalog))))
    tell_left_out(read.of_items, "items", report, but=KNOWN)
    tell_left_out(read.of_log, "interactions", report)
    for note in (steering_note(new), long_titles_note(new.titles)):
        if note:
            report.note(note)
    accounts = {"interactions": dict(account(len(found), read.of_log))}
    if recipe.items:
        accounts["items"] = dict(account(len(new), read.of_items))
    return Arrived(found, catalog, new, recipe.repeats == "keep", accounts, read.messages)


def _kept(first: Recipe, options: Mapping[str, Any], report: Reporter) -> Recipe:
    """What the first files were read by and later ones are too: how they are written only where no format is named.

    The ending of a file names one, too, where the first files had others.
    """
    values, out = first.model_dump(exclude_unset=True), set(_ASKED_ANEW)
    for prefix, key, written in (("", "interactions", first.log), (OF_ITEMS, "items", first.catalog)):
        other = (
            None if options.get(f"{prefix}format") else _by_ending(options.get(key, ()), getattr(first, key), written)
        )
        if other is not None:
            report.picked(
                f"{prefix}format".replace("_", " "), other, f"by its ending; the first {key} were written otherwise"
            )
        if other is not None or options.get(f"{prefix}format"):
            out |= {prefix + name for name in _WRITTEN}
            if not prefix:  # what the items have from the interactions stays theirs
                values |= {OF_ITEMS + name: getattr(first.catalog, name) for name in first.catalog.inherited}
    return Recipe.model_validate({name: value for name, value in values.items() if name not in out})


def _by_ending(named: Sequence[str], before: Sequence[str], written: Written) -> str | None:
    """The formats that the endings of files name, where the first files had none of them; None where that is not so."""
    formats = {FORMATS.get(ending_of(name)) for name in named}
    known = {written.format} if written.format else {FORMATS.get(ending_of(name)) for name in before}
    endings = {ending_of(name) for name in named} & {ending_of(name) for name in before}
    told = bool(named) and not endings and None not in formats | known and not formats & known
    return ", ".join(sorted(map(str, formats))) if told else None


def _into(catalog: Catalog, named: Catalog, found: Interactions, report: Reporter) -> tuple[Interactions, Catalog]:
    """Interactions that name their items themselves, over a catalog, and the items that it does not have."""
    unknown = [place for place, item_id in enumerate(named.item_ids) if item_id not in catalog.index]
    new = named.take(unknown)
    try:
        new = replace(new, metadata=tuple(map(catalog.fit_metadata, new.metadata)))
    except ValueError as error:
        raise InputError(f"{error}; nothing was appended") from None
    index = {item_id: len(catalog) + place for place, item_id in enumerate(new.item_ids)} | catalog.index
    other = sum(
        item_id in catalog.index and title != catalog.titles[catalog.index[item_id]]
        for item_id, title in zip(named.item_ids, named.titles, strict=True)
    )
    if other:
        report.note(f"{other:,} {'item has' if other == 1 else 'items have'} another title now; stored titles stay")
    place = np.array([index[item_id] for item_id in named.item_ids], dtype=np.int64)
    return replace(found, items=place[found.items]), new
