"""SASRec: a causal transformer over a history's items, and the frame that other models of that form share.

The frame (item and position vectors, a stack of layers, a norm, the item vectors again as the head) knows nothing of
its layers but that each maps states to states; a model adds its layers and its loss.

Shapes: B rows, P positions, I items, D width, H heads, n supervised positions.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from patchrec.model.item_batch import ItemBatch
from patchrec.model.item_losses import binary_cross_entropy, unseen

_INIT_STD = 0.02  # so that the first logits are small and every item begins about equally likely


class CausalAttention(nn.Module):
    """Multi-head attention in which a position sees itself and what came before it.

    Rows are left-aligned, so what stands after a row's end is later than all of the row: no padding mask is needed.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.into = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, states: Tensor) -> Tensor:
        """(B, P, D) of (B, P, D)."""
        rows, positions, width = states.shape
        split = self.into(states).view(rows, positions, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)  # each (B, H, P, D / H)
        dropout = self.dropout if self.training else 0.0
        mixed = functional.scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=True)
        attended: Tensor = self.out(mixed.transpose(1, 2).reshape(rows, positions, width))
        return attended


class SASRecLayer(nn.Module):
    """Attention, then a feed-forward network at each position, each behind a norm and beside a residual connection.

    Source: Kang and McAuley, ICDM 2018, section III-B: their feed-forward network is as wide as the states, with ReLU.
    """

    def __init__(self, width: int, heads: int, dropout: float, attention: nn.Module | None = None) -> None:
        """Take another attention in place of the softmax's, where one is given; it has heads of its own."""
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.attention = attention or CausalAttention(width, heads, dropout)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, width)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor) -> Tensor:
        """(B, P, D) of (B, P, D)."""
        states = states + self.dropout(self.attention(self.norms[0](states)))
        after: Tensor = states + self.dropout(self.feed_forward(self.norms[1](states)))
        return after


class CausalItems(nn.Module):
    """What models of identifiers share: item and position vectors, a stack of layers, item vectors as the head.

    It is a whole model (`ItemModel`), learned with the softmax over all items; one with another loss holds it.
    """

    def __init__(
        self,
        num_items: int,
        max_items: int,
        layers: Iterable[nn.Module],
        *,
        width: int,
        dropout: float,
        positions: bool = True,
    ) -> None:
        """Draw weights from torch's global generator.

        Args:
            num_items: I; index I is the start mark.
            max_items: Longest history, the start mark not counted.
            layers: Each maps (B, P, D) to (B, P, D), and no position to one before it.
            width: D.
            dropout: Of the vectors that go into the first layer.
            positions: Whether there are vectors of positions; layers that go along a row need none.
        """
        super().__init__()
        self.num_items = num_items
        self.items = nn.Embedding(num_items + 1, width)
        self.positions = nn.Embedding(max_items + 1, width) if positions else None
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(layers)
        self.norm = nn.LayerNorm(width)
        nn.init.normal_(self.items.weight, std=_INIT_STD)
        if self.positions is not None:
            nn.init.normal_(self.positions.weight, std=_INIT_STD)

    @property
    def head(self) -> Tensor:
        """(I, D) vector of every item; the start mark is never an answer."""
        return self.items.weight[: self.num_items]

    @property
    def item_vectors(self) -> Tensor:
        """(I, D) the same, as another run may begin with them."""
        return self.head

    def forward(self, items: Tensor, *beside: Tensor | None) -> Tensor:
        """(B, P, D) normed states at (B, P) items.

        Args:
            items: Item indices, I for the start mark.
            beside: What each layer takes beside its states, such as times.
        """
        return self.states(self.items(items), *beside)

    def states(self, vectors: Tensor, *beside: Tensor | None, **seen: Any) -> Tensor:
        """(B, P, D) normed states where (B, P, D) vectors go in, of items or of what stands for them.

        Source: vectors grow by sqrt(D) on their way in, as in Vaswani et al. 2017 and the SASRec authors' code.

        Args:
            vectors: Of positions 0 to P - 1.
            beside: What each layer takes beside its states.
            seen: What layers are told, where theirs can be told which positions see which.
        """
        states = vectors * vectors.shape[-1] ** 0.5
        if self.positions is not None:
            states = states + self.positions(torch.arange(vectors.shape[1], device=vectors.device))
        states = self.dropout(states)
        for layer in self.layers:
            states = layer(states, *beside, **seen)
        normed: Tensor = self.norm(states)
        return normed

    def supervised(self, batch: ItemBatch, *beside: Tensor | None) -> tuple[Tensor, Tensor]:
        """(n, D) states and (n,) items that come next, where a batch asks for them."""
        assert batch.targets is not None, "nothing to learn from"
        asked = batch.targets >= 0
        states: Tensor = self(batch.items, *beside)
        return states[asked], batch.targets[asked]

    def loss(self, batch: ItemBatch, *beside: Tensor | None) -> Tensor:
        """Cross-entropy over all items, in nats, summed over the supervised positions."""
        states, targets = self.supervised(batch, *beside)
        return functional.cross_entropy(functional.linear(states, self.head), targets, reduction="sum")

    def log_probs(self, batch: ItemBatch, *beside: Tensor | None) -> Tensor:
        """(B, I) log-probability of every item after each row's last position; each row sums to 1."""
        states = batch.last(self(batch.items, *beside))
        return functional.log_softmax(functional.linear(states, self.head), dim=-1)


class SASRec(nn.Module):
    """Self-attentive sequential recommendation.

    Source: Kang and McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018. Its loss, a binary cross-entropy
    with one negative item (`bce`), is replaced by the full cross-entropy, which alone makes it as good as its
    successors: Klenitskiy and Vasilev, "Turning Dross Into Gold Loss: is BERT4Rec really better than SASRec?", RecSys
    2023, and Petrov and Macdonald, "gSASRec", RecSys 2023.
    """

    def __init__(
        self,
        num_items: int,
        max_items: int,
        *,
        width: int,
        layers: int,
        heads: int,
        dropout: float,
        bce: bool = False,
    ) -> None:
        super().__init__()
        self.bce = bce
        stack = [SASRecLayer(width, heads, dropout) for _ in range(layers)]
        self.decoder = CausalItems(num_items, max_items, stack, width=width, dropout=dropout)

    def loss(self, batch: ItemBatch) -> Tensor:
        """Cross-entropy over all items, or the binary one, in nats, summed over the supervised positions."""
        if not self.bce:
            return self.decoder.loss(batch)
        states, targets = self.decoder.supervised(batch)
        return binary_cross_entropy(states, self.decoder.head, targets, unseen(batch, self.decoder.num_items))

    def log_probs(self, batch: ItemBatch) -> Tensor:
        """(B, I) log-probability of every item after each row's last position; each row sums to 1."""
        return self.decoder.log_probs(batch)
