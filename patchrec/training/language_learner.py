"""A language model that learns: forests forward and backward, by titles, by its item head, or by both in one pass."""

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from math import nan
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from patchrec.config import RunConfig, TrainingConfig
from patchrec.data.histories import Dataset, Example
from patchrec.data.long_titles import excerpt
from patchrec.errors import OutOfResourcesError, UsageError
from patchrec.model.attention import Extension
from patchrec.model.backbone import Backbone, ForestBatch
from patchrec.model.lora import add_adapters, peft_version, refuse_rank
from patchrec.model.memory import free_memory, memory_errors
from patchrec.model.patching import PathEncoder
from patchrec.recommender import Recommender
from patchrec.store.runs import LossRow
from patchrec.strategy import EVALUATION, Planner
from patchrec.training.ahead import one_ahead
from patchrec.training.batches import Batches, Step, group_trees, pass_seed
from patchrec.training.estimate import memory_of
from patchrec.training.learner import Measured, Updater, Write, checked_validation
from patchrec.training.longest import text_lengths
from patchrec.training.objective import Branches, Heads, LabelledForest, Questions, label_step, label_trees
from patchrec.training.processes import Process
from patchrec.training.sharding import is_sharded, release, shard
from patchrec.training.validation import ranking_metric
from patchrec.training.weights import Tensors, load_optimizer, load_weights, trained, write_tensors


@dataclass(frozen=True, slots=True)
class HeadWeights:
    """How much the mean loss over each head's labels counts; 0 leaves a head out.

    Attributes:
        title: Next tokens of titles.
        item: Next items.
    """

    title: float = 1.0
    item: float = 0.0

    @property
    def heads(self) -> Heads:
        """Which labels are wanted."""
        return Heads(title=self.title > 0, item=self.item > 0)


@dataclass(frozen=True, slots=True, eq=False)
class Pass:
    """One forward and backward pass of a step, ready for the device.

    Attributes:
        number: Which forest of the step it is.
        weights: (2,) what the summed losses of titles and items are multiplied with: a head's weight over its labels of
            the whole step; 0 where this process only keeps step with the others, which have a forest more.
        tokens: Forest nodes of the whole step.
        last: Whether the update follows.
    """

    step: Step
    number: int
    batch: ForestBatch
    labelled: LabelledForest
    weights: tuple[float, float]
    tokens: int
    last: bool


class LanguageLearner:
    """A backbone that learns step by step. Its weights are float32; `dtype` is what it computes in.

    With `lora_rank` it gets adapters, and of the backbone they alone learn.
    """

    def __init__(
        self,
        config: RunConfig,
        dataset: Dataset,
        backbone: Backbone,
        *,
        encoder: PathEncoder,
        planners: Sequence[Planner],
        batches: Batches,
        weights: HeadWeights | None = None,
        branches: Branches | None = None,
        questions: Questions | None = None,
        ranker: Callable[[], Recommender] | None = None,
        validation: Sequence[Example] = (),
    ) -> None:
        """Take everything together; `begin` makes it learn.

        Args:
            config: `config.training` says how, `config.seed` fixes all random numbers.
            dataset: Where examples come from.
            backbone: The start, changed in place.
            encoder: Prompt and titles.
            planners: Every example is planned once by each.
            batches: The steps.
            weights: Of the heads; None: titles alone.
            branches: Where titles part, to ask for them there alone; None asks for every token of the vocabulary.
            questions: What is asked in place of the next title; None: that title.
            ranker: Makes what ranks with the backbone as it is, where that is not its titles or its item head.
            validation: Targets to measure; the same whenever it is resumed.

        Raises:
            UsageError: A setting that the model does not allow.
        """
        self.training = config.training or TrainingConfig()
        self.config, self.seed = config, config.seed
        self.dataset, self.backbone, self.encoder, self.planners = dataset, backbone, encoder, planners
        self.batches, self.validation = batches, checked_validation(self.training, validation, dataset)
        self.weights = weights or HeadWeights()
        self.heads = replace(self.weights.heads, branches=branches, questions=questions)
        self.ranker = ranker
        self.num_steps, self.num_targets = batches.num_steps, batches.num_targets
        self.process = Process()
        if self.training.lora_rank is not None:
            refuse_rank(backbone, self.training.lora_rank)

    def begin(self) -> None:
        """See `Learner.begin`.

        Raises:
            UsageError: A setting that the model or what is installed does not allow.
        """
        backbone, training = self.backbone, self.training
        self.process = Process.among_peers()
        backbone.to(backbone.device.type, torch.float32)  # the current GPU is this process's
        if training.lora_rank is not None:
            add_adapters(backbone, training.lora_rank, self.seed)
        if training.gradient_checkpointing:
            _checkpoint_layers(backbone)
        if training.shard and self.process.count > 1:
            if backbone.items is not None:
                raise UsageError("--shard splits a model without item head and item vectors; drop one of them")
            if training.validate_every is not None and training.validate_metric != "loss":
                raise UsageError("--shard splits a model that its loss alone measures; drop --validate-metric")
            shard(backbone, getattr(torch, training.dtype))
        if training.dropout:
            backbone.drop(training.dropout)
        self.updater = Updater(backbone, training, self.num_steps, self.process, groups=self._groups())
        # gradient and moments come with the first step; what splits a model is not counted here
        to_come = 0 if training.shard else 3 * 4 * sum(parameter.numel() for parameter in self.parameters)
        self.room = free_memory(backbone.device) - to_come

    def _groups(self) -> list[tuple[list[Parameter], float]]:
        """Weights with the peaks of their rates: those above all layers first, then layer by layer downwards."""
        training, backbone = self.training, self.backbone
        named = trained(backbone)
        items = [own for name, own in named if name.startswith("items.")]
        depths = _depths_below(backbone) if training.layer_decay < 1 else {}
        by_depth: dict[int, list[Parameter]] = {}
        for name, own in named:
            if not name.startswith("items."):
                by_depth.setdefault(depths.get(own, 0), []).append(own)
        groups = [
            (own, training.learning_rate * training.layer_decay**depth) for depth, own in sorted(by_depth.items())
        ]
        return [*groups, (items, training.head_learning_rate or training.learning_rate)] if items else groups

    @property
    def parameters(self) -> list[Parameter]:
        """The weights that learn."""
        return self.updater.parameters

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """What moves them."""
        return self.updater.optimizer

    def identity(self) -> dict[str, Any]:
        """See `Learner.identity`: strategies, prompt and titles as they are encoded."""
        digest = hashlib.sha256(self.encoder.titles.ids.tobytes() + self.encoder.titles.offsets.tobytes())
        if self.encoder.texts is not self.encoder.titles:
            digest.update(self.encoder.texts.ids.tobytes() + self.encoder.texts.offsets.tobytes())
        own = {
            "strategies": [planner.label for planner in self.planners],
            "tokenizer": {"prompt": self.encoder.prompt.fingerprint, "titles": digest.hexdigest()[:16]},
        }
        return own if self.training.lora_rank is None else own | {"versions": {"peft": peft_version()}}

    def learn(self, first: int) -> Iterator[LossRow]:
        """See `Learner.learn`."""
        return self.take(self.batches.steps(first))

    def take(self, steps: Iterable[Step]) -> Iterator[LossRow]:
        """Take some steps; the next pass is planned and compiled beside the current one.

        A row counts steps from 1, and holds the loss before the update and the forest nodes run.

        Raises:
            PatchrecError: Loss or gradient is not finite; the weights are left as they were.
            OutOfResourcesError: A forest does not fit in memory.
        """
        begun, total = time.perf_counter(), self.updater.begin()
        for one in one_ahead(self.passes(steps)):
            torch.manual_seed(pass_seed(self.seed, one.step.number, one.number))  # for backbones with dropout
            with self._memory_errors(len(one.batch)):
                loss = self._weighted(self.summed_losses(one.batch, one.labelled), one.weights)
                loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
            if one.last:
                with self._memory_errors(one.tokens):  # the first step allocates both moments
                    loss_of_step, rate = self.updater.update(one.step, total, self.dataset)
                seconds = time.perf_counter() - begun
                yield LossRow(one.step.number + 1, loss_of_step, one.tokens, one.step.num_targets, seconds, rate)
                begun, total = time.perf_counter(), self.updater.begin()

    def passes(self, steps: Iterable[Step]) -> Iterator[Pass]:
        """This process's share of the forests of steps, each compiled when it is asked for."""
        for step in steps:
            encoder = self.encoder.fresh()
            forests = self.forests(step, encoder)
            # Divided by the labels of the whole step, not of a forest, the cut into forests is invisible.
            titles, items = self._per_label(forests)
            tokens = sum(len(labelled.forest) for labelled in forests)
            share = self._share(forests)
            for number, labelled, counts in share:
                self._refuse_larger(step, labelled)
                with self._memory_errors(len(labelled.forest)):
                    batch = self.batch(encoder, labelled)
                last = number == share[-1][0]
                yield Pass(step, number, batch, labelled, (titles * counts, items * counts), tokens, last)

    def _refuse_larger(self, step: Step, labelled: LabelledForest) -> None:
        """Refuse a forest that cannot be held, before it is made: the system would end us, not say so.

        Raises:
            OutOfResourcesError: The message names the prompt and the title.
        """
        wanted = memory_of(self, [labelled])
        own = wanted.activations + wanted.masks + wanted.logits + wanted.allocator
        if own > self.room:
            raise OutOfResourcesError(
                f"a forest of {len(labelled.forest):,} nodes takes about {own / 1e9:,.1f} GB, "
                f"{wanted.masks / 1e9:,.1f} GB of it masks, and {max(0, self.room) / 1e9:,.1f} GB are free for it; "
                f"{self.longest_prompt([tree[-1] for tree in step.trees])}; begin again with a lower "
                "--max-title-tokens, --K or --max-nodes, or with --gradient-checkpointing"
            )

    def longest_prompt(self, examples: Sequence[Example]) -> str:
        """Words on the longest history, as text, of some examples, and on the longest title in it."""
        lengths = text_lengths(examples, self.dataset, self.encoder)
        longest = int(lengths.argmax())
        items = self.dataset.history(examples[longest]).items
        item = int(items[self.encoder.titles.lengths[items].argmax()])
        user = self.dataset.sequences.user_ids[examples[longest].user]
        title, tokens = self.dataset.catalog.titles[item], int(self.encoder.titles.lengths[item])
        return (
            f"the longest history, of user {user!r}, is {int(lengths[longest]):,} tokens, its longest title, "
            f"{excerpt(title)}, {tokens:,}"
        )

    def forests(self, step: Step, encoder: PathEncoder) -> list[LabelledForest]:
        """The forests of a step."""
        return label_step(
            step, self.dataset, encoder, self.planners,
            seed=self.seed, max_nodes=self.training.max_nodes, heads=self.heads,
        )  # fmt: skip

    def batch(self, encoder: PathEncoder, labelled: LabelledForest) -> ForestBatch:
        """A forest compiled for the device."""
        return self.backbone.batch(encoder, [Extension(labelled.forest)])

    def summed_losses(self, batch: ForestBatch, labelled: LabelledForest) -> Tensor:
        """(2,) losses of a forest, nats summed over its title labels and its item labels; differentiable."""
        with self._precision():
            losses: Tensor = self.backbone(batch, labelled.titles, labelled.items)
        return losses

    @staticmethod
    def _weighted(losses: Tensor, weights: tuple[float, float]) -> Tensor:
        """The loss of a pass. A head without labels takes no part, so that one head alone is what it was before two."""
        parts = [losses[head] * weight for head, weight in enumerate(weights) if weight]
        return sum(parts[1:], start=parts[0]) if parts else losses.sum() * 0.0

    def _per_label(self, forests: Sequence[LabelledForest]) -> tuple[float, float]:
        """What one label of each head counts in a step of these forests."""
        titles = sum(labelled.titles.total for labelled in forests if labelled.titles is not None)
        items = sum(labelled.items.total for labelled in forests if labelled.items is not None)
        return self.weights.title / titles if titles else 0.0, self.weights.item / items if items else 0.0

    def _share(self, forests: Sequence[LabelledForest]) -> list[tuple[int, LabelledForest, int]]:
        """What this process runs: number, forest and how often it counts; as many forests as any other process runs.

        Where there is none left for it, it runs the smallest again for nothing: nobody waits longer for that.
        """
        rank, processes = self.process.rank, self.process.count
        rounds = -(-len(forests) // processes)
        numbers = range(rank, rounds * processes, processes)
        return [(number, forests[min(number, len(forests) - 1)], int(number < len(forests))) for number in numbers]

    def measure(self) -> Measured | None:
        """See `Learner.measure`: the training objective on validation targets, and where it is asked for how they rank.

        Always the same targets under the layouts of an evaluation, grown into forests once.

        Raises:
            OutOfResourcesError: A forest does not fit in memory.
        """
        if not self.validation:
            return None
        encoder, forests = self.validation_forests
        loss = self.measure_forests(encoder, forests)
        tokens = sum(len(labelled.forest) for labelled in forests)
        metric = None
        if self.training.validate_metric != "loss":
            metric = ranking_metric(
                self.recommender(), self.dataset, self.validation, self.training.validate_metric, self.process
            )
        return Measured(loss, tokens, len(self.validation), metric)

    @cached_property
    def validation_forests(self) -> tuple[PathEncoder, list[LabelledForest]]:
        """The validation targets, with the encoder that made their keys."""
        encoder = self.encoder.fresh()
        trees = [(tree, EVALUATION) for tree in group_trees(self.validation, len(self.validation))]
        return encoder, label_trees(
            trees, self.dataset, encoder, self.planners,
            max_nodes=self.training.max_nodes, heads=self.heads,
        )  # fmt: skip

    @torch.no_grad()
    def measure_forests(self, encoder: PathEncoder, forests: Sequence[LabelledForest]) -> float:
        """Loss of forests as a step of them would have it, without learning from them; no random number is drawn."""
        self.backbone.eval()
        titles, items = self._per_label(forests)
        total = torch.zeros(2, device=self.backbone.device)
        for _, labelled, counts in self._share(forests):
            with self._memory_errors(len(labelled.forest)):
                total += self.summed_losses(self.batch(encoder, labelled), labelled) * counts
        self.process.add(total)
        release(self.backbone)
        return (
            sum(float(loss) * weight for loss, weight in zip(total, (titles, items), strict=True)) if forests else nan
        )

    def recommender(self) -> Recommender:
        """What ranks with the weights as they are."""
        from patchrec.ranking.items import precedence
        from patchrec.ranking.language import LanguageRecommender
        from patchrec.ranking.scorer import TitleScorer

        self.backbone.eval()
        if self.ranker is not None:
            return self.ranker()
        by_titles = self.weights.title > 0
        return LanguageRecommender(
            self.backbone,
            self.encoder,
            self.planners[-1],
            precedence(self.dataset.popularity),
            self.dataset.catalog.titles,
            TitleScorer.of(self.backbone, self.encoder) if by_titles else None,
            item_weight=self.weights.item if by_titles and self.weights.item else None,
        )

    def save(self, *, complete: bool) -> Write | None:
        """See `Learner.save`."""
        if not self.process.is_main and not is_sharded(self.backbone):
            return None
        tensors = Tensors.of(self.backbone, None if complete else self.optimizer)
        if not self.process.is_main:
            return None
        return lambda folder: write_tensors(folder, self.backbone, tensors)

    def load(self, folder: Path, *, optimizer: bool) -> None:
        """See `Learner.load`."""
        load_weights(folder, self.backbone)
        if optimizer:
            load_optimizer(folder, trained(self.backbone), self.optimizer)

    def _memory_errors(self, nodes: int) -> AbstractContextManager[None]:
        return memory_errors(
            f"a forest of {nodes} nodes",
            f"begin again with a lower --max-nodes (now {self.training.max_nodes}), with --gradient-checkpointing, or "
            "with a lower --K where single prompts are that long",
        )

    def _precision(self) -> AbstractContextManager[None]:
        kind = self.backbone.device.type
        return torch.autocast(kind, dtype=torch.bfloat16, enabled=self.training.dtype == "bfloat16")


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


def _depths_below(backbone: Backbone) -> dict[Parameter, int]:
    """How many layers lie above the weights of each layer, and above the embeddings."""
    layers = list(backbone.layers)
    found = {own: depth for depth, layer in enumerate(reversed(layers)) for own in layer.parameters()}
    return found | {backbone.model.get_input_embeddings().weight: len(layers)}
