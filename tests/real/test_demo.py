"""The main job on real data with a real language model: MovieLens-100K and SmolLM2-135M, as `patchrec demo` runs it."""

from pathlib import Path

import pytest
import torch
from titles_run import Titles

from patchrec.operations.datasets import show_dataset
from patchrec.operations.demo import Demo, demo
from patchrec.operations.exporting.export import export_run
from patchrec.operations.recommend import recommend
from patchrec.operations.strategies import preview
from patchrec.store import Store

pytestmark = pytest.mark.real


def test_fine_tuning_moves_the_log_probability_of_held_out_targets_beyond_doubt(titles: Titles):
    untrained, tuned = titles.comparison["rows"]
    assert (untrained["run"], tuned["run"]) == ("untrained-1", "pft-s-1")
    assert tuned["difference"]["low"] > 1  # nats, the lower end of the paired interval


def test_the_demo_s_models_beat_popularity_and_their_mixture_beyond_doubt(shown: Demo):
    rows = shown.comparison["rows"]
    assert [row["run"] for row in rows] == ["popularity-1", "item-mean-1", "blend-1"]
    assert shown.comparison["num_targets"] == 1_024
    assert all(row["difference"]["difference"] > 0 for row in rows[1:])  # ndcg@10
    assert rows[2]["difference"]["low"] > 0
    log_probs = [next(own["value"] for own in row["metrics"] if own["name"] == "log_prob") for row in rows]
    assert log_probs == sorted(log_probs)


def test_recommendations_are_new_items_of_the_catalog(home: Path, shown: Demo):
    ranking = shown.recommendations.ranking
    assert [line.rank for line in ranking] == [1, 2, 3, 4, 5]
    with Store.open(home) as store:
        dataset = store.datasets.load("ml-100k")
    had = {dataset.catalog.item_ids[item] for item in dataset.sequences.items_of(dataset.user("42"))}
    assert not {line.item_id for line in ranking} & had


def test_a_second_demo_uses_what_is_there(home: Path, shown: Demo):
    with Store.open(home) as store:
        before = store.runs.names()
    again = demo(home=home)
    assert (again.finetuned, again.best) == (shown.finetuned, shown.best)
    assert again.comparison == shown.comparison
    with Store.open(home) as store:
        assert store.runs.names() == before


def test_the_data_has_the_paper_s_counts(home: Path, shown: Demo):
    targets = show_dataset("ml-100k", home=home)["targets"]
    assert (targets["train"], targets["validation"], targets["test"]) == (47_749, 1_005, 1_024)


def test_a_joint_score_can_be_recomputed_with_transformers_alone(home: Path, titles: Titles, tmp_path: Path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    run = titles.run
    export_run(run, tmp_path / "exported", home=home)
    best = recommend(user="42", run=run, k=1, score="joint", home=home).ranking[0]
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "exported", dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "exported")
    embedding = model.get_input_embeddings().weight
    answer = (
        tokenizer(best.title, add_special_tokens=False).input_ids + tokenizer("\n", add_special_tokens=False).input_ids
    )
    bags = preview(user="42", run=run, home=home)["positions"]
    bags += [{"token_ids": [token], "weights": [1.0]} for token in answer[:-1]]
    inputs = [torch.tensor(bag["weights"]) @ embedding[bag["token_ids"]] for bag in bags]
    with torch.no_grad():
        logits = model(inputs_embeds=torch.stack(inputs)[None]).logits[0, -len(answer) :]
    score = logits.log_softmax(dim=1)[torch.arange(len(answer)), answer].sum()
    assert float(score) == pytest.approx(best.score, abs=0.01)
