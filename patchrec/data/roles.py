"""Which column is what: the one that is named, else the usual name, else the only one of the names that people use."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from patchrec.data.batches import Table
from patchrec.data.readers import SEPARATORS, shown
from patchrec.errors import InputError

USUAL = {
    "user": (
        "user_id", "user", "uid", "customer_id", "customer", "visitor_id", "member_id", "reviewer_id", "account_id",
        "username",
    ),
    "item": (
        "item_id", "item", "iid", "product_id", "product", "movie_id", "book_id", "article_id", "track_id", "song_id",
        "video_id", "business_id", "sku", "asin", "isbn",
    ),
    "time": (
        "timestamp", "time", "datetime", "date", "ts", "event_time", "created_at", "unix_timestamp", "unix_review_time",
    ),
    "rating": ("rating", "ratings", "stars"),
    "title": ("title", "name", "item_name", "product_name", "product_title", "movie_title", "book_title", "prod_name"),
    "session": ("session_id", "session"),
}  # fmt: skip
"""By role; the first is the usual name, and wins over the others."""

_VALUE = re.compile(r"[-+]?\d+([.,]\d+)*|\d{4}-\d\d-\d\d.*")
"""A number or a day, which names no column."""
_MOMENT = re.compile(r"\d{9,}(\.\d+)?|\d{4}-\d\d-\d\d.*")
_RATING = re.compile(r"\d{1,2}(\.\d+)?")
_SIGNS = re.compile(r"[\W_]+")


@dataclass(frozen=True, slots=True)
class Role:
    """What a column is wanted for.

    Attributes:
        name: Key of `USUAL`.
        option: What names the column on the command line.
        named: The name that was given.
        guess: Whether other usual names may be taken where it must be there.
        of_items: Whether the table is one of items.
    """

    name: str
    option: str
    named: str | None = None
    guess: bool = False
    of_items: bool = False


def find_column(table: Table, role: Role, *, usual: Sequence[str] | None = None) -> str | None:
    """The column of a role; None where none is named and none has a usual name.

    Names are compared without case, blanks and signs where none is the same letter by letter. `a|b` names the first
    that is there, where no column has that very name.

    Raises:
        InputError: The named one is not there, or several columns may be meant.
    """
    columns = table.columns
    if role.named is not None:
        for name in (role.named, *role.named.split("|")):
            if name in columns:
                return name
        for name in (role.named, *role.named.split("|")):
            alike = [column for column in columns if _plain(column) == _plain(name)]
            if len(alike) == 1:
                return alike[0]
        raise missing_column(table, role.named, role.option, of_items=role.of_items)
    names = tuple(usual or USUAL[role.name])
    if names[0] in columns:
        return names[0]
    alike = [column for column in columns if _plain(column) == _plain(names[0])]
    if len(alike) == 1:
        return alike[0]
    plain = {_plain(name) for name in names}
    found = [column for column in columns if _plain(column) in plain]
    if len(found) > 1:
        raise InputError(
            f"{table.file}:1: which column is the {role.name}? {shown(tuple(found))}; name it with {role.option}"
        )
    return found[0] if found else None


def need_column(table: Table, role: Role, *, usual: Sequence[str] | None = None) -> str:
    """The column of a role, which must be there.

    Raises:
        InputError: It is not; the message names the columns there are, and the option.
    """
    names = tuple(usual or USUAL[role.name])
    found = find_column(table, role, usual=names if role.guess else names[:1])
    if found is None:
        maybe = [column for column in table.columns if _plain(column) in map(_plain, names)]
        option = f"{role.option} {maybe[0]}" if len(maybe) == 1 else role.option
        raise missing_column(table, names[0], option, of_items=role.of_items)
    return found


def missing_column(table: Table, name: str, option: str, *, of_items: bool = False) -> InputError:
    """The error for a column that is not there: what is, and how to name another."""
    hint = f"name the right one with {option}"
    only = table.columns[0] if len(table.columns) == 1 else ""
    sep = next((sep for sep in SEPARATORS if sep in only), None)
    if sep is not None:
        hint = f"the header is one piece with {sep!r} in it: --sep {sep!r}"
    elif way := without_header(table.columns, of_items=of_items):
        hint = f"the first line reads as data: {way}"
    return InputError(f"{table.file}:1: no column {name!r}; columns: {shown(table.columns)}; {hint}")


def without_header(columns: Sequence[str], *, of_items: bool = False) -> str | None:
    """The options that say that a file has no header, where its first line reads as data; None where it does not.

    It does where some of it are numbers or days and none is a usual name.
    """
    usual = {name for names in USUAL.values() for name in names}
    if not usual.isdisjoint(map(str.casefold, columns)) or not any(_VALUE.fullmatch(one.strip()) for one in columns):
        return None
    names = ["item_id", "title"] if of_items else ["user_id", "item_id"]
    for place, column in enumerate(columns[2:], start=3):
        value = column.strip()
        known = "timestamp" if _MOMENT.fullmatch(value) else "rating" if _RATING.fullmatch(value) else ""
        names.append(f"column_{place}" if of_items or not known or known in names else known)
    return f"--no-header --columns {','.join(names[: len(columns)])}"


def _plain(name: str) -> str:
    return _SIGNS.sub("", name).casefold()
