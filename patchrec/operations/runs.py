"""Runs: list, show, compare, mark, remove. Reads stored rows; no model runs here."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from patchrec.config import NORMALISED, SplitName
from patchrec.errors import NotFoundError, UsageError, unknown
from patchrec.evaluation.compare import shared_targets, target_key
from patchrec.evaluation.derived import cut_offs, is_known, of_ranks, with_metrics
from patchrec.evaluation.protocols import PROTOCOLS
from patchrec.evaluation.rows import LOG_PROB, LOG_PROB_VIEW, default_values
from patchrec.evaluation.significance import flips_for, holm, interval_note, num_comparisons, paired
from patchrec.operations.compared import Compared, Evaluated, apart, fold, missing_seeds, runs_of
from patchrec.operations.datasets import pick_dataset
from patchrec.operations.run_columns import Columned
from patchrec.operations.run_faults import faults_of
from patchrec.operations.run_fields import chosen as chosen_runs
from patchrec.operations.run_fields import differing
from patchrec.operations.run_plugins import shown_plugins
from patchrec.operations.training.run_progress import run_progress
from patchrec.reporting import SILENT, Reporter
from patchrec.store import Store
from patchrec.store.evaluations import Evaluation, MetricRow, RankingRow
from patchrec.store.marks import Marks
from patchrec.store.runs import Run, as_json

LEVEL = 0.05  # of p-values below which a difference is called one
QUICKLY_READ = 100_000  # items of a catalog that a listing looks at; `doctor` looks at all
COMPRESSION = {name: f"compression_{name}" for name in ("paper", "history", "prompt")}


def list_runs(
    *, where: str | None = None, tags: Sequence[str] = (), limit: int | None = None, home: Path | None = None
) -> list[dict[str, Any]]:
    """Runs, newest first, with what a listing shows, and their `faults` (`what` is wrong, `fix`).

    Args:
        where: A condition on their fields and settings, in SQL (`docs/store.md`); None takes all.
        tags: Which they all have.
        limit: The newest so many of these; a group of seeds counts as one.
        home: Folder of the store.

    Raises:
        UsageError: `where` is no condition on runs.
    """
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
        "note",
        "tags",
    )
    with Store.open(home) as store:
        runs = chosen_runs(store.runs.all(), where, tags)
        newest = list(dict.fromkeys(run.group or run.name for run in reversed(runs)))[:limit]
        runs = [run for run in runs if (run.group or run.name) in newest]
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
            "plugins": shown_plugins(store, run),
            "progress": asdict(run_progress(run, losses)) if losses else None,
            "losses": [asdict(row) for row in losses],
            "validations": [asdict(row) for row in store.runs.validations(run.name)],
            "protocols": [
                asdict(found) | {"metrics": [asdict(row) for row in store.evaluations.metrics(found.id)]}
                for protocol in PROTOCOLS
                for found in store.evaluations.all(run.name, protocol=protocol)
            ],
            "checkpoints": [
                {"step": saved.step, "path": str(saved.path)}
                for saved in store.runs.checkpoints(run.name)
                if saved.path.exists()  # a running process prunes folders first, its notes at the end
            ],
            "evaluations": evaluations,
            "faults": [asdict(fault) for fault in faults_of(store, [run]).get(run.name, ())],
        }


def edit_run(
    name: str,
    *,
    note: str | None = None,
    tags: Sequence[str] = (),
    without: Sequence[str] = (),
    home: Path | None = None,
) -> dict[str, Any]:
    """Note and tag a run that is there.

    Args:
        name: Of the run, or the unique beginning of one.
        note: In place of the old one; an empty one takes it away, None leaves it.
        tags: To add.
        without: Tags to take away.
        home: Folder of the store.

    Returns:
        Its `name`, `note` and `tags` now.

    Raises:
        NotFoundError: No such run, or it has no such tag. UsageError: Nothing to change, or a tag or note that is none.
    """
    marks = Marks(note=note, tags=tuple(tags))
    if not marks.given and not without:
        raise UsageError("nothing to change; give --note TEXT, --tag WORD or --untag WORD")
    if both := sorted(set(tags) & set(without)):
        raise UsageError(f"tag {both[0]!r} is to be added and taken away; choose one")
    with Store.open(home) as store:
        run = store.runs.mark(name, marks, without=without)
    return {"name": run.name, "note": run.note, "tags": list(run.tags)}


def remove_run(*names: str, home: Path | None = None) -> None:
    """Put runs into the trash, all or none: `patchrec.operations.trash` takes back what is there, or empties it.

    Args:
        names: Whole: the beginning of a name finds a run, and removes none.
        home: Folder of the store.

    Raises:
        NotFoundError: No such run.
        UsageError: One is running, or another run started from it and would stay.
    """
    with Store.open(home) as store:
        store.trash.put(names)


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
            chosen = _named(store, names, split, data, choose, needed)
        else:
            chosen, left_out = _all_evaluated(store, split, data, choose, needed, report)
        metrics = {run.name: _over_all(store.evaluations.metrics(found.id)) for run, found in chosen}
        rankings = {run.name: store.evaluations.rankings(found.id) for run, found in chosen}
        sizes = _catalog_size(store, chosen[0][1]), store.catalogs.versions(chosen[0][0].dataset)[-1].num_items
        notes = [f"{name} is left out: it ranked {other}" for name, other in left_out.items()]
        notes += missing_seeds(store, fold(chosen), split) if grouped else []
        of_data = [_data_version(store, chosen[0][1]), store.versions.all(chosen[0][0].dataset)[-1].version]
    if of_data[0] != of_data[1]:
        notes.append(f"these are of version {of_data[0]} of the data set; it is at version {of_data[1]} now")
    if sizes[0] != sizes[1]:
        notes.append(f"these ranked an earlier catalog of {sizes[0]:,} items; it has {sizes[1]:,} now")
    known_to = min((found.exact_to for _, found in chosen if found.exact_to is not None), default=None)
    metric = metric or ("mrr" if known_to is None else f"mrr@{known_to}")
    columns = columns(metric) if callable(columns) else columns
    if metric == LOG_PROB:
        chosen = _with_log_prob(chosen, notes, named=bool(names))
    compared = fold(chosen) if grouped else apart(chosen)
    known = list(dict.fromkeys(row.name for run, _ in chosen for row in metrics[run.name]))
    known += [name for name in cut_offs(metric, sort, fail_if, *columns) if name not in known]
    if metric not in {*known, "mrr"}:
        raise UsageError(unknown("metric", metric, known))
    _refuse_unknown_ranks(chosen, metrics, metric, {"--sort": sort, "--fail-if": fail_if}, columns)
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


# how many, the limit and the range of users that chose them (together they fix a sample), the catalog, the interactions
Targets = tuple[int, int | None, str | None, str, str]


def _refuse_unknown_ranks(
    chosen: Sequence[Evaluated],
    metrics: Mapping[str, Sequence[MetricRow]],
    metric: str,
    asked: Mapping[str, str | None],
    columns: Sequence[str],
) -> None:
    """Refuse metrics that evaluations with `--exact-to` do not know.

    Args:
        chosen: What is compared.
        metrics: Those stored, by run.
        metric: What differences are taken in.
        asked: Option -> what names metrics that every run has to know.
        columns: Of which each run shows what it knows, one of them all.

    Raises:
        UsageError: The message says what to do.
    """
    for run, found in chosen:
        if metric == LOG_PROB:
            lacking = [] if any(row.name == LOG_PROB for row in metrics[run.name]) else [f"--metric {metric}"]
        else:
            lacking = [] if is_known(metric, found.exact_to) else [f"--metric {metric}"]
        for option, text in asked.items():
            lacking += [f"{option} {name}" for name in of_ranks(text) if not is_known(name, found.exact_to)]
        if found.exact_to is not None and lacking:
            raise UsageError(_beyond(lacking[0], run, found))
    for name in of_ranks(*columns):
        if not any(is_known(name, found.exact_to) for _, found in chosen):
            raise UsageError(_beyond(f"--columns {name}", *chosen[0]))


def _beyond(asked: str, run: Run, found: Evaluation) -> str:
    """Word that an evaluation does not know the ranks that something needs."""
    return (
        f"{asked}: the evaluation of {run.name} is exact to rank {found.exact_to} and does not know it; take a cutoff "
        f"up to {found.exact_to}, or `patchrec eval {run.name} --split {found.split}` without --exact-to"
    )


def _named(
    store: Store,
    names: Sequence[str],
    split: SplitName,
    data: str | None,
    choose: Callable[[list[Run]], list[Run]],
    needed: Sequence[str],
) -> list[Evaluated]:
    """An evaluation of each run named and chosen, of the same targets: the newest that all of them have."""
    named = runs_of(store, names)
    runs = _some(choose(named))
    first = named[0].group or named[0].name
    if first != (runs[0].group or runs[0].name):
        raise UsageError(
            f"run {first}, the reference, is left out by --where or --tag; name another first, or drop these"
        )
    datasets = {run.name: run.dataset for run in runs}
    if len(set(datasets.values())) > 1:
        shown = ", ".join(f"{name} on {dataset}" for name, dataset in datasets.items())
        raise UsageError(f"runs of different data sets cannot be compared ({shown}); name runs of one data set")
    for run in runs:
        if data not in (None, run.dataset):
            raise UsageError(
                f"run {run.name} is on data set {run.dataset!r}, not {data!r}; drop --data or name other runs"
            )
    found = [_by_targets(store, run, split, needed) for run in runs]
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


def _with_log_prob(chosen: list[Evaluated], notes: list[str], *, named: bool) -> list[Evaluated]:
    """The evaluations that have log-probabilities: lists of another system have none.

    Raises:
        UsageError: One that was named has none, or no one has.
    """
    kept = [(run, found) for run, found in chosen if found.score != "list"]
    without = [run.name for run, found in chosen if found.score == "list"]
    if without and (named or not kept):
        raise UsageError(
            f"run {without[0]} holds lists of another system, which have no log_prob; choose another --metric"
        )
    notes += [f"{name} is left out: lists of another system have no log_prob" for name in without]
    return kept


def _different_targets(store: Store, runs: list[Run], split: SplitName) -> str:
    """Word that the newest evaluations of two runs are of different targets, or of one data set's earlier catalog."""
    newest = {run.name: store.evaluations.all(run.name, split)[-1] for run in runs}
    earlier = _earlier_data(store, newest) or _earlier_catalog(store, newest)
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


def _earlier_data(store: Store, newest: dict[str, Evaluation]) -> str | None:
    """Word that two evaluations are of different versions of a data set; else None."""
    first, *others = newest
    for other in others:
        pair = newest[first], newest[other]
        if pair[0].data == pair[1].data:
            continue
        numbers = [_data_version(store, found) for found in pair]
        old = pair[numbers.index(min(numbers))]
        return (
            f"runs {first!r} and {other!r} are evaluated on versions {numbers[0]} and {numbers[1]} of the data set, "
            f"which grew between; evaluate the earlier one again: `{_evaluate_again(old)}`"
        )
    return None


def _data_version(store: Store, found: Evaluation) -> int:
    """The version of its data set that an evaluation is of."""
    known = store.versions.find(store.runs.get(found.run).dataset, found.data)
    return known.version if known else 0


def _evaluate_again(found: Evaluation) -> str:
    """The command that evaluates the same targets today."""
    asked = {"--limit": found.config.get("limit"), "--users-with": found.config.get("users_with")}
    limit = "".join(f" {flag} {value}" for flag, value in asked.items() if value is not None)
    return f"patchrec eval {found.run} --split {found.split}{limit}"


def _earlier_catalog(store: Store, newest: dict[str, Evaluation]) -> str | None:
    """Word that evaluations of the same targets ranked a catalog before and after items were added; else None."""
    first, *others = newest
    for other in others:
        pair = newest[first], newest[other]
        if pair[0].catalog == pair[1].catalog or _asked(pair[0]) != _asked(pair[1]):
            continue
        sizes = [_catalog_size(store, found) for found in pair]
        small = pair[sizes.index(min(sizes))]
        return (
            f"runs {first!r} and {other!r} ranked different catalogs ({sizes[0]:,} and {sizes[1]:,} items: some were "
            f"added between); evaluate the earlier one again: `{_evaluate_again(small)}`"
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
    store: Store,
    split: SplitName,
    data: str | None,
    choose: Callable[[list[Run]], list[Run]],
    needed: Sequence[str],
    report: Reporter,
) -> tuple[list[Evaluated], dict[str, str]]:
    """Evaluations of the targets that most chosen runs ranked, and those left out, with what they ranked instead.

    Of equals those of the newest version of the data, of the most targets, of the largest catalog.
    """
    dataset = pick_dataset(store, data, report)
    runs = [run for run in store.runs.all() if run.dataset == dataset]
    runs = _some(choose(runs)) if runs else runs
    found = [(run, _by_targets(store, run, split, needed)) for run in runs]
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
        key=lambda targets: (
            len(fold(groups[targets])),
            _data_version(store, groups[targets][0][1]),
            targets[0],
            _catalog_size(store, groups[targets][0][1]),
        ),
    )

    def other(evaluations: dict[Targets, Evaluation]) -> str:
        if best[4] not in {targets[4] for targets in evaluations}:
            return "another version of the data"
        return "another catalog" if best[:3] in {targets[:3] for targets in evaluations} else "other targets"

    left_out = {run.name: other(evaluations) for run, evaluations in found if evaluations and best not in evaluations}
    return groups[best], left_out


def _some(runs: list[Run]) -> list[Run]:
    """The runs, if there is one.

    Raises:
        NotFoundError: There is none.
    """
    if not runs:
        raise NotFoundError("no run fits --where and --tag; see `patchrec runs ls`")
    return runs


def _by_targets(store: Store, run: Run, split: SplitName, needed: Sequence[str]) -> dict[Targets, Evaluation]:
    """The newest evaluation of a run for each set of targets and catalog, if possible one that knows some metrics."""
    found = sorted(
        store.evaluations.all(run.name, split), key=lambda one: sum(is_known(name, one.exact_to) for name in needed)
    )
    return {(*_asked(one), one.catalog, one.data): one for one in found}


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
