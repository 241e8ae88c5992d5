"""Histories as rows of item indices: what a model of identifiers reads in place of a token forest.

Rows are left-aligned and begin with a start mark, so that an empty history is a row too. What stands after a row's end
is the start mark again; a causal model never looks there.

Shapes: B rows, P positions, I items.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from patchrec.history import IntArray
from patchrec.model.transfer import on_device


@dataclass(frozen=True, slots=True, eq=False)
class ItemBatch:
    """Some histories.

    Attributes:
        items: (B, P) item indices; the start mark, and all beyond a row's end, is I.
        lengths: (B,) positions of each row, its start mark included: at least 1.
        targets: (B, P) the item that comes next, -1 where none is asked for; None where nothing is learned.
        times: (B, P) unix seconds; the start mark has its row's first, and all beyond a row's end its last (0 where
            there is none); None where the data set has no times.
        progress: How far training is: 0 at its first step, 1 at its last, and where nothing is learned.
    """

    items: Tensor
    lengths: Tensor
    targets: Tensor | None = None
    times: Tensor | None = None
    progress: float = 1.0

    @classmethod
    def of(
        cls,
        histories: Sequence[IntArray],
        num_items: int,
        device: torch.device | str,
        targets: Sequence[IntArray] | None = None,
        *,
        times: Sequence[IntArray] | None = None,
        progress: float = 1.0,
    ) -> "ItemBatch":
        """Put histories into rows.

        Args:
            histories: (n_b,) items of each, oldest first.
            num_items: I.
            device: Where the tensors shall be.
            targets: (n_b + 1,) what comes after the start mark and after each item, -1 where that is not asked.
            times: (n_b,) when each item came, unix seconds.
            progress: How far training is.
        """
        longest = max(map(len, histories), default=0) + 1
        items = np.full((len(histories), longest), num_items, dtype=np.int64)
        wanted, moments = np.full_like(items, -1), np.zeros_like(items)
        for row, history in enumerate(histories):
            items[row, 1 : len(history) + 1] = history
            if targets is not None:
                wanted[row, : len(history) + 1] = targets[row]
            if times is not None and len(history):
                moments[row, 0], moments[row, 1 : len(history) + 1] = times[row][0], times[row]
                moments[row, len(history) + 1 :] = times[row][-1]
        lengths = np.array([len(history) + 1 for history in histories], dtype=np.int64)
        place = torch.device(device)
        return cls(
            on_device(items, place),
            on_device(lengths, place),
            None if targets is None else on_device(wanted, place),
            None if times is None else on_device(moments, place),
            progress,
        )

    @property
    def num_positions(self) -> int:
        """B P, what a model runs."""
        return self.items.numel()

    def last(self, states: Tensor) -> Tensor:
        """(B, D) of (B, P, D): the states at each row's last position."""
        return states[torch.arange(len(states), device=states.device), self.lengths - 1]


class ItemModel(Protocol):
    """A model of identifiers: a torch module with these two answers. See `item_model_kind`.

    One that learns something else first says so with an attribute `ranks_from`: the `ItemBatch.progress` from which on
    it learns to rank, with a schedule of its own, and is measured.
    One that does not multiply all its matrices at each position says so with an attribute `weights_run`: how many
    weights a position is multiplied with, and how many where a query ends.
    """

    def loss(self, batch: ItemBatch) -> Tensor:
        """Its own objective, in nats, summed over the supervised positions of a batch; differentiable."""
        ...

    def log_probs(self, batch: ItemBatch) -> Tensor:
        """(B, I) log-probability of every item after each row's last position; each row sums to 1."""
        ...
