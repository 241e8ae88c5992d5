"""Recommending for all by actors of a Ray cluster: the file that one process writes, whatever was done before."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from patchrec.errors import UsageError
from patchrec.operations.many import on_ray
from patchrec.operations.many.bulk_job import Request
from patchrec.operations.many.recommend_all import recommend_all

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray: pip install '.[ray]'")

JOB = """
import json, sys
from pathlib import Path
import numpy as np
from patchrec.data.catalog import Catalog
from patchrec.data.histories import Dataset, Sequences
from patchrec.errors import PatchrecError
from patchrec.operations.many.bulk_job import Request
from patchrec.operations.many.recommend_all import recommend_all
from patchrec.operations.training.train import baseline
from patchrec.store import Store

USERS, ITEMS, LENGTH = 150, 30, 6
folder = Path(sys.argv[1])
home = folder / "home"
items = np.concatenate([np.random.default_rng(user).permutation(ITEMS)[:LENGTH] for user in range(USERS)])
stops = np.full(USERS, LENGTH)
dataset = Dataset(
    "many",
    Catalog(tuple(f"i{item}" for item in range(ITEMS)), tuple(f"Thing {item}" for item in range(ITEMS))),
    Sequences(tuple(f"u{u}" for u in range(USERS)), np.arange(USERS + 1) * LENGTH, items, None, stops - 2, stops - 1),
)
with Store.open(home) as store:
    store.datasets.add(dataset, source="made up", licence="none", split={"rule": "leave-one-out"})
baseline("popularity", data="many", home=home)
alone = recommend_all(Request(output=str(folder / "alone.csv"), k=5), home=home)
shared = recommend_all(Request(output=str(folder / "ray.csv"), k=5, on="ray"), home=home)

# a job that was stopped after two parts here goes on there
from patchrec.operations.many import bulk_job
rank, seen = bulk_job.rank, []
def stop(*arguments, **options):
    seen.append(1)
    if len(seen) > 2:
        raise KeyboardInterrupt
    return rank(*arguments, **options)
bulk_job.rank = stop
try:
    recommend_all(Request(output=str(folder / "again.csv"), k=5), home=home)
except PatchrecError:
    pass
again = recommend_all(Request(output=str(folder / "again.csv"), k=5, on="ray"), home=home)

# an actor that is killed comes again
import os, signal, threading, time
bulk_job.rank = rank
def kill_one():
    mark, until = str(home).encode(), time.monotonic() + 60
    while time.monotonic() < until:
        for process in Path("/proc").glob("[0-9]*"):
            try:
                ours = mark in (process / "environ").read_bytes()
                if ours and (process / "cmdline").read_bytes().startswith(b"ray::Ranker"):
                    os.kill(int(process.name), signal.SIGKILL)
                    killed.append(process.name)
                    return
            except OSError:
                continue
        time.sleep(0.02)
killed = []
os.environ["PATCHREC_HOME"] = str(home)  # which actors inherit, and are known by
thread = threading.Thread(target=kill_one)
thread.start()
recommend_all(Request(output=str(folder / "killed.csv"), k=5, on="ray"), home=home)
thread.join()
names = ("ray.csv", "again.csv", "killed.csv")
same = [(folder / name).read_bytes() == (folder / "alone.csv").read_bytes() for name in names]
left = [path.name for path in folder.iterdir() if path.name.endswith(".parts")]
print(json.dumps([same, shared.parts, shared.rows, again.parts_found, left, len(killed)]))
"""


@needs_ray
@pytest.mark.slow
def test_actors_write_the_file_that_one_process_writes(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-c", JOB, str(tmp_path)], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    same, parts, rows, found, left, killed = json.loads(done.stdout.splitlines()[-1])
    assert same == [True, True, True]
    assert killed == 1
    assert (parts, rows) == (5, 150 * 5)  # parts of 32 users
    assert found == 2
    assert left == []


@pytest.mark.parametrize("place", ["slurm", "ray:", "", "Ray"])
def test_another_place_is_refused(place, tmp_path):
    with pytest.raises(UsageError, match="choose ray"):
        recommend_all(Request(output=str(tmp_path / "recs.csv"), on=place))


def test_without_ray_the_way_to_it_is_told(monkeypatch, tmp_path):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(on_ray, "import_module", missing)
    with pytest.raises(UsageError, match=r"patchrec\[ray\]"):
        recommend_all(Request(output=str(tmp_path / "recs.csv"), on="ray"))


@pytest.fixture
def ray_is_there(monkeypatch):
    monkeypatch.setattr(on_ray, "import_module", lambda name: object())


def test_processes_of_a_launcher_do_not_go_with_ray(ray_is_there, monkeypatch, tmp_path):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="drop torchrun"):
        recommend_all(Request(output=str(tmp_path / "recs.csv"), on="ray"))


def test_neither_stdin_nor_stdout_goes_with_ray(ray_is_there, tmp_path):
    with pytest.raises(UsageError, match="stdin"):
        recommend_all(Request(output=str(tmp_path / "recs.csv"), on="ray", users="-"))
    with pytest.raises(UsageError, match="--output FILE"):
        recommend_all(Request(output="-", on="ray"))
