"""The commands under a launcher: several real processes, one run, one store."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchrec.config import RunConfig
from patchrec.data.catalog import Catalog
from patchrec.data.histories import Dataset, Sequences
from patchrec.errors import UsageError
from patchrec.operations.runs import show_run
from patchrec.operations.training.job import TrainingJob
from patchrec.operations.training.train import finetune, pretrain
from patchrec.store import Store

TINY = {"data": "walkers", "backbone": "tiny-random", "batch_size": 20}
COMMAND = [
    "finetune",
    "--strategy",
    "pft-s",
    "--L",
    "3",
    "--data",
    "walkers",
    "--backbone",
    "tiny-random",
    "--from",
    "none",
]
LONG = [*COMMAND, "--batch-size", "2", "--epochs", "400", "--checkpoint-every", "5"]

Finished = tuple[int, str, str]  # exit code, stdout, stderr


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def start(home: Path, *words: str, **environment: str) -> subprocess.Popen[str]:
    """Start a command with this Python and store."""
    fixed = {"PATCHREC_HOME": str(home), "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, *words], env={**os.environ, **fixed, **environment}, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def start_two(home: Path, *words: str, **environment: str) -> list[subprocess.Popen[str]]:
    """Start two processes as launchers do."""
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2"} | environment
    return [start(home, "-m", "patchrec_cli", *words, RANK=str(rank), LOCAL_RANK=str(rank), **where) for rank in (0, 1)]


def finish(process: subprocess.Popen[str]) -> Finished:
    out, errors = process.communicate(timeout=300)
    return process.returncode, out, errors


@contextmanager
def training(home: Path, run: str, steps: int) -> Iterator[None]:
    """Wait until a run has taken some steps."""
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        with Store.open(home) as store:
            if run in store.runs.names() and len(store.runs.losses(run)) >= steps:
                break
        time.sleep(0.2)
    yield


def losses(home: Path, run: str) -> list[float]:
    with Store.open(home) as store:
        return [row.loss for row in store.runs.losses(run)]


@pytest.mark.slow
def test_two_processes_make_one_run_that_equals_one_process(home: Path) -> None:
    (code, out, errors), other = map(finish, start_two(home, *COMMAND, "--batch-size", "20", "--max-nodes", "100"))
    assert code == 0, errors
    assert other == (0, "", "")
    assert out.count("pft-s-1") == 2  # its name and its folder, once
    finetune(strategy="pft-s", options={"L": 3}, start="none", **TINY, home=home)
    assert losses(home, "pft-s-1") == pytest.approx(losses(home, "pft-s-2"), rel=1e-5)
    assert show_run("pft-s-1", home=home)["status"] == "done"


@pytest.mark.slow
def test_what_process_0_refuses_ends_all_with_its_exit_code_and_one_line(home: Path) -> None:
    (code, out, errors), other = map(finish, start_two(home, "pretrain", "--data", "nowhere"))
    assert (code, out) == (4, "")
    assert errors.count("\n") == 1
    assert "no data set 'nowhere'" in errors
    assert other == (4, "", "")


@pytest.mark.slow
@pytest.mark.parametrize(("number", "rank"), [(signal.SIGTERM, 1), (signal.SIGINT, 0)])
def test_a_signal_to_any_process_stops_and_saves_all(home: Path, number: int, rank: int) -> None:
    processes = start_two(home, *LONG)
    with training(home, "pft-s-1", 3):
        processes[rank].send_signal(number)
    (code, out, errors), other = map(finish, processes)
    assert (code, out) == (128 + number, "")
    assert "the state is saved" in errors
    assert "go on with `torchrun --nproc_per_node 2 -m patchrec_cli finetune --resume pft-s-1`" in errors
    assert other == (128 + number, "", "")
    assert show_run("pft-s-1", home=home)["status"] == "interrupted"


@pytest.mark.slow
def test_a_lost_process_leaves_a_failed_run_that_goes_on(home: Path) -> None:
    first, second = start_two(home, *LONG)
    with training(home, "pft-s-1", 8):
        second.kill()
    killed = time.monotonic()
    code, out, errors = finish(first)
    assert time.monotonic() - killed < 600 + 5
    assert (code, out) == (1, "")
    (line,) = [line for line in errors.splitlines() if line.startswith("error:")]
    assert "process 0 of 2: another process is gone" in line
    assert line.endswith("start all again with `torchrun --nproc_per_node 2 -m patchrec_cli finetune --resume pft-s-1`")
    shown = show_run("pft-s-1", home=home)
    assert shown["status"] == "failed"
    assert shown["error"] in line
    taken = len(losses(home, "pft-s-1"))
    processes = start_two(home, "finetune", "--resume", "pft-s-1")
    with training(home, "pft-s-1", taken + 5):
        processes[0].terminate()
    assert [finish(process)[0] for process in processes] == [143, 143]


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--shard"]])
def test_torchrun_hands_its_own_sigterm_on_and_the_run_is_saved(home: Path, options: list[str]) -> None:
    launcher = [
        "-m",
        "torch.distributed.run",
        "--nproc_per_node",
        "2",
        "--master_port",
        str(free_port()),
        "-m",
        "patchrec_cli",
    ]
    process = start(home, *launcher, *LONG, *options)
    with training(home, "pft-s-1", 3):
        process.terminate()
    _, _, errors = finish(process)
    assert "stopped by SIGTERM after step" in errors
    shown = show_run("pft-s-1", home=home)
    assert shown["status"] == "interrupted"
    taken = len(losses(home, "pft-s-1"))
    with Store.open(home) as store:
        assert store.runs.checkpoints("pft-s-1")[-1].step == taken
    alone = start(home, "-m", "patchrec_cli", "finetune", "--resume", "pft-s-1")
    with training(home, "pft-s-1", taken + 3):
        alone.terminate()
    assert finish(alone)[0] == 143


@pytest.mark.slow
def test_a_dry_run_under_a_launcher_is_answered_once(home: Path) -> None:
    (code, out, _), other = map(finish, start_two(home, *COMMAND, "--dry-run", "--json"))
    assert code == 0
    assert '"tokens"' in out
    assert other == (0, "", "")


def test_a_split_model_needs_several_processes_and_no_adapters(home: Path) -> None:
    with pytest.raises(UsageError, match="--shard splits the model over several processes; start them with `torchrun"):
        pretrain(**TINY, shard=True, home=home)
    with pytest.raises(UsageError, match="drop one of them"):
        pretrain(**TINY, shard=True, lora_rank=2, home=home)
    with Store.open(home) as store:
        assert store.runs.names() == []


def test_other_processes_are_refused_what_only_one_can_do(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "0", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match="start several processes with `torchrun"):
        pretrain(**TINY, home=home)


@pytest.mark.parametrize("said", ["soon", "0", "-5", "nan", "inf", ""])
def test_a_timeout_that_is_none_is_refused_before_anything_is_made(
    home: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    monkeypatch.setenv("PATCHREC_PEER_TIMEOUT", said)
    with pytest.raises(UsageError, match=f"PATCHREC_PEER_TIMEOUT={said!r} is no number of seconds"):
        pretrain(**TINY, home=home)
    with Store.open(home) as store:
        assert store.runs.names() == []


texts = st.text(st.characters(), max_size=5)  # lone surrogates, control characters and all


@given(
    st.lists(texts, min_size=1, max_size=4),
    st.lists(st.tuples(texts, st.dictionaries(texts, st.none() | texts | st.integers() | st.lists(texts))), max_size=4),
    st.booleans(),
)
def test_other_processes_get_the_data_set_and_configuration_as_they_are(users, items, timed) -> None:
    lengths = np.arange(len(users))
    total = int(lengths.sum())
    sequences = Sequences(
        tuple(users),
        np.concatenate([[0], np.cumsum(lengths)]),
        np.arange(total),
        np.arange(total) * 7 if timed else None,
        lengths,
        lengths,
    )
    catalog = Catalog(
        tuple(str(item) for item in range(len(items))),
        tuple(title for title, _ in items),
        tuple(more for _, more in items),
    )
    dataset = Dataset("some", catalog, sequences, min_history=3, noun="\ud800", verb="read")
    config = RunConfig(stage="finetune", dataset="some", backbone="b", training={"shard": True, "max_steps": 3})
    shared = TrainingJob(config, dataset, Path("start"), Path("folder"), resume=True, force=timed)
    heard = TrainingJob.from_bytes(shared.to_bytes())
    assert (heard.config, heard.start, heard.folder) == (config, shared.start, shared.folder)
    assert (heard.resume, heard.force) == (True, timed)
    assert heard.dataset.catalog == catalog
    assert heard.dataset.sequences.fingerprint == sequences.fingerprint
    assert heard.dataset.sequences.user_ids == sequences.user_ids
    assert (heard.dataset.noun, heard.dataset.verb, heard.dataset.min_history) == ("\ud800", "read", 3)


def test_a_process_that_does_not_see_the_store_is_refused(tmp_path: Path) -> None:
    config = RunConfig(stage="finetune", dataset="some", backbone="b")
    shared = TrainingJob(config, None, tmp_path, tmp_path / "absent")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=f"process 3 on .* does not see '{tmp_path}/absent', which process 0 uses"):
        shared.refuse_unseen(3)
