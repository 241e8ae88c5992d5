"""FDSA: what a user's items are and what is known of them as two self-attended streams, joined where the answer is.

Shapes: B rows, P positions, I items, F features, W features of an item, D width, n supervised positions.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from patchrec.model.item_batch import ItemBatch
from patchrec.model.item_features import FeatureAttention, ItemFeatures
from patchrec.model.sasrec import CausalItems, SASRecLayer


class FDSA(nn.Module):
    """Feature-level deeper self-attention, learned with the softmax over all items.

    Source: Zhang et al., "Feature-level Deeper Self-Attention Network for Sequential Recommendation", IJCAI 2019:
    vanilla attention mixes an item's features, a stack of self-attention reads the items and another the mixtures, and
    a linear layer joins what both say, against the item vectors. Departures: every value of a list is a feature (an
    item there has one category, one brand), an item without features has a vector of its own, layers have their norms
    first, and the loss is the full cross-entropy in place of a binary one with one negative item, as in our SASRec.
    """

    def __init__(
        self,
        num_items: int,
        max_items: int,
        bags: npt.NDArray[np.int32],
        *,
        width: int,
        layers: int,
        heads: int,
        dropout: float,
    ) -> None:
        """Draw weights from torch's global generator.

        Args:
            num_items: I.
            max_items: Longest history.
            bags: (I + 1, W) features of each item (`patchrec.data.item_features.ItemFeatures`).
            width, layers, heads, dropout: Of each of both streams.
        """
        super().__init__()
        self.features = ItemFeatures(bags)

        def stream(size: int) -> CausalItems:
            stack = [SASRecLayer(width, heads, dropout) for _ in range(layers)]
            return CausalItems(size, max_items, stack, width=width, dropout=dropout)

        self.decoder = stream(num_items)
        self.feature_decoder = stream(self.features.num_features)  # its mark is what an item without features has
        self.attention = FeatureAttention(width)
        self.join = nn.Linear(2 * width, width)

    def states(self, items: Tensor) -> Tensor:
        """(B, P, D) joined states at (B, P) items."""
        different, places = torch.unique(items, return_inverse=True)
        streams = [self.decoder(items), self.feature_decoder.states(self._mixtures(different)[places])]
        joined: Tensor = self.join(torch.cat(streams, dim=-1))
        return joined

    def _mixtures(self, items: Tensor) -> Tensor:
        """(n, D) of (n,) items: what their features say."""
        bags = self.features.of(items)
        there = bags < self.features.num_features
        there[:, 0] = True  # where there is none the mark is mixed alone
        mixed: Tensor = self.attention(self.feature_decoder.items(bags), there)
        return mixed

    def loss(self, batch: ItemBatch) -> Tensor:
        """Cross-entropy over all items, in nats, summed over the supervised positions."""
        assert batch.targets is not None, "nothing to learn from"
        asked = batch.targets >= 0
        logits = functional.linear(self.states(batch.items)[asked], self.decoder.head)
        return functional.cross_entropy(logits, batch.targets[asked], reduction="sum")

    def log_probs(self, batch: ItemBatch) -> Tensor:
        """(B, I) log-probability of every item after each row's last position; each row sums to 1."""
        states = batch.last(self.states(batch.items))
        return functional.log_softmax(functional.linear(states, self.decoder.head), dim=-1)
