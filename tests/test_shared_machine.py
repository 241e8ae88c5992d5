"""Programs that share a machine: waiting threads give their cores to others, and no compiled product piles up."""

import os
import subprocess
import sys

import pytest

SHOWN = "import os, {}, sys; print(os.environ.get('OMP_WAIT_POLICY'), 'torch' in sys.modules)"
CACHES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")
UNSAID = {key: value for key, value in os.environ.items() if key not in ("OMP_WAIT_POLICY", *CACHES)}


PRODUCTS = r"""
import re, patchrec, torch
def resident():
    with open("/proc/self/status") as status:
        return int(re.search(r"VmRSS:\s+(\d+)", status.read())[1]) // 1000
weight = torch.randn(256, 64, dtype=torch.bfloat16, requires_grad=True)
def multiply(rows):
    torch.nn.functional.linear(torch.randn(rows, 64, dtype=torch.bfloat16, requires_grad=True), weight).sum().backward()
for rows in range(100, 140):
    multiply(rows)
before = resident()
for rows in range(200, 260):
    multiply(rows)
print(resident() - before)
"""


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


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory of a process is read as Linux tells it")
def test_products_of_ever_new_shapes_take_no_ever_more_memory():
    """In bfloat16 each is compiled: 60 of them would add 120 MB."""
    grown = subprocess.run(
        [sys.executable, "-c", PRODUCTS], env=UNSAID, capture_output=True, text=True, check=True
    ).stdout
    assert int(grown) < 40
