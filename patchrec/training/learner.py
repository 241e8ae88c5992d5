"""One optimizer step: forests forward and backward, gradients summed over processes, clipped, applied."""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from patchrec.config import RunConfig, TrainingConfig
from patchrec.data.histories import Dataset
from patchrec.errors import OutOfResourcesError, PatchrecError, UsageError
from patchrec.model.attention import Extension
from patchrec.model.backbone import Backbone, ForestBatch
from patchrec.model.lora import add_adapters
from patchrec.model.loss import Labels
from patchrec.model.memory import is_out_of_memory
from patchrec.model.patching import PathEncoder
from patchrec.store.runs import LossRow
from patchrec.strategy import Planner
from patchrec.training.ahead import one_ahead
from patchrec.training.batches import Step, pass_seed
from patchrec.training.objective import LabelledForest, label_step
from patchrec.training.processes import Process
from patchrec.training.schedule import learning_rate_factor
from patchrec.training.sharding import is_sharded, release, shard, whole
from patchrec.training.state import trained_parameters


@dataclass(frozen=True, slots=True, eq=False)
class Pass:
    """One forward and backward pass of a step, ready for the device.

    Attributes:
        number: Which forest of the step it is.
        weight: What its loss is multiplied with: one over the labels of the whole step; 0 where this process only keeps
            step with the others, which have a forest more.
        tokens: Forest nodes of the whole step.
        last: Whether the update follows.
    """

    step: Step
    number: int
    batch: ForestBatch
    labels: Labels
    weight: float
    tokens: int
    last: bool


class Learner:
    """A backbone that learns step by step. Its weights are float32; `dtype` is what it computes in.

    With `lora_rank` it gets adapters, and they alone learn.
    """

    def __init__(
        self,
        config: RunConfig,
        dataset: Dataset,
        backbone: Backbone,
        *,
        encoder: PathEncoder,
        planners: Sequence[Planner],
        num_steps: int,
    ) -> None:
        self.training = config.training or TrainingConfig()
        self.seed = config.seed
        self.dataset, self.backbone, self.encoder, self.planners = dataset, backbone, encoder, planners
        self.num_steps = num_steps
        self.process = Process.among_peers()
        backbone.to(backbone.device.type, torch.float32)  # the current GPU is this process's
        if self.training.lora_rank is not None:
            add_adapters(backbone, self.training.lora_rank, self.seed)
        if self.training.gradient_checkpointing:
            _checkpoint_layers(backbone)
        if self.training.shard and self.process.count > 1:
            shard(backbone, getattr(torch, self.training.dtype))
        self.parameters = trained_parameters(backbone)
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=self.training.learning_rate, weight_decay=self.training.weight_decay, fused=True
        )

    def learn(self, steps: Iterable[Step]) -> Iterator[LossRow]:
        """Take steps, and tell of each when it is done; the next pass is planned and compiled beside the current one.

        A row counts steps from 1, and holds the loss before the update and the forest nodes run.

        Raises:
            PatchrecError: Loss or gradient is not finite; the weights are left as they were.
            OutOfResourcesError: A forest does not fit in memory.
        """
        begun, total = time.perf_counter(), self._begin()
        for one in one_ahead(self.passes(steps)):
            torch.manual_seed(pass_seed(self.seed, one.step.number, one.number))  # for backbones with dropout
            with self._memory_errors(len(one.batch)):
                loss = self.summed_loss(one.batch, one.labels) * one.weight
                loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
            if one.last:
                yield self._update(one, total, begun)
                begun, total = time.perf_counter(), self._begin()

    def passes(self, steps: Iterable[Step]) -> Iterator[Pass]:
        """This process's share of the forests of steps, each compiled when it is asked for."""
        for step in steps:
            encoder = self.encoder.fresh()
            forests = label_step(
                step, self.dataset, encoder, self.planners, seed=self.seed, max_nodes=self.training.max_nodes
            )
            # Divided by the labels of the whole step, not of a forest, the cut into forests is invisible.
            weight = 1 / sum(labelled.labels.total for labelled in forests)
            tokens = sum(len(labelled.forest) for labelled in forests)
            share = self._share(forests)
            for number, labelled, counts in share:
                with self._memory_errors(len(labelled.forest)):
                    batch = self.batch(encoder, labelled)
                last = number == share[-1][0]
                yield Pass(step, number, batch, labelled.labels, weight * counts, tokens, last)

    def _begin(self) -> Tensor:
        """Forget the gradients of the step before; give its loss something to add up in."""
        self.optimizer.zero_grad(set_to_none=True)
        self.backbone.train()
        return torch.zeros((), device=self.backbone.device)

    def _update(self, one: Pass, total: Tensor, begun: float) -> LossRow:
        """Move the weights by the gradients of all processes."""
        step = one.step
        self._add_gradients()
        self.process.add(total)
        loss = float(total)
        norm = float(whole(clip_grad_norm_(self.parameters, self.training.clip_norm)))
        self._refuse_nonfinite(step, loss, norm)
        rate = self.training.learning_rate * learning_rate_factor(step.number, self.num_steps, self.training.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        with self._memory_errors(one.tokens):  # the first step allocates both moments
            self.optimizer.step()
        return LossRow(step.number + 1, loss, one.tokens, step.num_targets, time.perf_counter() - begun, rate)

    def _add_gradients(self) -> None:
        """Make gradients those of all processes; where weights are split, the backward passes did."""
        if self.process.count == 1 or is_sharded(self.backbone):
            return
        self.process.wait()  # whoever is gone shows here, and not where a GPU waits and the process is killed for it
        for parameter in self.parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            self.process.add(parameter.grad)

    def _share(self, forests: Sequence[LabelledForest]) -> list[tuple[int, LabelledForest, int]]:
        """What this process runs: number, forest and how often it counts; as many forests as any other process runs.

        Where there is none left for it, it runs the smallest again for nothing: nobody waits longer for that.
        """
        rank, processes = self.process.rank, self.process.count
        rounds = -(-len(forests) // processes)
        numbers = range(rank, rounds * processes, processes)
        return [(number, forests[min(number, len(forests) - 1)], int(number < len(forests))) for number in numbers]

    def batch(self, encoder: PathEncoder, labelled: LabelledForest) -> ForestBatch:
        """A forest compiled for the device."""
        return self.backbone.batch(encoder, [Extension(labelled.forest)])

    @torch.no_grad()
    def measure(self, encoder: PathEncoder, forests: Sequence[LabelledForest]) -> float:
        """Mean loss over the labels of forests, without learning from them; no random number is drawn."""
        self.backbone.eval()
        total = torch.zeros((), device=self.backbone.device)
        for _, labelled, counts in self._share(forests):
            with self._memory_errors(len(labelled.forest)):
                total += self.summed_loss(self.batch(encoder, labelled), labelled.labels) * counts
        self.process.add(total)
        release(self.backbone)
        return float(total) / sum(labelled.labels.total for labelled in forests)

    def summed_loss(self, batch: ForestBatch, labels: Labels) -> Tensor:
        """Loss of a forest, nats summed over its labels; differentiable."""
        with self._precision():
            loss: Tensor = self.backbone(batch, labels)
        return loss

    @contextmanager
    def _memory_errors(self, nodes: int) -> Iterator[None]:
        try:
            yield
        except (MemoryError, RuntimeError) as error:
            if is_out_of_memory(error):
                raise OutOfResourcesError(
                    f"out of memory on a forest of {nodes} nodes; begin again with a lower --max-nodes "
                    f"(now {self.training.max_nodes}), with --gradient-checkpointing, or with a lower --K where single "
                    "prompts are that long"
                ) from error
            raise

    def _precision(self) -> AbstractContextManager[None]:
        kind = self.backbone.device.type
        return torch.autocast(kind, dtype=torch.bfloat16, enabled=self.training.dtype == "bfloat16")

    def _refuse_nonfinite(self, step: Step, loss: float, norm: float) -> None:
        if torch.isfinite(torch.tensor([loss, norm])).all():
            return
        ids = [self.dataset.sequences.user_ids[user] for user in step.users]
        more = f" and {len(ids) - 10} more" if len(ids) > 10 else ""
        shown = ", ".join(repr(user_id) for user_id in ids[:10]) + more
        raise PatchrecError(
            f"training stopped: loss {loss}, gradient norm {norm} at step {step.number + 1} of {self.num_steps} "
            f"(users {shown}); start a new run with a lower --learning-rate; the newest checkpoint is kept"
        )


def _checkpoint_layers(backbone: Backbone) -> None:
    """Let the layers of a model keep their inputs alone, and compute the rest again in the backward pass.

    Raises:
        UsageError: The model cannot.
    """
    model = backbone.model
    # transformers renamed it; both take the options of torch's checkpoint first
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    try:
        enable({"use_reentrant": False})
    except ValueError as error:
        raise UsageError(f"{backbone.name} has no gradient checkpointing ({error}); drop that setting") from error
