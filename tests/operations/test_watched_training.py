"""What a run leaves in the store while it trains, when it is interrupted, and when it validated."""

import os
import signal
from pathlib import Path

import pytest

from patchrec.errors import InterruptedRunError, UsageError
from patchrec.model.backbone import Backbone
from patchrec.operations.evaluate import evaluate
from patchrec.operations.runs import show_run
from patchrec.operations.training import run_progress as progress_module
from patchrec.operations.training.run_progress import last_minute
from patchrec.operations.training.train import finetune, pretrain
from patchrec.store import Store
from patchrec.store.runs import LossRow
from patchrec.training import loop
from patchrec.training.language_learner import LanguageLearner

TINY = {"data": "walkers", "backbone": "tiny-random", "batch_size": 20}


@pytest.fixture
def after_step(monkeypatch: pytest.MonkeyPatch):
    """Do something once, when a step has been learned."""

    def prepare(number, action):
        learn = LanguageLearner.learn

        def learn_then(self, first):
            for row in learn(self, first):
                if row.step == number:
                    monkeypatch.undo()
                    action()
                yield row

        monkeypatch.setattr(LanguageLearner, "learn", learn_then)

    return prepare


def raise_interrupt() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_an_interrupted_run_that_goes_on(home: Path, after_step, number: int) -> None:
    after_step(2, lambda: os.kill(os.getpid(), number))
    with pytest.raises(InterruptedRunError):
        pretrain(**TINY, max_steps=4, home=home)
    with Store.open(home) as store:
        run = store.runs.get("pretrain-1")
        assert (run.status, run.num_steps) == ("interrupted", 4)
        assert "after step 2 of 4" in str(run.error)
    with pytest.raises(UsageError, match="cannot rank; go on with `patchrec pretrain --resume pretrain-1`, or choose"):
        evaluate("pretrain-1", home=home)
    assert pretrain(resume="pretrain-1", home=home).steps == 4
    assert show_run("pretrain-1", home=home)["status"] == "done"


def test_ctrl_c_at_once_is_no_failure_either(home: Path, after_step) -> None:
    after_step(2, raise_interrupt)
    with pytest.raises(KeyboardInterrupt):
        pretrain(**TINY, max_steps=4, home=home)
    shown = show_run("pretrain-1", home=home)
    assert (shown["status"], shown["error"]) == ("interrupted", "stopped at once by Ctrl-C")


def test_a_seed_beside_a_resumed_run_is_refused(home: Path, after_step) -> None:
    after_step(2, raise_interrupt)
    with pytest.raises(KeyboardInterrupt):
        pretrain(**TINY, max_steps=4, seed=5, home=home)
    for seed in (0, 5):
        with pytest.raises(UsageError, match="drop --seed"):
            pretrain(resume="pretrain-1", seed=seed, home=home)
    assert show_run(pretrain(resume="pretrain-1", home=home).run, home=home)["seed"] == 5


def test_a_seed_that_is_not_given_is_zero(home: Path) -> None:
    runs = [pretrain(**TINY, max_steps=2, home=home, **given).run for given in ({}, {"seed": 0})]
    first, second = ([row["loss"] for row in show_run(run, home=home)["losses"]] for run in runs)
    assert first == second


def test_a_running_run_shows_step_speed_time_left_and_loss(home: Path, after_step) -> None:
    seen = {}
    after_step(3, lambda: seen.update(show_run("pretrain-1", home=home)))
    pretrain(**TINY, max_steps=6, home=home)
    assert seen["status"] == "running"
    progress, losses = seen["progress"], seen["losses"]
    assert (progress["step"], progress["num_steps"]) == (2, 6)  # the third is learned and not yet logged
    seconds = sum(row["seconds"] for row in losses)
    assert progress["tokens_per_second"] == pytest.approx(sum(row["tokens"] for row in losses) / seconds)
    assert progress["seconds_left"] == pytest.approx((6 - 2) * seconds / 2)
    assert progress["loss"] == pytest.approx((losses[0]["loss"] + losses[1]["loss"]) / 2)


def test_a_finished_run_has_no_time_left(home: Path) -> None:
    progress = show_run(pretrain(**TINY, max_steps=2, home=home).run, home=home)["progress"]
    assert (progress["step"], progress["num_steps"], progress["seconds_left"]) == (2, 2, None)


def test_a_run_before_its_first_step_has_no_progress(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "train", lambda *_, **__: raise_interrupt())
    with pytest.raises(KeyboardInterrupt):
        pretrain(**TINY, home=home)
    assert show_run("pretrain-1", home=home)["progress"] is None


def test_speed_is_that_of_the_last_minute() -> None:
    rows = [LossRow(step, 1.0, 100, 1, seconds, 0.1) for step, seconds in enumerate((500.0, 40.0, 25.0), start=1)]
    assert [row.step for row in last_minute(rows)] == [3, 2]
    assert [row.step for row in last_minute(rows[:1])] == [1]
    assert progress_module.LAST_SECONDS == 60


def test_a_run_that_validates_keeps_its_curve_and_its_best_step(home: Path) -> None:
    result = finetune(strategy="vanilla", **TINY, max_steps=5, validate_every=2, validation_targets=7, home=home)
    shown = show_run(result.run, home=home)
    assert [(row["step"], row["targets"]) for row in shown["validations"]] == [(2, 7), (4, 7), (5, 7)]
    best = min(shown["validations"], key=lambda row: row["loss"])
    assert (result.best_step, result.validation_loss) == (best["step"], best["loss"])
    assert (shown["summary"]["best_step"], shown["summary"]["validation_loss"]) == (best["step"], best["loss"])
    assert evaluate(result.run, limit=3, home=home).run == result.run
    assert len(shown["checkpoints"]) == 1


def test_the_model_of_a_run_is_its_best_checkpoint(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    import torch

    measure, kept, losses = LanguageLearner.measure, [], iter([1.0, 2.0, 2.0])

    def measured(self):
        kept.append(self.backbone.embedding.detach().clone())
        return replace(measure(self), loss=next(losses))

    monkeypatch.setattr(LanguageLearner, "measure", measured)
    result = finetune(strategy="vanilla", **TINY, max_steps=5, validate_every=2, home=home)
    assert result.best_step == 2
    model = Backbone.load(Path(result.folder), name="tiny-random", device="cpu")
    assert torch.equal(model.embedding, kept[0])
    assert not torch.equal(kept[0], kept[2])


def test_validating_changes_no_loss(home: Path) -> None:
    plain = finetune(strategy="vanilla", **TINY, max_steps=4, home=home)
    watched = finetune(strategy="vanilla", **TINY, max_steps=4, validate_every=1, home=home)
    assert plain.best_step is None
    one, other = ([row["loss"] for row in show_run(run.run, home=home)["losses"]] for run in (plain, watched))
    assert one == other


def test_a_finished_run_that_validated_is_used_again(home: Path) -> None:
    asked = {"strategy": "vanilla", **TINY, "max_steps": 2, "validate_every": 1, "reuse": True, "home": home}
    assert finetune(**asked) == finetune(**asked)


def test_validation_targets_alone_are_refused(home: Path) -> None:
    with pytest.raises(UsageError, match="add --validate-every N"):
        pretrain(**TINY, validation_targets=5, home=home)


def test_a_setting_that_does_not_exist_is_refused(home: Path) -> None:
    with pytest.raises(TypeError, match="epoch"):
        pretrain(**TINY, epoch=3, home=home)
