"""`patchrec runs`: list, show, compare and remove runs, and choose the score they rank by."""

import sys
from typing import Annotated, Any, Literal

import typer

from patchrec.errors import UsageError
from patchrec_cli.command import Command, command_group
from patchrec_cli.display import Column, Output, plain, print_fields, print_note, print_table
from patchrec_cli.evaluate import compute_of
from patchrec_cli.numbers import count, duration, gigabytes, moment, value
from patchrec_cli.parameters import Data, Json, Quiet, home_of
from patchrec_cli.run_view import evaluation_rows, run_fields, watch_run
from patchrec_cli.slices import print_slices

app = command_group("runs", "List, show, compare and remove runs; choose their score.")
RunName = Annotated[str, typer.Argument(metavar="RUN", help="Run by name or the unique beginning of one.")]


@app.command("ls", cls=Command)
def ls(ctx: typer.Context, json: Json = False, quiet: Quiet = False) -> None:
    """List the runs, newest first."""
    from patchrec.operations import runs

    output = Output(json, quiet)
    rows = runs.list_runs(home=home_of(ctx))
    if not output.emit({"runs": rows}, [row["name"] for row in rows]) and rows:
        columns = [
            Column("run", "name"),
            Column("status", "status"),
            Column("data", "dataset"),
            Column("backbone", "backbone"),
            Column("strategy", "label"),
            Column("started (UTC)", "started"),
        ]
        print_table(columns, [row | {"started": moment(row["created_at"])} for row in rows])
    stopped = [row for row in rows if row["status"] == "interrupted"]
    if rows:
        output.next_step(f"patchrec runs show {rows[0]['name']}", *map(resume_command, stopped[:1]))
    else:
        output.next_step("patchrec pretrain", "patchrec finetune --strategy pft-s --L 5")


@app.command("show", cls=Command)
def show(
    ctx: typer.Context,
    run: RunName,
    watch: Annotated[
        bool, typer.Option("--watch", help="While it trains, show how far it is, every 2 s; Ctrl-C leaves it running.")
    ] = False,
    slices: Annotated[
        bool, typer.Option("--slices", help="Show how its newest evaluations did on slices of their targets.")
    ] = False,
    by: Annotated[
        list[str] | None,
        typer.Option("--by", metavar="FIELD", help="A field of the catalog whose values make slices, with --slices."),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show all that is kept of a run, also while it trains.

    Examples:
        patchrec runs show pft-s-1
        patchrec runs show pft-s-1 --slices --by genre
    """
    from patchrec.operations import runs
    from patchrec.operations.slices import slices_of

    output = Output(json, quiet)
    if by and not slices:
        raise UsageError("--by goes with --slices; add it")
    if watch and sys.stdout.isatty() and not (json or quiet):
        watch_run(run, home_of(ctx))
    shown = runs.show_run(run, home=home_of(ctx))
    cut = plain(slices_of(run, by=by or (), home=home_of(ctx))) if slices else []
    if output.emit({"run": shown, **({"slices": cut} if slices else {})}, [shown["name"]]):
        return
    if slices:
        for found in cut:
            targets = f"{count(found['num_targets'])} targets ({found['split']}) of {count(found['num_users'])} users"
            print_slices(found["metrics"], title=f"{shown['name']}: {targets}, over items, seen items dropped")
        return
    print_fields(run_fields(shown))
    if shown["evaluations"]:
        columns = [
            Column("split", "split"),
            Column("score", "score"),
            Column("targets", "num_targets", right=True),
            Column("metric", "name"),
            Column("value [95 % interval]", "value", right=True),
        ]
        print_table(columns, [row for evaluation in shown["evaluations"] for row in evaluation_rows(evaluation)])
        print_table(
            [
                Column("split", "split"),
                Column("prompt tokens", "prompt", right=True),
                Column("catalog tokens", "catalog", right=True),
                Column("compute", "compute", right=True),
                Column("time", "time", right=True),
                Column("peak memory", "memory", right=True),
            ],
            [cost_cells(evaluation) for evaluation in shown["evaluations"]],
            title="\nwhat a target cost",
        )
    if shown["status"] == "interrupted" or (shown["status"] in ("lost", "failed") and shown["checkpoints"]):
        output.next_step(resume_command(shown))
    elif shown["status"] == "running" and not watch:
        output.next_step(f"patchrec runs show {shown['name']} --watch")
    elif shown["status"] == "done" and not shown["evaluations"]:
        output.next_step(f"patchrec eval {shown['name']}")


@app.command("compare", cls=Command)
def compare(
    ctx: typer.Context,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="RUN", help="Runs; default: all that are evaluated on the same data.")
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option("--metric", metavar="NAME", help="What differences are taken in, such as ndcg@10; default: mrr."),
    ] = None,
    split: Annotated[Literal["validation", "test"], typer.Option("--split", help="Whose targets.")] = "test",
    data: Data = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare evaluated runs on the targets that they share.

    Intervals and paired differences resample users. The first run is the reference.

    Examples:
        patchrec runs compare
        patchrec runs compare pft-s-1 pft-i-1 --metric ndcg@10
    """
    from patchrec.operations import runs

    output = Output(json, quiet)
    table = runs.compare_runs(
        names or [], metric=metric, split=split, data=data, home=home_of(ctx), report=output.reporter
    )
    if not output.emit(table, [row["run"] for row in table["rows"]]):
        draw_comparison(table)


@app.command("choose-score", cls=Command)
def choose_score(
    ctx: typer.Context,
    run: Annotated[str | None, typer.Argument(metavar="RUN", help="Run; default: the newest fine-tuned one.")] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="A sample of N validation targets.")] = 200,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Choose on validation targets which score a run ranks by, and store it.

    A run of titles ranks by joint where that is better by more than chance, else by catalog, which costs less. A run of
    two heads ranks by their mixture, with the weight that is best here, unless one head alone is better by more than
    chance.
    """
    from patchrec.operations import score_choice

    output = Output(json, quiet)
    choice = plain(score_choice.choose_score(run, limit=limit, home=home_of(ctx), report=output.reporter))
    if not output.emit(choice, [choice["chosen"]]):
        draw_choice(choice)
    output.next_step(f"patchrec eval {choice['run']}")


@app.command("rm", cls=Command)
def rm(ctx: typer.Context, run: RunName, json: Json = False, quiet: Quiet = False) -> None:
    """Remove a run with its evaluations and checkpoints."""
    from patchrec.operations import runs

    output = Output(json, quiet)
    name = runs.remove_run(run, home=home_of(ctx))
    if not output.emit({"removed": name}, [name]):
        print_fields({"removed": name})


def cost_cells(evaluation: dict[str, Any]) -> dict[str, object]:
    """What a target of an evaluation cost; what an older one did not measure is not there."""
    cost = evaluation["cost"]
    prompt, catalog = cost.get("prompt_tokens_per_target"), cost.get("catalog_tokens_per_target")
    memory = cost.get("peak_memory_bytes")
    return {
        "split": evaluation["split"],
        "prompt": None if prompt is None else f"{prompt:,.1f}",
        "catalog": None if catalog is None else f"{catalog:,.1f}",
        "compute": compute_of(cost),
        "time": duration(cost.get("seconds_per_target")),
        "memory": None if memory is None else gigabytes(memory),
    }


def resume_command(run: dict[str, Any]) -> str:
    """What goes on with a stopped run."""
    return f"patchrec {run['command']} --resume {run['name']}"


def draw_choice(choice: dict[str, Any]) -> None:
    """Print the scores side by side, the difference that decides and what was chosen."""
    print_fields(
        {
            "run": f"{choice['run']} ({choice['label']})",
            "targets": f"{count(choice['num_targets'])} (validation) of {count(choice['num_users'])} users",
        }
    )
    columns = [
        Column("score", "score"),
        Column(choice["metric"], "shown", right=True),
        Column("tokens/target", "tokens", right=True),
        Column("time/target", "time", right=True),
    ]
    rows = [
        {
            "score": row["score"] if row["item_weight"] is None else f"{row['score']} {row['item_weight']:g}",
            "shown": value(row["value"], row["low"], row["high"]),
            "tokens": f"{row['tokens_per_target']:,.1f}",
            "time": duration(row["seconds_per_target"]),
        }
        for row in choice["results"]
    ]
    print_table(columns, rows, title=" ")
    found = choice["difference"]
    difference = f"{value(found['difference'], found['low'], found['high'])}, p = {found['p_value']:.4f}"
    weight = "" if choice["item_weight"] is None else f", item head at {choice['item_weight']:g}"
    print_fields(
        {
            f"{choice['alternative']} minus {choice['reference']}": difference,
            "ranks by": f"{choice['chosen']}{weight} (before: {choice['before']})",
        }
    )


def draw_comparison(table: dict[str, Any]) -> None:
    """Print a comparison: metrics under both rules for seen items, differences, compression and cost."""
    print_fields(
        {
            "data": table["dataset"],
            "targets": f"{count(table['num_targets'])} ({table['split']}) of {count(table['num_users'])} users",
        }
    )
    first_k = next((name.partition("@")[2] for name in table["metrics"] if "@" in name), "10")
    names = [f"hr@{first_k}", f"ndcg@{first_k}", "mrr", "log_prob"]
    for seen in ("dropped", "kept"):
        views: set[tuple[str, str]] = {("item", seen)} | ({("title", "kept")} if seen == "dropped" else set())
        rows = [{"run": row["run"]} | metric_cells(row["metrics"], views) for row in table["rows"]]
        columns = [Column(name, name, right=True) for name in names if any(name in row for row in rows)]
        title = f"\nover items, seen items {seen}, with 95 % intervals over users"
        print_table([Column("run", "run"), *columns], rows, title=title)
    differences = [difference_row(row) for row in table["rows"] if row["difference"]]
    if differences:
        columns = [
            Column("run", "run"),
            Column(f"{table['metric']} minus that of {table['reference']}", "difference", right=True),
            Column("p", "p", right=True),
            Column("p (Holm)", "p_adjusted", right=True),
        ]
        print_table(columns, differences, title="\npaired difference on the same targets")
    columns = [
        Column("run", "run"),
        Column("strategy", "label"),
        *(Column(name, name, right=True) for name in ("paper", "history", "prompt")),
        Column("tokens/target", "tokens", right=True),
        Column("time/target", "time", right=True),
    ]
    print_table(columns, [cost_row(row) for row in table["rows"]], title="\ncompression ratios and cost")
    for note in table["notes"]:
        print_note(f"note: {note}")


def metric_cells(metrics: list[dict[str, Any]], views: set[tuple[str, str]]) -> dict[str, object]:
    """Metric -> its value over its interval, for metrics of these views; the log-probability has one view alone."""
    return {
        row["name"]: tuple(value(row["value"], row["low"], row["high"]).split(" ", 1))
        for row in metrics
        if (row["level"], row["seen"]) in views and (row["level"] == "item" or row["name"] == "log_prob")
    }


def difference_row(row: dict[str, Any]) -> dict[str, object]:
    """A run's difference to the reference."""
    found = row["difference"]
    return {
        "run": row["run"],
        "difference": value(found["difference"], found["low"], found["high"]),
        "p": f"{found['p_value']:.4f}",
        "p_adjusted": f"{found['p_adjusted']:.4f}",
    }


def cost_row(row: dict[str, Any]) -> dict[str, object]:
    """What a target cost one run."""
    ratios = {name: None if ratio is None else f"{ratio:.2f}" for name, ratio in row["compression"].items()}
    tokens, seconds = row["tokens_per_target"], row["seconds_per_target"]
    return {
        "run": row["run"],
        "label": row["label"],
        **ratios,
        "tokens": None if tokens is None else f"{tokens:,.1f}",
        "time": duration(seconds),
    }
