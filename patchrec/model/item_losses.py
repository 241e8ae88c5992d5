"""Losses of older models of identifiers: a target against a few items drawn, in place of all.

They shape scores so that targets stand first, and say nothing of how likely an item is: the softmax of such scores is a
distribution, and its log-probabilities are poor.

Shapes: B rows, P positions, I items, D width, n supervised positions, N negative items.
"""

import torch
from torch import Tensor
from torch.nn import functional

from patchrec.model.item_batch import ItemBatch

_LEAST = 1e-24  # added before a logarithm, as in the GRU4Rec authors' code


def binary_cross_entropy(states: Tensor, head: Tensor, targets: Tensor, negatives: Tensor) -> Tensor:
    """-log sigmoid(target's score) - log sigmoid(-negative's score), summed.

    Source: Kang and McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018, section III-E.

    Args:
        states: (n, D).
        head: (I, D).
        targets: (n,) items that come next.
        negatives: (n,) another item for each.
    """
    right = (states * head[targets]).sum(dim=-1)
    wrong = (states * head[negatives]).sum(dim=-1)
    return -(functional.logsigmoid(right) + functional.logsigmoid(-wrong)).sum()


def unseen(batch: ItemBatch, num_items: int) -> Tensor:
    """(n,) for each supervised position an item that its row does not hold, drawn uniformly by torch's generator.

    A row that holds all items is given any of them. In the source no item of the user is drawn, here none of the row.
    """
    assert batch.targets is not None, "nothing to learn from"
    asked = batch.targets >= 0
    free = torch.ones(len(batch.items), num_items + 1, device=batch.items.device)
    free.scatter_(1, batch.items, 0.0)
    free.scatter_(1, batch.targets.where(asked, num_items), 0.0)
    free = free[:, :num_items]
    free[free.sum(dim=1) == 0] = 1.0
    return torch.multinomial(free, asked.shape[1], replacement=True)[asked]


def top1(states: Tensor, head: Tensor, targets: Tensor, negatives: Tensor) -> Tensor:
    """Mean over the negatives of sigmoid(negative - target) + sigmoid(negative^2), summed over positions.

    Source: Hidasi et al., "Session-based Recommendations with Recurrent Neural Networks", ICLR 2016, section 3.1.3.

    Args:
        states: (n, D).
        head: (I, D).
        targets: (n,) items that come next.
        negatives: (N,) different items, shared by all positions; where one is the target it does not count.
    """
    right, wrong, counts = _scores(states, head, targets, negatives)
    each = torch.sigmoid(wrong - right) + torch.sigmoid(wrong**2)
    return ((each * counts).sum(dim=-1) / counts.sum(dim=-1).clamp(min=1)).sum()


def bpr_max(states: Tensor, head: Tensor, targets: Tensor, negatives: Tensor, penalty: float) -> Tensor:
    """-log of the mean of sigmoid(target - negative), plus a penalty on the negatives' squares, summed over positions.

    Both means weigh a negative by the softmax of the negatives' scores.

    Source: Hidasi and Karatzoglou, "Recurrent Neural Networks with Top-k Gains for Session-based Recommendations",
    CIKM 2018, BPR-max with score regularisation.

    Args:
        states: (n, D).
        head: (I, D).
        targets: (n,) items that come next.
        negatives: (N,) different items, shared by all positions; where one is the target it does not count.
        penalty: Of the squared scores.
    """
    right, wrong, counts = _scores(states, head, targets, negatives)
    weights = functional.softmax(wrong.masked_fill(counts == 0, torch.finfo(wrong.dtype).min), dim=-1) * counts
    above = (weights * torch.sigmoid(right - wrong)).sum(dim=-1)
    return (penalty * (weights * wrong**2).sum(dim=-1) - (above + _LEAST).log()).sum()


def _scores(states: Tensor, head: Tensor, targets: Tensor, negatives: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(n, 1) scores of targets, (n, N) of negatives, and 1 where a negative counts, 0 where it is the target."""
    right = (states * head[targets]).sum(dim=-1, keepdim=True)
    wrong = functional.linear(states, head[negatives])
    return right, wrong, (targets[:, None] != negatives).to(wrong.dtype)
