"""Every kind that learns goes through the one loop: resumed bitwise, stopped by patience, measured by ranks."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from tiny_training import Heard, make_dataset

from patchrec.config import HistoryConfig, KindConfig, PromptConfig, RunConfig, StrategyConfig, TrainingConfig
from patchrec.data.histories import Dataset, Example
from patchrec.evaluation.metrics import rank_metrics
from patchrec.plugins import find_kind
from patchrec.recommender import Fitting, Query, Saved, log_probs
from patchrec.training import loop
from patchrec.training.learner import Learner
from patchrec.training.validation import ranking_metric

SMALL: dict[str, dict[str, Any]] = {
    "sasrec": {"width": 8, "layers": 1, "heads": 1, "dropout": 0.2},
    "esasrec": {"width": 8, "layers": 1, "heads": 1, "dropout": 0.2},
    "item": {},
    "both": {},
}
BY_RANKS = TrainingConfig(
    batch_size=8, epochs=3, learning_rate=3e-3, checkpoint_every=2, validate_every=2, validate_metric="ndcg@10"
)


def make_config(kind: str, training: TrainingConfig = BY_RANKS) -> RunConfig:
    words = kind in ("item", "both")
    return RunConfig(
        stage="finetune" if words else "baseline",
        dataset="tiny",
        kind=KindConfig(name=kind, options=dict(find_kind(kind).bind(SMALL[kind]).options.values)),
        backbone="tiny-random" if words else None,
        strategies=(StrategyConfig(name="item-mean"),) if words else (),
        history=HistoryConfig(K=8, windows="blocks"),
        prompt=PromptConfig(form="continuation", noun="movie", verb="watched") if words else None,
        training=training,
        score=find_kind(kind).scores[0],
    )


def validation_of(dataset: Dataset) -> list[Example]:
    return dataset.examples("train", 8, "newest")[:6]


def make_learner(config: RunConfig, dataset: Dataset, backbone: Path) -> Learner:
    kind = find_kind(config.kind.name)
    return kind.learner(Fitting(config, dataset, backbone, validation=validation_of(dataset)))


class CrashError(Exception):
    """Stands for a lost machine."""


class Sitting:
    """Trainings of one run with the loss rows and measurements that they logged."""

    def __init__(self, config: RunConfig, backbone: Path, folder: Path) -> None:
        self.config, self.backbone, self.folder = config, backbone, folder
        self.dataset = make_dataset()
        self.rows: dict[int, tuple[float, int, int, float]] = {}
        self.measured: dict[int, tuple[float, float | None]] = {}

    def run(self, *, crash_after: int | None = None, resume: bool = False) -> loop.TrainingResult:
        def step(row: Any) -> None:
            self.rows[row.step] = (row.loss, row.tokens, row.targets, row.learning_rate)
            if row.step == crash_after:
                raise CrashError

        def validated(row: Any) -> None:
            self.measured[row.step] = (row.loss, row.metric)

        learner = make_learner(self.config, self.dataset, self.backbone)
        log = Heard(step=step, validated=validated)
        return loop.train(self.config, self.dataset, learner, folder=self.folder, log=log, resume=resume)

    def weights(self) -> dict[str, np.ndarray]:
        files = sorted(sorted(self.folder.glob("step-*"))[-1].rglob("*.safetensors"))
        return {f"{file.name}:{name}": tensor for file in files for name, tensor in load_file(file).items()}


@pytest.mark.parametrize("kind", SMALL)
def test_a_run_that_crashed_resumes_bitwise(kind: str, tiny_folder: Path, tmp_path: Path) -> None:
    whole = Sitting(make_config(kind), tiny_folder, tmp_path / "whole")
    result = whole.run()
    broken = Sitting(make_config(kind), tiny_folder, tmp_path / "broken")
    with pytest.raises(CrashError):
        broken.run(crash_after=5)
    again = broken.run(resume=True)
    assert (broken.rows, broken.measured) == (whole.rows, whole.measured)
    assert again.progress.best_step == result.progress.best_step
    one, other = whole.weights(), broken.weights()
    assert one.keys() == other.keys()
    assert all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("kind", SMALL)
def test_a_saved_run_ranks_as_its_weights_did(kind: str, tiny_folder: Path, tmp_path: Path) -> None:
    sitting = Sitting(make_config(kind), tiny_folder, tmp_path / "run")
    result = sitting.run()
    score = find_kind(kind).scores[0]
    saved = Saved(sitting.config, sitting.dataset, folder=result.checkpoint.path, start=tiny_folder, score=score)
    recommender = find_kind(kind).load(saved)
    examples = validation_of(sitting.dataset)
    metric = ranking_metric(recommender, sitting.dataset, examples, "ndcg@10")
    best = result.progress.best_step
    assert best is not None
    assert metric == pytest.approx(sitting.measured[best][1])
    found = np.exp(log_probs(recommender, [Query.of(sitting.dataset, example) for example in examples]))
    if score == "item":
        np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-5)


@pytest.mark.parametrize("kind", ["sasrec", "item"])
def test_patience_ends_a_run_resumed_or_not(kind: str, tiny_folder: Path, tmp_path: Path) -> None:
    still = BY_RANKS.model_copy(update={"learning_rate": 1e-12, "patience": 2, "epochs": 4})
    whole = Sitting(make_config(kind, still), tiny_folder, tmp_path / "whole")
    result = whole.run()
    assert (result.progress.best_step, result.progress.step) == (2, 6)  # nothing moves: the first stays the best
    broken = Sitting(make_config(kind, still), tiny_folder, tmp_path / "broken")
    with pytest.raises(CrashError):
        broken.run(crash_after=5)
    assert broken.run(resume=True).progress.step == 6
    assert broken.rows == whole.rows


@pytest.mark.parametrize("k", [10, 20])
def test_the_ranking_metric_is_that_of_a_slow_loop(k: int, tiny_folder: Path) -> None:
    dataset = make_dataset()
    config = make_config("sasrec")
    learner: Any = make_learner(config, dataset, tiny_folder)
    torch.manual_seed(0)
    learner.begin()
    recommender = learner.recommender()
    examples = validation_of(dataset)
    ranks = []
    for example in examples:
        scores = log_probs(recommender, [Query.of(dataset, example)])[0]
        seen = set(dataset.history(example).items.tolist())
        target = dataset.target(example)
        better = [item for item in range(len(scores)) if item not in seen and scores[item] > scores[target]]
        ranks.append(np.nan if target in seen else float(len(better) + 1))
    expected = rank_metrics(np.array(ranks), (k,))[f"ndcg@{k}"].mean()
    assert ranking_metric(recommender, dataset, examples, f"ndcg@{k}") == pytest.approx(expected)
