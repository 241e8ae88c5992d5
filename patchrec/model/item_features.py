"""Vectors of the features of items, fixed at fitting: bags of features become a vector or targets of each item.

Shapes: n items, F features, W features of an item, D width.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn


class ItemFeatures(nn.Module):
    """Bags of features of all items as a buffer: they are saved with the weights and never read again."""

    bags: Tensor

    def __init__(self, bags: npt.NDArray[np.int32]) -> None:
        """Keep bags.

        Args:
            bags: (I + 1, W), F where an item has fewer; the last row is the start mark's, and all F.
        """
        super().__init__()
        self.num_features = int(bags[-1, 0])
        self.register_buffer("bags", torch.from_numpy(bags))

    def of(self, items: Tensor) -> Tensor:
        """(n, W) features of (n,) items, F where an item has fewer."""
        found: Tensor = self.bags[items].long()
        return found

    def labels(self, items: Tensor) -> Tensor:
        """(n, F) 1 where an item has a feature, else 0, in float32."""
        found = torch.zeros(len(items), self.num_features + 1, device=items.device)
        return found.scatter_(1, self.of(items), 1.0)[:, : self.num_features]


class FeatureAttention(nn.Module):
    """Mixes the vectors of an item's features by how much each says.

    Source: vanilla attention of Zhang et al., FDSA, IJCAI 2019: alpha = softmax(W A + b) over the features, for each
    dimension alone, and the sum of alpha A.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scores = nn.Linear(width, width)

    def forward(self, vectors: Tensor, there: Tensor) -> Tensor:
        """(n, D) mixtures of (n, W, D) vectors, of those that are `there` (n, W); at least one must be."""
        scores = self.scores(vectors).masked_fill(~there[:, :, None], -torch.inf)
        mixed: Tensor = (scores.softmax(dim=1) * vectors).sum(dim=1)
        return mixed
