"""A small data set with a run by titles and items, and a server over it in a thread."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from asking import Asker, running
from browser import Tab, browsing
from made_up_data import LETTERS, walk

from patchrec.data.histories import Dataset
from patchrec.operations.load import LoadedRun, load
from patchrec.operations.training.train import baseline, finetune
from patchrec.serving.app import make_app
from patchrec.serving.batching import Batcher
from patchrec.serving.served import Served
from patchrec.store import Store


def letters() -> Dataset:
    """Letters of the years from 1980 on."""
    return walk("letters", [f"{letter} story" for letter in LETTERS], first_year=1980)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with `letters`, a run with both heads and one of counts. Nobody writes to it."""
    home = tmp_path_factory.mktemp("served") / "home"
    with Store.open(home) as store:
        store.datasets.add(letters(), source="made up", licence="none", split={"rule": "leave-one-out"})
    tiny = {"backbone": "tiny-random", "max_steps": 1, "windows": "anchored", "K": 20}
    finetune(strategy="pft-s", options={"L": 3}, data="letters", head="both", home=home, **tiny)
    baseline("popularity", data="letters", home=home)
    return home


@pytest.fixture(scope="session")
def by_score(made: Path) -> dict[str, LoadedRun]:
    """The run with both heads, by titles, by items and by both."""
    with Store.open(made) as store:
        return {score: load(store, store.runs.get("pft-s-1"), score) for score in ("catalog", "item", "mixture")}


@pytest.fixture(scope="module")
def asker(made: Path) -> Iterator[Asker]:
    """A server with a token for reloading, whose store nobody writes to."""
    served = Served("pft-s-1", home=made, cache_bytes=1 << 26)
    batcher = Batcher()
    with running(make_app(served, batcher, admin_token="sesame", max_body=200_000)) as found:
        found.served, found.batcher = served, batcher
        yield found


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    """A page in a browser of its own, for the tests of a file."""
    with browsing(tmp_path_factory.mktemp("profile")) as found:
        yield found
