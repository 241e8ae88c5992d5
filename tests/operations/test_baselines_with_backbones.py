"""Baselines that begin with a model's weights: which, recorded where, and wanted never again once fitted."""

import json
import shutil
from pathlib import Path

import pytest
from text_models import make_encoder_folder

from patchrec.errors import NotFoundError, UsageError
from patchrec.operations.backbones import list_backbones, pull_backbone
from patchrec.operations.datasets import add_items
from patchrec.operations.evaluate import evaluate
from patchrec.operations.exporting.export import export_run
from patchrec.operations.filters import Filters
from patchrec.operations.recommend import recommend
from patchrec.operations.training.train import baseline, finetune
from patchrec.reporting import Silent
from patchrec.store import Store

TINY = {"data": "walkers", "max_steps": 2, "batch_size": 20, "validate_every": 1, "validation_targets": 4}
OPTIONS = {"width": 8, "layers": 1, "heads": 1}
SCRATCH = {**OPTIONS, "scratch": True, "trained": True, "scratch_width": 8, "scratch_layers": 1}
KEPT = Filters(keep_seen=True)
TITLES = tuple(f"{chr(97 + item)}<|eot|>" for item in range(20))  # of `walkers`


@pytest.fixture(scope="module")
def t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_encoder_folder(tmp_path_factory.mktemp("models") / "t5", "t5", TITLES)


class Picks(Silent):
    """A reporter that keeps what was picked."""

    def __init__(self) -> None:
        self.picks: list[tuple[str, str]] = []

    def picked(self, what: str, value: str, why: str) -> None:
        self.picks.append((what, value))


@pytest.mark.parametrize("trained", [False, True])
def test_a_fitted_run_never_needs_its_start_again(home: Path, t5: Path, tmp_path: Path, trained: bool):
    start = shutil.copytree(t5, tmp_path / "start")
    run = baseline("morec", options={**OPTIONS, "trained": trained}, backbone=str(start), **TINY, home=home).run
    before = recommend(user="u1", run=run, home=home)
    with Store.open(home) as store:
        found = store.runs.get(run)
    assert found.config.backbone == found.backbone == str(start)
    assert found.fingerprints.keys() >= {"backbone", "weights"}
    shutil.rmtree(start)
    assert recommend(user="u1", run=run, home=home).ranking == before.ranking
    assert evaluate(run, home=home).run == run


def test_an_item_that_came_later_is_ranked_by_its_title(home: Path, t5: Path):
    run = baseline("morec", options=OPTIONS, backbone=str(t5), **TINY, home=home).run
    twin = TITLES[7]
    add_items("walkers", item_id="twin", title=twin, home=home)
    lines = {line.item_id: line.score for line in recommend(user="u1", run=run, k=21, filters=KEPT, home=home).ranking}
    assert len(lines) == 21
    assert lines["twin"] == pytest.approx(lines["i07"], abs=1e-5)
    assert len(set(lines.values())) > 15
    found = recommend(history=["i00", "twin"], run=run, k=21, filters=KEPT, home=home).ranking
    same = recommend(history=["i00", "i07"], run=run, k=21, filters=KEPT, home=home).ranking
    assert [line.score for line in found] == pytest.approx([line.score for line in same], abs=1e-5)


def test_random_weights_are_said_in_the_label_and_kept(home: Path):
    report = Picks()
    result = baseline("morec", options=SCRATCH, **TINY, home=home, report=report)
    assert "scratch=True" in result.label
    assert "backbone" not in dict(report.picks)
    first = recommend(user="u1", run=result.run, home=home).ranking
    assert first == recommend(user="u1", run=result.run, home=home).ranking
    assert {path.name for path in (Path(result.folder) / "start").iterdir()} >= {"config.json", "tokenizer.json"}


def test_a_run_that_was_planned_with_other_weights_is_refused(home: Path, t5: Path, tmp_path: Path):
    """Files in a checkpoint are those that were fitted with."""
    run = baseline("morec", options=OPTIONS, backbone=str(t5), **TINY, home=home).run
    with Store.open(home) as store, store.write() as db:
        prints = {**store.runs.get(run).fingerprints, "backbone": "another"}
        db.execute("UPDATE runs SET fingerprints = ? WHERE name = ?", [json.dumps(prints), run])
    with pytest.raises(UsageError, match="was trained with another backbone"):
        recommend(user="u1", run=run, home=home)


def test_what_begins_with_weights_says_with_which(home: Path, t5: Path):
    report = Picks()
    with pytest.raises(NotFoundError, match=r"no backbone 'nowhere'.*--scratch"):
        baseline("morec", backbone="nowhere", **TINY, home=home, report=report)
    with pytest.raises(UsageError, match="morec takes random weights with --scratch; drop --backbone"):
        baseline("morec", options=SCRATCH, backbone=str(t5), **TINY, home=home)
    with pytest.raises(UsageError, match="sasrec has no language model; drop --backbone"):
        baseline("sasrec", backbone=str(t5), **TINY, home=home)
    with pytest.raises(UsageError, match="takes of a language model --backbone alone; drop --lora-rank"):
        baseline("morec", backbone=str(t5), lora_rank=2, **TINY, home=home)
    with Store.open(home) as store:
        assert store.runs.names() == []


def test_without_the_hub_the_way_out_is_named(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", _unreachable)
    with pytest.raises(NotFoundError, match=r"hub cannot be reached; .*--backbone PATH; or .*--scratch") as caught:
        baseline("morec", backbone="t5-small", **TINY, home=home)
    assert "\n" not in str(caught.value)


def test_two_models_are_found_kept_and_wanted_no_more(home: Path, t5: Path, tmp_path: Path):
    """Every folder is named by the option that it is."""
    bert = make_encoder_folder(tmp_path / "bert", "bert", TITLES)
    chosen = {"options": {"items": "bert", "item_backbone": str(bert)}, "backbone": str(t5)}
    run = baseline("lite-llm4rec", **chosen, **TINY, home=home).run
    before = recommend(user="u1", run=run, home=home)
    with Store.open(home) as store:
        found = store.runs.get(run)
    assert found.fingerprints.keys() >= {"backbone", "weights", "backbone of item_backbone", "weights of item_backbone"}
    shutil.rmtree(bert)
    assert recommend(user="u1", run=run, home=home).ranking == before.ranking
    with pytest.raises(NotFoundError, match=r"no backbone .*") as caught:
        baseline("lite-llm4rec", **chosen, **TINY, home=home)
    assert "\n" not in str(caught.value)


def test_the_recommendation_model_is_of_t5(home: Path, tmp_path: Path):
    bert = make_encoder_folder(tmp_path / "bert", "bert", TITLES)
    with pytest.raises(UsageError, match=r"is T5.s encoder, .* is a bert; take --backbone t5-small"):
        baseline("lite-llm4rec", backbone=str(bert), **TINY, home=home)


def test_without_the_hub_the_item_model_is_named_by_its_option(home: Path, t5: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", _unreachable)
    with pytest.raises(NotFoundError, match=r"bert-base-uncased: .*hub cannot be reached; .*--item-backbone PATH"):
        baseline("lite-llm4rec", options={"items": "bert"}, backbone=str(t5), **TINY, home=home)


def _unreachable(*_: object, **__: object) -> None:
    raise ConnectionError


def test_an_encoder_is_pulled_and_is_no_language_model(home: Path, t5: Path, tmp_path: Path):
    assert {"t5-small", "bert-base-uncased", "all-minilm-l6-v2"} <= {row.name for row in list_backbones(home=home)}
    assert pull_backbone(str(t5), home=home).num_parameters
    with pytest.raises(UsageError, match="encodes texts and writes none; take a causal language model"):
        finetune(strategy="vanilla", data="walkers", backbone=str(t5), max_steps=1, home=home)
    run = baseline("morec", options=OPTIONS, backbone=str(t5), **TINY, home=home).run
    with pytest.raises(UsageError, match=f"run {run} has no language model"):
        finetune(strategy="vanilla", data="walkers", start=run, max_steps=1, home=home)
    folder = export_run(run, tmp_path / "out", home=home).folder
    assert (Path(folder) / "start" / "tokenizer.json").is_file()
