"""The chunked loss against torch's cross-entropy, label by label.

Shapes: n labelled nodes, D hidden size, V vocabulary.
"""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from patchrec.model import loss
from patchrec.model.loss import Choices, Labels, summed_cross_entropy

V, D = 11, 5


@st.composite
def label_sets(draw):
    """Labels of up to nine nodes: each has one to three tokens, each asked for one to three times."""
    asked = draw(
        st.lists(st.dictionaries(st.integers(0, V - 1), st.integers(1, 3), min_size=1, max_size=3), max_size=9)
    )
    rows = [row for row, tokens in enumerate(asked) for _ in tokens]
    choices = None
    if asked and draw(st.booleans()):
        more = [draw(st.sets(st.integers(0, V - 1), max_size=4)) for _ in asked]
        allowed = [sorted({*tokens, *others}) for tokens, others in zip(asked, more, strict=True)]
        choices = Choices(
            np.repeat(np.arange(len(asked)), [len(own) for own in allowed]),
            np.array([token for own in allowed for token in own], dtype=np.int64),
        )
    return Labels(
        np.arange(len(asked)),
        np.array(rows, dtype=np.int64),
        np.array([token for tokens in asked for token in tokens], dtype=np.int64),
        np.array([count for tokens in asked for count in tokens.values()], dtype=np.int64),
        choices,
    )


def slow(hidden, weight, bias, labels):
    """One label after the other."""
    total = torch.zeros(())
    for row, token, count in zip(labels.rows, labels.classes, labels.counts, strict=True):
        logits = functional.linear(hidden[row], weight, bias)
        if labels.choices is not None:
            allowed = set(labels.choices.classes[labels.choices.rows == row].tolist())
            logits = torch.stack(
                [logits[number] if number in allowed else torch.tensor(-torch.inf) for number in range(V)]
            )
        total = total + int(count) * functional.cross_entropy(logits[None], torch.tensor([int(token)]))
    return total


def inputs(num_nodes, *, bias, seed=0):
    random = torch.Generator().manual_seed(seed)
    shapes = [(num_nodes, D), (V, D), *([(V,)] if bias else [])]
    tensors = [torch.randn(shape, generator=random).requires_grad_() for shape in shapes]
    return tensors if bias else [*tensors, None]


@settings(max_examples=60, deadline=None)
@given(label_sets(), st.integers(1, 60), st.booleans(), st.integers(0, 99))
def test_loss_and_gradients_equal_the_slow_ones_whatever_the_chunks(labels, logits_of_a_chunk, bias, seed):
    given_inputs = inputs(len(labels.nodes), bias=bias, seed=seed)
    tensors = [tensor for tensor in given_inputs if tensor is not None]
    expected = slow(*given_inputs, labels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(loss._LOGITS, "cpu", logits_of_a_chunk)
        found = summed_cross_entropy(*given_inputs, labels)
    torch.testing.assert_close(found, expected)
    if len(labels.nodes):
        wanted = torch.autograd.grad(expected * 0.3, tensors)
        torch.testing.assert_close(torch.autograd.grad(found * 0.3, tensors), wanted)


def one_label():
    return Labels(np.array([0]), np.array([0]), np.array([2]), np.array([1]))


def test_it_is_the_surprise_in_nats():
    weight = torch.log(torch.tensor([[0.25], [0.5], [0.25]]))
    labels = Labels(np.array([4]), np.array([0, 0]), np.array([0, 1]), np.array([1, 1]))
    assert float(summed_cross_entropy(torch.ones(1, 1), weight, None, labels)) == pytest.approx(np.log(4) + np.log(2))


def test_a_frozen_head_gets_no_gradient():
    hidden, weight, _ = inputs(1, bias=False)
    weight.requires_grad_(False)
    summed_cross_entropy(hidden, weight, None, one_label()).backward()
    assert hidden.grad is not None
    assert weight.grad is None


def test_nothing_is_differentiated_without_gradients(monkeypatch):
    monkeypatch.setattr(loss, "_differentiated", lambda *_: pytest.fail("a gradient was made"))
    with torch.no_grad():
        assert not summed_cross_entropy(*inputs(1, bias=True), one_label()).requires_grad


def test_under_autocast_products_are_bfloat16_and_the_loss_is_float32():
    hidden, weight, _ = inputs(1, bias=False)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = summed_cross_entropy(hidden, weight, None, one_label())
    exact = slow(hidden, weight, None, one_label())
    assert found.dtype == torch.float32
    assert 0 < abs(float((found - exact).detach())) < 0.05
    found.backward()
    assert weight.grad.dtype == torch.float32
