"""Runs of every kind through the verbs: fitted, evaluated, asked, resumed, exported, on a grown catalog."""

import json
from pathlib import Path

import pytest

from patchrec.errors import NotFoundError, UsageError
from patchrec.operations.datasets import add_items
from patchrec.operations.evaluate import evaluate
from patchrec.operations.exporting.export import export_run
from patchrec.operations.filters import Filters
from patchrec.operations.many.bulk_job import Request
from patchrec.operations.many.recommend_all import recommend_all
from patchrec.operations.recommend import recommend
from patchrec.operations.runs import compare_runs, show_run
from patchrec.operations.training.train import baseline, finetune
from patchrec.store import Store
from patchrec.training.item_learner import ItemLearner

KEPT = Filters(keep_seen=True)
SASREC = {"options": {"width": 16, "layers": 1}, "epochs": 30, "batch_size": 20, "validate_every": None}
HEAD = {"data": "walkers", "backbone": "tiny-random", "strategy": "item-mean", "batch_size": 20, "epochs": 2}


@pytest.mark.parametrize("name", ["popularity", "recent", "markov", "item-knn", "sasrec", "esasrec", "fdsa", "s3rec"])
def test_a_baseline_is_evaluated_compared_asked_and_exported(home: Path, tmp_path: Path, name: str):
    learns = name in ("sasrec", "esasrec", "fdsa", "s3rec")
    settings = {"epochs": 1, "batch_size": 20} if learns else {}
    made = baseline(name, data="walkers", home=home, **settings)
    assert (made.kind, made.stage, made.run) == (name, "baseline", f"{name}-1")
    found = evaluate(made.run, limit=6, home=home)
    assert (found.score, found.num_targets) == ("item", 6)
    assert "compression_prompt" not in found.cost
    assert compare_runs([made.run], home=home)["num_targets"] == 6
    ranked = recommend(user="u1", run=made.run, k=3, home=home)
    assert len(ranked.ranking) == 3
    assert all(line.probability is not None for line in ranked.ranking)
    many = recommend_all(Request(output=str(tmp_path / "recs.csv"), run=made.run, k=2), home=home)
    assert many is not None
    assert many.rows == 2 * 12
    exported = export_run(made.run, tmp_path / "out", home=home)
    assert {"README.md", "patchrec.json"} < set(exported.files)
    facts = json.loads((tmp_path / "out" / "patchrec.json").read_text())
    assert facts["item_ids"][:2] == ["i00", "i01"]
    assert show_run(made.run, home=home)["kind"] == name


def test_what_follows_is_learned(home: Path):
    """The next letter is always the next title; SASRec is asked at positions that no training row had."""
    sharp = {"options": {"width": 16, "layers": 1, "dropout": 0.0}, "learning_rate": 1e-2}
    cases = (("markov", 0.9, {"options": {"strength": 0.1}}), ("sasrec", 0.6, SASREC | sharp))
    for name, bound, settings in cases:
        made = baseline(name, data="walkers", home=home, **settings)
        found = evaluate(made.run, home=home, ks=(1,))
        own = [row for row in found.metrics if row.slice == "all"]
        (hr,) = [row.value for row in own if (row.name, row.level, row.seen) == ("hr@1", "item", "kept")]
        assert hr > bound, name


def test_a_run_of_a_kind_is_made_once_for_an_evaluation(home: Path):
    first = evaluate(baseline="markov", data="walkers", limit=3, home=home)
    assert evaluate(baseline="markov", data="walkers", limit=3, home=home).run == first.run == "markov-1"
    assert baseline("markov", data="walkers", options={"strength": 5.0}, home=home).run == "markov-2"


def test_a_broken_run_of_a_baseline_goes_on(home: Path, monkeypatch: pytest.MonkeyPatch):
    whole = baseline("sasrec", data="walkers", home=home, **SASREC)
    learn = ItemLearner.learn

    def break_once(self, first):
        for row in learn(self, first):
            yield row
            if row.step == 7:
                monkeypatch.undo()
                raise KeyboardInterrupt

    monkeypatch.setattr("patchrec.training.loop.CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(ItemLearner, "learn", break_once)
    with pytest.raises(KeyboardInterrupt):
        baseline("sasrec", data="walkers", home=home, **SASREC)
    with pytest.raises(UsageError, match="resume it with `patchrec baseline sasrec --resume sasrec-2`"):
        baseline("esasrec", resume="sasrec-2", home=home)
    again = baseline("sasrec", resume="sasrec-2", home=home)
    assert (again.steps, again.loss) == (whole.steps, whole.loss)
    one, other = (recommend(user="u3", run=run, home=home) for run in (whole.run, again.run))
    assert one.ranking == other.ranking


def test_an_early_stop_keeps_the_best_by_ranking(home: Path):
    made = baseline(
        "sasrec", data="walkers", home=home,
        **SASREC | {"validate_every": 2, "validate_metric": "ndcg@10", "patience": 3, "learning_rate": 1e-2},
    )  # fmt: skip
    shown = show_run(made.run, home=home)
    best = max(row["metric"] for row in shown["validations"])
    first = next(row for row in shown["validations"] if row["metric"] == best)
    assert (made.best_step, made.validation_metric) == (first["step"], best)
    assert shown["validations"][-1]["step"] == made.steps
    assert made.steps - first["step"] == 2 * 3 or made.steps == shown["num_steps"]


@pytest.mark.parametrize("head", ["item", "both"])
def test_a_head_is_fitted_evaluated_and_exported(home: Path, tmp_path: Path, head: str):
    made = finetune(head=head, **HEAD, home=home)
    assert (made.kind, made.label) == (head, f"item-mean, {head}")
    for score in ("item",) if head == "item" else ("mixture", "catalog", "item"):
        assert evaluate(made.run, limit=4, score=score, home=home).score == score
    found = recommend(user="u1", run=made.run, k=4, home=home)
    whole = recommend(user="u1", run=made.run, k=4, search="whole", home=home)
    assert [line.item_id for line in found.ranking] == [line.item_id for line in whole.ranking]
    assert "items.safetensors" in export_run(made.run, tmp_path / "out", home=home).files


def test_what_the_item_head_proposes_is_ranked_by_the_other_score(home: Path):
    run = finetune(head="both", **HEAD, home=home).run
    for score in ("mixture", "catalog"):
        everything = [line.item_id for line in recommend(user="u1", run=run, k=20, score=score, home=home).ranking]
        for number in (3, 5, 50):
            proposed = recommend(user="u1", run=run, k=number, score="item", home=home).ranking
            among = {line.item_id for line in proposed}
            for search in ("best-first", "whole"):
                found = recommend(user="u1", run=run, k=3, score=score, search=search, retrieve=number, home=home)
                assert [line.item_id for line in found.ranking] == [item for item in everything if item in among][:3]


@pytest.mark.parametrize(
    ("head", "asked", "message"),
    [
        ("item", {"k": 2}, "ranks by its item scores alone"),
        ("title", {"k": 2}, "has no item head that could propose"),
        ("both", {"k": 2, "score": "item"}, "ranks by its item scores alone"),
        ("both", {"k": 6}, "--retrieve 5 is below --k 6"),
    ],
)
def test_two_stages_that_cannot_be_are_refused(home: Path, head: str, asked: dict, message: str):
    run = finetune(head=head, **HEAD, home=home).run
    with pytest.raises(UsageError, match=message):
        recommend(user="u1", run=run, retrieve=5, home=home, **asked)


def test_a_head_that_a_run_does_not_have_is_refused(home: Path):
    run = finetune(head="item", **HEAD, home=home).run
    with pytest.raises(UsageError, match="has no score 'mixture'; choices: item"):
        evaluate(run, score="mixture", home=home)


def test_an_item_head_over_states_of_the_model_reads_new_items_as_it_read_the_others(home: Path, tmp_path: Path):
    llm = {"head_options": {"item_encoder": "llm", "item_text": "the {title}"}}
    made = finetune(head="item", **HEAD, **llm, home=home)
    assert "item_encoder=llm" in made.label
    before = recommend(user="u1", run=made.run, k=20, filters=KEPT, home=home)
    with Store.open(home) as store:
        title = store.datasets.load("walkers").catalog.titles[3]
    add_items("walkers", item_id="new", title=title, home=home)
    after = recommend(user="u1", run=made.run, k=21, filters=KEPT, home=home)
    assert {line.item_id for line in after.ranking} == {line.item_id for line in before.ranking} | {"new"}
    again = finetune(head="item", start=made.run, **HEAD, **llm, home=home)
    assert evaluate(again.run, limit=4, home=home).score == "item"
    with pytest.raises(UsageError, match=r"--item-encoder llm goes with --table tied, patch or text"):
        finetune(head="item", **HEAD, head_options={"item_encoder": "llm", "table": "free"}, home=home)


def test_an_item_head_of_patches_ranks_an_item_that_came_later(home: Path):
    patch = finetune(head="item", **HEAD, home=home).run
    free = finetune(head="item", head_options={"table": "free"}, **HEAD, home=home).run
    sasrec = baseline("sasrec", data="walkers", home=home, epochs=1, batch_size=20).run
    before = recommend(user="u1", run=patch, k=20, filters=KEPT, home=home)
    add_items("walkers", item_id="new", title="a<|eot|>", home=home)
    after = recommend(user="u1", run=patch, k=21, filters=KEPT, home=home)
    assert {line.item_id for line in after.ranking} == {line.item_id for line in before.ranking} | {"new"}
    with pytest.raises(UsageError, match=r"table 'free' knows its 20 items alone.*--table patch"):
        recommend(user="u1", run=free, home=home)
    last = recommend(user="u1", run=sasrec, k=21, filters=KEPT, home=home).ranking[-1]
    assert last.item_id == "new"


def test_a_counted_run_of_an_earlier_version_is_counted_again(home: Path):
    """Popularity kept no checkpoint once."""
    run = baseline("popularity", data="walkers", home=home).run
    before = recommend(user="u1", run=run, home=home)
    with Store.open(home) as store, store.write() as db:
        db.execute("DELETE FROM checkpoints")
    assert recommend(user="u1", run=run, home=home).ranking == before.ranking


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "item"}, "train it with `patchrec finetune --head item`"),
        ({"name": "sasrek"}, "did you mean 'sasrec'"),
        ({"name": "popularity", "epochs": 2}, "learns nothing by gradient; drop --epochs"),
        ({"name": "sasrec", "lora_rank": 2}, "has no language model; drop --lora-rank"),
        ({"name": "markov", "options": {"width": 3}}, "baseline markov: no option '--width'; choices: --strength"),
    ],
)
def test_what_a_baseline_does_not_take_is_refused(home: Path, settings: dict, message: str):
    with pytest.raises((UsageError, NotFoundError), match=message) as caught:
        baseline(**settings, data="walkers", home=home)
    assert "\n" not in str(caught.value)
    with Store.open(home) as store:
        assert store.runs.names() == []


def test_a_head_too_large_for_memory_is_refused_before_a_run_is_made(home: Path, monkeypatch: pytest.MonkeyPatch):
    from patchrec.errors import OutOfResourcesError

    monkeypatch.setattr("patchrec.model.memory.free_memory", lambda device: 1000)
    with pytest.raises(OutOfResourcesError, match="an item head of 20 items"):
        finetune(head="item", **HEAD, home=home)
    with Store.open(home) as store:
        assert store.runs.names() == []
