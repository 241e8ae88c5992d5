"""`patchrec blend`: several runs as one."""

from typing import Annotated, Any

import typer

from patchrec.errors import UsageError
from patchrec_cli.display import Column, Output, plain, print_fields, print_table
from patchrec_cli.marks import Name, Note, Tags, marks_of
from patchrec_cli.numbers import count, several, value
from patchrec_cli.parameters import Json, Quiet, home_of


def blend(
    ctx: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="RUN RUN...", help="Two to five runs of one data set.")],
    *,
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights", metavar="W,W,...", help="Of the runs, in their order; default: chosen on validation."
        ),
    ] = None,
    metric: Annotated[
        str, typer.Option("--metric", metavar="NAME", help="What the weights shall be best for, such as hr@10.")
    ] = "ndcg@20",
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="A sample of N validation targets.")] = 1000,
    repeats: Annotated[
        float | None,
        typer.Option(
            "--repeats", metavar="X", help="Odds of items that a user has had; default: learned; 1: as the runs say."
        ),
    ] = None,
    new_items: Annotated[
        bool | None,
        typer.Option(
            "--new-items/--no-new-items",
            help="Let one run speak of items that nobody chose, where validation has such targets.",
        ),
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(
            "--temperature", metavar="T", help="Below 1 surer than the runs in the mean; default: learned; 1: as they."
        ),
    ] = None,
    run_name: Name = None,
    note: Note = None,
    tags: Tags = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Mix runs into one that ranks by the weighted mean of their log-probabilities.

    Each run is asked once for every validation target, then all weights in eighths are compared. A run that adds
    nothing is left out, and where one run alone is best nothing is made.

    Examples:
        patchrec blend item-mean-1 item-knn-1 sasrec-1
        patchrec blend item-mean-1 item-knn-1 --metric hr@10
        patchrec blend item-mean-1 item-knn-1 --weights 1,3
    """
    from patchrec.operations import blend as operation

    output = Output(json, quiet)
    made = plain(
        operation.blend(
            names,
            weights=_numbers(weights),
            metric=metric,
            limit=limit,
            repeats=repeats,
            new_items=new_items,
            temperature=temperature,
            marks=marks_of(run_name, note, tags),
            home=home_of(ctx),
            report=output.reporter,
        )
    )
    if not output.emit(made, [made["run"]]):
        draw_blend(made)
    output.next_step(f"patchrec eval {made['run']}", f"patchrec recommend --user ID --run {made['run']}")


def _numbers(text: str | None) -> list[float] | None:
    """Read "3,1" as weights.

    Raises:
        UsageError: Not a list of numbers.
    """
    try:
        return None if text is None else [float(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"--weights takes numbers with commas between them, such as 3,1; got {text!r}") from None


def draw_blend(made: dict[str, Any]) -> None:
    """Print the runs with their weights, alone and together."""
    print_fields(
        {
            "run": made["run"],
            "targets": made["metric"]
            and f"{count(made['num_targets'])} (validation) of {several(made['num_users'], 'users')}",
        }
    )
    columns = [Column("run", "run"), Column("weight", "weight", right=True)]
    rows = [
        {"run": part["run"], "weight": f"{part['weight']:.3f}", "shown": _shown(part["alone"])}
        for part in made["parts"]
    ]
    if made["metric"]:
        columns.append(Column(made["metric"], "shown", right=True))
        rows.append({"run": made["run"], "weight": "", "shown": _shown(made["together"])})
    print_table(columns, rows, title=" ")
    if found := made["difference"]:
        gain = f"{_shown(found | {'value': found['difference']})} over {made['reference']} alone"
        print_fields({"gain": f"{gain}, on the targets that chose the weights"})
    if (had := made["repeated"]) is not None:
        told = f"{count(had)} of {count(made['num_targets'])} targets; odds of what a user has had"
        print_fields({"repeats": f"{told}: times {made['repeats']:.3g}"})
    if made["speaker"]:
        told = f"{count(made['new'])} of {count(made['num_targets'])} targets; {made['speaker']} speaks of them"
        told += f", odds times {made['new_items']:.3g}"
        print_fields({"new items": told})
    told_of = {"temperature": "its runs are in the mean", "new_temperature": f"{made['speaker']} is, of new items"}
    for key, than in told_of.items():
        if made[key] != 1:
            print_fields({"temperature": f"{made[key]:.3g}: {'surer' if made[key] < 1 else 'less sure'} than {than}"})


def _shown(interval: dict[str, float] | None) -> str:
    return "" if interval is None else value(interval["value"], interval["low"], interval["high"])
