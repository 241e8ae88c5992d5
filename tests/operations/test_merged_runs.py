"""A backbone whose tokenizer merges titles: probabilities stay probabilities in every operation, and it is told."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from merging_backbone import make_merging

from patchrec.data.catalog import Catalog
from patchrec.data.histories import Dataset, Sequences
from patchrec.operations.catalog_audit import audit_dataset
from patchrec.operations.environment import doctor
from patchrec.operations.evaluate import evaluate
from patchrec.operations.filters import Filters
from patchrec.operations.many.bulk_job import Request
from patchrec.operations.many.recommend_all import recommend_all
from patchrec.operations.recommend import recommend
from patchrec.operations.training.train import finetune
from patchrec.reporting import SILENT
from patchrec.store import Store

OTHERS = ("Up", "up the", "Heat 2 ", "[BOS] 3", "\u200b", "Up")
FIRST, SECOND = ("alien", "Alien", "heat", "zorro", "xanadu"), ("2", "foo", "bar")
TITLES = [*(f"{first} {second}" for first in FIRST for second in SECOND), *OTHERS]
# alien 2, heat 2, heat and a word unknown: 2 texts each of the same tokens; alien and one unknown, two unknown: 4 each
MERGED = 2 + 2 + 2 + 2 + 4 + 4
USERS, LENGTH = 12, 8
ALL = Filters(keep_seen=True)


class Notes(type(SILENT)):
    def __init__(self):
        self.notes = []

    def note(self, message):
        self.notes.append(message)


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """A store with a run of every score on a data set whose titles the backbone merges."""
    folder = tmp_path_factory.mktemp("merged")
    draws = np.random.default_rng(0)
    items = np.concatenate([draws.permutation(len(TITLES) - 1)[:LENGTH] for _ in range(USERS)])
    dataset = Dataset(
        "films",
        Catalog(tuple(f"i{item}" for item in range(len(TITLES))), tuple(TITLES)),
        Sequences(
            tuple(f"u{user}" for user in range(USERS)),
            np.arange(USERS + 1) * LENGTH,
            items,
            np.tile(np.arange(LENGTH), USERS) * 100,
            np.full(USERS, LENGTH - 2),
            np.full(USERS, LENGTH - 1),
        ),
    )
    home, model = folder / "home", make_merging(folder / "model")
    with Store.open(home) as store:
        store.datasets.add(dataset, source="made up", licence="none", split={"rule": "leave-one-out"})
    given = {"strategy": "vanilla", "data": "films", "backbone": str(model), "max_steps": 1, "batch_size": 8}
    run = finetune(**given, head="both", home=home).run
    return home, model, run


def total(ranking) -> float:
    """The probability of all texts together."""
    return sum(math.exp(score) for score in {line.title: line.score for line in ranking}.values())


def test_the_scores_of_all_texts_are_a_distribution_and_the_merging_is_told(job):
    home, _, run = job
    for search in ("best-first", "whole"):
        heard = Notes()
        found = recommend(
            user="u0", run=run, k=99, score="catalog", filters=ALL, search=search, home=home, report=heard
        )
        assert len(found.ranking) == len(TITLES)
        assert total(found.ranking) == pytest.approx(1, abs=1e-5)
        assert any(note.startswith(f"{MERGED} titles have the same tokens as another") for note in heard.notes)


def test_an_evaluation_gives_each_title_what_a_ranking_gives_it(job):
    home, _, run = job
    evaluate(run, score="catalog", home=home)
    with Store.open(home) as store:
        newest = store.evaluations.newest(run, "test")
        rows = store.evaluations.rankings(newest.id)
    for row in rows[:3]:
        scores = dict(row.top)
        assert all(score <= 0 for score in scores.values())
        if row.item_id in scores:
            assert row.log_prob == pytest.approx(scores[row.item_id], abs=1e-5)
    mean = np.mean([row.log_prob for row in rows])
    distinct = len(set(TITLES))
    assert mean < -math.log(distinct) + 1.5  # an untrained model is no better than guessing; unshared it was far better


@pytest.mark.parametrize("score", ["catalog", "joint", "mixture"])
def test_many_users_get_what_one_gets(job, tmp_path, score):
    home, _, run = job
    path = tmp_path / "all.jsonl"
    recommend_all(Request(str(path), run=run, k=4, score=score), home=home)
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    own = [line for line in lines if line["user_id"] == "u3"]
    alone = recommend(user="u3", run=run, k=4, score=score, home=home).ranking
    assert [line["score"] for line in own] == pytest.approx([line.score for line in alone], abs=1e-4)


def test_data_show_counts_and_names_what_is_merged(job):
    home, model, _ = job
    plain = {one["what"]: one for one in audit_dataset("films", home=home)}
    assert plain["items that share their title with another"]["count"] == 2
    assert plain["items with a blank title"]["fault"]
    assert plain["items without interaction"]["count"] >= 1
    found = {one["what"]: one for one in audit_dataset("films", backbone=str(model), home=home)}
    merged = found["titles with the same tokens as another"]
    assert merged["count"] == MERGED
    assert {"alien foo", "alien bar"} & set(merged["examples"])
    assert "Up" in found["titles that another's tokens begin with"]["examples"]
    (markup,) = [one for what, one in found.items() if what.startswith("titles with what is markup to ")]
    assert markup["examples"] == ("[BOS] 3",)
    assert all(one["mend"] for one in found.values())


def test_doctor_audits_each_data_set_under_each_backbone(job):
    home, model, _ = job
    checks = doctor(home=home)
    of_data = [check for check in checks if check["name"].startswith("data films")]
    assert of_data[0]["detail"] == f"items: {len(TITLES)}; backbones that read them: 1"
    merged = next(
        check for check in of_data if check["detail"].startswith(f"titles with the same tokens as another: {MERGED}")
    )
    assert (merged["name"], merged["ok"]) == (f"data films, {model}", True)
    assert merged["fix"]
    blank = next(check for check in of_data if check["detail"].startswith("items with a blank title: 1"))
    assert not blank["ok"]


def test_doctor_says_which_backbone_cannot_read_a_data_set(job, tmp_path):
    home, model, _ = job
    config = Path(model) / "tokenizer_config.json"
    before = config.read_text(encoding="utf-8")
    config.write_text(json.dumps({**json.loads(before), "auto_map": {"AutoTokenizer": ["evil.py", None]}}))
    try:
        checks = doctor(home=home)
    finally:
        config.write_text(before, encoding="utf-8")
    (fault,) = [check for check in checks if "auto_map" in check["detail"]]
    assert not fault["ok"]
    assert fault["name"] == f"data films, {model}"
