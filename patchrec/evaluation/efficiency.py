"""How much a strategy shortens prompts, under three names that must not be mixed.

- `paper`: analytic. Titles of a full history as text over the strategy's units, at an average title length, without
  separators. The paper's 3.44 / 6.81 / 3.38 and 9.23 / 13.62 / 3.85 are of this kind.
- `history`: history positions that the model really sees, separators included: all text over the strategy's.
- `prompt`: the same over whole prompts, with what stands around the history.

The last two are ratios of sums over targets, so a target counts by its length.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import nan

import numpy as np

from patchrec.data.histories import Dataset
from patchrec.errors import PluginError, UsageError
from patchrec.history import History
from patchrec.layout import Grain, Layout
from patchrec.model.patching import PathEncoder
from patchrec.strategy import Planner


@dataclass(slots=True)
class Compression:
    """Sums over targets of the positions of prompts, as text and as the strategy shows them.

    Attributes:
        text: Positions of the all-text prompts.
        shown: Positions of the prompts used.
        around: Positions around the histories, the same in both.
    """

    text: int = 0
    shown: int = 0
    around: int = 0

    def add(self, encoder: PathEncoder, history: History, shown: int) -> None:
        """Count one target whose prompt path has `shown` positions."""
        self.text += len(encoder.prompt_path(history, all_text(len(history))))
        self.shown += shown
        self.around += len(encoder.prompt.head) + len(encoder.prompt.tail)

    @property
    def history(self) -> float:
        """History positions of all text over those used; nan where the strategy shows none."""
        return _ratio(self.text - self.around, self.shown - self.around)

    @property
    def prompt(self) -> float:
        """Prompt positions of all text over those used."""
        return _ratio(self.text, self.shown)


def all_text(length: int) -> Layout:
    """The layout that shows every item by its title."""
    return Layout.of([(0, length, Grain.TEXT)])


def analytic_length(layout: Layout, title_tokens: float) -> float:
    """Positions of a layout without separators: a title is `title_tokens` long, a patch is 1, what is dropped is 0."""
    cost = {Grain.TEXT: title_tokens, Grain.ITEM: 1.0, Grain.DROPPED: 0.0}
    return sum(1.0 if span.grain is Grain.SESSION else len(span) * cost[span.grain] for span in layout.spans)


def paper_ratio(planner: Planner, histories: Iterable[History], title_tokens: float) -> float:
    """The analytic compression ratio of full histories: K a / mean analytic length.

    It gives PFT-I = K a / ((K - M) + M a) and PFT-S = K a / ((K / L - 2) + L + L a), with a the mean title length; for
    strategies that look at positions alone every full history gives the same.

    Args:
        planner: The strategy.
        histories: Full histories, all of K items.
        title_tokens: a.

    Source: PatchRec (SIGIR 2025), the compression ratios of its results tables.
    """
    text, shown = 0.0, 0.0
    for history in histories:
        text += len(history) * title_tokens
        shown += analytic_length(planner.plan(history), title_tokens)
    return _ratio(text, shown)


def full_histories(dataset: Dataset, K: int) -> Sequence[History]:
    """The newest K items of every user who has so many; where no user has, one made-up history without times."""
    sequences = dataset.sequences
    found = []
    for start, stop in zip(sequences.offsets[:-1].tolist(), sequences.offsets[1:].tolist(), strict=True):
        if stop - start >= K:
            times = None if sequences.timestamps is None else sequences.timestamps[stop - K : stop]
            found.append(History(sequences.items[stop - K : stop], times, stop - K - start))
    return found or [History(np.zeros(K, dtype=np.int64))]


def dataset_paper_ratio(dataset: Dataset, planner: Planner, title_tokens: float, K: int) -> float:
    """`paper_ratio` over a data set's full histories; nan where the strategy cannot plan a history without times."""
    try:
        return paper_ratio(planner, full_histories(dataset, K), title_tokens)
    except (PluginError, UsageError):
        return nan


def _ratio(text: float, shown: float) -> float:
    return text / shown if shown else nan
