"""Programs that share a machine: waiting threads give their cores to others, unless a user says otherwise."""

import os
import subprocess
import sys

import pytest

SHOWN = "import os, {}, sys; print(os.environ.get('OMP_WAIT_POLICY'), 'torch' in sys.modules)"
UNSAID = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}


def told(module: str, **environment: str) -> list[str]:
    command = [sys.executable, "-c", SHOWN.format(module)]
    return subprocess.run(command, env=UNSAID | environment, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.parametrize("module", ["patchrec", "patchrec_cli.app", "patchrec.operations", "patchrec_strategies"])
def test_threads_wait_without_spinning_before_torch_is_there(module):
    assert told(module) == ["PASSIVE", "False"]


def test_what_a_user_set_stays():
    assert told("patchrec_cli.app", OMP_WAIT_POLICY="ACTIVE") == ["ACTIVE", "False"]


@pytest.mark.slow
def test_the_threads_of_torch_know():
    command = [sys.executable, "-c", "import patchrec.model.memory"]
    told = subprocess.run(
        command, env=UNSAID | {"OMP_DISPLAY_ENV": "VERBOSE"}, capture_output=True, text=True, check=True
    ).stderr
    if "GOMP_SPINCOUNT" not in told:
        pytest.skip("torch's threads are not GNU's here")
    assert "GOMP_SPINCOUNT = '0'" in told
