"""Options of `patchrec data add`, `append` and `items add` for own files, in their sections of the help."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from patchrec_cli.declared import takes

FILES = "Own files"
WRITTEN = "How files are written"
COLUMNS = "Columns"
KEPT = "What is kept"

Formats = Literal["csv", "tsv", "jsonl", "parquet", "recbole"]
QUOTES = "Whether quotes group a field or are text; default: they group in CSV, else are text."


def option(flag: str, metavar: str | None, text: str, panel: str) -> Any:
    """An option in a section of the help."""
    return typer.Option(flag, metavar=metavar, help=text, rich_help_panel=panel)


OPTIONS: dict[str, Any] = {
    "file_format": Annotated[Formats | None, option("--format", None, "Format; default: by file ending.", WRITTEN)],
    "sep": Annotated[str | None, option("--sep", "TEXT", "What separates fields, such as ';' or '::'.", WRITTEN)],
    "encoding": Annotated[
        str | None, option("--encoding", "NAME", "Of text, such as latin-1; default: UTF-8.", WRITTEN)
    ],
    "quotes": Annotated[Literal["group", "text"] | None, option("--quotes", None, QUOTES, WRITTEN)],
    "no_header": Annotated[bool, option("--no-header", None, "The first line is data; needs --columns.", WRITTEN)],
    "columns": Annotated[
        str | None, option("--columns", "A,B,...", "Names of all columns, instead of the header's.", WRITTEN)
    ],
    "items_format": Annotated[Formats | None, option("--items-format", None, "Of the items, where another.", WRITTEN)],
    "items_sep": Annotated[str | None, option("--items-sep", "TEXT", "Of the items, where another.", WRITTEN)],
    "items_encoding": Annotated[
        str | None, option("--items-encoding", "NAME", "Of the items, where another.", WRITTEN)
    ],
    "items_quotes": Annotated[
        Literal["group", "text"] | None, option("--items-quotes", None, "Of the items, where another.", WRITTEN)
    ],
    "items_no_header": Annotated[bool, option("--items-no-header", None, "Of the items.", WRITTEN)],
    "items_columns": Annotated[str | None, option("--items-columns", "A,B,...", "Of the items.", WRITTEN)],
    "time_format": Annotated[
        str | None,
        option("--time-format", "FORM", "Of times, such as '%d.%m.%Y %H:%M', or s, ms, us, ns, excel.", WRITTEN),
    ],
    "user_col": Annotated[str | None, option("--user-col", "C", "Column of user ids; usually user_id.", COLUMNS)],
    "item_col": Annotated[
        str | None, option("--item-col", "C", "Column of item ids, in both files; usually item_id.", COLUMNS)
    ],
    "items_id_col": Annotated[str | None, option("--items-id-col", "C", "Of the items, where another.", COLUMNS)],
    "time_col": Annotated[str | None, option("--time-col", "C", "Column of times; usually timestamp.", COLUMNS)],
    "rating_col": Annotated[str | None, option("--rating-col", "C", "Column of ratings; usually rating.", COLUMNS)],
    "order_col": Annotated[str | None, option("--order-col", "C", "Column that orders what has one time.", COLUMNS)],
    "session_col": Annotated[
        str | None, option("--session-col", "C", "Column of sessions, for strategies with --sessions column.", COLUMNS)
    ],
    "title_col": Annotated[
        str | None, option("--title-col", "C", "Column of titles; without items, of the interactions.", COLUMNS)
    ],
    "title_text": Annotated[
        str | None, option("--title-of", "TEXT", "Title of several columns, such as '{name}, {colour}'.", COLUMNS)
    ],
    "title": Annotated[
        str | None, option("--title", "TEXT", "Title of several columns, such as '{name}, {colour}'.", COLUMNS)
    ],
    "fields": Annotated[
        str | None,
        option("--fields", "A,B,...", "Further columns of items to keep, a|b the first of two; default: all.", COLUMNS),
    ],
    "html": Annotated[bool, option("--html", None, "Titles and fields are HTML: no tags, & for &amp;.", WRITTEN)],
    "item_pattern": Annotated[
        str | None, option("--item-pattern", "REGEX", "Each match in the column of items is one item.", COLUMNS)
    ],
    "rows": Annotated[
        str | None, option("--rows", "CONDITION", "Keep rows such as \"event = 'buy' and quantity > 0\".", KEPT)
    ],
    "missing": Annotated[
        list[str] | None, option("--missing", "TEXT", "Means that a value is missing; repeat it.", KEPT)
    ],
    "repeats": Annotated[
        Literal["refuse", "keep", "first", "last"] | None,
        option("--repeats", None, "User, item and time again: which counts; default: refuse.", KEPT),
    ],
    "duplicate_items": Annotated[
        Literal["refuse", "first", "last", "most"] | None,
        option("--duplicate-items", None, "An item's id again: which title counts; default: refuse.", KEPT),
    ],
    "untitled": Annotated[
        Literal["refuse", "drop", "id"] | None,
        option("--untitled", None, "Items without title; default: refuse.", KEPT),
    ],
    "min_rating": Annotated[float | None, option("--min-rating", "X", "Keep ratings from X on.", KEPT)],
    "core": Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Keep users and items with N interactions or more.", rich_help_panel=KEPT
        ),
    ],
    "min_history": Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Keep users with N interactions or more.", rich_help_panel=KEPT),
    ],
    "sample_users": Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Keep N users, drawn by --seed.", rich_help_panel=KEPT)
    ],
    "cold_items": Annotated[
        float | None,
        option("--cold-items", "SHARE", "Share of items, drawn by --seed, for the test split alone.", KEPT),
    ],
    "seed": Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="Of --sample-users and --cold-items.", rich_help_panel=KEPT),
    ],
    "skip_bad": Annotated[bool, option("--skip-bad", None, "Leave out rows that cannot be used, and say why.", KEPT)],
    "rejects": Annotated[
        Path | None, option("--rejects", "FILE", "Write those rows there, with reasons; implies --skip-bad.", KEPT)
    ],
}
"""Annotations by the name of their parameter, in the order of the help."""
OF_ADDING = tuple(name for name in OPTIONS if name != "title_text")
OF_APPENDING = (
    "file_format", "sep", "encoding", "quotes", "no_header", "columns", "items_format", "items_sep", "items_encoding",
    "time_format", "user_col", "item_col", "items_id_col", "time_col", "rating_col", "order_col", "session_col",
    "title_col", "title", "rows", "missing", "repeats", "untitled", "skip_bad", "rejects",
)  # fmt: skip
OF_ITEMS = (
    "file_format", "sep", "encoding", "quotes", "no_header", "columns", "item_col", "title_col", "title_text", "fields",
    "html", "missing", "duplicate_items", "untitled", "skip_bad",
)  # fmt: skip


def takes_files(names: Collection[str]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Let Typer see these options of own files where a command takes `**files`, after its own."""
    return takes({name: kind for name, kind in OPTIONS.items() if name in names})


def names(written: str | None) -> tuple[str, ...] | None:
    """Names between commas."""
    return None if written is None else tuple(name.strip() for name in written.split(","))


# how a recipe calls what a command calls otherwise, and what a flag says there
_CALLED = {"file_format": "format", "title_text": "title_of"}
_FLAGS = {"no_header": ("header", False), "items_no_header": ("items_header", False), "html": ("html", True)} | {
    "skip_bad": ("skip_bad", True)
}
_LISTS = ("columns", "items_columns", "fields")
_PLAIN = (
    "sep", "encoding", "quotes", "items_format", "items_sep", "items_encoding", "items_quotes", "time_format",
    "user_col", "item_col", "items_id_col", "time_col", "rating_col", "order_col", "session_col", "title_col", "title",
    "item_pattern", "rows", "missing", "repeats", "duplicate_items", "untitled", "min_rating", "core", "min_history",
    "sample_users", "cold_items", "seed",
)  # fmt: skip


def given(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What a command says of files, as a recipe has it: what was given alone.

    Args:
        parameters: Of these options, by name.
    """
    found = {_CALLED.get(name, name): parameters.get(name) for name in (*_CALLED, *_PLAIN)}
    found |= {called: says for name, (called, says) in _FLAGS.items() if parameters.get(name)}
    found |= {name: names(parameters.get(name)) for name in _LISTS}
    return {name: value for name, value in found.items() if value not in (None, ())}
