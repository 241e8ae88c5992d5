"""`patchrec strategies`: what can compress a history, and what a strategy does to one."""

from typing import Annotated, Any

import typer

from patchrec.errors import flag_of
from patchrec_cli.command import Command, command_group
from patchrec_cli.display import Column, Output, print_fields, print_lines, print_note, print_table
from patchrec_cli.named_options import STRATEGIES, StrategyCommand, option_values
from patchrec_cli.parameters import Data, HistoryLength, Json, PromptForm, Quiet, Windows, home_of

app = command_group("strategies", "List strategies, show one, preview what it does to a history.")


@app.command("ls", cls=Command)
def ls(json: Json = False, quiet: Quiet = False) -> None:
    """List strategies and plugins that could not be loaded."""
    from patchrec.operations import strategies

    output = Output(json, quiet)
    listing = strategies.list_strategies()
    rows = listing["strategies"]
    if not output.emit(listing, [row["name"] for row in rows]):
        shown = [row | {"options": " ".join(flag_of(option["name"]) for option in row["options"])} for row in rows]
        columns = [
            Column("name", "name"),
            Column("options", "options"),
            Column("what it does", "summary"),
            Column("from", "plugin"),
        ]
        print_table(columns, shown)
    if not output.quiet:
        for problem in listing["problems"]:
            print_note(f"plugin {problem['plugin']!r}: {problem['message']}")
    output.next_step("patchrec strategies preview --strategy pft-s --length 20")


@app.command("show", cls=Command)
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Strategy; see `patchrec strategies ls`.")],
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show what a strategy does, its options and what brings it."""
    from patchrec.operations import strategies

    output = Output(json, quiet)
    shown = strategies.show_strategy(name)
    if output.emit({"strategy": shown}, [shown["name"]]):
        return
    print_fields({"name": shown["name"], "what it does": shown["summary"], "from": shown["plugin"]})
    if shown["options"]:
        columns = [
            Column("option", "flag"),
            Column("type", "type"),
            Column("default", "default"),
            Column("meaning", "help"),
        ]
        rows = [option | {"flag": flag_of(option["name"])} for option in shown["options"]]
        print_table(columns, rows, title=" ")
    output.next_step(f"patchrec strategies preview --strategy {name} --length 20")


@app.command("preview", cls=StrategyCommand)
def preview(
    ctx: typer.Context,
    *,
    strategy: Annotated[
        str | None, typer.Option("--strategy", metavar="NAME", help="Strategy; see `patchrec strategies ls`.")
    ] = None,
    user: Annotated[str | None, typer.Option("--user", metavar="ID", help="Lay out this user's history.")] = None,
    length: Annotated[
        int | None, typer.Option("--length", metavar="N", min=0, help="Lay out a made-up history of N items.")
    ] = None,
    data: Data = None,
    backbone: Annotated[
        str | None, typer.Option("--backbone", metavar="NAME", help="Also show what this model reads.")
    ] = None,
    run: Annotated[
        str | None, typer.Option("--run", metavar="RUN", help="Take strategy, data, prompt and model from a run.")
    ] = None,
    prompt: PromptForm = None,
    windows: Windows = None,
    history_length: HistoryLength = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show how a strategy lays out a history.

    With a backbone or a run it also shows what the model reads: for every input its weighted bag of tokens.

    Examples:
        patchrec strategies preview --strategy pft-s --L 5 --user 42
        patchrec strategies preview --strategy pft-i --length 20 --json
        patchrec strategies preview --run pft-s-1 --user 42 --json
    """
    from patchrec.operations import strategies

    output = Output(json, quiet)
    shown = strategies.preview(
        strategy,
        option_values(ctx, STRATEGIES, strategy),
        user=user,
        length=length,
        data=data,
        backbone=backbone,
        run=run,
        prompt=prompt,
        windows=windows,
        K=history_length,
        home=home_of(ctx),
        report=output.reporter,
    )
    lines = [f"{span['start']} {span['stop']} {span['grain']}" for span in shown["spans"]]
    if not output.emit(shown, lines):
        draw(shown)


def draw(shown: dict[str, Any]) -> None:
    """Print a preview: the layout, its spans and, where a model was named, the prompt as text with markers."""
    owner = f" of user {shown['user']}" if shown["user"] else ""
    print_fields(
        {
            "strategy": shown["label"],
            "history": f"{len(shown['history'])} items{owner}, from position {shown['start']}",
            "units": shown["num_units"],
            "inputs": len(shown["positions"]) if "positions" in shown else None,
        }
    )
    columns = [
        Column("start", "start", right=True),
        Column("stop", "stop", right=True),
        Column("items", "items", right=True),
        Column("grain", "grain"),
        *([Column("titles", "titles")] if shown["user"] else []),
    ]
    rows = [
        span | {"items": span["stop"] - span["start"], "titles": shorten(span.get("titles", []))}
        for span in shown["spans"]
    ]
    print_table(columns, rows, title=" ")
    if "text" in shown:
        print_lines(["", shown["text"]])


def shorten(titles: list[str], limit: int = 3) -> str:
    """The first titles of a span and how many more there are."""
    more = len(titles) - limit
    return " | ".join(titles[:limit]) + (f" | and {more} more" if more > 0 else "")
