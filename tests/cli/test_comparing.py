"""`patchrec runs compare` and `runs ls`: any cut-off, what differs, conditions, order, forms, checks for scripts."""

import csv
import io
import math

import pytest

from patchrec.config import KindConfig, PromptConfig, RunConfig, StrategyConfig, TrainingConfig
from patchrec.evaluation.rows import metric_rows
from patchrec.store import Store
from patchrec.store.evaluations import RankingRow
from patchrec.store.marks import Marks

USERS = 12


def add(store, strategy, ranks, *, ks=(10, 20), marks=None, cost=None, options=None, score="catalog", **settings):
    """A finished run with one target of each of so many users, of these ranks, over and over."""
    training = TrainingConfig(**settings) if strategy else None
    config = RunConfig(
        stage="finetune" if strategy else "baseline",
        dataset="toy",
        backbone="tiny-random" if strategy else None,
        kind=KindConfig(name="title" if strategy else "popularity"),
        strategies=(StrategyConfig(name=strategy, options=options or {}),) if strategy else (),
        prompt=PromptConfig() if strategy else None,
        training=training,
    )
    label = " ".join([strategy or "popularity", *(f"{key}={value}" for key, value in (options or {}).items())])
    name = store.runs.create(config, label=label, versions={}, fingerprints={}, marks=marks or Marks()).name
    store.runs.finish(name, {})
    evaluate(store, name, ranks, ks, cost, score)
    return name


def evaluate(store, name, ranks, ks=(10, 20), cost=None, score="catalog"):
    found = [ranks[number % len(ranks)] for number in range(USERS)]
    rows = [
        RankingRow(number, f"u{number}", 3, f"i{number}", -math.log(rank), rank, rank, rank, rank, tokens=38, seconds=1)
        for number, rank in enumerate(found)
    ]
    cost = {"tokens_per_target": 50.0, "seconds_per_target": 0.25, **(cost or {})}
    config = {"limit": None, "ks": list(ks)}
    store.evaluations.add(name, "test", score, config=config, metrics=metric_rows(rows, ks), rankings=rows, cost=cost)


@pytest.fixture
def runs(toy_cli, tmp_path):
    """Three fine-tuned runs and a baseline; `good` is the best, `also-good` ranks alike on the whole."""
    with Store.open(tmp_path / "home") as store:
        prompts = {"prompt_tokens_per_target": 40.0}
        add(
            store,
            "pft-s",
            [1, 15, 45, 80],
            options={"L": 5},
            marks=Marks("good", "=1+1|_x", ("paper", "a")),
            cost=prompts,
        )
        add(
            store,
            "pft-s",
            [15, 1, 80, 45],
            options={"L": 7},
            marks=Marks("also-good", tags=("paper",)),
            learning_rate=1e-3,
        )
        add(store, "pft-i", [60, 70, 90, 99], options={"M": 5}, ks=(5, 50))
        add(store, None, [30, 40, 30, 40], score="item")
    return toy_cli


def compared(runs, *arguments):
    return runs("runs", "compare", *arguments, "--json").json


def metric(row, name):
    [found] = [
        found for found in row["metrics"] if (found["name"], found["level"], found["seen"]) == (name, "item", "dropped")
    ]
    return found


@pytest.mark.parametrize("name", ["hr@20", "ndcg@50", "mrr@3", "hr@1"])
def test_any_cut_off_is_a_column_of_every_run(runs, name):
    table = compared(runs, "--metric", name)
    assert name in table["metrics"]
    for row in table["rows"]:
        assert metric(row, name)["low"] <= metric(row, name)["value"] <= metric(row, name)["high"]
    assert name in runs("runs", "compare", "--metric", name).out


def test_a_derived_metric_is_that_of_an_evaluation(runs, tmp_path):
    [derived] = compared(runs, "good", "--metric", "hr@50")["rows"]
    assert metric(derived, "hr@50")["value"] == 3 / 4
    with Store.open(tmp_path / "home") as store:
        evaluate(store, "good", [1, 15, 45, 80], ks=(50,))
    [stored] = compared(runs, "good")["rows"]
    assert metric(stored, "hr@50") == metric(derived, "hr@50")


def test_after_an_evaluation_with_other_cut_offs_no_run_lacks_a_metric(runs):
    table = compared(runs)
    assert {"hr@5", "hr@10", "hr@20", "hr@50"} <= set(table["metrics"])
    for row in table["rows"]:
        assert {found["name"] for found in row["metrics"]} == set(table["metrics"])
    people = runs("runs", "compare", "--metric", "hr@50").out
    rates = people[people.index("seen items dropped") : people.index("seen items kept")]
    assert " - " not in rates


def test_settings_that_differ_are_told_and_no_others(runs):
    rows = {row["run"]: row["differing"] for row in compared(runs, "good", "also-good")["rows"]}
    assert rows == {"good": {"L": 5, "learning_rate": 5e-05}, "also-good": {"L": 7, "learning_rate": 0.001}}
    assert "L 7, learning_rate 0.001" in runs("runs", "compare", "good", "also-good").out
    rows = {row["run"]: row["differing"] for row in compared(runs, "good", "popularity-1")["rows"]}
    assert rows["popularity-1"].items() >= {"kind": "popularity", "strategy": None, "backbone": None}.items()
    assert "learning_rate" not in rows["good"]  # the other has none that it could differ from
    assert compared(runs, "good")["rows"][0]["differing"] == {}


def test_no_difference_is_never_called_equality(runs):
    table = compared(runs)
    findings = {row["run"]: row["difference"] and row["difference"]["finding"] for row in table["rows"]}
    assert findings == {
        "good": None, "also-good": "no difference shown", "popularity-1": "no difference shown", "pft-i-1": "worse",
    }  # fmt: skip
    out = runs("runs", "compare").out
    assert "no difference" in out
    assert "equal" not in out
    assert compared(runs, "pft-i-1", "good")["rows"][1]["difference"]["finding"] == "better"


def test_prompt_and_catalog_tokens_stand_apart(runs):
    rows = {row["run"]: row for row in compared(runs)["rows"]}
    tokens = [rows["good"][f"{kind}tokens_per_target"] for kind in ("", "prompt_", "catalog_")]
    assert tokens == [50.0, 40.0, 10.0]
    assert rows["popularity-1"]["prompt_tokens_per_target"] is None
    out = runs("runs", "compare").out
    assert "40.0" in out
    assert "10.0" in out


@pytest.mark.parametrize(
    ("condition", "names"),
    [
        ("strategy = 'pft-s'", {"good", "also-good"}),
        ("strategy = 'pft-s' and L > 5", {"also-good"}),
        ("learning_rate < 1e-4", {"good", "pft-i-1"}),
        ("training.learning_rate < 1e-4", {"good", "pft-i-1"}),
        ("tags like '%paper%'", {"good", "also-good"}),
        ("kind = 'popularity' or M = 5", {"popularity-1", "pft-i-1"}),
        ("status = 'done' and created > '2020' and data = 'toy'", {"good", "also-good", "pft-i-1", "popularity-1"}),
        ("note is not null", {"good"}),
        ("K = 100 and name like '%good'", {"good", "also-good"}),
    ],
)
def test_conditions_choose_runs(runs, condition, names):
    assert {row["run"] for row in compared(runs, "--where", condition)["rows"]} == names
    assert {row["name"] for row in runs("runs", "ls", "--where", condition, "--json").json["runs"]} == names


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("stratgy = 'x'", "did you mean 'strategy'"),
        ("", "--where is empty"),
        ("1; drop table runs", "no condition on a run"),
        ("(select 1)", "no condition on a run"),
        ('"pft-s" = strategy', "write text in single quotes"),
    ],
)
def test_what_is_no_condition_on_runs_is_told(runs, condition, words):
    for command in ("compare", "ls"):
        ran = runs("runs", command, "--where", condition)
        assert (ran.code, words in ran.err) == (2, True), ran.err


def test_tags_choose_runs(runs):
    assert {row["run"] for row in compared(runs, "--tag", "paper")["rows"]} == {"good", "also-good"}
    assert {row["run"] for row in compared(runs, "--tag", "paper", "--tag", "a")["rows"]} == {"good"}
    assert runs("runs", "ls", "--tag", "paper", "-q").out.split() == ["also-good", "good"]
    assert runs("runs", "ls", "--tag", "paper", "--limit", "1", "-q").out.split() == ["also-good"]
    assert "paper" in runs("runs", "ls").out
    ran = runs("runs", "compare", "--tag", "nothing")
    assert (ran.code, "no run fits" in ran.err) == (4, True)
    assert runs("runs", "ls", "--tag", "nothing", "--json").json["runs"] == []


def test_the_reference_is_not_left_out_silently(runs):
    ran = runs("runs", "compare", "popularity-1", "good", "--tag", "paper")
    assert (ran.code, "popularity-1, the reference, is left out" in ran.err) == (2, True)
    assert [row["run"] for row in compared(runs, "good", "popularity-1", "--tag", "paper")["rows"]] == ["good"]


def test_corrections_count_all_runs_compared_however_few_are_shown(runs):
    whole = compared(runs)
    assert (whole["comparisons"], whole["num_runs"], whole["reference"]) == (6, 4, "good")
    p_values = {row["run"]: row["difference"] and row["difference"]["p_adjusted"] for row in whole["rows"]}
    for more in (["--limit", "2"], ["--sort", "run"], ["--sort", "-created", "--limit", "3"], ["--columns", "run"]):
        table = compared(runs, *more)
        assert (table["comparisons"], table["num_runs"], table["reference"]) == (6, 4, "good")
        for row in table["rows"]:
            assert (row["difference"] and row["difference"]["p_adjusted"]) == p_values[row["run"]]
    chosen = compared(runs, "--where", "name <> 'pft-i-1'")  # what a run is made of, not how it did
    assert (chosen["comparisons"], chosen["num_runs"]) == (3, 3)
    ran = runs("runs", "compare", "--limit", "1")
    assert "all 6 pairs" in ran.out + ran.err or "3 of the 4 runs" in ran.err


@pytest.mark.parametrize(
    ("key", "names"),
    [
        ("run", ["also-good", "good", "pft-i-1", "popularity-1"]),
        ("-run", ["popularity-1", "pft-i-1", "good", "also-good"]),
        ("hr@40", ["popularity-1", "good", "also-good", "pft-i-1"]),
        ("-hr@40", ["pft-i-1", "good", "also-good", "popularity-1"]),
        ("l", ["good", "also-good", "popularity-1", "pft-i-1"]),
        ("prompt_tokens_per_target", ["good", "also-good", "popularity-1", "pft-i-1"]),
    ],
)
def test_rows_are_sorted_by_any_column_and_those_without_a_value_come_last(runs, key, names):
    assert [row["run"] for row in compared(runs, f"--sort={key}")["rows"]] == names


def test_an_unknown_column_is_refused_with_a_guess(runs):
    for option in ("--sort", "--columns"):
        ran = runs("runs", "compare", option, "lerning_rate")
        assert (ran.code, "did you mean 'learning_rate'" in ran.err) == (2, True)
    assert runs("runs", "compare", "--columns", "run,,hr@5").code == 2


def test_columns_make_one_table(runs):
    table = compared(runs, "--columns", "run,L,hr@20,p_adjusted,label")
    first = table["rows"][0]["columns"]
    assert list(first) == ["run", "L", "hr@20", "p_adjusted", "label"]
    assert (first["L"], first["hr@20"]["value"], first["p_adjusted"]) == (5, 2 / 4, None)
    ran = runs("runs", "compare", "--columns", "run,L,hr@20,p_adjusted")
    assert ran.out.split()[:4] == ["run", "L", "hr@20", "p_adjusted"]
    assert "all 6 pairs" in ran.err


def test_csv_has_all_digits_and_no_formula(runs):
    ran = runs("runs", "compare", "--csv", "--columns", "run,note,hr@20,seed,difference")
    rows = list(csv.DictReader(io.StringIO(ran.out)))
    assert [row["run"] for row in rows] == ["good", "also-good", "popularity-1", "pft-i-1"]
    assert rows[0]["note"] == "'=1+1|_x"
    assert (float(rows[0]["hr@20"]), rows[0]["difference"], rows[1]["seed"]) == (0.5, "", "0")
    assert float(rows[0]["hr@20_low"]) < 0.5 < float(rows[0]["hr@20_high"])
    assert float(rows[3]["difference"]) < 0  # a number below zero is no formula
    header = runs("runs", "compare", "--csv").out.splitlines()[0].split(",")
    assert header[:5] == ["run", "label", "hr@10", "hr@10_low", "hr@10_high"]


def test_markdown_and_latex_show_text_as_it_is(runs):
    out = runs("runs", "compare", "--md", "--columns", "run,note,hr@20").out.splitlines()
    assert out[:2] == ["| run | note | hr@20 |", "| --- | --- | ---: |"]
    assert out[2].startswith(r"| good | =1+1\|\_x | 0.500 [")
    out = runs("runs", "compare", "--latex", "--columns", "run,note,hr@20,log_prob").out.splitlines()
    assert out[0] == r"\begin{tabular}{llrr}"
    assert out[2] == r"run & note & hr@20 & log\_prob \\"
    assert out[4].startswith(r"good & =1+1\textbar{}\_x & 0.500 [")
    assert out[-1] == r"\end{tabular}"
    assert runs("runs", "compare", "--md", "--latex").code == 2
    assert runs("runs", "compare", "--md", "--json").code == 2


def test_a_check_fails_with_1_and_names_the_runs(runs):
    assert runs("runs", "compare", "--fail-if", "hr@20 < 0.0").code == 0
    ran = runs("runs", "compare", "--fail-if", "hr@20 < 0.15", "--json")
    assert ran.code == 1
    assert ran.json["failed"] == ["popularity-1", "pft-i-1"]
    assert "'hr@20 < 0.15' holds for popularity-1, pft-i-1" in ran.err
    assert runs("runs", "compare", "good", "--fail-if", "hr@20 < 0.15").code == 0
    assert runs("runs", "compare", "good", "--fail-if", "hr@20 < 0.5 or ndcg@50 > 0.1").code == 1
    assert runs("runs", "compare", "--limit", "1", "--fail-if", "kind = 'title' and hr@20 < 0.15").code == 1
    assert runs("runs", "compare", "--fail-if", "finding = 'worse' and p_adjusted < 0.05", "--csv").code == 1
    assert runs("runs", "compare", "--fail-if", "hr@20 < ").code == 2


def test_a_check_of_what_a_run_has_no_value_of_fails(runs):
    ran = runs("runs", "compare", "--fail-if", "compression_paper < 2")
    assert (ran.code, "has no value of compression_paper" in ran.err) == (1, True)


def test_a_run_shows_each_evaluation_with_its_time_and_equal_ones_once(runs, tmp_path):
    with Store.open(tmp_path / "home") as store:
        for ks in ((10, 20), (10, 20), (5,)):
            evaluate(store, "good", [1, 15, 45, 80], ks=ks)
        moments = {found.created_at[:16].replace("T", " ") for found in store.evaluations.all("good")}
    out = runs("runs", "show", "good").out
    assert out.count(f"{USERS} targets of {USERS} users") == 2
    assert "the newest of 3 like it" in " ".join(out.split())
    assert any(f"{moment} UTC; test, score catalog" in out for moment in moments)
    assert len(runs("runs", "show", "good", "--json").json["run"]["evaluations"]) == 4
