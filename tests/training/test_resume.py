"""Real processes, really killed: `trials.py` beside this file does the work, so that each trial costs no imports."""

import json
import os
import sys
from pathlib import Path

import pytest
import warm

HERE = Path(__file__).resolve().parent

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def trials(what: str, backbone: Path, folder: Path, number: int) -> dict:
    """Run trials with the package found where it is found here, and read what they found."""
    fixed = {
        "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path]),
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    arguments = [str(HERE / "trials.py"), what, str(backbone), str(folder), str(number)]
    done = warm.run(arguments, env={**os.environ, **fixed})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


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
