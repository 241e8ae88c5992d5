"""Real processes, really killed: `trials.py` beside this file does the work, so that each trial costs no imports."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def start(what: str, backbone: Path, folder: Path, number: int, **environment: str) -> subprocess.Popen:
    """Start trials with the package found where it is found here."""
    fixed = {
        "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path]),
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    return subprocess.Popen(
        [sys.executable, str(HERE / "trials.py"), what, str(backbone), str(folder), str(number)],
        env={**os.environ, **fixed, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen) -> dict:
    """Wait for trials and read what they found."""
    out, errors = process.communicate()
    assert process.returncode == 0, errors
    return json.loads(out.splitlines()[-1])


def trials(what: str, backbone: Path, folder: Path, number: int) -> dict:
    return finish(start(what, backbone, folder, number))


def test_killed_runs_resume_bitwise_equal(tiny_folder, tmp_path):
    result = trials("kill", tiny_folder, tmp_path, 1)
    assert result["hits"] >= 1
    assert result["mismatches"] == []


@pytest.mark.slow
def test_two_hundred_kills_over_every_stage_and_strategy(tiny_folder, tmp_path):
    result = trials("kill", tiny_folder, tmp_path, 200)
    assert result["hits"] >= 200
    assert result["mismatches"] == []


@pytest.mark.slow
def test_a_disk_full_at_any_level_loses_nothing_saved(tiny_folder, tmp_path):
    assert trials("fill", tiny_folder, tmp_path, 25) == {"codes": [7] * 25, "mismatches": []}


@pytest.mark.slow
def test_two_processes_learn_the_same_as_one(tiny_folder, tmp_path):
    def losses(folder: Path) -> list[float]:
        return [json.loads(line)["loss"] for line in (folder / "losses.jsonl").read_text().splitlines()]

    alone, shared = tmp_path / "alone", tmp_path / "shared"
    alone.mkdir()
    shared.mkdir()
    trials("plain", tiny_folder, alone, 60)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    processes = [
        start(
            "plain",
            tiny_folder,
            shared,
            60,
            RANK=str(rank),
            LOCAL_RANK=str(rank),
            WORLD_SIZE="2",
            MASTER_ADDR="127.0.0.1",
            MASTER_PORT=port,
            ACCELERATE_USE_CPU="true",
        )
        for rank in (0, 1)
    ]
    one, other = [finish(process) for process in processes]
    assert one == other
    assert losses(shared) == pytest.approx(losses(alone), rel=1e-5)
