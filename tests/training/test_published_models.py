"""Models of identifiers from papers: what each must be whatever its weights, what it learns, and that it resumes."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from test_item_learner import CrashError, Sitting, assert_same_bits
from tiny_training import make_kind_config, make_kind_learner

from patchrec.config import HistoryConfig, TrainingConfig
from patchrec.data.catalog import Catalog
from patchrec.data.histories import Dataset, Sequences
from patchrec.model.item_batch import ItemBatch
from patchrec.plugins import find_kind
from patchrec.recommender import Query, Saved, log_probs
from patchrec.training import loop

ITEMS, K = 12, 9
NARROW = {"width": 16, "layers": 1, "dropout": 0.1}
MODELS = {
    "gru4rec": ("gru4rec", NARROW),
    "gru4rec bpr-max": ("gru4rec", NARROW | {"loss": "bpr-max", "negatives": 6}),
    "gru4rec top1": ("gru4rec", NARROW | {"loss": "top1", "negatives": 6}),
    "caser": ("caser", {"width": 16, "newest": 4, "horizontal": 4, "vertical": 2, "dropout": 0.1}),
    "bert4rec": ("bert4rec", {"width": 32, "layers": 1, "dropout": 0.0}),
    "linrec": ("linrec", NARROW),
    "mamba4rec": ("mamba4rec", NARROW | {"state": 4}),
    "hstu": ("hstu", NARROW),
    "sasrec bce": ("sasrec", NARROW | {"loss": "bce"}),
}
BY_SOFTMAX = ("gru4rec", "caser", "linrec", "mamba4rec", "hstu")
every_model = pytest.mark.parametrize("name", MODELS)


@cache
def cycle() -> Dataset:
    """Users go through 12 items in order; one step in ten leads anywhere. Times are days apart, or minutes."""
    random = np.random.default_rng(0)
    lengths = np.full(40, 22)
    rows = []
    for length in lengths:
        row = [int(random.integers(ITEMS))]
        while len(row) < length:
            row.append(int(random.integers(ITEMS)) if random.random() < 0.1 else (row[-1] + 1) % ITEMS)
        rows.append(row)
    spans = random.choice([60, 86_400], lengths.sum())
    sequences = Sequences(
        tuple(f"u{user}" for user in range(len(lengths))),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.concatenate(rows).astype(np.int64),
        (1_000_000_000 + np.cumsum(spans)).astype(np.int64),
        (lengths - 2).astype(np.int64),
        (lengths - 1).astype(np.int64),
    )
    catalog = Catalog(tuple(f"i{item}" for item in range(ITEMS)), tuple(f"Film {item}" for item in range(ITEMS)))
    return Dataset("cycle", catalog, sequences, min_history=1, noun="movie", verb="watched")


def make_config(name, training, history=None):
    kind, options = MODELS[name]
    return make_kind_config(kind, training, options=options, history=history)


def large(name, **options):
    """A model whose weights are large enough that every fact has something to fail on; nothing is dropped."""
    kind, own = MODELS[name]
    config = make_kind_config(kind, TrainingConfig(), options=own | options, history=HistoryConfig(K=K))
    model = make_kind_learner(config, cycle(), None).model.eval()
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.3 * torch.randn(weight.shape, generator=random))
    return model


def rows_of(*lengths, seed=0):
    random = np.random.default_rng(seed)
    items = [random.integers(0, ITEMS, length) for length in lengths]
    times = [1_000_000_000 + np.cumsum(random.choice([60, 7_000, 3_000_000], length)) for length in lengths]
    return items, times


def batch_of(items, times, targets=None):
    return ItemBatch.of(items, ITEMS, "cpu", targets, times=times)


def close(found, expected):
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-4)


# --- what they are


@pytest.mark.parametrize("name", BY_SOFTMAX)
@torch.no_grad()
def test_what_a_position_of_a_row_learns_by_is_its_answer_after_the_items_before_it_alone(name):
    """So no later item changes an earlier score, in one pass over a row."""
    model = large(name)
    items, times = rows_of(4, K, 0)
    targets = [np.array([-1, 3, -1, 0, 11]), np.arange(K + 1), np.array([5])]
    expected = 0.0
    for row, moments, wanted in zip(items, times, targets, strict=True):
        for position, target in enumerate(wanted):
            if target >= 0:
                alone = batch_of([row[:position]], [moments[:position]])
                expected -= model.log_probs(alone)[0, target]
    close(model.loss(batch_of(items, times, targets)), expected)


@every_model
@torch.no_grad()
def test_an_answer_depends_neither_on_the_batch_nor_on_padding(name):
    model = large(name)
    items, times = rows_of(3, K, 0, 1, 6)
    together = model.log_probs(batch_of(items, times))
    close(together, torch.cat([model.log_probs(batch_of([row], [own])) for row, own in zip(items, times, strict=True)]))
    close(together.exp().sum(dim=-1), torch.ones(5))


@every_model
@torch.no_grad()
def test_an_answer_depends_on_the_order_of_the_history(name):
    (row,), _ = rows_of(K)
    straight, turned = large(name).log_probs(batch_of([row, row[::-1].copy()], None))
    assert not torch.allclose(straight, turned, atol=1e-3)


@every_model
def test_every_weight_learns_and_nothing_asked_is_no_loss(name):
    model = large(name).train()
    items, times = rows_of(K, K)
    nothing = model.loss(batch_of(items, times, [np.full(K + 1, -1)] * 2))
    nothing.backward()
    assert nothing.item() == 0
    assert all(weight.grad is None or weight.grad.isfinite().all() for weight in model.parameters())
    for seed in range(4):  # units that are off for one seed are on for another
        rows, own = rows_of(K, K, seed=seed)
        model.loss(batch_of(rows, own, [np.arange(K + 1)] * 2)).backward()
    silent = {weight for weight, own in model.named_parameters() if own.grad is None or not own.grad.any()}
    assert not {one for one in silent if "key.bias" not in one}  # the same for all keys, it moves no softmax


# --- what they learn


SHORT = HistoryConfig(K=4, windows="blocks")
TRAINED = TrainingConfig(batch_size=64, epochs=4, learning_rate=2e-2)
LONGER = {"bert4rec": {"epochs": 20, "learning_rate": 6e-3}}  # a mask has to find out where it stands first


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Each model, trained on the cycle, saved and loaded."""

    @cache
    def fit(name):
        config = make_config(name, TRAINED.model_copy(update=LONGER.get(name, {})), SHORT)
        learner = make_kind_learner(config, cycle(), None)
        result = loop.train(config, cycle(), learner, folder=tmp_path_factory.mktemp("trained"))
        saved = Saved(config, cycle(), folder=result.checkpoint.path)
        return learner, find_kind(config.kind.name).load(saved)

    return fit


@every_model
def test_a_planted_cycle_is_learned_far_better_than_popularity(name, trained):
    """What stands in the history is left out: the binary loss never tells it apart from what comes next."""
    _, recommender = trained(name)
    examples = cycle().examples("test", SHORT.K, SHORT.windows)
    queries = [Query.of(cycle(), example, keep_seen=True) for example in examples]
    scores = log_probs(recommender, queries)
    for row, query in zip(scores, queries, strict=True):
        row[query.history.items] = -np.inf
    last = np.array([query.history.items[-1] for query in queries])
    assert (scores.argmax(axis=1) == (last + 1) % ITEMS).mean() > 0.75  # about one in nine by popularity


@every_model
def test_saved_and_loaded_it_answers_as_it_did(name, trained):
    learner, recommender = trained(name)
    examples = cycle().examples("validation", SHORT.K, SHORT.windows)[:5]
    queries = [Query.of(cycle(), example) for example in examples]
    assert np.array_equal(log_probs(learner.recommender(), queries), log_probs(recommender, queries))


STOPPED = TrainingConfig(
    batch_size=16, epochs=2, learning_rate=3e-3, checkpoint_every=2, validate_every=2, validate_metric="ndcg@20"
)


@every_model
def test_a_run_that_crashed_in_the_middle_resumes_bitwise(name, tmp_path):
    config = make_config(name, STOPPED)
    whole = Sitting(config, tmp_path, tmp_path / "whole")
    result = whole.run()
    broken = Sitting(config, tmp_path, tmp_path / "broken")
    with pytest.raises(CrashError):
        broken.run(crash_after=3)
    again = broken.run(resume=True)
    assert broken.begun == (len(whole.rows), 2)
    assert len(whole.rows) > 4
    assert (broken.rows, broken.measured) == (whole.rows, whole.measured)
    assert replace(again.progress, seconds=0.0) == replace(result.progress, seconds=0.0)
    assert_same_bits(broken.weights(), whole.weights())
