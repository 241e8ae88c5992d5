"""A small made-up data set in a store, so that the whole job runs in seconds."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from made_up_data import walkers

from patchrec.store import Store

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
