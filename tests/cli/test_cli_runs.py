"""`patchrec runs`, on runs and evaluations put into the store by hand."""

import math

import pytest

from patchrec.config import RunConfig, StrategyConfig
from patchrec.evaluation.rows import metric_rows
from patchrec.store import Store
from patchrec.store.evaluations import RankingRow
from patchrec.store.runs import LossRow

COST = {
    "tokens_per_target": 38.5,
    "seconds_per_target": 0.25,
    "compression_paper": 3.44,
    "compression_history": 2.0,
    "compression_prompt": 1.5,
}


def add_run(store: Store, strategy: str, ranks: list[int], *, dataset: str = "toy", score: str = "catalog") -> str:
    """A finished run whose targets, two users with two each, have these ranks."""
    config = RunConfig(
        stage="finetune", dataset=dataset, backbone="tiny-random", strategies=(StrategyConfig(name=strategy),)
    )
    name = store.runs.create(config, label=strategy, versions={"patchrec": "0"}, fingerprints={"prompt": "0"}).name
    store.runs.log_loss(name, [LossRow(1, 3.0, 10, 2, 0.1, 1e-3), LossRow(2, 2.0, 10, 2, 0.1, 1e-4)])
    store.runs.finish(name, {})
    rows = [
        RankingRow(
            user=number // 2,
            user_id=f"user {number // 2}",
            position=number % 2 + 3,
            item_id=f"item {number}",
            log_prob=-math.log(rank),
            item_rank_dropped=rank,
            item_rank_kept=rank + 1,
            title_rank_dropped=rank,
            title_rank_kept=rank + 1,
            tokens=38,
            seconds=0.25,
        )
        for number, rank in enumerate(ranks)
    ]
    store.evaluations.add(
        name,
        "test",
        score,
        config={"limit": None, "ks": [10]},
        metrics=metric_rows(rows, (10,)),
        rankings=rows,
        cost=COST,
    )
    return name


@pytest.fixture
def runs(toy_cli, tmp_path):
    """The command with three runs on the same four targets, `vanilla-1` the best."""
    with Store.open(tmp_path / "home") as store:
        add_run(store, "pft-s", [2, 4, 8, 10])
        add_run(store, "vanilla", [1, 2, 4, 5])
        add_run(store, "pft-i", [4, 8, 16, 20])
    return toy_cli


def test_runs_are_listed_newest_first(runs):
    listed = runs("runs", "ls", "--json").json["runs"]
    assert [row["name"] for row in listed] == ["pft-i-1", "vanilla-1", "pft-s-1"]
    assert {row["status"] for row in listed} == {"done"}
    assert runs("runs", "ls", "-q").out.split() == ["pft-i-1", "vanilla-1", "pft-s-1"]
    assert "pft-i-1" in runs("runs", "ls").out


def test_an_empty_store_names_what_comes_first(cli, toy, tmp_path):
    assert cli("runs", "ls").err == "next: patchrec data add ml-100k\n"
    with Store.open(tmp_path / "home") as store:
        store.datasets.add(toy, source="made up", licence="none", split={"rule": "leave-one-out"})
    assert cli("runs", "ls").err.splitlines()[0] == "next: patchrec pretrain"


def test_a_run_is_shown_by_the_beginning_of_its_name(runs):
    ran = runs("runs", "show", "vanil", "--json")
    shown = ran.json["run"]
    assert shown["name"] == "vanilla-1"
    assert [row["loss"] for row in shown["losses"]] == [3.0, 2.0]
    (evaluation,) = shown["evaluations"]
    mrr = next(
        row for row in evaluation["metrics"] if (row["name"], row["level"], row["seen"]) == ("mrr", "item", "dropped")
    )
    assert mrr["value"] == pytest.approx((1 + 1 / 2 + 1 / 4 + 1 / 5) / 4)
    out = runs("runs", "show", "vanil").out
    assert "3.000 -> 2.000" in out
    assert f"{(1 + 1 / 2 + 1 / 4 + 1 / 5) / 4:.3f} [" in out


def test_all_evaluated_runs_are_compared_best_first(runs):
    table = runs("runs", "compare", "--json").json
    assert [row["run"] for row in table["rows"]] == ["vanilla-1", "pft-s-1", "pft-i-1"]
    assert (table["num_targets"], table["num_users"], table["reference"]) == (4, 2, "vanilla-1")
    assert table["rows"][0]["difference"] is None
    # pft-s has half the reciprocal rank of vanilla everywhere
    half = (1 + 1 / 2 + 1 / 4 + 1 / 5) / 4 / 2
    assert table["rows"][1]["difference"]["difference"] == pytest.approx(-half)
    assert table["rows"][0]["compression"] == {"paper": 3.44, "history": 2.0, "prompt": 1.5}
    assert table["rows"][0]["tokens_per_target"] == 38.5


def test_named_runs_are_compared_in_their_order(runs):
    table = runs("runs", "compare", "pft-i-1", "vanilla-1", "--metric", "log_prob", "--json").json
    assert [row["run"] for row in table["rows"]] == ["pft-i-1", "vanilla-1"]
    # every rank of pft-i is four times that of vanilla
    assert table["rows"][1]["difference"]["difference"] == pytest.approx(math.log(4))


def test_a_comparison_for_people_has_intervals_both_rules_and_fits_80_columns(runs):
    ran = runs("runs", "compare")
    assert "seen items dropped" in ran.out
    assert "seen items kept" in ran.out
    assert "mrr minus that of vanilla-1" in ran.out
    assert "2 users are too few" in ran.err
    assert max(map(len, ran.out.splitlines())) <= 80
    mrr = (1 + 1 / 2 + 1 / 4 + 1 / 5) / 4
    assert f"{mrr:.3f}" in ran.out


def test_runs_of_different_data_are_not_compared(runs, toy, tmp_path):
    import dataclasses

    with Store.open(tmp_path / "home") as store:
        store.datasets.add(dataclasses.replace(toy, name="other"), source="x", licence="x", split={})
        add_run(store, "vanilla", [1, 2, 3, 4], dataset="other")
    ran = runs("runs", "compare", "vanilla-1", "vanilla-2")
    assert ran.code == 2
    assert "vanilla-1 on toy, vanilla-2 on other" in ran.err


def test_runs_with_different_targets_are_not_compared(runs, tmp_path):
    with Store.open(tmp_path / "home") as store:
        add_run(store, "dropout", [1, 2])
    ran = runs("runs", "compare", "vanilla-1", "dropout-1")
    assert ran.code == 2
    assert "4 and 2, 2 shared" in ran.err
    assert "--limit" in ran.err
    table = runs("runs", "compare", "--json").json
    assert "dropout-1" not in [row["run"] for row in table["rows"]]
    assert any("dropout-1 is left out" in note for note in table["notes"])


def test_log_probabilities_of_different_scores_are_not_subtracted(runs, tmp_path):
    with Store.open(tmp_path / "home") as store:
        add_run(store, "dropout", [1, 2, 3, 4], score="joint")
    table = runs("runs", "compare", "vanilla-1", "dropout-1", "--metric", "log_prob", "--json").json
    assert table["rows"][1]["difference"] is None
    assert any("different scores" in note for note in table["notes"])
    assert runs("runs", "compare", "vanilla-1", "dropout-1").code == 0


def test_a_run_that_was_not_evaluated_is_told_how(runs, tmp_path):
    with Store.open(tmp_path / "home") as store:
        config = RunConfig(stage="finetune", dataset="toy", backbone=None, strategies=(StrategyConfig(name="dropout"),))
        store.runs.create(config, label="dropout", versions={}, fingerprints={})
    ran = runs("runs", "compare", "vanilla-1", "dropout-1")
    assert ran.code == 4
    assert "patchrec eval dropout-1" in ran.err


@pytest.mark.parametrize("metric", ["mr", "ndgc@10"])
def test_an_unknown_metric_is_refused_with_a_guess(runs, metric):
    ran = runs("runs", "compare", "--metric", metric)
    assert ran.code == 2
    assert "did you mean" in ran.err


def test_a_removed_run_is_gone(runs):
    assert runs("runs", "rm", "vanilla-1", "--json").json["removed"] == ["vanilla-1"]
    assert runs("runs", "show", "vanilla-1").code == 4


def test_a_data_set_with_runs_is_not_removed(runs):
    ran = runs("data", "rm", "toy")
    assert ran.code == 2
    assert "pft-s-1" in ran.err
