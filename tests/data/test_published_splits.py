"""The rule of the paper, rebuilt from raw ratings, against what the authors published. Needs the real data."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from patchrec.config import SPLITS
from patchrec.data.histories import Dataset
from patchrec.data.prepare import Prepared, prepare
from patchrec.store import Store

COUNTS = {
    "ml-100k": {"users": 682, "items": 1_682, "titles": 1_658, "items_used": 1_438, "interactions": 51_824},
    "ml-1m": {"users": 6_038, "items": 3_883, "titles": 3_833, "items_used": 3_533, "interactions": 575_281},
    "goodreads": {"users": 2_090, "items": 8_793, "titles": 7_660, "items_used": 8_761, "interactions": 162_539},
}
PER_SPLIT = {
    "ml-100k": {"interactions": (49_753, 1_035, 1_036), "targets": (47_749, 1_005, 1_024), "users": (668, 46, 37)},
    "ml-1m": {
        "interactions": (552_269, 11_506, 11_506),
        "targets": (534_185, 11_492, 11_494),
        "users": (6_018, 547, 476),
    },
    "goodreads": {
        "interactions": (156_037, 3_251, 3_251),
        "targets": (149_773, 3_248, 3_248),
        "users": (2_088, 1_108, 1_049),
    },
}
THRESHOLDS = {"ml-100k": (892079769, 892778297), "ml-1m": (996966421, 1014574911)}


NOTES: dict[str, list[str]] = {"ml-100k": [], "ml-1m": []}


class Notes:
    def __init__(self, kept: list[str]) -> None:
        self.kept = kept

    def note(self, message: str) -> None:
        self.kept.append(message)


@pytest.fixture(scope="module", params=["ml-100k", "ml-1m"])
def movielens(request: pytest.FixtureRequest, shared_data: Path) -> Prepared:
    return prepare(request.param, from_path=shared_data / request.param, report=Notes(NOTES[request.param]))


def published(folder: Path) -> list[dict[str, object]]:
    with gzip.open(folder / "sequences.jsonl.gz", "rt") as lines:
        return [json.loads(line) for line in lines]


def published_titles(folder: Path) -> dict[int, str]:
    lines = (folder / "id2title.txt").read_text(encoding="utf-8").splitlines()
    return {int(number): title for number, _, title in (line.partition("||") for line in lines)}


def ranges(dataset: Dataset, user: int) -> dict[str, list[int | None]]:
    """The published form of a user's splits: first and last position, both inclusive."""
    found: dict[str, list[int | None]] = {}
    for split, key in zip(SPLITS, ("train_idx", "val_idx", "test_idx"), strict=True):
        first, stop = dataset.sequences.bounds(user, split)
        found[key] = [first, stop - 1] if stop > first else [None, None]
    return found


def as_published(dataset: Dataset, shift: int) -> list[dict[str, object]]:
    """All users in stored order in the published form; item index = item id - shift."""
    numbers = [int(item_id) - shift for item_id in dataset.catalog.item_ids]
    return [
        {"items": [numbers[item] for item in dataset.sequences.items_of(user)], **ranges(dataset, user)}
        for user in range(len(dataset.sequences))
    ]


def test_movielens_sequences_splits_and_row_order_are_the_authors(movielens: Prepared, shared_data: Path) -> None:
    dataset = movielens.dataset
    assert as_published(dataset, shift=1) == published(shared_data / "patchrec-splits" / dataset.name)


def test_movielens_titles_are_the_authors(movielens: Prepared, shared_data: Path) -> None:
    catalog = movielens.dataset.catalog
    ours = {int(item_id) - 1: title for item_id, title in zip(catalog.item_ids, catalog.titles, strict=True)}
    theirs = published_titles(shared_data / "patchrec-splits" / movielens.dataset.name)
    assert list(ours.items()) == list(theirs.items())


def test_movielens_held_out_targets_and_histories_are_the_authors(movielens: Prepared, shared_data: Path) -> None:
    dataset = movielens.dataset
    rows = published(shared_data / "patchrec-splits" / dataset.name)
    for split, key in (("validation", "val_idx"), ("test", "test_idx")):
        theirs = [
            (user, position)
            for user, row in enumerate(rows)
            if len(row["items"]) > 3 and row[key][0] is not None
            for position in range(max(3, row[key][0]), row[key][1] + 1)
        ]
        examples = dataset.examples(split, K=100)
        assert [(example.user, example.position) for example in examples] == theirs
        for example in examples[::7]:
            items, position = rows[example.user]["items"], example.position
            assert int(dataset.catalog.item_ids[dataset.target(example)]) - 1 == items[position]
            history = [int(dataset.catalog.item_ids[item]) - 1 for item in dataset.history(example).items]
            assert history == items[max(0, position - 100) : position]


def test_movielens_users_times_and_ratings_belong_to_the_sequences(movielens: Prepared, shared_data: Path) -> None:
    sequences = movielens.dataset.sequences
    with gzip.open(shared_data / "patchrec-splits" / movielens.dataset.name / "user_times.jsonl.gz", "rt") as lines:
        rows = [json.loads(line) for line in lines]
    assert sequences.user_ids == tuple(str(row["user_id"]) for row in rows)
    assert np.array_equal(sequences.timestamps, np.concatenate([row["timestamps"] for row in rows]))
    assert np.array_equal(movielens.ratings, np.concatenate([row["ratings"] for row in rows]))
    cuts = (movielens.split["train_until"], movielens.split["validation_until"])
    assert cuts == THRESHOLDS[movielens.dataset.name]


def test_goodreads_is_read_and_counted_as_published(shared_data: Path, store: Store) -> None:
    folder = shared_data / "patchrec-splits" / "goodreads"
    prepared = prepare("goodreads", from_path=folder)
    check_counts(prepared, store)
    dataset = prepared.dataset
    assert as_published(dataset, shift=0) == published(folder)
    assert dict(enumerate(dataset.catalog.titles)) == published_titles(folder)


def test_counts_of_movielens_in_the_store_are_the_published_ones(movielens: Prepared, store: Store) -> None:
    check_counts(movielens, store)


def check_counts(prepared: Prepared, store: Store) -> None:
    name = prepared.dataset.name
    store.datasets.add(
        prepared.dataset,
        source=prepared.source,
        licence=prepared.licence,
        split=prepared.split,
        ratings=prepared.ratings,
    )
    summary = store.datasets.show(name)["summary"]
    assert {key: summary[key] for key in COUNTS[name]} == COUNTS[name]
    for what, expected in PER_SPLIT[name].items():
        assert tuple(summary["splits"][split][what] for split in SPLITS) == expected
    assert store.datasets.load(name).sequences.fingerprint == prepared.dataset.sequences.fingerprint


def test_a_partial_ml_1m_says_what_it_lacks_and_that_splits_stay_exact(movielens: Prepared) -> None:
    lacks = "820,755 of 1,000,209 ratings; all 575,281 above 3 are there, so histories and splits are exact"
    assert [lacks in note for note in NOTES[movielens.dataset.name]] == [True] * (movielens.dataset.name == "ml-1m")
