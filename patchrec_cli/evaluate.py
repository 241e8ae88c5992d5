"""`patchrec eval`: metrics of a run or a baseline on held-out targets."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from patchrec.errors import UsageError, flag_of
from patchrec_cli.display import Column, Output, plain, print_fields, print_table
from patchrec_cli.marks import Name, Note, Tags, marks_of
from patchrec_cli.named_options import STRATEGIES, option_values
from patchrec_cli.numbers import count, duration, gigabytes, several, value
from patchrec_cli.parameters import Backbone, Data, Json, Quiet, Score, home_of
from patchrec_cli.slices import print_slices

FLOPS = (("TFLOP", 1e12), ("GFLOP", 1e9), ("MFLOP", 1e6), ("kFLOP", 1e3))

COUNTED = {
    "paper": "counted as the published scripts count, over 20 titles",
    "sampled": "the target among 99 drawn items",
}


def cutoffs(text: str) -> tuple[int, ...]:
    """Read "10,20" as the cutoffs of hr@k and ndcg@k.

    Raises:
        UsageError: Not a list of positive whole numbers.
    """
    try:
        ks = tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError:
        ks = ()
    if not ks or ks[0] < 1:
        raise UsageError(f"--k takes positive numbers with commas between them, such as 10,20; got {text!r}")
    return ks


def evaluate(
    ctx: typer.Context,
    run: Annotated[
        str | None, typer.Argument(metavar="RUN", help="Run, or group of seeds; default: the newest fine-tuned run.")
    ] = None,
    *,
    split: Annotated[Literal["validation", "test"], typer.Option("--split", help="Which targets.")] = "test",
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=1, help="A sample of N targets, the same for every run.")
    ] = None,
    users_with: Annotated[
        str | None,
        typer.Option(
            "--users-with", metavar="RANGE", help="Targets of users with so many items alone, such as 500+ or 20-99."
        ),
    ] = None,
    k: Annotated[str, typer.Option("--k", metavar="K,K", help="Cutoffs of hr@k and ndcg@k.")] = "10,20",
    exact_to: Annotated[
        int | None,
        typer.Option(
            "--exact-to",
            metavar="N",
            min=1,
            help="Find ranks up to N alone, several times faster for models of titles: hr@k, ndcg@k and mrr@k up to N.",
        ),
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(
            "--top",
            metavar="N",
            min=0,
            max=1000,
            help="Keep the best N items of each target, for coverage and reports. With --exact-to they are most of the "
            "work: 0 keeps none; default: 20.",
        ),
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option("--by", metavar="FIELD", help="A field of the catalog whose values make slices; repeat it."),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            "--baseline",
            metavar="NAME",
            help="Fit a baseline with its defaults, if none is there, and evaluate it; or: untrained.",
        ),
    ] = None,
    data: Data = None,
    backbone: Backbone = None,
    strategy: Annotated[
        str | None,
        typer.Option(
            "--strategy", metavar="NAME", help="Strategy of the untrained baseline, or in place of the run's own."
        ),
    ] = None,
    score: Score = None,
    protocol: Annotated[
        Literal["paper", "sampled"] | None,
        typer.Option(
            "--protocol",
            help="Count in another way too: as the published scripts, or among 99 drawn items. Neither compares.",
        ),
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            "--predictions",
            metavar="FILE",
            help="Score another system's lists (user_id, item_id, rank or score; a .run of TREC) on the same targets.",
        ),
    ] = None,
    one_list: Annotated[
        bool, typer.Option("--one-list", help="A user's list in FILE stands for each of the user's targets.")
    ] = False,
    run_name: Name = None,
    note: Note = None,
    tags: Tags = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Rank the catalog for held-out targets and report metrics.

    Of a group of seeds every run is evaluated, and the metrics are means with their standard deviation.

    Examples:
        patchrec eval
        patchrec eval pft-s-1 --split validation --limit 200
        patchrec eval pft-s-1 --exact-to 100
        patchrec eval pft-s-1 --exact-to 100 --top 0
        patchrec eval pft-s-1 --by genre
        patchrec eval --baseline popularity
        patchrec eval --baseline untrained --strategy pft-s --L 5
        patchrec eval pretrain-1 --strategy vanilla --name plain-text
        patchrec eval --predictions bpr.csv --data ml-100k
    """
    ks, options = cutoffs(k), option_values(ctx, STRATEGIES, strategy)
    from patchrec.operations import evaluate as operations
    from patchrec.operations.evaluate_group import evaluate_group
    from patchrec.operations.seed_groups import is_group

    output = Output(json, quiet)
    marks = marks_of(run_name, note, tags)
    common: dict[str, Any] = {
        "split": split, "limit": limit, "users_with": users_with, "ks": ks, "by": by or (), "home": home_of(ctx),
        "report": output.reporter,
    }  # fmt: skip
    own: dict[str, Any] = {
        "baseline": baseline, "backbone": backbone, "strategy": strategy, "options": options, "score": score,
        "exact_to": exact_to, "top": top, "protocol": protocol,
    }  # fmt: skip
    if predictions is not None:
        refuse_asking(run, own)
        from patchrec.operations.predictions import evaluate_predictions

        scored = evaluate_predictions(predictions, one_list=one_list, data=data, marks=marks, **common)
        show_evaluation(plain(scored), output, by=by or ())
        output.next_step("patchrec runs compare")
        return
    if one_list:
        raise UsageError("--one-list goes with --predictions FILE; drop it")
    if is_group(run, home=home_of(ctx)):
        given = {"baseline": baseline, "data": data, "backbone": backbone, "strategy": strategy, "protocol": protocol}
        refuse_of_groups(**given, **marks.given)
        found = evaluate_group(str(run), score=score, exact_to=exact_to, top=top, **common)
        show_evaluation(plain(found), output, by=by or ())
        output.next_step(compare_command(found.dataset, split))
        return
    result = plain(operations.evaluate(run, data=data, marks=marks, **common, **own))
    show_evaluation(result, output, by=by or ())
    output.next_step(
        compare_command(result["dataset"], split),
        f"patchrec runs show {result['run']} --slices",
        f"patchrec recommend --user ID --run {result['run']}",
    )


def compare_command(dataset: str, split: str) -> str:
    """What puts an evaluation beside others."""
    return f"patchrec runs compare --data {dataset}" + (f" --split {split}" if split != "test" else "")


def refuse_of_groups(**given: object) -> None:
    """Refuse options that a group of seeds has no use for.

    Raises:
        UsageError: One was given.
    """
    named = [flag_of(name) for name, value in given.items() if value is not None]
    if named:
        raise UsageError(f"a group of seeds is evaluated as it is; drop {', '.join(named)}, or name one of its runs")


def refuse_asking(run: str | None, given: dict[str, Any]) -> None:
    """Refuse what is asked of a run, where another system's lists are scored.

    Raises:
        UsageError: Something is.
    """
    asked = [flag_of(name) for name, value in given.items() if value not in (None, {})] + (
        [f"the run {run!r}"] if run else []
    )
    if asked:
        raise UsageError(f"--predictions FILE is scored as it is; drop {', '.join(asked)} (--data names the data set)")


def show_evaluation(result: dict[str, Any], output: Output, *, by: Sequence[str] = ()) -> None:
    """Print the metrics of one evaluation: over items and titles, with seen items dropped and kept.

    Those of the targets that no training has seen stand in a table of their own, over items alone. Of the other slices
    those by popularity are shown, and those of the fields asked for.

    Args:
        result: As stored.
        output: How to print.
        by: Fields of the catalog.
    """
    metrics = result["metrics"]
    over_all = [row for row in metrics if row["slice"] == "all"]
    lines = [f"{row['name']} {row['level']} {row['seen']} {row['value']}" for row in over_all]
    if output.emit(result, lines):
        return
    cost = result["cost"]
    ratios = {name: cost.get(f"compression_{name}") for name in ("paper", "history", "prompt")}
    print_fields(
        {
            "run": f"{result['run']} ({result['label']})",
            "targets": f"{count(result['num_targets'])} ({result['split']}) of {several(result['num_users'], 'users')}",
            "score": result["score"],
            "exact to": f"rank {count(result['exact_to'])}" if result.get("exact_to") else None,
            "seeds": result.get("seeds"),
            "compression": ", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items() if ratio is not None),
            "tokens/target": tokens_of(cost),
            "time/target": None if cost["seconds_per_target"] is None else duration(cost["seconds_per_target"]),
            "compute/target": compute_of(cost),
            "peak memory": memory_of(cost),
            "recommended": lists_of(cost),
        }
    )
    columns = [
        Column("metric", "name"),
        Column("over", "level"),
        Column("seen items dropped", "dropped", right=True),
        Column("seen items kept", "kept", right=True),
    ]
    print_table(columns, metric_rows(over_all), title=" ")
    cold = [row for row in metrics if row["slice"] == "cold" and (row["level"] == "item" or row["name"] == "log_prob")]
    if cold:
        shown = f"{several(cost['cold_targets'], 'targets')} of {several(cost['cold_users'], 'users')}"
        print_table(columns, metric_rows(cold), title=f"\nnever seen in training: {shown}")
    print_slices(metrics, ("popularity", *by), title="\nslices, over items, seen items dropped")
    if result.get("counted"):
        title = f"\nnot to be compared: {COUNTED[result['protocol']]}"
        print_table(columns, metric_rows(result["counted"]), title=title)


def tokens_of(cost: dict[str, Any]) -> str | None:
    """Positions of a target, and how many of them are its prompt's and how many the catalog's."""
    total, prompt, catalog = (cost.get(f"{part}tokens_per_target") for part in ("", "prompt_", "catalog_"))
    if total is None:
        return None
    shown = f"{total:,.1f}"
    return shown if prompt is None or catalog is None else f"{shown} (prompt {prompt:,.1f}, catalog {catalog:,.1f})"


def compute_of(cost: dict[str, Any]) -> str | None:
    """Floating-point operations of a target, in words: "12.3 GFLOP"."""
    flops = cost.get("flops_per_target")
    if not flops:
        return None
    unit, size = next(((unit, size) for unit, size in FLOPS if flops >= size), FLOPS[-1])
    return f"{flops / size:,.1f} {unit}"


def memory_of(cost: dict[str, Any]) -> str | None:
    """The most memory held, and how much of it came while evaluating."""
    peak, growth = cost.get("peak_memory_bytes"), cost.get("peak_memory_growth_bytes")
    return None if peak is None or growth is None else f"{gigabytes(peak)}, {gigabytes(growth)} of it while ranking"


def lists_of(cost: dict[str, Any]) -> str | None:
    """What was recommended, at the largest cutoff: how much of the catalog, how novel, how evenly."""
    ks = [int(name.partition("@")[2]) for name in cost if name.startswith("coverage@")]
    if not ks:
        return None
    k = max(ks)
    names = ("coverage", "novelty", "gini")
    found = {name: cost[f"{name}@{k}"] for name in names}
    return f"top {k}: " + ", ".join(f"{name} {value(number)}" for name, number in found.items())


def metric_rows(metrics: list[dict[str, Any]]) -> list[dict[str, object]]:
    """A row for each metric and level with its values and intervals under both rules for seen items."""
    rows: dict[tuple[str, str], dict[str, object]] = {}
    for row in metrics:
        found = rows.setdefault((row["name"], row["level"]), {"name": row["name"], "level": row["level"] + "s"})
        found[row["seen"]] = value(row["value"], row["low"], row["high"], row.get("sd"))
    return list(rows.values())
