"""How far a run is, from what it has stored so far: its process need not be this one."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from patchrec.store.runs import LossRow, Run

LAST_SECONDS = 60.0  # that a run's speed is measured over


@dataclass(frozen=True, slots=True)
class RunProgress:
    """How far a run is.

    Attributes:
        step: Steps taken.
        num_steps: Of so many; None for a run of an earlier version.
        tokens_per_second: Over the steps of its last minute, saving and validating left out.
        seconds_left: Until the last step at that speed; None where the run is not running, or nobody knows.
        loss: Mean over these steps, nats per supervised token.
    """

    step: int
    num_steps: int | None
    tokens_per_second: float | None
    seconds_left: float | None
    loss: float


def run_progress(run: Run, losses: Sequence[LossRow]) -> RunProgress:
    """Measure a run by the steps of its last minute, or by the last one alone where that took longer.

    Args:
        run: What it is.
        losses: Its loss curve, by step; not empty.
    """
    recent = last_minute(losses)
    seconds = sum(row.seconds for row in recent)
    step = losses[-1].step
    left = run.num_steps - step if run.status == "running" and run.num_steps is not None else None
    return RunProgress(
        step=step,
        num_steps=run.num_steps,
        tokens_per_second=sum(row.tokens for row in recent) / seconds if seconds > 0 else None,
        seconds_left=None if left is None else left * seconds / len(recent),
        loss=fmean(row.loss for row in recent),
    )


def last_minute(losses: Sequence[LossRow]) -> list[LossRow]:
    """The newest steps, newest first, that together took a minute."""
    recent: list[LossRow] = []
    seconds = 0.0
    for row in reversed(losses):
        recent.append(row)
        seconds += row.seconds
        if seconds >= LAST_SECONDS:
            break
    return recent
