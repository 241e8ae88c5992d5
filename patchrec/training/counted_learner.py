"""A model of counts that is fitted: one step without a gradient, so that it is a run like any other."""

import time
from collections.abc import Iterator
from math import nan
from pathlib import Path
from typing import Any

from patchrec.config import TrainingConfig
from patchrec.data.histories import Dataset
from patchrec.recommender import Counted
from patchrec.store.runs import LossRow
from patchrec.training.learner import Measured, Write
from patchrec.training.processes import Process

ARRAYS = "counts.safetensors"


class CountedLearner:
    """Counts the train split."""

    def __init__(self, name: str, dataset: Dataset, model: Counted) -> None:
        self.name, self.dataset, self.model = name, dataset, model
        self.training = TrainingConfig()
        self.process = Process()
        self.num_steps = 1
        self.num_targets = dataset.num_targets("train")

    def begin(self) -> None:
        """See `Learner.begin`."""
        self.process = Process.among_peers()

    def identity(self) -> dict[str, Any]:
        """See `Learner.identity`."""
        return {}

    def learn(self, first: int) -> Iterator[LossRow]:
        """See `Learner.learn`: the one step, which has no loss."""
        if first < 1:
            begun = time.perf_counter()
            self.model.fit(self.dataset)
            yield LossRow(1, nan, 0, self.num_targets, time.perf_counter() - begun, 0.0)

    def measure(self) -> Measured | None:
        """See `Learner.measure`."""
        return None

    def save(self, *, complete: bool) -> Write | None:
        """See `Learner.save`."""
        if not self.process.is_main:
            return None
        from safetensors.numpy import save_file

        return lambda folder: save_file(self.model.arrays(), folder / ARRAYS)

    def load(self, folder: Path, *, optimizer: bool) -> None:
        """See `Learner.load`."""
        restore(folder, self.model)


def restore(folder: Path, model: Counted) -> None:
    """Take the counts back from a verified checkpoint."""
    from safetensors.numpy import load_file

    model.restore(load_file(folder / ARRAYS))
