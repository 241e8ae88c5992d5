"""A small data set with a run by titles and items, and a server over it in a thread."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from asking import Asker, running

from patchrec.data.catalog import Catalog
from patchrec.data.histories import Dataset, Sequences
from patchrec.operations.load import LoadedRun, load
from patchrec.operations.training.train import baseline, finetune
from patchrec.serving.app import make_app
from patchrec.serving.batching import Batcher
from patchrec.serving.served import Served
from patchrec.store import Store

NUM_USERS, NUM_ITEMS, LENGTH = 12, 20, 14


def letters() -> Dataset:
    """Users who walk through the catalog in order from different starts."""
    items = np.concatenate([(start + np.arange(LENGTH)) % NUM_ITEMS for start in range(NUM_USERS)])
    return Dataset(
        name="letters",
        catalog=Catalog(
            tuple(f"i{item:02d}" for item in range(NUM_ITEMS)),
            tuple(f"{chr(97 + item)} story" for item in range(NUM_ITEMS)),
            tuple({"year": 1980 + item} for item in range(NUM_ITEMS)),
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
