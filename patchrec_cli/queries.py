"""`patchrec runs query`: any question to the store, in SQL that only reads."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from patchrec.errors import UsageError
from patchrec_cli.display import Column, Output, clean, print_error, print_lines, print_note, print_table, shortened
from patchrec_cli.numbers import count
from patchrec_cli.parameters import Json, Quiet, home_of

MOST_BYTES = 512 << 20  # that SQLite may take
MOST_COLUMNS = 8  # side by side in 80 columns
MOST_LETTERS = 1_000  # of a cell that people read
GRACE = 2.0  # seconds, for what cannot be stopped kindly


def query(
    ctx: typer.Context,
    sql: Annotated[str, typer.Argument(metavar="SQL", help="One statement, such as SELECT or WITH.")],
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="At most N rows.")] = 100,
    seconds: Annotated[float, typer.Option("--seconds", metavar="N", min=0.1, help="Stop it after N seconds.")] = 30.0,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Ask the store in SQL; nothing can change it.

    docs/store.md says what tables and columns there are.

    Examples:
        patchrec runs query "SELECT name, status, created_at FROM runs ORDER BY id DESC"
        patchrec runs query "SELECT run, step, loss FROM losses WHERE run = 'pft-s-1'" --json
    """
    from patchrec.operations import queries

    output = Output(json, quiet)
    with ended_after(seconds):
        answer = queries.query(sql, limit=limit, seconds=seconds, max_bytes=MOST_BYTES, home=home_of(ctx))
    if quiet and not json:
        for row in answer["rows"]:
            sys.stdout.write("\t".join("" if cell is None else clean(cell) for cell in row.values()) + "\n")
    elif not output.emit(answer, ()):
        draw_answer(answer)
    if answer["more"] and not quiet:
        print_note(f"note: only the first {count(limit)} rows; --limit N gives more")


@contextmanager
def ended_after(seconds: float) -> Iterator[None]:
    """End the process where one step of SQLite goes on and on: it hears of no time limit, and of no Ctrl-C."""

    def end() -> None:
        print_error(f"this query takes longer than {seconds:g} s; narrow it, or give more time with --seconds N")
        os._exit(UsageError.exit_code)  # nothing is written here that could be lost

    timer = threading.Timer(seconds + GRACE, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def draw_answer(answer: dict[str, Any]) -> None:
    """Print rows as a table, or one below the other where there are too many columns."""
    names, rows = answer["columns"], answer["rows"]
    by_name = [(name, [row[name] for row in rows]) for name in names]
    shown = [{str(place): shortened(row[name], MOST_LETTERS) for place, name in enumerate(names)} for row in rows]
    if len(names) <= MOST_COLUMNS or not rows:
        columns = [Column(name, str(place), all(map(is_number, cells))) for place, (name, cells) in enumerate(by_name)]
        print_table(columns, shown)
    else:
        for number, row in enumerate(shown):
            if number:
                print_lines([""])
            fields = [{"name": name, "value": row[str(place)]} for place, name in enumerate(names)]
            print_table([Column("", "name"), Column("", "value")], fields)
    if not rows:
        print_note("note: no rows")


def is_number(cell: object) -> bool:
    """Whether a cell stands to the right in its column."""
    return cell is None or isinstance(cell, int | float)
