"""eSASRec: SASRec's objective with gated (LiGR) layers and a softmax over sampled items.

Shapes: B rows, P positions, I items, D width, n supervised positions, N negative items.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from patchrec.model.item_batch import ItemBatch
from patchrec.model.sasrec import CausalAttention, CausalItems

_INNER = 4  # feed-forward width by D, as in the authors' implementation


class SwiGLU(nn.Module):
    """A feed-forward network whose inner units are gated: W3 (silu(W1 x) * W2 x), without biases.

    Source: Shazeer, "GLU Variants Improve Transformer", 2020.
    """

    def __init__(self, width: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.into = nn.Linear(width, 2 * inner, bias=False)
        self.out = nn.Linear(inner, width, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor) -> Tensor:
        """(B, P, D) of (B, P, D)."""
        gate, values = self.into(states).chunk(2, dim=-1)
        mapped: Tensor = self.out(self.dropout(functional.silu(gate) * values))
        return mapped


class LiGRLayer(nn.Module):
    """x + sigmoid(W x) * f(norm(x)), first with attention as f, then with a feed-forward network.

    Source: Borisyuk et al., "From Features to Transformers: Redefining Ranking for Scalable Impact", 2025. The gate
    reads x before its norm, as in the eSASRec authors' implementation.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.parts = nn.ModuleList([CausalAttention(width, heads, dropout), SwiGLU(width, _INNER * width, dropout)])
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.gates = nn.ModuleList([nn.Linear(width, width), nn.Linear(width, width)])
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor) -> Tensor:
        """(B, P, D) of (B, P, D)."""
        for part, norm, gate in zip(self.parts, self.norms, self.gates, strict=True):
            states = states + torch.sigmoid(gate(states)) * self.dropout(part(norm(states)))
        return states


class ESASRec(nn.Module):
    """SASRec's shifted sequence, LiGR layers, sampled softmax.

    Source: Tikhonovich et al., "eSASRec: Enhancing Transformer-based Recommendations in a Modular Fashion", RecSys
    2025. There negatives are drawn anew at each position; here all positions of a batch share them, so that one matrix
    product scores them and many more are affordable.
    """

    def __init__(
        self, num_items: int, max_items: int, *, width: int, layers: int, heads: int, dropout: float, negatives: int
    ) -> None:
        super().__init__()
        self.negatives = negatives
        stack = [LiGRLayer(width, heads, dropout) for _ in range(layers)]
        self.decoder = CausalItems(num_items, max_items, stack, width=width, dropout=dropout)

    def loss(self, batch: ItemBatch) -> Tensor:
        """Sampled softmax in nats, summed over the supervised positions.

        Negatives are different items, drawn uniformly by torch's global generator; with I or more of them this is the
        full cross-entropy.
        """
        states, targets = self.decoder.supervised(batch)
        head = self.decoder.head
        negatives = torch.randperm(len(head), device=targets.device)[: self.negatives]
        return sampled_softmax(states, head, targets, negatives)

    def log_probs(self, batch: ItemBatch) -> Tensor:
        """(B, I) log-probability of every item after each row's last position; each row sums to 1."""
        return self.decoder.log_probs(batch)


def sampled_softmax(states: Tensor, head: Tensor, targets: Tensor, negatives: Tensor) -> Tensor:
    """Cross-entropy of each target among itself and the negatives, summed.

    No correction for how items were drawn: uniform draws shift all negatives' logits alike, and the authors leave that
    out too.

    Args:
        states: (n, D).
        head: (I, D).
        targets: (n,) items that come next.
        negatives: (N,) different items, shared by all positions; where one is the target it does not count twice.
    """
    right = (states * head[targets]).sum(dim=-1)  # (n,)
    wrong = functional.linear(states, head[negatives])  # (n, N)
    wrong = wrong.masked_fill(targets[:, None] == negatives, -torch.inf)
    whole = torch.cat([right[:, None], wrong], dim=-1).logsumexp(dim=-1)
    return (whole - right).sum()
