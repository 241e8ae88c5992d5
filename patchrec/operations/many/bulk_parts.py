"""The parts of a bulk job: rank those that are missing, wait for other processes, bring all into the users' order.

Shapes: U users of the job, k items each.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from patchrec.data.parts import Parts, UserRanking
from patchrec.errors import CorruptError, PatchrecError
from patchrec.model.disk import disk_errors
from patchrec.operations.many.bulk_job import Job
from patchrec.reporting import Task
from patchrec.training.processes import Process

PATIENCE = 1800.0  # seconds without any part of another process
LOOK_SECONDS = 2.0  # between looks at other processes' parts while there is work
POLL_SECONDS = 0.2  # and when there is none


@dataclass(slots=True)
class Tally:
    """What rankings add up to.

    Attributes:
        k: Items asked for.
        rows: Items given.
        short: Users with fewer than k. fewest: Items of the one who has fewest.
    """

    k: int
    rows: int = 0
    short: int = 0
    fewest: int | None = None

    def add(self, num_items: int) -> None:
        """Count a user."""
        self.rows += num_items
        self.short += num_items < self.k
        self.fewest = num_items if self.fewest is None else min(self.fewest, num_items)


def rank_parts(job: Job, parts: Parts, missing: dict[int, list[int]], process: Process, task: Task) -> None:
    """Rank this process's share of the missing parts; process 0 then waits for the others'.

    Args:
        missing: Number -> places of its users; parts leave it as they appear.
        task: Told of users as their parts are there.
    """
    others = _Others(job, parts, missing, process, task) if process.is_main and process.count > 1 else None
    for number in [number for number in sorted(missing) if number % process.count == process.rank]:
        rankings = job.rank(missing[number])
        with disk_errors(f"writing {parts.folder}", "finished parts are kept", f"go on with `{job.again}`"):
            parts.write(number, rankings)
        task.advance(len(missing.pop(number)))
        if others is not None:
            others.look(LOOK_SECONDS)
    if others is not None:
        others.wait()


class _Others:
    """The parts of other processes, as process 0 sees them appear."""

    def __init__(self, job: Job, parts: Parts, missing: dict[int, list[int]], process: Process, task: Task) -> None:
        self.job, self.parts, self.missing, self.task = job, parts, missing, task
        self.numbers = [number for number in sorted(missing) if number % process.count != process.rank]
        self.looked = self.heard = time.monotonic()

    def look(self, pause: float) -> None:
        """Take note of new parts, unless the last look was a moment ago."""
        if time.monotonic() - self.looked < pause:
            return
        for number in list(self.numbers):
            if self.parts.has(number) and self.parts.read(number, self.missing[number]) is not None:
                self.numbers.remove(number)
                self.task.advance(len(self.missing.pop(number)))
                self.heard = time.monotonic()
        self.looked = time.monotonic()

    def wait(self) -> None:
        """Wait until all are there."""
        self.heard = time.monotonic()
        self.look(0)
        while self.numbers:
            if time.monotonic() - self.heard > PATIENCE:
                raise PatchrecError(
                    f"{len(self.numbers)} parts of other processes did not appear for {PATIENCE / 60:.0f} minutes; did "
                    f"one stop? what is done is kept: go on with `{self.job.again}`"
                )
            time.sleep(POLL_SECONDS)
            self.look(0)


def missing_parts(parts: Parts, planned: Sequence[Sequence[int]]) -> dict[int, list[int]]:
    """Number -> places of the parts that are not there, or not as they must be."""
    return {number: list(places) for number, places in enumerate(planned) if parts.read(number, places) is None}


def in_order(parts: Parts, planned: Sequence[Sequence[int]], num_users: int, k: int) -> Iterator[UserRanking]:
    """All rankings of all parts, in the order of their places. Holds 20 bytes a row, not the rankings themselves.

    Raises:
        CorruptError: A part vanished, or is not what was written.
    """
    counts = np.zeros(num_users, dtype=np.int64)
    items: npt.NDArray[np.int32] = np.zeros((num_users, k), dtype=np.int32)
    scores, probabilities = np.zeros((num_users, k)), np.full((num_users, k), np.nan)
    for number, places in enumerate(planned):
        rankings = parts.read(number, places)
        if rankings is None:
            raise CorruptError(
                f"part {number} of {str(parts.folder)!r} is gone or damaged; start the same command again"
            )
        for ranking in rankings:
            place, count = ranking.place, len(ranking.items)
            counts[place] = count
            items[place, :count], scores[place, :count] = ranking.items, ranking.scores
            probabilities[place, :count] = [np.nan if value is None else value for value in ranking.probabilities]
    for place, count in enumerate(counts.tolist()):
        known = [None if np.isnan(value) else value for value in probabilities[place, :count].tolist()]
        yield UserRanking(place, items[place, :count].tolist(), scores[place, :count].tolist(), known)


def counted(rankings: Iterable[UserRanking], tally: Tally) -> Iterator[UserRanking]:
    """Count rankings as they pass."""
    for ranking in rankings:
        tally.add(len(ranking.items))
        yield ranking
