"""Verb: fit what a file says, choose on validation, and read the test split once at the end."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from patchrec.config import SplitName
from patchrec.errors import CheckFailedError, InterruptedRunError, UsageError
from patchrec.evaluation.rows import LOG_PROB, LOG_PROB_VIEW
from patchrec.evaluation.seeds import deviation
from patchrec.operations.comparison import compare_runs
from patchrec.operations.evaluate import EvaluationResult, evaluate, find_evaluation
from patchrec.operations.sweeping.file import SweepFile, lines_of, parts_of, read_sweep
from patchrec.operations.sweeping.settled import Settled, find, make, settle
from patchrec.operations.sweeping.shared_work import share
from patchrec.operations.training.seeds import refuse_several_processes
from patchrec.operations.training.train import go_on
from patchrec.reporting import SILENT, Reporter, WithoutNotes
from patchrec.store import Store
from patchrec.store.evaluations import Evaluation
from patchrec.store.runs import Run

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
        num_runs: All its runs, of parts too; to_fit: Those that had to be fitted, or still have.
        to_evaluate: Evaluations on validation that had to be made, or still have.
        parts: What is fitted first, and does not compete.
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
    parts: list[SweepLine]
    chosen: list[str]
    test_read: list[str]
    comparison: dict[str, Any] | None


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
        asked = lines_of(plan)
        parts: dict[str, Settled] = {}
        for name, line in parts_of(plan, asked).items():
            parts[name] = find(store, settle(store, line, parts, SILENT))
        settled = [settle(store, line, parts, report if number == 0 else SILENT) for number, line in enumerate(asked)]
        found = [find(store, one) for one in settled]
        lines = [_told(store, one, plan) for one in found]
        counted = _counted(store, [*parts.values(), *found], found, plan)
        if dry_run:
            first = [_told(store, one, None) for one in parts.values()]
            return SweepResult(dataset.name, plan.metric, *counted, lines, first, [], [], None)
    again = f"`patchrec sweep {path}`"
    try:
        parts = _fit_parts(parts, home, report, again)
        with Store.open(home) as store:
            found = [_made(store, one, parts) for one in found]
        _fit_all(found, plan, home, report, again)
        with Store.open(home) as store:
            lines = _choose([_told(store, one, plan) for one in found])
            first = [_told(store, one, None) for one in parts.values()]
        best = {line.name: one for line, one in zip(lines, found, strict=True) if line.chosen}
        chosen = [run for name in plan.names for run in best[name].runs]
        names = [str(best[name].called) for name in plan.names]
        read = _read_test(chosen, found, plan, home, report)
    except InterruptedRunError as error:
        raise InterruptedRunError(f"{error}; the whole sweep: {again}", error.exit_code) from error
    comparison = compare_runs(chosen, metric=plan.metric, data=dataset.name, home=home, report=SILENT)
    return SweepResult(dataset.name, plan.metric, *counted, lines, first, names, read, comparison)


def _made(store: Store, one: Settled, parts: Mapping[str, Settled]) -> Settled:
    """A line with its runs in the store, where its parts are done."""
    if one.waits:
        one = settle(store, one.line, parts, SILENT)
    return one if one.runs else make(store, one)


def _fit_parts(parts: Mapping[str, Settled], home: Path | None, report: Reporter, again: str) -> dict[str, Settled]:
    """Fit what the runs start from or read, those first that need no other.

    Raises:
        CheckFailedError: One failed.
    """
    done: dict[str, Settled] = {}
    while len(done) < len(parts):
        ready = [name for name, one in parts.items() if name not in done and not set(one.line.parts) - set(done)]
        with Store.open(home) as store:
            made = {name: _made(store, parts[name], done) for name in ready}
        shown = {run: name for name, one in made.items() for run in one.runs}

        def fit(run: Run, shown: Mapping[str, str] = shown) -> None:
            report.note(f"{run.name}: part {shown[run.name]}, seed {run.seed}")
            go_on(run.name, home=home, report=report)

        failed = share(list(shown), lambda _, run: run.status == "done", fit, home=home, report=report)
        _refuse_failed(failed, shown, len(shown), again)
        done |= made
    return {name: done[name] for name in parts}


def _refuse_failed(failed: Mapping[str, str], shown: Mapping[str, str], number: int, again: str) -> None:
    if failed:
        name, why = next(iter(failed.items()))
        raise CheckFailedError(
            f"{len(failed)} of {number} runs failed, and the test split was not read; {name} ({shown[name]}): "
            f"{why}; mend that or take it out of the file, then again: {again}"
        )


def _fit_all(found: Sequence[Settled], plan: SweepFile, home: Path | None, report: Reporter, again: str) -> None:
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
    _refuse_failed(failed, shown, len(names), again)


def _read_test(
    chosen: Sequence[str], found: Sequence[Settled], plan: SweepFile, home: Path | None, report: Reporter
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
        evaluate(
            run.name,
            limit=plan.test_limit,
            ks=plan.ks,
            protocol=plan.protocol,
            reuse=True,
            home=home,
            report=WithoutNotes(report),
        )
        read.append(run.name)

    failed = share(missing, lambda store, run: _is_evaluated(store, run, "test", plan), test, home=home, report=report)
    if failed:
        name, why = next(iter(failed.items()))
        raise CheckFailedError(f"{name} could not be evaluated on the test split: {why}")
    return read


def _is_evaluated(store: Store, run: Run, split: SplitName, plan: SweepFile) -> bool:
    """Whether a run is done and has all its evaluations of a split."""
    if run.status != "done" or _evaluation(store, run, split, plan) is None:
        return False
    return split != "test" or plan.protocol is None or find_counted(store, run, plan) is not None


def find_counted(store: Store, run: Run, plan: SweepFile) -> Evaluation | None:
    """The newest evaluation of a run on the test targets of a sweep, counted by its protocol; None without one."""
    catalog = store.datasets.show(run.dataset)["fingerprints"]["catalog"]
    wanted = {"limit": plan.test_limit, "ks": list(plan.ks), "catalog": catalog}
    same = [
        found
        for found in store.evaluations.all(run.name, "test", protocol=plan.protocol)
        if found.score == run.score and wanted.items() <= (found.config | {"catalog": found.catalog}).items()
    ]
    return same[-1] if same else None


def _evaluation(store: Store, run: Run, split: SplitName, plan: SweepFile) -> EvaluationResult | None:
    """The evaluation of a sweep, where it is made."""
    return find_evaluation(store, run, split, limit=plan.test_limit if split == "test" else plan.limit, ks=plan.ks)


def _counted(
    store: Store, fitted: Sequence[Settled], evaluated: Sequence[Settled], plan: SweepFile
) -> tuple[int, int, int]:
    """How many runs a sweep has, and how many are to be fitted and to be evaluated on validation."""

    def open_runs(lines: Sequence[Settled], is_done: Callable[[Run], bool]) -> tuple[int, int]:
        made = {name for one in lines for name in one.runs or one.begun}
        new = sum(len(one.seeds) - len(one.begun) for one in lines if not one.runs)
        return len(made) + new, new + sum(not is_done(store.runs.get(name)) for name in made)

    number, to_fit = open_runs(fitted, lambda run: run.status == "done")
    return number, to_fit, open_runs(evaluated, lambda run: _is_evaluated(store, run, "validation", plan))[1]


def _told(store: Store, one: Settled, plan: SweepFile | None) -> SweepLine:
    """A line as it stands now; without a plan one that is not evaluated."""
    runs = [store.runs.get(name) for name in one.runs]
    done = [run for run in runs if run.status == "done"]
    results = [] if plan is None else [_evaluation(store, run, "validation", plan) for run in done]
    metric = "" if plan is None else plan.metric
    values = [value for result in results if result and (value := _value(result, metric)) is not None]
    state: State = "new"
    if runs:
        state = "fitted" if all(run.status == "done" for run in runs) else "begun"
    if runs and len(values) == len(runs):
        state = "done"
    return SweepLine(
        name=one.line.name,
        setting=one.line.shown,
        label=one.planned[0].label if one.planned else one.line.name,
        seeds=one.seeds,
        run=one.called,
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
