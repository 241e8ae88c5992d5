"""Prompts longer than a model's positions: refused before a run is made, or told where it computes further ones."""

from pathlib import Path

import pytest
from transformers import GPT2Config, GPT2LMHeadModel

from patchrec.data.histories import Example
from patchrec.errors import UsageError
from patchrec.model.backbone import Backbone
from patchrec.model.positions import Positions
from patchrec.model.pull import locate
from patchrec.operations.load import load
from patchrec.operations.training.dry_run import dry_run
from patchrec.operations.training.train import finetune
from patchrec.recommender import Query, nothing, rank
from patchrec.reporting import Silent
from patchrec.store import Store

SETTINGS = {"data": "walkers", "batch_size": 40, "max_steps": 1, "start": "none", "strategy": "vanilla"}


class Notes(Silent):
    """Remembers what is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


def own_model(folder: Path) -> Path:
    """A small model in a folder of its owner's, who may change it."""
    return locate("tiny-random", folder).folder.rename(folder / "own")


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GPT-2 with 100 learned positions."""
    folder = own_model(tmp_path_factory.mktemp("few"))
    config = GPT2Config(vocab_size=263, n_embd=32, n_layer=1, n_head=4, n_positions=100, bos_token_id=0, eos_token_id=1)
    GPT2LMHeadModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def rotary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama made for 100 positions."""
    folder = own_model(tmp_path_factory.mktemp("rotary"))
    path = folder / "config.json"
    path.write_text(path.read_text().replace('"max_position_embeddings": 16384', '"max_position_embeddings": 100'))
    return folder


def test_learned_positions_are_told_from_computed_ones(few: Path, rotary: Path) -> None:
    assert Backbone.load(few, name="few", device="cpu").positions == Positions(100, learned=True)
    assert Backbone.load(rotary, name="rotary", device="cpu").positions == Positions(100, learned=False)


def test_a_longer_prompt_is_refused_before_a_run_is_made(home: Path, few: Path) -> None:
    """11 titles of 8 bytes with their separators after 68 bytes of instruction."""
    with pytest.raises(
        UsageError, match=r"longest prompt, of user 'u\d+', has 1\d\d positions.* has 100; .*--K \(now 100\)"
    ):
        finetune(**SETTINGS, backbone=str(few), prompt="continuation", home=home)
    with pytest.raises(UsageError, match="longest prompt"):
        dry_run("finetune", **SETTINGS, backbone=str(few), prompt="continuation", home=home)
    with Store.open(home) as store:
        assert store.runs.all() == []


def test_a_shorter_one_trains_and_what_is_longer_later_is_refused_too(home: Path, few: Path) -> None:
    run = finetune(**SETTINGS, backbone=str(few), prompt="continuation", K=2, home=home).run
    with Store.open(home) as store:
        loaded = load(store, store.runs.get(run))
    query = loaded.dataset.history(Example.at(0, 14, 14, "sliding"))
    assert len(query) == 14
    with pytest.raises(UsageError, match=r"positions or more, and .* has 100; give a shorter history"):
        rank(loaded.recommender, [Query(query, nothing())], 3)


def test_a_rotary_model_is_trained_and_told_of(home: Path, rotary: Path) -> None:
    told = Notes()
    finetune(**SETTINGS, backbone=str(rotary), prompt="continuation", home=home, report=told)
    (note,) = [note for note in told.notes if "positions" in note]
    assert "which it was never trained on: take a lower --K (now 100)" in note
    quiet = Notes()
    finetune(**SETTINGS, backbone=str(rotary), prompt="continuation", K=2, home=home, report=quiet)
    assert not [note for note in quiet.notes if "positions" in note]
