"""Several real processes at one training, over gloo: `shared_trials.py` beside this file does the work."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import warm
from safetensors.numpy import load_file

from patchrec.errors import UsageError
from patchrec.training.processes import Process

HERE = Path(__file__).resolve().parent
PATIENCE = 5.0  # seconds

# Steps of few targets: some are one tree, which leaves nothing for the second process. Dropout is each process's own.
SASREC: dict[str, Any] = {"kind": "sasrec", "options": {"dropout": 0.0}, "training": {"batch_size": 3}}
CHOICES = {"kind": "title", "options": {"loss": "catalog"}}
BY_RANKS = {"validate_every": 2, "validate_metric": "ndcg@10"}

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


class Trials:
    """Jobs that ran, by folder: what each process came to, and what it left."""

    def __init__(self, backbone: Path, work: Path, jobs: list[dict[str, Any]]) -> None:
        self.work = work
        fixed = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        path = os.pathsep.join([str(HERE), *sys.path])
        done = warm.run(
            [str(HERE / "shared_trials.py"), str(backbone), str(work), json.dumps(jobs)],
            env={**os.environ, **fixed, "PYTHONPATH": path},
        )
        assert done.returncode == 0, done.stderr
        self.errors = done.stderr
        self.found = list(zip([job["folder"] for job in jobs], json.loads(done.stdout.splitlines()[-1]), strict=True))

    def of(self, folder: str) -> list[list[dict[str, Any]]]:
        """What the processes of each job in a folder came to."""
        return [found for name, found in self.found if name == folder]

    def losses(self, folder: str) -> dict[int, float]:
        """Step -> loss."""
        rows = map(json.loads, (self.work / folder / "losses.jsonl").read_text().splitlines())
        return {row["step"]: row["loss"] for row in rows}

    def weights(self, folder: str) -> dict[str, np.ndarray]:
        """Of the last checkpoint."""
        last = sorted((self.work / folder / "run-1").glob("step-*"))[-1]
        files = sorted(last.rglob("*.safetensors"))
        return {f"{file.name}:{name}": tensor for file in files for name, tensor in load_file(file).items()}


def same_bits(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def trials(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Trials:
    jobs = [
        {"folder": "alone"},
        {"folder": "two", "processes": 2},
        {"folder": "split", "processes": 2, "training": {"shard": True}},
        {"folder": "killed", "processes": 2, "stop": [1, 3, int(signal.SIGKILL)]},
        {"folder": "killed", "processes": 2},
        {"folder": "items alone", **SASREC},
        {"folder": "items", "processes": 2, **SASREC},
        {"folder": "choices alone", **CHOICES},
        {"folder": "choices", "processes": 2, "training": {"shard": True}, **CHOICES},
    ]
    return Trials(tiny_folder, tmp_path_factory.mktemp("shared"), jobs)


@needs_fork
@pytest.mark.parametrize(
    ("folder", "alone"),
    [("two", "alone"), ("split", "alone"), ("items", "items alone"), ("choices", "choices alone")],
)
def test_two_processes_learn_the_same_as_one(trials: Trials, folder: str, alone: str) -> None:
    check_the_same(trials, folder, alone)


def check_the_same(trials: Trials, folder: str, undivided: str) -> None:
    assert trials.losses(folder) == pytest.approx(trials.losses(undivided), rel=1e-5)
    alone, shared = trials.weights(undivided), trials.weights(folder)
    assert alone.keys() == shared.keys()
    for name, tensor in alone.items():
        np.testing.assert_allclose(shared[name], tensor, atol=1e-4)
    ((first, second),) = trials.of(folder)
    assert (first["step"], first["loss"]) == (second["step"], second["loss"])


@needs_fork
def test_each_process_holds_its_share_of_a_split_model(trials: Trials) -> None:
    (((alone,),), ((first, second),)) = trials.of("alone"), trials.of("split")
    assert first["held"] + second["held"] == alone["held"]
    assert max(first["held"], second["held"]) <= 0.51 * alone["held"]


def check_reported_and_resumed(
    trials: Trials, folder: str, undisturbed: str, rank: int, verb: str = "pretrain"
) -> None:
    (survivor,), _ = trials.of(folder)
    assert survivor["code"] == 1
    assert survivor["waited"] < 60 + 5
    assert f"process {rank} of 2: another process is gone" in survivor["error"]
    assert survivor["error"].endswith(f"with `torchrun --nproc_per_node 2 -m patchrec_cli {verb} --resume run-1`")
    assert "\n" not in survivor["error"]
    assert trials.losses(folder) == trials.losses(undisturbed)
    assert same_bits(trials.weights(folder), trials.weights(undisturbed))


@needs_fork
def test_a_killed_process_is_reported_and_the_run_resumes_bitwise_equal(trials: Trials) -> None:
    check_reported_and_resumed(trials, "killed", "two", 0)


@pytest.fixture(scope="module")
def slow_trials(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Trials:
    recomputed = {"gradient_checkpointing": True}
    measured = {"validate_every": 3}
    half = {"dtype": "bfloat16"}
    split = {"shard": True}
    stop = [1, 3, int(signal.SIGSTOP)]
    jobs = [
        {"folder": "alone"},
        {"folder": "silent", "processes": 2, "stop": stop, "patience": PATIENCE},
        {"folder": "split, silent", "processes": 2, "training": split, "stop": stop, "patience": PATIENCE},
        {"folder": "split", "processes": 2, "training": split},
        {"folder": "split, killed", "processes": 2, "training": split, "stop": [0, 5, int(signal.SIGKILL)]},
        {"folder": "split, killed", "processes": 2, "training": split},
        {"folder": "other seed", "processes": 2, "seeds": [0, 1]},
        {"folder": "recomputed", "processes": 2, "training": {**split, **recomputed}},
        {"folder": "three", "processes": 3, "training": split},
        {"folder": "measured alone", "training": measured},
        {"folder": "measured", "processes": 2, "training": measured},
        {"folder": "measured, split", "processes": 2, "training": {**split, **measured}},
        {"folder": "half alone", "training": half},
        {"folder": "half", "processes": 2, "training": {**half, **split}},
        {"folder": "fewer", "processes": 2, "training": split, "stop": [1, 5, int(signal.SIGKILL)]},
        {"folder": "fewer", "training": split},
        {"folder": "more", "training": split, "stop": [0, 5, int(signal.SIGKILL)]},
        {"folder": "more", "processes": 2, "training": split},
        *({"folder": f"{kind} alone", "kind": kind, "training": BY_RANKS} for kind in ("item", "both")),
        *({"folder": kind, "kind": kind, "processes": 2, "training": BY_RANKS} for kind in ("item", "both")),
        {"folder": "items", "processes": 2, **SASREC},
        {"folder": "items, killed", "processes": 2, **SASREC, "stop": [1, 3, int(signal.SIGKILL)]},
        {"folder": "items, killed", "processes": 2, **SASREC},
        {"folder": "ranked", "processes": 2, "training": BY_RANKS},
        {"folder": "ranked alone", "training": BY_RANKS},
        {"folder": "ranked, split", "processes": 2, "training": {**BY_RANKS, **split}},
    ]
    return Trials(tiny_folder, tmp_path_factory.mktemp("slow"), jobs)


@needs_fork
@pytest.mark.slow
@pytest.mark.parametrize("folder", ["silent", "split, silent"])
def test_a_process_that_does_not_answer_is_reported_within_the_timeout_and_five_seconds(
    slow_trials: Trials, folder: str
) -> None:
    (((survivor,),)) = slow_trials.of(folder)
    assert survivor["code"] == 1
    assert "process 0 of 2: another process is gone or does not answer" in survivor["error"]
    assert PATIENCE - 1 < survivor["waited"] < PATIENCE + 5


@needs_fork
@pytest.mark.slow
def test_a_split_run_with_a_killed_process_resumes_bitwise_equal(slow_trials: Trials) -> None:
    check_reported_and_resumed(slow_trials, "split, killed", "split", 1)


@needs_fork
@pytest.mark.slow
def test_processes_with_other_configurations_are_refused(slow_trials: Trials) -> None:
    ((first, second),) = slow_trials.of("other seed")
    assert (first["code"], second["code"]) == (2, 2)
    assert "do not see the same configuration" in first["error"]


@needs_fork
@pytest.mark.slow
@pytest.mark.parametrize("folder", ["recomputed", "three", "fewer", "more"])
def test_a_split_model_learns_the_same_however_it_is_run(slow_trials: Trials, folder: str) -> None:
    assert slow_trials.losses(folder) == pytest.approx(slow_trials.losses("alone"), rel=1e-5)


@needs_fork
@pytest.mark.slow
@pytest.mark.parametrize("folder", ["measured", "measured, split"])
def test_two_processes_measure_the_same_validation_loss_as_one(slow_trials: Trials, folder: str) -> None:
    ((alone,),) = slow_trials.of("measured alone")
    ((first, second),) = slow_trials.of(folder)
    assert first["best"] == second["best"] == pytest.approx(alone["best"], rel=1e-5)
    assert slow_trials.losses(folder) == pytest.approx(slow_trials.losses("measured alone"), rel=1e-5)


@needs_fork
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["item", "both"])
def test_two_processes_learn_a_head_as_one_does(slow_trials: Trials, kind: str) -> None:
    check_the_same(slow_trials, kind, f"{kind} alone")


@needs_fork
@pytest.mark.slow
@pytest.mark.parametrize("folder", ["item", "both", "ranked"])
def test_two_processes_measure_the_same_ranks_as_one(slow_trials: Trials, folder: str) -> None:
    ((alone,),) = slow_trials.of(f"{folder} alone")
    ((first, second),) = slow_trials.of(folder)
    assert first["metric"] == second["metric"] == pytest.approx(alone["metric"], rel=1e-5)
    assert first["best_step"] == second["best_step"] == alone["best_step"]
    assert first["metric"] > 0


@needs_fork
@pytest.mark.slow
def test_an_item_model_with_a_killed_process_resumes_bitwise_equal(slow_trials: Trials) -> None:
    check_reported_and_resumed(slow_trials, "items, killed", "items", 0, "baseline sasrec")


@needs_fork
@pytest.mark.slow
def test_a_split_model_is_measured_by_its_loss_alone(slow_trials: Trials) -> None:
    (processes,) = slow_trials.of("ranked, split")
    assert [one["code"] for one in processes] == [2, 2]
    assert "--shard splits a model that its loss alone measures; drop --validate-metric" in processes[0]["error"]


@needs_fork
@pytest.mark.slow
def test_a_split_model_in_bfloat16_learns_about_the_same(slow_trials: Trials) -> None:
    assert slow_trials.losses("half") == pytest.approx(slow_trials.losses("half alone"), rel=0.02)


@pytest.mark.parametrize("plugin", ["FSDP", "DEEPSPEED", "MEGATRON_LM"])
def test_plugins_of_accelerate_are_refused(monkeypatch: pytest.MonkeyPatch, plugin: str) -> None:
    monkeypatch.setenv(f"ACCELERATE_USE_{plugin}", "true")
    with pytest.raises(UsageError, match=f"ACCELERATE_USE_{plugin} is set.*--shard"), Process(0, 2, 0).together():
        pass


@pytest.mark.parametrize(
    ("count", "on_machine", "command"),
    [
        (1, None, "patchrec finetune --resume r"),
        (2, None, "torchrun --nproc_per_node 2 -m patchrec_cli finetune --resume r"),
        (4, "4", "torchrun --nproc_per_node 4 -m patchrec_cli finetune --resume r"),
        (4, "2", "patchrec finetune --resume r"),
    ],
)
def test_the_command_to_go_on_with_is_that_of_one_machine(
    monkeypatch: pytest.MonkeyPatch, count: int, on_machine: str | None, command: str
) -> None:
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    if on_machine is not None:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", on_machine)
    assert Process(0, count, 0).command("finetune --resume r") == command
