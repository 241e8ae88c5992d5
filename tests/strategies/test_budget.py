"""The strategy with a budget: never above it, never coarser with more of it, and full where that can be."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchrec.errors import UsageError
from patchrec.history import History, Lengths
from patchrec.layout import Grain, Layout
from patchrec.model.patching import PathEncoder
from patchrec.model.prompt import Prompt
from patchrec.model.titles import TitleTokens
from patchrec.testing import StrategyContract, make_history
from patchrec_strategies import budget, vanilla

FINENESS = {Grain.DROPPED: 0, Grain.SESSION: 1, Grain.ITEM: 2, Grain.TEXT: 3}
STRATEGY = budget.STRATEGY
BUDGETS = st.integers(2, 400)
EMPTY = np.empty(0, dtype=np.int64)


@st.composite
def prompts(draw):
    """A history, and the encoder of its prompts: any lengths of titles, with or without times, either separators."""
    lengths = draw(st.lists(st.integers(1, 30), max_size=40))
    pauses = draw(st.none() | st.lists(st.sampled_from([0, 0, 1, 60, 3600, 90_000]), min_size=40, max_size=40))
    ids = np.arange(sum(lengths), dtype=np.int64) % 50
    titles = TitleTokens(ids, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))
    prompt = Prompt(np.array([1, 2, 3]), np.array([4]), 60, 60, draw(st.booleans()))
    times = None if pauses is None else np.cumsum(pauses)[: len(lengths)]
    history = History(np.arange(len(lengths)), times, anchored=draw(st.booleans()))
    return history, PathEncoder(prompt, titles, 100)


def planned(case, tokens):
    history, encoder = case
    return encoder.measured(STRATEGY.bind({"tokens": tokens})).plan(history)


def positions(case, layout):
    """What the history takes of the prompt, counted as the prompt is made."""
    history, encoder = case
    return len(encoder.prompt_path(history, layout)) - len(encoder.prompt.head) - len(encoder.prompt.tail)


def grains(layout):
    """Of every position its grain and the span that it shares with others, itself where it shares none."""
    return [
        (FINENESS[span.grain], (span.start, span.stop) if span.grain is Grain.SESSION else (place, place + 1))
        for span in layout.spans
        for place in range(span.start, span.stop)
    ]


@given(prompts(), BUDGETS)
def test_a_history_never_takes_more_than_its_budget(case, tokens):
    layout = planned(case, tokens)
    assert positions(case, layout) <= tokens
    assert Grain.DROPPED not in {span.grain for span in layout.spans}


@settings(max_examples=200)
@given(prompts(), BUDGETS, st.integers(0, 60))
def test_a_larger_budget_shows_every_item_at_least_as_fine(case, tokens, more):
    less, larger = grains(planned(case, tokens)), grains(planned(case, tokens + more))
    for (coarse, (start, stop)), (fine, (inner_start, inner_stop)) in zip(less, larger, strict=True):
        assert fine >= coarse
        assert start <= inner_start < inner_stop <= stop


@given(prompts(), BUDGETS)
def test_what_is_left_of_a_budget_is_less_than_a_step(case, tokens):
    """A step: the title that would be text next, an item patch and a session, each with a separator."""
    history, encoder = case
    layout = planned(case, tokens)
    if layout != vanilla.STRATEGY.bind().plan(history):
        longest = int(encoder.titles.lengths.max()) + 1
        assert tokens - positions(case, layout) < longest + 2 * 2


@given(prompts())
def test_a_budget_for_all_titles_shows_all_titles(case):
    history, _ = case
    everything = vanilla.STRATEGY.bind().plan(history)
    assert planned(case, max(2, positions(case, everything))) == everything


@given(prompts(), BUDGETS)
def test_older_items_are_never_finer_but_for_sessions_of_one(case, tokens):
    layout = planned(case, tokens)
    order = [span.grain for span in layout.spans]
    assert Grain.TEXT not in order[:-1]


def lasting(history, lengths):
    return replace(history, measure=lambda: Lengths(np.array(lengths), 2))


def test_sessions_end_at_the_longest_pauses():
    days = np.array([0, 0, 9, 9, 9, 10, 11, 40, 40, 40, 40, 41])
    history = lasting(History(np.arange(12), days * 86_400), [6] * 12)
    layout = STRATEGY.bind({"tokens": 6 + 2 + 2 * 2 + 4}).plan(history)
    # level 16: 8 for text are one title, 4 for two item patches, 4 for two sessions
    assert layout == Layout.of(
        [(0, 7, Grain.SESSION), (7, 9, Grain.SESSION), (9, 11, Grain.ITEM), (11, 12, Grain.TEXT)]
    )


def test_without_times_sessions_are_of_like_size():
    history = lasting(History(np.arange(32)), [20] * 32)
    layout = STRATEGY.bind({"tokens": 20}).plan(history)
    sizes = [len(span) for span in layout.spans if span.grain is Grain.SESSION]
    assert len(sizes) == 4
    assert max(sizes) <= 12


def test_a_title_beyond_the_budget_becomes_a_patch():
    history = lasting(History(np.arange(3)), [3, 3, 50])
    assert STRATEGY.bind({"tokens": 20}).plan(history) == Layout.of([(0, 3, Grain.ITEM)])


def test_a_budget_needs_something_to_count_with():
    with pytest.raises(UsageError, match="--backbone"):
        STRATEGY.bind().plan(History(np.arange(3)))


@pytest.mark.parametrize("tokens", [0, 1, -5, 2.5, "many"])
def test_a_budget_holds_one_patch_at_least(tokens):
    with pytest.raises(UsageError, match="tokens"):
        STRATEGY.bind({"tokens": tokens})


def test_a_planner_is_measured_by_the_encoder_of_its_prompts():
    """Counted as the prompt is made: separators after titles alone take less, so more fits."""
    titles = TitleTokens(np.zeros(40, dtype=np.int64), np.arange(0, 41, 4))
    history = History(np.arange(10))
    sizes = []
    for after_patches in (True, False):
        encoder = PathEncoder(Prompt(EMPTY, EMPTY, 9, 9, after_patches), titles, 10)
        layout = encoder.measured(STRATEGY.bind({"tokens": 30})).plan(history)
        assert len(encoder.prompt_path(history, layout)) == encoder.num_positions(history, layout) <= 30
        sizes.append(sum(len(span) for span in layout.spans if span.grain is Grain.TEXT))
    assert sizes[0] < sizes[1]


class TestBudget(StrategyContract):
    strategy = STRATEGY


class TestSmallBudget(StrategyContract):
    strategy = STRATEGY
    options = {"tokens": 2}


def test_a_history_cut_at_its_beginning_keeps_what_it_knows():
    history = make_history(20)
    rest = history.since(5)
    assert rest.items.tolist() == history.items[5:].tolist()
    assert rest.start == 5
    assert rest.field("year") == history.field("year")[5:]
    assert rest.text_positions.tolist() == history.text_positions[5:].tolist()
    assert np.array_equal(rest.ratings, history.ratings[5:], equal_nan=True)
    assert History(np.arange(2)).field("year") == [None, None]
