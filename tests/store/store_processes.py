"""What the tests of concurrency run in processes of their own: `python store_processes.py TASK HOME ...`."""

import sys
import time
from pathlib import Path

from patchrec.config import RunConfig
from patchrec.store import Store
from patchrec.store.runs import LossRow

CONFIG = RunConfig(stage="pretrain", dataset="toy", backbone="tiny-random")


def create_runs(home: Path, count: int) -> None:
    """Create runs, log a loss for each and finish it, as fast as the store lets."""
    with Store.open(home) as store:
        for _ in range(count):
            run = store.runs.create(CONFIG, label="pretrain", versions={}, fingerprints={})
            store.runs.log_loss(run.name, [LossRow(1, 0.5, 10, 1, 0.1, 1e-4)])
            store.runs.finish(run.name, {"loss": 0.5})


def open_and_close(home: Path, count: int) -> None:
    """Open the store, which creates or upgrades it, and close it."""
    for _ in range(count):
        Store.open(home).close()


def hold(home: Path, seconds: int) -> None:
    """Hold the store for writing."""
    with Store.open(home) as store, store.write():
        print("held", flush=True)
        time.sleep(seconds)


def begin_run(home: Path, seconds: int) -> None:
    """Begin a run and stay at it."""
    with Store.open(home) as store:
        print(store.runs.create(CONFIG, label="pretrain", versions={}, fingerprints={}).name, flush=True)
        time.sleep(seconds)


if __name__ == "__main__":
    task, folder, number = sys.argv[1:]
    {"create": create_runs, "open": open_and_close, "hold": hold, "begin": begin_run}[task](Path(folder), int(number))
