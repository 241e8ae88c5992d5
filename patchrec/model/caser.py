"""Caser: convolutions over the newest items, as an image whose rows are items and whose columns are features.

Shapes: B rows, P positions, D width, L items that are read, F filters.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


class CaserLayer(nn.Module):
    """Filters over the newest L items at each position, in one pass over a row.

    A horizontal filter of height h reads h neighbouring items whole, and the largest of its answers in the window
    counts. A vertical filter is a weighted sum of the window's L items, alike for each feature.
    All windows of a row are the row's convolution, and its running maximum over L - h + 1 positions.

    Source: Tang and Wang, "Personalized Top-N Sequential Recommendation via Convolutional Sequence Embedding", WSDM
    2018, section 3. Its vector of the user is left out: whoever asks need not be a user of the train split. There a
    window is learned from by the next T items with a binary cross-entropy against three negatives, here by the next
    one with the softmax over all items; and items have one vector, not another one to be scored by.
    """

    def __init__(self, width: int, window: int, horizontal: int, vertical: int, dropout: float) -> None:
        """Draw weights from torch's global generator.

        Args:
            width: D.
            window: L.
            horizontal: F of each height from 1 to L.
            vertical: F over all L items.
            dropout: Of what all filters say.
        """
        super().__init__()
        self.window = window
        self.horizontal = nn.ModuleList([nn.Conv1d(width, horizontal, height) for height in range(1, window + 1)])
        self.vertical = nn.Linear(window, vertical)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(window * horizontal + vertical * width, width)

    def forward(self, states: Tensor) -> Tensor:
        """(B, P, D) of (B, P, D)."""
        before = functional.pad(states.transpose(1, 2), (self.window - 1, 0))  # (B, D, L - 1 + P)
        found = [
            functional.max_pool1d(functional.relu(filters(before)), self.window - shorter, stride=1).transpose(1, 2)
            for shorter, filters in enumerate(self.horizontal)
        ]  # each (B, P, F)
        windows = before.unfold(2, self.window, 1).transpose(1, 2)  # (B, P, D, L)
        found.append(self.vertical(windows).flatten(2))  # (B, P, D F)
        mapped: Tensor = functional.relu(self.out(self.dropout(torch.cat(found, dim=-1))))
        return mapped
