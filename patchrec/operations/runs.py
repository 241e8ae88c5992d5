"""Runs: list, show, compare, remove. Reads stored rows; no model runs here."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from patchrec.config import NORMALISED, SplitName
from patchrec.errors import NotFoundError, UsageError, unknown
from patchrec.evaluation.compare import shared_targets, target_key
from patchrec.evaluation.rows import LOG_PROB, LOG_PROB_VIEW, target_values
from patchrec.evaluation.significance import flips_for, holm, interval_note, num_comparisons, paired
from patchrec.operations.compared import Compared, Evaluated, fold, missing_seeds, runs_of
from patchrec.operations.datasets import pick_dataset
from patchrec.operations.run_faults import faults_of
from patchrec.operations.training.run_progress import run_progress
from patchrec.reporting import SILENT, Reporter
from patchrec.store import Store
from patchrec.store.evaluations import Evaluation, MetricRow, RankingRow
from patchrec.store.runs import Run, as_json

QUICKLY_READ = 100_000  # items of a catalog that a listing looks at; `doctor` looks at all
COMPRESSION = {name: f"compression_{name}" for name in ("paper", "history", "prompt")}


def list_runs(*, home: Path | None = None) -> list[dict[str, Any]]:
    """Every run, newest first, with what a listing shows, and its `faults` (`what` is wrong, `fix`)."""
    keys = (
        "name",
        "stage",
        "kind",
        "command",
        "label",
        "status",
        "dataset",
        "backbone",
        "parent",
        "seed",
        "group",
        "created_at",
        "finished_at",
    )
    with Store.open(home) as store:
        runs = store.runs.all()
        faults = faults_of(store, runs, most_items=QUICKLY_READ)
        return [
            {key: getattr(run, key) for key in keys} | {"faults": [asdict(one) for one in faults.get(run.name, ())]}
            for run in reversed(runs)
        ]


def show_run(name: str, *, home: Path | None = None) -> dict[str, Any]:
    """All that is kept of a run: configuration, losses, validations, checkpoints, evaluations, progress, faults.

    Raises:
        NotFoundError: No such run.
    """
    with Store.open(home) as store:
        run = store.runs.get(name)
        evaluations = [
            asdict(evaluation) | {"metrics": [asdict(row) for row in store.evaluations.metrics(evaluation.id)]}
            for evaluation in store.evaluations.all(run.name)
        ]
        losses = store.runs.losses(run.name)
        return as_json(run) | {
            "progress": asdict(run_progress(run, losses)) if losses else None,
            "losses": [asdict(row) for row in losses],
            "validations": [asdict(row) for row in store.runs.validations(run.name)],
            "checkpoints": [
                {"step": saved.step, "path": str(saved.path)}
                for saved in store.runs.checkpoints(run.name)
                if saved.path.exists()  # a running process prunes folders first, its notes at the end
            ],
            "evaluations": evaluations,
            "faults": [asdict(fault) for fault in faults_of(store, [run]).get(run.name, ())],
        }


def remove_run(name: str, *, home: Path | None = None) -> str:
    """Remove a run with its evaluations and checkpoints, and return its name.

    Args:
        name: Whole: the beginning of a name finds a run, and removes none.
        home: Folder of the store.

    Raises:
        NotFoundError: No such run.
        UsageError: It is running, or another run started from it.
    """
    with Store.open(home) as store:
        store.runs.remove(name)
        return name


def compare_runs(
    names: Sequence[str] = (),
    *,
    metric: str = "mrr",
    split: SplitName = "test",
    data: str | None = None,
    home: Path | None = None,
    report: Reporter = SILENT,
) -> dict[str, Any]:
    """Put the newest evaluations of runs side by side, on one data set and the same targets.

    Args:
        names: Runs or groups of seeds, the reference first. None named: all evaluated runs of the data set that share
            their targets, best first; the best is then the reference, and p-values are corrected for all pairs, since
            it was picked here. Runs of one group are one row, with their seeds averaged target by target.
        metric: What differences to the reference are taken in, over items with seen ones dropped (`log_prob`: titles).
        split: Whose targets.
        data: Data set; runs that are named have to be of it.
        home: Folder of the store.
        report: Where picks are told.

    Returns:
        `dataset`, `split`, `num_targets`, `num_users`, `metrics` (names), `metric`, `reference`, `reference_picked`
        (none was named), `comparisons` (how many `p_adjusted` is corrected for), `rows` (a run or a group each, with
        seeds, metrics, paired difference, compression ratios and cost) and `notes`.

    Raises:
        NotFoundError: No such run, or one without an evaluation.
        UsageError: The runs are of different data sets, or ranked different targets or catalogs.
    """
    left_out: dict[str, str] = {}
    with Store.open(home) as store:
        if names:
            chosen = _named(store, names, split, data)
        else:
            chosen, left_out = _all_evaluated(store, split, data, report)
        metrics = {run.name: _over_all(store.evaluations.metrics(found.id)) for run, found in chosen}
        rankings = {run.name: store.evaluations.rankings(found.id) for run, found in chosen}
        sizes = _catalog_size(store, chosen[0][1]), store.catalogs.versions(chosen[0][0].dataset)[-1].num_items
        rows = fold(chosen)
        notes = [f"{name} is left out: it ranked {other}" for name, other in left_out.items()]
        notes += missing_seeds(store, rows)
    rankings = shared_targets(rankings)
    shown = {row.name: row.metrics(metrics, rankings) for row in rows}
    if sizes[0] != sizes[1]:
        notes.append(f"these ranked an earlier catalog of {sizes[0]:,} items; it has {sizes[1]:,} now")
    if not names:
        rows.sort(key=lambda row: -(_value(shown[row.name], metric) or 0.0))
    known = list(dict.fromkeys(found["name"] for row in rows for found in shown[row.name]))
    if metric not in known:
        raise UsageError(unknown("metric", metric, known))
    scores = set().union(*(row.scores for row in rows))
    if len(scores) > 1 and not scores <= NORMALISED:
        notes.append(f"log-probabilities are under different scores ({', '.join(sorted(scores))}): not to be compared")
    comparisons = num_comparisons(len(rows), picked=not names)
    differences = _differences(rows, rankings, metric, comparisons)
    targets = rankings[rows[0].run.name]
    narrow = interval_note(rows[0].values(rankings, partial(_target_metric, metric=metric)), _user_numbers(targets))
    return {
        "dataset": rows[0].run.dataset,
        "split": split,
        "num_targets": len(targets),
        "num_users": len({row.user_id for row in targets}),
        "metrics": known,
        "metric": metric,
        "reference": rows[0].name,
        "reference_picked": not names,
        "comparisons": comparisons,
        "rows": [_row(row, shown[row.name], difference) for row, difference in zip(rows, differences, strict=True)],
        "notes": notes + ([narrow] if narrow else []),
    }


# how many, the limit and the range of users that chose them (together they fix a sample), the catalog
Targets = tuple[int, int | None, str | None, str]


def _named(store: Store, names: Sequence[str], split: SplitName, data: str | None) -> list[Evaluated]:
    """An evaluation of each run named, of the same targets: the newest that all of them have."""
    runs = runs_of(store, names)
    datasets = {run.name: run.dataset for run in runs}
    if len(set(datasets.values())) > 1:
        shown = ", ".join(f"{name} on {dataset}" for name, dataset in datasets.items())
        raise UsageError(f"runs of different data sets cannot be compared ({shown}); name runs of one data set")
    for run in runs:
        if data not in (None, run.dataset):
            raise UsageError(
                f"run {run.name} is on data set {run.dataset!r}, not {data!r}; drop --data or name other runs"
            )
    found = [_by_targets(store, run, split) for run in runs]
    for run, evaluations in zip(runs, found, strict=True):
        if not evaluations:
            raise NotFoundError(
                f"run {run.name!r} is not evaluated on {split}; do so: `patchrec eval {run.name} --split {split}`"
            )
    shared = set.intersection(*(set(evaluations) for evaluations in found))
    if not shared:
        raise UsageError(_different_targets(store, runs, split))
    best = max(shared, key=lambda targets: max(evaluations[targets].id for evaluations in found))
    return [(run, evaluations[best]) for run, evaluations in zip(runs, found, strict=True)]


def _different_targets(store: Store, runs: list[Run], split: SplitName) -> str:
    """Word that the newest evaluations of two runs are of different targets, or of one data set's earlier catalog."""
    newest = {run.name: store.evaluations.all(run.name, split)[-1] for run in runs}
    earlier = _earlier_catalog(store, newest)
    if earlier is not None:
        return earlier
    ranked = {name: {target_key(row) for row in store.evaluations.rankings(found.id)} for name, found in newest.items()}
    first, *others = ranked
    other = next((name for name in others if ranked[name] != ranked[first]), others[0])
    shared = len(ranked[first] & ranked[other])
    return (
        f"runs {first!r} and {other!r} ranked different targets ({len(ranked[first])} and {len(ranked[other])}, "
        f"{shared} shared); evaluate both with the same --limit and --users-with"
    )


def _earlier_catalog(store: Store, newest: dict[str, Evaluation]) -> str | None:
    """Word that evaluations of the same targets ranked a catalog before and after items were added; else None."""
    first, *others = newest
    for other in others:
        pair = newest[first], newest[other]
        if pair[0].catalog == pair[1].catalog or _asked(pair[0]) != _asked(pair[1]):
            continue
        sizes = [_catalog_size(store, found) for found in pair]
        small = pair[sizes.index(min(sizes))]
        asked = {"--limit": small.config.get("limit"), "--users-with": small.config.get("users_with")}
        limit = "".join(f" {flag} {value}" for flag, value in asked.items() if value is not None)
        return (
            f"runs {first!r} and {other!r} ranked different catalogs ({sizes[0]:,} and {sizes[1]:,} items: some were "
            f"added between); evaluate the earlier one again: `patchrec eval {small.run} --split {small.split}{limit}`"
        )
    return None


def _catalog_size(store: Store, found: Evaluation) -> int:
    """How many items the catalog had that an evaluation ranked."""
    versions = store.catalogs.versions(store.runs.get(found.run).dataset)
    return next((version.num_items for version in versions if version.fingerprint == found.catalog), 0)


def _asked(found: Evaluation) -> tuple[int, int | None, str | None]:
    """Which targets an evaluation ranked: how many, and the limit and range of users that chose them."""
    return found.num_targets, found.config.get("limit"), found.config.get("users_with")


def _all_evaluated(
    store: Store, split: SplitName, data: str | None, report: Reporter
) -> tuple[list[Evaluated], dict[str, str]]:
    """Evaluations of the targets that most runs ranked, and the runs left out, with what they ranked instead.

    Of equals those of the most targets, then those of the largest catalog.
    """
    dataset = pick_dataset(store, data, report)
    runs = [run for run in store.runs.all() if run.dataset == dataset]
    found = [(run, _by_targets(store, run, split)) for run in runs]
    groups: dict[Targets, list[Evaluated]] = defaultdict(list)
    for run, evaluations in found:
        for targets, evaluation in evaluations.items():
            groups[targets].append((run, evaluation))
    if not groups:
        raise NotFoundError(
            f"no run on {dataset!r} is evaluated on the {split} split yet; evaluate one: `patchrec eval`"
        )
    best = max(
        groups,
        key=lambda targets: (len(fold(groups[targets])), targets[0], _catalog_size(store, groups[targets][0][1])),
    )
    left_out = {
        run.name: "another catalog" if best[:3] in {targets[:3] for targets in evaluations} else "other targets"
        for run, evaluations in found
        if evaluations and best not in evaluations
    }
    return groups[best], left_out


def _by_targets(store: Store, run: Run, split: SplitName) -> dict[Targets, Evaluation]:
    """The newest evaluation of a run for each set of targets and catalog that it ranked."""
    return {(*_asked(found), found.catalog): found for found in store.evaluations.all(run.name, split)}


def _differences(
    rows: list[Compared], rankings: dict[str, list[RankingRow]], metric: str, comparisons: int
) -> list[dict[str, float] | None]:
    """Each row minus the reference on the same targets, with Holm's correction for so many comparisons.

    None for the reference.

    Also None where the metric is the log-probability under scores that do not compare.
    """
    reference, *others = rows
    users = _user_numbers(rankings[reference.run.name])
    of_targets = partial(_target_metric, metric=metric)
    base = reference.values(rankings, of_targets)
    found = [
        None
        if metric == LOG_PROB and len(scores := row.scores | reference.scores) > 1 and not scores <= NORMALISED
        else asdict(paired(row.values(rankings, of_targets), base, users, flips=flips_for(comparisons)))
        for row in others
    ]
    corrected = iter(holm([difference["p_value"] for difference in found if difference], comparisons))
    return [None, *(difference and difference | {"p_adjusted": next(corrected)} for difference in found)]


def _target_metric(rows: list[RankingRow], metric: str) -> Any:
    """(B,) value of each target under a metric in its default view."""
    _, _, k = metric.partition("@")
    level, seen = LOG_PROB_VIEW if metric == LOG_PROB else ("item", "dropped")
    return target_values(rows, level, seen, (int(k),) if k else ())[metric]


def _user_numbers(rows: list[RankingRow]) -> Any:
    """(B,) a number for the user of each target."""
    import numpy as np

    return np.unique([row.user_id for row in rows], return_inverse=True)[1]


def _row(row: Compared, metrics: list[dict[str, Any]], difference: dict[str, float] | None) -> dict[str, Any]:
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
        "tokens_per_target": row.cost("tokens_per_target"),
        "seconds_per_target": row.cost("seconds_per_target"),
    }


def _over_all(metrics: list[MetricRow]) -> list[MetricRow]:
    """Metrics over all targets, no slice of them."""
    return [row for row in metrics if row.slice == "all"]


def _value(metrics: list[dict[str, Any]], name: str) -> float | None:
    """A metric in its default view."""
    view = LOG_PROB_VIEW if name == LOG_PROB else ("item", "dropped")
    return next((row["value"] for row in metrics if row["name"] == name and (row["level"], row["seen"]) == view), None)
