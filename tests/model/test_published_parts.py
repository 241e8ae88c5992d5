"""Parts of models of identifiers against slow forms of what their papers say."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from patchrec.errors import UsageError
from patchrec.model.bert4rec import BERT4Rec
from patchrec.model.caser import CaserLayer
from patchrec.model.hstu import HSTU
from patchrec.model.item_batch import ItemBatch
from patchrec.model.item_losses import binary_cross_entropy, bpr_max, top1, unseen
from patchrec.model.linrec import LinearAttention
from patchrec.model.mamba4rec import SelectiveStates
from patchrec.plugins import find_kind

ITEMS, K = 11, 9


def close(found, expected):
    torch.testing.assert_close(found, torch.as_tensor(expected), atol=1e-5, rtol=1e-4)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def batch_of(rows, targets=None, times=None):
    return ItemBatch.of([np.array(row, dtype=np.int64) for row in rows], ITEMS, "cpu", targets, times=times)


# --- losses


def test_the_losses_of_older_models_are_their_formulas():
    states, head = drawn(5, 4), drawn(ITEMS, 4, seed=1)
    targets, negatives = torch.tensor([0, 3, 3, 10, 7]), torch.tensor([3, 1, 8])
    by_top1 = by_bpr = 0.0
    for state, target in zip(states, targets.tolist(), strict=True):
        scores = head @ state
        wrong = scores[[item for item in negatives.tolist() if item != target]]
        by_top1 += (torch.sigmoid(wrong - scores[target]) + torch.sigmoid(wrong**2)).mean()
        weights = wrong.softmax(dim=0)
        by_bpr -= (weights * torch.sigmoid(scores[target] - wrong)).sum().log() - 0.5 * (weights * wrong**2).sum()
    close(top1(states, head, targets, negatives), by_top1)
    close(bpr_max(states, head, targets, negatives, 0.5), by_bpr)
    others = torch.tensor([1, 2, 4, 5, 6])
    by_bce = sum(
        -functional.logsigmoid(head[right] @ state) - functional.logsigmoid(-head[wrong] @ state)
        for state, right, wrong in zip(states, targets, others, strict=True)
    )
    close(binary_cross_entropy(states, head, targets, others), by_bce)


@pytest.mark.parametrize("loss", [top1, lambda *given: bpr_max(*given, 1.0)])
def test_a_catalog_of_one_item_has_a_loss_that_is_a_number(loss):
    states = drawn(2, 4).requires_grad_()
    found = loss(states, drawn(1, 4, seed=1), torch.tensor([0, 0]), torch.tensor([0]))
    found.backward()
    assert found.isfinite()
    assert states.grad.isfinite().all()


def test_no_item_of_a_row_is_a_negative_unless_the_row_holds_all():
    targets = [np.array([-1, 3, -1, 5]), np.arange(ITEMS)]
    batch = batch_of([[0, 1, 2], range(ITEMS - 1)], targets)
    torch.manual_seed(0)
    found = torch.stack([unseen(batch, ITEMS) for _ in range(300)])  # two positions of one row, eleven of the other
    assert set(found[:, :2].flatten().tolist()) == set(range(ITEMS)) - {0, 1, 2, 3, 5}
    assert set(found[:, 2:].flatten().tolist()) == set(range(ITEMS))


# --- layers


@torch.no_grad()
def test_caser_reads_each_window_as_it_would_alone():
    torch.manual_seed(0)
    layer = CaserLayer(6, 4, 3, 2, 0.0)
    states = drawn(2, K, 6)
    found = layer(states)
    before = torch.cat([torch.zeros(2, 3, 6), states], dim=1)
    for place in range(K):
        window = before[:, place : place + 4]  # (B, L, D)
        said = [
            torch.stack(
                [
                    torch.einsum("bld,fdl->bf", window[:, first : first + height], filters.weight) + filters.bias
                    for first in range(4 - height + 1)
                ]
            )
            .relu()
            .amax(dim=0)
            for height, filters in enumerate(layer.horizontal, 1)
        ]
        sums = torch.einsum("bld,fl->bdf", window, layer.vertical.weight) + layer.vertical.bias
        close(found[:, place], layer.out(torch.cat([*said, sums.flatten(1)], dim=1)).relu())


@pytest.mark.parametrize("positions", [1, 32, 33, 100])
@torch.no_grad()
def test_linear_attention_is_its_formula_at_every_position(positions):
    torch.manual_seed(0)
    layer = LinearAttention(8, 2)
    states = drawn(2, positions, 8)
    query, key, value = layer.into(states).view(2, positions, 3, 2, 4).permute(2, 0, 3, 1, 4)
    query, key = functional.elu(query), functional.elu(key)
    expected = []
    for place in range(positions):
        keys = key[:, :, : place + 1]
        keys = keys / keys.norm(dim=2, keepdim=True)
        own = query[:, :, place] / query[:, :, place].norm(dim=-1, keepdim=True)
        weights = torch.einsum("bhd,bhsd->bhs", own, keys) / 4**0.5
        expected.append(torch.einsum("bhs,bhsd->bhd", weights, value[:, :, : place + 1]).flatten(1))
    close(layer(states), layer.out(torch.stack(expected, dim=1)))


@torch.no_grad()
def test_a_selective_state_block_is_that_of_transformers():
    mamba = pytest.importorskip("transformers.models.mamba.modeling_mamba")
    from transformers import MambaConfig

    torch.manual_seed(0)
    config = MambaConfig(hidden_size=24, state_size=5, conv_kernel=3, expand=2, num_hidden_layers=1)
    theirs = mamba.MambaMixer(config, layer_idx=0).eval()
    ours = SelectiveStates(24, 5, 3)
    for name, weight in ours.named_parameters():
        if "proj" not in name or name == "dt_proj.bias":  # what begins otherwise than torch's own modules do
            assert weight.shape == dict(theirs.named_parameters())[name].shape
    close(ours.A_log, theirs.A_log)
    steps = functional.softplus(ours.dt_proj.bias)
    assert (steps > 0.99e-3).all()
    assert (steps < 0.101).all()
    ours.load_state_dict(theirs.state_dict())
    states = drawn(2, 13, 24)
    close(ours(states), theirs(states))


# --- HSTU


def hstu():
    torch.manual_seed(0)
    model = HSTU(ITEMS, K, width=8, layers=1, heads=2, dropout=0.0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.3 * drawn(*weight.shape))
    return model.eval()


@torch.no_grad()
def test_hstu_reads_spans_of_time_and_not_the_clock():
    model, rows = hstu(), [[3, 1, 4, 1]]
    times = np.array([0, 60, 90_000, 95_000])
    found = model.log_probs(batch_of(rows, times=[times]))
    close(model.log_probs(batch_of(rows, times=[times + 1_000_000_000])), found)
    for other in (times * 50, None):
        others = model.log_probs(batch_of(rows, times=None if other is None else [other]))
        assert not torch.allclose(others, found, atol=1e-3)


def test_hstu_learns_what_the_time_since_the_last_item_decides():
    """After a short pause the next item, after a long one the one before."""
    random = np.random.default_rng(0)
    rows, times, targets = [], [], []
    for _ in range(60):
        moves = random.integers(0, 2, K)  # the pause before an item says where it leads
        items = (random.integers(ITEMS) + np.concatenate([[0], np.cumsum(2 * moves - 1)])) % ITEMS
        rows.append(items[:K])
        times.append(1_000_000_000 + np.cumsum(np.where(moves, 60, 864_000)))
        targets.append(np.concatenate([[-1], [-1], items[2:]]))
    torch.manual_seed(0)
    model = HSTU(ITEMS, K, width=16, layers=1, heads=1, dropout=0.0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    batch, asked = batch_of(rows, targets, times), 60 * (K - 1)
    for _ in range(100):
        optimizer.zero_grad()
        loss = model.loss(batch) / asked
        loss.backward()
        optimizer.step()
    blind = batch_of(rows, targets)
    assert loss < 0.3  # log 2 = 0.69 where the pause is not seen
    assert model.loss(blind) / asked > 0.69


# --- BERT4Rec


def bert4rec(masked=0.5):
    torch.manual_seed(0)
    model = BERT4Rec(ITEMS, K, width=8, layers=2, heads=2, dropout=0.0, masked=masked)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.2 * drawn(*weight.shape))
    return model.eval()


@torch.no_grad()
def test_with_one_target_a_row_bert4rec_learns_what_it_is_asked_when_it_ranks():
    model, rows = bert4rec(), [[1, 2, 3], [], list(range(K))]
    answers = model.log_probs(batch_of(rows))
    for target in range(ITEMS):  # what stands behind the mask does not show through it
        targets = [np.append(np.full(len(row), -1), target) for row in rows]
        close(model.loss(batch_of(rows, targets)), -answers[:, target].sum())


@torch.no_grad()
def test_bert4rec_masks_targets_alone_some_of_each_row_and_the_end_of_a_row_that_it_cuts():
    model = bert4rec()
    asked = torch.tensor([[0, 0, 1, 1, 1, 1], [0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]]).bool()
    whole = torch.tensor([6, 5, 3])
    torch.manual_seed(0)
    drawn = [model._drawn(asked, whole) for _ in range(600)]
    found, lengths = (torch.stack(own) for own in zip(*drawn, strict=True))
    places = torch.arange(6)
    assert not (found & ~asked).any()
    assert not (found & (places >= lengths[..., None])).any()
    assert found[:, :2].any(dim=-1).all()
    assert (lengths[:, 2] == 3).all()  # nothing is asked there
    assert set(lengths[:, 1].tolist()) == {2, 5}
    ends = torch.bincount(lengths[:, 0], minlength=7)
    share = 0.5 + 0.5 / 11  # cut, or masked alone
    assert ends[3:6].numpy() / 600 == pytest.approx(share / 4, abs=0.05)
    assert found[:, 0][lengths[:, 0] < 6].gather(1, lengths[lengths[:, 0] < 6][:, :1] - 1).all()
    several = found[:, 0].sum(dim=-1)
    assert several.max() == 4


@torch.no_grad()
def test_bert4rec_reads_both_sides_of_a_mask_and_not_what_is_under_it(monkeypatch):
    for share in ("_ALONE", "_CUT"):
        monkeypatch.setattr(f"patchrec.model.bert4rec.{share}", 0.0)
    model = bert4rec(masked=1.0)
    targets = [np.array([-1, 2, -1, 4])]  # the second item and the one after the third are asked for

    def loss(*row):
        return model.loss(batch_of([row], targets))

    assert loss(1, 2, 3) == loss(1, 9, 3)
    assert abs(loss(1, 2, 3) - loss(1, 2, 7)) > 1e-3


@torch.no_grad()
def test_a_row_that_bert4rec_cuts_shows_nothing_after_its_end(monkeypatch):
    monkeypatch.setattr("patchrec.model.bert4rec._ALONE", 1.0)
    model, targets = bert4rec(), [np.array([-1, 2, 3, 4])]
    answers = [-model.log_probs(batch_of([[1, 2, 3][:place]]))[0, place + 1] for place in (1, 2, 3)]
    for seed in range(6):
        torch.manual_seed(seed)
        loss = model.loss(batch_of([[1, 2, 3]], targets)) / 3
        assert min(abs(loss - answer) for answer in answers) < 1e-5


@torch.no_grad()
def test_the_loss_of_bert4rec_counts_all_targets_and_not_what_is_masked_alone():
    model = bert4rec()
    targets = [np.arange(K + 1)]
    found = []
    for seed in range(30):
        torch.manual_seed(seed)
        found.append(model.loss(batch_of([range(K)], targets)).item() / (K + 1))
    assert np.mean(found) == pytest.approx(np.mean(found[:15]), rel=0.2)
    assert np.mean(found) > 0.5 * np.log(ITEMS)


def test_the_first_item_of_the_catalog_has_a_vector_that_learns():
    model = bert4rec().train()
    model.loss(batch_of([[0, 0, 1]], [np.array([-1, -1, -1, 0])])).backward()
    assert model.encoder.embeddings.word_embeddings.weight.grad[0].any()


# --- options


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [("gru4rec", {"loss": "hinge"}, "--loss"),
     ("gru4rec", {"negatives": 1, "loss": "top1"}, "--negatives"),
     ("gru4rec", {"negatives": 9}, "--negatives belongs to --loss bpr-max or top1"),
     ("gru4rec", {"penalty": 0, "loss": "top1"}, "--penalty belongs to --loss bpr-max, not to top1"),
     ("caser", {"newest": 0}, "--newest"),
     ("bert4rec", {"masked": 0}, "--masked"),
     ("linrec", {"width": 9, "heads": 2}, "--width 9 must be a multiple of --heads 2"),
     ("esasrec", {"loss": "bce"}, "--loss")],
)  # fmt: skip
def test_what_a_kind_cannot_be_is_refused(kind, options, said):
    with pytest.raises(UsageError, match=said):
        find_kind(kind).bind(options)
