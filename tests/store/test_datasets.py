"""Data sets in the store: what goes in comes out."""

from dataclasses import replace

import numpy as np
import pytest

from patchrec.config import RunConfig
from patchrec.data.histories import Dataset, Sequences
from patchrec.errors import CorruptError, NotFoundError, UsageError
from patchrec.store import Store


def test_a_data_set_comes_back_as_it_was(store: Store, toy: Dataset) -> None:
    catalog = replace(toy.catalog, titles=("007", "NA", "1e5", " a ", "<|eot_id|>", "😀\u202e"))
    catalog = replace(catalog, metadata=tuple({"year": year} for year in range(6)))
    dataset = replace(toy, catalog=catalog, min_history=3, noun="book", verb="read")
    store.datasets.add(dataset, source="here", licence="free", split={"rule": "ratio"}, ratings=np.full(12, 4.5))
    loaded = store.datasets.load("toy")
    assert loaded.catalog == catalog
    assert loaded.sequences.fingerprint == dataset.sequences.fingerprint
    assert (loaded.min_history, loaded.noun, loaded.verb) == (3, "book", "read")
    assert store.rows("SELECT DISTINCT rating FROM interactions") == [(4.5,)]


def test_a_data_set_without_times_comes_back_without_times(store: Store, toy: Dataset) -> None:
    store.datasets.add(
        replace(toy, sequences=replace(toy.sequences, timestamps=None)), source="s", licence="l", split={}
    )
    assert store.datasets.load("toy").sequences.timestamps is None


def test_a_user_without_interactions_keeps_its_place(store: Store, toy: Dataset) -> None:
    sequences = Sequences(
        user_ids=("a", "b", "c"),
        offsets=np.array([0, 2, 2, 3]),
        items=np.array([5, 0, 1]),
        timestamps=None,
        train_stop=np.array([1, 0, 0]),
        validation_stop=np.array([1, 0, 0]),
    )
    store.datasets.add(replace(toy, sequences=sequences), source="s", licence="l", split={})
    loaded = store.datasets.load("toy").sequences
    assert [loaded.items_of(user).tolist() for user in range(3)] == [[5, 0], [], [1]]


def test_what_is_known_is_shown(toy_store: Store) -> None:
    shown = toy_store.datasets.show("toy")
    assert (shown["source"], shown["licence"], shown["split"]) == ("made up", "none", {"rule": "leave-one-out"})
    summary = shown["summary"]
    assert (summary["users"], summary["items"], summary["titles"], summary["interactions"]) == (3, 6, 5, 5 + 3 + 4)
    assert (summary["shortest"], summary["longest"]) == (3, 5)
    assert summary["splits"]["train"] == {"interactions": 3 + 1 + 2, "targets": 2 + 0 + 1, "users": 2}
    assert summary["splits"]["test"] == {"interactions": 3, "targets": 3, "users": 3}
    assert (summary["first_timestamp"], summary["last_timestamp"]) == (0, 110)


def test_counts_of_targets_are_those_of_the_examples(toy: Dataset) -> None:
    for min_history in range(5):
        dataset = replace(toy, min_history=min_history)
        for split in ("train", "validation", "test"):
            assert dataset.num_targets(split) == len(dataset.examples(split, 100))


def test_a_name_is_taken_once(toy_store: Store, toy: Dataset) -> None:
    with pytest.raises(UsageError, match="there already; remove it with `patchrec data rm toy`"):
        toy_store.datasets.add(toy, source="s", licence="l", split={})


@pytest.mark.parametrize(
    "name", ["", "..", "../up", "a/b", "a\\b", ".hidden", "a b", "a\n", "ä", "x" * 65, "-rf", "a\0"]
)
def test_names_cannot_leave_the_store(name: str, store: Store, toy: Dataset) -> None:
    with pytest.raises(UsageError, match="cannot name a data set"):
        store.datasets.add(replace(toy, name=name), source="s", licence="l", split={})
    assert store.datasets.names() == []


def test_an_unknown_name_gets_a_guess_and_the_choices(toy_store: Store) -> None:
    for action in (toy_store.datasets.load, toy_store.datasets.show, toy_store.datasets.remove, toy_store.datasets.use):
        with pytest.raises(NotFoundError, match=r"no data set 'tuy'; did you mean 'toy'\?; choices: toy"):
            action("tuy")


def test_removing_takes_everything_with_it(toy_store: Store) -> None:
    toy_store.datasets.use("toy")
    toy_store.datasets.remove("toy")
    assert toy_store.datasets.current() is None
    for table in ("datasets", "items", "users", "interactions", "settings"):
        assert toy_store.rows(f"SELECT count(*) FROM {table}") == [(0,)]


def test_a_data_set_with_runs_stays(toy_store: Store) -> None:
    config = RunConfig(stage="popularity", dataset="toy", backbone=None)
    toy_store.runs.create(config, label="popularity", versions={}, fingerprints={})
    with pytest.raises(UsageError, match=r"has runs \(popularity-1\)"):
        toy_store.datasets.remove("toy")


def test_the_data_set_is_named_or_current_or_the_only_one(store: Store, toy: Dataset) -> None:
    with pytest.raises(NotFoundError, match="patchrec data add ml-100k"):
        store.datasets.resolve(None)
    store.datasets.add(toy, source="s", licence="l", split={})
    assert store.datasets.resolve("toy") == ("toy", False)
    assert store.datasets.resolve(None) == ("toy", True)
    store.datasets.add(replace(toy, name="other"), source="s", licence="l", split={})
    with pytest.raises(UsageError, match=r"which data set.*other, toy"):
        store.datasets.resolve(None)
    store.datasets.use("other")
    assert store.datasets.resolve(None) == ("other", True)


def test_changed_rows_are_noticed(toy_store: Store) -> None:
    with toy_store.write() as db:
        db.execute("UPDATE items SET title = 'Other' WHERE item = 0")
    with pytest.raises(CorruptError, match="not what was stored"):
        toy_store.datasets.load("toy")


def test_a_failing_write_leaves_nothing(toy_store: Store, toy: Dataset) -> None:
    def add_and_fail() -> None:
        with toy_store.write():
            toy_store.datasets.add(replace(toy, name="other"), source="s", licence="l", split={})
            toy_store.datasets.use("other")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        add_and_fail()
    assert toy_store.datasets.names() == ["toy"]
    assert toy_store.datasets.current() is None


def test_a_reader_sees_one_state_while_another_writes(toy_store: Store) -> None:
    with Store.open(toy_store.home) as other, toy_store.read():
        assert toy_store.datasets.names() == ["toy"]
        other.datasets.remove("toy")
        assert toy_store.datasets.load("toy").name == "toy"
    assert toy_store.datasets.names() == []
