"""The analytic compression ratio of a strategy, the paper's: from layouts and title lengths alone.

Titles of a full history as text over the strategy's units, at an average title length, without separators. The paper's
3.44 / 6.81 / 3.38 and 9.23 / 13.62 / 3.85 are of this kind. What an evaluation really ran is in
`patchrec.evaluation.efficiency`.
"""

from collections.abc import Iterable, Sequence
from math import nan

import numpy as np

from patchrec.data.histories import Dataset
from patchrec.errors import PluginError, UsageError
from patchrec.history import History
from patchrec.layout import Grain, Layout
from patchrec.strategy import Planner


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
