"""What is stored is checked block by block: the same fingerprints, the same findings, and nothing held."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from patchrec.data.catalog import Catalog
from patchrec.data.histories import Sequences
from patchrec.errors import CorruptError
from patchrec.store import fingerprints
from patchrec.store.fingerprints import catalog_fingerprint, check


@pytest.fixture(params=[1, 2, 5, 1000])
def rows_at_once(request, monkeypatch):
    monkeypatch.setattr(fingerprints, "ROWS_AT_ONCE", request.param)


def variants(toy):
    sequences = toy.sequences
    without_last = replace(sequences, offsets=np.append(sequences.offsets, 12), user_ids=(*sequences.user_ids, "none"))
    return {
        "timed": toy,
        "untimed": replace(toy, sequences=replace(sequences, timestamps=None)),
        "sessions": replace(toy, sequences=replace(sequences, sessions=np.arange(12) // 3)),
        "idle-user": replace(
            toy,
            sequences=replace(
                without_last,
                train_stop=np.append(sequences.train_stop, 0),
                validation_stop=np.append(sequences.validation_stop, 0),
            ),
        ),
        "odd-texts": replace(
            toy, catalog=Catalog(toy.catalog.item_ids, ('"a",', "\\", "é😀", "],[", " ", "x"), ({"a": 1},) * 6)
        ),
    }


@pytest.mark.parametrize("name", ["timed", "untimed", "sessions", "idle-user", "odd-texts"])
def test_blocks_of_any_size_give_the_fingerprints_of_the_whole(store, toy, name, rows_at_once):
    dataset = replace(variants(toy)[name], name=name)
    store.datasets.add(dataset, source="s", licence="l", split={})
    check(store, name)
    for n in (0, 1, 4, 6):
        assert catalog_fingerprint(store, name, n) == dataset.catalog.prefix(n).fingerprint


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE items SET title = 'Alien 3' WHERE item = 5",
        "UPDATE users SET train_stop = 1 WHERE user = 2",
        "UPDATE interactions SET timestamp = 1 WHERE user = 2 AND position = 3",
        "DELETE FROM interactions WHERE user = 2 AND position = 3",
        "INSERT INTO interactions (dataset, user, position, item, version) VALUES ('toy', 9, 0, 1, 1)",
        """UPDATE items SET metadata = '["a"]' WHERE item = 3""",
    ],
)
def test_whatever_loading_refuses_is_refused(toy_store, statement, rows_at_once):
    with toy_store.write() as db:
        db.execute(statement)
    with pytest.raises(CorruptError):
        check(toy_store, "toy")


def test_a_check_holds_a_fraction_of_a_data_set(store, toy, monkeypatch):
    users, length = 200, 100
    sequences = Sequences(
        tuple(map(str, range(users))),
        np.arange(users + 1) * length,
        np.arange(users * length) % 6,
        np.arange(users * length),
        np.full(users, length - 2),
        np.full(users, length - 1),
    )
    store.datasets.add(replace(toy, sequences=sequences), source="s", licence="l", split={})
    monkeypatch.setattr(fingerprints, "ROWS_AT_ONCE", 500)
    assert 4 * peak(lambda: check(store, "toy")) < peak(lambda: store.datasets.load("toy"))


def peak(work):
    work()  # what is imported and kept on the way is not asked about
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
