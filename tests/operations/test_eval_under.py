"""`eval RUN --strategy NAME`: a trained model under layouts that it was not trained with."""

from pathlib import Path

import pytest

from patchrec.errors import NotFoundError, UsageError
from patchrec.operations.evaluate import evaluate
from patchrec.operations.recommend import recommend
from patchrec.operations.training.train import baseline, finetune, pretrain

TINY = {"data": "walkers", "backbone": "tiny-random", "batch_size": 20, "max_steps": 3}


def test_a_pre_trained_model_is_measured_on_text(home: Path) -> None:
    trained = pretrain(**TINY, learning_rate=1e-3, home=home)
    found = evaluate(trained.run, strategy="vanilla", limit=6, home=home)
    assert found.run == "pretrain-1-vanilla-1"
    assert found.label == "vanilla, weights of pretrain-1"
    untrained = evaluate(
        baseline="untrained", strategy="vanilla", data="walkers", backbone="tiny-random", limit=6, home=home
    )
    own = {row.name: row.value for row in found.metrics if row.slice == "all"}
    other = {row.name: row.value for row in untrained.metrics if row.slice == "all"}
    assert own["log_prob"] > other["log_prob"]  # its weights are the trained ones


def test_the_run_s_own_strategy_gives_the_run_s_own_numbers(home: Path) -> None:
    run = finetune(strategy="pft-s", options={"L": 3}, start="none", **TINY, home=home).run
    plain = evaluate(run, limit=6, home=home)
    again = evaluate(run, strategy="pft-s", options={"L": 3}, limit=6, home=home)
    assert again.run != run
    assert [(row.name, row.value) for row in again.metrics] == [(row.name, row.value) for row in plain.metrics]
    other = evaluate(run, strategy="item-mean", limit=6, home=home)
    assert [row.value for row in other.metrics] != [row.value for row in plain.metrics]


def test_an_item_head_goes_along(home: Path) -> None:
    run = finetune(strategy="item-mean", head="item", start="none", **TINY, head_learning_rate=0.1, home=home).run
    plain = evaluate(run, limit=6, home=home)
    again = evaluate(run, strategy="item-mean", limit=6, home=home)
    assert [(row.name, row.value) for row in again.metrics] == [(row.name, row.value) for row in plain.metrics]


def test_it_is_made_once_and_recommends_like_any_run(home: Path) -> None:
    run = finetune(strategy="item-mean", start="none", **TINY, home=home).run
    first = evaluate(run, strategy="vanilla", limit=3, home=home).run
    assert evaluate(run, strategy="vanilla", limit=3, home=home).run == first
    assert recommend(user="u3", run=first, k=3, home=home).run == first


def test_what_cannot_be_is_refused_in_one_line(home: Path) -> None:
    run = finetune(strategy="item-mean", start="none", **TINY, home=home).run
    counted = baseline("popularity", data="walkers", home=home).run
    with pytest.raises(UsageError, match=r"has no prompt, and so no strategy; drop --strategy"):
        evaluate(counted, strategy="vanilla", home=home)
    with pytest.raises(NotFoundError, match="vanila"):
        evaluate(run, strategy="vanila", home=home)
    with pytest.raises(UsageError, match="--backbone is for --baseline untrained"):
        evaluate(run, backbone="tiny-random", home=home)
    with pytest.raises(UsageError, match="need --strategy"):
        evaluate(run, options={"L": 3}, home=home)
