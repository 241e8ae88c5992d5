"""Verb: write_report. What is known of runs as one page: the comparison, charts, example users."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from patchrec import __version__
from patchrec.config import SplitName
from patchrec.drawing.page import page
from patchrec.drawing.svg import figure
from patchrec.errors import NotFoundError, UsageError
from patchrec.operations.charts_file import check_file, write_file
from patchrec.operations.example_users import choose, example_users
from patchrec.operations.pictures import (
    Compared,
    compare,
    differences_chart,
    frontier_chart,
    loss_charts,
    slices_chart,
    verdict,
)
from patchrec.reporting import SILENT, Reporter
from patchrec.store import Store
from patchrec.store.evaluations import Evaluation
from patchrec.store.runs import Run

ENDINGS = (".html", ".htm")


def write_report(
    names: Sequence[str],
    out: Path,
    *,
    metric: str | None = None,
    split: SplitName = "test",
    data: str | None = None,
    users: int = 3,
    named_users: Sequence[str] = (),
    overwrite: bool = False,
    home: Path | None = None,
    report: Reporter = SILENT,
) -> dict[str, Any]:
    """Write a page about evaluated runs. It loads nothing, runs nothing, and is a pure function of the store.

    Args:
        names: Runs, or groups of seeds for each of their runs, the reference first; none named: all that are evaluated
            on the same targets, best first.
        out: An `.html` file.
        metric, split, data: See `compare_runs`.
        users: How many example users (`patchrec.operations.example_users.choose`).
        named_users: Show these instead.
        overwrite: Write over the file.
        home: Folder of the store.
        report: Where picks and notes are told.

    Returns:
        `file`, `bytes`, `dataset`, `licence`, `split`, `metric`, `reference`, `runs` and `users` (ids).

    Raises:
        NotFoundError: No such run or user, or one without an evaluation. UsageError: The file, or see `compare_runs`.
    """
    check_file(out, ENDINGS, overwrite=overwrite)
    compared = compare(names, metric=metric, split=split, data=data, home=home, report=report)
    shown = choose(compared, users, named_users) if users or named_users else None
    examples = [] if shown is None else example_users(compared, shown, report, home)
    with Store.open(home) as store:
        dataset = store.datasets.show(compared.table["dataset"])
        curves = _curves(store, compared)
    content = page(
        {
            "table": _table(compared),
            "licence": dataset["licence"],
            "version": __version__,
            "evaluated": max(found.created_at for found in compared.evaluations)[:10],
            "metrics": _metrics(compared),
            "kept": _metrics(compared, "kept"),
            "made": [_made(run) for run in compared.runs],
            "costs": [
                _cost(run, evaluation) for run, evaluation in zip(compared.runs, compared.evaluations, strict=True)
            ],
            "figures": _figures(compared),
            "curves": curves,
            "examples": examples,
            "why_these": "" if shown is None else shown.why,
        }
    ).encode()
    write_file(out, content)
    return {
        "file": str(out),
        "bytes": len(content),
        "dataset": compared.table["dataset"],
        "licence": dataset["licence"],
        "split": split,
        "metric": compared.table["metric"],
        "reference": compared.table["reference"],
        "runs": [run.name for run in compared.runs],
        "users": [example["user_id"] for example in examples],
    }


def _table(compared: Compared) -> dict[str, Any]:
    """The comparison with each difference in words."""
    rows = []
    for number, row in enumerate(compared.table["rows"]):
        said = verdict(row["difference"]) if row["difference"] else None
        rows.append(row | {"number": number, "verdict": said, "shown": said in ("better", "worse")})
    return compared.table | {
        "rows": rows,
        "num_compared": sum(row["verdict"] is not None for row in rows),
        "num_shown": sum(row["shown"] for row in rows),
    }


def _metrics(compared: Compared, seen: str = "dropped") -> dict[str, Any]:
    """Metrics over items under one rule for seen items, and the log-probability of titles: `names`, `rows` of cells."""
    found = [
        {
            row["name"]: row
            for row in table_row["metrics"]
            if (row["level"], row["seen"]) == ("item", seen) or (row["name"] == "log_prob" and seen == "dropped")
        }
        for table_row in compared.table["rows"]
    ]
    names = [name for name in compared.table["metrics"] if any(name in row for row in found)]
    order = {"hr": 0, "ndcg": 1, "mrr": 2, "log_prob": 3}
    names.sort(key=lambda name: (order.get(name.partition("@")[0], 4), int(name.partition("@")[2] or 0)))
    kept = [name for name in names if not name.startswith("mrr@")]
    rows = [
        {"run": run.name, "number": number, "label": run.label, "cells": [row.get(name) for name in kept]}
        for number, (run, row) in enumerate(zip(compared.runs, found, strict=True))
    ]
    return {"names": kept, "rows": rows}


def _figures(compared: Compared) -> dict[str, Any]:
    """Charts of the comparison as SVG, by name; None where there is nothing to draw."""
    try:
        frontier = frontier_chart(compared)
    except UsageError:
        frontier = None
    charts = {
        "differences": differences_chart(compared.table),
        "frontier": frontier,
        "slices": slices_chart(compared),
    }
    return {name: None if chart is None else {"chart": chart, "svg": figure(chart)} for name, chart in charts.items()}


def _curves(store: Store, compared: Compared) -> list[dict[str, Any]]:
    """Loss and validation curves as SVG; none where no run has one."""
    numbers = {run.name: number for number, run in enumerate(compared.runs)}
    try:
        charts = loss_charts(store, compared.runs, numbers)
    except NotFoundError:
        return []
    return [{"chart": chart, "svg": figure(chart)} for chart in charts]


def _made(run: Run) -> dict[str, Any]:
    """How a run was made, as rows of a table read it."""
    training, history = run.config.training, run.config.history
    prompt = run.config.prompt if run.backbone else None
    return {
        "run": run.name,
        "label": run.label,
        "kind": run.kind,
        "backbone": run.backbone,
        "layers": run.config.layers,
        "parent": run.parent,
        "seed": run.seed,
        "history": f"K {history.K}, {history.windows} windows",
        "prompt": prompt and f"{prompt.form}, separators after {prompt.separators}",
        "training": {} if training is None else training.model_dump(mode="json", exclude_none=True),
        "steps": run.num_steps,
        "score": run.score,
        "created": run.created_at[:10],
        "versions": run.versions,
        "fingerprints": run.fingerprints,
    }


def _cost(run: Run, evaluation: Evaluation) -> dict[str, Any]:
    """What a target cost a run: positions of prompts and of the catalog's titles apart."""
    cost = evaluation.cost
    return {
        "run": run.name,
        "prompt_length": cost.get("prompt_length"),
        "prompt_tokens": cost.get("prompt_tokens_per_target"),
        "catalog_tokens": evaluation.catalog_tokens,
        "flops": cost.get("flops_per_target"),
        "seconds": cost.get("seconds_per_target"),
        **{name: cost.get(f"compression_{name}") for name in ("paper", "history", "prompt")},
    }
