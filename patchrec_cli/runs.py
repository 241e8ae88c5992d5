"""`patchrec runs`: list, show, compare, query, mark and remove runs, and choose the score they rank by."""

import sys
from typing import Annotated, Any, Literal

import typer

from patchrec.errors import UsageError
from patchrec_cli.command import Command, command_group
from patchrec_cli.comparison import Tagged, Where, compare
from patchrec_cli.display import Column, Output, plain, print_fields, print_note, print_table
from patchrec_cli.marks import edit
from patchrec_cli.numbers import count, duration, moment, several, value
from patchrec_cli.parameters import Json, Quiet, home_of
from patchrec_cli.pictures import plot, report
from patchrec_cli.queries import query
from patchrec_cli.run_view import draw_costs, draw_evaluations, draw_protocols, run_fields, watch_run
from patchrec_cli.seeds import folded, show_group, shown_seeds
from patchrec_cli.slices import print_slices
from patchrec_cli.trash import gc, restore, rm

app = command_group("runs", "List, show, compare, query, mark and remove runs; choose their score.")
MOST_FAULTS = 5  # that a listing tells
RunName = Annotated[
    str, typer.Argument(metavar="RUN", help="Run or group of seeds, by name or the unique beginning of one.")
]


@app.command("ls", cls=Command)
def ls(
    ctx: typer.Context,
    where: Where = None,
    tags: Tagged = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", metavar="N", min=1, help="The newest N of them; a group of seeds counts as one."),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """List the runs, newest first; those of a group of seeds in one line.

    Examples:
        patchrec runs ls --tag paper
        patchrec runs ls --where "status = 'done' and created >= '2026-11-01' and K = 100"
    """
    from patchrec.operations import datasets, runs

    output = Output(json, quiet)
    rows = runs.list_runs(where=where, tags=tags or (), limit=limit, home=home_of(ctx))
    if not output.emit({"runs": rows}, [row["name"] for row in rows]) and rows:
        columns = [
            Column("run", "name"),
            Column("status", "status"),
            Column("data", "dataset"),
            Column("backbone", "backbone"),
            Column("strategy", "label"),
            Column("seed", "seeds", right=True),
            Column("started (UTC)", "started"),
        ]
        if any(row["tags"] for row in rows):
            columns.append(Column("tags", "marks"))
        shown = [row | {"started": moment(row["created_at"]), "marks": " ".join(row["tags"])} for row in folded(rows)]
        print_table(columns, shown, listing=True)
        print_faults(rows)
    stopped = [row for row in rows if row["status"] in ("interrupted", "waiting")]
    if rows:
        output.next_step(f"patchrec runs show {rows[0]['name']}", *map(resume_command, stopped[:1]))
    elif where is not None or tags:
        if not (quiet or json):
            print_note("note: no run fits")
        output.next_step("patchrec runs ls")
    elif not datasets.list_datasets(home=home_of(ctx)):
        output.next_step("patchrec data add ml-100k")
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
    """Show all that is kept of a run, also while it trains; of a group of seeds its runs and means.

    Examples:
        patchrec runs show pft-s-1
        patchrec runs show pft-s-1 --slices --by genre
    """
    from patchrec.operations import runs
    from patchrec.operations.seed_groups import show_seed_group
    from patchrec.operations.slices import slices_of

    output = Output(json, quiet)
    if by and not slices:
        raise UsageError("--by goes with --slices; add it")
    group = show_seed_group(run, home=home_of(ctx))
    if group is None and watch and sys.stdout.isatty() and not (json or quiet):
        watch_run(run, home_of(ctx))
    shown = runs.show_run(run, home=home_of(ctx)) if group is None else group
    cut = plain(slices_of(run, by=by or (), home=home_of(ctx))) if slices else []
    names = [shown["name"]] if group is None else [one["name"] for one in group["runs"]]
    if output.emit({"run" if group is None else "group": shown, **({"slices": cut} if slices else {})}, names):
        return
    if slices:
        draw_slices(shown["name"], cut)
    elif group is not None:
        show_group(plain(group), output)
    else:
        draw_run(shown, output, watch=watch)


def draw_run(shown: dict[str, Any], output: Output, *, watch: bool) -> None:
    """Print all that is kept of a run, and how to go on."""
    print_fields(run_fields(shown))
    draw_evaluations(shown["evaluations"])
    draw_protocols(shown["protocols"])
    draw_costs(shown["evaluations"])
    if shown["status"] in ("interrupted", "lost", "waiting") or (shown["status"] == "failed" and shown["checkpoints"]):
        output.next_step(resume_command(shown))
    elif shown["status"] == "running" and not watch:
        output.next_step(f"patchrec runs show {shown['name']} --watch")
    elif shown["status"] == "done" and not shown["evaluations"]:
        output.next_step(f"patchrec eval {shown['name']}")


app.command("compare", cls=Command)(compare)


@app.command("export", cls=Command)
def export(
    ctx: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="RUN...", help="Runs; see `patchrec runs ls`.")],
    *,
    to: Annotated[Literal["mlflow", "trackio"], typer.Option("--to", help="Which tracker; an extra of its own.")],
    project: Annotated[
        str, typer.Option("--project", metavar="NAME", help="Project there (MLflow: experiment).")
    ] = "patchrec",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Copy settings, loss curves and metrics of runs into a tracker of experiments.

    Where it writes, the tracker decides by its own settings, such as MLFLOW_TRACKING_URI.

    Examples:
        patchrec runs export pft-s-1 vanilla-1 --to mlflow
        patchrec runs export pft-s-1 --to trackio --project movies
    """
    from patchrec.operations.exporting import tracking

    output = Output(json, quiet)
    found = plain(tracking.track_runs(names, to, project=project, home=home_of(ctx)))
    if not output.emit({"tracked": found}, [row["run"] for row in found]):
        columns = [Column(name, name, right=name in ("settings", "values")) for name in found[0]]
        print_table(columns, found)


app.command("plot", cls=Command)(plot)
app.command("report", cls=Command)(report)


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


app.command("query", cls=Command)(query)
app.command("edit", cls=Command)(edit)
app.command("rm", cls=Command)(rm)
app.command("restore", cls=Command)(restore)
app.command("gc", cls=Command)(gc)


def draw_slices(name: str, cut: list[dict[str, Any]]) -> None:
    """Print the slices of the newest evaluations of a run or of a group of seeds."""
    for found in cut:
        targets = (
            f"{several(found['num_targets'], 'targets')} ({found['split']}) of {several(found['num_users'], 'users')}"
        )
        seeds = f", seeds {shown_seeds(found['seeds'])}" if found["evaluation"] is None else ""
        print_slices(found["metrics"], title=f"{name}: {targets}{seeds}, over items, seen items dropped")


def print_faults(rows: list[dict[str, Any]]) -> None:
    """Say which runs cannot be used as they are, and what mends each."""
    found = [f"{row['name']}: {fault['what']}; {fault['fix']}" for row in rows for fault in row["faults"]]
    for line in found[:MOST_FAULTS]:
        print_note(f"note: {line}")
    if len(found) > MOST_FAULTS:
        print_note(f"note: and {count(len(found) - MOST_FAULTS)} more; see `patchrec doctor`")


def resume_command(run: dict[str, Any]) -> str:
    """What goes on with a stopped run, or with the whole group of one that waits."""
    waits = run["status"] == "waiting" and run.get("group") is not None
    return f"patchrec {run['command']} --resume {run['group' if waits else 'name']}"


def draw_choice(choice: dict[str, Any]) -> None:
    """Print the scores side by side, the difference that decides and what was chosen."""
    print_fields(
        {
            "run": f"{choice['run']} ({choice['label']})",
            "targets": f"{count(choice['num_targets'])} (validation) of {several(choice['num_users'], 'users')}",
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
