"""A model of identifiers as a scorer: histories into rows, rows into log-probabilities of all items.

Shapes: B queries, F items that the model knows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from patchrec.errors import PluginError
from patchrec.history import FloatArray
from patchrec.model.item_batch import ItemBatch, ItemModel
from patchrec.recommender import Query

_ROWS = 128  # of one pass


@dataclass(frozen=True, eq=False)
class ModelScorer:
    """Gives log-probabilities by a torch module that is an `ItemModel`.

    Attributes:
        model: The module.
        num_items: F. Items of a history that it does not know are left out.
        device: Where it is.
    """

    model: nn.Module
    num_items: int
    device: torch.device

    @torch.no_grad()
    def log_probs(self, queries: Sequence[Query]) -> FloatArray:
        """(B, F) log-probability of every item after each query.

        Raises:
            PluginError: The model gave no tensor of this shape.
        """
        self.model.eval()
        known = [query.history.items < self.num_items for query in queries]
        histories = [query.history.items[kept] for query, kept in zip(queries, known, strict=True)]
        times = [
            None if query.history.timestamps is None else query.history.timestamps[kept]
            for query, kept in zip(queries, known, strict=True)
        ]
        order = np.argsort([len(history) for history in histories], kind="stable")
        found = np.empty((len(queries), self.num_items))
        for start in range(0, len(order), _ROWS):
            own = order[start : start + _ROWS]
            moments = [moment for number in own.tolist() if (moment := times[number]) is not None]
            batch = ItemBatch.of(
                [histories[number] for number in own.tolist()],
                self.num_items,
                self.device,
                times=moments if len(moments) == len(own) else None,
            )
            answer: Any = cast(ItemModel, self.model).log_probs(batch)
            if not isinstance(answer, torch.Tensor) or tuple(answer.shape) != (len(own), self.num_items):
                shape = tuple(answer.shape) if isinstance(answer, torch.Tensor) else type(answer).__name__
                raise PluginError(
                    f"{type(self.model).__name__}.log_probs gave {shape} for {len(own)} rows and {self.num_items:,} "
                    f"items; it must give ({len(own)}, {self.num_items})"
                )
            found[own] = answer.double().cpu().numpy()
        return found
