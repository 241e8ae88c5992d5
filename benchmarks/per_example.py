"""The training that others do: one example per row, in the manner of the paper's public scripts.

The input of a row is put together item by item in Python: title embeddings, their mean for an item patch, the mean of
those for a session patch. Rows of a micro-batch are padded to the longest; the model's own loss takes logits at every
position over the whole vocabulary; micro-batches add up to a step. It is written for comparison, and kept fair: one
look-up of embeddings for a micro-batch, one loss that is averaged over the whole step.

Shapes: B rows of a micro-batch, P positions of the longest, D hidden size.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from benchmarks.beam import own_attention
from patchrec.data.histories import Dataset, Example
from patchrec.history import History
from patchrec.layout import Grain, Layout
from patchrec.model.backbone import Backbone
from patchrec.model.patching import PathEncoder
from patchrec.strategy import Planner

IGNORED = -100  # a label that the loss passes over


@dataclass(frozen=True, slots=True, eq=False)
class Unit:
    """Some positions of a row: titles as they are, or one position that is their mean of means."""

    titles: list[Tensor]
    patch: bool


@dataclass(frozen=True, slots=True, eq=False)
class PaddedRow:
    """One example. Attributes: units: What its positions are. answer: (a,) token ids, the end included."""

    units: list[Unit]
    answer: Tensor

    def __len__(self) -> int:
        return sum(1 if unit.patch else sum(map(len, unit.titles)) for unit in self.units)


@dataclass(frozen=True, slots=True, eq=False)
class PerExample:
    """A trainer of padded rows.

    Attributes:
        dtype: What its passes compute in.
    """

    backbone: Backbone
    encoder: PathEncoder
    dataset: Dataset
    planner: Planner
    dtype: str = "float32"

    def row(self, example: Example) -> PaddedRow:
        """Lay out one example, with its answer as the last unit."""
        history = self.dataset.history(example)
        prompt = self.encoder.prompt
        answer = torch.from_numpy(self.encoder.answer_path(self.dataset.target(example)))
        units = [
            Unit([torch.from_numpy(prompt.head)], False),
            *self._history(history, self.planner.plan(history)),
            Unit([torch.from_numpy(prompt.tail)], False),
            Unit([answer], False),
        ]
        return PaddedRow(units, answer)

    def _history(self, history: History, layout: Layout) -> list[Unit]:
        separator = Unit([torch.tensor([self.encoder.prompt.separator])], False)
        units = []
        for span in layout.spans:
            items = history.items[span.start : span.stop]
            titles = [torch.from_numpy(self.encoder.titles.of(item)) for item in items]
            if span.grain is Grain.SESSION:
                units += [Unit(titles, True), separator]
            elif span.grain is not Grain.DROPPED:
                for title in titles:
                    units += [Unit([title], span.grain is Grain.ITEM), separator]
        return units

    def inputs(self, rows: Sequence[PaddedRow]) -> tuple[Tensor, Tensor, Tensor]:
        """(B, P, D) input vectors, (B, P) mask and (B, P) labels of some rows."""
        titles = [title for row in rows for unit in row.units for title in unit.titles]
        device = self.backbone.device
        vectors = self.backbone.model.get_input_embeddings()(torch.cat(titles).to(device))
        pieces = iter(vectors.split([len(title) for title in titles]))
        inputs, masks, labels = [], [], []
        for row in rows:
            parts = []
            for unit in row.units:
                own = [next(pieces) for _ in unit.titles]
                if unit.patch:
                    means = [title.mean(dim=0) for title in own]
                    parts.append(torch.stack(means).mean(dim=0, keepdim=True))
                else:
                    parts += own
            inputs.append(torch.cat(parts))
            masks.append(torch.ones(len(inputs[-1]), dtype=torch.long, device=device))
            prompt = torch.full((len(inputs[-1]) - len(row.answer),), IGNORED)
            labels.append(torch.cat([prompt, row.answer]).to(device))
        return (
            pad_sequence(inputs, batch_first=True),
            pad_sequence(masks, batch_first=True),
            pad_sequence(labels, batch_first=True, padding_value=IGNORED),
        )

    def run(self, micro_batches: Sequence[Sequence[PaddedRow]], num_labels: int) -> float:
        """Add up the gradients of micro-batches of a step with so many supervised tokens; return their loss."""
        total = 0.0
        self.backbone.zero_grad(set_to_none=True)
        with own_attention(self.backbone.model) as model:
            model.train()
            for rows in micro_batches:
                inputs, mask, labels = self.inputs(rows)
                with torch.autocast(inputs.device.type, dtype=torch.bfloat16, enabled=self.dtype == "bfloat16"):
                    loss = model(
                        inputs_embeds=inputs,
                        attention_mask=mask,
                        labels=labels,
                        num_items_in_batch=num_labels,
                        use_cache=False,
                    ).loss
                loss.backward()
                total += float(loss.detach())
        return total
