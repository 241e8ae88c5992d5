"""Which targets are in which slice, by rules that the documentation states."""

from dataclasses import replace

import numpy as np
import pytest

from patchrec.data.catalog import Catalog
from patchrec.data.histories import Dataset, Example, Sequences
from patchrec.errors import UsageError
from patchrec.evaluation.slices import popularity_parts, session_places, slices

TITLES = ("a", "b", "c", "d")


def made_up(lengths, items=None, timestamps=None, metadata=(), train_stop=None, sessions=None):
    lengths = np.array(lengths)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    items = np.arange(offsets[-1]) % len(TITLES) if items is None else np.array(items)
    stop = lengths - 1 if train_stop is None else np.array(train_stop)
    users = tuple(f"u{user}" for user in range(len(lengths)))
    sequences = Sequences(users, offsets, items, timestamps, stop, stop, sessions)
    return Dataset("made-up", Catalog(TITLES, TITLES, metadata), sequences)


def names(dataset, examples, by=()):
    """The slices that each target is in."""
    found = slices(dataset, examples, by)
    return [{name for name, own in found.items() if own[number]} for number in range(len(examples))]


def test_history_length_counts_all_items_before_the_target():
    """Older than the window, too."""
    dataset = made_up([300])
    positions = {1: "0-9", 9: "0-9", 10: "10-19", 19: "10-19", 20: "20-49", 99: "50-99", 100: "100-199", 299: "200+"}
    found = names(dataset, [Example(0, max(0, position - 5), position) for position in positions])
    assert [next(name for name in own if name.startswith("history")) for own in found] == [
        f"history {part}" for part in positions.values()
    ]


def test_head_and_tail_have_a_fifth_of_the_train_interactions_each():
    """An item is in the head where those more popular have less than a fifth; in the tail where it and those no more
    popular have at most a fifth."""
    assert popularity_parts(np.array([15, 10, 60, 5, 10])).tolist() == ["middle", "middle", "head", "tail", "middle"]
    assert popularity_parts(np.array([10, 10, 60, 10, 10])).tolist() == ["middle", "middle", "head", "middle", "middle"]
    assert popularity_parts(np.array([1, 1, 9, 9])).tolist() == ["tail", "tail", "head", "head"]
    assert popularity_parts(np.array([19, 1, 80])).tolist() == ["tail", "tail", "head"]
    assert popularity_parts(np.array([0, 0])).tolist() == ["tail", "tail"]


def test_items_of_one_popularity_are_in_one_part():
    generator = np.random.default_rng(0)
    for _ in range(50):
        popularity = generator.integers(0, 5, generator.integers(1, 30))
        parts = popularity_parts(popularity)
        assert all(len(set(parts[popularity == count])) == 1 for count in np.unique(popularity))
        head, tail = (popularity[parts == name].sum() for name in ("head", "tail"))
        assert tail <= 0.2 * popularity.sum()
        assert head >= 0.2 * popularity.sum()
        assert set(parts[popularity == 0]) <= {"tail"}


def test_cold_items_and_new_users():
    dataset = made_up([4, 4], items=[0, 1, 0, 3, 0, 1, 0, 1], train_stop=[3, 0])
    found = names(dataset, [Example(0, 0, 3), Example(1, 0, 3)])
    assert [own & {"cold", "user new"} for own in found] == [{"cold"}, {"user new"}]


def test_a_session_ends_after_30_minutes_without_an_interaction():
    times = np.array([0, 1800, 3601, 3602, 0, 1])
    dataset = made_up([4, 2], timestamps=times)
    assert session_places(dataset).tolist() == [1, 2, 1, 2, 1, 2]
    found = names(dataset, [Example(0, 0, 2), Example(0, 0, 3), Example(1, 0, 1)])
    assert [next(name for name in own if name.startswith("session")) for own in found] == [
        "session 1", "session 2-5", "session 2-5",
    ]  # fmt: skip


def test_sessions_that_the_data_set_names_come_before_gaps():
    sessions = np.array([7, 7, 7, 7, 7, 7, 7, 3])
    dataset = made_up([8], timestamps=np.arange(8) * 86_400, sessions=sessions)
    assert session_places(dataset).tolist() == [1, 2, 3, 4, 5, 6, 7, 1]
    assert names(dataset, [Example(0, 0, 6)])[0] >= {"session 6+"}
    assert session_places(made_up([3])) is None


def test_a_list_counts_for_each_of_its_values():
    metadata = ({"genre": ["Drama", "Comedy"]}, {"genre": "Drama"}, {"genre": []}, {})
    dataset = made_up([5], metadata=metadata)
    found = names(dataset, [Example(0, 0, position) for position in range(1, 5)], by=["genre"])
    assert [{name for name in own if name.startswith("genre=")} for own in found] == [
        {"genre=Drama"}, set(), set(), {"genre=Comedy", "genre=Drama"},
    ]  # fmt: skip


def many(values):
    """A data set whose targets are of items with these values."""
    count = len(values)
    catalog = Catalog(tuple(map(str, range(count))), tuple(map(str, range(count))), tuple({"of": v} for v in values))
    sequences = Sequences(("u",), np.array([0, count + 1]), np.append(0, np.arange(count)), None, *[np.array([1])] * 2)
    return Dataset("made-up", catalog, sequences), [Example(0, 0, position) for position in range(1, count + 1)]


def test_many_numbers_are_cut_at_their_quartiles():
    dataset, examples = many([1900 + year for year in range(40)])
    found = {name: int(own.sum()) for name, own in slices(dataset, examples, ["of"]).items() if name.startswith("of=")}
    assert list(found) == ["of=1900 to 1910", "of=1911 to 1920", "of=1921 to 1930", "of=1931 to 1939"]
    assert sum(found.values()) == 40


def test_of_many_values_those_with_the_most_targets_stand_alone():
    dataset, examples = many([f"director {number // 2}" for number in range(40)] + ["x", "y", "z"])
    found = {name: int(own.sum()) for name, own in slices(dataset, examples, ["of"]).items() if name.startswith("of=")}
    assert len(found) == 20 + 1
    assert found["of=(any of 3 others)"] == 3


def test_an_unknown_field_names_those_there_are():
    metadata = ({"genre": "a", "year": 1},) * 4
    with pytest.raises(UsageError, match=r"did you mean 'genre'.*choices: genre, year"):
        slices(made_up([3], metadata=metadata), [Example(0, 0, 2)], by=["genres"])
    with pytest.raises(UsageError, match="have no fields"):
        slices(made_up([3]), [Example(0, 0, 2)], by=["genre"])


def test_a_slice_without_a_target_is_not_there():
    dataset = made_up([4])
    assert set(slices(dataset, [Example(0, 0, 3)])) == {"history 0-9", "popularity tail", "cold"}


def test_slices_do_not_depend_on_the_window():
    dataset = made_up([60], timestamps=np.arange(60) * 1000)
    assert names(dataset, [Example(0, 0, 50)]) == names(dataset, [Example(0, 45, 50, anchored=True)])
    assert names(replace(dataset, name="other"), [Example(0, 0, 50)]) == names(dataset, [Example(0, 45, 50)])
