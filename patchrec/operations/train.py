"""Verbs of training: patch pre-training and fine-tuning are one engine with other planners."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

from patchrec.errors import InterruptedRunError, PatchrecError, UsageError
from patchrec.model.backbone import Backbone
from patchrec.operations.backbones import find_backbone
from patchrec.operations.new_run import NewRun, RunSettings, new_finetuning, new_pretraining, validation_sample
from patchrec.operations.ready import find_same, model_folder, plain_options, versions
from patchrec.plugins import plan_for
from patchrec.reporting import SILENT, Reporter
from patchrec.store import Store
from patchrec.store.runs import Checkpoint, LossRow, Run, ValidationRow
from patchrec.training.loop import TrainingResult, train


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
    resume: str | None = None,
    force: bool = False,
    reuse: bool = False,
    home: Path | None = None,
    report: Reporter = SILENT,
    **settings: Unpack[RunSettings],
) -> RunResult:
    """Teach a backbone to read patches (stage 1).

    Args:
        resume: Go on with this run, with its own configuration; only `force` goes with it.
        force: Resume although data, tokenizer or versions changed since.
        reuse: Give a finished run of the same configuration back instead of training again.
        home: Folder of the store.
        report: Where picks and progress go.
        settings: Of a new run; see `RunSettings`.

    Raises:
        NotFoundError: No such data set or backbone. UsageError: Settings that do not fit.
        InterruptedRunError: Stopped by a signal after saving.
    """
    refuse_unknown(settings)
    with Store.open(home) as store:
        if resume is not None:
            _refuse_beside_resume(settings)
            return _resume(store, resume, "pretrain", report, force=force)
        _refuse_force(force)
        return _begin(store, new_pretraining(store, settings, report), reuse, report)


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

    Raises:
        NotFoundError: No such strategy, data set, run or backbone. UsageError: Settings that do not fit.
        InterruptedRunError: Stopped by a signal after saving.
    """
    refuse_unknown(settings)
    with Store.open(home) as store:
        if resume is not None:
            _refuse_beside_resume({"strategy": strategy, "from": start, **plain_options(options), **settings})
            return _resume(store, resume, "finetune", report, force=force)
        _refuse_force(force)
        return _begin(store, new_finetuning(store, strategy, options, start, settings, report), reuse, report)


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
        options = ", ".join(f"--{name.replace('_', '-')}" for name in named)
        raise UsageError(f"--resume goes on with the run's own settings; drop {options}")


def _refuse_force(force: bool) -> None:
    if force:
        raise UsageError("--force goes with --resume RUN: it resumes in spite of what changed; drop it")


def _begin(store: Store, new: NewRun, reuse: bool, report: Reporter) -> RunResult:
    """Train a new run, or find it finished."""
    same = find_same(store, new.config, new.fingerprints) if reuse else None
    if same is not None:
        summary = same.summary or {}
        totals = {key: summary[key] for key in TOTALS} | {key: summary.get(key) for key in BEST}
        return RunResult(**_names(same), **totals, folder=str(model_folder(store, same, report)))
    model = Backbone.load(new.folder, name=str(new.config.backbone))
    run = store.runs.create(new.config, label=new.label, versions=versions(), fingerprints=new.fingerprints)
    return _train(store, run, model, report, resume=False)


def _names(run: Run) -> dict[str, Any]:
    return {"run": run.name, "label": run.label, "stage": run.stage, "dataset": run.dataset}


def _resume(store: Store, name: str, stage: str, report: Reporter, *, force: bool) -> RunResult:
    """Go on with a stopped run from its newest checkpoint, with its own configuration."""
    run = store.runs.get(name)
    if run.stage != stage:
        raise UsageError(
            f"run {run.name} is of stage {run.stage}; resume it with `patchrec {run.stage} --resume {run.name}`"
        )
    if run.status == "done":
        raise UsageError(f"run {run.name} is done; evaluate it with `patchrec eval {run.name}`")
    run = store.runs.reopen(run.name)
    parent = store.runs.get(run.parent) if run.parent else None
    name = str(run.config.backbone)
    folder = model_folder(store, parent, report) if parent else find_backbone(store, name, report).folder
    return _train(store, run, Backbone.load(folder, name=name), report, resume=True, force=force)


def _train(
    store: Store, run: Run, model: Backbone, report: Reporter, *, resume: bool, force: bool = False
) -> RunResult:
    """Train, and leave the run done, interrupted or failed in the store, never between."""

    def begun(num_steps: int, after: int) -> None:
        store.runs.begin_steps(run.name, num_steps, after)

    def log(row: LossRow) -> None:
        store.runs.log_loss(run.name, [row])

    def validated(row: ValidationRow) -> None:
        store.runs.log_validation(run.name, row)

    def saved(checkpoint: Checkpoint) -> None:
        store.runs.add_checkpoint(run.name, checkpoint.step, checkpoint.path, checkpoint.manifest)

    try:
        dataset = store.datasets.load(run.dataset)
        result = train(
            run.config,
            dataset,
            model,
            [plan_for(strategy) for strategy in run.config.strategies],
            folder=store.run_folder(run.name),
            validation=validation_sample(run.config, dataset),
            begun=begun,
            log=log,
            validated=validated,
            saved=saved,
            report=report,
            resume=resume,
            force=force,
        )
    except (InterruptedRunError, KeyboardInterrupt) as error:
        store.runs.interrupt(run.name, str(error) or "stopped at once by Ctrl-C")
        raise
    except BaseException as error:
        store.runs.fail(run.name, str(error) if isinstance(error, PatchrecError) else repr(error))
        raise
    for checkpoint in store.runs.checkpoints(run.name):
        if not checkpoint.path.exists():
            store.runs.drop_checkpoint(run.name, checkpoint.step)
    saved(result.checkpoint)
    return _finish(store, run, result)


def _finish(store: Store, run: Run, result: TrainingResult) -> RunResult:
    progress = result.progress
    summary: dict[str, Any] = {
        "steps": progress.step,
        "targets": progress.targets,
        "tokens": progress.tokens,
        "loss": progress.loss,
        "seconds": progress.seconds,
    }
    if progress.best_step is not None:
        summary |= {"best_step": progress.best_step, "validation_loss": progress.best_loss}
    store.runs.finish(run.name, summary)
    return RunResult(**_names(run), **summary, folder=str(result.model))
