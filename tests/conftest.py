"""Shared fixtures: a store of its own for every test, a small data set, and the folder of real data."""

import gc
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from patchrec.data.catalog import Catalog
from patchrec.data.histories import Dataset, Sequences
from patchrec.store import Store

ROOT = Path(__file__).resolve().parent.parent

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: threads cost tiny models more than they win

settings.register_profile("patchrec", deadline=None)  # a busy machine is no failure
settings.load_profile("patchrec")

FEWEST_EXAMPLES = 10  # that a test which wants more still draws in the quick suite


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Draw a third of the examples that a test of properties asks for, unless the slow tests run too.

    `make test-all` draws all of them.
    """
    if "not slow" not in config.option.markexpr:
        return
    tests = {getattr(item.obj, "__func__", item.obj) for item in items if isinstance(item, pytest.Function)}
    for test in tests:
        if getattr(test, "is_hypothesis_test", False):
            asked = test._hypothesis_internal_use_settings
            few = min(asked.max_examples, max(FEWEST_EXAMPLES, asked.max_examples // 3))
            test._hypothesis_internal_use_settings = settings(asked, max_examples=few)


def pytest_collection_finish() -> None:
    """Look no more at what was imported when garbage is collected: libraries are most of what there is."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """Let libraries take their leave: some complain of what was never freed."""
    gc.unfreeze()


UNPICKLED: list[str] = []


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if event == "pickle.find_class":
        where = "".join(traceback.format_stack(limit=8))
        UNPICKLED.append(f"{'.'.join(map(str, arguments))} was read from a pickle:\n{where}")


sys.addaudithook(_watch)  # for good: Python takes none back


@pytest.fixture(autouse=True)
def unpickled() -> Iterator[list[str]]:
    """What was read from pickles since the last test: none is ever read, and one that is fails its test."""
    yield UNPICKLED
    found = UNPICKLED[:]
    UNPICKLED.clear()
    assert not found, found[0]


@pytest.fixture(scope="session", autouse=True)
def _private_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or writes the store and the caches of whoever runs it."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("private")
        patch.setenv("PATCHREC_HOME", str(folder / "home"))
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.setenv("XDG_DATA_HOME", str(folder / "data"))
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with the real benchmark data: PATCHREC_SHARED_DATA, else ../shared/data beside the repository."""
    named = os.environ.get("PATCHREC_SHARED_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    if not (folder / "patchrec-splits").is_dir():
        pytest.skip(f"real data is not at {folder} (set PATCHREC_SHARED_DATA)")
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store in a folder of its own."""
    with Store.open(tmp_path / "home") as opened:
        yield opened


@pytest.fixture
def toy() -> Dataset:
    """Three users and six items, two of one title. The last item of each user is test, the one before validation."""
    histories = [[0, 1, 2, 3, 4], [1, 2, 3], [5, 4, 3, 2]]
    lengths = np.array([len(items) for items in histories])
    return Dataset(
        name="toy",
        catalog=Catalog(
            item_ids=("10", "11", "12", "13", "14", "15"),
            titles=("Alien", "Aliens", "Heat", "Fargo", "Big", "Heat"),
        ),
        sequences=Sequences(
            user_ids=("ann", "bob", "007"),
            offsets=np.concatenate([[0], np.cumsum(lengths)]),
            items=np.concatenate(histories),
            timestamps=np.arange(lengths.sum()) * 10,
            train_stop=lengths - 2,
            validation_stop=lengths - 1,
        ),
        noun="movie",
        verb="watched",
    )


@pytest.fixture
def toy_store(store: Store, toy: Dataset) -> Store:
    """A store that holds `toy`."""
    store.datasets.add(toy, source="made up", licence="none", split={"rule": "leave-one-out"})
    return store
