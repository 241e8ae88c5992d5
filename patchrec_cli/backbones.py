"""`patchrec backbones`: the language models that are known or fetched."""

from typing import Annotated

import typer

from patchrec_cli.command import Command, command_group
from patchrec_cli.display import Column, Output, plain, print_fields, print_table
from patchrec_cli.numbers import count
from patchrec_cli.parameters import Json, Quiet, home_of

app = command_group("backbones", "List and fetch language models.")


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
