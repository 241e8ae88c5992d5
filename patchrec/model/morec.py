"""MoRec: SASRec whose item vectors are made of the items' texts.

Shapes: B rows, P positions, I items, D width, n supervised positions, C items of a batch.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from patchrec.model.item_batch import ItemBatch
from patchrec.model.sasrec import SASRecLayer
from patchrec.model.text_encoder import TextEncoder
from patchrec.model.text_items import TextItems

_INIT_STD = 0.02


class MoRec(nn.Module):
    """A causal transformer over vectors of texts, which are the head, too: an item is known by its text alone.

    Source: Yuan et al., "Where to Go Next for Recommender Systems? ID- vs. Modality-based Recommender Models
    Revisited", SIGIR 2023. Departures: texts are the mean of all states of the encoder; its loss, a binary
    cross-entropy with a drawn negative item, is a softmax: over all items where the encoder is frozen, over the items
    of the batch where it is trained (their texts alone are read then).
    """

    def __init__(
        self, encoder: TextEncoder, max_items: int, *, width: int, layers: int, heads: int, mlp: int, dropout: float
    ) -> None:
        """Draw weights from torch's global generator.

        Args:
            encoder: Of the items' texts.
            max_items: Longest history.
            width: D.
            layers: Of the transformer. heads: Of its attention.
            mlp: Linear maps between the encoder and D.
            dropout: Share of activations dropped in training.
        """
        super().__init__()
        self.items = TextItems(encoder, width, mlp, dropout, _INIT_STD)
        self.positions = nn.Embedding(max_items + 1, width)
        nn.init.normal_(self.positions.weight, std=_INIT_STD)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList([SASRecLayer(width, heads, dropout) for _ in range(layers)])
        self.norm = nn.LayerNorm(width)

    @property
    def start_files(self) -> dict[str, bytes]:
        """Configuration and tokenizer of its encoder."""
        return self.items.encoder.files

    @property
    def weights_run(self) -> tuple[int, int]:
        """Weights that a position is multiplied with, and those where a query ends; item vectors are at hand."""
        of_layers = sum(own.numel() for own in self.layers.parameters() if own.ndim > 1)
        return of_layers, self.items.num_items * self.positions.embedding_dim

    def forward(self, items: Tensor) -> Tensor:
        """(B, P, D) normed states at (B, P) items."""
        return self._states(self.items(items))

    def loss(self, batch: ItemBatch) -> Tensor:
        """Cross-entropy in nats, summed over the supervised positions."""
        assert batch.targets is not None, "nothing to learn from"
        asked = batch.targets >= 0
        targets, mark = batch.targets[asked], self.items.num_items
        own = torch.arange(mark, device=targets.device)  # (C,)
        if self.items.encoder.is_trained:
            own = torch.unique(torch.cat([batch.items[batch.items < mark], targets]))
        vectors = self.items(own)  # (C, D)
        places = torch.searchsorted(own, batch.items).masked_fill(batch.items == mark, len(own))
        states = self._states(torch.cat([vectors, self.items.mark[None]])[places])[asked]
        logits = functional.linear(states, vectors)  # (n, C)
        return functional.cross_entropy(logits, torch.searchsorted(own, targets), reduction="sum")

    def log_probs(self, batch: ItemBatch) -> Tensor:
        """(B, I) log-probability of every item after each row's last position; each row sums to 1."""
        states = batch.last(self(batch.items))
        return functional.log_softmax(functional.linear(states, self.items.all()), dim=-1)

    def _states(self, vectors: Tensor) -> Tensor:
        places = torch.arange(vectors.shape[1], device=vectors.device)
        states = self.dropout(vectors + self.positions(places))
        for layer in self.layers:
            states = layer(states)
        normed: Tensor = self.norm(states)
        return normed
