"""Verbs of training: patch pre-training and fine-tuning are one engine with other planners."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from patchrec.config import RunConfig, StrategyConfig
from patchrec.errors import PatchrecError, UsageError
from patchrec.model.backbone import Backbone
from patchrec.model.backbones import DEFAULT_BACKBONE
from patchrec.model.lora import peft_version
from patchrec.model.tokenizer import make_encoder, vocab_size
from patchrec.operations.backbones import find_backbone
from patchrec.operations.datasets import pick_dataset
from patchrec.operations.defaults import prompt_defaults, training_defaults
from patchrec.operations.ready import (
    find_same,
    fingerprints,
    model_folder,
    plain_options,
    versions,
)
from patchrec.plugins import plan_for
from patchrec.reporting import SILENT, Reporter
from patchrec.store import Store
from patchrec.store.runs import Checkpoint, LossRow, Run
from patchrec.training.loop import TrainingResult, train


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a training run came to.

    Attributes:
        loss: Of the last step, nats per supervised token.
        tokens: Forest nodes run forward over all steps.
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


TOTALS = ("steps", "targets", "tokens", "loss", "seconds")  # of a finished run's summary

# Patch pre-training sees every example twice: raw, and with each item compressed with probability p (paper, section 3).
PRETRAINING = (StrategyConfig(name="vanilla"), StrategyConfig(name="patch-pretraining"))


def pretrain(
    *,
    data: str | None = None,
    backbone: str | None = None,
    epochs: int | None = None,
    max_steps: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    lora_rank: int | None = None,
    prompt: str | None = None,
    windows: str | None = None,
    K: int | None = None,
    seed: int = 0,
    resume: str | None = None,
    force: bool = False,
    reuse: bool = False,
    home: Path | None = None,
    report: Reporter = SILENT,
) -> RunResult:
    """Teach a backbone to read patches (stage 1).

    Args:
        lora_rank: Train adapters of this rank in place of the weights.
        resume: Go on with this run, with its own configuration; only `force` goes with it.
        force: Resume although data, tokenizer or versions changed since.
        reuse: Give a finished run of the same configuration back instead of training again.

    Raises:
        NotFoundError: No such data set or backbone. UsageError: Settings that do not fit.
        InterruptedRunError: Stopped by a signal after saving.
    """
    training = {
        "epochs": epochs,
        "max_steps": max_steps,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "lora_rank": lora_rank,
    }
    shape = {"form": prompt, "windows": windows, "K": K}
    with Store.open(home) as store:
        if resume is not None:
            _refuse_beside_resume(data=data, backbone=backbone, **training, **shape)
            return _resume(store, resume, "pretrain", report, force=force)
        _refuse_force(force)
        return _begin(store, "pretrain", PRETRAINING, data, backbone, None, shape, training, seed, reuse, report)


def finetune(
    *,
    strategy: str | None = None,
    options: dict[str, Any] | None = None,
    data: str | None = None,
    backbone: str | None = None,
    start: str | None = None,
    epochs: int | None = None,
    max_steps: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    lora_rank: int | None = None,
    prompt: str | None = None,
    windows: str | None = None,
    K: int | None = None,
    seed: int = 0,
    resume: str | None = None,
    force: bool = False,
    reuse: bool = False,
    home: Path | None = None,
    report: Reporter = SILENT,
) -> RunResult:
    """Train to recommend with a strategy (stage 2).

    Args:
        start: Run to start from; "none" starts from the backbone; default: the newest pre-training run.
        lora_rank: Train adapters of this rank in place of the weights.
        resume: Go on with this run, with its own configuration; only `force` goes with it.
        force: Resume although data, tokenizer or versions changed since.
        reuse: Give a finished run of the same configuration back instead of training again.

    Raises:
        NotFoundError: No such strategy, data set, run or backbone. UsageError: Settings that do not fit.
        InterruptedRunError: Stopped by a signal after saving.
    """
    training = {
        "epochs": epochs,
        "max_steps": max_steps,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "lora_rank": lora_rank,
    }
    shape = {"form": prompt, "windows": windows, "K": K}
    with Store.open(home) as store:
        if resume is not None:
            own = {"strategy": strategy, "from": start, "data": data, "backbone": backbone}
            _refuse_beside_resume(**(own | plain_options(options) | training | shape))
            return _resume(store, resume, "finetune", report, force=force)
        _refuse_force(force)
        if strategy is None:
            raise UsageError(
                "which strategy? give --strategy, such as --strategy pft-s --L 5; see `patchrec strategies ls`"
            )
        planner = plan_for(StrategyConfig(name=strategy, options=plain_options(options)))
        chosen = (StrategyConfig(name=strategy, options=planner.values),)
        dataset = pick_dataset(store, data, report)
        parent = _parent(store, start, dataset, backbone, report)
        return _begin(store, "finetune", chosen, dataset, backbone, parent, shape, training, seed, reuse, report)


def _refuse_beside_resume(**given: object) -> None:
    """A resumed run has its own settings."""
    named = [name for name, value in given.items() if value is not None]
    if named:
        options = ", ".join(f"--{ {'form': 'prompt'}.get(name, name).replace('_', '-') }" for name in named)
        raise UsageError(f"--resume goes on with the run's own settings; drop {options}")


def _refuse_force(force: bool) -> None:
    if force:
        raise UsageError("--force goes with --resume RUN: it resumes in spite of what changed; drop it")


def _parent(store: Store, start: str | None, dataset: str, backbone: str | None, report: Reporter) -> Run | None:
    """The run whose weights a fine-tuning starts from."""
    if start == "none":
        return None
    if start is not None:
        parent = store.runs.get(start)
        if backbone is not None and backbone != parent.config.backbone:
            raise UsageError(
                f"run {parent.name} has backbone {parent.config.backbone!r}, not {backbone!r}; drop one of the two"
            )
        return parent
    newest = store.runs.newest(stage="pretrain", dataset=dataset, backbone=backbone)
    if newest is None:
        report.note("no pre-training run for this: starting from the backbone (`patchrec pretrain` makes one)")
        return None
    report.picked("start", newest.name, "the newest pre-training run")
    return newest


def _begin(
    store: Store,
    stage: Any,
    strategies: tuple[StrategyConfig, ...],
    data: str | None,
    backbone: str | None,
    parent: Run | None,
    shape: dict[str, Any],
    training: dict[str, Any],
    seed: int,
    reuse: bool,
    report: Reporter,
) -> RunResult:
    """Settle a new run's configuration and train it."""
    if training["lora_rank"] is not None:
        peft_version()  # said before anything is fetched
    dataset = store.datasets.load(pick_dataset(store, data, report))
    name = (parent.config.backbone if parent else None) or backbone
    if name is None:
        name = DEFAULT_BACKBONE
        report.picked("backbone", name, "the default; it trains on a CPU")
    if parent:
        folder = model_folder(store, parent, report)
    else:
        pulled = find_backbone(store, name, report)
        name, folder = pulled.name, pulled.folder  # a path is kept whole, whatever folder it was typed in
    config = RunConfig(
        stage=stage,
        dataset=dataset.name,
        backbone=name,
        parent=parent.name if parent else None,
        strategies=strategies,
        prompt=prompt_defaults(dataset, name, parent.config.prompt if parent else None, shape, report),
        training=training_defaults(dataset, name, training, report),
        seed=seed,
    )
    encoder = make_encoder(folder, dataset.catalog.titles, config.prompt, vocab_size(folder))
    prints = fingerprints(dataset, encoder.prompt, folder)
    same = find_same(store, config, prints) if reuse else None
    if same is not None:
        totals = {key: (same.summary or {})[key] for key in TOTALS}
        return RunResult(**_names(same), **totals, folder=str(model_folder(store, same, report)))
    model = Backbone.load(folder, name=name)
    label = plan_for(strategies[-1]).label
    run = store.runs.create(config, label=label, versions=versions(), fingerprints=prints)
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
    """Train, and leave the run done or failed in the store, never between."""

    def log(row: LossRow) -> None:
        store.runs.log_loss(run.name, [row])

    def saved(checkpoint: Checkpoint) -> None:
        store.runs.add_checkpoint(run.name, checkpoint.step, checkpoint.path, checkpoint.manifest)

    dataset = store.datasets.load(run.dataset)
    planners = [plan_for(strategy) for strategy in run.config.strategies]
    folder = store.run_folder(run.name)
    try:
        result = train(
            run.config,
            dataset,
            model,
            planners,
            folder=folder,
            log=log,
            saved=saved,
            report=report,
            resume=resume,
            force=force,
        )
    except BaseException as error:
        store.runs.fail(run.name, str(error) if isinstance(error, PatchrecError) else repr(error))
        raise
    for checkpoint in store.runs.checkpoints(run.name):
        if not checkpoint.path.exists():
            store.runs.drop_checkpoint(run.name, checkpoint.step)
    saved(result.checkpoint)
    return _finish(store, run, result)


def _finish(store: Store, run: Run, result: TrainingResult) -> RunResult:
    summary: dict[str, Any] = {
        "steps": result.progress.step,
        "targets": result.progress.targets,
        "tokens": result.progress.tokens,
        "loss": result.progress.loss,
        "seconds": result.progress.seconds,
    }
    store.runs.finish(run.name, summary)
    return RunResult(**_names(run), **summary, folder=str(result.model))
