"""LITE-LLM4Rec: one model reads each item's text, another the sequence of items, and a linear head scores all items.

Shapes: B rows, P positions, I items, D width of the recommendation model, n supervised positions.
"""

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from patchrec.errors import UsageError
from patchrec.model.item_batch import ItemBatch
from patchrec.model.start_files import start_files
from patchrec.model.text_encoder import load_encoder
from patchrec.model.text_items import TextItems

_INIT_STD = 0.02

Freeze = Literal["none", "backbone", "head"]


class Identifiers(nn.Module):
    """Item vectors from a table of their own, the ablation without texts; index I is the start mark."""

    def __init__(self, num_items: int, width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(num_items + 1, width)
        nn.init.normal_(self.table.weight, std=_INIT_STD)

    def forward(self, items: Tensor) -> Tensor:
        """(..., D) vectors of (...) items."""
        vectors: Tensor = self.table(items)
        return vectors


class SequenceModel(nn.Module):
    """T5's encoder over vectors in place of tokens: every position sees all of its row."""

    def __init__(self, folder: Path) -> None:
        """Read it; without weights in the folder they are drawn from torch's global generator.

        Raises:
            UsageError: It is no T5.
        """
        super().__init__()
        model = load_encoder(folder)
        if not hasattr(model, "embed_tokens") or not hasattr(model.config, "d_model"):
            raise UsageError(
                f"the recommendation model is T5's encoder, and {str(folder)!r} is a {model.config.model_type}; take "
                "--backbone t5-small, or --scratch"
            )
        self.stack = model
        model.embed_tokens = None  # no tokens go in
        self.width = int(model.config.d_model)
        self.files = start_files(folder)

    def forward(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        """(B, D) mean of the states at the first `lengths` (B,) positions of (B, P, D) vectors."""
        there = torch.arange(vectors.shape[1], device=vectors.device) < lengths[:, None]  # (B, P)
        states = self.stack(inputs_embeds=vectors, attention_mask=there.long()).last_hidden_state  # (B, P, D)
        mean: Tensor = (states * there[..., None]).sum(dim=1) / lengths[:, None]
        return mean


class LiteLLM4Rec(nn.Module):
    """Item model, projection, recommendation model, mean, linear head; cross-entropy over all items.

    Source: Wang et al., "Rethinking Large Language Model Architectures for Sequential Recommendations", 2024
    (arXiv:2402.09543). Departures: a history begins with a start mark, so that an empty one is a row, too; the states
    of the item model are normed before the projection; dropout is that of the mean before the head, for the paper does
    not say where it is, and T5's own stays as its configuration has it.
    """

    def __init__(
        self, items: TextItems | Identifiers, sequence: SequenceModel, num_items: int, *, dropout: float, freeze: Freeze
    ) -> None:
        """Draw the head from torch's global generator.

        Args:
            items: Vectors that go in.
            sequence: The recommendation model.
            num_items: I.
            dropout: Of its mean, before the head.
            freeze: What does not learn: nothing, both models (projection and head do), or the head.
        """
        super().__init__()
        self.items, self.sequence = items, sequence
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(sequence.width, num_items, bias=False)
        nn.init.normal_(self.head.weight, std=sequence.width**-0.5)
        if freeze == "backbone":
            sequence.requires_grad_(False)
        if freeze == "head":
            self.head.requires_grad_(False)

    @property
    def start_files(self) -> dict[str, bytes]:
        """Configuration and tokenizer of the recommendation model."""
        return self.sequence.files

    @property
    def weights_run(self) -> tuple[int, int]:
        """Weights that a position is multiplied with, and those where a query ends; item vectors are at hand."""
        return sum(own.numel() for own in self.sequence.parameters() if own.ndim > 1), self.head.weight.numel()

    def loss(self, batch: ItemBatch) -> Tensor:
        """Cross-entropy over all items, in nats, summed over the supervised positions: each has a row of its own."""
        items, lengths, targets = prefixes(batch)
        states = self.dropout(self.sequence(self.items(items), lengths))
        return functional.cross_entropy(self.head(states), targets, reduction="sum")

    def log_probs(self, batch: ItemBatch) -> Tensor:
        """(B, I) log-probability of every item after each row's last position; each row sums to 1."""
        return functional.log_softmax(self.head(self.sequence(self.items(batch.items), batch.lengths)), dim=-1)


def prefixes(batch: ItemBatch) -> tuple[Tensor, Tensor, Tensor]:
    """Each supervised position as a row that ends there, for a model whose positions see all of their row.

    Returns:
        (n, P) items, the longest row's P, (n,) positions of each row, and (n,) items that come next.
    """
    assert batch.targets is not None, "nothing to learn from"
    rows, places = torch.nonzero(batch.targets >= 0, as_tuple=True)
    longest = int(places.max()) + 1
    return batch.items[rows, :longest], places + 1, batch.targets[rows, places]
