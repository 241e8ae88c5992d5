"""The example whose strategy sees ratings and fields, and that a stored data set has them for it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from patchrec.data.histories import Dataset, Example
from patchrec.store import Store
from patchrec.testing import make_dataset

EXAMPLE = Path(__file__).parents[2] / "examples" / "patchrec-favourites"


def test_the_tests_of_the_example_pass():
    inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    paths = [str(EXAMPLE), *(str(Path(path).resolve()) for path in inherited if path)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        cwd=EXAMPLE,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def stored(store: Store, dataset: Dataset, ratings) -> Dataset:
    store.datasets.add(dataset, source="made up", licence="none", split={"rule": "leave-one-out"}, ratings=ratings)
    return store.datasets.load(dataset.name)


def test_a_stored_history_has_ratings_and_fields(store):
    dataset = make_dataset()
    ratings = 1.0 + np.arange(len(dataset.sequences.items)) % 5
    ratings[3] = np.nan
    history = stored(store, dataset, ratings).history(Example(1, 1, 5))
    first = int(dataset.sequences.offsets[1]) + 1
    assert history.ratings.tolist() == ratings[first : first + 4].tolist()
    assert history.field("year") == [1970 + item for item in history.items.tolist()]
    whole = store.datasets.load(dataset.name).sequences.ratings
    assert np.array_equal(whole, ratings, equal_nan=True)


def test_ratings_leave_the_fingerprint_of_a_data_set_alone(store):
    dataset = make_dataset()
    rated = stored(store, dataset, np.full(len(dataset.sequences.items), 4.5))
    assert rated.sequences.fingerprint == dataset.sequences.fingerprint


def test_a_data_set_without_ratings_has_none(store):
    assert stored(store, make_dataset(), None).history(Example(0, 0, 3)).ratings is None
