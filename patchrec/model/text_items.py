"""Vectors of items made of their texts, where another model has a table of them.

Shapes: I items of the catalog, E width of the text encoder, D width of item vectors.
"""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from patchrec.model.text_encoder import TextEncoder

_INIT_STD = 0.02


class Standardised(nn.Module):
    """Each number of a vector by how far it is from its mean over some vectors, in standard deviations.

    States of a language model share most of what they are; what tells one text from another is small beside that.
    """

    centre: Tensor
    spread: Tensor

    def __init__(self, vectors: Tensor) -> None:
        """Measure (I, E) vectors; those of a fitted model come from its checkpoint."""
        super().__init__()
        self.register_buffer("centre", vectors.mean(dim=0))
        self.register_buffer("spread", vectors.std(dim=0, correction=0).clamp(min=1e-6))

    def forward(self, vectors: Tensor) -> Tensor:
        """(..., E) of (..., E)."""
        return (vectors - self.centre) / self.spread


class TextItems(nn.Module):
    """Item vectors from texts by an encoder and a small network; the start mark, index I, has a vector of its own.

    While nothing is trained all vectors are computed once, and kept until weights change.
    """

    def __init__(
        self, encoder: TextEncoder, width: int, layers: int, dropout: float = 0.0, std: float | None = None
    ) -> None:
        """Draw weights from torch's global generator.

        Args:
            encoder: Gives (I, E).
            width: D.
            layers: Linear maps from E to D, GELU between them.
            dropout: Of what goes into the last of them.
            std: Of the last map's first weights: small ones where vectors are a head, so that every item begins about
                equally likely. None: as torch has it.
        """
        super().__init__()
        self.encoder = encoder
        self.norm = nn.LayerNorm(encoder.width) if encoder.is_trained else Standardised(encoder.states)
        sizes = [encoder.width, *[width] * layers]
        self.maps = nn.ModuleList([nn.Linear(into, out) for into, out in pairwise(sizes)])
        if std is not None:
            for own in self.maps[-1].parameters():
                nn.init.normal_(own, std=std)
        self.dropout = nn.Dropout(dropout)
        self.mark = nn.Parameter(torch.empty(width).normal_(std=_INIT_STD))
        self._kept: Tensor | None = None
        self.register_load_state_dict_post_hook(lambda *_: self._forget())  # type: ignore[no-untyped-call]

    @property
    def num_items(self) -> int:
        """I, new items included."""
        return len(self.encoder.tokens)

    def forward(self, items: Tensor) -> Tensor:
        """(..., D) vectors of (...) items, of which I is the start mark."""
        if self._keeps:
            table = torch.cat([self.all(), self.mark[None]])
            return table[items]
        is_item = items < self.num_items
        found = self.mark.expand(*items.shape, -1).clone()
        found[is_item] = self.project(self.encoder(items[is_item]))
        return found

    def all(self) -> Tensor:
        """(I, D) vectors of all items; those of a trained encoder come without a gradient for it."""
        if not self._keeps:
            return self.project(self.encoder.all())
        if self._kept is None:
            self._kept = self.project(self.encoder.all())
        return self._kept

    def project(self, states: Tensor) -> Tensor:
        """(..., D) of (..., E) states."""
        states = self.norm(states)
        for number, own in enumerate(self.maps):
            if number:
                states = nn.functional.gelu(states)
            states = own(self.dropout(states) if number == len(self.maps) - 1 else states)
        return states

    def train(self, mode: bool = True) -> "TextItems":
        """What was kept goes, for weights will change."""
        if mode:
            self._forget()
        super().train(mode)
        return self

    def _apply(self, *given: Any, **named: Any) -> Any:
        self._forget()
        return super()._apply(*given, **named)  # type: ignore[no-untyped-call]

    @property
    def _keeps(self) -> bool:
        return not (self.training or torch.is_grad_enabled())

    def _forget(self) -> None:
        self._kept = None
