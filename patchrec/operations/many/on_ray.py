"""The parts of a bulk job on a Ray cluster: actors hold the model and take parts as they are free.

Ray only hands out numbers of parts. What is done is in the job's folder, as ever, so a job that began on Ray goes on
without it and the other way round. Ray's processes talk in pickles of their own, with each other; no file is one.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from patchrec.errors import PatchrecError, UsageError
from patchrec.operations.many.bulk_job import Request
from patchrec.reporting import Reporter, Task
from patchrec.store.connection import default_home
from patchrec.training.processes import Process

RAY = "ray"
TRIES = 3  # of a part whose actor dies
AHEAD = 2  # parts that wait at each actor


def check_place(place: str) -> None:
    """Refuse places other than `ray` and `ray:ADDRESS`, and Ray where it is not installed.

    Raises:
        UsageError: The message says what there is, or how Ray comes.
    """
    name, colon, address = place.partition(":")
    if name != RAY or (colon and not address):
        raise UsageError(f"--on {place!r} is no place; choose ray, or ray:ADDRESS such as ray:10.0.0.5:6379")
    _ray()


def rank_parts_on_ray(
    request: Request, home: Path | None, output: Path, missing: dict[int, list[int]], task: Task, report: Reporter
) -> None:
    """Rank the missing parts by actors: one for each GPU of the cluster or, where it has none, for each core.

    Args:
        request: What is asked; `on` says where.
        home, output: Paths that every machine of the cluster has to see.
        missing: Number -> places of its users; parts leave it as they appear.
        task: Told of users as their parts are there.
        report: Is told how many actors there are.

    Raises:
        PatchrecError: An actor failed, or died again and again. What is done is kept.
    """
    if not missing:
        return
    ray = _ray()
    with _cluster(ray, str(request.on).partition(":")[2]):
        found = ray.cluster_resources()
        kind = "num_gpus" if found.get("GPU", 0) >= 1 else "num_cpus"
        room = int(found.get("GPU" if kind == "num_gpus" else "CPU", 1))
        number = max(1, min(room, len(missing)))
        report.note(f"ranking {len(missing)} parts on Ray, by {number} {'actors' if number > 1 else 'actor'}")
        actor = ray.remote(max_restarts=TRIES, max_task_retries=TRIES, **{kind: 1})(Ranker)
        seen = _absolute(request)
        store = (home or default_home()).expanduser().resolve()
        actors = [actor.remote(seen, store, output, place) for place in range(1, number + 1)]
        waiting = iter(sorted(missing))
        running: dict[Any, int] = {}
        for one in actors * AHEAD:
            if (part := next(waiting, None)) is not None:
                running[one.rank.remote(part)] = actors.index(one)
        while running:
            (done, *_), _ = ray.wait(list(running), num_returns=1)
            one = actors[running.pop(done)]
            task.advance(len(missing.pop(_result(ray, done, request))))
            if (part := next(waiting, None)) is not None:
                running[one.rank.remote(part)] = actors.index(one)


class Ranker:
    """An actor: the job as one of several processes of it, which ranks the parts that it is given."""

    def __init__(self, request: Request, home: Path | None, output: Path, place: int) -> None:
        from patchrec.operations.many.recommend_all import follow

        self.state = follow(request, output, Process(place, place + 1), home, [])

    def rank(self, number: int) -> int:
        """Write a part; gives its number."""
        state = self.state
        state.parts.write(number, state.job.rank(state.planned[number]))
        return number


def _absolute(request: Request) -> Request:
    """The same from another folder."""
    return request if request.users is None else replace(request, users=str(Path(request.users).expanduser().resolve()))


def _result(ray: Any, done: Any, request: Request) -> int:
    try:
        return int(ray.get(done))
    except ray.exceptions.RayError as error:
        kept = f"what is done is kept: go on with `{request.again}`"
        cause = getattr(error, "cause", None)
        if isinstance(cause, PatchrecError):
            raise type(cause)(f"on Ray: {cause}; {kept}") from error
        what = str(cause or error).strip().splitlines()
        raise PatchrecError(f"an actor on Ray failed ({what[0] if what else type(error).__name__}); {kept}") from error


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report to its makers
    try:
        return import_module(RAY)
    except ImportError as error:
        raise UsageError('--on ray needs Ray: pip install "patchrec[ray]"') from error


@contextmanager
def _cluster(ray: Any, address: str) -> Iterator[None]:
    """The cluster at an address; a cluster of this machine alone where none is named (or RAY_ADDRESS names one)."""
    if ray.is_initialized():
        yield
        return
    quiet = {"log_to_driver": False, "logging_level": "error"}
    try:
        ray.init(address=address or None, **({} if address else {"include_dashboard": False}), **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UsageError(f"no Ray cluster answers at {address or 'this machine'!r}: {reason}") from error
    try:
        yield
    finally:
        ray.shutdown()
