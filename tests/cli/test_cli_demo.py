"""`patchrec demo` from end to end, with made-up data and a tiny model in place of the real ones."""

from functools import partial

import numpy as np
import pytest

from patchrec.data.catalog import Catalog
from patchrec.data.histories import Dataset, Sequences
from patchrec.operations import demo
from patchrec.store import Store
from patchrec_cli.reference import JSON_KEYS

USERS, ITEMS, LENGTH = 44, 15, 8


@pytest.fixture
def small_demo(cli, tmp_path, monkeypatch):
    items = np.concatenate([(user + np.arange(LENGTH)) % ITEMS for user in range(USERS)])
    sequences = Sequences(
        user_ids=tuple(str(user) for user in range(USERS)),
        offsets=np.arange(USERS + 1) * LENGTH,
        items=items,
        timestamps=np.tile(np.arange(LENGTH) * 86_400, USERS),
        train_stop=np.full(USERS, LENGTH - 2),
        validation_stop=np.full(USERS, LENGTH - 1),
    )
    catalog = Catalog(tuple(f"i{item}" for item in range(ITEMS)), tuple("ABCDEFGHIJKLMNO"))
    with Store.open(tmp_path / "home") as store:
        store.datasets.add(Dataset("ml-100k", catalog, sequences), source="made up", licence="none", split={})
    size = demo.Size(1, 8, 2, 8, 10, "tiny-random")
    monkeypatch.setattr(demo, "demo", partial(demo.demo, size))
    return cli


def test_the_demo_shows_learning_recommendations_and_how_to_go_on(small_demo):
    ran = small_demo("demo")
    assert ran.code == 0, ran.err
    assert max(map(len, ran.out.splitlines())) <= 80
    for words in (
        "untrained-1",
        "popularity-1",
        "pft-s-1",
        "log_prob minus that of untrained-1",
        "10 (test)",
        "user 42",
    ):
        assert words in ran.out
    for command in (
        "recommend --run pft-s-1 --history",
        "strategies preview",
        "finetune --strategy pft-i",
        "runs compare",
    ):
        assert f"next: patchrec {command}" in ran.err
    assert "On the same 10 targets fine-tuning moved log_prob by" in ran.out
    assert "1/5" in ran.err
    assert "tokens/s" in ran.err


def test_the_demo_as_json(small_demo):
    ran = small_demo("demo", "--json")
    assert set(ran.json) == {"schema", *JSON_KEYS["demo"]}
    assert ran.json["finetuned"]["run"] == "pft-s-1"
    assert small_demo("demo", "-q").out == "pft-s-1\n"
