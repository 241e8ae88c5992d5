"""Versions of a data set: whatever came since, each can be read again as it was."""

import random
from dataclasses import replace

import numpy as np
import pytest
from store_dump import dump

from patchrec.config import RunConfig
from patchrec.data.growth import grow, resplit, unchanged
from patchrec.data.histories import Dataset
from patchrec.data.interactions import Interactions
from patchrec.data.splits import Split
from patchrec.errors import CorruptError, UsageError
from patchrec.store import Store

CONFIG = RunConfig(stage="baseline", dataset="toy", backbone=None)


def arrivals(luck: random.Random, number: int) -> Interactions:
    users = [luck.choice(["ann", "bob", "007", "eve", f"u{luck.randrange(4)}"]) for _ in range(number)]
    ids = tuple(dict.fromkeys(users))
    return Interactions(
        ids,
        np.array([ids.index(user) for user in users], dtype=np.int64),
        np.array([luck.randrange(6) for _ in users], dtype=np.int64),
        np.array([luck.randrange(200) * 1000 for _ in users], dtype=np.int64),
        np.array([luck.choice([1.5, float("nan")]) for _ in users]),
    )


def append(store: Store, found: Interactions | None, rule: Split | None = None) -> None:
    dataset, about = store.datasets.load("toy"), store.datasets.show("toy")
    growth = unchanged(dataset.sequences, {}) if found is None else grow(dataset.sequences, found, about["split"])
    if rule is not None:
        growth = resplit(growth, rule)
    store.versions.append(dataset, growth, dataset.catalog, split=growth.split, min_history=1)


def learn(store: Store) -> None:
    """A run of today's version, which somebody may want to use later."""
    prints = {"split": store.datasets.load("toy").sequences.fingerprint}
    store.runs.create(CONFIG, label="counts", versions={}, fingerprints=prints)


@pytest.mark.parametrize("seed", range(6))
def test_every_version_is_read_again_as_it_was(toy_store: Store, seed: int) -> None:
    luck, known = random.Random(seed), [toy_store.datasets.load("toy").sequences]
    rules = [Split(rule="leave-one-out"), Split(rule="temporal", train=0.5, validation=0.2), Split(rule="ratio")]
    learn(toy_store)
    for number in range(6):
        rule = luck.choice(rules) if luck.random() < 0.4 else None
        append(toy_store, arrivals(luck, luck.randrange(1, 12)) if number % 3 or rule is None else None, rule)
        learn(toy_store)
        known.append(toy_store.datasets.load("toy").sequences)  # which compares it with its fingerprint
    today, versions = known[-1], toy_store.versions.all("toy")
    for version, then in zip(versions, known, strict=True):
        found, places = toy_store.versions.sequences("toy", version, today)
        assert (found.fingerprint, version.num_users) == (then.fingerprint, len(then))
        assert np.array_equal(today.items[places], then.items)
        assert toy_store.datasets.load_as("toy", then.fingerprint).sequences.fingerprint == then.fingerprint
    summary = toy_store.datasets.show("toy")["summary"]
    assert (summary["users"], summary["interactions"]) == (len(today), len(today.items))
    assert toy_store.rows("PRAGMA foreign_key_check") == []


def test_what_moves_for_a_late_one_keeps_rating_and_version(store: Store, toy: Dataset) -> None:
    store.datasets.add(toy, source="s", licence="l", split={}, ratings=np.arange(12.0))
    late = Interactions(("ann",), np.array([0, 0]), np.array([5, 5]), np.array([5000, 25000]), np.array([9.0, 8.0]))
    append(store, late)
    rows = store.rows("SELECT position, timestamp, rating, version FROM interactions WHERE user = 0 ORDER BY position")
    assert rows == [
        (0, 0, 0.0, 1), (1, 5, 9.0, 2), (2, 10, 1.0, 1), (3, 20, 2.0, 1), (4, 25, 8.0, 2), (5, 30, 3.0, 1),
        (6, 40, 4.0, 1),
    ]  # fmt: skip


def test_a_version_that_is_not_what_it_was_is_refused(toy_store: Store) -> None:
    append(toy_store, arrivals(random.Random(0), 3))
    first = toy_store.versions.all("toy")[0]
    today = toy_store.datasets.load("toy").sequences
    with pytest.raises(CorruptError, match="version 1 of data set 'toy' cannot be read as it was"):
        toy_store.versions.sequences("toy", replace(first, fingerprint="another"), today)


def test_a_write_that_fails_half_way_leaves_the_data_set_as_it_was(
    toy_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = dump(toy_store)
    for broken in ("note", "_insert"):
        with monkeypatch.context() as patch:
            patch.setattr(f"patchrec.store.versions.DataVersions.{broken}", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                append(toy_store, arrivals(random.Random(0), 9), Split(rule="leave-one-out"))
        assert dump(toy_store) == before


def test_the_versions_of_a_removed_data_set_go_with_it(toy_store: Store) -> None:
    append(toy_store, arrivals(random.Random(0), 3), Split(rule="ratio"))
    learn(toy_store)
    append(toy_store, None, Split(rule="leave-one-out"))
    assert toy_store.rows("SELECT count(*) FROM former_splits") != [(0,)]
    with toy_store.write() as db:
        db.execute("DELETE FROM runs")
    toy_store.datasets.remove("toy")
    assert toy_store.rows("SELECT (SELECT count(*) FROM data_versions) + (SELECT count(*) FROM former_splits)") == [
        (0,)
    ]


def test_splits_that_nobody_learned_from_are_not_kept(toy_store: Store) -> None:
    for rule in ("ratio", "leave-one-out", "ratio"):
        append(toy_store, None, Split(rule=rule))
    assert toy_store.rows("SELECT count(*) FROM former_splits") == [(0,)]


def test_a_data_set_names_the_runs_and_groups_that_keep_it(toy_store: Store) -> None:
    learn(toy_store)
    learn(toy_store)
    with toy_store.write() as db:
        db.execute("UPDATE runs SET seed_group = 'trio' WHERE id = 1")
    with pytest.raises(UsageError, match=r"has runs \(title-1, title-2\), of groups of seeds trio; remove them first"):
        toy_store.datasets.remove("toy")


def test_users_are_listed_in_order_of_appearance(toy_store: Store) -> None:
    number, users = toy_store.datasets.users("toy")
    assert (number, [(user.user_id, user.interactions, user.first, user.last) for user in users]) == (
        3,
        [("ann", 5, 0, 40), ("bob", 3, 50, 70), ("007", 4, 80, 110)],
    )
    assert [user.user_id for user in toy_store.datasets.users("toy", "B")[1]] == ["bob"]
    assert toy_store.datasets.users("toy", "%") == (0, [])
    assert [user.user_id for user in toy_store.datasets.users("toy", limit=1)[1]] == ["ann"]
