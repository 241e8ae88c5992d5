"""The training loop of every run: steps in order, a loss curve, checkpoints, validation, resuming, stopping.

It knows neither strategies nor models: what a run learns, and how, is its `Learner`.
"""

import hashlib
import json
import time
from dataclasses import dataclass, replace
from math import inf, isfinite
from pathlib import Path
from typing import Any, Protocol

from patchrec.config import RunConfig
from patchrec.data.histories import Dataset
from patchrec.errors import InterruptedRunError, UsageError
from patchrec.reporting import SILENT, Reporter
from patchrec.store.runs import Checkpoint, LossRow, ValidationRow
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
from patchrec.training.state import Progress, identity, read_run, refuse_differences, write_progress

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


class RunLog(Protocol):
    """Where a training says how it goes."""

    def begun(self, num_steps: int, after: int) -> None:
        """So many steps in all, and after which one this session begins."""
        ...

    def step(self, row: LossRow) -> None:
        """A step; those after the checkpoint that a killed run resumes from come again, equal."""
        ...

    def validated(self, row: ValidationRow) -> None:
        """A measurement of the validation targets."""
        ...

    def saved(self, checkpoint: Checkpoint) -> None:
        """A checkpoint; it, the one before and the best are kept until the run ends, others are not."""
        ...


class NoLog:
    """A log that keeps nothing."""

    def begun(self, num_steps: int, after: int) -> None:
        """See `RunLog`."""

    def step(self, row: LossRow) -> None:
        """See `RunLog`."""

    def validated(self, row: ValidationRow) -> None:
        """See `RunLog`."""

    def saved(self, checkpoint: Checkpoint) -> None:
        """See `RunLog`."""


def train(
    config: RunConfig,
    dataset: Dataset,
    learner: Learner,
    *,
    folder: Path,
    log: RunLog | None = None,
    report: Reporter = SILENT,
    resume: bool = False,
    force: bool = False,
) -> TrainingResult:
    """Let a learner take all its steps, and leave its weights in it and in the newest checkpoint.

    Args:
        config: What determines the run.
        dataset: What it learns from.
        learner: What learns, not begun.
        folder: Holds this run's checkpoints; its name is the run's.
        log: Is told how it goes, in process 0.
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
    again = f"{config.command} --resume {folder.name}"
    with process.together(), process.with_peers(process.command(again)):
        known = identity(config, dataset, learner.identity())
        newest = _newest(folder, resume, report)
        _refuse_disagreement(process, known, newest)
        learner.begin()
        run = _Run(config, learner, folder, known, log or NoLog(), process.command(again))
        if newest is not None:
            found = read_run(newest.path)
            if not force:
                refuse_differences(found.identity, known)
            learner.load(newest.path, optimizer=not found.complete)
            if found.complete:  # its last session ended between the last checkpoint and saying so
                if process.is_main:
                    prune(folder, keep=1)
                return TrainingResult(found.progress, newest)
            run.progress = _known_best(found.progress, folder)
            report.note(f"resuming after step {found.progress.step} of {learner.num_steps}")
        if process.is_main:
            run.log.begun(learner.num_steps, run.progress.step)
        checkpoint = run.finish(report)
    return TrainingResult(run.progress, checkpoint)


class _Run:
    """The state of a training between two steps."""

    def __init__(
        self, config: RunConfig, learner: Learner, folder: Path, known: dict[str, Any], log: RunLog, again: str
    ) -> None:
        self.stage = config.stage if config.stage != "baseline" else config.kind.name
        self.learner = learner
        self.process = learner.process
        self.folder = folder
        self.known = known
        self.log = log
        self.again = again
        self.progress = Progress()
        self.saved_at = time.monotonic()

    def finish(self, report: Reporter) -> Checkpoint:
        """Take all remaining steps; validate and save along the way and at the end."""
        main, num_steps, done = self.process.is_main, self.learner.num_steps, self.progress.targets
        progress = report.task(self.stage, self.learner.num_targets, "targets", done=done)
        with stop_on_signals() as wish, progress as task:
            for row in () if self._is_patience_over() else self.learner.learn(self.progress.step):
                self.progress = _add(self.progress, row)
                if main:
                    self.log.step(row)
                    task.advance(row.targets, tokens=row.tokens, loss=row.loss if isfinite(row.loss) else None)
                better = self._validate(num_steps)
                if self._is_patience_over():
                    break
                if row.step < num_steps:
                    self._between_steps(wish, num_steps, better)
            return self._complete(report)

    def _validate(self, num_steps: int) -> bool:
        """Measure the validation targets if it is time, as at the last step always; say whether it was never better."""
        step, every = self.progress.step, self.learner.training.validate_every
        if every is None or (step % every and step < num_steps):
            return False
        begun = time.perf_counter()
        found = self.learner.measure()
        if found is None:
            return False
        seconds = time.perf_counter() - begun
        if self.process.is_main:
            self.log.validated(ValidationRow(step, found.loss, found.tokens, found.targets, seconds, found.metric))
        if found.metric is None:
            better = found.loss < (inf if self.progress.best_loss is None else self.progress.best_loss)
        else:
            better = found.metric > (-inf if self.progress.best_metric is None else self.progress.best_metric)
        self.progress = replace(
            self.progress, validations=self.progress.validations + 1, since_best=self.progress.since_best + 1
        )
        if better:
            self.progress = replace(
                self.progress, best_step=step, best_loss=found.loss, best_metric=found.metric, since_best=0
            )
        return better

    def _is_patience_over(self) -> bool:
        """Whether so many measurements in a row were no better that the run stops."""
        patience = self.learner.training.patience
        return patience is not None and self.progress.since_best >= patience

    def _complete(self, report: Reporter) -> Checkpoint:
        """Save the run as done, with the weights that validated best where they were measured."""
        best, metric = self.progress.best_step, self.learner.training.validate_metric
        if best is not None and best != self.progress.step:
            self.learner.load(read_manifest(checkpoint_folder(self.folder, best)).path, optimizer=False)
            self.process.wait()  # it is removed below
        if self.progress.validations:
            kept = f"step {self.progress.step}, the last (none was finite)" if best is None else f"step {best}"
            what = "validation loss" if metric == "loss" else f"validation {metric}"
            report.note(f"best of {self.progress.validations} by {what}: {kept}")
        if self.progress.step < self.learner.num_steps:
            report.note(
                f"stopped after step {self.progress.step} of {self.learner.num_steps}: "
                f"{self.progress.since_best} measurements in a row were no better"
            )
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
                f"{checkpoint.path}; go on with `{self.again}`",
                wish.exit_code,
            )

    def _save(self, *, complete: bool) -> Checkpoint:
        main, write = self.process.is_main, self.learner.save(complete=complete)
        if write is not None:

            def fill(place: Path) -> None:
                write(place)
                write_progress(place, self.progress, self.known, complete=complete)

            checkpoint = write_checkpoint(self.folder, self.progress.step, fill)
            self.log.saved(checkpoint)
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


def _known_best(progress: Progress, folder: Path) -> Progress:
    """The progress of a checkpoint, without the best one where that is gone.

    A better one had taken its place, and was removed with all that came after: its step will be taken again.
    """
    if progress.best_step is None or checkpoint_folder(folder, progress.best_step).exists():
        return progress
    return replace(progress, best_step=None, best_loss=None, best_metric=None)


def _add(progress: Progress, row: LossRow) -> Progress:
    return replace(
        progress,
        step=row.step,
        targets=progress.targets + row.targets,
        tokens=progress.tokens + row.tokens,
        seconds=progress.seconds + row.seconds,
        loss=row.loss,
    )
