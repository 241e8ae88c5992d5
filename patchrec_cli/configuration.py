"""`patchrec config`: which settings hold, and where each is from."""

import os
from typing import Annotated

import typer

from patchrec.store import home as default_home
from patchrec_cli.command import Command, command_group
from patchrec_cli.display import Column, Output, print_note, print_table
from patchrec_cli.layers import Given, every_setting
from patchrec_cli.parameters import Json, Quiet, Settings, home_of

app = command_group("config", "Show the settings that hold, and where each is from.")


@app.callback()
def config() -> None:
    """Show the settings that hold, and where each is from."""


@app.command("show", cls=Command)
def show(
    ctx: typer.Context,
    *,
    origin: Annotated[bool, typer.Option("--origin", help="Also show the file or variable that each is from.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show what files and the environment set, of every command.

    The command line comes first, then PATCHREC_*, --config FILE, ./patchrec.toml, your own file, and the defaults.

    Examples:
        patchrec config show --origin
        PATCHREC_FINETUNE_BATCH_SIZE=32 patchrec config show
    """
    output = Output(json, quiet)
    root = ctx.find_root()
    settings = ctx.find_object(Settings) or Settings()
    found = {"home": settings.origins.get("home", Given(None, ""))}
    home = home_of(ctx) or default_home()
    why = found["home"].origin or ("PATCHREC_HOME" if os.environ.get("PATCHREC_HOME") else "default")
    found["home"] = Given(str(home), why)
    found |= {key: given for key, given in settings.origins.items() if key != "home"}
    found |= dict(every_setting(root.command, root, settings.layers))
    rows = [{"name": key, "value": given.value, "origin": given.origin} for key, given in found.items()]
    files = [str(file) for file in settings.layers.files]
    if output.emit({"settings": rows, "files": files}, [f"{row['name']} = {row['value']}" for row in rows]):
        return
    columns = [Column("setting", "name"), Column("value", "value")] + ([Column("from", "origin")] if origin else [])
    print_table(columns, rows)
    if not files:
        print_note("note: no file of settings; make `patchrec.toml` in this folder, or give --config FILE")
