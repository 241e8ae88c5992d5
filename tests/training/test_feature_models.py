"""FDSA and S3-Rec: what they must be whatever the weights, what they learn, and that they resume bitwise."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_item_learner import BY_RANKS, CrashError, Sitting, assert_same_bits
from tiny_training import TITLES, make_kind_config
from torch import Tensor

from patchrec.config import HistoryConfig, RunConfig, TrainingConfig
from patchrec.data.catalog import Catalog
from patchrec.data.histories import Dataset, Sequences
from patchrec.data.item_features import item_features
from patchrec.history import IntArray
from patchrec.model.fdsa import FDSA
from patchrec.model.item_batch import ItemBatch
from patchrec.model.item_features import FeatureAttention
from patchrec.model.s3rec import Objectives, S3Rec, drawn_segments
from patchrec.plugins import find_kind
from patchrec.recommender import Fitting, Query, Recommender, Saved, log_probs
from patchrec.training.loop import train

KINDS = ("fdsa", "s3rec")
ITEMS, K = 13, 9
SIZE = {"width": 16, "layers": 2, "heads": 2}
SMALL: dict[str, Any] = {"width": 16, "layers": 1, "heads": 2, "dropout": 0.0}
# items 0 to 12: three features, of which some have one, some two and the last none
BAGS = np.array([[item % 3, 3 if item % 2 else (item + 1) % 3] for item in range(12)] + [[3, 3]] * 2, dtype=np.int32)
ALL = Objectives(0.2, 1.0, 1.0, 0.5, 0.3)


def fdsa(dropout: float = 0.0) -> FDSA:
    torch.manual_seed(0)
    return FDSA(ITEMS, K, BAGS, dropout=dropout, **SIZE)


def s3rec(dropout: float = 0.0, objectives: Objectives = ALL, pretraining: float = 0.5) -> S3Rec:
    torch.manual_seed(0)
    return S3Rec(ITEMS, K, BAGS, dropout=dropout, pretraining=pretraining, objectives=objectives, **SIZE)


def large(model: Any) -> Any:
    """The model with weights so large that every fact has something to fail on."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1 and parameter.std() < 0.05:
                parameter.normal_()
    return model.eval()


def states_of(model: Any, batch: ItemBatch) -> Tensor:
    found: Tensor = model.states(batch.items) if isinstance(model, FDSA) else model._causal(batch)
    return found


def histories(*lengths: int, seed: int = 0) -> list[IntArray]:
    random = np.random.default_rng(seed)
    return [random.integers(0, ITEMS, length) for length in lengths]


def batch_of(rows: list[IntArray], targets: list[IntArray] | None = None, progress: float = 1.0) -> ItemBatch:
    return ItemBatch.of(rows, ITEMS, "cpu", targets, progress=progress)


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


# --- what they must be, whatever the weights


@pytest.mark.parametrize("make", [fdsa, s3rec])
@pytest.mark.parametrize("grad", [False, True])  # torch's layers take another way where no gradient is wanted
def test_no_later_item_changes_an_earlier_state(make: Callable[[], Any], grad: bool) -> None:
    model = large(make())
    (row,) = histories(K)
    with torch.set_grad_enabled(grad):
        whole = states_of(model, batch_of([row]))
        for position in range(K):
            changed = row.copy()
            changed[position:] = (changed[position:] + 1) % ITEMS
            states = states_of(model, batch_of([changed]))
            close(states[:, : position + 1], whole[:, : position + 1])
            assert not torch.allclose(states[:, position + 1 :], whole[:, position + 1 :], atol=1e-2)


@pytest.mark.parametrize("make", [fdsa, s3rec])
def test_the_loss_is_the_sum_of_what_each_supervised_position_says_alone(make: Callable[[], Any]) -> None:
    model = large(make())
    rows = histories(4, K, 0)
    targets = [np.array([-1, 3, -1, 0, 12]), np.arange(K + 1), np.array([5])]
    expected = 0.0
    with torch.no_grad():
        for row, wanted in zip(rows, targets, strict=True):
            for position, target in enumerate(wanted):
                if target >= 0:
                    expected -= float(model.log_probs(batch_of([row[:position]]))[0, target])
        assert float(model.loss(batch_of(rows, targets))) == pytest.approx(expected, rel=1e-4)


def test_items_of_the_same_features_mix_to_the_same_and_the_mark_stands_where_there_is_none() -> None:
    model = large(fdsa())
    with torch.no_grad():
        mixed = model._mixtures(torch.arange(ITEMS + 1))
        close(mixed[0], mixed[6])
        assert not torch.allclose(mixed[0], mixed[1])
        close(mixed[1], model.feature_decoder.items.weight[1])  # it has one feature alone
        close(mixed[12], model.feature_decoder.items.weight[3])
        close(mixed[13], mixed[12])


def test_attention_over_features_is_a_softmax_for_each_dimension() -> None:
    torch.manual_seed(0)
    attention, vectors = FeatureAttention(4), torch.randn(1, 3, 4)
    there = torch.tensor([[True, False, True]])
    a, b = vectors[0, 0], vectors[0, 2]
    weights = torch.stack([attention.scores(a), attention.scores(b)]).exp()
    expected = (weights[0] * a + weights[1] * b) / weights.sum(dim=0)
    close(attention(vectors, there)[0], expected)


@pytest.mark.parametrize("make", [fdsa, s3rec])
def test_every_weight_learns_in_a_phase_of_its_own(make: Callable[[], Any]) -> None:
    model, silent = make(), set[str]()
    for progress in (0.0, 1.0):
        torch.manual_seed(1)
        model.loss(batch_of(histories(K, K), [np.arange(K + 1)] * 2, progress)).backward()
    silent = {name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()}
    assert not silent


@pytest.mark.parametrize("progress", [0.0, 1.0])
def test_rows_without_items_or_targets_are_no_trouble(progress: float) -> None:
    for make in (fdsa, s3rec):
        loss = make().loss(batch_of(histories(0, 1), [np.full(1, -1), np.full(2, -1)], progress))
        loss.backward()
        assert loss.item() == 0


# --- pre-training


def test_the_pre_training_reads_no_target() -> None:
    model, rows = s3rec(), histories(K, 5)
    losses = []
    for shift in (0, 1):
        torch.manual_seed(3)
        wanted = [(np.arange(len(row) + 1) + shift) % ITEMS for row in rows]
        losses.append(model.loss(batch_of(rows, wanted, 0.49)).item())
    assert losses[0] == losses[1]
    assert losses[0] != model.loss(batch_of(rows, wanted, 0.5)).item()


def test_a_hidden_item_is_read_from_both_sides_and_is_not_seen_itself() -> None:
    model = large(s3rec(objectives=Objectives(0.0, 1.0, 0.0, 0.0, 0.3)))

    def loss(row: list[int]) -> float:
        torch.manual_seed(0)
        return float(model.loss(batch_of([np.array(row)], [np.arange(len(row) + 1)], 0.0)).detach())

    torch.manual_seed(0)
    hidden = (torch.rand(1, K + 1) < 0.3)[0, 1:]
    assert hidden.any()
    assert not hidden.all()
    row = histories(K)[0].tolist()
    last_shown = int(np.flatnonzero(~hidden.numpy())[-1])
    changed = [item if place != last_shown else (item + 1) % ITEMS for place, item in enumerate(row)]
    assert loss(changed) != pytest.approx(loss(row), abs=1e-3)
    vectors = model.decoder.items(torch.tensor([[ITEMS, *row]]))
    shown = torch.cat([torch.tensor([False]), hidden])[None, :, None]
    states = model.decoder.states(torch.where(shown, model.mask, vectors))
    logits = model.scores["mip"](states[0, 1:][hidden]) @ model.decoder.head.T
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor(row)[hidden]) * (K + 1)
    assert loss(row) == pytest.approx(expected.item(), rel=1e-4)


def test_segments_lie_inside_their_rows() -> None:
    torch.manual_seed(0)
    lengths = torch.tensor([0, 1, 2, 3, 9]).repeat(200)
    segments = drawn_segments(lengths, 10)
    sizes = segments.sum(dim=1)
    assert not segments[:, 0].any()  # the start mark
    assert not (segments & (torch.arange(10) > lengths[:, None])).any()
    for items, found in ((0, {0}), (1, {0}), (2, {1}), (3, {1}), (9, {1, 2, 3, 4})):
        assert set(sizes[lengths == items].tolist()) == found
    assert set(torch.nonzero(segments[lengths == 9])[:, 1].tolist()) == set(range(1, 10))
    steps = segments.int().diff(dim=1, prepend=torch.zeros(len(segments), 1, dtype=torch.int32))
    assert ((steps == 1).sum(dim=1) == (sizes > 0)).all()  # one stretch


@pytest.mark.parametrize("name", ["aap", "mip", "map", "sp"])
def test_each_objective_alone_is_learned(name: str) -> None:
    """A row is one item again and again, so that a hidden one, its features and a segment cut out can be told."""
    weights = {"aap": 0.0, "mip": 0.0, "map": 0.0, "sp": 0.0} | {name: 1.0}
    model = s3rec(objectives=Objectives(mask_share=0.3, **weights))
    rows = [np.full(K, item) for item in range(ITEMS)]
    batch = batch_of(rows, [np.zeros(K + 1, dtype=np.int64)] * ITEMS, 0.0)
    count = ITEMS * (K + 1)
    optimizer, losses = torch.optim.AdamW(model.parameters(), lr=3e-2), []
    for step in range(18):
        torch.manual_seed(step)
        optimizer.zero_grad()
        loss = model.loss(batch) / count
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    chance = {"aap": 3 * np.log(2), "mip": np.log(ITEMS), "map": 3 * np.log(2), "sp": np.log(ITEMS)}[name]
    assert np.mean(losses[-3:]) < chance / 4


# --- what a run of them learns


def dataset_of(rows: list[list[int]], num_items: int, metadata: tuple[dict[str, Any], ...] = ()) -> Dataset:
    """Users with these items; the last of each is a validation target."""
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    sequences = Sequences(
        tuple(f"u{user}" for user in range(len(rows))),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.concatenate([np.array(row) for row in rows]).astype(np.int64),
        None,
        lengths - 1,
        lengths,
    )
    names = tuple(f"t{item}" for item in range(num_items))
    return Dataset("planted", Catalog(names, names, metadata), sequences)


def fitted(kind: str, dataset: Dataset, folder: Path, epochs: int, **options: Any) -> tuple[RunConfig, Path]:
    training = TrainingConfig(batch_size=64, epochs=epochs, learning_rate=1e-2)
    config = make_kind_config(
        kind, training, options=SMALL | options, history=HistoryConfig(K=20, windows="blocks")
    ).model_copy(update={"dataset": dataset.name})
    learner = find_kind(kind).learner(Fitting(config, dataset))
    return config, train(config, dataset, learner, folder=folder / kind).checkpoint.path


def loaded(config: RunConfig, dataset: Dataset, checkpoint: Path) -> Recommender:
    return find_kind(config.kind.name).load(Saved(config, dataset, folder=checkpoint))


def share_right(recommender: Recommender, dataset: Dataset) -> float:
    """Validation targets that stand first."""
    examples = dataset.examples("validation", 20, "blocks")
    found = log_probs(recommender, [Query.of(dataset, example) for example in examples]).argmax(axis=1)
    return float(np.mean([item == dataset.target(example) for item, example in zip(found, examples, strict=True)]))


def cycle_with_noise() -> Dataset:
    """Of 24 items each is followed by the next, but for one in ten; `parity` is a field that says little."""
    random = np.random.default_rng(0)
    rows = []
    for _ in range(60):
        jumps = np.where(random.random(17) < 0.1, random.integers(0, 24, 17), 1)
        row = np.cumsum([random.integers(0, 24), *jumps]) % 24
        rows.append([*row.tolist(), int(row[-1] + 1) % 24])
    return dataset_of(rows, 24, tuple({"parity": ["odd", "even"][item % 2]} for item in range(24)))


@pytest.mark.parametrize(("kind", "epochs", "options"), [("fdsa", 4, {}), ("s3rec", 8, {"pretraining": 0.3})])
def test_a_cycle_with_noise_is_learned(kind: str, epochs: int, options: dict[str, Any], tmp_path: Path) -> None:
    dataset = cycle_with_noise()
    config, checkpoint = fitted(kind, dataset, tmp_path, epochs, fields="parity", **options)
    assert share_right(loaded(config, dataset, checkpoint), dataset) > 0.8
    popular = int(dataset.popularity.argmax())
    targets = [dataset.target(example) for example in dataset.examples("validation", 20, "blocks")]
    assert np.mean([target == popular for target in targets]) < 0.2


def decided_by_a_field() -> Dataset:
    """Each of 300 items has one of 6 colours, and is followed by its colour's own item; the rest is noise.

    A colour's items come about twice each in the train split, so that only the field tells what follows.
    """
    random = np.random.default_rng(0)
    colours = random.integers(0, 6, 300)
    rows = []
    for _ in range(60):
        asked = random.integers(0, 300, 10)
        rows.append(np.stack([6 + asked, colours[asked]], axis=1).ravel().tolist())
    answers: tuple[dict[str, Any], ...] = tuple({"colour": "answer", "rank": 0.5} for _ in range(6))
    return dataset_of(rows, 306, answers + tuple({"colour": f"c{colour}", "rank": 0.5} for colour in colours))


def test_a_field_that_decides_the_next_item_is_read(tmp_path: Path) -> None:
    dataset = decided_by_a_field()
    right = {}
    for kind, options in (("fdsa", {"fields": "colour"}), ("sasrec", {})):
        config, checkpoint = fitted(kind, dataset, tmp_path, 5, **options)
        right[kind] = share_right(loaded(config, dataset, checkpoint), dataset)
    assert right["fdsa"] > 0.9  # chance is one in six
    assert right["sasrec"] < 0.6


def test_a_later_change_of_the_fields_changes_no_answer(tmp_path: Path) -> None:
    dataset = cycle_with_noise()
    for kind in KINDS:
        config, checkpoint = fitted(kind, dataset, tmp_path, 1, fields="parity")
        queries = [Query.of(dataset, example) for example in dataset.examples("validation", 20, "blocks")[:5]]
        before = log_probs(loaded(config, dataset, checkpoint), queries)
        for metadata in ((), tuple({"parity": f"p{item % 5}"} for item in range(24))):
            changed = replace(dataset, catalog=replace(dataset.catalog, metadata=metadata))
            assert np.array_equal(log_probs(loaded(config, changed, checkpoint), queries), before)


# --- resuming


@pytest.mark.parametrize(("kind", "after"), [("fdsa", 3), ("s3rec", 3), ("s3rec", 5)])
def test_a_run_that_crashed_resumes_bitwise(kind: str, after: int, tmp_path: Path) -> None:
    """Before and after the pre-training ends: the checkpoints are of steps 2 and 4, of about a dozen."""
    options = SMALL | {"dropout": 0.2} | ({"pretraining": 0.3} if kind == "s3rec" else {})
    config = make_kind_config(kind, BY_RANKS, options=options)
    whole = Sitting(config, tmp_path, tmp_path / "whole")
    whole.run()
    broken = Sitting(config, tmp_path, tmp_path / "broken")
    with pytest.raises(CrashError):
        broken.run(crash_after=after)
    broken.run(resume=True)
    assert broken.begun == (len(whole.rows), (after - 1) // 2 * 2)
    assert (broken.rows, broken.measured) == (whole.rows, whole.measured)
    assert_same_bits(broken.weights(), whole.weights())
    assert "model.safetensors:features.bags" in whole.weights()


def test_what_is_read_of_a_catalog_without_fields_is_the_words_of_titles(tmp_path: Path) -> None:
    sitting = Sitting(make_kind_config("fdsa", BY_RANKS, options=SMALL), tmp_path, tmp_path / "run")
    sitting.run()
    bags = sitting.weights()["model.safetensors:features.bags"]
    expected = item_features(Catalog(TITLES, TITLES), ("title",))
    assert set(expected.names) == {"title=alien", "title=heat", "title=big"}
    assert np.array_equal(bags, expected.bags)
