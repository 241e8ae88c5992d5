"""The contract of whatever learns step by step, and what all that learn by gradient share. The loop knows no other.

A language model over forests, a model of identifiers over rows, a table of counts: each is a `Learner`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from patchrec.config import TrainingConfig
from patchrec.data.histories import Dataset, Example
from patchrec.errors import PatchrecError, UsageError
from patchrec.store.runs import LossRow
from patchrec.training.batches import Step
from patchrec.training.processes import Process
from patchrec.training.schedule import learning_rate_factor
from patchrec.training.sharding import is_sharded, whole

Write = Callable[[Path], None]


@dataclass(frozen=True, slots=True)
class Measured:
    """Validation targets as the weights are now.

    Attributes:
        loss: Mean over their supervised labels, nats; nan where there is none.
        tokens: Positions run.
        targets: How many.
        metric: The ranking metric that was asked for, higher is better; None where that is the loss.
    """

    loss: float
    tokens: int
    targets: int
    metric: float | None = None


class Learner(Protocol):
    """What the training loop drives.

    Attributes:
        process: Which of several this is.
        training: How it learns.
        num_steps: Optimizer steps of the whole run.
        num_targets: Targets of all these steps.
    """

    process: Process
    training: TrainingConfig
    num_steps: int
    num_targets: int

    def begin(self) -> None:
        """Move to the device and make an optimizer; all processes do so, together."""
        ...

    def identity(self) -> dict[str, Any]:
        """Everything but configuration, data and versions that must be equal for a resumed run to be the same run."""
        ...

    def learn(self, first: int) -> Iterator[LossRow]:
        """Take the steps from number `first` on (0 is the run's first), and tell of each when it is done."""
        ...

    def measure(self) -> Measured | None:
        """Measure the validation targets; None where the run does not validate, or not yet."""
        ...

    def save(self, *, complete: bool) -> Write | None:
        """Gather a checkpoint in all processes: what writes it into a folder, in process 0; None in the others.

        Args:
            complete: The run is done: what only going on would need is left out.
        """
        ...

    def load(self, folder: Path, *, optimizer: bool) -> None:
        """Take weights back from a verified checkpoint, and the optimizer's memory where it is wanted."""
        ...


def checked_validation(training: TrainingConfig, examples: Sequence[Example], dataset: Dataset) -> Sequence[Example]:
    """The validation targets of a run, which it has where it measures any.

    Raises:
        UsageError: It shall measure and has none.
    """
    if training.validate_every is not None and not examples:
        raise UsageError(f"data set {dataset.name!r} has no validation target; drop --validate-every")
    return examples


class Updater:
    """Moves weights by their gradients: AdamW with warm-up and cosine, clipped, alike in all processes.

    Attributes:
        optimizer: The one that moves them.
        parameters: What it moves.
    """

    def __init__(
        self,
        model: nn.Module,
        training: TrainingConfig,
        num_steps: int,
        process: Process,
        *,
        groups: Sequence[tuple[list[nn.Parameter], float]] | None = None,
        turn: int = 0,
    ) -> None:
        """Make an optimizer.

        Args:
            model: Whose weights are moved, all that want a gradient.
            training: Rates, decay, clipping.
            num_steps: Of the whole run.
            process: Which of several this is.
            groups: Weights with the peak of their learning rate; None gives all the same.
            turn: The step from which on something else is learned: the schedule begins again there, and the optimizer
                remembers nothing of what was before; 0: none.
        """
        self.model, self.training, self.num_steps, self.process = model, training, num_steps, process
        self._turn = turn
        if groups is None:
            wanted = [parameter for parameter in model.parameters() if parameter.requires_grad]
            groups = [(wanted, training.learning_rate)]
        self.parameters = [parameter for group, _ in groups for parameter in group]
        self._peaks = [peak for _, peak in groups]
        self.optimizer = torch.optim.AdamW(
            [{"params": group, "lr": peak} for group, peak in groups],
            lr=training.learning_rate,
            weight_decay=training.weight_decay,
            fused=True,
        )

    def begin(self) -> Tensor:
        """Forget the gradients of the step before; give its loss something to add up in."""
        self.optimizer.zero_grad(set_to_none=True)
        self.model.train()
        return torch.zeros((), device=self.parameters[0].device)

    def update(self, step: Step, total: Tensor, dataset: Dataset) -> tuple[float, float]:
        """Move the weights by the gradients of all processes: the step's loss, and the learning rate.

        Args:
            step: Which it is.
            total: The loss of this process's part.
            dataset: Names the users of a step that fails.

        Raises:
            PatchrecError: Loss or gradient is not finite; the weights are left as they were.
        """
        self._add_gradients()
        self.process.add(total)
        loss = float(total)
        norm = float(whole(clip_grad_norm_(self.parameters, self.training.clip_norm)))
        self._refuse_nonfinite(step, loss, norm, dataset)
        first, stop = (self._turn, self.num_steps) if step.number >= self._turn else (0, self._turn)
        if step.number == first > 0:
            self.optimizer.state.clear()
        factor = learning_rate_factor(step.number - first, stop - first, self.training.warmup)
        for group, peak in zip(self.optimizer.param_groups, self._peaks, strict=True):
            group["lr"] = peak * factor
        self.optimizer.step()
        return loss, self._peaks[0] * factor

    def _add_gradients(self) -> None:
        """Make gradients those of all processes; where weights are split, the backward passes did."""
        if self.process.count == 1 or is_sharded(self.model):
            return
        self.process.wait()  # whoever is gone shows here, and not where a GPU waits and the process is killed for it
        for parameter in self.parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            self.process.add(parameter.grad)

    def _refuse_nonfinite(self, step: Step, loss: float, norm: float, dataset: Dataset) -> None:
        if torch.isfinite(torch.tensor([loss, norm])).all():
            return
        ids = [dataset.sequences.user_ids[user] for user in step.users]
        more = f" and {len(ids) - 10} more" if len(ids) > 10 else ""
        shown = ", ".join(repr(user_id) for user_id in ids[:10]) + more
        raise PatchrecError(
            f"training stopped: loss {loss}, gradient norm {norm} at step {step.number + 1} of {self.num_steps} "
            f"(users {shown}); start a new run with a lower --learning-rate; the newest checkpoint is kept"
        )
