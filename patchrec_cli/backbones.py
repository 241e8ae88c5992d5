"""`patchrec backbones`: the language models that are known, fetched or made; they are removed here too."""

import sys
from typing import Annotated, Any

import typer

from patchrec_cli.command import Command, command_group
from patchrec_cli.display import Column, Output, plain, print_fields, print_table
from patchrec_cli.numbers import count
from patchrec_cli.parameters import Json, Quiet, home_of
from patchrec_cli.trash import Yes, confirm, megabytes

app = command_group("backbones", "List, fetch, make and remove language models.")


@app.command("ls", cls=Command)
def ls(ctx: typer.Context, json: Json = False, quiet: Quiet = False) -> None:
    """List the backbones known by name and those fetched."""
    from patchrec.operations import backbones

    output = Output(json, quiet)
    rows = [plain(row) for row in backbones.list_backbones(home=home_of(ctx))]
    if not output.emit({"backbones": rows}, [row["name"] for row in rows]):
        shown = [row | {"num_parameters": count(row.get("num_parameters"))} for row in rows]
        columns = [
            Column("name", "name"),
            Column("parameters", "num_parameters", right=True),
            Column("licence", "licence"),
            Column("source", "source"),
        ]
        print_table(columns, shown)
    output.next_step("patchrec backbones pull smollm2-135m")


@app.command("pull", cls=Command)
def pull(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A known name, a folder, or a hub id such as org/model.")],
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fetch a backbone, check it and keep it in the store."""
    from patchrec.operations import backbones

    output = Output(json, quiet)
    result = plain(backbones.pull_backbone(name, home=home_of(ctx), report=output.reporter))
    if not output.emit({"backbone": result}, [result["name"]]):
        print_fields(result)
    output.next_step(f"patchrec pretrain --backbone {name}")


@app.command("make", cls=Command)
def make(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it shall be called.")],
    *,
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="NAME", help="Whose titles give its tokens; default: the one in use."),
    ] = None,
    width: Annotated[
        int | None, typer.Option("--width", metavar="D", min=2, max=8192, help="Of its states; default: 64.")
    ] = None,
    layers: Annotated[
        int | None, typer.Option("--layers", metavar="N", min=1, max=128, help="How many; default: 2.")
    ] = None,
    heads: Annotated[
        int | None, typer.Option("--heads", metavar="N", min=1, max=128, help="Of attention; default: 4.")
    ] = None,
    tokens: Annotated[
        int | None, typer.Option("--tokens", metavar="N", max=1_000_000, help="In its vocabulary; default: 4,000.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, max=2**63 - 1, help="Of its weights.")] = 0,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make a small language model of random weights whose tokens are those of a data set's titles.

    It knows nothing and learns fast: a CPU trains it whole in minutes, under any strategy and head.

    Examples:
        patchrec backbones make small
        patchrec finetune --strategy item-mean --head item --backbone small
        patchrec finetune --strategy pft-s --L 20 --loss catalog --backbone small
    """
    from patchrec.operations import backbones

    output = Output(json, quiet)
    result = plain(
        backbones.make_backbone(
            name, data=data, width=width, layers=layers, heads=heads, tokens=tokens, seed=seed, home=home_of(ctx),
            report=output.reporter,
        )
    )  # fmt: skip
    if not output.emit({"backbone": result}, [result["name"]]):
        print_fields(result)
    output.next_step(
        f"patchrec finetune --strategy item-mean --head item --backbone {name}",
        f"patchrec finetune --strategy pft-s --L 20 --loss catalog --backbone {name}",
    )


@app.command("rm", cls=Command)
def rm(
    ctx: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Backbones that were fetched or made.")],
    yes: Yes = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Remove backbones from the store for good, with their folders.

    Says what goes and what becomes of the runs that began with it, and asks on a terminal; a script needs --yes where a
    run loses something. Refused while one of these runs is running. A model that was given by its path stays where it
    is.

    Examples:
        patchrec backbones rm small
        patchrec backbones rm small smollm2-135m --yes
    """
    from patchrec.operations import backbone_removal as removal

    output = Output(json, quiet)
    found = removal.backbone_removal(names, home=home_of(ctx))
    if not (json or quiet):
        draw_removal(found)
    size = megabytes(sum(one["size"] for one in found))
    several = "backbone" + "s" * (len(found) != 1)
    confirm(f"remove {count(len(found))} {several} ({size}) for good?", yes)
    found = removal.remove_backbones(names, even_if_lost=yes or sys.stdin.isatty(), home=home_of(ctx))
    removed = [one["name"] for one in found]
    if not output.emit({"removed": removed, "backbones": plain(found)}, removed):
        print_fields({"removed": removed, "freed": size})
    output.next_step("patchrec backbones ls")


def draw_removal(found: list[dict[str, Any]]) -> None:
    """Print what goes, and what becomes of runs without it."""
    columns = [Column("backbone", "name"), Column("source", "source"), Column("size", "size", right=True)]
    print_table(columns, [one | {"size": megabytes(one["size"])} for one in found])
    rows = [use | {"backbone": one["name"]} for one in found for use in one["runs"]]
    if rows:
        without = [Column("run", "run"), Column("status", "status"), Column("without it", "without")]
        print_table(([Column("backbone", "backbone")] if len(found) > 1 else []) + without, rows, title=" ")
