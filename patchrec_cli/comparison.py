"""`patchrec runs compare`: runs side by side, for people, for papers and for other programs."""

from typing import Annotated, Any, Literal

import typer

from patchrec.errors import CheckFailedError, UsageError
from patchrec_cli.display import Column, Output, print_fields, print_note, print_table
from patchrec_cli.numbers import count, duration, several, value
from patchrec_cli.parameters import Data, Json, Quiet, home_of
from patchrec_cli.seeds import run_cell, seed_cell, shown_seeds

COMPRESSION = ("paper", "history", "prompt")
CHOSEN = "Which runs"  # sections of options
SHOWN = "What is shown"

Where = Annotated[
    str | None,
    typer.Option(
        "--where",
        metavar="CONDITION",
        help="Runs such as \"strategy = 'pft-s' and learning_rate < 1e-4\".",
        rich_help_panel=CHOSEN,
    ),
]
Tagged = Annotated[
    list[str] | None,
    typer.Option("--tag", metavar="WORD", help="Runs with this tag; repeat it for all.", rich_help_panel=CHOSEN),
]


def compare(
    ctx: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN", help="Runs or groups; default: all that are evaluated on the same data."),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option("--metric", metavar="NAME", help="What differences are taken in, such as ndcg@50; default: mrr."),
    ] = None,
    split: Annotated[Literal["validation", "test"], typer.Option("--split", help="Whose targets.")] = "test",
    data: Data = None,
    where: Where = None,
    tags: Tagged = None,
    sort: Annotated[
        str | None,
        typer.Option(
            "--sort",
            metavar="COLUMN",
            help='Order of rows: a metric (best first) or a field; "-" before it turns it round.',
            rich_help_panel=SHOWN,
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", metavar="N", min=1, help="Show N rows; all are compared.", rich_help_panel=SHOWN),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            "--columns",
            metavar="A,B,...",
            help="One table of these, such as run,learning_rate,hr@20,p_adjusted.",
            rich_help_panel=SHOWN,
        ),
    ] = None,
    md: Annotated[bool, typer.Option("--md", help="One table as Markdown.", rich_help_panel=SHOWN)] = False,
    csv: Annotated[bool, typer.Option("--csv", help="As CSV, with all digits.", rich_help_panel=SHOWN)] = False,
    latex: Annotated[bool, typer.Option("--latex", help="As LaTeX, for booktabs.", rich_help_panel=SHOWN)] = False,
    fail_if: Annotated[
        str | None,
        typer.Option("--fail-if", metavar="CONDITION", help='Exit with 1 where a run is such: "hr@20 < 0.15".'),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare evaluated runs on the targets that they share.

    Says what differs in their settings, metrics, paired differences and cost. Intervals and differences resample users.
    Runs of one group of seeds are one row: means with their standard deviation over seeds, and differences of targets
    with seeds averaged. The first run named is the reference; where none is named it is the best one, and p-values are
    corrected for all pairs of runs, whether they are shown or not.

    Examples:
        patchrec runs compare
        patchrec runs compare pft-s-1 pft-i-1 --metric ndcg@50
        patchrec runs compare --tag paper --sort hr@20 --limit 5
        patchrec runs compare --columns run,seed,hr@20,prompt_tokens_per_target --latex
        patchrec runs compare pft-s-1 --fail-if "hr@20 < 0.15"
    """
    from patchrec.operations.comparison import compare_runs

    output = Output(json, quiet)
    forms = {"md": md, "csv": csv, "latex": latex}
    asked = [name for name, wanted in {**forms, "json": json, "quiet": quiet}.items() if wanted]
    if len(asked) > 1 and any(forms.values()):
        raise UsageError(f"{', '.join(f'--{name}' for name in asked)}: a table has one form; choose one")
    form: Any = asked[0] if any(forms.values()) else None
    chosen = column_names(columns)
    table = compare_runs(
        names or [],
        metric=metric,
        split=split,
        data=data,
        where=where,
        tags=tags or (),
        sort=sort,
        limit=limit,
        columns=default_columns if form and not chosen else chosen,
        fail_if=fail_if,
        home=home_of(ctx),
        report=output.reporter,
    )
    if output.emit(table, [row["run"] for row in table["rows"]]):
        pass
    elif form or columns:
        draw_columns(form, chosen or default_columns(table["metric"]), table)
    else:
        draw_comparison(table)
    if table["failed"]:
        raise CheckFailedError(f"--fail-if {fail_if!r} holds for {', '.join(table['failed'])}")


def column_names(text: str | None) -> list[str]:
    """Read "run,hr@20" as names of columns.

    Raises:
        UsageError: One is empty.
    """
    names = [] if text is None else [name.strip() for name in text.split(",")]
    if not all(names):
        raise UsageError(f"--columns takes names with commas between them, such as run,hr@20; got {text!r}")
    return list(dict.fromkeys(names))


def default_columns(metric: str) -> list[str]:
    """What a table for a paper has unless its columns are named."""
    costs = ["prompt_tokens_per_target", "catalog_tokens_per_target", "seconds_per_target"]
    return [
        "run",
        "label",
        *metric_names(metric, metric.partition("@")[2] or "10"),
        "difference",
        "p_adjusted",
        "finding",
        *costs,
    ]


def metric_names(metric: str, k: str) -> list[str]:
    """The metrics that stand side by side: with the cut-off of the hits that differences are taken in, else with k."""
    if not metric.startswith("mrr@"):
        k = metric.partition("@")[2] or k
    return [f"hr@{k}", f"ndcg@{k}", metric if metric.startswith("mrr@") else "mrr", "log_prob"]


def draw_columns(form: Any, columns: list[str], table: dict[str, Any]) -> None:
    """Print one table of the columns that were chosen."""
    from patchrec_cli.tables import is_number, print_as, shown

    rows = [row["columns"] for row in table["rows"]]
    if form:
        print_as(form, columns, rows)
    else:
        right = {name: all(is_number(row[name]) for row in rows) for name in columns}
        cells = [{name: shown(row[name]) for name in columns} for row in rows]
        print_table([Column(name, name, right=right[name]) for name in columns], cells)
    if "p_adjusted" in columns or "finding" in columns:
        print_note(f"note: differences are in {table['metric']} to {table['reference']}; {corrected_for(table)}")
    tell_notes(table)


def tell_notes(table: dict[str, Any]) -> None:
    """Say what has to be known of a comparison."""
    left = table["num_runs"] - len(table["rows"])
    if left:
        print_note(f"note: {count(left)} of the {count(table['num_runs'])} runs compared are not shown (--limit)")
    for note in table["notes"]:
        print_note(f"note: {note}")


def draw_comparison(table: dict[str, Any]) -> None:
    """Print a comparison: what differs, metrics under both rules for seen items, differences, compression and cost."""
    print_fields(
        {
            "data": table["dataset"],
            "targets": f"{count(table['num_targets'])} ({table['split']}) of {several(table['num_users'], 'users')}",
        }
    )
    columns = [Column("run", "run"), Column("strategy", "label"), Column("seed", "seed", right=True)]
    rows = [row | {"seed": shown_seeds(row["seeds"]), "settings": settings(row["differing"])} for row in table["rows"]]
    if any(row["settings"] for row in rows):
        columns.append(Column("settings that differ", "settings"))
    print_table(columns, rows, title=" ")
    first_k = next((name.partition("@")[2] for name in table["metrics"] if "@" in name), "10")
    names = metric_names(table["metric"], first_k)
    for seen in ("dropped", "kept"):
        views: set[tuple[str, str]] = {("item", seen)} | ({("title", "kept")} if seen == "dropped" else set())
        rows = [{"run": run_cell(row)} | metric_cells(row["metrics"], views) for row in table["rows"]]
        columns = [Column(name, name, right=True) for name in names if any(name in row for row in rows)]
        title = f"\nover items, seen items {seen}, with 95 % intervals over users"
        print_table([Column("run", "run"), *columns], rows, title=title)
    differences = [difference_row(row) for row in table["rows"] if row["difference"]]
    if differences:
        columns = [
            Column("run", "run"),
            Column("difference", "difference", right=True),
            Column("p", "p", right=True),
            Column("p (Holm)", "p_adjusted", right=True),
            Column("", "finding"),
        ]
        what = f"{table['metric']} minus that of {table['reference']}, paired on the same targets"
        print_table(columns, differences, title=f"\n{what}\n{corrected_for(table)}")
    costs = [cost_row(row) for row in table["rows"]]
    names = [*COMPRESSION, "prompt tokens", "catalog tokens", "tokens/target", "time/target"]
    columns = [Column(name, name, right=True) for name in names if any(row[name] is not None for row in costs)]
    ratios = "compression ratios, and " if any(column.key in COMPRESSION for column in columns) else ""
    title = f"\n{ratios}cost of a target"
    print_table([Column("run", "run"), *columns], costs, title=title)
    tell_notes(table)


def settings(differing: dict[str, Any]) -> str:
    """Settings in one line: "strategy pft-s, L 5"; those that a run does not have are "-". Seeds have a column."""
    return ", ".join(f"{key} {'-' if found is None else found}" for key, found in differing.items() if key != "seed")


def corrected_for(table: dict[str, Any]) -> str:
    """What Holm's p-values of a comparison are corrected for."""
    number = table["comparisons"]
    if not table["reference_picked"]:
        return f"p (Holm) is corrected for {count(number)} comparison{'s' * (number > 1)} with {table['reference']}"
    pairs = f"all {count(number)} pairs of runs" if number > 1 else "the one pair of runs"
    return f"p (Holm) is corrected for {pairs}: {table['reference']} was picked as the best"


def metric_cells(metrics: list[dict[str, Any]], views: set[tuple[str, str]]) -> dict[str, object]:
    """Metric -> its value over its interval, for metrics of these views; the log-probability has one view alone."""
    return {
        row["name"]: seed_cell(row)
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
        "finding": found["finding"],
    }


def cost_row(row: dict[str, Any]) -> dict[str, object]:
    """What a target cost one run; all tokens together only where nobody knows which are a prompt's."""
    ratios = {name: None if ratio is None else f"{ratio:.2f}" for name, ratio in row["compression"].items()}
    prompt, together = row["prompt_tokens_per_target"], row["tokens_per_target"]
    tokens = {
        "prompt tokens": prompt,
        "catalog tokens": row["catalog_tokens_per_target"],
        "tokens/target": None if prompt is not None else together or None,
    }
    return {
        "run": row["run"],
        **ratios,
        **{name: None if number is None else f"{number:,.1f}" for name, number in tokens.items()},
        "time/target": duration(row["seconds_per_target"]),
    }
