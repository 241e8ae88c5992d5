"""Verb: put the evaluations of runs side by side. Reads stored rows; no model runs here."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from patchrec.config import NORMALISED, SplitName
from patchrec.errors import UsageError, unknown
from patchrec.evaluation.compare import shared_targets
from patchrec.evaluation.derived import cut_offs, of_ranks, with_metrics
from patchrec.evaluation.rows import LOG_PROB, LOG_PROB_VIEW, default_values
from patchrec.evaluation.significance import flips_for, holm, interval_note, num_comparisons, paired
from patchrec.operations.compared import Compared, apart, fold, missing_seeds
from patchrec.operations.compared_evaluations import (
    all_evaluated,
    catalog_size,
    data_version,
    named_evaluations,
    refuse_unknown_ranks,
    with_log_prob,
)
from patchrec.operations.run_columns import Columned
from patchrec.operations.run_fields import chosen as chosen_runs
from patchrec.operations.run_fields import differing
from patchrec.reporting import SILENT, Reporter
from patchrec.store import Store
from patchrec.store.evaluations import MetricRow, RankingRow

LEVEL = 0.05  # of p-values below which a difference is called one
COMPRESSION = {name: f"compression_{name}" for name in ("paper", "history", "prompt")}


def compare_runs(
    names: Sequence[str] = (),
    *,
    metric: str | None = None,
    split: SplitName = "test",
    data: str | None = None,
    where: str | None = None,
    tags: Sequence[str] = (),
    sort: str | None = None,
    limit: int | None = None,
    columns: Sequence[str] | Callable[[str], Sequence[str]] = (),
    fail_if: str | None = None,
    grouped: bool = True,
    home: Path | None = None,
    report: Reporter = SILENT,
) -> dict[str, Any]:
    """Put the newest evaluations of runs side by side, on one data set and the same targets.

    Args:
        names: Runs or groups of seeds, the reference first. None named: all evaluated runs of the data set that share
            their targets, best first; the best is then the reference, and p-values are corrected for all pairs, since
            it was picked here. Runs of one group are one row, with their seeds averaged target by target.
        metric: What differences to the reference are taken in, over items with seen ones dropped (`log_prob`: titles).
            Any cut-off of any metric here, in `sort`, `columns` and `fail_if` is computed from the stored ranks. None:
            mrr, cut off where ranks are known up to a limit alone.
        split: Whose targets.
        data: Data set; runs that are named have to be of it.
        where: A condition on runs, in SQL: those that it does not hold for are not compared.
        tags: Runs that lack one of these are not compared either.
        sort: The order of rows: a metric (best first) or a field; "-" before it turns it round.
        limit: Give the first so many rows alone. All are compared and corrected for.
        columns: Fields, settings, metrics and costs that each row gives under `columns`, or what says them of the
            metric that differences are taken in.
        fail_if: A condition on these, in SQL; the runs that it holds for are named under `failed`.
        grouped: Make one row of the runs of a group of seeds; else each run is a row.
        home: Folder of the store.
        report: Where picks are told.

    Returns:
        `dataset`, `split`, `num_targets`, `num_users`, `metrics` (names), `metric`, `reference`, `reference_picked`
        (none was named), `comparisons` (how many `p_adjusted` is corrected for), `num_runs` (rows compared), `rows` (a
        run or a group each, with its seeds, what differs in its settings, metrics, paired difference, compression
        ratios and cost), `failed` and `notes`.

    Raises:
        NotFoundError: No such run, or one without an evaluation; no run left by `where` and `tags`.
        UsageError: The runs are of different data sets, or ranked different targets or catalogs; no such metric or
            column, or no condition; the reference is left out; the metric, `sort` or `fail_if` needs ranks that some
            do not know, or `columns` those that none knows.
        CheckFailedError: `fail_if` asks for a metric that a run has no value of.
    """
    left_out: dict[str, str] = {}
    choose = partial(chosen_runs, where=where, tags=tags)
    needed = of_ranks(metric, sort, fail_if, *(() if callable(columns) else columns))
    with Store.open(home) as store:
        if names:
            chosen = named_evaluations(store, names, split, data, choose, needed)
        else:
            chosen, left_out = all_evaluated(store, split, data, choose, needed, report)
        metrics = {run.name: _over_all(store.evaluations.metrics(found.id)) for run, found in chosen}
        rankings = {run.name: store.evaluations.rankings(found.id) for run, found in chosen}
        sizes = catalog_size(store, chosen[0][1]), store.catalogs.versions(chosen[0][0].dataset)[-1].num_items
        notes = [f"{name} is left out: it ranked {other}" for name, other in left_out.items()]
        notes += missing_seeds(store, fold(chosen), split) if grouped else []
        of_data = [data_version(store, chosen[0][1]), store.versions.all(chosen[0][0].dataset)[-1].version]
    if of_data[0] != of_data[1]:
        notes.append(f"these are of version {of_data[0]} of the data set; it is at version {of_data[1]} now")
    if sizes[0] != sizes[1]:
        notes.append(f"these ranked an earlier catalog of {sizes[0]:,} items; it has {sizes[1]:,} now")
    known_to = min((found.exact_to for _, found in chosen if found.exact_to is not None), default=None)
    metric = metric or ("mrr" if known_to is None else f"mrr@{known_to}")
    columns = columns(metric) if callable(columns) else columns
    if metric == LOG_PROB:
        chosen = with_log_prob(chosen, notes, named=bool(names))
    compared = fold(chosen) if grouped else apart(chosen)
    known = list(dict.fromkeys(row.name for run, _ in chosen for row in metrics[run.name]))
    known += [name for name in cut_offs(metric, sort, fail_if, *columns) if name not in known]
    if metric not in {*known, "mrr"}:
        raise UsageError(unknown("metric", metric, known))
    refuse_unknown_ranks(chosen, metrics, metric, {"--sort": sort, "--fail-if": fail_if}, columns)
    rankings = shared_targets({run.name: rankings[run.name] for run, _ in chosen})
    metrics = {
        run.name: with_metrics(metrics[run.name], rankings[run.name], known, evaluation.exact_to)
        for run, evaluation in chosen
    }
    found = {row.name: row.metrics(metrics, rankings) for row in compared}
    if not names:
        compared.sort(key=lambda row: -(_value(found[row.name], metric) or 0.0))
    scores = set().union(*(row.scores for row in compared)) - {"list"}
    if len(scores) > 1 and not scores <= NORMALISED:
        notes.append(f"log-probabilities are under different scores ({', '.join(sorted(scores))}): not to be compared")
    comparisons = num_comparisons(len(compared), picked=not names)
    differences = _differences(compared, rankings, metric, comparisons)
    targets = rankings[compared[0].run.name]
    narrow = interval_note(compared[0].values(rankings, partial(default_values, metric=metric)), _user_numbers(targets))
    settings = differing([row.run for row in compared], groups=[row.run.name for row in compared if row.group])
    rows = [
        _row(row, found[row.name], difference) | {"differing": own}
        for row, difference, own in zip(compared, differences, settings, strict=True)
    ]
    columned = Columned([row.run for row in compared], rows)
    failed = columned.holding(fail_if) if fail_if is not None else []
    if columns:
        rows = columned.with_columns(columns)
    if sort is not None:
        rows = [rows[place] for place in columned.order(sort)]
    return {
        "dataset": compared[0].run.dataset,
        "split": split,
        "num_targets": len(targets),
        "num_users": len({row.user_id for row in targets}),
        "metrics": known,
        "metric": metric,
        "reference": compared[0].name,
        "reference_picked": not names,
        "comparisons": comparisons,
        "num_runs": len(rows),
        "rows": rows[:limit],
        "failed": failed,
        "notes": notes + ([narrow] if narrow else []),
    }


def _differences(
    rows: list[Compared], rankings: dict[str, list[RankingRow]], metric: str, comparisons: int
) -> list[dict[str, Any] | None]:
    """Each row minus the reference on the same targets, with Holm's correction for so many comparisons.

    None for the reference.

    Also None where the metric is the log-probability under scores that do not compare.
    """
    reference, *others = rows
    users = _user_numbers(rankings[reference.run.name])
    of_targets = partial(default_values, metric=metric)
    base = reference.values(rankings, of_targets)
    found = [
        None
        if metric == LOG_PROB and len(scores := row.scores | reference.scores) > 1 and not scores <= NORMALISED
        else asdict(paired(row.values(rankings, of_targets), base, users, flips=flips_for(comparisons)))
        for row in others
    ]
    corrected = iter(holm([difference["p_value"] for difference in found if difference], comparisons))
    return [None, *(difference and _told(difference | {"p_adjusted": next(corrected)}) for difference in found)]


def _told(difference: dict[str, Any]) -> dict[str, Any]:
    """A difference with what it shows: that no difference is shown does not say that there is none."""
    shown = difference["p_adjusted"] < LEVEL  # nan is not
    finding = ("better" if difference["difference"] > 0 else "worse") if shown else "no difference shown"
    return difference | {"finding": finding}


def _user_numbers(rows: list[RankingRow]) -> Any:
    """(B,) a number for the user of each target."""
    import numpy as np

    return np.unique([row.user_id for row in rows], return_inverse=True)[1]


def _row(row: Compared, metrics: list[dict[str, Any]], difference: dict[str, Any] | None) -> dict[str, Any]:
    evaluations = [found for _, found in row.members]
    return {
        "run": row.name,
        "group": row.group,
        "seeds": row.seeds,
        "runs": [run.name for run, _ in row.members],
        "label": row.run.label,
        "backbone": row.run.backbone,
        "evaluation": evaluations[0].id if row.group is None else None,
        "evaluations": [found.id for found in evaluations],
        "evaluated_at": max(found.created_at for found in evaluations),
        "score": "/".join(sorted(row.scores)),
        "metrics": metrics,
        "difference": difference,
        "compression": {name: row.cost(key) for name, key in COMPRESSION.items()},
        "exact_to": row.exact_to,
        "tokens_per_target": row.cost("tokens_per_target"),
        "prompt_tokens_per_target": row.cost("prompt_tokens_per_target"),
        "catalog_tokens_per_target": row.cost("catalog_tokens_per_target"),
        "seconds_per_target": row.cost("seconds_per_target"),
    }


def _over_all(metrics: list[MetricRow]) -> list[MetricRow]:
    """Metrics over all targets, no slice of them."""
    return [row for row in metrics if row.slice == "all"]


def _value(metrics: list[dict[str, Any]], name: str) -> float | None:
    """A metric in its default view."""
    view = LOG_PROB_VIEW if name == LOG_PROB else ("item", "dropped")
    return next((row["value"] for row in metrics if row["name"] == name and (row["level"], row["seen"]) == view), None)
