"""Mamba4Rec: a selective state space model over a history's items.

Shapes: B rows, P positions, D width, E inner width, S state of each inner feature, R rank of the step sizes.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

_EXPAND = 2  # E by D
_INNER = 4  # feed-forward width by D
_STEPS = (1e-3, 1e-1)  # step sizes at the start, spread over this range evenly in the logarithm


class SelectiveStates(nn.Module):
    """A Mamba block: a state for each feature goes along a row, and each position says how much of it stays.

    The weights are those of transformers' `MambaMixer`, by name and shape, and so is what it computes. Without CUDA
    kernels its backward pass takes time by the square of a row, since every position is cut out of a whole tensor; here
    rows are taken apart once.

    Source: Gu and Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", 2023, algorithm 2; its
    starting weights are theirs.
    """

    def __init__(self, width: int, state: int, convolved: int) -> None:
        """Draw weights from torch's global generator.

        Args:
            width: D.
            state: S.
            convolved: Neighbouring positions that a convolution mixes, feature by feature.
        """
        super().__init__()
        inner, rank = _EXPAND * width, math.ceil(width / 16)
        self.sizes = [rank, state, state]
        self.in_proj = nn.Linear(width, 2 * inner, bias=False)
        self.conv1d = nn.Conv1d(inner, inner, convolved, groups=inner, padding=convolved - 1)
        self.x_proj = nn.Linear(inner, sum(self.sizes), bias=False)
        self.dt_proj = nn.Linear(rank, inner)
        self.A_log = nn.Parameter(torch.arange(1.0, state + 1).log().repeat(inner, 1))
        self.D = nn.Parameter(torch.ones(inner))
        self.out_proj = nn.Linear(inner, width, bias=False)
        nn.init.uniform_(self.dt_proj.weight, -(rank**-0.5), rank**-0.5)
        low, high = map(math.log, _STEPS)
        steps = torch.exp(low + (high - low) * torch.rand(inner))
        with torch.no_grad():
            self.dt_proj.bias.copy_(steps.expm1().log())  # softplus gives the step back

    def forward(self, states: Tensor) -> Tensor:
        """(B, P, D) of (B, P, D)."""
        inputs, gate = self.in_proj(states).chunk(2, dim=-1)
        near = self.conv1d(inputs.transpose(1, 2))[..., : states.shape[1]]
        inputs = functional.silu(near).transpose(1, 2)  # (B, P, E)
        ranked, into, out = self.x_proj(inputs).split(self.sizes, dim=-1)
        found = selective_scan(inputs, functional.softplus(self.dt_proj(ranked)), -self.A_log.exp(), into, out)
        mapped: Tensor = self.out_proj((found + self.D * inputs) * functional.silu(gate))
        return mapped


def selective_scan(inputs: Tensor, steps: Tensor, decay: Tensor, into: Tensor, out: Tensor) -> Tensor:
    """(B, P, E): h = exp(step decay) h + step input into, read by out, position by position.

    Args:
        inputs: (B, P, E).
        steps: (B, P, E) above 0.
        decay: (E, S) below 0.
        into: (B, P, S) how an input goes into the state. out: (B, P, S) how the state is read.
    """
    state = inputs.new_zeros(len(inputs), *decay.shape)
    found = []
    parts = (inputs * steps).unbind(1), steps.unbind(1), into.unbind(1), out.unbind(1)
    for own, step, write, read in zip(*parts, strict=True):
        state = torch.exp(step[:, :, None] * decay) * state + own[:, :, None] * write[:, None]
        found.append((state @ read[:, :, None]).squeeze(-1))
    return torch.stack(found, dim=1)


class Mamba4RecLayer(nn.Module):
    """A Mamba block, then a feed-forward network at each position, each beside a residual connection, then a norm.

    Source: Liu et al., "Mamba4Rec: Towards Efficient Sequential Recommendation with Selective State Space Models",
    2024. Departures: a single layer, too, has a residual connection around its block; no norm follows the
    item vectors, and one more comes before the head, as in the frame of all models of identifiers here.
    """

    def __init__(self, width: int, state: int, convolved: int, dropout: float) -> None:
        super().__init__()
        self.mixer = SelectiveStates(width, state, convolved)
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.feed_forward = nn.Sequential(
            nn.Linear(width, _INNER * width), nn.GELU(), nn.Dropout(dropout), nn.Linear(_INNER * width, width)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor) -> Tensor:
        """(B, P, D) of (B, P, D)."""
        states = self.norms[0](states + self.dropout(self.mixer(states)))
        after: Tensor = self.norms[1](states + self.dropout(self.feed_forward(states)))
        return after
