"""Runs: list, show, compare, remove. Reads stored rows; no model runs here."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from patchrec.config import NORMALISED, SplitName
from patchrec.errors import NotFoundError, UsageError, unknown
from patchrec.evaluation.compare import shared_targets, target_key
from patchrec.evaluation.rows import LOG_PROB, LOG_PROB_VIEW, target_values
from patchrec.evaluation.significance import holm, interval_note, paired
from patchrec.operations.datasets import pick_dataset
from patchrec.operations.training.run_progress import run_progress
from patchrec.reporting import SILENT, Reporter
from patchrec.store import Store
from patchrec.store.evaluations import Evaluation, MetricRow, RankingRow
from patchrec.store.runs import Run, as_json

COMPRESSION = {name: f"compression_{name}" for name in ("paper", "history", "prompt")}


def list_runs(*, home: Path | None = None) -> list[dict[str, Any]]:
    """Every run, newest first, with what a listing shows."""
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
        "created_at",
        "finished_at",
    )
    with Store.open(home) as store:
        return [{key: getattr(run, key) for key in keys} for run in reversed(store.runs.all())]


def show_run(name: str, *, home: Path | None = None) -> dict[str, Any]:
    """Everything kept of a run: configuration, losses, validations, checkpoints, evaluations, and how far it is.

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
        }


def remove_run(name: str, *, home: Path | None = None) -> str:
    """Remove a run with its evaluations and checkpoints, and return its whole name.

    Raises:
        NotFoundError: No such run.
        UsageError: It is running, or another run started from it.
    """
    with Store.open(home) as store:
        whole = store.runs.get(name).name
        store.runs.remove(whole)
        return whole


def compare_runs(
    names: Sequence[str] = (),
    *,
    metric: str | None = None,
    split: SplitName = "test",
    data: str | None = None,
    home: Path | None = None,
    report: Reporter = SILENT,
) -> dict[str, Any]:
    """Put the newest evaluations of runs side by side, on one data set and the same targets.

    Args:
        names: Runs, the reference first. None named: all evaluated runs of the data set that share their targets, best
            first.
        metric: What differences to the reference are taken in, over items with seen ones dropped (`log_prob`: titles);
            default: mrr, cut off where ranks are known up to a limit alone.
        split: Whose targets.
        data: Data set, where no run is named.
        home: Folder of the store.
        report: Where picks are told.

    Returns:
        `dataset`, `split`, `num_targets`, `num_users`, `metrics` (names), `metric`, `reference`, `rows` (a run each,
        with metrics, paired difference, compression ratios and cost) and `notes`.

    Raises:
        NotFoundError: No such run, or one without an evaluation.
        UsageError: The runs are of different data sets, or ranked different targets or catalogs, or the metric needs
            ranks that some do not know.
    """
    left_out: dict[str, str] = {}
    with Store.open(home) as store:
        if names:
            chosen = _named(store, names, split, metric)
        else:
            chosen, left_out = _all_evaluated(store, split, data, metric, report)
        metrics = {run.name: _over_all(store.evaluations.metrics(found.id)) for run, found in chosen}
        rankings = {run.name: store.evaluations.rankings(found.id) for run, found in chosen}
        sizes = _catalog_size(store, chosen[0][1]), store.catalogs.versions(chosen[0][0].dataset)[-1].num_items
    notes = [f"{name} is left out: it ranked {other}" for name, other in left_out.items()]
    if sizes[0] != sizes[1]:
        notes.append(f"these ranked an earlier catalog of {sizes[0]:,} items; it has {sizes[1]:,} now")
    limit = min((found.exact_to for _, found in chosen if found.exact_to is not None), default=None)
    known = list(dict.fromkeys(row.name for run, _ in chosen for row in metrics[run.name]))
    metric = metric or ("mrr" if limit is None else f"mrr@{limit}")
    if metric not in {*known, f"mrr@{limit}"}:
        raise UsageError(unknown("metric", metric, known))
    for run, found in chosen:
        _refuse_unknown_ranks(run, found, metrics[run.name], metric)
    if not names:
        chosen.sort(key=lambda pair: -float(_target_metric(rankings[pair[0].name], metric).mean()))
    rankings = shared_targets({run.name: rankings[run.name] for run, _ in chosen})
    scores = {found.score for _, found in chosen}
    if len(scores) > 1 and not scores <= NORMALISED:
        notes.append(f"log-probabilities are under different scores ({', '.join(sorted(scores))}): not to be compared")
    num_users = len({row.user_id for row in rankings[chosen[0][0].name]})
    reference = rankings[chosen[0][0].name]
    narrow = interval_note(_target_metric(reference, metric), _user_numbers(reference))
    return {
        "dataset": chosen[0][0].dataset,
        "split": split,
        "num_targets": len(rankings[chosen[0][0].name]),
        "num_users": num_users,
        "metrics": known,
        "metric": metric,
        "reference": chosen[0][0].name,
        "rows": [
            _row(run, found, metrics[run.name], difference)
            for (run, found), difference in zip(chosen, _differences(chosen, rankings, metric), strict=True)
        ],
        "notes": notes + ([narrow] if narrow else []),
    }


Evaluated = tuple[Run, Evaluation]
# how many, the limit and the range of users that chose them (together they fix a sample), the catalog
Targets = tuple[int, int | None, str | None, str]


def _refuse_unknown_ranks(run: Run, found: Evaluation, metrics: list[MetricRow], metric: str) -> None:
    """Refuse a metric that an evaluation with `--exact-to` does not know.

    Raises:
        UsageError: The message says what to do.
    """
    if found.exact_to is None or (_gives(found, metric) and metric != LOG_PROB):
        return
    if metric == LOG_PROB and any(row.name == LOG_PROB for row in metrics):
        return
    raise UsageError(
        f"--metric {metric}: the evaluation of {run.name} is exact to rank {found.exact_to} and does not know it; take "
        f"a cutoff up to {found.exact_to}, or `patchrec eval {run.name} --split {found.split}` without --exact-to"
    )


def _gives(found: Evaluation, metric: str | None) -> bool:
    """Whether the ranks that an evaluation knows give a metric."""
    if found.exact_to is None or metric is None or metric == LOG_PROB:
        return True
    k = metric.partition("@")[2]
    return k.isdecimal() and int(k) <= found.exact_to


def _named(store: Store, names: Sequence[str], split: SplitName, metric: str | None) -> list[Evaluated]:
    """An evaluation of each run named, of the same targets: the newest that all of them have."""
    runs = list({run.name: run for run in map(store.runs.get, names)}.values())
    datasets = {run.name: run.dataset for run in runs}
    if len(set(datasets.values())) > 1:
        shown = ", ".join(f"{name} on {dataset}" for name, dataset in datasets.items())
        raise UsageError(f"runs of different data sets cannot be compared ({shown}); name runs of one data set")
    found = [_by_targets(store, run, split, metric) for run in runs]
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
    store: Store, split: SplitName, data: str | None, metric: str | None, report: Reporter
) -> tuple[list[Evaluated], dict[str, str]]:
    """Evaluations of the targets that most runs ranked, and the runs left out, with what they ranked instead.

    Of equals those of the most targets, then those of the largest catalog.
    """
    dataset = pick_dataset(store, data, report)
    runs = [run for run in store.runs.all() if run.dataset == dataset]
    found = [(run, _by_targets(store, run, split, metric)) for run in runs]
    groups: dict[Targets, list[Evaluated]] = defaultdict(list)
    for run, evaluations in found:
        for targets, evaluation in evaluations.items():
            groups[targets].append((run, evaluation))
    if not groups:
        raise NotFoundError(
            f"no run on {dataset!r} is evaluated on the {split} split yet; evaluate one: `patchrec eval`"
        )
    best = max(
        groups, key=lambda targets: (len(groups[targets]), targets[0], _catalog_size(store, groups[targets][0][1]))
    )
    left_out = {
        run.name: "another catalog" if best[:3] in {targets[:3] for targets in evaluations} else "other targets"
        for run, evaluations in found
        if evaluations and best not in evaluations
    }
    return groups[best], left_out


def _by_targets(store: Store, run: Run, split: SplitName, metric: str | None) -> dict[Targets, Evaluation]:
    """The newest evaluation of a run for each set of targets and catalog that it ranked, if possible with a metric."""
    found = sorted(store.evaluations.all(run.name, split), key=lambda found: _gives(found, metric))
    return {(*_asked(one), one.catalog): one for one in found}


def _differences(
    chosen: list[Evaluated], rankings: dict[str, list[RankingRow]], metric: str
) -> list[dict[str, float] | None]:
    """Each run minus the reference on the same targets, with Holm's correction over all; None for the reference.

    Also None where the metric is the log-probability under scores that do not compare.
    """
    (reference, evaluation), *others = chosen
    users = _user_numbers(rankings[reference.name])
    base = _target_metric(rankings[reference.name], metric)
    found = [
        None
        if metric == LOG_PROB and other.score != evaluation.score and not {other.score, evaluation.score} <= NORMALISED
        else asdict(paired(_target_metric(rankings[run.name], metric), base, users))
        for run, other in others
    ]
    corrected = iter(holm([difference["p_value"] for difference in found if difference]))
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


def _row(run: Run, found: Evaluation, metrics: list[MetricRow], difference: dict[str, float] | None) -> dict[str, Any]:
    return {
        "run": run.name,
        "label": run.label,
        "backbone": run.backbone,
        "evaluation": found.id,
        "evaluated_at": found.created_at,
        "score": found.score,
        "metrics": [asdict(row) for row in metrics],
        "difference": difference,
        "compression": {name: found.cost.get(key) for name, key in COMPRESSION.items()},
        "exact_to": found.exact_to,
        "tokens_per_target": found.cost.get("tokens_per_target"),
        "prompt_tokens_per_target": found.cost.get("prompt_tokens_per_target"),
        "catalog_tokens_per_target": found.cost.get("catalog_tokens_per_target"),
        "seconds_per_target": found.cost.get("seconds_per_target"),
    }


def _over_all(metrics: list[MetricRow]) -> list[MetricRow]:
    """Metrics over all targets, no slice of them."""
    return [row for row in metrics if row.slice == "all"]
