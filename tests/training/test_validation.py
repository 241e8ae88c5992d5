"""Validation targets during training: what is measured, that it changes nothing, and that the best weights are kept."""

from dataclasses import replace
from math import nan

import numpy as np
import pytest
import torch
from tiny_training import make_config, make_dataset, make_learner, make_planners, model_of, train
from torch.nn import functional

from patchrec.config import TrainingConfig
from patchrec.data.histories import Dataset
from patchrec.errors import CorruptError, UsageError
from patchrec.model.attention import Extension
from patchrec.model.backbone import Backbone
from patchrec.model.forest import grow
from patchrec.training.checkpoint import list_checkpoints, read_manifest
from patchrec.training.language_learner import LanguageLearner

TRAINING = TrainingConfig(batch_size=8, epochs=3, learning_rate=3e-3, checkpoint_every=2)
WATCHED = TRAINING.model_copy(update={"validate_every": 3})
STRATEGIES = (("vanilla", {}), ("patch-pretraining", {}))


def dataset_with_validation() -> Dataset:
    made = make_dataset()
    sequences = made.sequences
    return replace(made, sequences=replace(sequences, train_stop=sequences.train_stop - 2))


DATASET = dataset_with_validation()


class Sitting:
    """One call of `train` and what it told."""

    def __init__(self, tiny_folder, folder):
        self.backbone = Backbone.load(tiny_folder, name="tiny-random", device="cpu")
        self.folder = folder
        self.rows, self.measured, self.saved, self.begun, self.notes = [], [], [], [], []

    def run(self, training=WATCHED, *, crash_after=None, **options):
        config = make_config(*STRATEGIES, training=training, stage="pretrain")

        def log(row):
            self.rows.append(row)
            if row.step == crash_after:
                raise KeyboardInterrupt

        return train(
            config,
            DATASET,
            self.backbone,
            make_planners(config),
            folder=self.folder,
            validation=DATASET.examples("validation", config.history.K) if training.validate_every else (),
            begun=lambda *told: self.begun.append(told),
            log=log,
            validated=self.measured.append,
            saved=self.saved.append,
            **options,
        )

    @property
    def curve(self):
        return [(row.step, row.loss, row.tokens) for row in self.rows]

    @property
    def losses(self):
        return {row.step: row.loss for row in self.measured}


@pytest.fixture
def sitting(tiny_folder, tmp_path):
    return lambda name="run": Sitting(tiny_folder, tmp_path / name)


@pytest.fixture(scope="module")
def whole(tiny_folder, tmp_path_factory):
    made = Sitting(tiny_folder, tmp_path_factory.mktemp("whole") / "run")
    made.result = made.run()
    return made


def weights(backbone):
    return {name: parameter.detach().clone() for name, parameter in backbone.model.named_parameters()}


def assert_same_bits(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


def test_it_is_measured_every_n_steps_and_after_the_last(whole):
    last = len(whole.rows)
    assert [row.step for row in whole.measured] == [*range(3, last, 3), last]
    assert whole.begun == [(last, 0)]
    assert {row.targets for row in whole.measured} == {DATASET.num_targets("validation")}
    assert len({row.tokens for row in whole.measured}) == 1


def test_the_loss_is_that_of_one_example_per_row(tiny_folder):
    """Every planner's layout of an evaluation, one row each, the mean over all answer tokens."""
    config = make_config(*STRATEGIES, training=WATCHED, stage="pretrain")
    backbone = Backbone.load(tiny_folder, name="tiny-random", device="cpu")
    planners = make_planners(config)
    examples = DATASET.examples("validation", config.history.K)
    learner = make_learner(config, DATASET, backbone, planners, examples)
    learner.begin()
    total, count, own = 0.0, 0, learner.encoder.fresh()
    for planner in planners:
        for example in examples:
            history = DATASET.history(example)
            answer = own.answer_path(DATASET.target(example))
            forest, _ = grow([np.concatenate([own.prompt_path(history, planner.plan(history)), answer[:-1]])])
            nodes = torch.arange(len(forest))[-len(answer) :]
            with torch.no_grad():
                logits = backbone.logits(backbone.hidden(backbone.batch(own, [Extension(forest)]))[nodes])
            total += float(functional.cross_entropy(logits, torch.from_numpy(answer), reduction="sum"))
            count += len(answer)
    assert learner.measure().loss == pytest.approx(total / count, rel=1e-5)


def test_measuring_changes_nothing_of_the_training(sitting, whole):
    plain = sitting()
    plain.run(TRAINING)
    assert plain.measured == []
    assert plain.curve == whole.curve


def test_measuring_draws_no_random_number(sitting, whole):
    """Even where a model has dropout, which it has in training alone."""

    def with_dropout(made):
        for layer in made.backbone.model.base_model.layers:
            layer.mlp.register_forward_hook(lambda module, _, out: functional.dropout(out, 0.3, module.training))
        return made

    plain, watched = with_dropout(sitting("plain")), with_dropout(sitting("watched"))
    plain.run(TRAINING)
    watched.run()
    assert watched.curve == plain.curve
    assert watched.losses[3] != whole.losses[3]


@pytest.fixture
def losses_of(monkeypatch):
    """Let validation find these losses, by step."""

    def prepare(found):
        learn, measure, steps = LanguageLearner.learn, LanguageLearner.measure, []

        def counted(self, first):
            for row in learn(self, first):
                steps.append(row.step)
                yield row

        def measured(self):
            return replace(measure(self), loss=found.get(steps[-1], 9.0))

        monkeypatch.setattr(LanguageLearner, "learn", counted)
        monkeypatch.setattr(LanguageLearner, "measure", measured)

    return prepare


def test_the_run_ends_with_the_weights_that_were_best(sitting, losses_of):
    losses_of({3: 5.0, 6: 4.0})
    at_six, full = sitting("six"), sitting("full")
    with pytest.raises(KeyboardInterrupt):
        at_six.run(crash_after=7)
    result = full.run()
    assert (result.progress.best_step, result.progress.best_loss) == (6, 4.0)
    assert result.progress.step == len(full.rows) > 6
    (only,) = list_checkpoints(full.folder)
    assert read_manifest(only).step == len(full.rows)
    best = Backbone.load(at_six.folder / "step-00000006" / "model", name="tiny-random", device="cpu")
    assert_same_bits(weights(full.backbone), weights(best))
    assert_same_bits(weights(Backbone.load(model_of(result), name="tiny-random", device="cpu")), weights(best))


def test_the_best_is_told_in_one_line(sitting, losses_of):
    losses_of({6: 4.0})

    class Reports:
        def __init__(self):
            self.notes = []

        def note(self, message):
            self.notes.append(message)

        def task(self, *_, **__):
            from patchrec.reporting import SILENT

            return SILENT.task("", 0, "")

    report = Reports()
    run = sitting()
    run.run(report=report)
    assert report.notes == [f"best of {len(run.measured)} by validation loss: step 6"]


def test_the_best_and_the_last_two_are_kept(sitting, losses_of):
    losses_of({3: 4.0, 6: 5.0})
    run = sitting()
    with pytest.raises(KeyboardInterrupt):
        run.run(crash_after=9)
    assert [read_manifest(path).step for path in list_checkpoints(run.folder)] == [3, 6, 8]


def test_losses_that_are_no_numbers_are_never_the_best(sitting, losses_of):
    losses_of({3: nan, 6: 5.0})
    assert sitting("some").run().progress.best_step == 6
    losses_of(dict.fromkeys(range(100), nan))
    result = sitting("none").run()
    assert result.progress.best_step is None
    assert result.progress.validations > 1


@pytest.mark.parametrize("crash", [1, 4, 6, 7, 10])
def test_a_crashed_run_resumes_bitwise_equal(sitting, whole, crash):
    first, second = sitting(), sitting()
    with pytest.raises(KeyboardInterrupt):
        first.run(crash_after=crash)
    result = second.run(resume=True)
    assert second.curve == whole.curve[second.begun[0][1] :]
    assert {**first.losses, **second.losses} == whole.losses
    assert result.progress == replace(whole.result.progress, seconds=result.progress.seconds)
    assert_same_bits(weights(second.backbone), weights(whole.backbone))


def test_a_resumed_run_knows_its_best_of_before(sitting, losses_of):
    losses_of({3: 4.0})
    first, second = sitting(), sitting()
    with pytest.raises(KeyboardInterrupt):
        first.run(crash_after=9)
    assert second.run(resume=True).progress.best_step == 3


def test_a_best_checkpoint_that_was_removed_is_found_again(sitting, losses_of):
    """A damaged newest checkpoint is removed by hand; the one before knows a best that a better one had replaced."""
    losses_of({3: 5.0, 6: 4.0})
    first, second, third = sitting(), sitting(), sitting()
    with pytest.raises(KeyboardInterrupt):
        first.run(crash_after=7)
    newest = list_checkpoints(first.folder)[-1]
    assert [path.name for path in list_checkpoints(first.folder)] == ["step-00000004", "step-00000006"]
    (newest / "training.json").write_text("{}")
    with pytest.raises(CorruptError, match="remove that folder"):
        second.run(resume=True)
    newest.rename(newest.with_name("elsewhere"))
    assert third.run(resume=True).progress.best_step == 6


def test_a_finished_run_is_complete_with_its_best_weights(sitting, losses_of):
    losses_of({3: 4.0})
    first, second = sitting(), sitting()
    first.run()
    result = second.run(resume=True)
    assert second.rows == second.measured == []
    assert result.progress.best_step == 3
    assert_same_bits(weights(second.backbone), weights(first.backbone))


def test_validation_without_targets_is_refused(sitting):
    config = make_config(*STRATEGIES, training=WATCHED, stage="pretrain")
    run = sitting()
    with pytest.raises(UsageError, match="no validation target"):
        train(config, DATASET, run.backbone, make_planners(config), folder=run.folder)
