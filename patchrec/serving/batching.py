"""One thread runs the model: what is asked within a few milliseconds runs together, and a full queue refuses."""

import queue
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from time import monotonic, perf_counter

from patchrec.history import BoolArray
from patchrec.recommender import Query, Ranking, Recommender, rank

_PATIENCE = 4  # times `wait` that a batch is filled at most: who is answered together asks again together


class BusyError(Exception):
    """More is asked than is answered; come back in `after` seconds."""

    def __init__(self, after: int) -> None:
        super().__init__(f"the server is busy; try again in {after} s")
        self.after = after


class StoppedError(Exception):
    """The server is stopping."""


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """Queries of one caller that wait for their rankings.

    Attributes:
        recommender: Who answers: a run that is taken out of service still answers what it was asked.
        queries: What is asked.
        k: How many items.
        allowed: (I,) items that may be ranked; the same object for those that may be run together.
        done: Gets the rankings, in order.
    """

    recommender: Recommender
    queries: Sequence[Query]
    k: int
    allowed: BoolArray | None
    done: "Future[list[Ranking]]" = field(default_factory=Future)

    @property
    def kin(self) -> tuple[int, int, int]:
        """Jobs of which this is the same are run in one call."""
        return id(self.recommender), self.k, id(self.allowed)


class Batcher:
    """Runs jobs in one thread, those that came together in one batch.

    Attributes:
        size: Queries of a batch at most; a single job may have more.
        wait: Seconds that a batch waits for another job; while more come, some times as long in all.
        batches, jobs, seconds: Run so far, and how long that took.
        is_closed: Whether it takes no more.
    """

    def __init__(self, *, size: int = 32, wait: float = 0.004, most_waiting: int = 256) -> None:
        self.size, self.wait = size, wait
        self.batches, self.jobs, self.seconds = 0, 0, 0.0
        self._queue: queue.Queue[Job | None] = queue.Queue(most_waiting)
        self._closing = threading.Lock()
        self.is_closed = False
        self._thread = threading.Thread(target=self._run, name="patchrec-model", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Jobs that are not begun."""
        return self._queue.qsize()

    def submit(self, job: Job) -> "Future[list[Ranking]]":
        """Queue a job.

        Raises:
            BusyError: The queue is full. StoppedError: `close` was called.
        """
        with self._closing:
            if self.is_closed:
                raise StoppedError
            try:
                self._queue.put_nowait(job)
            except queue.Full:
                raise BusyError(self._after()) from None
        return job.done

    def close(self) -> None:
        """Finish what is queued and stop."""
        with self._closing:
            first, self.is_closed = not self.is_closed, True
        if first:
            self._queue.put(None)
        self._thread.join()

    def _after(self) -> int:
        """Seconds in which the queue should have emptied."""
        each = self.seconds / self.jobs if self.jobs else 0.0
        return min(60, max(1, round(each * self._queue.qsize())))

    def _run(self) -> None:
        while True:
            batch, last = self._gather()
            groups: dict[tuple[int, int, int], list[Job]] = {}
            for job in batch:
                if job.done.set_running_or_notify_cancel():
                    groups.setdefault(job.kin, []).append(job)
            for group in groups.values():
                begun = perf_counter()
                _answer(group)
                self.seconds += perf_counter() - begun
                self.batches += 1
                self.jobs += len(group)
            del batch, groups
            if last:
                return

    def _gather(self) -> tuple[list[Job], bool]:
        """The next jobs, and whether they are the last ones."""
        first = self._queue.get()
        if first is None:
            return [], True
        begun = monotonic()
        batch, until = [first], begun + self.wait
        size = len(first.queries)
        while size < self.size:
            try:
                left = until - monotonic()
                job = self._queue.get(timeout=left) if left > 0 else self._queue.get_nowait()
            except queue.Empty:
                break
            if job is None:
                return batch, True
            batch.append(job)
            size += len(job.queries)
            until = min(monotonic() + self.wait, begun + _PATIENCE * self.wait)
        return batch, False


def _answer(group: Sequence[Job]) -> None:
    """Rank for jobs that are alike; where that fails, each on its own, so that none fails for another's sake."""
    queries = [query for job in group for query in job.queries]
    try:
        found = rank(group[0].recommender, queries, group[0].k, allowed=group[0].allowed)
    except BaseException as error:  # whatever it is belongs to who asked
        if len(group) == 1:
            group[0].done.set_exception(error)
            return
        for job in group:
            _answer([job])
        return
    first = 0
    for job in group:
        job.done.set_result(found[first : first + len(job.queries)])
        first += len(job.queries)
