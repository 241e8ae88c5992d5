"""Parameters that many commands share, and the settings that stand before the command's name."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from patchrec_cli.command import OUTPUT


@dataclass(frozen=True, slots=True)
class Settings:
    """What the options before the command's name say.

    Attributes:
        home: Folder of the store; None lets the store choose.
    """

    home: Path | None = None


def home_of(ctx: typer.Context) -> Path | None:
    """The folder of the store that `--home` names, or None."""
    settings = ctx.find_object(Settings)
    return settings.home if settings else None


Json = Annotated[bool, typer.Option("--json", help="Print JSON with stable keys.", rich_help_panel=OUTPUT)]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print only the essential, one a line; no notes.", rich_help_panel=OUTPUT)
]
Data = Annotated[str | None, typer.Option("--data", metavar="NAME", help="Data set; default: the one in use.")]
Backbone = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Backbone by name, folder or hub id; see `patchrec backbones ls`."),
]
Strategy = Annotated[str | None, typer.Option(metavar="NAME", help="Strategy; see `patchrec strategies ls`.")]
Run = Annotated[str | None, typer.Option("--run", metavar="RUN", help="Run; default: the newest fine-tuned one.")]
