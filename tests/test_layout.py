from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchrec.layout import Grain, Layout, Span

TEXT, ITEM, SESSION, DROPPED = Grain.TEXT, Grain.ITEM, Grain.SESSION, Grain.DROPPED
GRAINS = st.sampled_from(list(Grain))


def test_neighbours_of_one_grain_become_one_span():
    layout = Layout.of([(0, 2, ITEM), (2, 3, ITEM), (3, 5, TEXT)])
    assert layout.spans == (Span(0, 3, ITEM), Span(3, 5, TEXT))


def test_neighbouring_sessions_stay_apart():
    layout = Layout.of([(0, 2, SESSION), (2, 4, SESSION)])
    assert layout.spans == (Span(0, 2, SESSION), Span(2, 4, SESSION))


def test_empty_spans_vanish():
    assert Layout.of([(0, 0, SESSION), (0, 3, TEXT), (3, 3, ITEM)]) == Layout.of([(0, 3, TEXT)])


def test_an_empty_history_has_an_empty_layout():
    assert Layout.of([]).spans == ()
    assert len(Layout.of([])) == 0
    assert Layout.of([]).num_units == 0


def test_a_session_is_one_unit_and_dropped_items_are_none():
    layout = Layout.of([(0, 4, DROPPED), (4, 9, SESSION), (9, 11, ITEM), (11, 14, TEXT)])
    assert len(layout) == 14
    assert layout.num_units == 0 + 1 + 2 + 3


def test_numpy_positions_become_plain_numbers():
    np = pytest.importorskip("numpy")
    span = Layout.of([(np.int64(0), np.int64(2), TEXT)]).spans[0]
    assert (type(span.start), type(span.stop)) == (int, int)


def test_a_grain_may_be_given_by_its_name():
    assert Layout.of([(0, 2, "item")]) == Layout.of([(0, 2, ITEM)])


@pytest.mark.parametrize(
    "spans",
    [
        [(1, 2, TEXT)],
        [(0, 2, TEXT), (3, 4, ITEM)],
        [(0, 2, TEXT), (1, 4, ITEM)],
        [(0, 2, TEXT), (3, 4, TEXT)],
        [(0, 2, TEXT), (1, 4, TEXT)],
        [(2, 4, ITEM), (0, 2, TEXT)],
        [(-1, 2, TEXT)],
        [(0, 2, "picture")],
    ],
)
def test_gaps_overlaps_and_unknown_grains_are_refused(spans):
    with pytest.raises(ValueError):
        Layout.of(spans)


@pytest.mark.parametrize(
    "spans",
    [
        ((0, 2, TEXT),),
        (Span(0, 2, "text"),),
        (Span(0, 0, TEXT),),
        (Span(0, 1, TEXT), Span(1, 2, TEXT)),
    ],
)
def test_the_constructor_takes_joined_spans_only(spans):
    with pytest.raises(ValueError):
        Layout(spans)


@given(st.lists(st.tuples(st.integers(0, 3), GRAINS), max_size=30))
def test_a_layout_tells_the_same_of_every_position_as_its_parts(parts):
    spans, expected, position = [], [], 0
    for number, (size, grain) in enumerate(parts):
        spans.append((position, position + size, grain))
        expected += [(grain, number if grain is SESSION else None)] * size
        position += size
    layout = Layout.of(spans)
    told = [span for span in layout.spans for _ in range(len(span))]
    assert [span.grain for span in told] == [grain for grain, _ in expected]
    pairs = list(zip(told, expected, strict=True))
    for (span, (grain, session)), (next_span, (next_grain, next_session)) in pairwise(pairs):
        assert (span == next_span) == (grain == next_grain and session == next_session)
    assert len(layout) == position
