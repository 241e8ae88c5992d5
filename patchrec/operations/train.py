"""Verbs of training: patch pre-training and fine-tuning are one engine with other planners."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

from patchrec.config import RunConfig
from patchrec.errors import InterruptedRunError, PatchrecError, UsageError, flag_of
from patchrec.model.backbone import Backbone
from patchrec.operations.backbones import find_backbone
from patchrec.operations.new_run import NewRun, RunSettings, new_finetuning, new_pretraining, validation_sample
from patchrec.operations.ready import find_same, model_folder, plain_options, versions
from patchrec.operations.shared_run import SharedRun
from patchrec.plugins import plan_for
from patchrec.reporting import SILENT, Reporter
from patchrec.store import Store
from patchrec.store.runs import Checkpoint, Run
from patchrec.training.loop import TrainingResult, train
from patchrec.training.processes import Process, peer_timeout


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a training run came to.

    Attributes:
        loss: Of the last step, nats per supervised token.
        tokens: Forest nodes run forward over all steps.
        best_step: Step whose weights the run keeps, where it measured validation targets.
        validation_loss: Of these weights on the validation targets, nats per supervised token.
    """

    run: str
    label: str
    stage: str
    dataset: str
    steps: int
    targets: int
    tokens: int
    loss: float
    seconds: float
    folder: str
    best_step: int | None = None
    validation_loss: float | None = None


TOTALS = ("steps", "targets", "tokens", "loss", "seconds")  # of a finished run's summary
BEST = ("best_step", "validation_loss")  # there too, where the run validated


def pretrain(
    *,
    options: dict[str, Any] | None = None,
    resume: str | None = None,
    force: bool = False,
    reuse: bool = False,
    home: Path | None = None,
    report: Reporter = SILENT,
    **settings: Unpack[RunSettings],
) -> RunResult:
    """Teach a backbone to read patches (stage 1).

    Args:
        options: Of the strategy `patch-pretraining`; those left out or None are its defaults.
        resume: Go on with this run, with its own configuration; only `force` goes with it.
        force: Resume although data, tokenizer or versions changed since.
        reuse: Give a finished run of the same configuration back instead of training again.
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
            _refuse_beside_resume({**plain_options(options), **settings})
            return _reopened(store, resume, "pretrain", report, force=force)
        _refuse_force(force)
        return _begun(store, new_pretraining(store, options, settings, report), reuse, report)

    return _run(settle, home, report)


def finetune(
    *,
    strategy: str | None = None,
    options: dict[str, Any] | None = None,
    start: str | None = None,
    resume: str | None = None,
    force: bool = False,
    reuse: bool = False,
    home: Path | None = None,
    report: Reporter = SILENT,
    **settings: Unpack[RunSettings],
) -> RunResult:
    """Train to recommend with a strategy (stage 2).

    Args:
        strategy: By name.
        options: Its values; those left out or None are its defaults.
        start: Run to start from; "none" starts from the backbone; default: the newest pre-training run.
        resume: Go on with this run, with its own configuration; only `force` goes with it.
        force: Resume although data, tokenizer or versions changed since.
        reuse: Give a finished run of the same configuration back instead of training again.
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
            _refuse_beside_resume({"strategy": strategy, "from": start, **plain_options(options), **settings})
            return _reopened(store, resume, "finetune", report, force=force)
        _refuse_force(force)
        return _begun(store, new_finetuning(store, strategy, options, start, settings, report), reuse, report)

    return _run(settle, home, report)


def refuse_unknown(settings: Mapping[str, object]) -> None:
    """Refuse a keyword that is no setting, as any function does.

    Raises:
        TypeError: There is one.
    """
    unknown = settings.keys() - RunSettings.__annotations__.keys()
    if unknown:
        raise TypeError(f"no such setting of a run: {', '.join(sorted(unknown))}")


def _refuse_beside_resume(given: Mapping[str, object]) -> None:
    """A resumed run has its own settings."""
    named = [name for name, value in given.items() if value is not None]
    if named:
        raise UsageError(f"--resume goes on with the run's own settings; drop {', '.join(map(flag_of, named))}")


def _refuse_force(force: bool) -> None:
    if force:
        raise UsageError("--force goes with --resume RUN: it resumes in spite of what changed; drop it")


@dataclass(frozen=True, slots=True, eq=False)
class _Ready:
    """A run that is marked as running, and what its training needs.

    Attributes:
        store: Where it is noted; None in all but the first of several processes.
    """

    store: Store | None
    shared: SharedRun
    backbone: Backbone

    def fail(self, error: BaseException) -> None:
        """Note how it ended, where that was not well."""
        name = self.shared.folder.name
        if self.store is None:
            return
        if isinstance(error, InterruptedRunError | KeyboardInterrupt):
            self.store.runs.interrupt(name, str(error) or "stopped at once by Ctrl-C")
        else:
            self.store.runs.fail(name, str(error) if isinstance(error, PatchrecError) else repr(error))


def _load(config: RunConfig, start: Path) -> Backbone:
    """The weights that a run begins with; those that are to be split wait in memory, since they may fit on no GPU."""
    sharded = config.training is not None and config.training.shard
    return Backbone.load(start, name=str(config.backbone), device="cpu" if sharded else None)


def _begun(store: Store, new: NewRun, reuse: bool, report: Reporter) -> _Ready | RunResult:
    """A new run in the store, or the finished one that is like it."""
    several = Process.this_one().count > 1
    if reuse and several:
        raise UsageError("several processes train one run and no more; start this without torchrun")
    same = find_same(store, new.config, new.fingerprints) if reuse else None
    if same is not None:
        summary = same.summary or {}
        totals = {key: summary[key] for key in TOTALS} | {key: summary.get(key) for key in BEST}
        names: dict[str, Any] = {"run": same.name, "label": same.label, "stage": same.stage, "dataset": same.dataset}
        return RunResult(**names, **totals, folder=str(model_folder(store, same, report)))
    if new.config.training is not None and new.config.training.shard and not several:
        raise UsageError(
            "--shard splits the model over several processes; start them with `torchrun --nproc_per_node N -m "
            "patchrec_cli ...`, or drop it"
        )
    backbone = _load(new.config, new.folder)  # one that cannot be read is told before a run is made
    run = store.runs.create(new.config, label=new.label, versions=versions(), fingerprints=new.fingerprints)
    return _Ready(store, SharedRun(run.config, new.dataset, new.folder, _folder(store, run)), backbone)


def _folder(store: Store, run: Run) -> Path:
    """The folder of a run, made for other processes to see."""
    folder = store.run_folder(run.name)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _reopened(store: Store, name: str, stage: str, report: Reporter, *, force: bool) -> _Ready:
    """A stopped run, to go on from its newest checkpoint with its own configuration."""
    run = store.runs.get(name)
    if run.stage != stage:
        raise UsageError(
            f"run {run.name} is of stage {run.stage}; resume it with `patchrec {run.stage} --resume {run.name}`"
        )
    if run.status == "done":
        raise UsageError(f"run {run.name} is done; evaluate it with `patchrec eval {run.name}`")
    parent = store.runs.get(run.parent) if run.parent else None
    name = str(run.config.backbone)
    start = model_folder(store, parent, report) if parent else find_backbone(store, name, report).folder
    dataset = store.datasets.load(run.dataset)
    backbone = _load(run.config, start)
    run = store.runs.reopen(run.name)
    shared = SharedRun(run.config, dataset, start, _folder(store, run), resume=True, force=force)
    return _Ready(store, shared, backbone)


def _run(settle: Callable[[Store, Reporter], _Ready | RunResult], home: Path | None, report: Reporter) -> RunResult:
    """Train in this process, or in all that the launcher started; process 0 says what, and it alone has the store."""
    process = Process.this_one()
    peer_timeout()  # a bad one is told before anything is made
    made: list[_Ready] = []
    with ExitStack() as opened:

        def prepare() -> tuple[RunResult | None, bytes]:
            settled = settle(opened.enter_context(Store.open(home)), report)
            if isinstance(settled, RunResult):
                return settled, b""
            made.append(settled)
            return None, settled.shared.to_bytes() if process.count > 1 else b""

        def follow(told: bytes) -> None:
            shared = SharedRun.from_bytes(told)
            shared.refuse_unseen(process.rank)
            made.append(_Ready(None, shared, _load(shared.config, shared.start)))

        try:
            finished, _ = process.start(prepare, follow)
            return finished or _train(made[0], process, report)
        except BaseException as error:
            for ready in made:
                ready.fail(error)
            if isinstance(error, InterruptedRunError) and not process.is_main:  # process 0 says it for all
                raise SystemExit(error.exit_code) from error
            raise


def _train(ready: _Ready, process: Process, report: Reporter) -> RunResult:
    """Train; process 0 notes in the store how it goes, and shows it."""
    shared, name = ready.shared, ready.shared.folder.name
    with process.together():
        result = train(
            shared.config,
            shared.dataset,
            ready.backbone,
            [plan_for(strategy) for strategy in shared.config.strategies],
            folder=shared.folder,
            validation=validation_sample(shared.config, shared.dataset),
            resume=shared.resume,
            force=shared.force,
            **({} if ready.store is None else _noted(ready.store, name) | {"report": report}),
        )
    if ready.store is not None:
        for checkpoint in ready.store.runs.checkpoints(name):
            if not checkpoint.path.exists():
                ready.store.runs.drop_checkpoint(name, checkpoint.step)
        ready.store.runs.add_checkpoint(name, *_parts(result.checkpoint))
        ready.store.runs.finish(name, _summary(result))
    return _result(shared, result)


def _noted(store: Store, name: str) -> dict[str, Any]:
    """What `train` tells, by the name of the argument that takes it: all of it goes into the store."""
    runs = store.runs
    return {
        "begun": lambda num_steps, after: runs.begin_steps(name, num_steps, after),
        "log": lambda row: runs.log_loss(name, [row]),
        "validated": lambda row: runs.log_validation(name, row),
        "saved": lambda checkpoint: runs.add_checkpoint(name, *_parts(checkpoint)),
    }


def _parts(checkpoint: Checkpoint) -> tuple[int, Path, dict[str, Any]]:
    return checkpoint.step, checkpoint.path, checkpoint.manifest


def _summary(result: TrainingResult) -> dict[str, Any]:
    progress = result.progress
    totals = {"steps": progress.step} | {
        key: getattr(progress, key) for key in ("targets", "tokens", "loss", "seconds")
    }
    best = {"best_step": progress.best_step, "validation_loss": progress.best_loss}
    return totals if progress.best_step is None else totals | best


def _result(shared: SharedRun, result: TrainingResult) -> RunResult:
    config = shared.config
    return RunResult(
        run=shared.folder.name,
        label=plan_for(config.strategies[-1]).label,
        stage=config.stage,
        dataset=config.dataset,
        folder=str(result.model),
        **_summary(result),
    )
