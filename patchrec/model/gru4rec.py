"""GRU4Rec: a recurrent network over a history's items, with the losses that it was published with.

Shapes: B rows, P positions, I items, D width, n supervised positions, N negative items.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from patchrec.model.item_batch import ItemBatch
from patchrec.model.item_losses import bpr_max, top1
from patchrec.model.sasrec import CausalItems

Loss = Literal["softmax", "bpr-max", "top1"]


class Recurrent(nn.Module):
    """Gated recurrent units along a row."""

    def __init__(self, width: int, layers: int, dropout: float) -> None:
        super().__init__()
        between = dropout if layers > 1 else 0.0  # torch warns of a dropout between layers where there is one layer
        self.units = nn.GRU(width, width, layers, batch_first=True, dropout=between)
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor) -> Tensor:
        """(B, P, D) of (B, P, D)."""
        mapped: Tensor = self.dropout(self.units(states)[0])
        return mapped


class GRU4Rec(nn.Module):
    """A recurrent network whose state scores all items.

    Source: Hidasi et al., "Session-based Recommendations with Recurrent Neural Networks", ICLR 2016 (`top1`); Hidasi
    and Karatzoglou, "Recurrent Neural Networks with Top-k Gains for Session-based Recommendations", CIKM 2018
    (`bpr-max`, and one table for items that come in and go out, their constrained embedding). There a step takes one
    item of each of many sessions and carries states on; here whole histories are rows, so that a gradient reaches back
    to a row's start. Negatives are drawn uniformly for each step, not from the other sessions of a mini-batch. States
    are normed before they score, as in the frame of all models of identifiers here. The full softmax is the default.
    """

    def __init__(
        self,
        num_items: int,
        max_items: int,
        *,
        width: int,
        layers: int,
        dropout: float,
        loss: Loss,
        negatives: int,
        penalty: float,
    ) -> None:
        """Draw weights from torch's global generator.

        Args:
            num_items: I.
            max_items: Longest history.
            width: D.
            layers: How many, one over the other.
            dropout: Share of activations dropped in training.
            loss: What it learns by.
            negatives: N, of `bpr-max` and `top1`.
            penalty: Of `bpr-max`, see there.
        """
        super().__init__()
        self.objective, self.negatives, self.penalty = loss, negatives, penalty
        stack = [Recurrent(width, layers, dropout)]
        self.decoder = CausalItems(num_items, max_items, stack, width=width, dropout=dropout, positions=False)

    def loss(self, batch: ItemBatch) -> Tensor:
        """Its objective, summed over the supervised positions; in nats, where it is the softmax.

        Negatives are different items, drawn uniformly by torch's global generator and shared by all positions.
        """
        if self.objective == "softmax":
            return self.decoder.loss(batch)
        states, targets = self.decoder.supervised(batch)
        head = self.decoder.head
        negatives = torch.randperm(len(head), device=targets.device)[: self.negatives]
        if self.objective == "top1":
            return top1(states, head, targets, negatives)
        return bpr_max(states, head, targets, negatives, self.penalty)

    def log_probs(self, batch: ItemBatch) -> Tensor:
        """(B, I) log-probability of every item after each row's last position; each row sums to 1."""
        return self.decoder.log_probs(batch)
