"""`--name`, `--note` and `--tag` of commands that make a run, and `patchrec runs edit`."""

from typing import TYPE_CHECKING, Annotated

import typer

from patchrec_cli.display import Output, print_fields
from patchrec_cli.parameters import Json, Quiet, home_of

if TYPE_CHECKING:
    from patchrec.store.marks import Marks

MARKS = "Name and notes"  # the section of options

Name = Annotated[
    str | None,
    typer.Option("--name", metavar="NAME", help="Name of the run; default: counted.", rich_help_panel=MARKS),
]
Note = Annotated[str | None, typer.Option("--note", metavar="TEXT", help="Say of the run.", rich_help_panel=MARKS)]
Tags = Annotated[
    list[str] | None,
    typer.Option("--tag", metavar="WORD", help="Find the run by this; repeat it.", rich_help_panel=MARKS),
]


def marks_of(name: str | None, note: str | None, tags: list[str] | None) -> "Marks":
    """What the options say of a run.

    Raises:
        UsageError: A name or tag that is none.
    """
    from patchrec.store.marks import Marks

    return Marks(name, note, tuple(tags or ()))


def edit(
    ctx: typer.Context,
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="Run or group of seeds, by name or the unique beginning of one.")
    ],
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="What a group of seeds is called from now on.")
    ] = None,
    note: Annotated[
        str | None, typer.Option("--note", metavar="TEXT", help='In place of the old one; "" takes it away.')
    ] = None,
    tag: Annotated[list[str] | None, typer.Option("--tag", metavar="WORD", help="Add a tag; repeat it.")] = None,
    untag: Annotated[
        list[str] | None, typer.Option("--untag", metavar="WORD", help="Take a tag away; repeat it.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Note and tag a run, or all runs of a group of seeds. A run keeps its name; a group may get another.

    Examples:
        patchrec runs edit pft-s-1 --note "first with anchored windows" --tag paper
        patchrec runs edit pft-s-1 --untag paper
        patchrec runs edit pft-s-2 --name anchored --tag paper
    """
    from patchrec.operations import runs

    output = Output(json, quiet)
    now = runs.edit_run(run, name=name, note=note, tags=tag or (), without=untag or (), home=home_of(ctx))
    if not output.emit({"run": now}, [now["name"]]):
        marks = {"note": now["note"] or "none", "tags": " ".join(now["tags"]) or "none"}
        print_fields({"group" if "runs" in now else "run": now["name"], **marks})
