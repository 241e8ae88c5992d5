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
    assert "On the same 10 targets item-mean-1 is" in ran.out  # the run that it recommends with
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


def test_the_demo_on_data_of_one_s_own_shows_every_part_and_what_to_do_with_the_best(small_demo):
    ran = small_demo("demo", "--data", "ml-100k")
    assert ran.code == 0, ran.err
    assert max(map(len, ran.out.splitlines())) <= 80
    for run in ("popularity-1", "item-knn-1", "markov-1", "gru4rec-1", "item-mean-1"):
        assert f"\n{run} " in ran.out
    assert "10 (test)" in ran.out
    assert small_demo("backbones", "ls", "--json").out.count('"small-ml-100k"') == 1
    best = small_demo("demo", "--data", "ml-100k", "-q").out.strip()
    assert f"On the same 10 targets {best} is" in ran.out
    for command in (f"recommend --run {best} --all", f"serve --run {best}", "runs report --data ml-100k"):
        assert f"next: patchrec {command}" in ran.err
    again = small_demo("demo", "--data", "ml-100k", "--json")
    assert again.json["best"] == best
    assert [row["run"] for row in again.json["comparison"]["rows"]][-1] == best


def test_the_demo_of_data_that_is_not_there_or_has_nothing_to_choose_by_is_refused(small_demo, tmp_path):
    ran = small_demo("demo", "--data", "ml-100")
    assert (ran.code, ran.err.splitlines()[-1].startswith("error: no data set 'ml-100'")) == (4, True), ran.err
    log = tmp_path / "log.csv"
    log.write_text(
        "user_id,item_id,title\n" + "".join(f"{user},{item},T{item}\n" for user in "ab" for item in range(6))
    )
    assert (
        small_demo("data", "add", "whole", str(log), "--split", "ratio", "--train", "0.6", "--validation", "0").code
        == 0
    )
    ran = small_demo("demo", "--data", "whole")
    assert ran.code == 2
    assert "whole has no validation target to choose by; see `patchrec data show whole`" in ran.err
    assert small_demo("runs", "ls", "-q").out == ""


def test_a_part_of_the_demo_s_data_recommends_for_another_user(small_demo, tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "USER", "not there")
    ran = small_demo("demo")
    assert ran.code == 0, ran.err
    assert "user 0" in ran.out
    assert "--user 0 --explain" in ran.err
