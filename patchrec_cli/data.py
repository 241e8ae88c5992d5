"""`patchrec data`: add, list, show, choose, remove and export data sets."""

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from patchrec.errors import UsageError
from patchrec_cli import growing
from patchrec_cli import own_files as own
from patchrec_cli.command import Command, command_group
from patchrec_cli.display import Column, Output, plain, print_fields, print_table
from patchrec_cli.items import app as items_app
from patchrec_cli.numbers import count, moment, several
from patchrec_cli.parameters import Json, Quiet, home_of

app = command_group("data", "Add, list, show, choose, remove and export data sets.")
app.add_typer(items_app)
Name = Annotated[str, typer.Argument(metavar="NAME", help="Data set; see `patchrec data ls`.")]
FEW_DAYS = 3 * 86_400_000  # milliseconds


@app.command("add", cls=Command)
@own.takes_files(own.OF_ADDING)
def add(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name of your own, or a known one (see below).")],
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILE", help="Interactions and items: which is which is found out."),
    ] = None,
    *,
    from_path: Annotated[
        Path | None, typer.Option("--from", metavar="PATH", help="Archive or folder of a known data set.")
    ] = None,
    split: Annotated[
        Literal["paper", "temporal", "leave-one-out", "ratio"] | None,
        typer.Option(help="How targets are held out; default: the paper's rule, for own files one that fits."),
    ] = None,
    train: Annotated[float | None, typer.Option(metavar="SHARE", help="Share of train, such as 0.8.")] = None,
    validation: Annotated[float | None, typer.Option(metavar="SHARE", help="Share of validation.")] = None,
    noun: Annotated[str | None, typer.Option(metavar="WORD", help='What an item is, such as "movie".')] = None,
    verb: Annotated[str | None, typer.Option(metavar="WORD", help='What users did, such as "watched".')] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Take the place of a data set of this name, unless it has runs.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what the files seem to hold; store nothing.")] = False,
    interactions: Annotated[
        list[str] | None,
        own.option("--interactions", "FILE", "File, folder, pattern, archive or -; repeat it.", own.FILES),
    ] = None,
    items: Annotated[
        list[str] | None, own.option("--items", "FILE", "Items with their titles, alike.", own.FILES)
    ] = None,
    recipe: Annotated[
        str | None, own.option("--recipe", "NAME|FILE", "Options from a TOML file, or a known recipe.", own.FILES)
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    **of_files: Any,
) -> None:
    """Add a data set: a known one by name, or your own files.

    Downloaded: ml-100k, ml-1m. With --from PATH: those, goodreads, and the recipes amazon-2014, amazon-2023,
    amazon-movies, amazon-toys, book-crossing, diginetica, gowalla, h-and-m, kuairec, lastfm-hetrec, mind, ml-latest,
    online-retail, retailrocket, steam, taobao, yelp, yoochoose.

    Examples:
        patchrec data add ml-100k
        patchrec data add amazon-toys --from Toys/
        patchrec data add shop orders.csv products.csv --dry-run
        patchrec data add shop --interactions log.csv --items goods.csv --user-col customer
        patchrec data add book-crossing --from BX-CSV-Dump.zip
    """
    from patchrec.operations import datasets

    output = Output(json, quiet)
    options = {
        "interactions": interactions,
        "items": items,
        "noun": noun,
        "verb": verb,
        "split": split,
        "train": train,
        "validation": validation,
    }
    given = own.given(of_files) | {key: value for key, value in options.items() if value not in (None, [])}
    if dry_run:
        plan = datasets.plan_dataset(
            name, from_path=from_path, recipe=recipe, files=files or (), home=home_of(ctx), **given
        )
        if not output.emit({"plan": plan}, [plan["command"]]):
            print_plan(plan)
        return
    shown = datasets.add_dataset(
        name,
        from_path=from_path,
        recipe=recipe,
        files=files or (),
        rejects=of_files["rejects"],
        replace=replace,
        home=home_of(ctx),
        report=output.reporter,
        **given,
    )
    if not output.emit({"dataset": shown}, [name]):
        print_fields(dataset_fields(shown))
    targets = shown["targets"]  # where some are missing it is told how to have them
    output.next_step(
        *([f"patchrec demo --data {name}"] if all(targets.values()) else []),
        *([f"patchrec pretrain --data {name}"] if targets["train"] else []),
    )


app.command("append", cls=Command)(growing.append)


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
def show(
    ctx: typer.Context,
    name: Name,
    backbone: Annotated[
        str | None, typer.Option(metavar="NAME", help="Say what this backbone's tokenizer makes of the titles, too.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show a data set: its source, licence, sizes and split, and what is to know of its titles."""
    from patchrec.operations import catalog_audit, datasets

    output = Output(json, quiet)
    shown = datasets.show_dataset(name, home=home_of(ctx))
    findings = catalog_audit.audit_dataset(name, backbone=backbone, home=home_of(ctx))
    if not output.emit({"dataset": shown, "findings": findings}, [shown["name"]]):
        to_know = tuple(f"{one['said']}: {one['mend']}" for one in findings)
        print_fields({**dataset_fields(shown), "to know": to_know or None})


app.command("users", cls=Command)(growing.users)


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
    split: Annotated[
        Literal["train", "validation", "test"] | None, typer.Option(help="Which targets are printed; default: test.")
    ] = None,
    history_length: Annotated[int, typer.Option("--K", metavar="N", min=1, help="Newest items kept.")] = 100,
    file_format: Annotated[
        Literal["jsonl", "csv", "recbole", "recbole-sequential"],
        typer.Option("--format", help="JSON lines are printed; the others are files of all splits."),
    ] = "jsonl",
    output: Annotated[
        Path | None, typer.Option("--output", metavar="DIR", help="New folder for the files of all splits.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Print the targets of a split as JSON lines, or write all splits as files for other programs to train on.

    Each line has user_id, item_id, timestamp (unix seconds, null without times), position (of the target in the
    user's whole sequence, from 0) and history (item ids, oldest first), with --json and -q too. Files have the train
    split whole, and of the others the targets; recbole-sequential has a row for each target, with its history.

    Examples:
        patchrec data export ml-100k --split test
        patchrec data export ml-100k --format csv --output splits
        patchrec data export ml-100k --format recbole-sequential --K 50 --output recbole/ml-100k
    """
    from patchrec.operations import datasets

    if file_format != "jsonl":
        if split is not None or output is None:
            raise UsageError(
                f"--format {file_format} writes all splits into a folder: "
                + ("name it with --output DIR" if output is None else "drop --split")
            )
        from patchrec.operations.exporting.splits import export_splits

        shown = Output(json, quiet)
        found = plain(export_splits(name, output, kind=file_format, K=history_length, home=home_of(ctx)))
        if not shown.emit(found, [found["folder"]]):
            rows = tuple(f"{file}: {count(number)} rows" for file, number in found["rows"].items())
            print_fields({"folder": found["folder"], "files": rows})
        shown.next_step(f"patchrec eval --predictions FILE --data {found['dataset']}")
        return
    if output is not None:
        raise UsageError("--format jsonl is printed; drop --output, or take --format csv or recbole")
    split = split or "test"
    for row in datasets.export_dataset(name, split=split, K=history_length, home=home_of(ctx)):
        sys.stdout.write(dump(row) + "\n")


def dump(row: dict[str, Any]) -> str:
    """One JSON document on one line, ASCII only."""
    return json.dumps(row, separators=(",", ":"))


def read_fields(account: dict[str, Any]) -> dict[str, object]:
    """What became of the rows of own files, where some were not kept."""
    found: dict[str, object] = {}
    for what, one in account.items():
        reasons = [*one["rejected"].items(), *one["left_out"].items()]
        if reasons:
            shown = "; ".join(f"{count(number)} {reason}" for reason, number in reasons)
            found[f"{what} read"] = f"{count(one['read'])}; {count(one['kept'])} kept; {shown}"
    return found


def core_said(core: dict[str, int] | None) -> str | None:
    """What `--core` left out."""
    if core is None:
        return None
    out = ", ".join(f"{key} {count(core[key])}" for key in ("users", "items", "interactions"))
    return f"{core['core']}; left out: {out}"


def cold_said(cold: dict[str, Any] | None) -> str | None:
    """What `--cold-items` drew and left out."""
    if cold is None:
        return None
    drawn = f"{count(cold['items'])} drawn ({cold['share']}, seed {cold['seed']})"
    named = {"users": "users", "interactions": "interactions", "targets": "test targets"}
    out = ", ".join(f"{words} {count(cold[key])}" for key, words in named.items() if cold[key])
    return f"{drawn}, {count(cold['in_test'])} of them in test" + (f"; left out: {out}" if out else "")


def items_said(summary: dict[str, Any]) -> str:
    """How many items there are and occur; stores of earlier versions do not say how many the test split alone has."""
    alone = summary.get("items_test_only")
    used = f"{count(summary['items'])}, {count(summary['items_used'])} of them used"
    return used + (f", {count(alone)} in the test split alone" if alone else "")


def print_plan(plan: dict[str, Any]) -> None:
    """What files seem to hold, as people read it."""
    for table in plan["tables"]:
        sep = "" if table["sep"] is None else f", separated by {table['sep']!r}"
        files = ", ".join(table["files"][:5]) + (f" and {len(table['files']) - 5} more" * (len(table["files"]) > 5))
        title = f"{table['what']}: {files} ({table['format']}{sep}, {table['encoding']})"
        rows = [
            {"column": one["name"], "role": one["role"] or "-", "values": " | ".join(map(clip, one["examples"]))}
            for one in table["columns"]
        ]
        print_table(
            [Column("column", "column"), Column("taken for", "role"), Column("values", "values")], rows, title=title
        )
        sys.stdout.write("\n")
    times = plan["times"]
    print_fields(
        {
            "looked at": f"{several(plan['num_rows'], 'interactions')}, {several(plan['num_users'], 'users')}, "
            f"{several(plan['num_items'], 'items')}",
            "times": span(*times) if times else "none: the order of the file is the order of time",
            "rejected": "; ".join(f"{count(number)} {reason}" for reason, number in plan["rejected"].items()) or None,
            "to know": tuple(plan["notices"]) or None,
            "fault": plan["fault"],
            "command": plan["command"],
        }
    )


def clip(text: str) -> str:
    """A value in a table."""
    return text if len(text) <= 24 else text[:23] + "…"


def span(first: int, last: int) -> str:
    """Two moments as days, with their minutes where there are few days between them."""
    form = "%Y-%m-%d" if last - first >= FEW_DAYS else "%Y-%m-%d %H:%M"
    begin = datetime(1970, 1, 1, tzinfo=UTC)
    return " to ".join((begin + timedelta(milliseconds=one)).strftime(form) for one in (first, last))


def dataset_fields(shown: dict[str, Any]) -> dict[str, object]:
    """The fields of a data set as people read them."""
    text = shown["split"].get("title") or shown["split"].get("recipe", {}).get("title")
    summary, versions = shown["summary"], shown["versions"]
    own_line = ("interactions_read", "title")
    split = {key: value for key, value in shown["split"].items() if key not in own_line}
    later = versions[-1]["num_items"] - versions[0]["num_items"]
    targets = ", ".join(f"{split} {count(number)}" for split, number in shown["targets"].items())
    return {
        "name": shown["name"] + (" (in use)" if shown["current"] else ""),
        "source": shown["source"],
        "licence": shown["licence"],
        "users": count(summary["users"]),
        "items": items_said(summary),
        "titles": count(summary["titles"]) + (f", made as {text!r}" if text else ""),
        "interactions": f"{count(summary['interactions'])}; a user has {summary['shortest']} to {summary['longest']}",
        **read_fields(shown["split"].get("account", {})),
        "core": core_said(shown["split"].get("core_left_out")),
        "cold items": cold_said(shown["split"].get("cold_items_left_out")),
        "targets": f"{targets}; after {several(shown['min_history'], 'items')} or more",
        "split": ", ".join(f"{key} {said_of(key, item)}" for key, item in split.items() if not isinstance(item, dict)),
        "words": f"{shown['noun']}, {shown['verb']}",
        "added": moment(shown["created_at"]) + " UTC",
        "new items": f"{count(later)}, the last at {moment(versions[-1]['added_at'])} UTC" if later else None,
        "version": growth_field(shown["data_versions"]),
    }


def said_of(key: str, item: object) -> object:
    """What a split says of itself, as people read it: moments as days."""
    return f"{growing.at(item)} UTC" if isinstance(item, int) and key.endswith("_until") else item


def growth_field(versions: list[dict[str, Any]]) -> str | None:
    """What came after the data set was added, as people read it; None where nothing did."""
    if len(versions) < 2:
        return None
    later = versions[-1]["num_interactions"] - versions[0]["num_interactions"]
    last = versions[-1]["added_at"]
    return f"{versions[-1]['version']}; {several(later, 'interactions')} appended, the last at {moment(last)} UTC"
