"""The main job on made-up data with the tiny random backbone: every stage, every strategy, through the store."""

from pathlib import Path

import pytest
import torch

from patchrec import plugins
from patchrec.errors import NotFoundError, UsageError
from patchrec.operations.evaluate import evaluate
from patchrec.operations.exporting.export import export_run
from patchrec.operations.recommend import recommend
from patchrec.operations.runs import compare_runs
from patchrec.operations.strategies import preview
from patchrec.operations.training.train import finetune, pretrain
from patchrec.store import Store

TINY = {"data": "walkers", "backbone": "tiny-random"}
STRATEGIES = {
    "vanilla": {},
    "item-mean": {},
    "session-by-count": {"L": 3},
    "session-by-time-window": {"window": "3d"},
    "pft-i": {"M": 3},
    "pft-s": {"L": 3},
    "dropout": {"M": 3},
    "patch-pretraining": {},
    "budget": {"tokens": 30},
}


def metric(result, name, level="item", seen="dropped"):
    return next(row.value for row in result.metrics if (row.name, row.level, row.seen) == (name, level, seen))


def test_every_built_in_strategy_is_tried_here():
    assert set(STRATEGIES) <= set(plugins.strategies())
    assert {
        name for name, found in plugins.strategies().items() if found.plan.__module__.startswith("patchrec_s")
    } == set(STRATEGIES)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_strategy_trains_evaluates_and_recommends(home: Path, strategy: str):
    run = finetune(strategy=strategy, options=STRATEGIES[strategy], **TINY, max_steps=2, batch_size=20, home=home)
    result = evaluate(run.run, home=home, limit=6)
    assert result.num_targets == 6
    assert result.cost["tokens_per_target"] > 0
    found = recommend(user="u3", run=run.run, k=5, home=home)
    # a user has read 14 of 20 letters, so 6 are left, and 5 were asked for
    assert [line.rank for line in found.ranking] == [1, 2, 3, 4, 5]
    assert not {line.item_id for line in found.ranking} & {f"i{item:02d}" for item in range(3, 17)}


@pytest.mark.parametrize("form", ["paper", "instruction-first", "continuation"])
@pytest.mark.parametrize("windows", ["sliding", "anchored"])
def test_every_prompt_and_window_trains_and_evaluates(home: Path, form: str, windows: str):
    run = finetune(strategy="pft-s", **TINY, prompt=form, windows=windows, K=8, max_steps=1, batch_size=20, home=home)
    assert evaluate(run.run, home=home, limit=4).num_targets == 4


def test_fine_tuning_starts_from_the_newest_pre_training_run_and_learns(home: Path):
    first = pretrain(**TINY, epochs=2, batch_size=10, learning_rate=3e-3, home=home)
    tuned = finetune(
        strategy="pft-s", options={"L": 3}, data="walkers", epochs=8, batch_size=10, learning_rate=3e-3, home=home
    )
    with Store.open(home) as store:
        assert store.runs.get(tuned.run).parent == first.run
        losses = [row.loss for row in store.runs.losses(tuned.run)]
        assert store.runs.get(tuned.run).status == "done"
    assert losses[-1] < losses[0] / 2
    untrained = evaluate(tuned.run, baseline="untrained", split="train", limit=30, home=home)
    trained = evaluate(tuned.run, split="train", limit=30, home=home)
    assert metric(trained, "log_prob", "title", "kept") > metric(untrained, "log_prob", "title", "kept")
    evaluate(baseline="popularity", data="walkers", split="train", limit=30, home=home)
    table = compare_runs([untrained.run, tuned.run, "popularity-1"], metric="log_prob", split="train", home=home)
    assert [row["run"] for row in table["rows"]] == [untrained.run, tuned.run, "popularity-1"]


def test_pre_training_reads_every_target_raw_and_compressed(home: Path):
    run = pretrain(**TINY, max_steps=1, batch_size=10, home=home)
    with Store.open(home) as store:
        assert [strategy.name for strategy in store.runs.get(run.run).config.strategies] == [
            "vanilla",
            "patch-pretraining",
        ]


def test_the_same_seed_gives_the_same_losses(home: Path):
    runs = [finetune(strategy="pft-i", **TINY, max_steps=3, batch_size=20, home=home).run for _ in range(2)]
    with Store.open(home) as store:
        first, second = ([row.loss for row in store.runs.losses(run)] for run in runs)
    assert first == second


def test_a_finished_run_and_its_evaluation_are_used_again_on_request(home: Path):
    again = {"strategy": "pft-s", **TINY, "max_steps": 1, "home": home, "reuse": True}
    first, second = finetune(**again), finetune(**again)
    assert first == second
    assert evaluate(first.run, limit=3, home=home) == evaluate(first.run, limit=3, home=home, reuse=True)
    with Store.open(home) as store:
        assert store.runs.names() == [first.run]
        assert len(store.evaluations.all()) == 1


def test_an_exported_model_gives_the_same_scores_from_the_previewed_positions(home: Path, tmp_path: Path):
    """What the documentation promises to anyone who checks us: positions, an open model, and one formula."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    run = finetune(strategy="pft-s", options={"L": 3}, **TINY, max_steps=2, batch_size=20, home=home).run
    export_run(run, tmp_path / "exported", home=home)
    shown = preview(user="u3", run=run, home=home)
    best = recommend(user="u3", run=run, k=1, score="joint", home=home).ranking[0]
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "exported", dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "exported")
    assert {"<|item_patch|>", "<|session_patch|>"} <= set(tokenizer.get_added_vocab())
    assert len(tokenizer) <= model.get_input_embeddings().num_embeddings
    embedding = model.get_input_embeddings().weight
    answer = tokenizer(best.title, add_special_tokens=False, split_special_tokens=True).input_ids
    answer.append(tokenizer("\n", add_special_tokens=False).input_ids[-1])
    inputs = [
        sum(weight * embedding[token] for token, weight in zip(bag["token_ids"], bag["weights"], strict=True))
        for bag in shown["positions"]
    ] + [embedding[token] for token in answer[:-1]]
    with torch.no_grad():
        logits = model(inputs_embeds=torch.stack(inputs)[None]).logits[0, -len(answer) :]
        score = sum(torch.log_softmax(row, 0)[token] for row, token in zip(logits, answer, strict=True))
    assert float(score) == pytest.approx(best.score, abs=1e-3)


def test_a_history_of_titles_or_ids_gets_recommendations(home: Path):
    run = finetune(strategy="vanilla", **TINY, max_steps=1, home=home).run
    by_title = recommend(history=["A<|EOT|>", "b<|eot|>"], run=run, home=home)
    by_id = recommend(history=["i00", "i01"], run=run, home=home)
    assert by_title.ranking == by_id.ranking
    assert by_title.history == ["a<|eot|>", "b<|eot|>"]


def test_unknown_users_items_runs_and_strategies_are_named(home: Path):
    run = finetune(strategy="vanilla", **TINY, max_steps=1, home=home).run
    with pytest.raises(NotFoundError, match="no user 'u33'; did you mean 'u3'"):
        recommend(user="u33", run=run, home=home)
    with pytest.raises(NotFoundError, match="no item 'z'"):
        recommend(history=["z"], run=run, home=home)
    with pytest.raises(NotFoundError, match="did you mean 'vanilla-1'"):
        evaluate("vanila-1", home=home)
    with pytest.raises(NotFoundError, match="did you mean 'pft-s'"):
        finetune(strategy="pfts", **TINY, home=home)
    with pytest.raises(UsageError, match="--user ID or --history"):
        recommend(run=run, home=home)


def test_a_run_is_refused_on_another_catalog(home: Path):
    run = finetune(strategy="vanilla", **TINY, max_steps=1, home=home).run
    with Store.open(home) as store, store.write() as db:
        db.execute("UPDATE runs SET fingerprints = json_set(fingerprints, '$.catalog', 'another')")
    with pytest.raises(UsageError, match="another catalog"):
        recommend(user="u3", run=run, home=home)


def test_a_failed_run_says_why_and_can_be_resumed(home: Path, monkeypatch: pytest.MonkeyPatch):
    from patchrec.training.language_learner import LanguageLearner

    learn = LanguageLearner.learn

    def break_once(self, first):
        yield next(learn(self, first))
        monkeypatch.undo()
        raise RuntimeError("power cut")

    monkeypatch.setattr(LanguageLearner, "learn", break_once)
    with pytest.raises(RuntimeError):
        finetune(strategy="vanilla", **TINY, max_steps=3, batch_size=20, home=home)
    with Store.open(home) as store:
        failed = store.runs.get("vanilla-1")
        assert (failed.status, failed.error) == ("failed", "RuntimeError('power cut')")
    assert finetune(resume="vanilla-1", home=home).steps == 3


def test_a_full_folder_is_not_written_over(home: Path, tmp_path: Path):
    run = finetune(strategy="vanilla", **TINY, max_steps=1, home=home).run
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        export_run(run, tmp_path / "kept", home=home)


def test_runs_are_compared_on_the_newest_targets_that_all_of_them_ranked(home: Path):
    run = finetune(strategy="vanilla", **TINY, max_steps=1, home=home).run
    evaluate(run, limit=4, home=home)
    evaluate(baseline="popularity", data="walkers", limit=4, home=home)
    evaluate(run, home=home)
    assert compare_runs([run, "popularity-1"], home=home)["num_targets"] == 4
    assert {row["run"] for row in compare_runs(home=home)["rows"]} == {run, "popularity-1"}


def test_settings_beside_a_resumed_run_are_refused(home: Path):
    with pytest.raises(UsageError, match="drop --data, --learning-rate"):
        pretrain(resume="pretrain-1", data="walkers", learning_rate=1e-4, home=home)
    with pytest.raises(UsageError, match="--force goes with --resume"):
        pretrain(**TINY, force=True, home=home)


def test_another_data_set_than_the_run_s_is_refused(home: Path):
    run = finetune(strategy="vanilla", **TINY, max_steps=1, home=home).run
    with pytest.raises(UsageError, match="on data set 'walkers', not 'other'"):
        recommend(user="u3", run=run, data="other", home=home)


def test_pre_training_of_the_named_backbone_is_found_behind_a_newer_one(home: Path, tmp_path: Path):
    first = pretrain(**TINY, max_steps=1, home=home)
    export_run(first.run, tmp_path / "other", home=home)
    second = pretrain(data="walkers", backbone=str(tmp_path / "other"), max_steps=1, home=home)
    tuned = finetune(strategy="vanilla", **TINY, max_steps=1, home=home)
    with Store.open(home) as store:
        assert store.runs.get(tuned.run).parent == first.run
        assert store.runs.get(second.run).config.backbone == str((tmp_path / "other").resolve())


def test_a_full_disk_while_exporting_is_told_as_such(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from safetensors import SafetensorError

    from patchrec.errors import OutOfResourcesError
    from patchrec.model.backbone import Backbone

    run = finetune(strategy="vanilla", **TINY, max_steps=1, home=home).run

    def full(*_: object) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(Backbone, "save", full)
    with pytest.raises(OutOfResourcesError, match="disk full while writing"):
        export_run(run, tmp_path / "exported", home=home)
    assert not (tmp_path / "exported").exists()
