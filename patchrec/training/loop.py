"""The training loop of both stages: steps in order, a loss curve, checkpoints, resuming, stopping.

It knows no strategy and no stage: what a run learns is its examples under its planners.
"""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any

from patchrec.config import RunConfig
from patchrec.data.histories import Dataset, Example
from patchrec.errors import InputError, InterruptedRunError, UsageError
from patchrec.model.backbone import Backbone
from patchrec.model.tokenizer import make_encoder
from patchrec.reporting import SILENT, Reporter, Task
from patchrec.store.runs import Checkpoint, LossRow, ValidationRow
from patchrec.strategy import Planner
from patchrec.training.batches import Batches
from patchrec.training.checkpoint import (
    checkpoint_folder,
    list_checkpoints,
    prune,
    read_manifest,
    write_checkpoint,
)
from patchrec.training.interrupts import StopWish, stop_on_signals
from patchrec.training.learner import Learner
from patchrec.training.processes import Process
from patchrec.training.sharding import is_sharded
from patchrec.training.state import (
    MODEL,
    Progress,
    Tensors,
    identity,
    load_optimizer,
    load_weights,
    read_run,
    refuse_differences,
    write_run,
)
from patchrec.training.validation import Validation

CHECKPOINT_SECONDS = 300.0  # between checkpoints, where the configuration names no number of steps
_KEPT = 2


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """A finished training.

    Attributes:
        progress: Its totals and the last step's loss; which step validated best.
        checkpoint: The only one left: weights without optimizer state, those of the best step where one was measured.
    """

    progress: Progress
    checkpoint: Checkpoint

    @property
    def model(self) -> Path:
        """Model folder that `Backbone.load` and `transformers` read."""
        return self.checkpoint.path / MODEL


def train(
    config: RunConfig,
    dataset: Dataset,
    backbone: Backbone,
    planners: Sequence[Planner],
    *,
    folder: Path,
    validation: Sequence[Example] = (),
    begun: Callable[[int, int], None] = lambda num_steps, after: None,
    log: Callable[[LossRow], None] = lambda row: None,
    validated: Callable[[ValidationRow], None] = lambda row: None,
    saved: Callable[[Checkpoint], None] = lambda checkpoint: None,
    report: Reporter = SILENT,
    resume: bool = False,
    force: bool = False,
) -> TrainingResult:
    """Train a backbone in place on the train split, and leave its weights in the newest checkpoint.

    Args:
        config: `config.training` and `config.prompt` say how, `config.seed` fixes all random numbers.
        dataset: Where examples come from.
        backbone: The start; becomes float32.
        planners: Every example is planned once by each.
        folder: Holds this run's checkpoints; its name is the run's.
        validation: Targets to measure where `config.training.validate_every` says so; the same whenever it is resumed.
        begun: Told the number of steps in all, and after which one this sitting begins.
        log: Takes each step's row; steps after the checkpoint that a killed run resumes from come again, equal.
        validated: Takes each measurement of the validation targets.
        saved: Takes each checkpoint; it, the one before and the best are kept until the run ends, others are not.
        report: Where progress goes.
        resume: Go on from the newest checkpoint in `folder`, from the start where there is none.
        force: Resume although configuration, data, tokenizer or versions differ.

    Raises:
        InterruptedRunError: Ctrl-C or SIGTERM came; the state is saved.
        UsageError: `folder` is of another run, or of this one and `resume` is not set.
        CorruptError: The newest checkpoint is damaged.
        OutOfResourcesError: Disk or memory ran out.
        PatchrecError: The loss is not finite.
    """
    process = Process.this_one()
    with process.together(), process.with_peers(process.command(f"{config.stage} --resume {folder.name}")):
        encoder = make_encoder(backbone.folder, dataset.catalog.titles, config.prompt, backbone.vocab_size)
        known = identity(config, dataset, encoder, planners)
        newest = _newest(folder, resume, report)
        _refuse_disagreement(process, known, newest)
        batches = all_batches(config, dataset)
        learner = Learner(config, dataset, backbone, encoder=encoder, planners=planners, num_steps=batches.num_steps)
        run = _Run(config, learner, folder, known, saved, _validation(config, learner, validation))
        if newest is not None:
            found = read_run(newest.path)
            if not force:
                refuse_differences(found.identity, known)
            load_weights(newest.path, backbone)
            if found.complete:  # its last sitting ended between the last checkpoint and telling so
                if process.is_main:
                    prune(folder, keep=1)
                backbone.eval()
                return TrainingResult(found.progress, newest)
            load_optimizer(newest.path, backbone, learner.optimizer)
            run.progress = _known_best(found.progress, folder)
            report.note(f"resuming after step {found.progress.step} of {batches.num_steps}")
        if process.is_main:
            begun(batches.num_steps, run.progress.step)
        checkpoint = run.finish(batches, log, validated, report)
    backbone.eval()
    return TrainingResult(run.progress, checkpoint)


class _Run:
    """The state of a training between two steps."""

    def __init__(
        self,
        config: RunConfig,
        learner: Learner,
        folder: Path,
        known: dict[str, Any],
        saved: Callable[[Checkpoint], None],
        validation: Validation | None,
    ) -> None:
        self.stage = config.stage
        self.learner = learner
        self.process = learner.process
        self.folder = folder
        self.known = known
        self.saved = saved
        self.validation = validation
        self.progress = Progress()
        self.saved_at = time.monotonic()

    def finish(
        self,
        batches: Batches,
        log: Callable[[LossRow], None],
        validated: Callable[[ValidationRow], None],
        report: Reporter,
    ) -> Checkpoint:
        """Take all remaining steps; validate and save along the way and at the end."""
        main = self.process.is_main
        with stop_on_signals() as wish, report.task(self.stage, batches.num_targets, "targets") as task:
            _advance(task, self.progress)
            for row in self.learner.learn(batches.steps(self.progress.step)):
                self.progress = _add(self.progress, row)
                if main:
                    log(row)
                    task.advance(row.targets, tokens=row.tokens, loss=row.loss)
                better = self._validate(batches.num_steps, validated)
                if row.step < batches.num_steps:
                    self._between_steps(wish, batches.num_steps, better)
            return self._complete(report)

    def _validate(self, num_steps: int, validated: Callable[[ValidationRow], None]) -> bool:
        """Measure the validation targets if it is time, as at the last step always; say whether it was never better."""
        step, every = self.progress.step, self.learner.training.validate_every
        if self.validation is None or every is None or (step % every and step < num_steps):
            return False
        row = self.validation.measure(step)
        if self.process.is_main:
            validated(row)
        best = inf if self.progress.best_loss is None else self.progress.best_loss
        self.progress = replace(self.progress, validations=self.progress.validations + 1)
        if row.loss < best:
            self.progress = replace(self.progress, best_step=step, best_loss=row.loss)
        return row.loss < best

    def _complete(self, report: Reporter) -> Checkpoint:
        """Save the run as done, with the weights that validated best where they were measured."""
        best = self.progress.best_step
        if best is not None and best != self.progress.step:
            load_weights(read_manifest(checkpoint_folder(self.folder, best)).path, self.learner.backbone)
            self.process.wait()  # it is removed below
        if self.progress.validations:
            kept = f"step {self.progress.step}, the last (none was a number)" if best is None else f"step {best}"
            report.note(f"best of {self.progress.validations} by validation loss: {kept}")
        return self._save(complete=True)

    def _between_steps(self, wish: StopWish, num_steps: int, better: bool) -> None:
        every = self.learner.training.checkpoint_every
        if every is None:
            due = time.monotonic() - self.saved_at >= CHECKPOINT_SECONDS
        else:
            due = self.progress.step % every == 0
        # Every process must choose alike: one signalled or due process decides for all.
        stop, due_anywhere = self.process.largest(wish.signal, int(due or better))
        if stop or due_anywhere:
            checkpoint = self._save(complete=False)
        if stop:
            wish.signal = stop
            raise InterruptedRunError(
                f"stopped by {wish.name} after step {self.progress.step} of {num_steps}; the state is saved in "
                f"{checkpoint.path}; go on with `{self.process.command(f'{self.stage} --resume {self.folder.name}')}`",
                wish.exit_code,
            )

    def _save(self, *, complete: bool) -> Checkpoint:
        learner, main = self.learner, self.process.is_main
        if main or is_sharded(learner.backbone):
            tensors = Tensors.of(learner.backbone, None if complete else learner.optimizer)
        if main:

            def write(place: Path) -> None:
                write_run(place, learner.backbone, tensors, self.progress, self.known)

            checkpoint = write_checkpoint(self.folder, self.progress.step, write)
            self.saved(checkpoint)
            if complete:
                prune(self.folder, keep=1)
            else:
                prune(self.folder, _KEPT, self.progress.best_step)
        self.process.wait()
        self.saved_at = time.monotonic()
        return checkpoint if main else read_manifest(list_checkpoints(self.folder)[-1])


def _refuse_disagreement(process: Process, known: dict[str, Any], newest: Checkpoint | None) -> None:
    """Refuse to train together what is not the same run from the same checkpoint.

    Raises:
        UsageError: A process sees another than the others.
    """
    seen = json.dumps([known, None if newest is None else newest.manifest["sha256"]], sort_keys=True)
    if not process.agree(int.from_bytes(hashlib.sha256(seen.encode()).digest()[:7])):
        raise UsageError(
            f"process {process.rank} of {process.count}: the processes do not see the same configuration, data, "
            "versions and checkpoints; start all alike, with the store on a disk that all of them share"
        )


def _newest(folder: Path, resume: bool, report: Reporter) -> Checkpoint | None:
    """The verified checkpoint to resume from."""
    present = list_checkpoints(folder)
    if not resume:
        if present:
            raise UsageError(f"{folder} already holds checkpoints; resume that run, or start a new one")
        return None
    if not present:
        report.note("this run has no checkpoint yet; starting from its first step")
        return None
    return read_manifest(present[-1])


def all_batches(config: RunConfig, dataset: Dataset) -> Batches:
    """The steps that a run takes.

    Raises:
        UsageError: It is no training run. InputError: The data set has no training targets.
    """
    if config.training is None:
        raise UsageError(f"a {config.stage} run needs a training configuration")
    examples = dataset.examples("train", config.prompt.K, config.prompt.windows)
    if not examples:
        raise InputError(
            f"data set {dataset.name!r} has no training targets: no user has more than {dataset.min_history} items "
            "in the train split; give more data or another split"
        )
    return Batches(examples, config.training, config.seed, stage=config.stage)


def _validation(config: RunConfig, learner: Learner, examples: Sequence[Example]) -> Validation | None:
    """What measures the validation targets, where that is asked for."""
    if learner.training.validate_every is None:
        return None
    if not examples:
        raise UsageError(f"data set {config.dataset!r} has no validation target; drop --validate-every")
    return Validation(learner, examples)


def _known_best(progress: Progress, folder: Path) -> Progress:
    """The progress of a checkpoint, without the best one where that is gone.

    A better one had taken its place, and was removed with all that came after: its step will be taken again.
    """
    if progress.best_step is None or checkpoint_folder(folder, progress.best_step).exists():
        return progress
    return replace(progress, best_step=None, best_loss=None)


def _add(progress: Progress, row: LossRow) -> Progress:
    return replace(
        progress,
        step=row.step,
        targets=progress.targets + row.targets,
        tokens=progress.tokens + row.tokens,
        seconds=progress.seconds + row.seconds,
        loss=row.loss,
    )


def _advance(task: Task, progress: Progress) -> None:
    """Show what earlier sittings of a resumed run did."""
    if progress.step:
        task.advance(progress.targets, loss=progress.loss)
