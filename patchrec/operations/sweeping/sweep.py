"""Verb: fit what a file says, choose on validation, and read the test split once at the end."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from patchrec.config import RunConfig, SplitName
from patchrec.errors import CheckFailedError, InterruptedRunError, PatchrecError, UsageError
from patchrec.evaluation.rows import LOG_PROB, LOG_PROB_VIEW
from patchrec.evaluation.seeds import deviation
from patchrec.operations.comparison import compare_runs
from patchrec.operations.evaluate import EvaluationResult, evaluate, find_evaluation
from patchrec.operations.run_plugins import has_the_same_plugins
from patchrec.operations.sweeping.file import Line, SweepFile, lines_of, read_sweep
from patchrec.operations.sweeping.shared_work import share
from patchrec.operations.training.asked import draws
from patchrec.operations.training.seeds import planned, refuse_several_processes
from patchrec.operations.training.train import go_on
from patchrec.reporting import SILENT, Reporter, WithoutNotes
from patchrec.store import Store
from patchrec.store.runs import Run
from patchrec.store.seed_groups import Planned

State = Literal["new", "begun", "fitted", "done"]


@dataclass(frozen=True, slots=True)
class SweepLine:
    """One setting of a sweep.

    Attributes:
        name: Under which it competes.
        setting: Name and what is its own, in words.
        label: What its runs are, in words.
        run: Its group of seeds, or its run; None where it is not made yet.
        state: `new`, `begun`, `fitted` (not evaluated on validation) or `done`, by the least that holds for its seeds.
        validation: The metric that chooses, mean over seeds; sd: its standard deviation over seeds.
        chosen: Whether it is the best of its name.
    """

    name: str
    setting: str
    label: str
    seeds: list[int]
    run: str | None
    state: State
    validation: float | None = None
    sd: float | None = None
    chosen: bool = False


@dataclass(frozen=True, slots=True)
class SweepResult:
    """What a sweep came to.

    Attributes:
        num_runs: All its runs; to_fit: Those that had to be fitted, or still have.
        to_evaluate: Evaluations on validation that had to be made, or still have.
        chosen: Best line of each name, the reference first.
        test_read: Runs whose test targets were ranked now; those of an earlier time are used again.
        comparison: Of the chosen ones on the test split (see `compare_runs`); None in a dry run.
    """

    dataset: str
    metric: str
    num_runs: int
    to_fit: int
    to_evaluate: int
    lines: list[SweepLine]
    chosen: list[str]
    test_read: list[str]
    comparison: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class _Settled:
    """A line whose runs are known: settled, and in the store where they are made."""

    line: Line
    planned: list[Planned]
    group: str | None
    runs: list[str]


def sweep(path: Path, *, dry_run: bool = False, home: Path | None = None, report: Reporter = SILENT) -> SweepResult:
    """Fit and evaluate every line of a sweep, and compare the best of each name.

    What is done is used again, whoever did it: runs of the same configuration, evaluations of the same targets. So a
    sweep that was stopped goes on when it is given again, and several processes that are given it share the work.

    Args:
        path: The file; see `SweepFile`.
        dry_run: Only say what there is to do; no run is made. A backbone that is not there yet is fetched.
        home: Folder of the store.
        report: Where picks and progress go.

    Raises:
        InputError: The file cannot be used. NotFoundError: It names what is not there.
        UsageError: Settings that do not fit, or no validation target.
        CheckFailedError: A run failed; the test split was not read.
        InterruptedRunError: Stopped by a signal after saving.
    """
    refuse_several_processes()
    plan = read_sweep(path)
    with Store.open(home) as store:
        dataset = store.datasets.load(plan.data)
        if not dataset.num_targets("validation"):
            raise UsageError(
                f"{dataset.name} has no validation target to choose on; add it again with --validation 0.1"
            )
        settled = [
            _settle(store, line, report if number == 0 else SILENT) for number, line in enumerate(lines_of(plan))
        ]
        found = [_find(store, one) for one in settled]
        lines = [_told(store, one, plan) for one in found]
        counted = _counted(store, found, plan)
        if dry_run:
            return SweepResult(dataset.name, plan.metric, *counted, lines, [], [], None)
        found = [one if one.runs else _make(store, one) for one in found]
    again = f"`patchrec sweep {path}`"
    try:
        _fit_all(found, plan, home, report, again)
        with Store.open(home) as store:
            lines = _choose([_told(store, one, plan) for one in found])
        best = {line.name: one for line, one in zip(lines, found, strict=True) if line.chosen}
        chosen = [run for name in plan.names for run in best[name].runs]
        names = [str(called(best[name])) for name in plan.names]
        read = _read_test(chosen, found, plan, home, report)
    except InterruptedRunError as error:
        raise InterruptedRunError(f"{error}; the whole sweep: {again}", error.exit_code) from error
    comparison = compare_runs(names, metric=plan.metric, data=dataset.name, home=home, report=SILENT)
    return SweepResult(dataset.name, plan.metric, *counted, lines, names, read, comparison)


def called(one: _Settled) -> str | None:
    """What a line is called in the store: its group of several seeds, or its only run."""
    return one.runs[0] if len(one.runs) == 1 else one.group


def _settle(store: Store, line: Line, report: Reporter) -> _Settled:
    """The runs of a line, before they begin: one for each seed, or one where nothing is drawn.

    Raises:
        UsageError: Settings that do not fit; the message names the line.
    """
    try:
        first = line.asked.settle(store, line.seeds[0], report)
        seeds = line.seeds if draws(first) else line.seeds[:1]
        grouped = line.asked.start not in (None, "none") and store.seed_groups.find(str(line.asked.start)) is not None
        new = [planned(first)]
        for seed in seeds[1:]:
            if grouped:  # every seed starts from the run of its own
                new.append(planned(line.asked.settle(store, seed, SILENT)))
            else:
                new.append(replace(new[0], config=first.config.model_copy(update={"seed": seed})))
    except PatchrecError as error:
        raise type(error)(f"{line.shown}: {error}") from error
    return _Settled(line, new, None, [])


def _find(store: Store, one: _Settled) -> _Settled:
    """A line with its runs, where they are made already: a group of these very runs, or one such run."""
    wanted = [_identity(run.config, run.fingerprints) for run in one.planned]
    if len(wanted) == 1:
        same = [
            run
            for run in store.runs.all()
            if _identity(run.config, run.fingerprints) == wanted[0] and has_the_same_plugins(store, run)
        ]
        best = max(same, key=lambda run: (run.status == "done", run.id), default=None)
        return one if best is None else replace(one, group=best.group, runs=[best.name])
    for group in reversed(store.seed_groups.all().values()):
        alike = [_identity(run.config, run.fingerprints) for run in group.runs] == wanted
        if alike and all(has_the_same_plugins(store, run) for run in group.runs):
            return replace(one, group=group.name, runs=[run.name for run in group.runs])
    return one


def _identity(config: RunConfig, fingerprints: Any) -> tuple[str, dict[str, str]]:
    return config.model_dump_json(), dict(fingerprints)


def _make(store: Store, one: _Settled) -> _Settled:
    """Make the runs of a line, waiting, unless another process did so meanwhile."""
    with store.write():
        found = _find(store, one)
        if found.runs:
            return found
        if len(one.planned) == 1:
            return replace(one, runs=[store.seed_groups.plan(one.planned[0]).name])
        group = store.seed_groups.create(one.planned)
        return replace(one, group=group.name, runs=[run.name for run in group.runs])


def _fit_all(found: Sequence[_Settled], plan: SweepFile, home: Path | None, report: Reporter, again: str) -> None:
    """Fit every run and evaluate it on validation.

    Raises:
        CheckFailedError: One failed.
    """
    names = list(dict.fromkeys(name for one in found for name in one.runs))
    shown = {name: one.line.shown for one in found for name in one.runs}

    def fit(run: Run) -> None:
        report.note(f"{run.name}: {shown[run.name]}, seed {run.seed}, {names.index(run.name) + 1} of {len(names)}")
        if run.status != "done":
            go_on(run.name, home=home, report=report)
        evaluate(
            run.name,
            split="validation",
            limit=plan.limit,
            ks=plan.ks,
            reuse=True,
            home=home,
            report=WithoutNotes(report),
        )

    failed = share(
        names, lambda store, run: _is_evaluated(store, run, "validation", plan), fit, home=home, report=report
    )
    if failed:
        name, why = next(iter(failed.items()))
        raise CheckFailedError(
            f"{len(failed)} of {len(names)} runs failed, and the test split was not read; {name} ({shown[name]}): "
            f"{why}; mend that or take it out of the file, then again: {again}"
        )


def _read_test(
    chosen: Sequence[str], found: Sequence[_Settled], plan: SweepFile, home: Path | None, report: Reporter
) -> list[str]:
    """Rank the test targets with the chosen runs, and say so; those that did before are not asked again.

    Returns:
        The runs that this process asked.
    """
    others = [name for one in found for name in one.runs if name not in chosen]
    with Store.open(home) as store:
        missing = [name for name in chosen if not _is_evaluated(store, store.runs.get(name), "test", plan)]
        looked = [name for name in others if store.evaluations.newest(name, "test") is not None]
    if missing:
        report.note(f"reading the test split, for the chosen runs alone: {', '.join(missing)}")
    else:
        report.note("the test split was read before, by these runs; it is not read again")
    if looked:
        report.note(f"the test split was also read for {', '.join(looked)}, which validation did not choose")
    read = []

    def test(run: Run) -> None:
        evaluate(run.name, limit=plan.test_limit, ks=plan.ks, reuse=True, home=home, report=WithoutNotes(report))
        read.append(run.name)

    failed = share(missing, lambda store, run: _is_evaluated(store, run, "test", plan), test, home=home, report=report)
    if failed:
        name, why = next(iter(failed.items()))
        raise CheckFailedError(f"{name} could not be evaluated on the test split: {why}")
    return read


def _is_evaluated(store: Store, run: Run, split: SplitName, plan: SweepFile) -> bool:
    return run.status == "done" and _evaluation(store, run, split, plan) is not None


def _evaluation(store: Store, run: Run, split: SplitName, plan: SweepFile) -> EvaluationResult | None:
    """The evaluation of a sweep, where it is made."""
    return find_evaluation(store, run, split, limit=plan.test_limit if split == "test" else plan.limit, ks=plan.ks)


def _counted(store: Store, found: Sequence[_Settled], plan: SweepFile) -> tuple[int, int, int]:
    """How many runs a sweep has, and how many are to be fitted and to be evaluated on validation."""
    made = {name for one in found for name in one.runs}
    new = sum(len(one.planned) for one in found if not one.runs)
    runs = [store.runs.get(name) for name in made]
    fit = new + sum(run.status != "done" for run in runs)
    return len(made) + new, fit, new + sum(not _is_evaluated(store, run, "validation", plan) for run in runs)


def _told(store: Store, one: _Settled, plan: SweepFile) -> SweepLine:
    """A line as it stands now."""
    runs = [store.runs.get(name) for name in one.runs]
    results = [_evaluation(store, run, "validation", plan) if run.status == "done" else None for run in runs]
    values = [value for result in results if result and (value := _value(result, plan.metric)) is not None]
    state: State = "new"
    if runs:
        state = "fitted" if all(run.status == "done" for run in runs) else "begun"
    if runs and len(values) == len(runs):
        state = "done"
    return SweepLine(
        name=one.line.name,
        setting=one.line.shown,
        label=one.planned[0].label,
        seeds=[run.config.seed for run in one.planned],
        run=called(one),
        state=state,
        validation=fmean(values) if state == "done" else None,
        sd=deviation(values) if state == "done" else None,
    )


def _value(result: EvaluationResult, metric: str) -> float | None:
    """The metric that chooses: over items with seen ones dropped; the log-probability over titles."""
    view = LOG_PROB_VIEW if metric == LOG_PROB else ("item", "dropped")
    return next(
        (row.value for row in result.metrics if (row.name, row.level, row.seen, row.slice) == (metric, *view, "all")),
        None,
    )


def _choose(lines: Sequence[SweepLine]) -> list[SweepLine]:
    """Mark the best line of each name; of equals the first."""
    best: dict[str, SweepLine] = {}
    for line in lines:
        assert line.validation is not None  # all are evaluated
        known = best.get(line.name)
        if known is None or known.validation is None or line.validation > known.validation:
            best[line.name] = line
    return [replace(line, chosen=line is best[line.name]) for line in lines]
