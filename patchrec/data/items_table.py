"""The items: a table of them, or what the interactions say of them, becomes a catalog."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from patchrec.data.batches import Row, Table
from patchrec.data.catalog import Catalog
from patchrec.data.characters import is_blank
from patchrec.data.inputs import Part
from patchrec.data.item_fields import ItemFields, plain_text
from patchrec.data.lines import SKIP_HINT, Rejects
from patchrec.data.readers import open_table
from patchrec.data.recipe import Recipe
from patchrec.data.roles import USUAL, Role, find_column, need_column
from patchrec.data.values import LeftOutError, Template, is_missing, text_of, title_of
from patchrec.errors import InputError
from patchrec.history import IntArray

ID_NAMES = (*USUAL["item"], "id")
NO_TITLE = "an item without title (--untitled drop)"
KNOWN = "an item that the catalog has"
RENAMED = "an item that the catalog has under another title, which stays"
CHANGED = "an item that the catalog has with other fields, which stay"


@dataclass(frozen=True, slots=True)
class Items:
    """What was read.

    Attributes:
        catalog: The items, in file order.
        without_title: Ids that were left out because they have none.
    """

    catalog: Catalog
    without_title: frozenset[str] = frozenset()


class Titles:
    """How a row's title is found: a column, a text of columns, or the id where the recipe says so."""

    def __init__(self, table: Table, recipe: Recipe, option: str = "--title-col") -> None:
        """Find the columns.

        Raises:
            InputError: There is no column of titles. UsageError: The text of columns is none.
        """
        self._untitled = recipe.untitled
        self._missing = frozenset(recipe.missing)
        self._html = recipe.html
        self.template = None if recipe.title is None else Template(recipe.title, table.columns)
        role = Role("title", option, recipe.title_col)
        strict = recipe.title_col is None
        self.column = None if self.template else find_column(table, role, usual=("title",) if strict else None)
        if self.template is None and self.column is None and recipe.untitled != "id":
            need_column(table, role)

    @property
    def used(self) -> tuple[str, ...]:
        """Columns that are titles and nothing else."""
        return () if self.column is None else (self.column,)

    @property
    def needs(self) -> tuple[str, ...]:
        """Columns that a title is made of."""
        return self.template.fields if self.template else self.used

    def find(self, row: Mapping[str, Any]) -> str | None:
        """The title of a row; None where it has none, and items without title are not refused.

        Raises:
            ValueError: It has none that can be used.
        """
        value: Any = row.get(self.column) if self.column else None
        if self.template:
            value = self.template.fill(row, self._missing)
        if is_missing(value, self._missing):
            value = None
        if self._html and isinstance(value, str):
            value = plain_text(value)
        blank = value is None or (isinstance(value, str) and is_blank(value))
        return None if blank and self._untitled != "refuse" else title_of(value, self.column or "title")

    def of(self, row: Mapping[str, Any], item_id: str) -> str:
        """The title of an item that has one row.

        Raises:
            LeftOutError: It has none, and is left out by choice. ValueError: It has none that can be used.
        """
        title = self.find(row)
        if title is None and self._untitled == "drop":
            raise LeftOutError(NO_TITLE)
        return item_id if title is None else title


def read_items(
    parts: Sequence[Part], recipe: Recipe, rejects: Rejects, *, into: Catalog | None = None, again: bool = False
) -> Items:
    """The items, in file order; further columns become their metadata.

    Args:
        parts: The files.
        recipe: How they are read.
        rejects: Takes the lines that cannot be used.
        into: The catalog that they will be added to: ids that it has cannot be used, and metadata takes its kinds.
        again: Leave rows with such ids out instead, and none may be left.

    Raises:
        InputError: A file or a line cannot be used.
    """
    found = _Found(recipe, rejects, into, again=again)
    without: set[str] = set()
    try:
        with recipe.naming_items():
            _read(parts, recipe, rejects, found, without)
    finally:
        rejects.notices[:] = map(recipe.said_of_items, rejects.notices)
    if not found.titles and not (again and found.num_known):
        why = "; ".join(rejects.summary()[:3])
        raise InputError(
            f"{', '.join(repr(part.name) for part in parts)} has no usable item{': ' + why if why else ''}; give one "
            "row per item"
        )
    return Items(found.catalog(), frozenset(without - set(found.titles)))


def _read(parts: Sequence[Part], recipe: Recipe, rejects: Rejects, found: "_Found", without: set[str]) -> None:
    """Take every row of some files; `without` gets the ids of rows that are left out because they have no title."""
    for part in parts:
        with open_table(part, recipe.catalog, rejects) as table:
            id_column = _id_column(table, recipe)
            titles = Titles(table, recipe)
            fields = ItemFields(recipe, table.file, table.columns, rejects)
            for number, row in table.rows:
                try:
                    item_id = found.take(number, row, id_column, titles, fields)
                    if item_id is not None:
                        without.add(item_id)
                except ValueError as error:
                    rejects.add(table.file, number, str(error), _hint(str(error)), row=row)


def _id_column(table: Table, recipe: Recipe) -> str:
    """The column of ids. One that is named for the interactions need not be there.

    Raises:
        InputError: There is none, or several may be meant.
    """
    named = recipe.items_id_col
    if named is None and (recipe.items_alone or recipe.item_col in table.columns):
        named = recipe.item_col
    return need_column(table, Role("item", "--items-id-col", named, of_items=True), usual=ID_NAMES)


def _hint(fault: str) -> str:
    """What to do about a row of items that cannot be used."""
    if "was on line" in fault:
        return "say which counts with --duplicate-items first, last or most, or leave it out with --skip-bad"
    if "missing" in fault or "blank" in fault:
        return "fix the line; --untitled id or drop is for titles that are not there; or leave it out with --skip-bad"
    return SKIP_HINT


class _Found:
    """Items by id, of which one may have several rows."""

    def __init__(self, recipe: Recipe, rejects: Rejects, into: Catalog | None, *, again: bool) -> None:
        self._again = again
        self.num_known = 0
        self._duplicates = recipe.duplicate_items
        self._missing = frozenset(recipe.missing)
        self._rejects = rejects
        self._into = into
        self._lines: dict[str, int] = {}
        self.titles: dict[str, str] = {}
        self._further: list[Row] = []
        self._rows: dict[str, list[tuple[str, Row]]] = {}

    def take(self, number: int, row: Row, id_column: str, titles: Titles, fields: ItemFields) -> str | None:
        """Take a row; gives its id where it is left out because it has no title.

        Raises:
            ValueError: It cannot be used.
        """
        if is_missing(row[id_column], self._missing):
            self._rejects.left_out["an item without id (--missing)"] += 1
            return None
        item_id = text_of(row[id_column], id_column)
        if self._into is not None and item_id in self._into.index:
            if self._again:
                self.num_known += 1
                self._rejects.left_out[self._known(row, item_id, id_column, titles, fields)] += 1
                return None
            raise ValueError(f"item {item_id[:40]!r} is in the catalog already")
        if self._duplicates == "refuse" and item_id in self._lines:
            raise ValueError(f"item {item_id[:40]!r} was on line {self._lines[item_id]} already")
        try:
            title = titles.of(row, item_id)
        except LeftOutError as reason:
            self._rejects.left_out[str(reason)] += 1
            return item_id
        further = fields.of(row, (id_column, *titles.used))
        self._add(number, item_id, title, further if self._into is None else self._into.fit_metadata(further))
        return None

    def _known(self, row: Row, item_id: str, id_column: str, titles: Titles, fields: ItemFields) -> str:
        """What an item that the catalog has is, beside what is stored of it."""
        assert self._into is not None
        place = self._into.index[item_id]
        title = titles.find(row)
        if title is not None and title != self._into.titles[place]:
            return RENAMED
        stored = self._into.metadata[place] if self._into.metadata else {}
        try:
            found = self._into.fit_metadata(fields.of(row, (id_column, *titles.used)))
        except ValueError:  # a value that is not of the kind that the catalog has
            return CHANGED
        return KNOWN if all(stored.get(name) == value for name, value in found.items()) else CHANGED

    def _add(self, number: int, item_id: str, title: str, further: Row) -> None:
        """Take a row that can be used."""
        first = item_id not in self._lines
        if first:
            self._lines[item_id] = number
            self.titles[item_id] = title
            self._further.append(further)
        else:
            self._rejects.left_out[f"an item's id again (--duplicate-items {self._duplicates})"] += 1
        if not first or self._duplicates == "most":
            self._rows.setdefault(item_id, []).append((title, further))

    def catalog(self) -> Catalog:
        """The items in the order of their first rows."""
        if self._duplicates in ("last", "most"):
            place = {item_id: place for place, item_id in enumerate(self.titles)}
            for item_id, rows in self._rows.items():
                chosen = rows[-1]
                if self._duplicates == "most":
                    ((title, _),) = Counter(title for title, _ in rows).most_common(1)
                    chosen = next(row for row in rows if row[0] == title)
                self.titles[item_id], self._further[place[item_id]] = chosen
        metadata = tuple(self._further) if any(self._further) else ()
        return Catalog(tuple(self.titles), tuple(self.titles.values()), metadata)


class ItemsOfLog:
    """Items as the interactions name them, where there is no table of items.

    Columns that never differ within an item become its metadata. Only an item without title in any row is without.
    """

    def __init__(self, table: Table, recipe: Recipe, used: Sequence[str], rejects: Rejects) -> None:
        try:
            self._titles = Titles(table, recipe)
        except InputError as error:
            raise InputError(
                f"{error}; or give the items with --items FILE, or take ids as titles: --untitled id"
            ) from None
        self._fields = ItemFields(recipe, table.file, table.columns, rejects)
        self._ids_are_titles = recipe.untitled == "id"
        self._most = recipe.duplicate_items in ("most", "refuse")
        self._last = recipe.duplicate_items == "last"
        further = [column for column in table.columns if column not in {*used, *self._titles.used}]
        self._further = self._fields.columns(further)
        self._varying: set[str] = set()
        self._counts: list[Counter[str]] = []
        self._chosen: list[str | None] = []
        self._values: list[dict[str, Any]] = []
        self.index: dict[str, int] = {}

    @property
    def needs(self) -> tuple[str, ...]:
        """Columns that are read for titles."""
        return self._titles.needs

    def title_of(self, row: Mapping[str, Any]) -> str | None:
        """See `Titles.find`."""
        return self._titles.find(row)

    def add(self, row: Mapping[str, Any], item_id: str, title: str | None) -> int:
        """The number of the item of a row that can be used, whether or not the row has a title."""
        item = self.index.setdefault(item_id, len(self.index))
        if item == len(self._counts):
            self._counts.append(Counter())
            self._chosen.append(title)
            self._values.append({name: row.get(name) for name in self._further})
        if title is not None:
            self._counts[item][title] += 1
            if self._last or self._chosen[item] is None:
                self._chosen[item] = title
        known = self._values[item]
        for name in self._further:
            if name not in self._varying and row.get(name) != known[name]:
                self._varying.add(name)
        return item

    def catalog(self, rejects: Rejects) -> tuple[Catalog, IntArray]:
        """The items in the order of their first interactions, and (items,) the place of each, -1 without title."""
        titles = self._told_titles(rejects)
        named = {
            item_id: title or item_id
            for item_id, title in zip(self.index, titles, strict=True)
            if title is not None or self._ids_are_titles
        }
        items = np.array([item_id in named for item_id in self.index], dtype=np.bool_)
        values = [self._values[self.index[item_id]] for item_id in named]
        first = values[0] if values else {}
        everywhere = {name for name in self._further if all(one[name] == first[name] for one in values)}
        kept = [name for name in self._further if name not in self._varying | everywhere]
        metadata = tuple(self._fields.of({name: one[name] for name in kept}, ()) for one in values)
        if kept:
            rejects.notice(f"kept with the items, for it never differs within one: {', '.join(kept)}")
        catalog = Catalog(tuple(named), tuple(named.values()), metadata if kept else ())
        return catalog, np.where(items, np.cumsum(items) - 1, -1)

    def _told_titles(self, rejects: Rejects) -> list[str | None]:
        """The title of each item, None where it has none; says where there are several."""
        several = sum(len(counts) > 1 for counts in self._counts)
        if several:
            which = "most frequent" if self._most else "last" if self._last else "first"
            rejects.notice(
                f"{several:,} {'item has' if several == 1 else 'items have'} several titles in the interactions; the "
                f"{which} is taken (--duplicate-items first, last or most)"
            )
        if not self._most:
            return self._chosen
        return [counts.most_common(1)[0][0] if counts else None for counts in self._counts]
