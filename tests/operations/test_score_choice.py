"""The score that a run ranks by is chosen on validation targets, and stored."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from patchrec.errors import UsageError
from patchrec.evaluation.evaluate import sample_examples
from patchrec.operations import score_choice
from patchrec.operations.evaluate import evaluate
from patchrec.operations.recommend import recommend
from patchrec.operations.score_choice import choose_score
from patchrec.operations.training.train import baseline, finetune
from patchrec.store import Store

SETTING = {"data": "walkers", "backbone": "tiny-random", "strategy": "pft-s", "options": {"L": 3}, "max_steps": 2}


def test_both_scores_are_measured_on_the_same_validation_targets(home: Path):
    run = finetune(**SETTING, home=home).run
    choice = choose_score(run, limit=8, home=home)
    assert (choice.run, choice.before, choice.metric, choice.num_targets) == (run, "catalog", "ndcg@20", 8)
    for result in choice.results:
        found = evaluate(run, split="validation", limit=8, score=result.score, ks=(20,), home=home)
        (same,) = (
            row.value
            for row in found.metrics
            if (row.name, row.level, row.seen, row.slice) == ("ndcg@20", "item", "dropped", "all")
        )
        assert result.value == pytest.approx(same)
    catalog, joint = (result.value for result in choice.results)
    assert choice.difference.difference == pytest.approx(joint - catalog)


@pytest.mark.parametrize(("first_ranked", "chosen"), [("joint", "joint"), ("catalog", "catalog"), (None, "catalog")])
def test_joint_is_taken_only_where_it_is_better_by_more_than_chance(home: Path, monkeypatch, first_ranked, chosen):
    run = finetune(**SETTING, home=home).run

    def ranked(loaded, examples, weight, report):
        score = loaded.recommender.score
        values = np.full(len(examples), 1.0 if score == first_ranked else 0.3)
        return score_choice._Tried(score, weight, values, tokens=0, seconds=0.0)

    monkeypatch.setattr(score_choice, "_rank", ranked)
    assert choose_score(run, home=home).chosen == chosen
    with Store.open(home) as store:
        kept = store.runs.get(run)
    assert kept.score == chosen
    assert kept.summary["score_choice"]["difference"].keys() >= {"difference", "low", "high", "p_value"}


def test_the_score_chosen_is_the_one_that_ranks(home: Path, monkeypatch):
    run = finetune(**SETTING, home=home).run
    assert recommend(user="u1", run=run, home=home).score == "catalog"
    with Store.open(home) as store:
        store.runs.choose_score(run, "joint", {"metric": "ndcg@20"})
    assert recommend(user="u1", run=run, home=home).score == "joint"
    assert evaluate(run, limit=2, home=home).score == "joint"
    assert recommend(user="u1", run=run, score="catalog", home=home).score == "catalog"


def test_a_run_made_again_is_the_same_run_whatever_score_it_chose(home: Path):
    made = finetune(**SETTING, home=home)
    choose_score(made.run, limit=4, home=home)
    assert asdict(finetune(**SETTING, reuse=True, home=home)) == asdict(made)


def test_the_targets_are_a_sample_of_validation(home: Path, monkeypatch):
    asked = []

    def sample(examples, limit):
        asked.append((len(examples), limit))
        return sample_examples(examples, limit)

    monkeypatch.setattr(score_choice, "sample_examples", sample)
    choose_score(finetune(**SETTING, home=home).run, limit=3, home=home)
    assert asked == [(24, 3)]


BOTH = SETTING | {"head": "both", "head_options": {"item_weight": 0.7}}


def test_a_run_of_two_heads_tries_titles_items_and_mixtures(home: Path):
    run = finetune(**BOTH, home=home).run
    choice = choose_score(run, limit=6, home=home)
    tried = [(result.score, result.item_weight) for result in choice.results]
    mixtures = [("mixture", weight) for weight in score_choice.ITEM_WEIGHTS]
    assert tried == [*mixtures, ("catalog", None), ("joint", None), ("item", None)]
    for result in choice.results:
        if result.score != "mixture":
            found = evaluate(run, split="validation", limit=6, score=result.score, ks=(20,), home=home)
            (same,) = (
                row.value
                for row in found.metrics
                if (row.name, row.level, row.seen, row.slice) == ("ndcg@20", "item", "dropped", "all")
            )
            assert result.value == pytest.approx(same)
    assert choice.reference == "mixture"
    with Store.open(home) as store:
        kept = store.runs.get(run)
    assert (kept.score, kept.item_weight) == (choice.chosen, choice.item_weight)
    assert recommend(user="u1", run=run, home=home).score == choice.chosen


def test_a_run_with_one_score_has_nothing_to_choose(home: Path):
    run = baseline("markov", data="walkers", home=home).run
    with pytest.raises(UsageError, match="has one score, item"):
        choose_score(run, home=home)
