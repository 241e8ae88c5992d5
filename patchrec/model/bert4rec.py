"""BERT4Rec: a bidirectional transformer that fills in masked items, and predicts the one after the last.

Shapes: B rows, P positions, I items, D width, n masked positions.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import BertConfig, BertModel
from transformers.models.bert.modeling_bert import BertPredictionHeadTransform

from patchrec.model.item_batch import ItemBatch

_INNER = 4  # feed-forward width by D
_CUT = 1 / 2  # rows that end at a target drawn from theirs
_ALONE = 1 / 11  # rows with that target alone masked: one for ten masked at random, as in the authors' code


class BERT4Rec(nn.Module):
    """transformers' BERT over items, learned by a cloze.

    A row is a history and the target that ends it. A share of its targets, drawn anew each time, is replaced by a mask,
    and what stood there is predicted from both sides; no row reaches beyond its last target, so all of it is train
    split. To rank, a mask stands behind the history. So that a mask behind which nothing comes is known at every
    position, half of the rows end at one of their targets, which is masked. With one target a row (`tree_targets` 1)
    nothing else is masked, and it learns just what it is asked when it ranks.

    Source: Sun et al., "BERT4Rec: Sequential Recommendation with Bidirectional Encoder Representations from
    Transformer", CIKM 2019. Departures: a start mark comes first; only targets are masked, which leaves out a user's
    first items; a row is masked anew in each epoch in place of ten fixed copies of it; rows are cut, since a row
    here is a block of a user's items and not always the newest. A step's loss is the mean over what was masked, times
    its targets, so that it compares with other models'.
    """

    def __init__(
        self, num_items: int, max_items: int, *, width: int, layers: int, heads: int, dropout: float, masked: float
    ) -> None:
        """Draw weights from torch's global generator.

        Args:
            num_items: I; index I is the start mark, I + 1 the mask.
            max_items: Longest history.
            width: D.
            layers: How many.
            heads: Of attention, a divisor of D.
            dropout: Share of activations and attention left out in training.
            masked: Share of a row's targets that are masked.
        """
        super().__init__()
        config = BertConfig(
            vocab_size=num_items + 2,
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            intermediate_size=_INNER * width,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
            max_position_embeddings=max_items + 2,
            type_vocab_size=1,
            pad_token_id=None,  # the default is token 0, whose vector would not learn: here an item
        )
        self.num_items, self.masked = num_items, masked
        self.encoder = BertModel(config, add_pooling_layer=False)
        self.transform = BertPredictionHeadTransform(config)
        self.bias = nn.Parameter(torch.zeros(num_items))

    def loss(self, batch: ItemBatch) -> Tensor:
        """Mean cross-entropy of what is masked, over all items, in nats, times the supervised positions of a batch."""
        assert batch.targets is not None, "nothing to learn from"
        labels = functional.pad(batch.targets, (1, 0), value=-1)  # (B, P + 1) of the item that stands there
        rows, ends = torch.arange(len(labels), device=labels.device), batch.lengths
        items = functional.pad(batch.items, (0, 1), value=self.num_items)
        last = labels[rows, ends]
        items[rows, ends] = last.where(last >= 0, self.num_items)
        asked = labels >= 0
        chosen, lengths = self._drawn(asked, ends + (last >= 0))
        states = self._states(items.masked_fill(chosen, self.num_items + 1), lengths)
        total = functional.cross_entropy(self._logits(states[chosen]), labels[chosen], reduction="sum")
        return total * (asked.sum() / chosen.sum().clamp(min=1))

    def log_probs(self, batch: ItemBatch) -> Tensor:
        """(B, I) log-probability of every item at a mask after each row's last position; each row sums to 1."""
        rows, ends = torch.arange(len(batch.items), device=batch.items.device), batch.lengths
        items = functional.pad(batch.items, (0, 1), value=self.num_items)
        items[rows, ends] = self.num_items + 1
        return functional.log_softmax(self._logits(self._states(items, ends + 1)[rows, ends]), dim=-1)

    def _drawn(self, asked: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, P) positions to be masked, of each row that is asked for anything at least one; (B,) where rows end."""
        rows, positions = asked.shape
        draws = torch.rand(rows, positions, device=asked.device)
        alone, cut = (torch.rand(rows, device=asked.device) < share for share in (_ALONE, _CUT))
        cut = (cut | alone) & asked.any(dim=1)
        end = torch.rand(rows, positions, device=asked.device).masked_fill(~asked, -1.0).argmax(dim=1)
        places = torch.arange(positions, device=asked.device)
        lengths = torch.where(cut, end + 1, lengths)
        chosen = asked & (places < lengths[:, None]) & (draws < self.masked) & ~alone[:, None]
        needed = cut | ~chosen.any(dim=1)
        return chosen | (asked & (places == end[:, None]) & needed[:, None]), lengths

    def _states(self, items: Tensor, lengths: Tensor) -> Tensor:
        """(B, P, D) at (B, P) items, of which the first `lengths` of each row are there."""
        there = torch.arange(items.shape[1], device=items.device) < lengths[:, None]
        states: Tensor = self.encoder(input_ids=items, attention_mask=there.long()).last_hidden_state
        return states

    def _logits(self, states: Tensor) -> Tensor:
        """(n, I) of (n, D)."""
        table = self.encoder.embeddings.word_embeddings.weight[: self.num_items]
        return functional.linear(self.transform(states), table, self.bias)
