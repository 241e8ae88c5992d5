"""`patchrec demo` from end to end, with made-up data and a tiny model in place of the real ones."""

from functools import partial

import numpy as np
import pytest

from patchrec.data.catalog import Catalog
from patchrec.data.histories import Dataset, Sequences
from patchrec.operations import demo
from patchrec.store import Store
from patchrec_cli.demo import verdict
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
    size = demo.Size(layers=1, max_steps=2, targets=10, backbone="tiny-random")
    monkeypatch.setattr(demo, "demo", partial(demo.demo, size))
    return cli


def test_the_demo_shows_what_was_won_recommendations_and_how_to_go_on(small_demo):
    ran = small_demo("demo")
    assert ran.code == 0, ran.err
    assert max(map(len, ran.out.splitlines())) <= 80
    for words in ("popularity-1", "item-mean-1", "ndcg@10 minus that of popularity-1", "10 (test)", "user 42"):
        assert words in ran.out
    for command in (
        "recommend --run item-mean-1 --history",
        "baseline sasrec",
        "finetune --strategy pft-s",
        "runs compare",
    ):
        assert f"next: patchrec {command}" in ran.err
    assert "On the same 10 targets the model is" in ran.out
    assert "1/4" in ran.err
    assert "tokens/s" in ran.err


def test_the_demo_as_json(small_demo):
    ran = small_demo("demo", "--json")
    assert set(ran.json) == {"schema", *JSON_KEYS["demo"]}
    assert ran.json["finetuned"]["run"] == "item-mean-1"
    assert small_demo("demo", "-q").out == "item-mean-1\n"


@pytest.mark.parametrize(
    ("low", "middle", "high", "nats", "words"),
    [
        (0.01, 0.02, 0.03, 0.4, ["ahead of popularity in\nndcg@10 by 0.020 [0.010, 0.030].", "0.40 nats more likely"]),
        (-0.01, 0.02, 0.03, 0.4, ["ahead of popularity", "the interval holds 0"]),
        (
            -0.03,
            -0.02,
            -0.01,
            -0.4,
            ["behind popularity in\nndcg@10 by 0.020 [0.010, 0.030].", "0.40 nats less likely"],
        ),
    ],
)
def test_the_verdict_says_who_is_ahead_and_how_sure_that_is(low, middle, high, nats, words):
    def row(log_prob, difference):
        return {"metrics": [{"name": "log_prob", "value": log_prob}], "difference": difference}

    ahead = {"difference": middle, "low": low, "high": high}
    said = verdict(
        {"rows": [row(-7.0, None), row(-7.0 + nats, ahead)], "num_targets": 10, "num_users": 4, "metric": "ndcg@10"}
    )
    for expected in words:
        assert expected in said
