"""Titles beyond a number of tokens: told when they come, cut or refused when a run begins, and ranked exactly."""

from pathlib import Path

import numpy as np
import pytest

from patchrec.config import PromptConfig
from patchrec.data.catalog import Catalog
from patchrec.data.histories import Dataset, Sequences
from patchrec.data.long_titles import MOST_LETTERS, long_titles_note
from patchrec.errors import InputError
from patchrec.model.titles import TitleTokens
from patchrec.operations.datasets import add_items
from patchrec.operations.evaluate import evaluate
from patchrec.operations.load import load
from patchrec.operations.training.dry_run import dry_run
from patchrec.operations.training.train import finetune
from patchrec.reporting import Silent
from patchrec.store import Store

LONG = "m" * 100_000
TINY = {"backbone": "tiny-random", "batch_size": 16, "max_steps": 2, "start": "none", "strategy": "vanilla"}


class Notes(Silent):
    """Remembers what is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


def monsters() -> Dataset:
    """Eight users over items of which three are 100,000 letters long; two of these begin alike."""
    titles = (LONG + "a", LONG + "b", "n" + LONG, "Heat", "Big", "Ran")
    items = np.tile(np.arange(6), (8, 2))
    items = np.stack([np.roll(row, user) for user, row in enumerate(items)])
    stops = np.full(8, 10)
    sequences = Sequences(
        tuple(f"u{user}" for user in range(8)),
        np.arange(9) * 12, items.ravel(), np.arange(96) * 1000, stops, stops + 1,
    )  # fmt: skip
    return Dataset("monsters", Catalog(tuple(f"i{item}" for item in range(6)), titles), sequences)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    with Store.open(tmp_path / "home") as store:
        store.datasets.add(monsters(), source="made up", licence="none", split={"rule": "ratio"})
    return tmp_path / "home"


def test_titles_are_cut_token_by_token():
    titles = TitleTokens(np.arange(9), np.array([0, 2, 5, 6, 9]))
    cut = titles.cut(2)
    assert [cut.of(item).tolist() for item in range(4)] == [[0, 1], [2, 3], [5], [6, 7]]
    assert titles.cut(3) is titles


def test_a_title_of_100_000_letters_trains_and_ranks(home: Path) -> None:
    told = Notes()
    run = finetune(**TINY, home=home, report=told)
    (note,) = [note for note in told.notes if "--max-title-tokens 64" in note]
    assert note.startswith("3 titles have more than --max-title-tokens 64: the longest, 'mmm")
    assert "has 100,001" in note
    found = evaluate(run.run, home=home)
    assert found.num_targets == 8
    with Store.open(home) as store:
        loaded = load(store, store.runs.get(run.run))
    query = loaded.user_query(0)
    ((_, scores),) = loaded.recommender.score_each([query])
    assert loaded.recommender.encoder.titles.lengths.tolist() == [64, 64, 64, 4, 3, 3]
    assert scores.log_probs[0] == scores.log_probs[1]  # the same first tokens


def test_they_are_refused_by_choice_before_a_run_is_made(home: Path) -> None:
    with pytest.raises(InputError, match=r"3 titles have more than --max-title-tokens 64.*has 100,001; shorten them"):
        finetune(**TINY, long_titles="refuse", home=home)
    with Store.open(home) as store:
        assert store.runs.all() == []


def test_a_dry_run_says_so(home: Path) -> None:
    told = Notes()
    dry_run("finetune", **TINY, home=home, report=told)
    assert any("3 titles have more than --max-title-tokens 64" in note for note in told.notes)


def test_a_next_stage_takes_the_number_of_its_parent(home: Path) -> None:
    first = finetune(**TINY, max_title_tokens=5, home=home)
    again = finetune(**(TINY | {"start": first.run}), home=home)
    with Store.open(home) as store:
        assert store.runs.get(again.run).config.prompt.max_title_tokens == 5


def test_runs_of_earlier_versions_keep_whole_titles():
    assert PromptConfig().max_title_tokens is None


def test_long_titles_are_told_when_they_come(home: Path) -> None:
    assert long_titles_note(["x" * MOST_LETTERS]) is None
    told = Notes()
    add_items("monsters", item_id="new", title=LONG, home=home, report=told)
    assert told.notes == [long_titles_note([LONG])]
    assert "1 title has more than 256 letters" in told.notes[0]
    assert "has 100,000" in told.notes[0]
    assert len(told.notes[0]) < 300
