"""Cross-entropy at labelled nodes, chunk by chunk: the logits of all nodes never exist at once.

A chunk's logits become their own gradient in place, and the gradients of head and states are added up on the way. So
memory follows the chunk, not the number of labels, and the backward pass has nothing left to compute but a scale.

Where only some classes can be said at a node, as the children of a trie's node, the softmax is over these alone: the
columns that any node needs are taken out of the head, and each node sees its own among them.

Shapes: n labelled nodes, m distinct labels, D hidden size, V classes of the head, c nodes of a chunk, C choices of all
nodes together.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from patchrec.history import IntArray
from patchrec.model.transfer import on_device

# Logits of a chunk: more make larger products, fewer take less memory.
_LOGITS = {"cpu": 12_000_000}
_LOGITS_ELSEWHERE = 128_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Choices:
    """What can be said at each labelled node, the labels among it.

    Attributes:
        rows: (C,) which of the labelled nodes, ascending; each at least once.
        classes: (C,) what can be said there.
    """

    rows: IntArray
    classes: IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """What some nodes of a forest shall say.

    Attributes:
        nodes: (n,) labelled nodes, ascending, each once.
        rows: (m,) which of `nodes` a label belongs to, ascending.
        classes: (m,) what the head shall say there: token ids, or item indices.
        counts: (m,) how many examples ask for that there.
        choices: What the softmax is over at each node; None: all classes at every node.
    """

    nodes: IntArray
    rows: IntArray
    classes: IntArray
    counts: IntArray
    choices: Choices | None = None

    @property
    def total(self) -> int:
        """Supervised answers (tokens, items), as many as one row per example would have."""
        return int(self.counts.sum())


@dataclass(frozen=True, slots=True, eq=False)
class _Chunk:
    """Some of the labelled nodes, `rows` counted from the first of them; `choices` are rows and classes."""

    nodes: slice
    rows: Tensor
    classes: Tensor
    counts: Tensor
    choices: tuple[Tensor, Tensor] | None


def summed_cross_entropy(hidden: Tensor, weight: Tensor, bias: Tensor | None, labels: Labels) -> Tensor:
    """Cross-entropy in nats of a linear head, summed over all labels as often as they count; differentiable once.

    Products are computed in the number format of autocast, where it is on; the rest in float32.

    Args:
        hidden: (n, D) states at the labelled nodes.
        weight: (V, D) of the head, and its (V,) bias; they may be computed themselves.
        labels: In the order of `hidden`.
    """
    if labels.choices is not None:
        columns, narrowed = _narrowed(labels, labels.choices)
        taken = on_device(columns, hidden.device)
        weight, labels = weight.index_select(0, taken), narrowed
        bias = None if bias is None else bias.index_select(0, taken)
    return _summed(hidden, weight, bias, labels, torch.is_grad_enabled())


def _narrowed(labels: Labels, choices: Choices) -> tuple[IntArray, Labels]:
    """Classes that are a choice anywhere, ascending, and labels and choices counted in them."""
    columns, places = np.unique(choices.classes, return_inverse=True)
    classes = np.searchsorted(columns, labels.classes)
    return columns, replace(labels, classes=classes, choices=replace(choices, classes=places))


def _summed(hidden: Tensor, weight: Tensor, bias: Tensor | None, labels: Labels, learning: bool) -> Tensor:
    loss: Tensor = _CrossEntropy.apply(hidden, weight, bias, labels, learning)  # type: ignore[no-untyped-call]
    return loss


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, labels: Labels, learning: bool
    ) -> Tensor:
        kind = hidden.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype
        wanted = [learning and needed for needed in ctx.needs_input_grad[:3]]
        grads = [
            torch.zeros_like(tensor, dtype=torch.float32) if want and tensor is not None else None
            for tensor, want in zip((hidden, weight, bias), wanted, strict=True)
        ]
        with torch.autocast(kind, enabled=False):
            states, head = hidden.to(dtype), weight.to(dtype)
            offset = None if bias is None else bias.float()
            total = torch.zeros((), device=hidden.device)
            for chunk in _chunks(labels, len(head), hidden.device):
                logits = functional.linear(states[chunk.nodes], head).float()
                if offset is not None:
                    logits += offset  # which may be a prior of -15 nats beside small products: not in their format
                if chunk.choices is not None:
                    logits = torch.full_like(logits, -torch.inf).index_put_(chunk.choices, logits[chunk.choices])
                log_probs = torch.log_softmax(logits, dim=-1)  # (c, V)
                del logits
                total -= (chunk.counts * log_probs[chunk.rows, chunk.classes]).sum()
                if any(wanted):
                    _accumulate(_differentiated(log_probs, chunk), states[chunk.nodes], head, chunk.nodes, *grads)
        ctx.grads = [
            None if grad is None else grad.to(tensor.dtype)
            for grad, tensor in zip(grads, (hidden, weight, hidden if bias is None else bias), strict=True)
        ]
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor | None, ...]:
        scaled = [None if grad is None else grad.mul_(scale.to(grad.dtype)) for grad in ctx.grads]
        ctx.grads = []
        return (*scaled, None, None)


def nodes_of_a_chunk(num_classes: int, device: str) -> int:
    """At how many nodes logits over so many classes exist at once on a kind of device."""
    return max(1, _LOGITS.get(device, _LOGITS_ELSEWHERE) // num_classes)


def _chunks(labels: Labels, num_classes: int, device: torch.device) -> Iterator[_Chunk]:
    """Chunks of about equal size, so that none is small and slow."""
    most, count = nodes_of_a_chunk(num_classes, device.type), len(labels.nodes)
    edges = np.linspace(0, count, -(-count // most) + 1).astype(np.int64)
    places = np.searchsorted(labels.rows, edges)
    for node, stop, first, last in zip(edges[:-1], edges[1:], places[:-1], places[1:], strict=True):
        choices = None
        if labels.choices is not None:
            own = slice(*np.searchsorted(labels.choices.rows, (node, stop)))
            rows = on_device(labels.choices.rows[own] - node, device)
            choices = rows, on_device(labels.choices.classes[own], device)
        yield _Chunk(
            slice(int(node), int(stop)),
            on_device(labels.rows[first:last] - node, device),
            on_device(labels.classes[first:last], device),
            on_device(labels.counts[first:last].astype(np.float32), device),
            choices,
        )


def _differentiated(log_probs: Tensor, chunk: _Chunk) -> Tensor:
    """(c, V) gradient of the summed loss by the logits, in place: for each label softmax, less one at its class."""
    asked = torch.zeros_like(log_probs[:, 0]).index_add_(0, chunk.rows, chunk.counts)  # (c,) labels of each node
    grad = log_probs.exp_().mul_(asked[:, None])
    return grad.index_put_((chunk.rows, chunk.classes), -chunk.counts, accumulate=True)


def _accumulate(
    grad: Tensor,
    states: Tensor,
    head: Tensor,
    nodes: slice,
    of_hidden: Tensor | None,
    of_weight: Tensor | None,
    of_bias: Tensor | None,
) -> None:
    """Add what a chunk's logits ask of hidden states, head and bias."""
    if of_bias is not None:
        of_bias += grad.sum(dim=0)
    grad = grad.to(head.dtype)
    if of_hidden is not None:
        of_hidden[nodes] = (grad @ head).float()
    if of_weight is not None and head.dtype == of_weight.dtype:
        of_weight.addmm_(grad.T, states)
    elif of_weight is not None:
        of_weight += grad.T @ states
