"""S3-Rec: a transformer that first learns what items, features and segments say of each other, then the next item.

Shapes: B rows, P positions, I items, F features, D width, n items or positions.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from patchrec.model.item_batch import ItemBatch
from patchrec.model.item_features import ItemFeatures
from patchrec.model.sasrec import CausalItems

_INNER = 4  # feed-forward width by D, as in the authors' implementation
_INIT_STD = 0.02


@dataclass(frozen=True, slots=True)
class Objectives:
    """How much each objective of the pre-training weighs, and how much it hides.

    Attributes:
        aap: Associated attribute prediction: an item's features from its vector.
        mip: Masked item prediction: a hidden item from all others of its row.
        map: Masked attribute prediction: its features from them.
        sp: Segment prediction: which segment was cut out of a row.
        mask_share: Of items that are hidden.
    """

    aap: float
    mip: float
    map: float
    sp: float
    mask_share: float


class S3Rec(nn.Module):
    """Self-supervised pre-training by four objectives, then the softmax over all items at each position.

    Source: Zhou et al., "S3-Rec: Self-Supervised Learning for Sequential Recommendation with Mutual Information
    Maximization", CIKM 2020: bilinear scores of item vector and feature (AAP), of state and item (MIP), of state and
    feature (MAP), of two states (SP); the transformer sees both sides in pre-training, and only what came before
    after it. Departures: both are parts of one run; a hidden item is told from all items and a segment from all
    segments of the step, where the authors draw one wrong one; the next item is learned with the full cross-entropy, as
    in our SASRec; layers have their norms first; each loss is a mean over its own items, positions or rows.
    """

    mask: nn.Parameter

    def __init__(
        self,
        num_items: int,
        max_items: int,
        bags: npt.NDArray[np.int32],
        *,
        width: int,
        layers: int,
        heads: int,
        dropout: float,
        pretraining: float,
        objectives: Objectives,
    ) -> None:
        """Draw weights from torch's global generator.

        Args:
            num_items: I.
            max_items: Longest history.
            bags: (I + 1, W) features of each item (`patchrec.data.item_features.ItemFeatures`).
            width, layers, heads, dropout: Of the transformer.
            pretraining: Share of the steps that pre-train.
            objectives: Of the pre-training.
        """
        super().__init__()
        self.ranks_from = pretraining
        self.objectives = objectives
        self.features = ItemFeatures(bags)
        stack = [
            nn.TransformerEncoderLayer(
                width, heads, _INNER * width, dropout, functional.gelu, batch_first=True, norm_first=True
            )
            for _ in range(layers)
        ]
        self.decoder = CausalItems(num_items, max_items, stack, width=width, dropout=dropout)
        self.mask = nn.Parameter(torch.randn(width) * _INIT_STD)  # stands where an item is hidden
        self.feature_vectors = nn.Parameter(torch.randn(self.features.num_features, width) * _INIT_STD)
        self.scores = nn.ModuleDict({name: _bilinear(width) for name in ("aap", "mip", "map", "sp")})

    def loss(self, batch: ItemBatch) -> Tensor:
        """What is learned where the training stands, in nats, summed over the supervised positions.

        In the pre-training no target is read: it is the weighted mean of the objectives for each of them.
        """
        assert batch.targets is not None, "nothing to learn from"
        asked = batch.targets >= 0
        if batch.progress < self.ranks_from:
            return self._pretraining_loss(batch) * asked.sum()
        logits = functional.linear(self._causal(batch)[asked], self.decoder.head)
        return functional.cross_entropy(logits, batch.targets[asked], reduction="sum")

    def log_probs(self, batch: ItemBatch) -> Tensor:
        """(B, I) log-probability of every item after each row's last position; each row sums to 1."""
        states = batch.last(self._causal(batch))
        return functional.log_softmax(functional.linear(states, self.decoder.head), dim=-1)

    def _causal(self, batch: ItemBatch) -> Tensor:
        """(B, P, D) states that know nothing of what comes after them."""
        later = torch.ones(batch.items.shape[1], batch.items.shape[1], dtype=torch.bool, device=batch.items.device)
        states: Tensor = self.decoder.states(self.decoder.items(batch.items), src_mask=later.triu(1), is_causal=True)
        return states

    def _pretraining_loss(self, batch: ItemBatch) -> Tensor:
        """The weighted sum of the four means."""
        items, own = batch.items, batch.items < self.decoder.num_items
        hidden = own & (torch.rand(items.shape, device=items.device) < self.objectives.mask_share)
        segment = drawn_segments(batch.lengths - 1, items.shape[1])
        views = [hidden, segment, own & ~segment]  # what is hidden in each of three readings of every row
        vectors = torch.where(torch.cat(views)[:, :, None], self.mask, self.decoder.items(items).repeat(3, 1, 1))
        outside = torch.arange(items.shape[1], device=items.device) >= batch.lengths[:, None]
        states = self.decoder.states(vectors, src_key_padding_mask=outside.repeat(3, 1))
        masked, around, inside = states.chunk(3)
        answers = items[hidden]
        found = masked[hidden]
        rows = segment.any(dim=1)
        weighed = self.objectives
        return (
            weighed.aap * self._features_loss("aap", *self._vectors(items[own]))
            + weighed.mip * self._choice_loss("mip", found, self.decoder.head, answers)
            + weighed.map * self._features_loss("map", found, answers)
            + weighed.sp * self._segment_loss(batch.last(around)[rows], batch.last(inside)[rows])
        )

    def _vectors(self, items: Tensor) -> tuple[Tensor, Tensor]:
        """(n, D) vectors of the different ones of some items, and (n,) which these are."""
        different = torch.unique(items)
        return self.decoder.items(different), different

    def _features_loss(self, name: str, states: Tensor, items: Tensor) -> Tensor:
        """How far (n, D) states are from telling the features of (n,) items: each alone, summed over all features."""
        logits = functional.linear(self.scores[name](states), self.feature_vectors)
        labels = self.features.labels(items)
        summed = functional.binary_cross_entropy_with_logits(logits, labels, reduction="sum")
        return summed / max(1, len(items))

    def _choice_loss(self, name: str, states: Tensor, choices: Tensor, right: Tensor) -> Tensor:
        """Mean cross-entropy of (n,) right ones among the choices; 0 where there is no state."""
        logits = functional.linear(self.scores[name](states), choices)
        return functional.cross_entropy(logits, right, reduction="sum") / max(1, len(right))

    def _segment_loss(self, around: Tensor, inside: Tensor) -> Tensor:
        """How far rows without their segments are from telling which segment is theirs."""
        return self._choice_loss("sp", around, inside, torch.arange(len(around), device=around.device))


def _bilinear(width: int) -> nn.Linear:
    """What turns a state for a bilinear score; it begins with none, so that states learn what is of use without it."""
    score = nn.Linear(width, width, bias=False)
    nn.init.eye_(score.weight)
    return score


def drawn_segments(num_items: Tensor, positions: int) -> Tensor:
    """(B, positions) a random stretch of each row's items, 1 to half of them; none of a row of fewer than two.

    Args:
        num_items: (B,) items of each row, which stand behind its start mark.
        positions: P, the start mark's included.
    """
    draws = torch.rand(2, len(num_items), device=num_items.device)
    lengths = 1 + (draws[0] * (num_items // 2)).long()
    lengths = torch.where(num_items < 2, 0, lengths.minimum(num_items // 2))
    starts = 1 + (draws[1] * (num_items - lengths + 1)).long().minimum(num_items - lengths)
    places = torch.arange(positions, device=num_items.device)
    return (places >= starts[:, None]) & (places < (starts + lengths)[:, None])
