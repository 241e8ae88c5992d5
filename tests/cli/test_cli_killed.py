"""The real command in a process of its own, killed and stopped: it goes on with `--resume`, and nothing is lost.

The quick draw begins warm (`warm.py`), the slow ones start Python itself.
"""

import hashlib
import os
import random
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import warm

from patchrec.store import Store
from patchrec_cli.app import main

STAGES = {
    "pretrain": ["pretrain", "--backbone", "tiny-random"],
    "finetune": ["finetune", "--strategy", "pft-s", "--L", "2", "--from", "pretrain-1"],
}
SETTINGS = ["--batch-size", "4", "--epochs", "2", "--checkpoint-every", "3", "--validate-every", "5"]
NUM_USERS, NUM_ITEMS, LENGTH = 8, 12, 16


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A store with a data set of walks through a catalog."""
    folder = tmp_path_factory.mktemp("walks")
    walks = [f"u{user},i{(user + time) % NUM_ITEMS},{time}" for user in range(NUM_USERS) for time in range(LENGTH)]
    (folder / "log.csv").write_text("\n".join(["user_id,item_id,timestamp", *walks]))
    titles = [f"i{item},{'AB'[item % 2] * (1 + item // 2)}" for item in range(NUM_ITEMS)]
    (folder / "items.csv").write_text("\n".join(["item_id,title", *titles]))
    files = ["--interactions", str(folder / "log.csv"), "--items", str(folder / "items.csv")]
    assert main(["--home", str(folder / "home"), "data", "add", "walks", *files, "--split", "leave-one-out"]) == 0
    return folder / "home"


@pytest.fixture(scope="module")
def undisturbed(home):
    """Train a stage from start to end, once, and in this process, which has imported everything."""
    made = {}

    def train(stage):
        if stage not in made:
            if stage == "finetune":
                train("pretrain")
            assert main(["--home", str(home), *STAGES[stage], *SETTINGS]) == 0
            made[stage] = newest(home)
        return made[stage]

    return train


def start(home: Path, *arguments: object, quick: bool = False) -> subprocess.Popen | warm.Started:
    """Start `patchrec --home HOME ARGUMENTS`."""
    command = ["-m", "patchrec_cli", "--home", str(home), *map(str, arguments)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    if quick:
        return warm.start(command, env=env)
    return subprocess.Popen(
        [sys.executable, *command],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen | warm.Started) -> None:
    """Wait for a command that has to succeed."""
    _, said = process.communicate()
    assert process.returncode == 0, said


def newest(home: Path) -> str:
    """Name of the newest run, empty where there is none."""
    with Store.open(home) as store:
        runs = store.runs.all()
    return runs[-1].name if runs else ""


def rows(home: Path, run: str) -> list[tuple]:
    """Every number that the store keeps of a run's training, but seconds."""
    with Store.open(home) as store:
        return [
            row
            for table in ("losses", "validations")
            for row in store.rows(f"SELECT step, loss, tokens FROM {table} WHERE run = ? ORDER BY step", [run])
        ]


def outcome(home: Path, run: str) -> tuple[str, list[tuple]]:
    """Digest of the final weights, and all numbers of the training."""
    (weights,) = (home / "runs" / run).glob("step-*/model/model.safetensors")
    return hashlib.sha256(weights.read_bytes()).hexdigest(), rows(home, run)


def wait_for(process: subprocess.Popen | warm.Started, home: Path, old: str, num_rows: int) -> str:
    """Wait until a new run has stored so many numbers (or its process ended); give its name."""
    with Store.open(home) as store:
        count = "SELECT count(*) FROM (SELECT run FROM losses UNION ALL SELECT run FROM validations) WHERE run = ?"
        while process.poll() is None:
            [(run,)] = store.rows("SELECT name FROM runs ORDER BY id DESC LIMIT 1")
            if run != old and store.rows(count, [run])[0][0] >= num_rows:
                break
            time.sleep(0.02)
    return newest(home)


def kill_and_finish(
    home: Path, stage: str, num_rows: int, times: int, luck: random.Random, *, quick: bool
) -> tuple[str, int]:
    """Kill a training some times at random moments, then let it finish; give its run and how many kills hit."""
    old, hits = newest(home), 0
    process = start(home, *STAGES[stage], *SETTINGS, quick=quick)
    run = wait_for(process, home, old, luck.randrange(num_rows))
    for again in reversed(range(times)):
        time.sleep(luck.uniform(0, 0.1))
        process.kill()
        process.communicate()
        hits += process.returncode == -signal.SIGKILL
        if process.returncode == 0:
            return run, hits
        process = start(home, stage, "--resume", run, quick=quick)
        if again:
            wait_for(process, home, old, luck.randrange(num_rows))
    finish(process)
    return run, hits


@pytest.mark.parametrize(
    ("stage", "kills"),
    [("pretrain", 1), *(pytest.param(stage, 10, marks=pytest.mark.slow) for stage in STAGES)],
)
def test_a_killed_command_resumes_bitwise_equal(home, undisturbed, stage, kills):
    expected = outcome(home, undisturbed(stage))
    hits, number = 0, 0
    while hits < kills:
        luck = random.Random(f"{stage} {number}")
        times = min(kills, luck.choice((1, 2)))
        run, hit = kill_and_finish(home, stage, len(expected[1]), times, luck, quick=kills == 1)
        assert outcome(home, run) == expected, f"trial {number}"
        hits, number = hits + hit, number + 1


@pytest.mark.parametrize(
    ("number", "code", "name"),
    [(signal.SIGTERM, 143, "SIGTERM"), (signal.SIGINT, 130, "Ctrl-C")],
)
@pytest.mark.slow
def test_a_stopped_command_prints_the_command_that_goes_on(home, undisturbed, number, code, name):
    expected = outcome(home, undisturbed("pretrain"))
    process = start(home, *STAGES["pretrain"], *SETTINGS)
    run = wait_for(process, home, newest(home), 1)
    process.send_signal(number)
    out, said = process.communicate()
    last = said.splitlines()[-1]
    assert (process.returncode, out) == (code, ""), said
    assert last.startswith(f"error: stopped by {name} after step ")
    program, option, folder, *arguments = shlex.split(last.rpartition("go on with `")[2].rstrip("`"))
    assert (program, option, folder) == ("patchrec", "--home", str(home))
    assert arguments == ["pretrain", "--resume", run]
    finish(start(home, *arguments))
    assert outcome(home, run) == expected
