"""Which further columns of the items become their metadata, and how text in HTML is read."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from html import unescape
from typing import Any

from patchrec.data.batches import Row
from patchrec.data.catalog import Catalog
from patchrec.data.lines import Rejects
from patchrec.data.recipe import Recipe
from patchrec.data.values import Template, further_columns
from patchrec.errors import InputError, UsageError

NOTHING: tuple[Any, ...] = (None, "", [], {})
"""What a column holds where it has no value, besides the texts of `--missing`."""

_TAG = re.compile(r"<!--.*?-->|</?[A-Za-z][^<>]*>", re.DOTALL)
_SPACE = re.compile(r"\s+")


class ItemFields:
    """The further columns of one table of items: all of them, or those that the recipe names.

    A field that is named `brand|store` is the first of these columns that has a value, and is called `brand`. Of the
    named fields, a list of lists becomes one list of its values, each once.
    """

    def __init__(self, recipe: Recipe, file: str, columns: Sequence[str], rejects: Rejects) -> None:
        """Find the columns; says which field has none.

        Raises:
            InputError: None of the fields has a column.
        """
        self._missing = frozenset(recipe.missing)
        self._html = recipe.html
        self._named = {
            name.partition("|")[0]: [one for one in name.split("|") if one in columns] for name in recipe.fields
        }
        lacking = [name for name in recipe.fields if not self._named[name.partition("|")[0]]]
        if lacking and len(lacking) == len(recipe.fields):
            some = ", ".join(map(repr, columns[:20]))
            raise InputError(f"{file}:1: no column {' or '.join(lacking)}; columns: {some}; name others with --fields")
        if lacking:
            rejects.notice(
                f"{file}: no column {', '.join(one.replace('|', ' or ') for one in lacking)}, which --fields names"
            )

    def columns(self, found: Sequence[str]) -> tuple[str, ...]:
        """Those of some columns that are kept, where columns are kept one by one."""
        if not self._named:
            return tuple(found)
        kept = {name for names in self._named.values() for name in names}
        return tuple(name for name in found if name in kept)

    def of(self, row: Mapping[str, Any], used: Collection[str]) -> Row:
        """The metadata of a row; `used` are columns that are something else, where all are kept.

        Raises:
            ValueError: Text is no Unicode, which no store keeps.
        """
        if not self._named:
            found = further_columns(row, used, self._missing)
            return {key: _read(value) for key, value in found.items()} if self._html else found
        chosen = {
            name: next((row[one] for one in names if row.get(one) not in NOTHING), None)
            for name, names in self._named.items()
            if any(one in row for one in names)
        }
        return {
            key: _flat(_read(value) if self._html else value)
            for key, value in further_columns(chosen, (), self._missing).items()
        }


def retitled(catalog: Catalog, template: str) -> Catalog:
    """The catalog with titles made of its titles and fields, such as "{title} ({year}), {genres}" (`Template`).

    Raises:
        UsageError: It is no template over these fields, or an item has none of them.
    """
    metadata = catalog.metadata or ({},) * len(catalog)
    form = Template(template, ("title", *dict.fromkeys(key for item in metadata for key in item)))
    titles = []
    for item_id, title, item in zip(catalog.item_ids, catalog.titles, metadata, strict=True):
        made = form.fill({**item, "title": title})
        if made is None:
            raise UsageError(f"--title {template!r}: item {item_id!r} has none of these fields; put {{title}} in, too")
        titles.append(made)
    return replace(catalog, titles=tuple(titles))


def plain_text(text: str) -> str:
    """Text in HTML as it is read: tags go, entities are their letters, white space is one blank.

    >>> plain_text("Balm, <i>Quiet</i> &amp;  Plain ")
    'Balm, Quiet & Plain'
    """
    return _SPACE.sub(" ", unescape(_TAG.sub(" ", text) if "<" in text else text)).strip()


def _read(value: Any) -> Any:
    """A value with all its texts read."""
    if isinstance(value, str):
        return plain_text(value)
    if isinstance(value, list):
        return [_read(one) for one in value]
    return {key: _read(one) for key, one in value.items()} if isinstance(value, dict) else value


def _flat(value: Any) -> Any:
    """A list of lists as one list, without blanks and repeats; anything else as it is."""
    if not isinstance(value, list):
        return value
    found: dict[str, Any] = {}
    for one in value:
        for inner in _flat(one) if isinstance(one, list) else [one]:
            if inner not in (None, ""):
                found.setdefault(str(inner), inner)
    return list(found.values())
