"""Title tokens and trie are kept beside a run, and only save time."""

from pathlib import Path

import pytest

from patchrec.model import tokenizer
from patchrec.operations.datasets import add_items
from patchrec.operations.evaluate import evaluate
from patchrec.operations.load import load
from patchrec.operations.training.train import finetune
from patchrec.ranking.kept import FILE_NAME
from patchrec.ranking.language import LanguageRecommender
from patchrec.store import Store
from patchrec.training.checkpoint import list_checkpoints, prune


@pytest.fixture
def run(home: Path) -> str:
    return finetune(
        strategy="vanilla", data="walkers", backbone="tiny-random", max_steps=1, batch_size=20, home=home
    ).run


def loaded(home: Path, run: str) -> LanguageRecommender:
    with Store.open(home) as store:
        return load(store, store.runs.get(run)).recommender


def refuse_to_encode(*_: object) -> None:
    raise AssertionError("titles were encoded again")


def test_a_run_loaded_again_encodes_no_title(home: Path, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = loaded(home, run)
    monkeypatch.setattr(tokenizer, "encode_titles", refuse_to_encode)
    again = loaded(home, run)
    assert again.encoder.titles.ids.tolist() == first.encoder.titles.ids.tolist()
    assert again.scorer.trie.forest.keys.tolist() == first.scorer.trie.forest.keys.tolist()


def test_an_untrained_run_keeps_them_too(home: Path) -> None:
    found = evaluate(
        baseline="untrained", strategy="vanilla", data="walkers", backbone="tiny-random", limit=2, home=home
    )
    with Store.open(home) as store:
        assert (store.run_folder(found.run) / FILE_NAME).is_file()


def test_a_catalog_with_new_items_is_encoded_anew(home: Path, run: str) -> None:
    before = len(loaded(home, run).scorer.trie)
    add_items("walkers", item_id="new", title="a new letter", home=home)
    assert len(loaded(home, run).scorer.trie) == before + 1


def test_a_run_folder_that_cannot_be_written_is_no_obstacle(home: Path) -> None:
    found = evaluate(
        baseline="untrained", strategy="vanilla", data="walkers", backbone="tiny-random", limit=2, home=home
    )
    with Store.open(home) as store:
        folder = store.run_folder(found.run)
    (folder / FILE_NAME).unlink()
    folder.rmdir()
    folder.write_text("a file where the folder should be")
    assert len(loaded(home, found.run).scorer.trie) == 20


def test_they_are_no_checkpoint_and_go_with_the_run(home: Path, run: str) -> None:
    loaded(home, run)
    with Store.open(home) as store:
        folder = store.run_folder(run)
        before = list_checkpoints(folder)
        prune(folder, keep=1)
        assert list_checkpoints(folder) == before
        assert (folder / FILE_NAME).is_file()
        store.runs.remove(run)
        assert not folder.exists()
