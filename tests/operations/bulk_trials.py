"""Recommend for many users, break it, go on, compare: run as a process of its own.

    python bulk_trials.py kill HOME WORK KILLS PROCESSES    kills at random moments
    python bulk_trials.py crash HOME WORK STEP              dies at every STEP-th use of a file
    python bulk_trials.py full HOME WORK LEVELS             no file may grow beyond a level, as on a disk that is full
    python bulk_trials.py plain HOME WORK                   just recommend; RANK and WORLD_SIZE make it one of several

It imports everything once and forks each job, so that a trial costs no imports. Prints one line of JSON.
"""

import json
import os
import random
import resource
import signal
import socket
import sys
import time
from functools import partial
from pathlib import Path

import torch

from patchrec.errors import PatchrecError, UsageError
from patchrec.operations.many import bulk_job
from patchrec.operations.many.bulk_job import Request
from patchrec.operations.many.recommend_all import recommend_all

SMALL_PARTS = 6  # users
DONE_ALREADY = 99  # killed on its very last step


def job(home: Path, output: Path) -> int:
    """Run the job as the command line would; gives its exit code."""
    bulk_job.USERS_PER_PART = {"cpu": SMALL_PARTS}
    try:
        recommend_all(Request(output=str(output), k=7), home=home)
    except UsageError as error:
        return DONE_ALREADY if "is there already" in str(error) else error.exit_code
    except PatchrecError as error:
        return error.exit_code
    return 0


def fork_job(home: Path, output: Path, *, rank: int = 0, count: int = 1, port: int = 0, before=lambda: None) -> int:
    """Start a job in a child."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            if count > 1:
                where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
                os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(count), **where)
            before()
            code = job(home, output)
        finally:
            os._exit(code)
    return child


def fork_jobs(home: Path, output: Path, count: int) -> list[int]:
    """Start one job of several processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return [fork_job(home, output, rank=rank, count=count, port=port) for rank in range(count)]


def wait(child: int) -> int:
    """Exit code of a child, negative for the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def references(home: Path, work: Path) -> tuple[dict[str, bytes], float]:
    """What undisturbed jobs write, by format, and the seconds that the last one takes.

    They run here and not in a child, so that no child has to import anything.
    """
    found = {}
    for ending in (".parquet", ".csv"):
        begun = time.monotonic()
        output = work / f"reference{ending}"
        assert job(home, output) == 0
        found[ending] = output.read_bytes()
    return found, time.monotonic() - begun


def wrong(output: Path, expected: bytes, codes: list[int]) -> list[str]:
    """What is wrong after a job that must have ended well, with the bytes that it must give and nothing else."""
    found = []
    if codes[0] not in (0, DONE_ALREADY):
        found.append(f"{output.parent.name}: exit codes {codes}")
    if not output.exists() or output.read_bytes() != expected:
        found.append(f"{output.parent.name}: other bytes")
    leftover = [str(path.relative_to(output.parent)) for path in output.parent.rglob("*") if path != output]
    if leftover:
        found.append(f"{output.parent.name}: left {leftover}")
    return found


def kill(home: Path, work: Path, wanted: int, count: int) -> dict[str, object]:
    expected, seconds = references(home, work)
    seconds *= 1.5 if count > 1 else 1.0
    hits, number = 0, 0
    mismatches: list[str] = []
    while hits < wanted:
        luck = random.Random(number)
        ending = luck.choice(sorted(expected))
        output = work / f"trial-{number}" / f"recs{ending}"
        for _ in range(luck.choice((1, 2, 3))):
            children = fork_jobs(home, output, count)
            time.sleep(luck.uniform(0, seconds))
            for child in children:
                os.kill(child, luck.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM)))
            codes = [wait(child) for child in children]
            hits += any(code not in (0, DONE_ALREADY) for code in codes)
        codes = [wait(child) for child in fork_jobs(home, output, luck.choice((1, count)))]
        mismatches += wrong(output, expected[ending], codes)
        number += 1
    return {"hits": hits, "mismatches": mismatches}


def die_at(number: int, folder: Path) -> None:
    """End this process, without a word, when it uses a file of a folder for the n-th time."""
    seen = [0]

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if event in ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir") and str(folder) in str(arguments[0]):
            seen[0] += 1
            if seen[0] == number:
                os._exit(9)

    sys.addaudithook(watch)


def crash(home: Path, work: Path, step: int) -> dict[str, object]:
    expected, _ = references(home, work)
    number, crashes, code = 1, 0, 9
    mismatches: list[str] = []
    while code == 9:
        ending = sorted(expected)[number % 2]
        output = work / f"crash-{number}" / f"recs{ending}"
        code = wait(fork_job(home, output, before=partial(die_at, number, output.parent)))
        crashes += code == 9
        codes = [wait(fork_job(home, output))]
        mismatches += wrong(output, expected[ending], codes)
        number += step
    return {"crashes": crashes, "mismatches": mismatches}


def full(home: Path, work: Path, levels: int) -> dict[str, object]:
    expected, _ = references(home, work)
    codes: list[int] = []
    mismatches: list[str] = []
    for number in range(levels):
        ending = sorted(expected)[number % 2]
        output = work / f"full-{number}" / f"recs{ending}"
        most = 100 + number * (len(expected[ending]) - 100) // levels
        limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (most, most))
        codes.append(wait(fork_job(home, output, before=limit)))
        mismatches += ["an output"] if output.exists() else []
        mismatches += wrong(output, expected[ending], [wait(fork_job(home, output))])
    return {"codes": codes, "mismatches": mismatches}


def plain(home: Path, work: Path) -> dict[str, object]:
    return {"code": job(home, work / "recs.parquet")}


if __name__ == "__main__":
    torch.set_num_threads(1)
    what, home, work, *numbers = sys.argv[1:]
    trial = {"kill": kill, "crash": crash, "full": full, "plain": plain}[what]
    print(json.dumps(trial(Path(home), Path(work), *map(int, numbers))))
