"""A model of identifiers that learns: each tree of examples is a row of items, each supervised position a target.

A user's examples that share a history's start are one row: the history of the last of them, with the next item asked
for at each position that an example stands for.

Shapes: B rows, P positions, I items.
"""

import time
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from math import nan
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from patchrec.config import RunConfig, TrainingConfig
from patchrec.data.histories import Dataset, Example
from patchrec.errors import PluginError
from patchrec.history import IntArray
from patchrec.model.backbone import best_device
from patchrec.model.item_batch import ItemBatch, ItemModel
from patchrec.model.memory import memory_errors
from patchrec.model.start_files import files_fingerprint, write_start
from patchrec.ranking.dense import DenseRecommender
from patchrec.ranking.identifiers import ModelScorer
from patchrec.ranking.items import precedence
from patchrec.recommender import Query
from patchrec.store.runs import LossRow
from patchrec.training.batches import Step, Tree, all_batches, pass_seed
from patchrec.training.learner import Measured, Updater, Write, checked_validation
from patchrec.training.processes import Process
from patchrec.training.validation import ranking_metric
from patchrec.training.weights import OPTIMIZER, load_optimizer, optimizer_tensors

MODEL = "model.safetensors"


class ItemLearner:
    """A model of identifiers that learns step by step, in float32."""

    def __init__(
        self,
        config: RunConfig,
        dataset: Dataset,
        model: nn.Module,
        validation: Sequence[Example],
        files: Mapping[str, bytes] | None = None,
    ) -> None:
        """Take everything together; `begin` makes it learn.

        Args:
            config: `config.training` says how, `config.seed` fixes all random numbers.
            dataset: Where examples come from.
            model: A module that is an `ItemModel`.
            validation: Targets to measure.
            files: What its checkpoints keep beside the weights, by name (`patchrec.model.start_files`).

        Raises:
            UsageError: The run has no training settings. InputError: There is nothing to train on.
        """
        self.training = config.training or TrainingConfig()
        self.config, self.dataset, self.model, self.files = config, dataset, model, files or {}
        self.validation = checked_validation(self.training, validation, dataset)
        self.batches = all_batches(config, dataset)
        self.num_steps, self.num_targets = self.batches.num_steps, self.batches.num_targets
        self.process = Process()
        self.device = torch.device(best_device())
        self._progress = 0.0

    def begin(self) -> None:
        """See `Learner.begin`."""
        self.process = Process.among_peers()
        self.model.to(self.device, torch.float32)
        self.updater = Updater(self.model, self.training, self.num_steps, self.process, turn=self._first_ranking())

    def _first_ranking(self) -> int:
        """The first step at which the model learns to rank."""
        last = max(1, self.num_steps - 1)
        return bisect_left(range(self.num_steps), self._ranks_from, key=lambda number: number / last)

    @property
    def _ranks_from(self) -> float:
        return float(getattr(self.model, "ranks_from", 0.0))

    def identity(self) -> dict[str, Any]:
        """See `Learner.identity`: the shapes of its weights, and what it keeps beside them."""
        shapes = {name: list(tensor.shape) for name, tensor in self.model.state_dict().items()}
        beside = {"files": files_fingerprint(self.files)} if self.files else {}
        return {"model": {"name": self.config.kind.name, "weights": shapes, **beside}}

    def learn(self, first: int) -> Iterator[LossRow]:
        """See `Learner.learn`.

        Raises:
            PatchrecError: Loss or gradient is not finite. OutOfResourcesError: A step does not fit in memory.
            PluginError: The model's loss is no number.
        """
        for step in self.batches.steps(first):
            begun, total = time.perf_counter(), self.updater.begin()
            trees = step.trees[self.process.rank :: self.process.count]
            batch = tree_batch(trees, self.dataset, self.device, step.progress)
            self._progress = step.progress
            torch.manual_seed(pass_seed(self.config.seed, step.number, self.process.rank))
            with self._memory_errors(batch.num_positions):  # the first step allocates both moments
                if trees:
                    loss = self._summed_loss(batch) / step.num_targets
                    loss.backward()  # type: ignore[no-untyped-call]
                    total += loss.detach()
                loss_of_step, rate = self.updater.update(step, total, self.dataset)
            tokens = self.positions(step)
            yield LossRow(step.number + 1, loss_of_step, tokens, step.num_targets, time.perf_counter() - begun, rate)

    def positions(self, step: Step) -> int:
        """Positions of a step's histories, padding left out."""
        return sum(tree[-1].position - tree[0].start + 1 for tree in step.trees)

    def _summed_loss(self, batch: ItemBatch) -> torch.Tensor:
        loss = cast(ItemModel, self.model).loss(batch)
        if not isinstance(loss, torch.Tensor) or loss.ndim:
            raise PluginError(f"recommender {self.config.kind.name!r}: its loss must be one number, got {loss!r:.80}")
        return loss

    def _memory_errors(self, positions: int) -> AbstractContextManager[None]:
        return memory_errors(
            f"{positions:,} positions over {len(self.dataset.catalog):,} items",
            "begin again with a lower --batch-size, a lower --K or a smaller model",
        )

    def measure(self) -> Measured | None:
        """See `Learner.measure`: mean log-probability of validation targets, and how they rank where that is asked.

        A model whose `ranks_from` is above 0 is not measured in that first share of its steps: it learns something else
        there, and what it ranks by then neither is kept nor ends the run.

        Raises:
            OutOfResourcesError: They do not fit in memory.
        """
        if not self.validation or self._progress < self._ranks_from:
            return None
        recommender = self.recommender()
        queries = [Query.of(self.dataset, example) for example in self.validation]
        targets = [self.dataset.target(example) for example in self.validation]
        loss, tokens = 0.0, 0
        with self._memory_errors(sum(len(query.history) for query in queries)):
            for number, scores in recommender.score_each(queries):
                loss -= float(scores.log_probs[targets[number]]) / len(queries)
                tokens += scores.cost.positions
            metric = ranking_metric(
                recommender, self.dataset, self.validation, self.training.validate_metric, self.process
            )
        return Measured(loss if queries else nan, tokens, len(queries), metric)

    def recommender(self) -> DenseRecommender:
        """What ranks with the weights as they are."""
        scorer = ModelScorer(self.model, len(self.dataset.catalog), self.device)
        return DenseRecommender(
            self.config.kind.name, scorer, precedence(self.dataset.popularity), self.dataset.catalog.titles, positions=1
        )

    def save(self, *, complete: bool) -> Write | None:
        """See `Learner.save`."""
        if not self.process.is_main:
            return None
        from safetensors.torch import save_file

        def write(folder: Path) -> None:
            state = self.model.state_dict()
            weights = {name: own.cpu().clone(memory_format=torch.contiguous_format) for name, own in state.items()}
            save_file(weights, folder / MODEL, metadata={"num_items": str(len(self.dataset.catalog))})
            write_start(folder, self.files)
            if not complete:
                save_file(optimizer_tensors(self._trained(), self.updater.optimizer), folder / OPTIMIZER)

        return write

    def load(self, folder: Path, *, optimizer: bool) -> None:
        """See `Learner.load`."""
        load_model(folder, self.model)
        if optimizer:
            load_optimizer(folder, self._trained(), self.updater.optimizer)

    def _trained(self) -> list[tuple[str, nn.Parameter]]:
        """The weights that the optimizer moves, in its order."""
        return [(name, own) for name, own in self.model.named_parameters() if own.requires_grad]


def load_model(folder: Path, model: nn.Module) -> None:
    """Put the weights of a verified checkpoint into a model of the same shape.

    Raises:
        PluginError: They do not fit: the plugin that made them builds another model now.
    """
    from safetensors.torch import load_file

    try:
        model.load_state_dict(load_file(folder / MODEL))
    except RuntimeError as error:
        first = str(error).splitlines()[-1].strip()
        raise PluginError(f"the weights in {folder} are not of this model ({first}); fit it again") from error


def saved_num_items(folder: Path) -> int:
    """How many items a saved model knows."""
    from safetensors import safe_open

    with safe_open(folder / MODEL, framework="pt") as stored:
        return int(stored.metadata()["num_items"])


def tree_batch(trees: Sequence[Tree], dataset: Dataset, device: torch.device, progress: float = 1.0) -> ItemBatch:
    """Rows of trees: each the history of its last example, asked for the target of each."""
    histories: list[IntArray] = []
    wanted: list[IntArray] = []
    times: list[IntArray] = []
    for tree in trees:
        whole = dataset.history(tree[-1])
        history = whole.items
        if whole.timestamps is not None:
            times.append(whole.timestamps)
        targets = np.full(len(history) + 1, -1, dtype=np.int64)
        at = np.array([example.position - example.start for example in tree], dtype=np.int64)
        targets[at] = [dataset.target(example) for example in tree]
        histories.append(history)
        wanted.append(targets)
    moments = times if len(times) == len(histories) else None
    return ItemBatch.of(histories, len(dataset.catalog), device, wanted, times=moments, progress=progress)
