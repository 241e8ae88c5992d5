"""HSTU: attention without a softmax, told how far and how long ago each item is, and gated.

Shapes: B rows, P positions, I items, D width, H heads.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from patchrec.model.item_batch import ItemBatch
from patchrec.model.sasrec import CausalItems

_SPANS = 128  # kinds of time spans; the longest that fits in 64 bits is of kind 145, a century of kind 72
_SPAN = 0.301  # natural logarithm of how much longer a span is than one of the kind before
_INIT_STD = 0.02


class HSTULayer(nn.Module):
    """silu(query . key + bias) in the place of attention weights; what they gather is normed and gated.

    There is no feed-forward network: gate, values, queries and keys are one projection with a silu.

    Source: Zhai et al., "Actions Speak Louder than Words: Trillion-Parameter Sequential Transducers for Generative
    Recommendations", ICML 2024, equations 1 to 3, with biases by distance and by time span as in the authors' code.
    """

    def __init__(self, width: int, heads: int, max_items: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.max_items = max_items
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.into = nn.Linear(width, 4 * width)
        self.out = nn.Linear(width, width)
        self.by_distance = nn.Parameter(_INIT_STD * torch.randn(max_items + 1))
        self.by_span = nn.Parameter(_INIT_STD * torch.randn(_SPANS))
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor, spans: Tensor | None) -> Tensor:
        """(B, P, D) of (B, P, D).

        Args:
            states: What stands at each position.
            spans: (B, P, P) kind of the time span from the second position to the first; None: there are no times.
        """
        rows, positions, width = states.shape
        gate, *parts = functional.silu(self.into(self.norms[0](states))).chunk(4, dim=-1)
        value, query, key = (
            part.view(rows, positions, self.heads, width // self.heads).transpose(1, 2) for part in parts
        )  # each (B, H, P, D / H)
        places = torch.arange(positions, device=states.device)
        bias = self.by_distance[(places[:, None] - places).clamp(min=0)]  # (P, P)
        if spans is not None:
            bias = (bias + self.by_span[spans])[:, None]  # (B, 1, P, P)
        weights = functional.silu(query @ key.transpose(-1, -2) + bias).tril() / (self.max_items + 1)
        mixed = self.norms[1]((weights @ value).transpose(1, 2).flatten(2))
        after: Tensor = states + self.out(self.dropout(mixed * gate))
        return after


class HSTU(nn.Module):
    """Hierarchical sequential transduction units, learned with the softmax over all items.

    Source: Zhai et al., ICML 2024, see `HSTULayer`. Departures: a time span ends at the newest item that a position
    has seen, there at the target's own time, which nobody knows who asks; no stochastic length; the softmax is over
    all items, there over sampled ones of normed vectors. Where there are no times, positions alone tell.
    """

    def __init__(self, num_items: int, max_items: int, *, width: int, layers: int, heads: int, dropout: float) -> None:
        super().__init__()
        stack = [HSTULayer(width, heads, max_items, dropout) for _ in range(layers)]
        self.decoder = CausalItems(num_items, max_items, stack, width=width, dropout=dropout)

    def loss(self, batch: ItemBatch) -> Tensor:
        """Cross-entropy over all items, in nats, summed over the supervised positions."""
        return self.decoder.loss(batch, _spans(batch))

    def log_probs(self, batch: ItemBatch) -> Tensor:
        """(B, I) log-probability of every item after each row's last position; each row sums to 1."""
        return self.decoder.log_probs(batch, _spans(batch))


def _spans(batch: ItemBatch) -> Tensor | None:
    """(B, P, P) kind of the time span from the second position to the first: its logarithm in steps of `_SPAN`."""
    if batch.times is None:
        return None
    seconds = (batch.times[:, :, None] - batch.times[:, None, :]).abs().clamp(min=1)
    return (seconds.double().log() / _SPAN).long().clamp(max=_SPANS - 1)
