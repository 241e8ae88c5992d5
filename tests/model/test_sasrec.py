"""SASRec and eSASRec against what they must be, whatever the weights: causal, row by row and normalised."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from patchrec.errors import UsageError
from patchrec.model.esasrec import ESASRec, sampled_softmax
from patchrec.model.item_batch import ItemBatch
from patchrec.model.sasrec import SASRec
from patchrec.options import bind
from patchrec.recommenders.esasrec import ESASRecOptions, make_esasrec
from patchrec.recommenders.sasrec import SASRecOptions, make_sasrec

ITEMS, K = 13, 9
SIZE = {"width": 16, "layers": 2, "heads": 2}


def sasrec(dropout=0.0):
    torch.manual_seed(0)
    return SASRec(ITEMS, K, dropout=dropout, **SIZE)


def esasrec(dropout=0.0, negatives=ITEMS):
    torch.manual_seed(0)
    return ESASRec(ITEMS, K, dropout=dropout, negatives=negatives, **SIZE)


@pytest.fixture(params=[sasrec, esasrec])
def model(request):
    """A model whose weights are large enough that every fact has something to fail on."""
    model = request.param().eval()
    with torch.no_grad():
        for embedding in (model.decoder.items, model.decoder.positions):
            embedding.weight.normal_()
    return model


def histories(*lengths, seed=0):
    random = np.random.default_rng(seed)
    return [random.integers(0, ITEMS, length) for length in lengths]


def batch_of(rows, targets=None):
    return ItemBatch.of(rows, ITEMS, "cpu", targets)


def close(found, expected):
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_no_later_item_changes_an_earlier_state(model):
    (row,) = histories(K)
    whole = model.decoder(batch_of([row]).items)
    for position in range(K):
        changed = row.copy()
        changed[position:] = (changed[position:] + 1) % ITEMS
        states = model.decoder(batch_of([changed]).items)  # item `position` stands one further, behind the start mark
        close(states[:, : position + 1], whole[:, : position + 1])
        assert not torch.allclose(states[:, position + 1 :], whole[:, position + 1 :], atol=1e-3)


@torch.no_grad()
def test_an_answer_depends_neither_on_the_batch_nor_on_padding(model):
    rows = histories(3, K, 0, 1, 6)
    together = model.log_probs(batch_of(rows))
    alone = torch.cat([model.log_probs(batch_of([row])) for row in rows])
    close(together, alone)


@torch.no_grad()
def test_probabilities_sum_to_one_also_after_nothing(model):
    log_probs = model.log_probs(batch_of(histories(0, 4, K)))
    assert log_probs.shape == (3, ITEMS)
    close(log_probs.exp().sum(dim=-1), torch.ones(3))


@torch.no_grad()
def test_an_answer_depends_on_the_order_of_the_history(model):
    (row,) = histories(K)
    straight, turned = model.log_probs(batch_of([row, row[::-1].copy()]))
    assert not torch.allclose(straight, turned, atol=1e-3)


@torch.no_grad()
def test_loss_is_the_sum_of_what_each_supervised_position_says_alone(model):
    """eSASRec too: with all items as negatives its loss is the full one."""
    rows = histories(4, K, 0)
    targets = [np.array([-1, 3, -1, 0, 12]), np.arange(K + 1), np.array([5])]
    expected = 0.0
    for row, wanted in zip(rows, targets, strict=True):
        for position, target in enumerate(wanted):
            if target >= 0:
                expected -= model.log_probs(batch_of([row[:position]]))[0, target]
    close(model.loss(batch_of(rows, targets)), expected)


def test_nothing_asked_is_no_loss(model):
    loss = model.loss(batch_of(histories(2), [np.full(3, -1)]))
    loss.backward()
    assert loss.item() == 0
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in model.parameters())


def test_every_weight_learns(model):
    rows = histories(K, K)
    model.loss(batch_of(rows, [np.arange(K + 1)] * 2)).backward()
    silent = {name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()}
    assert not silent


@pytest.mark.parametrize("negatives", [1, 4, ITEMS - 1, ITEMS])
def test_sampled_softmax_is_cross_entropy_among_target_and_negatives(negatives):
    random = torch.Generator().manual_seed(negatives)
    states, head = torch.randn(6, 4, generator=random), torch.randn(ITEMS, 4, generator=random)
    targets = torch.randint(ITEMS, (6,), generator=random)
    drawn = torch.randperm(ITEMS, generator=random)[:negatives]
    expected = 0.0
    for state, target in zip(states, targets.tolist(), strict=True):
        choices = [target, *(item for item in drawn.tolist() if item != target)]
        expected += functional.cross_entropy((head[choices] @ state)[None], torch.tensor([0]))
    found = sampled_softmax(states, head, targets, drawn)
    close(found, torch.as_tensor(expected))
    full = functional.cross_entropy(states @ head.T, targets, reduction="sum")
    assert found <= full + 1e-5  # fewer to tell apart is never harder
    if negatives == ITEMS:
        close(found, full)


def test_negatives_and_dropout_follow_torchs_seed_and_end_with_training():
    model = esasrec(dropout=0.5, negatives=3).train()
    batch = batch_of(histories(K), [np.arange(K + 1)])

    def loss(seed):
        torch.manual_seed(seed)
        return model.loss(batch).item()

    assert loss(1) == loss(1) != loss(2)
    model.eval()
    assert torch.equal(model.log_probs(batch), model.log_probs(batch))


@pytest.mark.parametrize(("make", "negatives"), [(sasrec, None), (esasrec, 6)])
def test_a_cycle_is_learned(make, negatives):
    model = make() if negatives is None else make(negatives=negatives)
    rows = [np.arange(first, first + K) % ITEMS for first in range(ITEMS)]
    targets = [np.append(-1, (row + 1) % ITEMS) for row in rows]
    batch = batch_of(rows, targets)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(80):
        optimizer.zero_grad()
        (model.loss(batch) / (ITEMS * K)).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        assert model.loss(batch) / (ITEMS * K) < 0.1  # chance is log 13 = 2.6, among 7 log 7 = 1.9
        assert model.log_probs(batch).argmax(dim=-1).tolist() == [(first + K) % ITEMS for first in range(ITEMS)]


def test_options_become_the_model():
    model = make_sasrec(ITEMS, K, SASRecOptions(width=8, layers=3, heads=4, dropout=0.0))
    assert (len(model.decoder.layers), model.decoder.head.shape) == (3, (ITEMS, 8))
    assert len(model.decoder.positions.weight) == K + 1
    assert make_esasrec(ITEMS, K, ESASRecOptions(negatives=7)).negatives == 7


def test_heads_must_divide_the_width():
    with pytest.raises(UsageError, match="recommender esasrec: --width 10 must be a multiple of --heads 4"):
        bind("recommender esasrec", ESASRecOptions, {"width": 10, "heads": 4})
