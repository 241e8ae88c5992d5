"""Which evaluations a comparison takes: of runs that are named or fit, on the same targets, knowing what is asked."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from patchrec.config import SplitName
from patchrec.errors import NotFoundError, UsageError
from patchrec.evaluation.compare import target_key
from patchrec.evaluation.derived import is_known, of_ranks
from patchrec.evaluation.rows import LOG_PROB
from patchrec.operations.compared import Evaluated, fold, runs_of
from patchrec.operations.datasets import pick_dataset
from patchrec.reporting import Reporter
from patchrec.store import Store
from patchrec.store.evaluations import Evaluation, MetricRow
from patchrec.store.runs import Run

# how many, the limit and the range of users that chose them (together they fix a sample), the catalog, the interactions
Targets = tuple[int, int | None, str | None, str, str]


def named_evaluations(
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


def all_evaluated(
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
            data_version(store, groups[targets][0][1]),
            targets[0],
            catalog_size(store, groups[targets][0][1]),
        ),
    )

    def other(evaluations: dict[Targets, Evaluation]) -> str:
        if best[4] not in {targets[4] for targets in evaluations}:
            return "another version of the data"
        return "another catalog" if best[:3] in {targets[:3] for targets in evaluations} else "other targets"

    left_out = {run.name: other(evaluations) for run, evaluations in found if evaluations and best not in evaluations}
    return groups[best], left_out


def with_log_prob(chosen: list[Evaluated], notes: list[str], *, named: bool) -> list[Evaluated]:
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


def refuse_unknown_ranks(
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
        numbers = [data_version(store, found) for found in pair]
        old = pair[numbers.index(min(numbers))]
        return (
            f"runs {first!r} and {other!r} are evaluated on versions {numbers[0]} and {numbers[1]} of the data set, "
            f"which grew between; evaluate the earlier one again: `{_evaluate_again(old)}`"
        )
    return None


def data_version(store: Store, found: Evaluation) -> int:
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
        sizes = [catalog_size(store, found) for found in pair]
        small = pair[sizes.index(min(sizes))]
        return (
            f"runs {first!r} and {other!r} ranked different catalogs ({sizes[0]:,} and {sizes[1]:,} items: some were "
            f"added between); evaluate the earlier one again: `{_evaluate_again(small)}`"
        )
    return None


def catalog_size(store: Store, found: Evaluation) -> int:
    """How many items the catalog had that an evaluation ranked."""
    versions = store.catalogs.versions(store.runs.get(found.run).dataset)
    return next((version.num_items for version in versions if version.fingerprint == found.catalog), 0)


def _asked(found: Evaluation) -> tuple[int, int | None, str | None]:
    """Which targets an evaluation ranked: how many, and the limit and range of users that chose them."""
    return found.num_targets, found.config.get("limit"), found.config.get("users_with")


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
