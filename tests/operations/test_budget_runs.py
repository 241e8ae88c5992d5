"""A run whose strategy counts tokens: trained, evaluated, previewed and reported with its model's own counts."""

from pathlib import Path

import pytest

from patchrec.errors import NotFoundError, UsageError
from patchrec.operations import example_users
from patchrec.operations.evaluate import evaluate
from patchrec.operations.report import write_report
from patchrec.operations.strategies import preview
from patchrec.operations.training.train import finetune
from patchrec.reporting import Silent

TOKENS = 30


class Notes(Silent):
    def __init__(self):
        self.notes: list[str] = []

    def note(self, message):
        self.notes.append(message)


@pytest.fixture
def run(home: Path) -> str:
    settings = {"strategy": "budget", "options": {"tokens": TOKENS}, "data": "walkers", "backbone": "tiny-random"}
    return finetune(**settings, prompt="continuation", max_steps=2, batch_size=20, home=home).run


def test_a_run_counts_with_its_own_tokenizer(run, home, tmp_path, monkeypatch):
    assert evaluate(run, limit=4, home=home).num_targets == 4
    shown = preview(run=run, user="u3", home=home)
    around = len(preview(run=run, length=0, home=home)["positions"])
    assert "text" in {span["grain"] for span in shown["spans"]}
    assert 0 < len(shown["positions"]) - around <= TOKENS
    said = Notes()
    assert write_report([run], out=tmp_path / "page.html", home=home, report=said)["users"]
    assert "is not shown" not in " ".join(said.notes)

    def gone(*_):
        raise NotFoundError("no such folder")

    monkeypatch.setattr(example_users, "weights_folder", gone)
    assert write_report([run], out=tmp_path / "again.html", home=home, report=said)["users"]
    assert said.notes[-1] == f"what {run} read is not shown: no such folder"


def test_a_preview_without_a_model_says_that_it_needs_one(home):
    with pytest.raises(UsageError, match="--backbone"):
        preview("budget", {}, length=5, home=home)
