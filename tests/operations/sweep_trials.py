"""Sweeps by several processes at once, and killed ones: run as a process of its own.

    python sweep_trials.py share HOME FILE PROCESSES    all begin at once, and end well
    python sweep_trials.py kill HOME FILE KILLS SEED    two processes; one of them dies KILLS times at a random moment

It imports everything once and forks, so that a trial costs no imports. Every training that begins is noted in
HOME/begun, one name a line. Prints one line of JSON.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

from patchrec.operations.sweeping import shared_work
from patchrec.operations.sweeping import sweep as operation

torch.set_num_threads(1)
shared_work.PAUSE = 0.05


def fork_sweep(home: Path, file: Path) -> int:
    """Start a sweep in a child."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            trained = operation.go_on

            def noted(name, **more):
                with (home / "begun").open("a") as begun:
                    begun.write(f"{name}\n")
                return trained(name, **more)

            operation.go_on = noted
            operation.sweep(file, home=home)
            code = 0
        finally:
            os._exit(code)
    return child


def ended(child: int) -> int:
    """How a child ended: its exit code, or minus the signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def share(home: Path, file: Path, processes: int) -> list[int]:
    return [ended(child) for child in [fork_sweep(home, file) for _ in range(processes)]]


def kill(home: Path, file: Path, kills: int, seed: int) -> list[int]:
    """One process works on to the end, another is killed and started again, and again."""
    draw = random.Random(seed)
    whole = fork_sweep(home, file)
    codes = []
    for _ in range(kills):
        child = fork_sweep(home, file)
        time.sleep(draw.uniform(0.0, 0.6))
        os.kill(child, signal.SIGKILL)
        codes.append(ended(child))
    return [ended(whole), *codes]


if __name__ == "__main__":
    task, folder, path, *values = sys.argv[1:]
    found = {"share": share, "kill": kill}[task](Path(folder), Path(path), *map(int, values))
    print(json.dumps(found))
