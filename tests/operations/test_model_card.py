"""The model card of an export: front matter that the hub reads, code that runs, numbers of the store, no rows."""

import re
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from patchrec.operations.evaluate import evaluate
from patchrec.operations.exporting.export import card_facts, export_run
from patchrec.operations.exporting.model_card import model_card
from patchrec.operations.recommend import recommend
from patchrec.operations.strategies import preview
from patchrec.operations.training.train import finetune, pretrain
from patchrec.store import Store

TINY = {"data": "walkers", "backbone": "tiny-random", "batch_size": 20}


def card_of(home: Path, run: str) -> str:
    with Store.open(home) as store:
        return model_card(card_facts(store, store.runs.get(run)))


def renamed(home: Path, column: str, value: str) -> None:
    """Give all runs another backbone, or the data set another licence."""
    table = "runs" if column == "backbone" else "datasets"
    with Store.open(home) as store, store.write() as db:
        db.execute(f"UPDATE {table} SET {column} = ?", [value])


def section(card: str, heading: str) -> str:
    return card.split(f"\n## {heading}\n")[1].split("\n## ")[0]


@pytest.mark.parametrize(
    ("strategy", "options", "prompt"),
    [
        ("vanilla", {}, {"prompt": "instruction-first"}),
        ("pft-i", {"M": 2}, {"prompt": "paper"}),
        ("pft-s", {"L": 3}, {"prompt": "continuation"}),
        ("pft-s", {"L": 3}, {"prompt": "continuation", "separators": "titles"}),
    ],
)
def test_the_card_s_program_gives_the_scores_of_a_recommendation(
    home, tmp_path, monkeypatch, strategy, options, prompt
):
    run = finetune(strategy=strategy, options=options, **TINY, **prompt, max_steps=1, home=home).run
    export_run(run, tmp_path / "exported", home=home)
    card = (tmp_path / "exported" / "README.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    monkeypatch.chdir(tmp_path / "exported")
    names = {}
    exec(compile(program, "README.md", "exec"), names)

    history = []
    for span in preview(user="u3", run=run, home=home)["spans"]:
        together = span["grain"] == "session"
        history += [
            (span["grain"], group) for group in ([span["titles"]] if together else [[t] for t in span["titles"]])
        ]
    best = recommend(user="u3", run=run, k=3, score="joint", home=home).ranking
    assert [names["score"](history, line.title) for line in best] == pytest.approx(
        [line.score for line in best], abs=1e-3
    )


def test_the_front_matter_names_licence_base_model_data_and_library(home):
    run = finetune(strategy="vanilla", **TINY, max_steps=1, home=home).run
    assert ModelCard(card_of(home, run)).data.to_dict() == {
        "library_name": "transformers",
        "license": "apache-2.0",
        "datasets": ["walkers"],
        "tags": ["patchrec", "sequential-recommendation", "recommender-system"],
    }


@pytest.mark.parametrize(
    ("backbone", "base_model", "licence", "said"),
    [
        ("smollm2-135m", "HuggingFaceTB/SmolLM2-135M-Instruct", "apache-2.0", "Apache-2.0"),
        ("llama-3.2-1b", "meta-llama/Llama-3.2-1B-Instruct", "llama3.2", "Built with Llama"),
        ("org/model", "org/model", "other", "see the page of org/model"),
        ("/home/jane/secret/my-model", None, "other", "that of the model it was made from"),
    ],
)
def test_the_licence_is_that_of_the_base_model(home, backbone, base_model, licence, said):
    run = finetune(strategy="vanilla", **TINY, max_steps=1, home=home).run
    renamed(home, "backbone", backbone)
    card = card_of(home, run)
    data = ModelCard(card).data
    assert (data.base_model, data.license) == (base_model, licence)
    assert said in card
    assert "jane" not in card


def test_a_run_without_an_evaluation_says_so(home):
    run = finetune(strategy="vanilla", **TINY, max_steps=1, home=home).run
    assert section(card_of(home, run), "Metrics").strip() == f"Not evaluated yet (`patchrec eval {run}` does)."


def test_metrics_are_those_of_the_newest_evaluation_with_their_intervals(home):
    run = finetune(strategy="vanilla", **TINY, max_steps=1, home=home).run
    evaluate(run, limit=3, home=home)
    result = evaluate(run, limit=12, home=home)
    found = next(row for row in result.metrics if (row.name, row.level, row.seen) == ("mrr", "item", "dropped"))
    shown = section(card_of(home, run), "Metrics")
    assert "12 targets of 12 users" in shown
    assert "3 targets" not in shown
    assert f"| `mrr` | {found.value:.4f} [{found.low:.4f}, {found.high:.4f}] |" in shown
    assert f"{result.cost['tokens_per_target']:.1f} tokens" in card_of(home, run)


def test_targets_that_nobody_had_in_training_are_told_apart(home):
    run = finetune(strategy="vanilla", **TINY, max_steps=1, home=home).run
    result = evaluate(run, limit=12, home=home)
    assert "in training:" not in section(card_of(home, run), "Metrics")
    with Store.open(home) as store, store.write() as db:
        db.execute(
            "INSERT INTO metrics SELECT evaluation, name, level, seen, 0.125, NULL, NULL, 'cold', 4, 2 FROM metrics"
            " WHERE slice = 'all'"
        )
        db.execute("UPDATE evaluations SET cost = json_set(cost, '$.cold_targets', 4, '$.cold_users', 2)")
    assert result.num_targets == 12
    shown = section(card_of(home, run), "Metrics")
    assert "4 targets of 2 users" in shown
    assert "| `mrr` | 0.1250 |" in shown


def test_costs_have_every_stage_that_the_weights_went_through(home):
    first = pretrain(**TINY, max_steps=2, home=home)
    tuned = finetune(strategy="vanilla", data="walkers", batch_size=20, max_steps=1, home=home)
    costs = section(card_of(home, tuned.run), "Costs")
    assert f"| pretrain | `{first.run}` | 2 | {first.targets:,} | {first.tokens:,} |" in costs
    assert f"| finetune | `{tuned.run}` | 1 | {tuned.targets:,} | {tuned.tokens:,} |" in costs


def test_split_and_licence_of_the_data_are_there_and_its_rows_are_not(home):
    run = finetune(strategy="vanilla", **TINY, max_steps=1, home=home).run
    renamed(home, "licence", "research only; <b>ask</b> | cite\nus")
    evaluate(run, home=home)
    card = card_of(home, run)
    assert "Split: rule ratio." in card
    assert "research only; &lt;b&gt;ask&lt;/b&gt; \\| cite us" in card
    assert not re.search(r"\bi\d\d\b|\bu\d\b|<\|eot\|>", card)  # item ids, user ids, titles


def test_a_run_that_trained_nothing_has_a_card(home):
    evaluate(baseline="untrained", strategy="vanilla", data="walkers", backbone="tiny-random", limit=3, home=home)
    card = card_of(home, "untrained-1")
    assert "with nothing trained" in card
    assert "Nothing was trained." in section(card, "Costs")


def test_an_export_names_no_folder_of_this_machine(home, tmp_path):
    first = finetune(strategy="vanilla", **TINY, max_steps=1, home=home).run
    export_run(first, tmp_path / "backbone", home=home)
    settings = {**TINY, "backbone": str(tmp_path / "backbone")}
    second = finetune(strategy="vanilla", start="none", **settings, max_steps=1, home=home).run
    export_run(second, tmp_path / "exported", home=home)
    for name in ("README.md", "patchrec.json", "config.json"):
        assert str(tmp_path) not in (tmp_path / "exported" / name).read_text(encoding="utf-8")
