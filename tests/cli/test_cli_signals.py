"""The real command, told to stop once, twice, at any moment, and by a terminal that goes away.

The quick draw begins warm (`warm.py`), the slow ones start Python itself.
"""

import os
import pty
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import warm

from patchrec.store import Store
from patchrec_cli.app import main

TRAIN = ["pretrain", "--backbone", "tiny-random", "--batch-size", "2", "--epochs", "60"]
NUM_USERS, NUM_ITEMS, LENGTH = 8, 12, 16
QUICK = 0.02  # seconds between two signals


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("signals")
    walks = [f"u{user},i{(user + at) % NUM_ITEMS},{at}" for user in range(NUM_USERS) for at in range(LENGTH)]
    (folder / "log.csv").write_text("\n".join(["user_id,item_id,timestamp", *walks]))
    (folder / "items.csv").write_text("\n".join(["item_id,title", *(f"i{n},Item {n}" for n in range(NUM_ITEMS))]))
    files = ["--interactions", str(folder / "log.csv"), "--items", str(folder / "items.csv")]
    assert main(["--home", str(folder / "home"), "data", "add", "walks", *files, "--split", "leave-one-out"]) == 0
    assert main(["--home", str(folder / "home"), "backbones", "pull", "tiny-random"]) == 0
    return folder / "home"


def start(home: Path, *arguments: object, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "patchrec_cli", "--home", str(home), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        text=True,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
    )


def runs(home: Path) -> list:
    with Store.open(home) as store:
        return store.runs.all()


def wait_for_steps(process: subprocess.Popen | warm.Started, home: Path, known: int, steps: int = 2) -> str:
    """Wait until a new run has taken some steps; give its name."""
    with Store.open(home) as store:
        while process.poll() is None:
            names = store.runs.names()
            if len(names) > known and len(store.runs.losses(names[-1])) >= steps:
                return names[-1]
            time.sleep(0.01)
    raise AssertionError(process.communicate())


@pytest.mark.parametrize(
    "gap", [QUICK, *(pytest.param(gap, marks=pytest.mark.slow) for gap in (0.0, 0.1, 0.2, 0.3, 0.5))]
)
def test_sigterm_twice_saves_and_exits_143(home, gap):
    process = warm.start(["-m", "patchrec_cli", "--home", str(home), *TRAIN]) if gap == QUICK else start(home, *TRAIN)
    run = wait_for_steps(process, home, len(runs(home)))
    process.send_signal(signal.SIGTERM)
    time.sleep(gap)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate()
    assert process.returncode == 143, said
    assert f"go on with `patchrec --home {home} pretrain --resume {run}`" in said.splitlines()[-1]
    assert (runs(home)[-1].name, runs(home)[-1].status) == (run, "interrupted")
    with Store.open(home) as store:
        assert store.runs.checkpoints(run)


@pytest.mark.slow
def test_whenever_sigterm_comes_no_run_is_lost(home):
    process = start(home, *TRAIN)
    began = time.monotonic()
    wait_for_steps(process, home, len(runs(home)))
    taken = time.monotonic() - began
    process.terminate()
    process.communicate()
    codes = []
    for number in range(20):
        process = start(home, *TRAIN)
        time.sleep(random.Random(number).uniform(0, 1.1 * taken))
        for _ in range(3):
            process.send_signal(signal.SIGTERM)
            time.sleep(0.05)
        out, said = process.communicate()
        codes.append(process.returncode)
        # before our first line runs there is nothing to lose
        assert process.returncode in (143, -signal.SIGTERM), said
        assert out == ""
        assert process.returncode < 0 or "stopped" in said.splitlines()[-1]
        assert "lost" not in {run.status for run in runs(home)}
    assert codes.count(143) >= 10


@pytest.mark.slow
def test_sighup_saves_too_but_nohup_goes_on(home):
    known = len(runs(home))
    before_it = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # what a child inherits, as under nohup
    process = start(home, *TRAIN)
    signal.signal(signal.SIGHUP, before_it)
    run = wait_for_steps(process, home, known)
    process.send_signal(signal.SIGHUP)
    with Store.open(home) as store:
        before = len(store.runs.losses(run))
        while len(store.runs.losses(run)) < before + 3:
            assert process.poll() is None
            time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert process.returncode == 143
    process = start(home, "pretrain", "--resume", run)
    with Store.open(home) as store:
        before = len(store.runs.losses(run))
        while len(store.runs.losses(run)) < before + 2:
            assert process.poll() is None
            time.sleep(0.01)
    process.send_signal(signal.SIGHUP)
    _, said = process.communicate()
    assert process.returncode == 129, said
    assert "stopped by SIGHUP after step" in said
    assert runs(home)[-1].status == "interrupted"


@pytest.mark.slow
def test_a_terminal_that_is_closed_stops_training_saved(home):
    known = len(runs(home))
    child, terminal = pty.fork()
    if child == 0:
        os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
        os.execv(sys.executable, [sys.executable, "-m", "patchrec_cli", "--home", str(home), *TRAIN])
    with Store.open(home) as store:
        while len(store.runs.names()) <= known or len(store.runs.losses(store.runs.names()[-1])) < 3:
            os.read(terminal, 10_000)  # the bar
    os.close(terminal)  # the system sends SIGHUP to the child, and its writes fail
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 129
    run = runs(home)[-1]
    assert run.status == "interrupted"
    assert "stopped by SIGHUP after step" in run.error


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code", "name"), [(signal.SIGTERM, 143, "SIGTERM"), (signal.SIGINT, 130, "Ctrl-C")])
def test_a_stopped_evaluation_says_that_nothing_is_stored(home, number, code, name):
    made = ["eval", "--baseline", "untrained", "--strategy", "vanilla", "--backbone", "tiny-random", "--data", "walks"]
    assert main(["--home", str(home), *made]) == 0
    run = runs(home)[-1].name
    with Store.open(home) as store:
        before = len(store.evaluations.all())
    # ranks slowly enough to be stopped
    slow = (
        "import sys, time; from patchrec.evaluation import evaluate as engine; from patchrec_cli.app import script;"
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "engine.evaluate = lambda *a, **o: (print('ranking', file=sys.stderr, flush=True), time.sleep(60));"
        "script()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", slow, "--home", str(home), "eval", run],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while "ranking" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(number)
    out, said = process.communicate()
    assert (process.returncode, out) == (code, "")
    assert said.splitlines()[-1] == f"error: stopped by {name}; nothing of this evaluation is stored; start it again"
    with Store.open(home) as store:
        assert len(store.evaluations.all()) == before
