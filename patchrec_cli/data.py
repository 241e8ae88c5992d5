"""`patchrec data`: add, list, show, choose, remove and export data sets."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from patchrec_cli.command import Command, command_group
from patchrec_cli.display import Column, Output, print_fields, print_table
from patchrec_cli.items import app as items_app
from patchrec_cli.numbers import count, moment
from patchrec_cli.parameters import QUOTES, Json, Quiet, Quotes, home_of

app = command_group("data", "Add, list, show, choose, remove and export data sets.")
app.add_typer(items_app)
OWN_FILES = "Own files"
Name = Annotated[str, typer.Argument(metavar="NAME", help="Data set; see `patchrec data ls`.")]


def own(metavar: str, text: str) -> Any:
    """An option for own files, in their section of the help."""
    return typer.Option(metavar=metavar, help=text, rich_help_panel=OWN_FILES)


@app.command("add", cls=Command)
def add(
    ctx: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="ml-100k, ml-1m or goodreads; any other name with --interactions.")
    ],
    *,
    from_path: Annotated[
        Path | None, typer.Option("--from", metavar="PATH", help="Archive or folder to read instead of downloading.")
    ] = None,
    split: Annotated[
        Literal["paper", "temporal", "leave-one-out", "ratio"] | None,
        typer.Option(help="How targets are held out; default: the paper's rule, for own files one that fits."),
    ] = None,
    train: Annotated[float | None, typer.Option(metavar="SHARE", help="Share of train, such as 0.8.")] = None,
    validation: Annotated[float | None, typer.Option(metavar="SHARE", help="Share of validation.")] = None,
    noun: Annotated[str | None, typer.Option(metavar="WORD", help='What an item is, such as "movie".')] = None,
    verb: Annotated[str | None, typer.Option(metavar="WORD", help='What users did, such as "watched".')] = None,
    interactions: Annotated[
        list[Path] | None, own("FILE", "Interactions, one a line or row; repeat it for more files, read in that order.")
    ] = None,
    items: Annotated[Path | None, own("FILE", "Items with their titles.")] = None,
    file_format: Annotated[
        Literal["csv", "tsv", "jsonl", "parquet", "recbole"] | None,
        typer.Option("--format", help="Format of both files; default: by file ending.", rich_help_panel=OWN_FILES),
    ] = None,
    quotes: Annotated[Quotes | None, typer.Option("--quotes", help=QUOTES, rich_help_panel=OWN_FILES)] = None,
    user_col: Annotated[str | None, own("C", "Column of user ids; usually user_id.")] = None,
    item_col: Annotated[str | None, own("C", "Column of item ids in both files; usually item_id.")] = None,
    time_col: Annotated[str | None, own("C", "Column of times; usually timestamp.")] = None,
    rating_col: Annotated[str | None, own("C", "Column of ratings; usually rating.")] = None,
    title_col: Annotated[str | None, own("C", "Column of titles; usually title.")] = None,
    min_rating: Annotated[float | None, own("X", "Keep ratings from X on.")] = None,
    skip_bad: Annotated[
        bool,
        typer.Option(
            "--skip-bad", help="Leave out lines that cannot be used, and tell each.", rich_help_panel=OWN_FILES
        ),
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Add a data set: a known one by name, or your own files.

    Examples:
        patchrec data add ml-100k
        patchrec data add ml-1m --from ml-1m.zip
        patchrec data add shop --interactions log.csv --items goods.csv --user-col customer
    """
    from patchrec.operations import datasets

    output = Output(json, quiet)
    columns = {"user": user_col, "item": item_col, "time": time_col, "rating": rating_col, "title": title_col}
    shown = datasets.add_dataset(
        name,
        from_path=from_path,
        interactions=interactions,
        items=items,
        columns={role: column for role, column in columns.items() if column is not None},
        format=file_format,
        quotes=quotes,
        split=split,
        train=train,
        validation=validation,
        min_rating=min_rating,
        noun=noun,
        verb=verb,
        skip_bad=skip_bad,
        home=home_of(ctx),
        report=output.reporter,
    )
    if not output.emit({"dataset": shown}, [name]):
        print_fields(dataset_fields(shown))
    output.next_step(f"patchrec pretrain --data {name}", "patchrec eval --baseline popularity")


@app.command("ls", cls=Command)
def ls(ctx: typer.Context, json: Json = False, quiet: Quiet = False) -> None:
    """List the data sets."""
    from patchrec.operations import datasets

    output = Output(json, quiet)
    rows = datasets.list_datasets(home=home_of(ctx))
    if not output.emit({"datasets": rows}, [row["name"] for row in rows]) and rows:
        shown = [
            row
            | {"name": row["name"] + (" (in use)" if row["current"] else "")}
            | {"added": moment(row["created_at"])}
            | {key: count(row["summary"][key]) for key in ("users", "items", "interactions")}
            for row in rows
        ]
        columns = [
            Column("name", "name"),
            Column("users", "users", right=True),
            Column("items", "items", right=True),
            Column("interactions", "interactions", right=True),
            Column("added (UTC)", "added"),
        ]
        print_table(columns, shown)
    if not rows:
        output.next_step("patchrec data add ml-100k")


@app.command("show", cls=Command)
def show(ctx: typer.Context, name: Name, json: Json = False, quiet: Quiet = False) -> None:
    """Show a data set: its source, licence, sizes and split."""
    from patchrec.operations import datasets

    output = Output(json, quiet)
    shown = datasets.show_dataset(name, home=home_of(ctx))
    if not output.emit({"dataset": shown}, [shown["name"]]):
        print_fields(dataset_fields(shown))


@app.command("use", cls=Command)
def use(ctx: typer.Context, name: Name, json: Json = False, quiet: Quiet = False) -> None:
    """Choose the data set that commands take without --data."""
    from patchrec.operations import datasets

    output = Output(json, quiet)
    datasets.use_dataset(name, home=home_of(ctx))
    if not output.emit({"current": name}, [name]):
        print_fields({"in use": name})


@app.command("rm", cls=Command)
def rm(ctx: typer.Context, name: Name, json: Json = False, quiet: Quiet = False) -> None:
    """Remove a data set. Refused while runs were made with it: remove those first."""
    from patchrec.operations import datasets

    output = Output(json, quiet)
    datasets.remove_dataset(name, home=home_of(ctx))
    if not output.emit({"removed": name}, [name]):
        print_fields({"removed": name})


@app.command("export", cls=Command)
def export(
    ctx: typer.Context,
    name: Name,
    split: Annotated[Literal["train", "validation", "test"], typer.Option(help="Which targets.")] = "test",
    history_length: Annotated[int, typer.Option("--K", metavar="N", min=1, help="Newest items kept.")] = 100,
    file_format: Annotated[Literal["jsonl"], typer.Option("--format", help="One JSON document a line.")] = "jsonl",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Print every target of a split with its history as JSON lines, with --json and -q too.

    Each line has user_id, item_id, timestamp (unix seconds, null without times), position (of the target in the
    user's whole sequence, from 0) and history (item ids, oldest first).
    """
    from patchrec.operations import datasets

    for row in datasets.export_dataset(name, split=split, K=history_length, home=home_of(ctx)):
        sys.stdout.write(dump(row) + "\n")


def dump(row: dict[str, Any]) -> str:
    """One JSON document on one line, ASCII only."""
    return json.dumps(row, separators=(",", ":"))


def dataset_fields(shown: dict[str, Any]) -> dict[str, object]:
    """The fields of a data set as people read them."""
    summary, versions = shown["summary"], shown["versions"]
    later = versions[-1]["num_items"] - versions[0]["num_items"]
    targets = ", ".join(f"{split} {count(number)}" for split, number in shown["targets"].items())
    return {
        "name": shown["name"] + (" (in use)" if shown["current"] else ""),
        "source": shown["source"],
        "licence": shown["licence"],
        "users": count(summary["users"]),
        "items": f"{count(summary['items'])}, {count(summary['items_used'])} of them used",
        "titles": count(summary["titles"]),
        "interactions": f"{count(summary['interactions'])}; a user has {summary['shortest']} to {summary['longest']}",
        "targets": f"{targets}; after {shown['min_history']} items or more",
        "split": ", ".join(f"{key} {item}" for key, item in shown["split"].items()),
        "words": f"{shown['noun']}, {shown['verb']}",
        "added": moment(shown["created_at"]) + " UTC",
        "new items": f"{count(later)}, the last at {moment(versions[-1]['added_at'])} UTC" if later else None,
    }
