"""LinRec: attention whose cost grows with a row's length, not with its square.

Shapes: B rows, P positions, D width, H heads, d = D / H features of a head, C positions of a chunk, N chunks.
"""

from torch import Tensor, nn
from torch.nn import functional

_CHUNK = 32
_LEAST = 1e-6  # of a norm


class LinearAttention(nn.Module):
    """L2-normalised linear attention in which a position sees itself and what came before it.

    Queries and keys pass through an ELU; a query is divided by its norm over features, a key's feature by that
    feature's norm over positions. Their product is no longer a softmax, so that the sum over keys times values comes
    first: a (d, d) state that goes along the row.

    Source: Liu et al., "LinRec: Linear Attention Mechanism for Long-term Sequential Recommender Systems", SIGIR 2023.
    Departure: there a feature's norm is over the whole row, and later items change it; here it is over
    the positions so far, so that the attention is causal and a row is learned from at all positions in one pass.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.into = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, states: Tensor) -> Tensor:
        """(B, P, D) of (B, P, D)."""
        rows, positions, width = states.shape
        split = self.into(states).view(rows, positions, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)  # each (B, H, P, d)
        query, key = functional.elu(query), functional.elu(key)
        norms = (key**2).cumsum(dim=2).clamp(min=_LEAST**2).sqrt()
        query = functional.normalize(query, dim=-1, eps=_LEAST) / norms / (width // self.heads) ** 0.5
        mixed = causal_product(query, key, value)
        attended: Tensor = self.out(mixed.transpose(1, 2).reshape(rows, positions, width))
        return attended


def causal_product(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """(B, H, P, d): at each position the sum of (query . key) value over itself and all before, linear in P.

    Chunks of C positions are multiplied out; what came before a chunk is one sum.

    Args:
        query: (B, H, P, d). key, value: Alike.
    """
    rows, heads, positions, features = query.shape
    beyond = -positions % _CHUNK
    query, key, value = (
        functional.pad(own, (0, 0, 0, beyond)).reshape(rows, heads, -1, _CHUNK, features) for own in (query, key, value)
    )  # each (B, H, N, C, d)
    within = (query @ key.transpose(-1, -2)).tril() @ value
    sums = key.transpose(-1, -2) @ value  # (B, H, N, d, d) of each chunk
    before = sums.cumsum(dim=2) - sums
    return (within + query @ before).flatten(2, 3)[:, :, :positions]
