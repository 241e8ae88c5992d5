from patchrec_recency import STRATEGY

from patchrec.layout import Grain, Layout
from patchrec.testing import StrategyContract, make_history


class TestDefaults(StrategyContract):
    strategy = STRATEGY


class TestFastGrowthWithoutText(StrategyContract):
    strategy = STRATEGY
    options = {"M": 0, "growth": 10}


def test_sessions_double_with_age():
    layout = STRATEGY.bind({"M": 5}).plan(make_history(12))
    assert layout == Layout.of(
        [(0, 1, Grain.SESSION), (1, 5, Grain.SESSION), (5, 7, Grain.SESSION), (7, 12, Grain.TEXT)]
    )


def test_a_long_history_costs_few_patches():
    layout = STRATEGY.bind({"M": 5}).plan(make_history(1000))
    assert layout.num_units == 5 + 9  # 2 + 4 + ... + 2**8 = 510 < 995 <= 2 + ... + 2**9 = 1022
