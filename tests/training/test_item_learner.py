"""Every kind that learns goes through the one loop: as a slow loop would, resumed bitwise, kept by ranks."""

import os
import signal
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from test_item_labels import slow_losses
from tiny_training import Heard, make_dataset, make_kind_config, make_kind_learner
from torch import Tensor, nn

from patchrec.config import HistoryConfig, RunConfig, TrainingConfig, Windows
from patchrec.data.histories import Dataset, Example
from patchrec.errors import InterruptedRunError, OutOfResourcesError, PatchrecError, PluginError, UsageError
from patchrec.model.item_batch import ItemBatch
from patchrec.plugins import find_kind
from patchrec.recommender import Query, Saved, log_probs
from patchrec.store.runs import LossRow
from patchrec.training import loop
from patchrec.training.item_learner import ItemLearner
from patchrec.training.validation import ranking_metric

KINDS = ("sasrec", "esasrec", "item", "both")
BY_RANKS = TrainingConfig(
    batch_size=8, epochs=3, learning_rate=3e-3, checkpoint_every=2, validate_every=2, validate_metric="ndcg@20"
)
EVERY_WINDOW: tuple[Windows, ...] = ("sliding", "anchored", "blocks")


def validation_of(dataset: Dataset) -> list[Example]:
    return dataset.examples("train", 8, "anchored")[:6]


class CrashError(Exception):
    """Stands for a lost machine."""


class Sitting:
    """Trainings of one run with the loss rows and measurements that they logged."""

    def __init__(self, config: RunConfig, backbone: Path, folder: Path) -> None:
        self.config, self.backbone, self.folder = config, backbone, folder
        self.dataset = make_dataset()
        self.rows: dict[int, tuple[float, int, int, float]] = {}
        self.measured: dict[int, tuple[float, float | None]] = {}
        self.saved: dict[int, dict[str, np.ndarray]] = {}
        self.begun: tuple[int, int] | None = None

    def run(
        self,
        *,
        crash_after: int | None = None,
        stop_after: int | None = None,
        resume: bool = False,
        found: Mapping[int, tuple[float, float]] | None = None,
    ) -> loop.TrainingResult:
        """One training; `found` gives loss and metric that validation finds by step."""

        def begun(*told: int) -> None:
            self.begun = (told[0], told[1])

        def step(row: LossRow) -> None:
            self.rows[row.step] = (row.loss, row.tokens, row.targets, row.learning_rate)
            if row.step == stop_after:
                os.kill(os.getpid(), signal.SIGTERM)
            if row.step == crash_after:
                raise CrashError

        def validated(row: Any) -> None:
            self.measured[row.step] = (row.loss, row.metric)

        def saved(checkpoint: Any) -> None:
            self.saved[checkpoint.step] = self.weights()

        learner = make_kind_learner(self.config, self.dataset, self.backbone, validation_of(self.dataset))
        if found is not None:
            pretend(learner, lambda: found[max(self.rows)])
        log = Heard(begun, step, validated, saved)
        return loop.train(self.config, self.dataset, learner, folder=self.folder, log=log, resume=resume)

    def weights(self) -> dict[str, np.ndarray]:
        """Of the newest checkpoint, without what an optimizer remembers."""
        files = sorted(sorted(self.folder.glob("step-*"))[-1].rglob("*.safetensors"))
        return {
            f"{file.name}:{name}": tensor
            for file in files
            if file.name != "optimizer.safetensors"
            for name, tensor in load_file(file).items()
        }


Whole = Callable[..., tuple[Sitting, loop.TrainingResult]]


@pytest.fixture(scope="module")
def whole_run(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """`whole_run(kind, training)`: that training from start to end, run once, for tests that only read it."""
    made: dict[tuple[str, str], tuple[Sitting, loop.TrainingResult]] = {}

    def run(kind: str, training: TrainingConfig = BY_RANKS) -> tuple[Sitting, loop.TrainingResult]:
        key = kind, training.model_dump_json()
        if key not in made:
            folder = tmp_path_factory.mktemp("whole") / "run"
            sitting = Sitting(make_kind_config(kind, training), tiny_folder, folder)
            made[key] = sitting, sitting.run()
        return made[key]

    return run


def pretend(learner: Any, found: Callable[[], tuple[float, float]]) -> None:
    measure = learner.measure

    def measured() -> Any:
        loss, metric = found()
        return replace(measure(), loss=loss, metric=metric)

    learner.measure = measured


def assert_same_bits(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        assert np.array_equal(one[name], other[name]), name


# --- learning


def slow_item_loss(model: Any, dataset: Dataset, examples: list[Example]) -> Tensor:
    """Mean cross-entropy of examples, each alone: its history, and the item after it."""
    losses = []
    for example in examples:
        batch = ItemBatch.of([dataset.history(example).items], len(dataset.catalog), "cpu")
        losses.append(-model.log_probs(batch)[0, dataset.target(example)])
    return torch.stack(losses).mean()


@pytest.mark.parametrize("windows", EVERY_WINDOW)
def test_losses_and_gradients_are_those_of_a_slow_loop_over_examples(windows: Windows, tiny_folder: Path) -> None:
    training = TrainingConfig(batch_size=8, epochs=2, learning_rate=1e-2, clip_norm=1e9)
    config = make_kind_config(
        "sasrec", training, options={"dropout": 0.0, "layers": 2}, history=HistoryConfig(K=5, windows=windows)
    )
    dataset = make_dataset()
    learner: Any = make_kind_learner(config, dataset, tiny_folder)
    learner.device = torch.device("cpu")
    learner.begin()
    rows = learner.learn(0)
    for step in list(learner.batches.steps()):
        slow = deepcopy(learner.model)
        slow.zero_grad()
        examples = [example for tree in step.trees for example in tree]
        expected = slow_item_loss(slow, dataset, examples)
        expected.backward()
        row = next(rows)
        assert (row.step, row.targets) == (step.number + 1, len(examples))
        assert row.loss == pytest.approx(expected.item(), rel=1e-5)
        positions = {(example.user, example.start): 0 for example in examples}
        for example in examples:
            key = example.user, example.start
            positions[key] = max(positions[key], example.position - example.start + 1)
        if all(len(tree) < training.batch_size for tree in step.trees):  # a longer tree is cut, and begins again
            assert row.tokens == sum(positions.values())
        for (name, own), (_, other) in zip(learner.model.named_parameters(), slow.named_parameters(), strict=True):
            torch.testing.assert_close(own.grad, other.grad, rtol=1e-4, atol=1e-6, msg=name)
    assert next(rows, None) is None


def test_validation_loss_of_an_item_model_is_that_of_a_slow_loop(tiny_folder: Path) -> None:
    dataset = make_dataset()
    learner: Any = make_kind_learner(
        make_kind_config("sasrec", BY_RANKS), dataset, tiny_folder, dataset.examples("validation", 8, "blocks")
    )
    learner.device = torch.device("cpu")
    learner.begin()
    found = learner.measure()
    learner.model.eval()  # dropout is not measured
    expected = slow_item_loss(learner.model, dataset, learner.validation)
    assert found.loss == pytest.approx(expected.item(), rel=1e-5)
    assert found.targets == len(learner.validation)
    assert found.tokens == sum(example.position - example.start + 1 for example in learner.validation)


@pytest.mark.parametrize(("kind", "options"), [("item", {}), ("both", {"item_loss": 0.3})])
def test_the_loss_of_heads_is_the_weighted_sum_of_their_means(kind: str, options: dict, tiny_folder: Path) -> None:
    """Titles: mean over tokens of answers; items: mean over examples."""
    training = TrainingConfig(batch_size=8, max_steps=3, learning_rate=1e-2, max_nodes=60)
    config = make_kind_config(kind, training, options=options, history=HistoryConfig(K=5, windows="blocks"))
    dataset = make_dataset()
    learner: Any = make_kind_learner(config, dataset, tiny_folder)
    learner.backbone.to("cpu", torch.float32)
    learner.begin()
    rows = learner.learn(0)
    for step in list(learner.batches.steps()):
        encoder = learner.encoder.fresh()
        with torch.no_grad():
            (titles, items), count = slow_losses(
                learner.backbone, encoder, dataset, learner.planners, step, config.seed
            )
        targets = [dataset.target(example) for tree in step.trees for example in tree]
        tokens = sum(len(encoder.titles.of(target)) + 1 for target in targets)
        assert count == len(targets)
        expected = items / count if kind == "item" else titles / tokens + 0.3 * items / count
        assert next(rows).loss == pytest.approx(float(expected), rel=1e-5)
    assert next(rows, None) is None


@pytest.mark.parametrize("kind", KINDS)
def test_measuring_changes_nothing_of_the_training(
    kind: str, whole_run: Whole, tiny_folder: Path, tmp_path: Path
) -> None:
    whole, _ = whole_run(kind)
    blind = BY_RANKS.model_copy(update={"validate_every": None, "validate_metric": "loss"})
    other = Sitting(make_kind_config(kind, blind), tiny_folder, tmp_path / "blind")
    other.run()
    assert other.rows == whole.rows
    assert not other.measured
    assert sorted(whole.measured) == [step for step in whole.rows if step % 2 == 0 or step == max(whole.rows)]


# --- resuming


@pytest.mark.parametrize(
    ("kind", "after"),
    [("sasrec", 1), ("sasrec", 3), ("sasrec", 4), ("sasrec", 5), ("esasrec", 5), ("item", 5), ("both", 3), ("both", 5)],
)
def test_a_run_that_crashed_resumes_bitwise(
    kind: str, after: int, whole_run: Whole, tiny_folder: Path, tmp_path: Path
) -> None:
    whole, result = whole_run(kind)
    broken = Sitting(make_kind_config(kind, BY_RANKS), tiny_folder, tmp_path / "broken")
    with pytest.raises(CrashError):
        broken.run(crash_after=after)
    first = dict(broken.rows)
    again = broken.run(resume=True)
    assert broken.begun == (len(whole.rows), (after - 1) // 2 * 2)  # what followed the newest checkpoint came again
    assert first.items() <= whole.rows.items()
    assert (broken.rows, broken.measured) == (whole.rows, whole.measured)
    assert replace(again.progress, seconds=0.0) == replace(result.progress, seconds=0.0)
    assert_same_bits(broken.weights(), whole.weights())


@pytest.mark.parametrize("kind", ["sasrec", "item", "both"])
def test_a_run_that_was_told_to_stop_resumes_bitwise(
    kind: str, whole_run: Whole, tiny_folder: Path, tmp_path: Path
) -> None:
    whole, _ = whole_run(kind)
    broken = Sitting(make_kind_config(kind, BY_RANKS), tiny_folder, tmp_path / "broken")
    command = "finetune" if find_kind(kind).is_head else f"baseline {kind}"
    with pytest.raises(InterruptedRunError, match=f"go on with `patchrec {command} --resume broken`"):
        broken.run(stop_after=3)
    assert max(broken.rows) == 3
    broken.run(resume=True)
    assert broken.begun == (len(whole.rows), 3)
    assert (broken.rows, broken.measured) == (whole.rows, whole.measured)
    assert_same_bits(broken.weights(), whole.weights())


def test_an_item_head_over_adapters_resumes_bitwise(tiny_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft", reason="LoRA is the extra patchrec[peft]")
    adapted = BY_RANKS.model_copy(update={"lora_rank": 2})
    whole = Sitting(make_kind_config("both", adapted), tiny_folder, tmp_path / "whole")
    whole.run()
    broken = Sitting(make_kind_config("both", adapted), tiny_folder, tmp_path / "broken")
    with pytest.raises(CrashError):
        broken.run(crash_after=5)
    broken.run(resume=True)
    assert broken.rows == whole.rows
    assert_same_bits(broken.weights(), whole.weights())


@pytest.mark.parametrize("kind", ["sasrec", "item", "both"])
def test_a_finished_run_takes_no_step_again(kind: str, tiny_folder: Path, tmp_path: Path) -> None:
    short = BY_RANKS.model_copy(update={"max_steps": 3})
    sitting = Sitting(make_kind_config(kind, short), tiny_folder, tmp_path / "run")
    result = sitting.run()
    rows, weights = dict(sitting.rows), sitting.weights()
    sitting.rows.clear()
    again = sitting.run(resume=True)
    assert again == result
    assert (sitting.rows, len(rows)) == ({}, 3)
    assert_same_bits(sitting.weights(), weights)


@pytest.mark.parametrize(
    ("kind", "options", "named"),
    [("sasrec", {"width": 16}, r"model\.weights\.decoder\.head|config\.kind\.options\.width: 8 saved, 16 now"),
     ("both", {"item_loss": 2.0}, r"config\.kind\.options\.item_loss: 1\.0 saved, 2\.0 now")],
)  # fmt: skip
def test_resuming_as_another_model_is_refused(
    kind: str, options: dict, named: str, tiny_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(CrashError):
        Sitting(make_kind_config(kind, BY_RANKS), tiny_folder, tmp_path / "run").run(crash_after=3)
    other = Sitting(make_kind_config(kind, BY_RANKS, options=options), tiny_folder, tmp_path / "run")
    with pytest.raises(UsageError, match=f"cannot resume: .*{named}.*--force"):
        other.run(resume=True)


# --- what validation decides


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_run_ranks_as_its_weights_did(kind: str, whole_run: Whole, tiny_folder: Path) -> None:
    sitting, result = whole_run(kind)
    score = find_kind(kind).scores[0]
    saved = Saved(sitting.config, sitting.dataset, folder=result.checkpoint.path, start=tiny_folder, score=score)
    recommender = find_kind(kind).load(saved)
    examples = validation_of(sitting.dataset)
    metric = ranking_metric(recommender, sitting.dataset, examples, "ndcg@20")
    best = result.progress.best_step
    assert best is not None
    assert metric == pytest.approx(sitting.measured[best][1])
    found = np.exp(log_probs(recommender, [Query.of(sitting.dataset, example) for example in examples]))
    if score == "item":
        np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_of_the_best_measurements_is_the_best(kind: str, whole_run: Whole) -> None:
    sitting, result = whole_run(kind)
    progress = result.progress
    metrics = {step: metric for step, (_, metric) in sitting.measured.items() if metric is not None}
    assert len(metrics) == len(sitting.measured) == progress.validations
    best = max(metrics, key=lambda step: (metrics[step], -step))
    assert (progress.best_step, progress.best_metric, progress.best_loss) == (
        best,
        metrics[best],
        sitting.measured[best][0],
    )


# By loss the last of these would be the best, by ranks the second.
FOUND = {2: (3.0, 0.2), 4: (5.0, 0.6), 6: (2.0, 0.6), 8: (1.0, 0.5), 10: (1.0, 0.1), 12: (0.5, 0.3)}


@pytest.mark.parametrize(
    ("kind", "crash_after"),
    [
        *(("sasrec", after) for after in (None, 3, 5, 9)),
        *((kind, after) for kind in ("item", "both") for after in (None, 5)),
        *(pytest.param(kind, after, marks=pytest.mark.slow) for kind in ("item", "both") for after in (3, 9)),
    ],
)
def test_the_weights_that_ranked_best_are_kept(
    kind: str, crash_after: int | None, tiny_folder: Path, tmp_path: Path
) -> None:
    training = BY_RANKS.model_copy(update={"max_steps": 12, "epochs": 4})
    sitting = Sitting(make_kind_config(kind, training), tiny_folder, tmp_path / "run")
    if crash_after is not None:
        with pytest.raises(CrashError):
            sitting.run(crash_after=crash_after, found=FOUND)
        sitting.rows.clear()
    progress = sitting.run(found=FOUND, resume=crash_after is not None).progress
    assert (progress.step, progress.best_step, progress.best_metric, progress.best_loss) == (12, 4, 0.6, 5.0)
    assert progress.since_best == 4
    assert_same_bits(sitting.weights(), sitting.saved[4])
    assert any(not np.array_equal(sitting.saved[4][name], tensor) for name, tensor in sitting.saved[6].items())
    assert len(list(sitting.folder.glob("step-*"))) == 1


@pytest.mark.parametrize(
    ("kind", "crash_after"),
    [
        *(("sasrec", after) for after in (1, 3, 4, 5, 6)),
        *(("item", after) for after in (3, 6)),
        *(pytest.param("item", after, marks=pytest.mark.slow) for after in (1, 4, 5)),
    ],
)
def test_patience_ends_a_run_resumed_or_not(
    kind: str, crash_after: int, whole_run: Whole, tiny_folder: Path, tmp_path: Path
) -> None:
    still = BY_RANKS.model_copy(update={"learning_rate": 1e-12, "patience": 2, "epochs": 4})
    whole, result = whole_run(kind, still)
    assert (result.progress.best_step, result.progress.step) == (2, 6)  # nothing moves: the first stays the best
    broken = Sitting(make_kind_config(kind, still), tiny_folder, tmp_path / "broken")
    with pytest.raises(CrashError):
        broken.run(crash_after=crash_after)
    again = broken.run(resume=True)
    assert again.progress.step == 6
    assert replace(again.progress, seconds=0.0) == replace(result.progress, seconds=0.0)
    assert (broken.rows, broken.measured) == (whole.rows, whole.measured)
    assert_same_bits(broken.weights(), whole.weights())


@pytest.mark.parametrize(
    ("kind", "patience"),
    [
        *(("sasrec", patience) for patience in (1, 2, 3, 4)),
        *(("both", patience) for patience in (2, 3)),
        *(pytest.param("both", patience, marks=pytest.mark.slow) for patience in (1, 4)),
    ],
)
def test_patience_counts_measurements_without_a_better_rank(
    kind: str, patience: int, tiny_folder: Path, tmp_path: Path
) -> None:
    training = BY_RANKS.model_copy(update={"epochs": 4, "max_steps": 14, "patience": patience})
    found = FOUND | {14: (0.1, 0.7)}
    for name, crash_after in (("whole", None), ("broken", 5)):
        sitting = Sitting(make_kind_config(kind, training), tiny_folder, tmp_path / name)
        if crash_after is not None:
            with pytest.raises(CrashError):
                sitting.run(crash_after=crash_after, found=found)
            sitting.rows.clear()
        progress = sitting.run(found=found, resume=crash_after is not None).progress
        assert (progress.step, progress.best_step) == (4 + 2 * patience, 4)


# --- models of third parties


class Bigrams(nn.Module):
    """What follows an item: two tables, or one twice, or one that lies otherwise, beside weights that may not learn."""

    def __init__(self, num_items: int, form: str = "plain") -> None:
        super().__init__()
        random = torch.Generator().manual_seed(0)
        self.fixed = nn.Parameter(torch.randn(num_items, generator=random), requires_grad=form != "frozen")
        self.into = nn.Parameter(torch.randn(num_items + 1, 4, generator=random))
        other = torch.randn(4, num_items + 1, generator=random).T
        self.out = self.into if form == "tied" else nn.Parameter(other if form == "turned" else other.contiguous())

    def forward(self, items: Tensor) -> Tensor:
        return (self.into[items] @ self.out[:-1].T + self.fixed).log_softmax(-1)

    def loss(self, batch: ItemBatch) -> Tensor:
        assert batch.targets is not None
        asked = batch.targets >= 0
        return -self(batch.items)[asked].gather(1, batch.targets[asked][:, None]).sum()

    def log_probs(self, batch: ItemBatch) -> Tensor:
        return batch.last(self(batch.items))


@pytest.mark.parametrize("form", ["plain", "turned", "tied", "frozen"])
def test_models_of_any_form_resume_bitwise(form: str, tmp_path: Path) -> None:
    dataset, config = make_dataset(), make_kind_config("sasrec", BY_RANKS)

    def run(folder: Path, crash_after: int | None = None, *, resume: bool = False) -> tuple[dict[int, float], Any]:
        curve: dict[int, float] = {}

        def step(row: LossRow) -> None:
            curve[row.step] = row.loss
            if row.step == crash_after:
                raise CrashError

        learner = ItemLearner(config, dataset, Bigrams(len(dataset.catalog), form), validation_of(dataset))
        loop.train(config, dataset, learner, folder=folder, log=Heard(step=step), resume=resume)
        return curve, {name: tensor.cpu().numpy() for name, tensor in learner.model.state_dict().items()}

    whole, weights = run(tmp_path / "whole")
    with pytest.raises(CrashError):
        run(tmp_path / "broken", 5)
    rest, again = run(tmp_path / "broken", resume=True)
    assert rest == {step: loss for step, loss in whole.items() if step > 4}
    assert_same_bits(again, weights)


class Pair(Bigrams):
    def loss(self, batch: ItemBatch) -> Tensor:
        return super().loss(batch).repeat(2)


class Diverged(Bigrams):
    def loss(self, batch: ItemBatch) -> Tensor:
        return super().loss(batch) * float("nan")


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [(Pair, PluginError, "its loss must be one number"), (Diverged, PatchrecError, r"loss nan, .* step 1 of .*'u\d'")],
)
def test_a_loss_that_is_no_number_is_refused(
    model: type[Bigrams], error: type[Exception], message: str, tmp_path: Path
) -> None:
    dataset, config = make_dataset(), make_kind_config("sasrec", BY_RANKS)
    learner = ItemLearner(config, dataset, model(len(dataset.catalog)), validation_of(dataset))
    with pytest.raises(error, match=message):
        loop.train(config, dataset, learner, folder=tmp_path / "run")


class Greedy(Bigrams):
    def loss(self, batch: ItemBatch) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")


def test_too_little_memory_names_the_knobs(tmp_path: Path) -> None:
    dataset, config = make_dataset(), make_kind_config("sasrec", BY_RANKS)
    learner = ItemLearner(config, dataset, Greedy(len(dataset.catalog)), validation_of(dataset))
    with pytest.raises(OutOfResourcesError, match=r"out of memory on \d+ positions over 12 items; .*--batch-size"):
        loop.train(config, dataset, learner, folder=tmp_path / "run")


class GreedyBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, loss: Tensor) -> Tensor:
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")


class GreedyLater(Bigrams):
    def __init__(self, num_items: int, where: str) -> None:
        super().__init__(num_items)
        self.where = where

    def loss(self, batch: ItemBatch) -> Tensor:
        loss = super().loss(batch)
        return GreedyBackward.apply(loss) if self.where == "backward" else loss

    def log_probs(self, batch: ItemBatch) -> Tensor:
        if self.where == "measuring":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().log_probs(batch)


@pytest.mark.parametrize("where", ["backward", "measuring"])
def test_too_little_memory_names_the_knobs_wherever_it_ends(tmp_path: Path, where: str) -> None:
    dataset, config = make_dataset(), make_kind_config("sasrec", BY_RANKS)
    learner = ItemLearner(config, dataset, GreedyLater(len(dataset.catalog), where), validation_of(dataset))
    with pytest.raises(OutOfResourcesError, match=r"out of memory on \d+ positions over 12 items; .*--batch-size"):
        loop.train(config, dataset, learner, folder=tmp_path / "run")
