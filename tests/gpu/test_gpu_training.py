"""Training on a GPU: near what the CPU does, resumable, and out of memory in one line."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_training import make_config, make_dataset, make_learner, make_planners, train

from patchrec.config import RunConfig, TrainingConfig
from patchrec.errors import OutOfResourcesError
from patchrec.model.backbone import Backbone
from patchrec.store.runs import LossRow
from patchrec.training.objective import label_step

pytestmark = pytest.mark.gpu
Load = Callable[[torch.device | str], Backbone]
STEPS = 20


class _KilledError(Exception):
    """Stands for a kill: nothing is saved on the way out."""


def configured(**training: object) -> RunConfig:
    values = {"batch_size": 8, "epochs": 5, "max_steps": STEPS, "learning_rate": 1e-3, "checkpoint_every": 5}
    return make_config(("vanilla", {}), ("pft-s", {"L": 2}), training=TrainingConfig(**(values | training)))


def losses_of(
    backbone: Backbone, config: RunConfig, folder: Path, *, kill_at: int | None = None, resume: bool = False
) -> list[float]:
    """Train and give the loss of each step; die after one of them if told to."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    losses = []

    def log(row: LossRow) -> None:
        losses.append(row.loss)
        if row.step == kill_at:
            raise _KilledError

    train(config, make_dataset(), backbone, make_planners(config), folder=folder, log=log, resume=resume)
    return losses


def test_losses_are_close_to_those_of_the_cpu(device: torch.device, load: Load, tmp_path: Path):
    expected = losses_of(load("cpu"), configured(), tmp_path / "cpu")
    assert losses_of(load(device), configured(), tmp_path / "gpu") == pytest.approx(expected, abs=1e-4)
    assert len(expected) == STEPS
    assert expected[-1] < expected[0]


def test_bfloat16_learns_as_float32_does(device: torch.device, load: Load, tmp_path: Path):
    expected = losses_of(load(device), configured(), tmp_path / "float32")
    found = losses_of(load(device), configured(dtype="bfloat16"), tmp_path / "bfloat16")
    assert found == pytest.approx(expected, rel=0.03)


def test_a_killed_run_resumes_close_to_one_that_was_not(device: torch.device, load: Load, tmp_path: Path):
    expected = losses_of(load(device), configured(), tmp_path / "whole")
    with pytest.raises(_KilledError):
        losses_of(load(device), configured(), tmp_path / "killed", kill_at=13)
    found = losses_of(load(device), configured(), tmp_path / "killed", resume=True)
    assert found == pytest.approx(expected[10:], abs=1e-4)


def test_gradient_checkpointing_changes_no_loss(device: torch.device, load: Load, tmp_path: Path):
    expected = losses_of(load(device), configured(max_steps=3), tmp_path / "kept")
    found = losses_of(load(device), configured(max_steps=3, gradient_checkpointing=True), tmp_path / "computed_again")
    assert found == pytest.approx(expected, abs=1e-4)


def test_too_little_memory_is_one_line(gpu: torch.device, load: Load):
    config, backbone = configured(batch_size=100_000), load(gpu)
    dataset = make_dataset(num_users=60, longest=40)
    assert config.training is not None
    learner = make_learner(config, dataset, backbone, make_planners(config))
    learner.begin()
    encoder = learner.encoder.fresh()
    step = next(iter(learner.batches.steps()))
    planners = learner.planners
    forests = label_step(step, dataset, encoder, planners, seed=0, max_nodes=100_000)
    torch.cuda.empty_cache()
    card = torch.cuda.current_device()
    total = torch.cuda.get_device_properties(card).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved(card) + 2**18) / total, card)
    try:
        with pytest.raises(OutOfResourcesError, match="lower --max-nodes"):
            learner.measure_forests(encoder, forests)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, card)
