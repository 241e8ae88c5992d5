"""Options of `patchrec data add`, `append` and `items add` for own files, in their sections of the help."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

FILES = "Own files"
WRITTEN = "How files are written"
COLUMNS = "Columns"
KEPT = "What is kept"

Formats = Literal["csv", "tsv", "jsonl", "parquet", "recbole"]
QUOTES = "Whether quotes group a field or are text; default: they group in CSV, else are text."


def option(flag: str, metavar: str | None, text: str, panel: str) -> Any:
    """An option in a section of the help."""
    return typer.Option(flag, metavar=metavar, help=text, rich_help_panel=panel)


Format = Annotated[Formats | None, option("--format", None, "Format; default: by file ending.", WRITTEN)]
Sep = Annotated[str | None, option("--sep", "TEXT", "What separates fields, such as ';' or '::'.", WRITTEN)]
Encoding = Annotated[str | None, option("--encoding", "NAME", "Of text, such as latin-1; default: UTF-8.", WRITTEN)]
Quotes = Annotated[Literal["group", "text"] | None, option("--quotes", None, QUOTES, WRITTEN)]
NoHeader = Annotated[bool, option("--no-header", None, "The first line is data; needs --columns.", WRITTEN)]
Names = Annotated[str | None, option("--columns", "A,B,...", "Names of all columns, instead of the header's.", WRITTEN)]
ItemsFormat = Annotated[Formats | None, option("--items-format", None, "Of the items, where another.", WRITTEN)]
ItemsSep = Annotated[str | None, option("--items-sep", "TEXT", "Of the items, where another.", WRITTEN)]
ItemsEncoding = Annotated[str | None, option("--items-encoding", "NAME", "Of the items, where another.", WRITTEN)]
ItemsQuotes = Annotated[
    Literal["group", "text"] | None, option("--items-quotes", None, "Of the items, where another.", WRITTEN)
]
ItemsNoHeader = Annotated[bool, option("--items-no-header", None, "Of the items.", WRITTEN)]
ItemsNames = Annotated[str | None, option("--items-columns", "A,B,...", "Of the items.", WRITTEN)]
TimeFormat = Annotated[
    str | None,
    option("--time-format", "FORM", "Of times, such as '%d.%m.%Y %H:%M', or s, ms, us, ns, excel.", WRITTEN),
]

UserCol = Annotated[str | None, option("--user-col", "C", "Column of user ids; usually user_id.", COLUMNS)]
ItemCol = Annotated[
    str | None, option("--item-col", "C", "Column of item ids, in both files; usually item_id.", COLUMNS)
]
ItemsIdCol = Annotated[str | None, option("--items-id-col", "C", "Of the items, where another.", COLUMNS)]
TimeCol = Annotated[str | None, option("--time-col", "C", "Column of times; usually timestamp.", COLUMNS)]
RatingCol = Annotated[str | None, option("--rating-col", "C", "Column of ratings; usually rating.", COLUMNS)]
OrderCol = Annotated[str | None, option("--order-col", "C", "Column that orders what has one time.", COLUMNS)]
SessionCol = Annotated[
    str | None, option("--session-col", "C", "Column of sessions, for strategies with --sessions column.", COLUMNS)
]
TitleCol = Annotated[
    str | None, option("--title-col", "C", "Column of titles; without items, of the interactions.", COLUMNS)
]
Title = Annotated[
    str | None, option("--title", "TEXT", "Title of several columns, such as '{name}, {colour}'.", COLUMNS)
]
Fields = Annotated[
    str | None,
    option("--fields", "A,B,...", "Further columns of items to keep, a|b the first of two; default: all.", COLUMNS),
]
Html = Annotated[bool, option("--html", None, "Titles and fields are HTML: no tags, & for &amp;.", WRITTEN)]
ItemPattern = Annotated[
    str | None, option("--item-pattern", "REGEX", "Each match in the column of items is one item.", COLUMNS)
]

Rows = Annotated[
    str | None, option("--rows", "CONDITION", "Keep rows such as \"event = 'buy' and quantity > 0\".", KEPT)
]
Missing = Annotated[list[str] | None, option("--missing", "TEXT", "Means that a value is missing; repeat it.", KEPT)]
Repeats = Annotated[
    Literal["refuse", "keep", "first", "last"] | None,
    option("--repeats", None, "User, item and time again: which counts; default: refuse.", KEPT),
]
DuplicateItems = Annotated[
    Literal["refuse", "first", "last", "most"] | None,
    option("--duplicate-items", None, "An item's id again: which title counts; default: refuse.", KEPT),
]
UntitledItems = Annotated[
    Literal["refuse", "drop", "id"] | None,
    option("--untitled", None, "Items without title; default: refuse.", KEPT),
]
MinRating = Annotated[float | None, option("--min-rating", "X", "Keep ratings from X on.", KEPT)]
Core = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, help="Keep users and items with N interactions or more.", rich_help_panel=KEPT),
]
MinHistory = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, help="Keep users with N interactions or more.", rich_help_panel=KEPT),
]
SampleUsers = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Keep N users, drawn by --seed.", rich_help_panel=KEPT)
]
Seed = Annotated[int | None, typer.Option(metavar="N", min=0, help="Of --sample-users.", rich_help_panel=KEPT)]
SkipBad = Annotated[bool, option("--skip-bad", None, "Leave out rows that cannot be used, and say why.", KEPT)]
RejectsFile = Annotated[
    Path | None, option("--rejects", "FILE", "Write those rows there, with reasons; implies --skip-bad.", KEPT)
]


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
    "sample_users", "seed",
)  # fmt: skip


def given(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What a command says of files, as a recipe has it: what was given alone.

    Args:
        parameters: The command's, by name (`ctx.params`); others are passed over.
    """
    found = {_CALLED.get(name, name): parameters.get(name) for name in (*_CALLED, *_PLAIN)}
    found |= {called: says for name, (called, says) in _FLAGS.items() if parameters.get(name)}
    found |= {name: names(parameters.get(name)) for name in _LISTS}
    return {name: value for name, value in found.items() if value not in (None, ())}
