"""The analytic compression ratio of a strategy, the paper's: from layouts and title lengths alone.

Titles of a full history as text over the strategy's units, at an average title length, without separators. The paper's
3.44 / 6.81 / 3.38 and 9.23 / 13.62 / 3.85 are of this kind. What an evaluation really ran is in
`patchrec.evaluation.efficiency`.
"""

from collections.abc import Iterable, Sequence
from math import nan

import numpy as np

from patchrec.config import Windows
from patchrec.data.histories import Dataset, Example
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
    """The analytic compression ratio of full histories: n a / analytic length, summed over them (n = K if sliding).

    It gives PFT-I = K a / ((K - M) + M a) and PFT-S = K a / ((K / L - 2) + L + L a), with a the mean title length; for
    strategies that look at positions alone every full history gives the same.

    Args:
        planner: The strategy.
        histories: Full histories.
        title_tokens: a.

    Source: PatchRec (SIGIR 2025), the compression ratios of its results tables.
    """
    text, shown = 0.0, 0.0
    for history in histories:
        text += len(history) * title_tokens
        shown += analytic_length(planner.plan(history), title_tokens)
    return _ratio(text, shown)


def full_histories(dataset: Dataset, K: int, windows: Windows = "sliding") -> Sequence[History]:
    """The newest window of every user who has K items; where no user has, one made-up history without times.

    A sliding window has K items, one cut at an anchor K/2 to K - 1.
    """
    lengths = np.diff(dataset.sequences.offsets)
    users = np.flatnonzero(lengths >= K).tolist()
    found = [dataset.history(Example.at(user, int(lengths[user]), K, windows)) for user in users]
    return found or [History(np.zeros(K, dtype=np.int64), anchored=windows != "sliding")]


def dataset_paper_ratio(
    dataset: Dataset, planner: Planner, title_tokens: float, K: int, windows: Windows = "sliding"
) -> float:
    """`paper_ratio` over a data set's full histories; nan where the strategy cannot plan a history without times."""
    try:
        return paper_ratio(planner, full_histories(dataset, K, windows), title_tokens)
    except (PluginError, UsageError):
        return nan


def _ratio(text: float, shown: float) -> float:
    return text / shown if shown else nan
