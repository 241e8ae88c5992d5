from math import isnan

import numpy as np
import pytest

from patchrec.data.catalog import Catalog
from patchrec.data.histories import Dataset, Sequences
from patchrec.evaluation.efficiency import Compression
from patchrec.history import History
from patchrec.layout import Grain, Layout
from patchrec.model.patching import PathEncoder
from patchrec.model.prompt import Prompt
from patchrec.model.titles import TitleTokens
from patchrec.ranking.compression import all_text, analytic_length, dataset_paper_ratio, full_histories, paper_ratio
from patchrec.recommender import Cost
from patchrec_strategies import dropout, item_mean, pft_i, pft_s, session_by_time_window, vanilla

K = 100
FULL = [History(np.zeros(K, dtype=np.int64))]


@pytest.mark.parametrize(("a", "expected"), [(3.94, 3.44), (9.82, 6.81), (3.86, 3.38)])
def test_pft_i_has_the_ratio_of_the_paper(a, expected):
    M = 5
    ratio = paper_ratio(pft_i.STRATEGY.bind({"M": M}), FULL, a)
    assert ratio == pytest.approx(K * a / ((K - M) + M * a))
    assert round(ratio, 2) == expected


@pytest.mark.parametrize(("L", "a", "expected"), [(5, 3.94, 9.23), (5, 9.82, 13.62), (20, 3.86, 3.85)])
def test_pft_s_has_the_ratio_of_the_paper(L, a, expected):
    ratio = paper_ratio(pft_s.STRATEGY.bind({"L": L}), FULL, a)
    assert ratio == pytest.approx(K * a / ((K / L - 2) + L + L * a))
    assert round(ratio, 2) == expected


def test_plain_text_is_not_compressed():
    assert paper_ratio(vanilla.STRATEGY.bind(), FULL, 3.94) == 1


def test_one_patch_an_item_saves_all_but_one_token_a_title():
    assert paper_ratio(item_mean.STRATEGY.bind(), FULL, 3.94) == pytest.approx(3.94)


def test_a_dropped_item_costs_nothing():
    layout = Layout.of([(0, 90, Grain.DROPPED), (90, 95, Grain.SESSION), (95, 98, Grain.ITEM), (98, 100, Grain.TEXT)])
    assert analytic_length(layout, 4.0) == 0 + 1 + 3 + 2 * 4


def make_dataset(lengths, timestamps=None):
    offsets = np.cumsum([0, *lengths])
    bounds = np.array(lengths)
    items = np.arange(offsets[-1]) % 3
    users = tuple(str(user) for user in range(len(lengths)))
    sequences = Sequences(users, offsets, items, timestamps, bounds, bounds)
    return Dataset("toy", Catalog(("0", "1", "2"), ("A", "B", "C")), sequences)


def test_full_histories_are_the_newest_k_of_users_who_have_them():
    found = full_histories(make_dataset([3, 5, 4]), 4)
    assert [(len(history), history.start) for history in found] == [(4, 1), (4, 0)]


def test_full_histories_of_anchored_windows_are_those_that_a_run_has():
    """K = 4: windows start on multiples of 2 and hold 2 or 3 items."""
    found = full_histories(make_dataset([3, 5, 4]), 4, "anchored")
    assert [(len(history), history.start, history.anchored) for history in found] == [(3, 2, True), (2, 2, True)]
    planner = pft_s.STRATEGY.bind({"L": 2})
    assert dataset_paper_ratio(make_dataset([5]), planner, 5.0, 4, "anchored") == pytest.approx(
        3 * 5.0 / analytic_length(planner.plan(found[0]), 5.0)
    )


def test_where_no_user_has_k_items_one_is_made_up():
    assert [len(history) for history in full_histories(make_dataset([3]), 100)] == [100]


def test_sessions_by_time_take_their_ratio_from_real_times():
    dataset = make_dataset([4], np.array([0, 1, 90_000, 90_001]))
    planner = session_by_time_window.STRATEGY.bind({"window": "1d"})
    groups = planner.plan(full_histories(dataset, 4)[0]).num_units
    assert dataset_paper_ratio(dataset, planner, 5.0, 4) == 4 * 5.0 / groups


def test_sessions_by_time_have_no_ratio_without_times():
    planner = session_by_time_window.STRATEGY.bind({"window": "1d"})
    assert isnan(dataset_paper_ratio(make_dataset([4]), planner, 5.0, 4))


TITLES = TitleTokens(np.array([10, 11, 12, 13, 14, 15]), np.array([0, 1, 3, 6]))  # 1, 2 and 3 tokens
ENCODER = PathEncoder(Prompt(np.array([0, 7]), np.array([8, 8, 8]), separator=2, end=1), TITLES, 50)


def cost(history, length):
    around = len(ENCODER.prompt.head) + len(ENCODER.prompt.tail)
    return Cost(length=length, text_length=len(ENCODER.prompt_path(history, all_text(len(history)))), around=around)


def count(planner, histories):
    compression = Compression()
    for items in histories:
        history = History(np.array(items, dtype=np.int64))
        compression.add(cost(history, len(ENCODER.prompt_path(history, planner.plan(history)))))
    return compression


def test_history_counts_separators_and_prompt_counts_everything():
    text, shown, around = (1 + 1) + (2 + 1) + (3 + 1), 2 * (1 + 1) + (3 + 1), 2 + 3
    compression = count(pft_i.STRATEGY.bind({"M": 1}), [[0, 1, 2]])
    assert compression.history == text / shown
    assert compression.prompt == (text + around) / (shown + around)


def test_ratios_are_of_sums_over_targets():
    compression = count(item_mean.STRATEGY.bind(), [[2], [0, 0]])
    assert compression.history == (4 + 2 + 2) / (2 + 2 + 2)


def test_a_strategy_that_shows_nothing_has_no_history_ratio():
    history = History(np.array([0, 1]))
    compression = Compression()
    compression.add(cost(history, len(ENCODER.prompt.head) + len(ENCODER.prompt.tail)))
    assert isnan(compression.history)
    assert compression.prompt == (5 + 2 + 3) / 5


def test_dropping_compresses_more_than_patching():
    dropped = count(dropout.STRATEGY.bind({"M": 1}), [[0, 1, 2] * 10])
    assert dropped.history > count(item_mean.STRATEGY.bind(), [[0, 1, 2] * 10]).history
