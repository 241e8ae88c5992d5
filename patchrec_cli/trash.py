"""`patchrec runs rm`, `restore` and `gc`: into the trash, out of it, and away with it."""

import sys
from typing import Annotated, Any

import typer

from patchrec.errors import CheckFailedError
from patchrec_cli.display import Column, Output, print_fields, print_note, print_table
from patchrec_cli.numbers import count, moment
from patchrec_cli.parameters import Json, Quiet, home_of

Names = Annotated[list[str], typer.Argument(metavar="RUN...", help="Runs by their whole names.")]
Removed = Annotated[
    list[str], typer.Argument(metavar="RUN...", help="Runs, or groups of seeds for all their runs, by whole names.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def rm(ctx: typer.Context, names: Removed, yes: Yes = False, json: Json = False, quiet: Quiet = False) -> None:
    """Put runs into the trash, with their evaluations and checkpoints.

    Says what goes, and asks on a terminal. `patchrec runs restore` takes them back until `patchrec runs gc`.

    Examples:
        patchrec runs rm pft-s-1
        patchrec runs rm pft-s-1 pft-s-2 --yes
    """
    from patchrec.operations import runs, trash

    output = Output(json, quiet)
    found = trash.removal(names, home=home_of(ctx))
    if not (json or quiet):
        draw_removal(found)
    confirm(f"put {runs_of(found)} into the trash?", yes)
    removed = [row["run"] for row in found]
    runs.remove_run(*removed, home=home_of(ctx))
    if not output.emit({"removed": removed, "runs": found}, removed):
        print_fields({"removed": removed})
    output.next_step(f"patchrec runs restore {' '.join(removed)}", "patchrec runs gc")


def restore(ctx: typer.Context, names: Names, json: Json = False, quiet: Quiet = False) -> None:
    """Take runs back out of the trash, as they were.

    Examples:
        patchrec runs restore pft-s-1
    """
    from patchrec.operations import trash

    output = Output(json, quiet)
    restored = list(dict.fromkeys(names))
    trash.restore_runs(restored, home=home_of(ctx))
    if not output.emit({"restored": restored}, restored):
        print_fields({"restored": restored})


def gc(
    ctx: typer.Context,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="RUN", help="Of the removed runs these; default: all.")
    ] = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")] = False,
    yes: Yes = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Empty the trash: removed runs are deleted for good.

    Examples:
        patchrec runs gc --dry-run
        patchrec runs gc --yes
    """
    from patchrec.operations import trash

    output = Output(json, quiet)
    found = trash.trashed(names or (), home=home_of(ctx))
    chosen = [row["run"] for row in found]
    if not (json or quiet) and found:
        draw_removal(found)
    if found and not dry_run:
        confirm(f"delete {runs_of(found)} for good?", yes)
        trash.empty_trash(chosen, home=home_of(ctx))
    deleted = [] if dry_run else chosen
    size = sum(row["size"] for row in found)
    if output.emit({"deleted": deleted, "trash": found, "size": size}, chosen):
        return
    if not found:
        print_note("note: the trash is empty")
    elif dry_run:
        print_note(f"note: nothing is deleted; without --dry-run {megabytes(size)} are freed")
    else:
        print_fields({"deleted": chosen, "freed": megabytes(size)})


def draw_removal(found: list[dict[str, Any]]) -> None:
    """Print what goes, and which blends ask it."""
    columns = [
        Column("run", "run"),
        Column("status", "status"),
        Column("size", "size", right=True),
        Column("evaluations", "evaluations", right=True),
    ]
    if any(row["removed_at"] for row in found):
        columns.append(Column("removed (UTC)", "removed"))
    rows = [row | {"size": megabytes(row["size"]), "removed": moment(row["removed_at"])} for row in found]
    print_table(columns, rows)
    going = {row["run"] for row in found}
    for row in found:
        if blends := [name for name in row["mixed_by"] if name not in going]:
            print_note(f"note: {', '.join(blends)} cannot rank without {row['run']}, which it mixes or reads")


def confirm(question: str, yes: bool) -> None:
    """Ask, where somebody can answer; a script is asked nothing.

    Raises:
        CheckFailedError: The answer is no.
    """
    if yes or not sys.stdin.isatty():
        return
    if not typer.confirm(question, err=True):
        raise CheckFailedError("nothing was removed")


def runs_of(found: list[dict[str, Any]]) -> str:
    """How many runs, and what they take: "2 runs (3.1 MB)"."""
    size = megabytes(sum(row["size"] for row in found))
    return f"{count(len(found))} run{'s' * (len(found) != 1)} ({size})"


def megabytes(size: int) -> str:
    """Bytes as people read them: "0.2 MB", "1,234.5 MB"."""
    return f"{size / 1e6:,.1f} MB"
