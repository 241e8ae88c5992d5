"""What the training benchmarks measure on: real steps of a data set, and ways to learn from them.

A way to learn is a `Side`. Here are two for one and the same engine: forests grown from many examples, and rows of one
example each, behind one another without padding and without sharing. A step is long on a CPU, so passes are sampled:
what a target costs is its tokens (counted over the whole step) times the time of a token (measured on some passes), its
planning, and its part of one update.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import torch

from benchmarks.machine import in_turn
from patchrec.config import PromptConfig, PromptForm, RunConfig, StrategyConfig, TrainingConfig, Windows
from patchrec.data.histories import Dataset, Example
from patchrec.history import IntArray
from patchrec.model.attention import Extension
from patchrec.model.backbone import Backbone, fast_dtype
from patchrec.model.loss import Labels
from patchrec.model.patching import PathEncoder
from patchrec.model.tokenizer import make_encoder
from patchrec.operations.backbones import find_backbone
from patchrec.plugins import plan_for
from patchrec.store import Store
from patchrec.strategy import EVALUATION
from patchrec.training.batches import Batches, Step, all_batches
from patchrec.training.language_learner import LanguageLearner
from patchrec.training.objective import LabelledForest, label_rows, label_trees, pack, tree_rows

FORMS: tuple[PromptForm, ...] = ("paper", "instruction-first", "continuation")
KINDS = {
    "vanilla": StrategyConfig(name="vanilla"),
    "PFT-I M=5": StrategyConfig(name="pft-i", options={"M": 5}),
    "PFT-S L=5": StrategyConfig(name="pft-s", options={"L": 5}),
}


@dataclass(frozen=True, slots=True)
class Settings:
    """How much is measured.

    Attributes:
        K: History length, where not said otherwise.
        batch_size: Targets of a step. max_nodes: Tokens of a pass.
        dtype: What passes compute in; None takes what the hardware is fast in.
        count_data: Data sets whose tokens are counted.
        counted_steps: Steps counted of each.
        passes: Passes run of a step. repeats: Rounds in which sides take turns.
        micro_batch: Rows that the per-example trainer pads together.
        lengths: Values of K that the cost model is held against.
        users: Users it is held against, of all lengths.
        picture: Where it is drawn.
    """

    K: int = 100
    batch_size: int = 128
    max_nodes: int = TrainingConfig().max_nodes
    dtype: str | None = None
    count_data: tuple[str, ...] = ("ml-100k", "ml-1m")
    counted_steps: int = 32
    passes: int = 2
    repeats: int = 2
    micro_batch: int = 4
    lengths: tuple[int, ...] = (25, 50, 100, 200)
    users: int = 60
    picture: Path | None = None
    seed: int = 0

    @property
    def training(self) -> TrainingConfig:
        """Settings of the runs that steps are taken from; the rate is small, since nothing is to be learned."""
        dtype = self.dtype or str(fast_dtype()).removeprefix("torch.")
        values = {"batch_size": self.batch_size, "max_nodes": self.max_nodes, "dtype": dtype, "learning_rate": 1e-6}
        return TrainingConfig.model_validate(values)


@dataclass(frozen=True)
class Bench:
    """A data set and an untrained backbone, made ready."""

    store: Store
    dataset: Dataset
    folder: Path
    backbone: Backbone
    settings: Settings

    @classmethod
    def open(cls, store: Store, data: str, backbone: str, settings: Settings) -> "Bench":
        """Load both from a store."""
        dataset = store.datasets.load(data)
        folder = find_backbone(store, backbone).folder
        return cls(store, dataset, folder, Backbone.load(folder, name=backbone), settings)

    def on(self, data: str) -> "Bench":
        """The same with another data set."""
        return self if data == self.dataset.name else replace(self, dataset=self.store.datasets.load(data))

    @cached_property
    def encoders(self) -> dict[PromptForm, PathEncoder]:
        """Titles and prompt of each form."""

        def encoder(form: PromptForm) -> PathEncoder:
            prompt = PromptConfig(form=form, noun=self.dataset.noun, verb=self.dataset.verb)
            return make_encoder(self.folder, self.dataset.catalog.titles, prompt, self.backbone.vocab_size)

        return {form: encoder(form) for form in FORMS}

    def steps(self, windows: Windows, limit: int) -> list[Step]:
        """Evenly spaced steps of an epoch, all where there are no more."""
        examples = self.dataset.examples("train", self.settings.K, windows)
        batches = Batches(examples, self.settings.training, self.settings.seed, stage="finetune")
        chosen = {round(number) for number in np.linspace(0, batches.num_steps - 1, min(limit, batches.num_steps))}
        return [step for step in batches.steps() if step.number in chosen]

    @cached_property
    def step(self) -> Step:
        """The step that is timed: of those counted, the one in the middle by items of history."""
        steps = self.steps("anchored", self.settings.counted_steps)
        return sorted(steps, key=lambda step: mean_history(targets_of(step)))[len(steps) // 2]

    @cached_property
    def learner(self) -> LanguageLearner:
        """The engine of all sides, with the moments of AdamW in place."""
        self.backbone.train()
        config = RunConfig(
            stage="finetune", dataset=self.dataset.name, backbone=self.backbone.name, training=self.settings.training
        )
        learner = LanguageLearner(
            config,
            self.dataset,
            self.backbone,
            encoder=self.encoders["continuation"],
            planners=(),
            batches=all_batches(config, self.dataset),
        )
        learner.begin()
        for parameter in learner.parameters:
            parameter.grad = torch.zeros_like(parameter)
        learner.optimizer.step()
        return learner

    def update(self) -> None:
        """What ends a step: clip the gradients and move the weights."""
        torch.nn.utils.clip_grad_norm_(self.learner.parameters, self.learner.training.clip_norm)
        self.learner.optimizer.step()


def targets_of(step: Step) -> list[Example]:
    """All targets of a step."""
    return [example for tree in step.trees for example in tree]


def mean_history(examples: Sequence[Example]) -> float:
    """Items of history, on average."""
    return float(np.mean([example.position - example.start for example in examples]))


def sliding(examples: Sequence[Example], K: int) -> list[Example]:
    """The same targets with the newest K items before each."""
    return [Example.at(example.user, example.position, K, "sliding") for example in examples]


@dataclass(frozen=True, slots=True, eq=False)
class Pass:
    """One forward pass: blocks that do not see each other, and labels over all their nodes."""

    extensions: list[Extension]
    labels: Labels

    @property
    def tokens(self) -> int:
        """Positions run."""
        return sum(len(extension.forest) for extension in self.extensions)


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """One way to learn from a step.

    Attributes:
        run: Forward and backward passes of a sample of it.
        share: How many targets that sample stands for.
        tokens_per_target: Of the whole step.
        planning: Seconds a target.
    """

    run: Callable[[], object]
    share: float
    tokens_per_target: float
    planning: float

    def seconds(self, passes: float, update: float, targets: int) -> float:
        """What a target costs, where the passes of the sample and an update after so many targets took that long."""
        return passes / self.share + update / targets + self.planning


def forest_passes(bench: Bench, encoder: PathEncoder, kind: StrategyConfig) -> list[Pass]:
    """The step as training runs it."""
    trees = [(tree, EVALUATION) for tree in bench.step.trees]
    forests = label_trees(
        trees, bench.dataset, encoder, [plan_for(kind)], max_nodes=bench.settings.max_nodes
    )  # fmt: skip
    return [Pass([Extension(labelled.forest)], labelled.titles) for labelled in forests]


def row_passes(bench: Bench, encoder: PathEncoder, kind: StrategyConfig) -> list[Pass]:
    """The targets of the step with sliding windows, one row each, as many behind one another as a pass may hold."""
    examples = tuple(sliding(targets_of(bench.step), bench.settings.K))
    rows = tree_rows(examples, bench.dataset, encoder, [plan_for(kind)], EVALUATION)
    packs = pack([([row], len(row.path)) for row in rows], bench.settings.max_nodes)
    return [behind_one_another([label_rows([row]) for row in rows]) for rows in packs]


def behind_one_another(rows: Sequence[LabelledForest]) -> Pass:
    """Forests as blocks of one pass."""
    sizes = np.array([len(row.forest) for row in rows])
    nodes = np.array([len(row.titles.nodes) for row in rows])

    def joined(pieces: list[IntArray], lengths: IntArray) -> IntArray:
        starts = np.cumsum(lengths) - lengths
        return np.concatenate([piece + start for piece, start in zip(pieces, starts, strict=True)])

    labels = Labels(
        joined([row.titles.nodes for row in rows], sizes),
        joined([row.titles.rows for row in rows], nodes),
        np.concatenate([row.titles.classes for row in rows]),
        np.concatenate([row.titles.counts for row in rows]),
    )
    return Pass([Extension(row.forest) for row in rows], labels)


Passes = Callable[[Bench, PathEncoder, StrategyConfig], list[Pass]]


def make_side(bench: Bench, form: PromptForm, kind: StrategyConfig, passes: Passes) -> tuple[Side, list[Pass]]:
    """A side of the engine, and the passes it samples."""
    encoder = bench.encoders[form].fresh()
    start = perf_counter()
    made = passes(bench, encoder, kind)
    planning = (perf_counter() - start) / bench.step.num_targets
    places = np.linspace(0, len(made) - 1, min(bench.settings.passes, len(made)))
    sample = [made[round(place)] for place in places]
    labels = sum(each.labels.total for each in made)
    per_target = sum(each.tokens for each in made) / bench.step.num_targets
    share = sum(each.tokens for each in sample) / per_target
    return Side(lambda: run_passes(bench, encoder, sample, labels), share, per_target, planning), sample


def run_passes(bench: Bench, encoder: PathEncoder, passes: Sequence[Pass], labels: int) -> float:
    """Compile passes and run them forward and backward, as a step of so many labels would; return their loss."""
    learner, total = bench.learner, 0.0
    learner.optimizer.zero_grad(set_to_none=True)
    for each in passes:
        batch = bench.backbone.batch(encoder, each.extensions)
        loss = learner.summed_losses(batch, LabelledForest(each.extensions[0].forest, each.labels, None))[0] / labels
        loss.backward()
        total += float(loss.detach())
    return total


def compare(
    bench: Bench, sides: Mapping[str, Side], *, others: Mapping[str, Callable[[], object]] | None = None
) -> dict[str, list[float]]:
    """Seconds of each side's sample, of the update, and of other actions, all taking turns.

    Gradients must be there for the update, so it comes last.
    """
    actions: dict[str, Callable[[], object]] = {name: side.run for name, side in sides.items()}
    return in_turn({**actions, **(others or {}), "update": bench.update}, bench.settings.repeats)


def seconds_per_target(bench: Bench, sides: Mapping[str, Side], times: Mapping[str, list[float]]) -> dict[str, float]:
    """What a target costs on each side: medians over the rounds."""
    update, targets = median(times["update"]), bench.step.num_targets
    return {name: side.seconds(median(times[name]), update, targets) for name, side in sides.items()}
