"""Splits: contiguous, in time order, and never letting later events into an earlier split."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchrec.config import SPLITS
from patchrec.data.interactions import Interactions
from patchrec.data.splits import RULES, Arranged, Rule, Split, arrange, choose_split
from patchrec.errors import UsageError

Event = tuple[int, int, int]
"""User, item, time in milliseconds."""


def log(events: Sequence[Event], *, timed: bool = True) -> Interactions:
    users: dict[int, int] = {}
    numbers = [users.setdefault(user, len(users)) for user, _, _ in events]
    return Interactions(
        user_ids=tuple(str(user) for user in users),
        users=np.array(numbers, dtype=np.int64),
        items=np.array([item for _, item, _ in events], dtype=np.int64),
        milliseconds=np.array([time for _, _, time in events], dtype=np.int64) if timed else None,
        ratings=np.arange(len(events), dtype=np.float64),
    )


def placed(arranged: Arranged) -> dict[str, list[tuple[str, int, int | None]]]:
    """(user id, item, second) of every interaction, by split."""
    found: dict[str, list[tuple[str, int, int | None]]] = {split: [] for split in SPLITS}
    sequences = arranged.sequences
    for user, user_id in enumerate(sequences.user_ids):
        for split in SPLITS:
            first, stop = sequences.bounds(user, split)
            for place in range(sequences.offsets[user] + first, sequences.offsets[user] + stop):
                second = None if sequences.timestamps is None else int(sequences.timestamps[place])
                found[split].append((user_id, int(sequences.items[place]), second))
    return found


events = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 50), st.integers(0, 12).map(lambda time: time * 500)),
    min_size=1,
    max_size=60,
)
fractions = st.tuples(st.integers(1, 90), st.integers(0, 10)).map(lambda pair: (pair[0] / 100, pair[1] / 100))


@given(events, st.sampled_from(RULES), fractions)
def test_splits_cover_every_user_without_gap_in_time_order(
    events: list[Event], rule: Rule, parts: tuple[float, float]
) -> None:
    split = Split(rule=rule) if rule == "paper" else Split(rule=rule, train=parts[0], validation=parts[1])
    sequences = arrange(log(events), split).sequences
    lengths = np.diff(sequences.offsets)
    assert np.all(sequences.train_stop >= 0)
    assert np.all(sequences.train_stop <= sequences.validation_stop)
    assert np.all(sequences.validation_stop <= lengths)
    for user, user_id in enumerate(sequences.user_ids):
        expected = sorted(time // 1000 for one, _, time in events if str(one) == user_id)
        times = sequences.timestamps[sequences.offsets[user] : sequences.offsets[user + 1]]
        assert times.tolist() == expected


def assert_no_later_split_begins_before_an_earlier_one_ends(events: list[Event], split: Split) -> None:
    found = placed(arrange(log(events), split))
    latest = -1
    for name in SPLITS:
        times = [second for _, _, second in found[name]]
        assert not times or min(times) > latest
        latest = max([latest, *times])


@given(events, st.sampled_from(["paper", "temporal"]))
def test_no_event_at_or_after_a_target_is_in_an_earlier_split(events: list[Event], rule: Rule) -> None:
    assert_no_later_split_begins_before_an_earlier_one_ends(events, Split(rule=rule))


@pytest.mark.slow
@settings(max_examples=2000, deadline=None)
@given(events, st.sampled_from(["paper", "temporal"]), fractions)
def test_no_event_at_or_after_a_target_is_in_an_earlier_split_over_many_logs(
    events: list[Event], rule: Rule, parts: tuple[float, float]
) -> None:
    split = Split(rule=rule) if rule == "paper" else Split(rule=rule, train=parts[0], validation=parts[1])
    assert_no_later_split_begins_before_an_earlier_one_ends(events, split)


@given(events, st.sampled_from(["temporal", "leave-one-out", "ratio"]))
def test_equal_times_keep_file_order(events: list[Event], rule: Rule) -> None:
    numbered = [(user, place, time) for place, (user, _, time) in enumerate(events)]
    arranged = arrange(log(numbered), Split(rule=rule))
    expected = sorted(numbered, key=lambda event: event[2])
    for user, user_id in enumerate(arranged.sequences.user_ids):
        mine = [place for one, place, _ in expected if str(one) == user_id]
        assert arranged.sequences.items_of(user).tolist() == mine
    assert arranged.ratings.tolist() == arranged.sequences.items.tolist()


def test_cuts_in_time_take_exactly_the_fraction_where_there_are_no_ties() -> None:
    events = [(place % 7, place, place * 1000) for place in range(100)]
    found = placed(arrange(log(events), Split(rule="temporal", train=0.29, validation=0.57)))
    assert [len(found[split]) for split in SPLITS] == [29, 57, 14]
    assert [len(v) for v in placed(arrange(log(events), Split(rule="paper"))).values()] == [96, 2, 2]


def test_ties_at_a_cut_go_to_the_earlier_split() -> None:
    events = [(0, item, time) for item, time in enumerate([1000, 2000, 2000, 2999, 3000])]
    found = placed(arrange(log(events), Split(rule="temporal", train=0.4, validation=0.2)))
    assert [[item for _, item, _ in found[split]] for split in SPLITS] == [[0, 1, 2, 3], [], [4]]


@pytest.mark.parametrize(
    ("length", "expected"), [(1, (1, 0, 0)), (2, (1, 0, 1)), (3, (1, 1, 1)), (4, (2, 1, 1)), (9, (7, 1, 1))]
)
def test_leave_one_out_tests_the_last_and_validates_on_the_one_before(
    length: int, expected: tuple[int, int, int]
) -> None:
    found = placed(arrange(log([(0, item, 0) for item in range(length)], timed=False), Split(rule="leave-one-out")))
    assert tuple(len(found[split]) for split in SPLITS) == expected
    assert [item for split in SPLITS for _, item, _ in found[split]] == list(range(length))


@pytest.mark.parametrize(("length", "expected"), [(1, (0, 0, 1)), (10, (8, 1, 1)), (19, (15, 2, 2)), (30, (24, 3, 3))])
def test_ratio_cuts_each_user_at_its_fractions(length: int, expected: tuple[int, int, int]) -> None:
    events = [(user, item, 0) for user in range(2) for item in range(length)]
    found = placed(arrange(log(events), Split(rule="ratio", train=0.8, validation=0.1)))
    assert tuple(len(found[split]) for split in SPLITS) == tuple(2 * count for count in expected)


@pytest.mark.parametrize("rule", ["paper", "temporal"])
def test_cuts_in_time_need_times(rule: Rule) -> None:
    with pytest.raises(UsageError, match="needs times"):
        arrange(log([(0, 0, 0)], timed=False), Split(rule=rule))


def test_only_the_rule_of_the_paper_wants_three_earlier_items() -> None:
    assert {rule: Split(rule=rule).min_history for rule in RULES} == {
        "paper": 3,
        "temporal": 1,
        "leave-one-out": 1,
        "ratio": 1,
    }


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("papper", None, None), "did you mean 'paper'"),
        (("paper", 0.8, None), "0.96 train, 0.02 validation"),
        (("temporal", 0.9, 0.2), "more than 1 together"),
        (("ratio", 0.0, None), "greater than 0"),
    ],
)
def test_a_wrong_split_is_told_in_one_line(given: tuple[str, float | None, float | None], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        choose_split(*given)


@given(events, st.data())
def test_selecting_numbers_users_by_first_appearance(events: list[Event], data: st.DataObject) -> None:
    mask = data.draw(st.lists(st.booleans(), min_size=len(events), max_size=len(events)))
    kept = [event for event, keep in zip(events, mask, strict=True) if keep]
    selected, expected = log(events).select(np.array(mask)), log(kept)
    assert selected.user_ids == expected.user_ids
    assert selected.users.tolist() == expected.users.tolist()
    assert selected.items.tolist() == expected.items.tolist()
