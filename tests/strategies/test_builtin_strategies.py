"""The built-in strategies against slow obvious loops: each definition gives every position a label of its own.

Positions of one label that follow each other are one span; a label is a grain and, for sessions, a group.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchrec.errors import UsageError
from patchrec.history import History
from patchrec.layout import Grain, Layout
from patchrec.strategy import Moment
from patchrec.testing import StrategyContract, check_strategy, make_history
from patchrec_strategies import (
    dropout,
    item_mean,
    patch_pretraining,
    pft_i,
    pft_s,
    session_by_count,
    session_by_time_window,
    vanilla,
)
from patchrec_strategies.sessions import seconds

TEXT, ITEM, SESSION, DROPPED = Grain.TEXT, Grain.ITEM, Grain.SESSION, Grain.DROPPED
LENGTHS = st.integers(0, 60)
SIZES = st.integers(1, 12)
GROUPS = st.sampled_from(["newest", "anchored"])
UNITS = {"s": 1, "m": 60, "h": 60 * 60, "d": 24 * 60 * 60, "w": 7 * 24 * 60 * 60}
DURATIONS = st.tuples(st.integers(1, 100), st.sampled_from("smhdw"))
TIMES = st.lists(st.integers(0, 300_000) | st.integers(0, 100) | st.just(0), max_size=60).map(
    lambda pauses: [sum(pauses[: i + 1]) for i in range(len(pauses))]
)


def history(times):
    return History(np.arange(len(times)), np.array(times, dtype=np.int64))


def untimed(n):
    return History(np.arange(n))


def layout_of(labels):
    """Slow and obvious: compare each position with the one before."""
    spans = []
    for position, label in enumerate(labels):
        grain = label[0]
        if spans and labels[position - 1] == label:
            spans[-1][1] = position + 1
        else:
            spans.append([position, position + 1, grain])
    return Layout.of(tuple(span) for span in spans)


def count_group(i, n, L, groups):
    return (n - 1 - i) // L if groups == "newest" else i // L


def window_group(i, times, window, groups):
    return (times[-1] - times[i]) // window if groups == "newest" else (times[i] - times[0]) // window


def gap_group(i, times, gap):
    return sum(times[j] - times[j - 1] > gap for j in range(1, i + 1))


def pft_s_labels(group_of_position):
    """Groups in order from the newest: text, items, sessions."""
    newest_first = list(dict.fromkeys(reversed(group_of_position)))
    return [
        (TEXT,) if group == newest_first[0] else (ITEM,) if group == newest_first[1] else (SESSION, group)
        for group in group_of_position
    ]


@given(LENGTHS)
def test_vanilla_shows_every_item_as_text(n):
    assert vanilla.STRATEGY.bind().plan(untimed(n)) == layout_of([(TEXT,)] * n)


@given(LENGTHS)
def test_item_mean_shows_every_item_as_item_patch(n):
    assert item_mean.STRATEGY.bind().plan(untimed(n)) == layout_of([(ITEM,)] * n)


@given(LENGTHS, SIZES, GROUPS)
def test_a_fixed_count_of_items_becomes_a_session(n, L, groups):
    planned = session_by_count.STRATEGY.bind({"L": L, "groups": groups}).plan(untimed(n))
    assert planned == layout_of([(SESSION, count_group(i, n, L, groups)) for i in range(n)])


@given(TIMES, DURATIONS, GROUPS)
def test_items_of_one_time_window_become_a_session(times, duration, groups):
    window = duration[0] * UNITS[duration[1]]
    options = {"window": f"{duration[0]}{duration[1]}", "groups": groups}
    planned = session_by_time_window.STRATEGY.bind(options).plan(history(times))
    assert planned == layout_of([(SESSION, window_group(i, times, window, groups)) for i in range(len(times))])


@given(TIMES, DURATIONS, GROUPS)
def test_a_pause_longer_than_the_gap_starts_a_session(times, duration, groups):
    gap = duration[0] * UNITS[duration[1]]
    options = {"gap": f"{duration[0]}{duration[1]}", "groups": groups}
    planned = session_by_time_window.STRATEGY.bind(options).plan(history(times))
    assert planned == layout_of([(SESSION, gap_group(i, times, gap)) for i in range(len(times))])


@given(LENGTHS, st.integers(0, 12))
def test_pft_i_keeps_the_newest_items_as_text(n, M):
    planned = pft_i.STRATEGY.bind({"M": M}).plan(untimed(n))
    assert planned == layout_of([(TEXT,) if n - i <= M else (ITEM,) for i in range(n)])


@given(LENGTHS, SIZES, GROUPS)
def test_pft_s_shows_groups_as_text_items_and_sessions(n, L, groups):
    planned = pft_s.STRATEGY.bind({"L": L, "groups": groups}).plan(untimed(n))
    assert planned == layout_of(pft_s_labels([count_group(i, n, L, groups) for i in range(n)]))


@given(TIMES, DURATIONS, GROUPS)
def test_pft_s_groups_by_time_window(times, duration, groups):
    window = duration[0] * UNITS[duration[1]]
    planned = pft_s.STRATEGY.bind({"window": f"{duration[0]}{duration[1]}", "groups": groups}).plan(history(times))
    assert planned == layout_of(pft_s_labels([window_group(i, times, window, groups) for i in range(len(times))]))


@given(TIMES, DURATIONS)
def test_pft_s_groups_by_gap(times, duration):
    gap = duration[0] * UNITS[duration[1]]
    planned = pft_s.STRATEGY.bind({"gap": f"{duration[0]}{duration[1]}"}).plan(history(times))
    assert planned == layout_of(pft_s_labels([gap_group(i, times, gap) for i in range(len(times))]))


@given(LENGTHS, SIZES)
def test_dropout_drops_what_pft_i_compresses(n, M):
    planned = dropout.STRATEGY.bind({"M": M}).plan(untimed(n))
    compressed = pft_i.STRATEGY.bind({"M": M}).plan(untimed(n))
    assert planned == Layout.of(
        (span.start, span.stop, DROPPED if span.grain is ITEM else span.grain) for span in compressed.spans
    )


@given(st.lists(st.floats(0, 1, exclude_max=True), max_size=60), st.floats(0, 1))
def test_pretraining_compresses_an_item_when_its_draw_is_below_progress(draws, progress):
    moment = Moment(progress, np.array(draws))
    planned = patch_pretraining.STRATEGY.bind().plan(untimed(len(draws)), moment)
    assert planned == layout_of([(ITEM,) if draw < progress else (TEXT,) for draw in draws])
    raw = patch_pretraining.STRATEGY.bind({"schedule": "none"}).plan(untimed(len(draws)), moment)
    assert raw == layout_of([(TEXT,)] * len(draws))


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=60), st.floats(0, 1))
def test_pretraining_to_nothing_drops_what_would_be_a_patch_and_keeps_the_newest(draws, progress):
    for moment in (Moment(progress, np.array(draws)), Moment(progress), Moment()):
        patches = patch_pretraining.STRATEGY.bind().plan(untimed(len(draws)), moment)
        dropped = patch_pretraining.STRATEGY.bind({"into": "nothing"}).plan(untimed(len(draws)), moment)
        grains = [DROPPED if span.grain is ITEM else TEXT for span in patches.spans for _ in range(len(span))]
        assert dropped == layout_of([(grain,) for grain in [*grains[:-1], TEXT]])


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=60))
def test_pretraining_ends_with_item_patches_only(draws):
    first, last, evaluated = (
        patch_pretraining.STRATEGY.bind().plan(untimed(len(draws)), moment)
        for moment in (Moment(0.0, np.array(draws)), Moment(1.0, np.array(draws)), Moment())
    )
    assert first == layout_of([(TEXT,)] * len(draws))
    assert last == evaluated == layout_of([(ITEM,)] * len(draws))


def test_pretraining_without_draws_leaves_nothing_to_chance():
    planner = patch_pretraining.STRATEGY.bind()
    assert planner.plan(untimed(3), Moment(0.99)) == layout_of([(TEXT,)] * 3)


def test_pretraining_compresses_about_the_share_it_should():
    draws = np.random.default_rng(0).random(10_000)
    layout = patch_pretraining.STRATEGY.bind().plan(untimed(10_000), Moment(0.3, draws))
    share = sum(len(span) for span in layout.spans if span.grain is ITEM) / 10_000
    assert share == pytest.approx(0.3, abs=4 * (0.3 * 0.7 / 10_000) ** 0.5)


@given(st.integers(0, 80), SIZES)
def test_anchored_sessions_stay_put_while_a_history_grows(n, L):
    planner = pft_s.STRATEGY.bind({"L": L, "groups": "anchored"})
    sessions = [span for span in planner.plan(untimed(n)).spans if span.grain is SESSION]
    longer = [span for span in planner.plan(untimed(n + 1)).spans if span.grain is SESSION]
    assert longer[: len(sessions)] == sessions
    assert len(longer) - len(sessions) in (0, 1)


@given(st.integers(0, 1000), st.integers(0, 60), SIZES)
def test_groups_depend_on_the_window_not_on_where_it_was_cut(start, n, L):
    planner = pft_s.STRATEGY.bind({"L": L, "groups": "anchored"})
    assert planner.plan(History(np.arange(n), None, start)) == planner.plan(untimed(n))


# Source: the analytic compression ratios of the paper: K = 100 items of a tokens each, without separators.
@pytest.mark.parametrize(
    ("a", "strategy", "options", "ratio"),
    [
        (3.94, pft_i, {"M": 5}, 3.44),
        (9.82, pft_i, {"M": 5}, 6.81),
        (3.86, pft_i, {"M": 5}, 3.38),
        (3.94, pft_s, {"L": 5}, 9.23),
        (9.82, pft_s, {"L": 5}, 13.62),
        (3.86, pft_s, {"L": 20}, 3.85),
    ],
)
def test_layouts_have_the_compression_ratios_of_the_paper(a, strategy, options, ratio):
    K = 100
    layout = strategy.STRATEGY.bind(options).plan(untimed(K))
    cost = {TEXT: lambda span: len(span) * a, ITEM: len, SESSION: lambda span: 1}
    assert K * a / sum(cost[span.grain](span) for span in layout.spans) == pytest.approx(ratio, abs=0.005)


@pytest.mark.parametrize(
    ("duration", "expected"),
    [("90s", 90), ("30m", 30 * 60), ("12h", 12 * 3600), ("7d", 7 * 86_400), ("2w", 14 * 86_400)],
)
def test_a_duration_is_a_number_and_a_unit(duration, expected):
    assert seconds(duration) == expected


@pytest.mark.parametrize(
    "duration", ["", "7", "d", "0d", "-7d", "7 d", "1.5h", "7y", "7D", "7d12h", "9" * 10 + "s", "٧d"]
)
@pytest.mark.parametrize("strategy", [pft_s, session_by_time_window])
def test_another_duration_is_refused_with_examples(strategy, duration):
    with pytest.raises(UsageError, match="such as 30m, 12h or 7d"):
        strategy.STRATEGY.bind({"window": duration})


@pytest.mark.parametrize("options", [{}, {"window": "7d", "gap": "30m"}])
def test_sessions_by_time_need_exactly_one_of_window_and_gap(options):
    with pytest.raises(UsageError, match="exactly one of --window"):
        session_by_time_window.STRATEGY.bind(options)


@pytest.mark.parametrize("options", [{"L": 5, "window": "7d"}, {"L": 5, "gap": "30m"}, {"window": "7d", "gap": "30m"}])
def test_pft_s_takes_one_way_to_group(options):
    with pytest.raises(UsageError, match="give one of --L, --window and --gap"):
        pft_s.STRATEGY.bind(options)


def test_pft_s_counts_five_where_nothing_is_said():
    assert pft_s.STRATEGY.bind().label == "pft-s L=5"
    assert pft_s.STRATEGY.bind({"window": "7d"}).label == "pft-s window=7d"
    assert pft_s.STRATEGY.bind({"groups": "anchored"}).label == "pft-s L=5 groups=anchored"


@pytest.mark.parametrize("n", [0, 1, 12])
@pytest.mark.parametrize("strategy", [pft_s, session_by_time_window])
@pytest.mark.parametrize("options", [{"window": "7d"}, {"gap": "30m"}])
def test_groups_by_time_without_timestamps_say_what_is_missing(strategy, options, n):
    with pytest.raises(UsageError, match="need timestamps, and this history has none"):
        strategy.STRATEGY.bind(options).plan(make_history(n, timestamps=False))


@pytest.mark.parametrize("options", [{"L": 0}, {"L": -1}, {"L": 2.5}, {"L": "many"}, {"groups": "oldest"}, {"M": 5}])
def test_pft_s_refuses_other_options(options):
    with pytest.raises(UsageError, match="pft-s"):
        pft_s.STRATEGY.bind(options)


class TestVanilla(StrategyContract):
    strategy = vanilla.STRATEGY


class TestItemMean(StrategyContract):
    strategy = item_mean.STRATEGY


class TestSessionByCount(StrategyContract):
    strategy = session_by_count.STRATEGY


class TestSessionByCountOfOne(StrategyContract):
    strategy = session_by_count.STRATEGY
    options = {"L": 1, "groups": "anchored"}


class TestSessionByTimeWindow(StrategyContract):
    strategy = session_by_time_window.STRATEGY
    options = {"window": "7d"}


class TestSessionByGap(StrategyContract):
    strategy = session_by_time_window.STRATEGY
    options = {"gap": "30m"}


class TestPftI(StrategyContract):
    strategy = pft_i.STRATEGY


class TestPftIWithoutText(StrategyContract):
    strategy = pft_i.STRATEGY
    options = {"M": 0}


class TestPftS(StrategyContract):
    strategy = pft_s.STRATEGY


class TestPftSAnchored(StrategyContract):
    strategy = pft_s.STRATEGY
    options = {"L": 7, "groups": "anchored"}


class TestPftSByWindow(StrategyContract):
    strategy = pft_s.STRATEGY
    options = {"window": "12h", "groups": "anchored"}


class TestPftSByGap(StrategyContract):
    strategy = pft_s.STRATEGY
    options = {"gap": "1d"}


class TestDropout(StrategyContract):
    strategy = dropout.STRATEGY


class TestPatchPretraining(StrategyContract):
    strategy = patch_pretraining.STRATEGY


class TestPatchPretrainingToNothing(StrategyContract):
    strategy = patch_pretraining.STRATEGY
    options = {"into": "nothing"}


class TestPatchPretrainingThatNeverCompresses(StrategyContract):
    strategy = patch_pretraining.STRATEGY
    options = {"schedule": "none"}


@pytest.mark.parametrize("strategy", [pft_s.STRATEGY, session_by_count.STRATEGY], ids=lambda strategy: strategy.name)
def test_groups_follow_the_windows_unless_told(strategy):
    window = History(np.arange(12), start=50, anchored=True)
    newest, anchored = (strategy.bind({"groups": groups}).plan(window) for groups in ("newest", "anchored"))
    assert strategy.bind().plan(window) == anchored != newest
    assert strategy.bind().plan(untimed(12)) == newest


NAMED = History(np.arange(7), sessions=np.array([4, 4, 9, 9, 9, 4, 2]))


def test_sessions_of_the_data_set_are_groups():
    """A session ends where the next item is of another; a number that comes back is another visit."""
    layout = session_by_time_window.STRATEGY.bind({"sessions": "column"}).plan(NAMED)
    assert [(span.start, span.stop) for span in layout.spans] == [(0, 2), (2, 5), (5, 6), (6, 7)]
    assert pft_s.STRATEGY.bind({"sessions": "column"}).plan(NAMED) == Layout.of(
        [(0, 2, Grain.SESSION), (2, 5, Grain.SESSION), (5, 6, Grain.ITEM), (6, 7, Grain.TEXT)]
    )


@pytest.mark.parametrize("strategy", [session_by_time_window.STRATEGY, pft_s.STRATEGY])
def test_sessions_that_nobody_named_are_refused(strategy):
    with pytest.raises(UsageError, match="--session-col C"):
        strategy.bind({"sessions": "column"}).plan(History(np.arange(3)))


@pytest.mark.parametrize("strategy", [session_by_time_window.STRATEGY, pft_s.STRATEGY])
def test_strategies_by_named_sessions_keep_the_contract(strategy):
    check_strategy(strategy, sessions="column")
