"""The nine compression ratios of the paper's results: three kinds of prompt on three data sets."""

import numpy as np
import pytest

from patchrec.history import History
from patchrec.ranking.compression import paper_ratio
from patchrec_strategies import pft_i, pft_s, vanilla

K, M = 100, 5
MEAN_TITLE = (3.94, 9.82, 3.86)
"""a, mean title tokens of each data set."""
PUBLISHED = {
    "vanilla": (1.0, 1.0, 1.0),
    "pft-i": (3.44, 6.81, 3.38),
    "pft-s": (9.23, 13.62, 3.85),
}
SESSION = (5, 5, 20)  # L, items of a session, of PFT-S
CASES = [
    (strategy, a, L, published)
    for strategy, ratios in PUBLISHED.items()
    for a, L, published in zip(MEAN_TITLE, SESSION, ratios, strict=True)
]


def formula(strategy, a, L):
    """K a over the positions of the prompt: text is a, an item or a session patch is 1."""
    shown = {"vanilla": K * a, "pft-i": (K - M) + M * a, "pft-s": (K / L - 2) + L + L * a}
    return K * a / shown[strategy]


@pytest.mark.parametrize(("strategy", "a", "L", "published"), CASES)
def test_the_published_ratio_follows_from_the_formula_and_from_the_layouts(strategy, a, L, published):
    planner = {
        "vanilla": vanilla.STRATEGY.bind,
        "pft-i": lambda: pft_i.STRATEGY.bind({"M": M}),
        "pft-s": lambda: pft_s.STRATEGY.bind({"L": L}),
    }[strategy]()
    assert round(formula(strategy, a, L), 2) == published
    assert paper_ratio(planner, [History(np.zeros(K, dtype=np.int64))], a) == pytest.approx(formula(strategy, a, L))


def test_there_are_nine():
    assert len(CASES) == 9
