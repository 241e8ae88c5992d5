"""`patchrec sweep`: many runs from one file."""

from pathlib import Path
from typing import Annotated, Any

import typer

from patchrec_cli.comparison import draw_comparison
from patchrec_cli.display import Column, Output, plain, print_fields, print_table
from patchrec_cli.numbers import count, value
from patchrec_cli.parameters import Json, Quiet, home_of
from patchrec_cli.seeds import shown_seeds


def sweep(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="TOML: data, seeds, metric, and [[run]] tables.")],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would run; no run is made.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fit a grid or a list of runs, choose on validation, and compare the chosen ones on the test split.

    What is done is used again, so the same command goes on where it was stopped, and several processes that are given
    it share the work. The test split is read once, at the end, for the best run of each name.

    A [[part]] of the file, such as a pre-training, is fitted first for those that name it: from = "@PART".

    Examples:
        patchrec sweep examples/sweep.toml --dry-run
        patchrec sweep examples/sweep.toml
    """
    from patchrec.operations.sweeping.sweep import sweep as operation

    output = Output(json, quiet)
    found = plain(operation(file, dry_run=dry_run, home=home_of(ctx), report=output.reporter))
    lines = [line["run"] or line["setting"] for line in found["lines"]] if dry_run else found["chosen"]
    if not output.emit(found, lines):
        draw_lines(found)
        if found["comparison"]:
            print_table([Column("", "said")], [{"said": test_said(found)}], title=" ")
            draw_comparison(found["comparison"])
    if dry_run:
        output.next_step("the same command without --dry-run")


def draw_lines(found: dict[str, Any]) -> None:
    """Print every line of a sweep with what validation says of it."""
    print_fields(
        {
            "data": found["dataset"],
            "runs": f"{count(found['num_runs'])}, {count(found['to_fit'])} to fit and {count(found['to_evaluate'])} to "
            "evaluate on validation" + ("" if found["comparison"] is None else " when this began"),
        }
    )
    rows = [
        line
        | {
            "seed": shown_seeds(line["seeds"]),
            "shown": value(line["validation"], deviation=line["sd"]),
            "choice": "chosen" if line["chosen"] else "part" if line in found["parts"] else "",
        }
        for line in (*found["parts"], *found["lines"])
    ]
    columns = [
        Column("setting", "setting"),
        Column("run", "run"),
        Column("seed", "seed", right=True),
        Column("", "state") if found["comparison"] is None else Column("", "choice"),
        Column(f"{found['metric']} (validation)", "shown", right=True),
    ]
    print_table(columns, rows, title=" ")


def test_said(found: dict[str, Any]) -> str:
    """Whose test targets were ranked now, in a line."""
    read = found["test_read"]
    return f"test split read for {', '.join(read)}" if read else "test split read before; not read again"
