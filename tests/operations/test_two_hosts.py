"""Two network namespaces as two hosts that train one run over a wire, until the wire is cut."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_shared_training import LONG, Finished, finish, training

from patchrec.operations.runs import show_run

PATIENCE = 5.0  # seconds

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        sys.platform != "linux" or os.geteuid() != 0 or shutil.which("ip") is None,
        reason="needs root and `ip` to make network namespaces",
    ),
]


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@pytest.fixture
def hosts() -> Iterator[tuple[str, str]]:
    """Two namespaces with a wire between them, its ends "wire" with the addresses 10.213.47.1 and .2."""
    names = (f"patchrec-a{os.getpid()}", f"patchrec-b{os.getpid()}")
    try:
        for name in names:
            ip("netns", "add", name)
        first, second = names
        ip("link", "add", "wire", "netns", first, "type", "veth", "peer", "name", "wire", "netns", second)
        for number, name in enumerate(names, start=1):
            ip("-n", name, "address", "add", f"10.213.47.{number}/24", "dev", "wire")
            for device in ("wire", "lo"):
                ip("-n", name, "link", "set", device, "up")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespaces here: {error.stderr.strip()}")
    else:
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


def start_on(host: str, rank: int, home: Path, *words: str) -> subprocess.Popen[str]:
    where = {
        "MASTER_ADDR": "10.213.47.1", "MASTER_PORT": "29511", "WORLD_SIZE": "2", "RANK": str(rank), "LOCAL_RANK": "0",
        "LOCAL_WORLD_SIZE": "1", "GLOO_SOCKET_IFNAME": "wire", "PATCHREC_PEER_TIMEOUT": str(PATIENCE),
        "PATCHREC_HOME": str(home), "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path),
    }  # fmt: skip
    return subprocess.Popen(
        ["ip", "netns", "exec", host, sys.executable, "-m", "patchrec_cli", *words], env={**os.environ, **where},
        text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def ended_within(process: subprocess.Popen[str], deadline: float) -> Finished:
    """What a process came to by then; it is killed where it goes on."""
    try:
        process.wait(timeout=max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.kill()
    return finish(process)


@pytest.mark.parametrize("options", [[], ["--shard"]])
def test_both_hosts_report_a_cut_wire_within_the_timeout_and_five_seconds(
    home: Path, hosts: tuple[str, str], options: list[str]
) -> None:
    processes = [start_on(host, rank, home, *LONG, *options) for rank, host in enumerate(hosts)]
    with training(home, "pft-s-1", 3):
        ip("-n", hosts[1], "link", "set", "wire", "down")
    deadline = time.monotonic() + PATIENCE + 5
    for rank, (code, _, errors) in enumerate([ended_within(process, deadline) for process in processes]):
        assert code == 1, errors
        assert f"process {rank} of 2: another process is gone or does not answer" in errors
        assert "start all again with `patchrec finetune --resume pft-s-1`" in errors
    assert show_run("pft-s-1", home=home)["status"] == "failed"
