"""A small made-up data set in a store, so that the whole job runs in seconds."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

from patchrec.data.catalog import Catalog
from patchrec.data.histories import Dataset, Sequences
from patchrec.store import Store

NUM_USERS, NUM_ITEMS, LENGTH = 12, 20, 14


def walkers() -> Dataset:
    """Users who walk through the catalog in order from different starts: the next item is always the next title."""
    items = np.concatenate([(start + np.arange(LENGTH)) % NUM_ITEMS for start in range(NUM_USERS)])
    return Dataset(
        name="walkers",
        catalog=Catalog(
            tuple(f"i{item:02d}" for item in range(NUM_ITEMS)),
            tuple(f"{chr(97 + item)}<|eot|>" for item in range(NUM_ITEMS)),
        ),
        sequences=Sequences(
            user_ids=tuple(f"u{user}" for user in range(NUM_USERS)),
            offsets=np.arange(NUM_USERS + 1) * LENGTH,
            items=items,
            timestamps=np.tile(np.arange(LENGTH) * 86_400, NUM_USERS),
            train_stop=np.full(NUM_USERS, LENGTH - 4),
            validation_stop=np.full(NUM_USERS, LENGTH - 2),
        ),
        noun="letter",
        verb="read",
    )


T = TypeVar("T")
Made = dict[Callable[[Path], Any], tuple[Path, Any]]


@pytest.fixture(scope="module")
def made() -> Made:
    """What `prepared` made for the tests of a module."""
    return {}


@pytest.fixture
def prepared(home: Path, made: Made, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Callable[[Path], T]], T]:
    """`prepared(make)`: give the test's store what `make(home)` does to one, and what it gave; done once and copied."""

    def take(make: Callable[[Path], T]) -> T:
        if make not in made:
            first = tmp_path_factory.mktemp("prepared") / "home"
            shutil.copytree(home, first)
            made[make] = first, make(first)
        first, given = made[make]
        shutil.copytree(first, home, dirs_exist_ok=True)
        return given

    return take


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A store with `walkers`."""
    with Store.open(tmp_path / "home") as store:
        store.datasets.add(walkers(), source="made up", licence="none", split={"rule": "ratio"})
    return tmp_path / "home"
