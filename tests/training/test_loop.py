"""The training loop: learning, logging, checkpoints, stopping, refusing."""

import errno
import json
import os
import signal
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_training import make_config, make_dataset, make_planners, model_of, train

from patchrec.config import HistoryConfig, TrainingConfig
from patchrec.errors import (
    CorruptError,
    InputError,
    InterruptedRunError,
    OutOfResourcesError,
    PatchrecError,
    UsageError,
)
from patchrec.model import backbone
from patchrec.model.backbone import Backbone
from patchrec.training import loop
from patchrec.training.checkpoint import list_checkpoints, read_manifest
from patchrec.training.schedule import learning_rate_factor

TRAINING = TrainingConfig(batch_size=8, epochs=2, learning_rate=3e-3, checkpoint_every=2)
PRETRAIN = make_config(("vanilla", {}), ("patch-pretraining", {}), stage="pretrain", training=TRAINING)


class Reports:
    """A reporter that remembers."""

    def __init__(self):
        self.notes, self.tasks, self.advances = [], [], []

    def note(self, message):
        self.notes.append(message)

    def picked(self, what, value, why):
        raise AssertionError("training picks nothing")

    @contextmanager
    def task(self, label, total, unit, *, done=0.0):
        self.tasks.append((label, total, unit))
        self.done = done
        yield self

    def advance(self, amount, *, tokens=0, loss=None):
        self.advances.append((amount, tokens, loss))


class Sitting:
    """One call of `train` with what it logged."""

    def __init__(self, tiny_folder: Path, folder: Path):
        self.backbone = Backbone.load(tiny_folder, name="tiny-random", device="cpu")
        self.folder, self.rows, self.reports = folder, [], Reports()

    def run(self, config=PRETRAIN, dataset=None, *, after_step=lambda row: None, **options):
        def log(row):
            self.rows.append(row)
            after_step(row)

        dataset = dataset or make_dataset()
        planners = make_planners(config)
        return train(
            config, dataset, self.backbone, planners, folder=self.folder, log=log, report=self.reports, **options
        )

    @property
    def curve(self):
        return [(row.step, row.loss, row.tokens, row.targets, row.learning_rate) for row in self.rows]


@pytest.fixture
def sitting(tiny_folder, tmp_path):
    def start() -> Sitting:
        return Sitting(tiny_folder, tmp_path / "run")

    return start


@pytest.fixture(scope="module")
def undisturbed(tiny_folder, tmp_path_factory):
    run = Sitting(tiny_folder, tmp_path_factory.mktemp("undisturbed") / "run")
    run.result = run.run()
    return run


def weights(backbone):
    return {name: parameter.detach().clone() for name, parameter in backbone.model.named_parameters()}


def assert_same_bits(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


class CrashError(Exception):
    pass


def crash_after(number):
    def after_step(row):
        if row.step == number:
            raise CrashError

    return after_step


def signal_after(number, which):
    def after_step(row):
        if row.step == number:
            os.kill(os.getpid(), which)

    return after_step


# --- learning


def test_a_tiny_model_learns_twenty_examples_by_heart(sitting):
    dataset = make_dataset(num_users=4, shortest=8, longest=8)
    training = TrainingConfig(batch_size=20, epochs=60, learning_rate=1e-2)
    run = sitting()
    run.run(make_config(("vanilla", {}), history=HistoryConfig(K=20), training=training), dataset)
    assert {row.targets for row in run.rows} == {20}
    assert run.rows[-1].loss < 0.1 * run.rows[0].loss


def test_the_first_loss_is_that_of_the_untrained_backbone(sitting):
    """Random weights over V tokens: about log V, so certainly between half and thrice that."""
    run = sitting()
    run.run()
    uniform = np.log(run.backbone.vocab_size)
    assert 0.5 * uniform < run.rows[0].loss < 3 * uniform


def test_every_step_is_logged_with_its_learning_rate(undisturbed):
    steps = [row.step for row in undisturbed.rows]
    assert steps == list(range(1, len(steps) + 1))
    assert [row.learning_rate for row in undisturbed.rows] == [
        TRAINING.learning_rate * learning_rate_factor(step - 1, len(steps), TRAINING.warmup) for step in steps
    ]
    num_examples = len(make_dataset().examples("train", PRETRAIN.history.K))
    assert sum(row.targets for row in undisturbed.rows) == 2 * num_examples
    assert all(row.tokens > row.targets and row.seconds > 0 for row in undisturbed.rows)


def test_progress_tells_targets_tokens_and_loss(undisturbed):
    reports = undisturbed.reports
    assert reports.tasks == [("pretrain", 2 * len(make_dataset().examples("train", PRETRAIN.history.K)), "targets")]
    assert reports.advances == [(row.targets, row.tokens, row.loss) for row in undisturbed.rows]


def test_max_steps_cuts_the_run(sitting):
    run = sitting()
    training = TRAINING.model_copy(update={"max_steps": 3})
    result = run.run(make_config(("pft-s", {"L": 2}), training=training))
    assert [row.step for row in run.rows] == [1, 2, 3]
    assert result.progress.step == 3
    assert run.rows[-1].learning_rate == TRAINING.learning_rate * learning_rate_factor(2, 3, TRAINING.warmup)


def test_bfloat16_computes_low_and_keeps_float32_weights(sitting, tmp_path):
    short = TRAINING.model_copy(update={"max_steps": 3})
    plain = sitting()
    plain.run(make_config(("pft-s", {"L": 2}), training=short))
    low = sitting()
    low.folder = tmp_path / "low"
    low.run(make_config(("pft-s", {"L": 2}), training=short.model_copy(update={"dtype": "bfloat16"})))
    assert {parameter.dtype for parameter in low.backbone.parameters()} == {torch.float32}
    assert [row.loss for row in low.rows] != [row.loss for row in plain.rows]
    assert [row.loss for row in low.rows] == pytest.approx([row.loss for row in plain.rows], rel=0.05)


def test_the_same_run_twice_gives_the_same_bits(sitting, undisturbed):
    again = sitting()
    again.run()
    assert again.curve == undisturbed.curve
    assert_same_bits(weights(again.backbone), weights(undisturbed.backbone))


def test_another_seed_gives_another_order(sitting, undisturbed):
    other = sitting()
    other.run(PRETRAIN.model_copy(update={"seed": 1}))
    assert other.curve != undisturbed.curve


# --- what is left of a run


def test_a_finished_run_leaves_its_weights_and_no_optimizer(undisturbed):
    result = undisturbed.result
    (only,) = list_checkpoints(undisturbed.folder)
    assert only == result.checkpoint.path
    assert sorted(path.name for path in only.iterdir()) == ["manifest.json", "model", "training.json"]
    assert result.progress.step == len(undisturbed.rows)
    assert result.progress.tokens == sum(row.tokens for row in undisturbed.rows)
    loaded = Backbone.load(model_of(result), name="tiny-random", device="cpu")
    assert_same_bits(weights(loaded), weights(undisturbed.backbone))


def test_while_it_runs_the_newest_two_checkpoints_are_kept(sitting):
    run = sitting()
    with pytest.raises(CrashError):
        run.run(after_step=crash_after(7))
    assert [read_manifest(path).step for path in list_checkpoints(run.folder)] == [4, 6]


def test_without_a_number_of_steps_time_makes_checkpoints(sitting, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    run = sitting()
    config = make_config(("vanilla", {}), training=TRAINING.model_copy(update={"checkpoint_every": None}))
    with pytest.raises(CrashError):
        run.run(config, after_step=crash_after(4))
    assert [read_manifest(path).step for path in list_checkpoints(run.folder)] == [2, 3]


def test_every_checkpoint_is_told_of(sitting, undisturbed):
    told = []
    run = sitting()
    result = run.run(saved=told.append)
    last = len(undisturbed.rows)
    assert [checkpoint.step for checkpoint in told] == [*range(2, last, 2), last]
    assert told[-1] == result.checkpoint


# --- resuming


@pytest.mark.parametrize("step", [1, 5])
def test_a_crashed_run_resumes_bitwise_equal(sitting, undisturbed, step):
    first = sitting()
    with pytest.raises(CrashError):
        first.run(after_step=crash_after(step))
    second = sitting()
    result = second.run(resume=True)
    assert second.rows[0].step == (step - 1) // 2 * 2 + 1  # the checkpoint of a step comes after its log
    assert dict(zip((row.step for row in first.rows), first.curve, strict=True)) == dict(
        zip((row.step for row in first.rows), undisturbed.curve, strict=False)
    )
    assert second.curve == undisturbed.curve[second.rows[0].step - 1 :]
    assert_same_bits(weights(second.backbone), weights(undisturbed.backbone))
    assert result.progress.tokens == undisturbed.result.progress.tokens


@pytest.mark.parametrize(("which", "code", "name"), [(signal.SIGINT, 130, "Ctrl-C"), (signal.SIGTERM, 143, "SIGTERM")])
def test_a_signal_finishes_the_step_saves_and_resumes_bitwise_equal(sitting, undisturbed, which, code, name):
    first = sitting()
    with pytest.raises(
        InterruptedRunError, match=f"stopped by {name} after step 3 of .*pretrain --resume run`"
    ) as stopped:
        first.run(after_step=signal_after(3, which))
    assert stopped.value.exit_code == code
    assert list_checkpoints(first.folder)[-1].name == "step-00000003"
    second = sitting()
    second.run(resume=True)
    assert second.curve == undisturbed.curve[3:]
    assert_same_bits(weights(second.backbone), weights(undisturbed.backbone))
    assert second.reports.done == sum(row.targets for row in first.rows)
    assert second.reports.advances == [(row.targets, row.tokens, row.loss) for row in second.rows]


def test_dropout_too_resumes_bitwise_equal(sitting):
    def with_dropout(run):
        for layer in run.backbone.model.base_model.layers:
            layer.self_attn.attention_dropout = 0.3
        return run

    whole = with_dropout(sitting())
    whole.folder = whole.folder.with_name("whole")
    whole.run()
    first, second = with_dropout(sitting()), with_dropout(sitting())
    with pytest.raises(CrashError):
        first.run(after_step=crash_after(5))
    torch.rand(3)  # somebody else draws from torch's generator in between
    second.run(resume=True)
    assert_same_bits(weights(second.backbone), weights(whole.backbone))


def test_a_signal_in_the_last_step_lets_the_run_finish(sitting, undisturbed):
    run = sitting()
    run.run(after_step=signal_after(len(undisturbed.rows), signal.SIGTERM))
    assert run.curve == undisturbed.curve


def test_resuming_a_finished_run_takes_no_step(sitting, undisturbed):
    first, second = sitting(), sitting()
    result = first.run()
    assert second.run(resume=True) == result
    assert second.rows == []
    assert_same_bits(weights(second.backbone), weights(undisturbed.backbone))


def test_resuming_before_the_first_checkpoint_starts_over_and_says_so(sitting, undisturbed):
    run = sitting()
    run.run(resume=True)
    assert run.curve == undisturbed.curve
    assert run.reports.notes == ["this run has no checkpoint yet; starting from its first step"]


def test_a_new_run_does_not_take_over_checkpoints(sitting):
    with pytest.raises(CrashError):
        sitting().run(after_step=crash_after(4))
    with pytest.raises(UsageError, match="already holds checkpoints; resume that run"):
        sitting().run()


def other_config():
    return PRETRAIN.model_copy(update={"training": TRAINING.model_copy(update={"learning_rate": 1e-3})})


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"config": other_config()}, r"config\.training\.learning_rate: 0\.003 saved, 0\.001 now"),
        ({"config": PRETRAIN.model_copy(update={"seed": 5})}, r"config\.seed: 0 saved, 5 now"),
        ({"dataset": make_dataset(seed=1)}, r"data\.sequences: '\w{16}' saved, '\w{16}' now"),
    ],
    ids=["config", "seed", "data"],
)
def test_resuming_as_another_run_is_refused_with_the_difference(sitting, changed, named):
    with pytest.raises(CrashError):
        sitting().run(after_step=crash_after(4))
    with pytest.raises(UsageError, match=rf"cannot resume: {named}; .*--force"):
        sitting().run(**changed, resume=True)


def test_resuming_with_another_tokenizer_is_refused(sitting, tiny_folder, tmp_path):
    with pytest.raises(CrashError):
        sitting().run(after_step=crash_after(4))
    other = tmp_path / "other"
    other.mkdir()
    for file in tiny_folder.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    tokenizer = json.loads((other / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["A"], vocabulary["B"] = vocabulary["B"], vocabulary["A"]
    (other / "tokenizer.json").write_text(json.dumps(tokenizer))
    run = Sitting(other, sitting().folder)
    with pytest.raises(UsageError, match=r"tokenizer\.titles"):
        run.run(resume=True)


def test_force_resumes_all_the_same(sitting):
    with pytest.raises(CrashError):
        sitting().run(after_step=crash_after(4))
    run = sitting()
    run.run(other_config(), resume=True, force=True)
    assert run.rows[0].step == 3


def test_a_damaged_checkpoint_is_not_used(sitting, undisturbed):
    with pytest.raises(CrashError):
        sitting().run(after_step=crash_after(7))
    newest = list_checkpoints(sitting().folder)[-1]
    file = newest / "optimizer.safetensors"
    content = bytearray(file.read_bytes())
    content[-5] ^= 4
    file.write_bytes(content)
    with pytest.raises(CorruptError, match=r"step-00000006: optimizer\.safetensors .* remove that folder"):
        sitting().run(resume=True)
    for path in sorted(newest.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    newest.rmdir()
    run = sitting()
    run.run(resume=True)
    assert run.rows[0].step == 4 + 1
    assert_same_bits(weights(run.backbone), weights(undisturbed.backbone))


# --- what stops a run


def test_a_loss_that_is_not_a_number_stops_and_names_step_and_users(sitting, monkeypatch):
    calls = 0

    def poisoned(hidden, weight, bias, labels):
        nonlocal calls
        calls += 1
        return hidden.sum() * (float("nan") if calls == 6 else 1e-6)

    run = sitting()
    monkeypatch.setattr(backbone, "summed_cross_entropy", poisoned)
    with pytest.raises(PatchrecError, match=r"loss nan, .* at step 6 of \d+ \(users 'u\d'.*newest checkpoint is kept"):
        run.run(make_config(("vanilla", {}), training=TRAINING))
    assert [read_manifest(path).step for path in list_checkpoints(run.folder)] == [2, 4]


def test_a_gradient_that_is_not_finite_leaves_the_weights_alone(sitting, monkeypatch):
    run = sitting()
    before = weights(run.backbone)
    monkeypatch.setattr(backbone, "summed_cross_entropy", lambda hidden, *others: (hidden * 0).sqrt().sum())
    with pytest.raises(PatchrecError, match="gradient norm nan at step 1 of"):
        run.run(make_config(("vanilla", {}), training=TRAINING))
    assert_same_bits(weights(run.backbone), before)


def test_a_full_disk_keeps_the_checkpoint_before(sitting, undisturbed, monkeypatch):
    saves = 0

    def save(self, folder, weights=None):
        nonlocal saves
        saves += 1
        if saves == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        original(self, folder)

    original = Backbone.save
    run = sitting()
    with monkeypatch.context() as patch:
        patch.setattr(Backbone, "save", save)
        with pytest.raises(OutOfResourcesError, match=r"disk full while writing checkpoint .*step-00000006"):
            run.run()
    assert [read_manifest(path).step for path in list_checkpoints(run.folder)] == [2, 4]
    second = sitting()
    second.run(resume=True)
    assert_same_bits(weights(second.backbone), weights(undisturbed.backbone))


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
        torch.OutOfMemoryError(),
    ],
)
def test_too_little_memory_names_the_knob(sitting, monkeypatch, error):
    def forward(self, batch, *labels):
        raise error

    run = sitting()
    monkeypatch.setattr(Backbone, "forward", forward)
    with pytest.raises(OutOfResourcesError, match=r"forest of \d+ nodes; .* lower --max-nodes \(now \d+\)"):
        run.run()


def test_other_errors_pass_as_they_are(sitting, monkeypatch):
    def forward(self, batch, *labels):
        raise RuntimeError("something else")

    run = sitting()
    monkeypatch.setattr(Backbone, "forward", forward)
    with pytest.raises(RuntimeError, match="something else"):
        run.run()


def test_data_without_training_targets_are_refused(sitting):
    with pytest.raises(InputError, match="data set 'tiny' has no training targets"):
        sitting().run(dataset=make_dataset(shortest=2, longest=2))


def test_a_run_without_training_configuration_is_refused(sitting):
    with pytest.raises(UsageError, match="needs a training configuration"):
        sitting().run(PRETRAIN.model_copy(update={"training": None}))
