"""Verb: fit one run for each of several seeds, one after the other, as a group."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from patchrec.errors import InterruptedRunError, UsageError, not_found
from patchrec.operations.load import fingerprints, further_starts, start_folder, versions
from patchrec.operations.run_plugins import plugins_of, refuse_changed_plugins
from patchrec.operations.training.asked import Asked, check_seeds, draws
from patchrec.operations.training.new_run import NewRun
from patchrec.operations.training.train import (
    RunResult,
    finished_result,
    go_on,
    refuse_planned_otherwise,
    refuse_unknown,
)
from patchrec.recommender import Saved
from patchrec.reporting import SILENT, Reporter
from patchrec.store import Store
from patchrec.store.marks import NO_MARKS, Marks
from patchrec.store.runs import LIST_THEM
from patchrec.store.seed_groups import Planned, SeedGroup
from patchrec.training.processes import Process


@dataclass(frozen=True, slots=True)
class GroupResult:
    """A group of seeds that was fitted.

    Attributes:
        seeds: In the order given.
        runs: Those that are done.
        elsewhere: Runs that another process is at.
    """

    group: str
    label: str
    stage: str
    kind: str
    dataset: str
    seeds: list[int]
    runs: list[RunResult]
    elsewhere: list[str]


def fit_seeds(
    asked: Asked,
    seeds: Sequence[int],
    *,
    marks: Marks = NO_MARKS,
    home: Path | None = None,
    report: Reporter = SILENT,
) -> GroupResult:
    """Make a group of runs that differ in their seed alone, and fit one after the other.

    All are settled before the first begins, so that what does not fit is told at once, and what a default picks is the
    same for all.

    Args:
        asked: What each run is.
        seeds: Of the runs; a fine-tuning from a group starts each from the run of its own seed.
        marks: Name of the group (each run's has its seed after it: `-s0`), note and tags of every run.
        home: Folder of the store.
        report: Where picks and progress go.

    Raises:
        NotFoundError: No such strategy, kind, data set, run or backbone.
        UsageError: Settings that do not fit, a kind that draws nothing at random, or a name that is taken.
        InterruptedRunError: Stopped by a signal after saving; the message has the command that goes on.
    """
    refuse_several_processes()
    refuse_unknown(asked.settings)
    chosen = check_seeds(seeds)
    with Store.open(home) as store:
        if marks.name in store.seed_groups.all():
            raise UsageError(
                f"--name {marks.name}: a group of seeds has it; give it more of them with `patchrec {asked.command} "
                f"--resume {marks.name} --seeds N,N`, or choose another name"
            )
        store.runs.check_free(marks)
        new = settle_seeds(store, asked, chosen, report)
        if not draws(new[0]):
            raise UsageError(f"{new[0].label} draws nothing at random, so all seeds give one run; drop --seeds")
        group = store.seed_groups.create([planned(run) for run in new], marks)
    report.note(f"group {group.name}: {len(chosen)} runs, one after the other")
    return _fit(group, force=False, home=home, report=report)


def resume_seeds(
    name: str,
    command: str,
    more: Sequence[int] = (),
    *,
    force: bool = False,
    home: Path | None = None,
    report: Reporter = SILENT,
) -> GroupResult:
    """Go on with what is missing of a group: runs that wait, stopped, failed or lost their process.

    Args:
        name: Of the group.
        command: That is asked to: the one that made it.
        more: Seeds that it gets a run for each, with its own settings.
        force: Go on although data, tokenizer or versions changed since.
        home: Folder of the store.
        report: Where progress goes.

    Raises:
        NotFoundError: No such group. UsageError: All its runs are done and no seed is new, another command made it, or
            a run of a new seed would not compare with the others.
        InterruptedRunError: Stopped by a signal after saving.
    """
    refuse_several_processes()
    with Store.open(home) as store:
        group = store.seed_groups.find(name)
        if group is None:
            raise not_found("group of seeds", name, store.seed_groups.all(), LIST_THEM)
    if command not in (group.command, group.command.partition(" ")[0]):
        raise UsageError(
            f"group {group.name} is of `patchrec {group.command}`; resume it with "
            f"`patchrec {group.command} --resume {group.name}`"
        )
    if more:
        with Store.open(home) as store:
            new = more_seeds(store, group, check_seeds(more), report, force=force)
            group = store.seed_groups.extend(group.name, new)
        report.note(f"group {group.name}: {len(more)} more runs, one after the other")
    if all(run.status == "done" for run in group.runs):
        raise UsageError(
            f"all runs of {group.name} are done; evaluate them with `patchrec eval {group.name}`, or give it more "
            "with --seeds"
        )
    return _fit(group, force=force, home=home, report=report)


def settle_seeds(store: Store, asked: Asked, seeds: Sequence[int], report: Reporter) -> list[NewRun]:
    """A run for each seed, before they begin; what defaults pick is told once."""
    return [asked.settle(store, seed, report if number == 0 else SILENT) for number, seed in enumerate(seeds)]


def more_seeds(
    store: Store, group: SeedGroup, seeds: Sequence[int], report: Reporter, *, force: bool = False
) -> list[Planned]:
    """Runs of further seeds as a group's own are: with its settings, on the version of the data that it learns from.

    Raises:
        UsageError: Its runs differ in more than their seeds, a seed has no run to start from, or the run would not be
            what its others are.
    """
    first = group.runs[0]
    if len({run.config.model_copy(update={"seed": 0, "parent": None}).model_dump_json() for run in group.runs}) > 1:
        raise UsageError(
            f"runs of group {group.name} read other runs of their own seeds; add the seeds to the sweep that made them"
        )
    new = [first.config.model_copy(update={"seed": seed, "parent": _parent(store, group, seed)}) for seed in seeds]
    if not force:
        refuse_changed_plugins(store, first, report)
        dataset = store.datasets.load_as(first.dataset, first.fingerprints.get("split", ""))
        starts = further_starts(store, new[0], report)
        refuse_planned_otherwise(
            first, fingerprints(Saved(new[0], dataset, start=start_folder(store, new[0], report), starts=starts))
        )
    noted = store.runs.plugins(first.name)
    return [Planned(config, first.label, versions(), first.fingerprints, noted) for config in new]


def _parent(store: Store, group: SeedGroup, seed: int) -> str | None:
    """The run that a further seed of a group starts from: that of its own seed where the others do so, else theirs."""
    parents = {run.parent for run in group.runs}
    starts = [store.runs.get(run.parent) for run in group.runs if run.parent is not None]
    if not starts or {start.seed for start in starts} != set(group.seeds) or starts[0].group is None:
        return parents.pop()
    source = store.seed_groups.all()[starts[0].group]
    found = source.of_seed(seed)
    if found is None:
        raise UsageError(
            f"each seed of {group.name} starts from the run of its own seed of {source.name}, which has none of "
            f"{seed}; add it: `patchrec {source.command} --resume {source.name} --seeds {seed}`"
        )
    return found.name


def planned(new: NewRun) -> Planned:
    """A settled run as the store keeps it until its turn."""
    return Planned(new.config, new.label, versions(), new.fingerprints, plugins_of(new.config))


def refuse_several_processes() -> None:
    """Refuse to share the work of one run over processes where there are several runs.

    Raises:
        UsageError: A launcher started several processes.
    """
    if Process.this_one().count > 1:
        raise UsageError(
            "several processes train one run and no more; start this without torchrun, or give it one --seed at a time"
        )


def _fit(group: SeedGroup, *, force: bool, home: Path | None, report: Reporter) -> GroupResult:
    """Fit what is not done of a group."""
    results, elsewhere = [], []
    with Store.open(home) as store:
        for number, member in enumerate(group.runs, 1):
            with store.claims.held(f"fit {member.name}") as mine:
                run = store.runs.get(member.name)
                if run.status != "done" and (not mine or run.status == "running"):
                    elsewhere.append(run.name)
                    continue
                result = finished_result(store, run) if run.status == "done" else None
                if result is None:
                    report.note(f"{run.name}: seed {run.seed}, {number} of {len(group.runs)}")
                    try:
                        result = go_on(run.name, force=force, home=home, report=report)
                    except InterruptedRunError as error:
                        again = f"`patchrec {group.command} --resume {group.name}`"
                        raise InterruptedRunError(f"{error}; all seeds: {again}", error.exit_code) from error
                results.append(result)
    if elsewhere:
        report.note(f"another process is at {', '.join(elsewhere)}")
    first = group.runs[0]
    return GroupResult(
        group=group.name,
        label=group.label,
        stage=first.stage,
        kind=first.kind,
        dataset=first.dataset,
        seeds=group.seeds,
        runs=results,
        elsewhere=elsewhere,
    )
