"""Parameters that many commands share, and the settings that stand before the command's name."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import typer

from patchrec_cli.command import OUTPUT
from patchrec_cli.layers import Given, Layers

PROMPT = "Prompt"  # the section of options that shape a prompt


@dataclass(frozen=True, slots=True)
class Settings:
    """What the options before the command's name say.

    Attributes:
        home: Folder of the store; None lets the store choose.
        layers: What files of settings say.
        origins: Where those of the options before the command are from that no one gave there.
    """

    home: Path | None = None
    layers: Layers = field(default_factory=Layers)
    origins: dict[str, Given] = field(default_factory=dict)


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
    typer.Option("--backbone", metavar="NAME", help="Model by name, folder or hub id; see `patchrec backbones ls`."),
]
PromptForm = Annotated[
    Literal["paper", "instruction-first", "continuation"] | None,
    typer.Option("--prompt", help="Form of the prompt.", rich_help_panel=PROMPT),
]
SeparatorsAfter = Annotated[
    Literal["all", "titles"] | None,
    typer.Option(
        "--separators",
        help="What a line break follows: every unit, or titles alone, so that a patch is one position.",
        rich_help_panel=PROMPT,
    ),
]
Windows = Annotated[
    Literal["sliding", "anchored", "blocks"] | None,
    typer.Option(
        "--windows",
        help="How a history is cut: the newest K, from anchors, or each item in one block.",
        rich_help_panel=PROMPT,
    ),
]
HistoryLength = Annotated[
    int | None, typer.Option("--K", metavar="N", min=1, help="Newest items kept.", rich_help_panel=PROMPT)
]
Run = Annotated[str | None, typer.Option("--run", metavar="RUN", help="Run; default: the newest fine-tuned one.")]
Score = Annotated[
    Literal["catalog", "joint", "item", "mixture", "letters"] | None,
    typer.Option("--score", help="What ranks, of what the run has; default: the run's."),
]
