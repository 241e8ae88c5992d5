"""New interactions among stored ones: what stands where, and of which split it is."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchrec.data.growth import first_rows, grow, resplit
from patchrec.data.histories import Sequences
from patchrec.data.interactions import Interactions
from patchrec.data.splits import Split, arrange, cut
from patchrec.errors import InputError

Event = tuple[str, int, int]  # user, item, second
CUTS = {"rule": "temporal", "train": 0.5, "validation": 0.25, "train_until": 20, "validation_until": 30}
RATIO = {"rule": "ratio", "train": 0.5, "validation": 0.25}


def interactions(events: list[Event], *, timed: bool = True) -> Interactions:
    ids = tuple(dict.fromkeys(user for user, _, _ in events))
    return Interactions(
        user_ids=ids,
        users=np.array([ids.index(user) for user, _, _ in events], dtype=np.int64),
        items=np.array([item for _, item, _ in events], dtype=np.int64),
        milliseconds=np.array([second * 1000 for _, _, second in events], dtype=np.int64) if timed else None,
    )


def stored(events: list[Event], split: dict, *, timed: bool = True) -> Sequences:
    """Sequences of events that are cut as a rule says, at the moments that it names."""
    arranged = arrange(interactions(events, timed=timed), Split(rule="leave-one-out")).sequences
    if "train_until" not in split:
        rule = Split(**{key: split[key] for key in ("rule", "train", "validation") if key in split})
        train_stop, validation_stop, _ = cut(rule, arranged.offsets, arranged.timestamps)
    else:
        train_stop, validation_stop = (
            np.array(
                [int((arranged.timestamps[arranged.offsets[user] : arranged.offsets[user + 1]] <= moment).sum())
                 for user in range(len(arranged))]
            )
            for moment in (split["train_until"], split["validation_until"])
        )  # fmt: skip
    return replace(arranged, train_stop=train_stop.astype(np.int64), validation_stop=validation_stop.astype(np.int64))


def events_of(sequences: Sequences) -> list[list[tuple[int, int]]]:
    times = sequences.timestamps
    assert times is not None
    pairs = list(zip(sequences.items.tolist(), times.tolist(), strict=True))
    return [pairs[a:b] for a, b in zip(sequences.offsets[:-1], sequences.offsets[1:], strict=True)]


OLD = [("a", 1, 10), ("a", 2, 20), ("a", 3, 40), ("b", 1, 15), ("b", 4, 25)]


def test_what_is_newest_stands_last_and_is_test():
    found = grow(stored(OLD, CUTS), interactions([("a", 7, 50), ("c", 8, 60), ("a", 5, 45)]), CUTS)
    assert found.sequences.user_ids == ("a", "b", "c")
    assert events_of(found.sequences) == [[(1, 10), (2, 20), (3, 40), (5, 45), (7, 50)], [(1, 15), (4, 25)], [(8, 60)]]
    assert found.sequences.train_stop.tolist() == [2, 1, 0]
    assert found.sequences.validation_stop.tolist() == [2, 2, 0]
    assert found.account == {
        "interactions": 3, "users": 1, "late": 0, "into_train": 0, "into_validation": 0, "repeated": 0,
    }  # fmt: skip


def test_what_is_late_stands_at_its_time_after_what_is_stored_of_that_second():
    found = grow(stored(OLD, CUTS), interactions([("a", 7, 20), ("b", 9, 5), ("b", 8, 25)]), CUTS)
    assert events_of(found.sequences) == [[(1, 10), (2, 20), (7, 20), (3, 40)], [(9, 5), (1, 15), (4, 25), (8, 25)]]
    assert found.sequences.train_stop.tolist() == [3, 2]
    assert (found.account["late"], found.account["into_train"], found.account["into_validation"]) == (2, 2, 1)


def test_without_cuts_what_is_late_is_of_the_split_of_what_comes_next():
    old = stored([("a", item, 10 * item) for item in range(1, 5)], {"rule": "leave-one-out"})
    assert (old.train_stop.tolist(), old.validation_stop.tolist()) == ([2], [3])
    for second, stops in ((5, (3, 4)), (15, (3, 4)), (25, (2, 4)), (35, (2, 3)), (45, (2, 3))):
        found = grow(old, interactions([("a", 9, second)]), {"rule": "leave-one-out"}).sequences
        assert (int(found.train_stop[0]), int(found.validation_stop[0])) == stops, second


def test_under_leave_one_out_a_new_user_is_all_test_until_a_new_split():
    found = grow(stored(OLD, {"rule": "leave-one-out"}), interactions([("c", 1, 1), ("c", 2, 2), ("c", 3, 3)]), {})
    assert found.sequences.train_stop[2] == found.sequences.validation_stop[2] == 0
    again = resplit(found, Split(rule="leave-one-out"))
    assert (int(again.sequences.train_stop[2]), int(again.sequences.validation_stop[2])) == (1, 2)


def test_what_is_stored_already_is_left_out_or_kept():
    new = interactions([("a", 2, 20), ("a", 3, 20), ("b", 4, 25), ("c", 4, 25)])
    assert grow(stored(OLD, CUTS), new, CUTS).account["repeated"] == 2
    kept = grow(stored(OLD, CUTS), new, CUTS, keep_repeats=True)
    assert (kept.account["repeated"], len(kept)) == (0, 4)


def test_without_times_the_order_is_that_of_arrival_and_nothing_is_a_repeat():
    old = stored(OLD, RATIO, timed=False)
    found = grow(old, interactions([("b", 1, 0), ("b", 1, 0)], timed=False), RATIO)
    assert found.sequences.items_of(1).tolist() == [1, 4, 1, 1]
    assert (found.account["interactions"], found.account["late"]) == (2, 0)


def test_named_sessions_of_a_new_file_are_new_sessions():
    old = replace(stored(OLD, CUTS), sessions=np.array([0, 0, 3, 1, 2]))
    new = replace(interactions([("a", 5, 50), ("a", 6, 51), ("b", 6, 51)]), sessions=np.array([0, 0, 1]))
    assert grow(old, new, CUTS).sequences.sessions.tolist() == [0, 0, 3, 4, 4, 1, 2, 5]


@pytest.mark.parametrize(("timed", "words"), [(True, "has no times and the file has"), (False, "the file has none")])
def test_times_are_everywhere_or_nowhere(timed: bool, words: str):
    old = stored(OLD, RATIO, timed=not timed)
    with pytest.raises(InputError, match=words):
        grow(old, interactions([("a", 1, 1)], timed=timed), RATIO)


EVENTS = st.lists(st.tuples(st.sampled_from("abcde"), st.integers(0, 5), st.integers(0, 50)), min_size=1, max_size=30)


@settings(max_examples=60)
@given(EVENTS, EVENTS, st.sampled_from([CUTS, RATIO, {"rule": "leave-one-out"}]))
def test_any_log_grows_as_one_that_was_whole_from_the_start(old: list[Event], new: list[Event], split: dict):
    before = stored(old, split)
    found = grow(before, interactions(new), split)
    known = {(user, item, second) for user, item, second in old}
    fresh = [event for event in new if event not in known]
    # the order: all of it sorted by time, what was stored first
    whole = stored(old + fresh, split)
    if fresh:
        assert found.sequences.user_ids == whole.user_ids
        assert events_of(found.sequences) == events_of(whole)
    assert (len(found), found.account["repeated"]) == (len(fresh), len(new) - len(fresh))
    sequences = found.sequences
    # what was stored is there in its order, and of the split that it was of
    mask = np.ones(len(sequences.items), dtype=np.bool_)
    mask[sequences.offsets[found.users] + found.positions] = False
    counted = np.concatenate([[0], np.cumsum(mask)])
    stops = [
        counted[sequences.offsets[: len(before)] + stop[: len(before)]] - counted[sequences.offsets[: len(before)]]
        for stop in (sequences.train_stop, sequences.validation_stop)
    ]
    assert first_rows(sequences, mask, len(before), *stops).fingerprint == before.fingerprint
    assert (sequences.train_stop <= sequences.validation_stop).all()
    assert (sequences.validation_stop <= np.diff(sequences.offsets)).all()
    if split is CUTS and fresh:  # and of the moments that cut
        assert sequences.train_stop.tolist() == whole.train_stop.tolist()
        assert sequences.validation_stop.tolist() == whole.validation_stop.tolist()


def test_ratings_grow_beside_their_interactions():
    """A rating is the item's number here, so that whoever moves one without the other is found."""
    plain, more = stored(OLD, CUTS), interactions([("a", 7, 20), ("b", 9, 5), ("c", 8, 60)])
    rated, given_ = replace(plain, ratings=plain.items * 1.0), replace(more, ratings=more.items * 1.0)
    both = grow(rated, given_, CUTS).sequences
    assert both.ratings.tolist() == both.items.tolist()
    late = grow(rated, more, CUTS).sequences
    assert np.isnan(late.ratings).tolist() == np.isin(late.items, more.items).tolist()
    early = grow(plain, given_, CUTS).sequences
    assert np.isnan(early.ratings).tolist() == (~np.isin(early.items, more.items)).tolist()
    assert grow(plain, more, CUTS).sequences.ratings is None
    kept = first_rows(both, both.items < 7, 2, plain.train_stop, plain.validation_stop)
    assert kept.ratings.tolist() == kept.items.tolist()
