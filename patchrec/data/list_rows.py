"""Rows of files of lists: their formats, which column is what, and what their values may be."""

from collections.abc import Iterator
from contextlib import ExitStack
from math import isfinite
from typing import Any

from patchrec.data.batches import Table, of_rows
from patchrec.data.inputs import Part
from patchrec.data.lines import Lines, Rejects, reading
from patchrec.data.readers import BATCH, FORMATS, open_table, shown
from patchrec.data.recipe import Written
from patchrec.data.roles import USUAL, Role, find_column
from patchrec.data.timestamps import NUMBER, WHOLE_FLOAT, Moment
from patchrec.errors import InputError

TREC = (".run", ".trec", ".res")
"""Endings of TREC runs, which are lines of six fields: query, Q0, item, rank, score, name."""

NAMES = {
    "user": USUAL["user"],
    "item": USUAL["item"],
    "rank": ("rank",),
    "score": ("score", "prediction"),
    "position": ("position",),
    "timestamp": ("timestamp",),
}
QUERY = "query"
MEND = "put that right and try again"
NEEDED = "a file of lists has the columns user_id, item_id and rank or score"


def open_rows(part: Part, rejects: Rejects) -> Table:
    """A table, or a TREC run as one."""
    if part.ending not in TREC and part.ending not in FORMATS:
        raise InputError(
            f"cannot tell the format of {part.name!r} by its ending; end it in one of {', '.join(FORMATS)}, or in .run "
            "for a TREC run"
        )
    if part.ending not in TREC:
        return open_table(part, Written(), rejects)
    stack = ExitStack()
    with reading(part.name):
        lines = Lines(stack.enter_context(part.open()), part.name, rejects)
    columns = (QUERY, "item_id", "score")
    return Table(part.name, columns, of_rows(_trec_rows(lines, part.name, rejects), columns, BATCH), stack)


def _trec_rows(lines: Lines, file: str, rejects: Rejects) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows of a TREC run; as trec_eval does, scores order it and ranks are not looked at."""
    for text in lines:
        fields = text.split()
        if fields and len(fields) != 6:
            rejects.add(file, lines.number, f"{len(fields)} fields", "a TREC run has query Q0 item rank score name")
        if fields:
            yield lines.number, {QUERY: fields[0], "item_id": fields[2], "score": fields[4]}
    rejects.settle()


def columns_of(table: Table, part: Part) -> dict[str, str]:
    """What is wanted of a table -> its column.

    Raises:
        InputError: Something needed is not there.
    """
    if part.ending in TREC:
        return {QUERY: QUERY, "item": "item_id", "score": "score"}
    found = {}
    for what, names in NAMES.items():
        column = find_column(table, Role(what, f"the header {names[0]!r}", guess=True), usual=names)
        if column is not None:
            found[what] = column
    missing = [what for what in ("user", "item") if what not in found]
    if not {"rank", "score"} & set(found):
        missing.append("rank or score")
    if missing:
        raise InputError(f"{table.file}:1: no {missing[0]} among the columns {shown(table.columns)}; {NEEDED}")
    return found


def whole(value: object, what: str) -> int:
    """A whole number, also one that a data frame made a float of.

    Raises:
        ValueError: It is none.
    """
    found = WHOLE_FLOAT.fullmatch(str(value).strip()) if isinstance(value, str | int | float) else None
    if found is None or isinstance(value, bool):
        raise ValueError(f"{what} {value!r} is no whole number")
    return int(found[1])


def seconds(value: object) -> int:
    """Unix seconds.

    Raises:
        ValueError: They are no whole number.
    """
    return value.milliseconds // 1000 if isinstance(value, Moment) else whole(value, "timestamp")


def number(value: object, what: str) -> float:
    """A finite number.

    Raises:
        ValueError: It is none.
    """
    text = str(value).strip() if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
    if not NUMBER.fullmatch(text) or not isfinite(float(text)):
        raise ValueError(f"{what} {value!r} is no number")
    return float(text)


def without_options(error: InputError) -> InputError:
    """An error of a reader, without the options of `patchrec data add`."""
    said = str(error).split("; ")
    kept = [part.partition(", or leave it out with --skip-bad")[0] for part in said]
    kept = [part for part in kept if "--" not in part]
    return InputError("; ".join(kept if len(kept) == len(said) else [*kept, f"{NEEDED}, in UTF-8"]))
