"""What reads a run that trains meanwhile never meets a checkpoint that is going away."""

import os
import shutil
import signal
from pathlib import Path

import pytest

from patchrec.errors import CorruptError, InterruptedRunError
from patchrec.model.backbone import Backbone
from patchrec.operations import load as loading
from patchrec.operations.evaluate import evaluate
from patchrec.operations.exporting.export import export_run
from patchrec.operations.recommend import recommend
from patchrec.operations.training.train import finetune
from patchrec.store import Store
from patchrec.training.checkpoint import read_manifest, write_checkpoint
from patchrec.training.language_learner import LanguageLearner

USES = {
    "eval": lambda home, run: evaluate(run, limit=2, home=home).run,
    "recommend": lambda home, run: recommend(user="u1", run=run, home=home).run,
    "export": lambda home, run: export_run(run, home / "out", home=home).run,
}


@pytest.fixture
def running(home: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A run with a checkpoint that this process seems to be training."""
    learn = LanguageLearner.learn

    def stopped(self, first):
        for row in learn(self, first):
            os.kill(os.getpid(), signal.SIGTERM)
            yield row

    with monkeypatch.context() as patch:
        patch.setattr(LanguageLearner, "learn", stopped)
        with pytest.raises(InterruptedRunError):
            finetune(
                strategy="item-mean", start="none", data="walkers", backbone="tiny-random", max_steps=3, batch_size=4,
                home=home,
            )  # fmt: skip
    with Store.open(home) as store:
        name = store.runs.all()[-1].name
        assert store.runs.reopen(name).status == "running"
    return name


def replace_newest(home: Path, run: str) -> None:
    """What training does when a checkpoint is due: the next one is written and noted, the one before goes."""
    with Store.open(home) as store:
        newest = store.runs.checkpoints(run)[-1]
        plain = shutil.ignore_patterns("manifest.json")  # which each has of its own

        def copy(place: Path) -> None:
            shutil.copytree(newest.path, place, dirs_exist_ok=True, ignore=plain)

        again = write_checkpoint(newest.path.parent, newest.step + 1, copy)
        store.runs.add_checkpoint(run, again.step, again.path, again.manifest)
        shutil.rmtree(newest.path)


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("moment", ["before it is checked", "after it was checked", "while it is read"])
def test_a_checkpoint_that_goes_away_is_followed_by_the_newest(
    home: Path, running: str, monkeypatch: pytest.MonkeyPatch, use: str, moment: str
) -> None:
    left = [3]

    def once(function, *, before: bool):
        def call(*arguments, **options):
            due = left[0] > 0
            left[0] -= due
            if due and before:
                replace_newest(home, running)
            found = function(*arguments, **options)
            if due and not before:
                replace_newest(home, running)
            return found

        return call

    if moment == "while it is read":
        monkeypatch.setattr(Backbone, "load", once(Backbone.load, before=True))
    else:
        monkeypatch.setattr(loading, "read_manifest", once(read_manifest, before=moment.startswith("before")))
    assert USES[use](home, running) == running
    assert left == [0]


def test_a_damaged_checkpoint_of_a_running_run_is_told_at_once(home: Path, running: str) -> None:
    with Store.open(home) as store:
        newest = store.runs.checkpoints(running)[-1]
    (newest.path / "training.json").write_bytes(b"")
    with pytest.raises(CorruptError, match=r"training\.json has another size"):
        evaluate(running, home=home)


def test_a_checkpoint_that_is_gone_for_good_is_told(home: Path, running: str) -> None:
    with Store.open(home) as store:
        shutil.rmtree(store.runs.checkpoints(running)[-1].path)
    with pytest.raises(CorruptError, match=r"manifest\.json is missing"):
        evaluate(running, home=home)
