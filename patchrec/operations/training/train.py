"""Verbs that fit: pre-training, fine-tuning and baselines are one loop with other learners."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from patchrec.data.whole_files import private_folder
from patchrec.errors import InterruptedRunError, PatchrecError, UsageError, flag_of
from patchrec.history import FloatArray
from patchrec.model.disk import disk_errors
from patchrec.operations.load import (
    checkpoint_folder,
    find_same,
    fingerprints,
    further_starts,
    load_parts,
    plain_options,
    refuse_apart,
    start_folder,
    versions,
)
from patchrec.operations.run_plugins import plugins_of, refuse_changed_plugins
from patchrec.operations.training.job import TrainingJob
from patchrec.operations.training.new_run import (
    NewRun,
    RunSettings,
    label_of,
    new_baseline,
    new_finetuning,
    new_pretraining,
    validation_sample,
)
from patchrec.operations.training.read_runs import lent_vectors
from patchrec.plugins import find_kind
from patchrec.ranking.checked import kind_errors
from patchrec.recommender import Fitting, Part, Saved
from patchrec.reporting import SILENT, LatePicks, Reporter
from patchrec.store import Store
from patchrec.store.marks import NO_MARKS, Marks
from patchrec.store.runs import Checkpoint, LossRow, Run, ValidationRow
from patchrec.training.interrupts import Terminated, terminable
from patchrec.training.processes import Process, peer_timeout

if TYPE_CHECKING:  # torch comes when a run begins: mistakes are told before
    from patchrec.training.learner import Learner
    from patchrec.training.loop import TrainingResult


@dataclass(frozen=True, slots=True)
class RunResult:
    """A run that was fitted.

    Attributes:
        loss: Of the last step, nats per supervised label; None where nothing is learned by gradient.
        tokens: Positions run forward over all steps.
        folder: Of its checkpoint; of its language model, where it has one.
        best_step: Step whose weights the run keeps, where it measured validation targets.
        validation_loss: Of these weights on the validation targets, nats per supervised label.
        validation_metric: Their ranking metric, where that chose them.
    """

    run: str
    label: str
    stage: str
    kind: str
    dataset: str
    steps: int
    targets: int
    tokens: int
    loss: float | None
    seconds: float
    folder: str
    best_step: int | None = None
    validation_loss: float | None = None
    validation_metric: float | None = None


TOTALS = ("steps", "targets", "tokens", "loss", "seconds")  # of a finished run's summary
BEST = ("best_step", "validation_loss", "validation_metric")  # there too, where the run validated


def pretrain(
    *,
    options: dict[str, Any] | None = None,
    resume: str | None = None,
    force: bool = False,
    reuse: bool = False,
    marks: Marks = NO_MARKS,
    home: Path | None = None,
    report: Reporter = SILENT,
    **settings: Unpack[RunSettings],
) -> RunResult:
    """Teach a backbone to read patches (stage 1).

    Args:
        options: Of the strategy `patch-pretraining`; those left out or None are its defaults.
        resume: Go on with this run, with its own configuration; only `force` goes with it.
        force: Resume although data, tokenizer or versions changed since.
        reuse: Give a finished run of the same configuration back, or go on with one that was stopped.
        marks: Name, note and tags of the run.
        home: Folder of the store.
        report: Where picks and progress go.
        settings: Of a new run; see `RunSettings`.

    Returns:
        What it came to, in each of several processes; the first alone has the store and reports.

    Raises:
        NotFoundError: No such data set or backbone. UsageError: Settings that do not fit.
        InterruptedRunError: Stopped by a signal after saving.
    """
    refuse_unknown(settings)

    def settle(store: Store, report: Reporter) -> _Ready | RunResult:
        if resume is not None:
            refuse_beside_resume({**marks.given, **plain_options(options), **settings})
            return _reopened(store, resume, "pretrain", report, force=force)
        _refuse_force(force)
        return _begun(store, partial(new_pretraining, store, options, settings), reuse, marks, report)

    return _run(settle, home, report)


def finetune(
    *,
    strategy: str | None = None,
    options: dict[str, Any] | None = None,
    head: str | None = None,
    head_options: dict[str, Any] | None = None,
    start: str | None = None,
    resume: str | None = None,
    force: bool = False,
    reuse: bool = False,
    marks: Marks = NO_MARKS,
    home: Path | None = None,
    report: Reporter = SILENT,
    **settings: Unpack[RunSettings],
) -> RunResult:
    """Train to recommend with a strategy (stage 2).

    Args:
        strategy: By name.
        options: Its values; those left out or None are its defaults.
        head: What answers: `title` (the default), `item` or `both`.
        head_options: Values of that kind's options.
        start: Run to start from; "none" starts from the backbone; default: the newest pre-training run.
        resume: Go on with this run, with its own configuration; only `force` goes with it.
        force: Resume although data, tokenizer or versions changed since.
        reuse: Give a finished run of the same configuration back, or go on with one that was stopped.
        marks: Name, note and tags of the run.
        home: Folder of the store.
        report: Where picks and progress go.
        settings: Of a new run; see `RunSettings`.

    Returns:
        What it came to, in each of several processes; the first alone has the store and reports.

    Raises:
        NotFoundError: No such strategy, data set, run or backbone. UsageError: Settings that do not fit.
        InterruptedRunError: Stopped by a signal after saving.
    """
    refuse_unknown(settings)

    def settle(store: Store, report: Reporter) -> _Ready | RunResult:
        if resume is not None:
            beside = {"strategy": strategy, "head": head, "from": start, **marks.given, **settings}
            refuse_beside_resume({**beside, **plain_options(options), **plain_options(head_options)})
            return _reopened(store, resume, "finetune", report, force=force)
        _refuse_force(force)
        heads: dict[str, Any] = {"head": head, "head_options": head_options}
        settled = partial(new_finetuning, store, strategy, options, start, settings, **heads)
        return _begun(store, settled, reuse, marks, report)

    return _run(settle, home, report)


def baseline(
    name: str | None = None,
    *,
    options: dict[str, Any] | None = None,
    resume: str | None = None,
    force: bool = False,
    reuse: bool = False,
    marks: Marks = NO_MARKS,
    home: Path | None = None,
    report: Reporter = SILENT,
    **settings: Unpack[RunSettings],
) -> RunResult:
    """Fit a kind of recommender that is asked without a prompt.

    Args:
        name: Of the kind, such as "sasrec" or "item-knn"; with `resume` the run says it.
        options: Values of its options; those left out or None are its defaults.
        resume: Go on with this run, with its own configuration; only `force` goes with it.
        force: Resume although data or versions changed since.
        reuse: Give a finished run of the same configuration back, or go on with one that was stopped.
        marks: Name, note and tags of the run.
        home: Folder of the store.
        report: Where picks and progress go.
        settings: Of a new run; see `RunSettings`.

    Returns:
        The run, in each of several processes; the first alone has the store and reports.

    Raises:
        NotFoundError: No such kind or data set. UsageError: Settings that do not fit.
        InterruptedRunError: Stopped by a signal after saving.
    """
    refuse_unknown(settings)

    def settle(store: Store, report: Reporter) -> _Ready | RunResult:
        if resume is not None:
            refuse_beside_resume({**marks.given, **plain_options(options), **settings})
            return _reopened(store, resume, f"baseline {name}" if name else "baseline", report, force=force)
        _refuse_force(force)
        if name is None:
            raise UsageError("which baseline? name one, or resume a run")
        return _begun(store, partial(new_baseline, store, name, options, settings), reuse, marks, report)

    return _run(settle, home, report)


def refuse_unknown(settings: Mapping[str, object]) -> None:
    """Refuse a keyword that is no setting, as any function does.

    Raises:
        TypeError: There is one.
    """
    unknown = settings.keys() - RunSettings.__annotations__.keys()
    if unknown:
        named = ", ".join(sorted(unknown))
        raise TypeError(
            f"no such setting of a run: {named}; options of a strategy or baseline stand in options={{...}}"
        )


def refuse_beside_resume(given: Mapping[str, object]) -> None:
    """Refuse settings beside `--resume`: a resumed run has its own.

    Raises:
        UsageError: One is not None.
    """
    named = [name for name, value in given.items() if value is not None]
    if named:
        raise UsageError(f"--resume goes on with the run's own settings; drop {', '.join(map(flag_of, named))}")


def _refuse_force(force: bool) -> None:
    if force:
        raise UsageError("--force goes with --resume RUN: it resumes in spite of what changed; drop it")


@dataclass(frozen=True, slots=True, eq=False)
class _Ready:
    """A run that is marked as running, and what learns in it.

    Attributes:
        store: Where it is noted; None in all but the first of several processes.
    """

    store: Store | None
    job: TrainingJob
    learner: "Learner"


def _note_end(store: Store, names: set[str], error: BaseException) -> None:
    """Note how runs ended, where that was not well."""
    for name in names:
        if isinstance(error, InterruptedRunError | KeyboardInterrupt):
            store.runs.interrupt(name, str(error) or "stopped at once by Ctrl-C")
        else:
            store.runs.fail(name, str(error) if isinstance(error, PatchrecError) else repr(error))


def make_learner(fitting: Fitting) -> "Learner":
    """What learns in a run."""
    kind = find_kind(fitting.config.kind.name)
    with kind_errors(kind.name):
        return kind.learner(fitting)


def _learner_of(
    job: TrainingJob, parts: tuple[Part, ...] = (), vectors: Mapping[str, FloatArray] | None = None
) -> "Learner":
    validation = validation_sample(job.config, job.dataset)
    fitting = Fitting(job.config, job.dataset, job.start, validation, parts, starts=job.starts, vectors=vectors or {})
    return make_learner(fitting)


def _begun(
    store: Store, settled: Callable[[Reporter], NewRun], reuse: bool, marks: Marks, report: Reporter
) -> _Ready | RunResult:
    """A new run in the store, or one that is like it: finished, or stopped and to go on with."""
    several = Process.this_one().count > 1
    if reuse and several:
        raise UsageError("several processes train one run and no more; start this without torchrun")
    picks = LatePicks(report)  # what was picked is of no use to a run that is there
    new = settled(picks if reuse else report)
    same = find_same(store, new.config, new.fingerprints) if reuse else None
    if same is not None and (found := finished_result(store, same)) is not None:
        store.runs.mark(same.name, marks)
        return found
    stopped = find_same(store, new.config, new.fingerprints, stopped=True) if reuse else None
    if stopped is not None:
        report.note(f"{stopped.name} was stopped; going on with it")
        store.runs.mark(stopped.name, marks)
        return _reopened(store, stopped.name, stopped.command, report, force=False)
    picks.tell()
    if new.config.training is not None and new.config.training.shard and not several:
        raise UsageError(
            "--shard splits the model over several processes; start them with `torchrun --nproc_per_node N -m "
            "patchrec_cli ...`, or drop it"
        )
    store.runs.check_free(marks)
    # weights that cannot be read are told before a run is made
    refuse_apart(new.config)
    parts = load_parts(store, "to be made", new.config, report)
    vectors = lent_vectors(store, new.config, new.dataset, report)
    learner = make_learner(replace(new.fitting, parts=parts, vectors=vectors, report=report))
    run = store.runs.create(
        new.config,
        label=new.label,
        versions=versions(),
        fingerprints=new.fingerprints,
        plugins=plugins_of(new.config),
        marks=marks,
    )
    job = TrainingJob(run.config, new.dataset, new.start, store.run_folder(run.name), starts=new.starts)
    return _Ready(store, job, learner)


def finished_result(store: Store, run: Run) -> RunResult | None:
    """What a finished run came to; None where it has no checkpoint.

    Raises:
        CorruptError: The checkpoint's bytes are not those written.
    """
    folder = checkpoint_folder(store, run)
    if folder is None:
        return None
    summary = run.summary or {}
    totals = {key: summary[key] for key in TOTALS} | {key: summary.get(key) for key in BEST}
    return _result(run, folder, totals)


def go_on(name: str, *, force: bool = False, home: Path | None = None, report: Reporter = SILENT) -> RunResult:
    """Train a run that is in the store and not done: from its newest checkpoint, or from the start.

    Args:
        name: Whole, of a run that any command made.
        force: Go on although data, tokenizer or versions changed since.
        home: Folder of the store.
        report: Where progress goes.

    Raises:
        NotFoundError: No such run. UsageError: It is done, or a living process is at it.
        InterruptedRunError: Stopped by a signal after saving.
    """

    def settle(store: Store, report: Reporter) -> _Ready:
        return _reopened(store, name, store.runs.get(name).command, report, force=force)

    return _run(settle, home, report)


def _make_folder(folder: Path) -> None:
    """Make the folder of a run, for other processes to see.

    Raises:
        OutOfResourcesError: The disk is full. UsageError: It cannot be made.
    """
    with disk_errors(f"making {str(folder)!r}", "nothing was trained", "try again"):
        private_folder(folder)


def _reopened(store: Store, name: str, command: str, report: Reporter, *, force: bool) -> _Ready:
    """A stopped run, to go on from its newest checkpoint with its own configuration."""
    run = store.runs.get(name)
    if command not in (run.command, run.command.partition(" ")[0]):
        raise UsageError(f"run {run.name} is of `patchrec {run.command}`; resume it with {run.resume}")
    if run.status == "done":
        saved = store.runs.checkpoints(run.name)
        if not saved or saved[-1].path.exists():
            checkpoint_folder(store, run)  # a damaged one is told
            raise UsageError(f"run {run.name} is done; evaluate it with `patchrec eval {run.name}`")
        report.note(f"the checkpoint of {run.name} is gone; the run is made anew")
    if not force:
        refuse_changed_plugins(store, run, report)
    start = start_folder(store, run.config, report)
    dataset = store.datasets.load_as(run.dataset, run.fingerprints.get("split", ""))  # what came since, it does not see
    begun = run.status != "waiting"
    folder, starts = store.run_folder(run.name), further_starts(store, run.config, report)
    job = TrainingJob(run.config, dataset, start, folder, resume=begun, force=force, starts=starts)
    refuse_apart(run.config)
    vectors = lent_vectors(store, run.config, dataset, report)
    learner = _learner_of(job, load_parts(store, run.name, run.config, report), vectors)
    if not begun:
        _begin_waiting(store, run, job, force=force)
    store.runs.reopen(run.name)
    return _Ready(store, job, learner)


def _begin_waiting(store: Store, run: Run, job: TrainingJob, *, force: bool) -> None:
    """See to it that a run which waited for its turn begins with what its group was planned with."""
    now = fingerprints(Saved(run.config, job.dataset, start=job.start, starts=job.starts))
    if not force:
        refuse_planned_otherwise(run, now)
    store.runs.begin_waiting(run.name, versions(), now)


def refuse_planned_otherwise(run: Run, now: Mapping[str, str]) -> None:
    """Refuse to begin with other data, prompt or tokenizer than a run of the group was planned with.

    Raises:
        UsageError: The message says which part differs.
    """
    other = sorted(part for part, value in now.items() if run.fingerprints.get(part) != value)
    if other:
        raise UsageError(
            f"run {run.name} was planned with another {' and '.join(other)}, so its seeds would not compare; start a "
            "new group, or use --force to go on all the same"
        )


def _run(settle: Callable[[Store, Reporter], _Ready | RunResult], home: Path | None, report: Reporter) -> RunResult:
    """Train in this process, or in all that the launcher started; process 0 says what, and it alone has the store."""
    process = Process.this_one()
    peer_timeout()  # a bad one is told before anything is made
    made: list[_Ready] = []
    settling: list[tuple[Store, set[str]]] = []  # process 0's, with the runs that this process was at before
    with ExitStack() as opened:

        def prepare() -> tuple[RunResult | None, bytes]:
            store = opened.enter_context(Store.open(home))
            settling.append((store, set(store.runs.of_this_process())))
            settled = settle(store, report)
            if isinstance(settled, RunResult):
                return settled, b""
            made.append(settled)
            _make_folder(settled.job.folder)
            return None, settled.job.to_bytes() if process.count > 1 else b""

        def follow(told: bytes) -> None:
            job = TrainingJob.from_bytes(told)
            job.refuse_unseen(process.rank)
            made.append(_Ready(None, job, _learner_of(job)))

        try:
            with terminable():
                finished, _ = process.start(prepare, follow)
                return finished or _train(made[0], process, report)
        except BaseException as error:
            for store, others in settling:  # a run that was hardly made is told, too
                own = {ready.job.folder.name for ready in made}
                _note_end(store, set(store.runs.of_this_process()) - (others - own), error)
            if isinstance(error, Terminated):
                raise InterruptedRunError(_stopped(error, made, process), error.exit_code) from error
            if isinstance(error, InterruptedRunError) and not process.is_main:  # process 0 says it for all
                raise SystemExit(error.exit_code) from error
            raise


def _stopped(error: Terminated, made: Sequence[_Ready], process: Process) -> str:
    """Word the end of a run by a signal before its steps began, or after them."""
    if not made:
        return f"{error}; no run was begun"
    job = made[0].job
    return f"{error}; go on with `{process.command(f'{job.config.command} --resume {job.folder.name}')}`"


def _train(ready: _Ready, process: Process, report: Reporter) -> RunResult:
    """Train; process 0 notes in the store how it goes, and shows it."""
    from patchrec.training.loop import train

    job, store, name = ready.job, ready.store, ready.job.folder.name
    with process.together(), kind_errors(job.config.kind.name):
        result = train(
            job.config,
            job.dataset,
            ready.learner,
            folder=job.folder,
            log=None if store is None else _StoreLog(store, name),
            report=SILENT if store is None else report,
            resume=job.resume,
            force=job.force,
        )
    summary = _summary(result)
    if store is None:
        return _result_of(job, result.checkpoint.path, summary)
    for checkpoint in store.runs.checkpoints(name):
        if not checkpoint.path.exists():
            store.runs.drop_checkpoint(name, checkpoint.step)
    store.runs.add_checkpoint(name, result.checkpoint.step, result.checkpoint.path, result.checkpoint.manifest)
    store.runs.finish(name, summary)
    return _result(store.runs.get(name), result.checkpoint.path, summary)


@dataclass(frozen=True, slots=True)
class _StoreLog:
    """The log of a run in the store."""

    store: Store
    name: str

    def begun(self, num_steps: int, after: int) -> None:
        """See `RunLog`."""
        self.store.runs.begin_steps(self.name, num_steps, after)

    def step(self, row: LossRow) -> None:
        """See `RunLog`."""
        self.store.runs.log_loss(self.name, [row])

    def validated(self, row: ValidationRow) -> None:
        """See `RunLog`."""
        self.store.runs.log_validation(self.name, row)

    def saved(self, checkpoint: Checkpoint) -> None:
        """See `RunLog`."""
        self.store.runs.add_checkpoint(self.name, checkpoint.step, checkpoint.path, checkpoint.manifest)


def _summary(result: "TrainingResult") -> dict[str, Any]:
    progress = result.progress
    totals: dict[str, Any] = {"steps": progress.step} | {
        key: getattr(progress, key) for key in ("targets", "tokens", "loss", "seconds")
    }
    if not isfinite(progress.loss):
        totals["loss"] = None
    best = {
        "best_step": progress.best_step,
        "validation_loss": progress.best_loss,
        "validation_metric": progress.best_metric,
    }
    return totals if progress.best_step is None else totals | best


def _result(run: Run, folder: Path, totals: Mapping[str, Any]) -> RunResult:
    names: dict[str, Any] = {"run": run.name, "label": run.label, "stage": run.stage, "dataset": run.dataset}
    return RunResult(**names, kind=run.kind, folder=str(_shown(folder, run.config.language_model)), **totals)


def _result_of(job: TrainingJob, folder: Path, totals: Mapping[str, Any]) -> RunResult:
    """The result in a process without the store."""
    config = job.config
    names: dict[str, Any] = {"run": job.folder.name, "label": label_of(config), "stage": config.stage}
    return RunResult(
        **names,
        dataset=config.dataset,
        kind=config.kind.name,
        folder=str(_shown(folder, config.language_model)),
        **totals,
    )


def _shown(folder: Path, language_model: str | None) -> Path:
    """The folder that a user is shown: that of the model which other programs read, where there is one."""
    return folder if language_model is None else folder / "model"
