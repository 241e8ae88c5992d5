"""Several processes at one job, started by `torchrun` or `accelerate launch`: which one this is, how all start and end.

The processes talk once, before the work; after that each goes its own way, so that none waits for one that died.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from types import FrameType
from typing import TypeVar

from patchrec.errors import InterruptedRunError, PatchrecError, UsageError

START_TIMEOUT = timedelta(hours=1)  # for loading models one after the other

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Process:
    """One of the processes of a job.

    Attributes:
        rank: Its number, from 0; process 0 speaks for all.
        count: How many there are.
        local_rank: Its number on its machine.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0

    @classmethod
    def this_one(cls) -> "Process":
        """What the launcher says; a process on its own where none did.

        Raises:
            UsageError: It says something else.
        """
        values = [os.environ.get(name, default) for name, default in (("RANK", "0"), ("WORLD_SIZE", "1"))]
        try:
            rank, count = map(int, values)
            local_rank = int(os.environ.get("LOCAL_RANK", rank))
        except ValueError:
            rank, count, local_rank = -1, 0, 0
        if not 0 <= rank < count:
            raise UsageError(f"RANK={values[0]!r} and WORLD_SIZE={values[1]!r} say no process; unset them")
        return cls(rank, count, local_rank)

    @property
    def is_main(self) -> bool:
        """Whether this process speaks for all."""
        return self.rank == 0

    def prepare(self, work: Callable[[], T]) -> T | None:
        """Do something in process 0 first, then in the others; they take GPUs in turn.

        Returns:
            What `work` gives; None in the others where it failed in process 0, which tells why.

        Raises:
            UsageError: The launcher did not say where the processes meet.
        """
        if self.count == 1:
            return work()
        if "MASTER_ADDR" not in os.environ:
            raise UsageError("start several processes with `torchrun --nproc_per_node N -m patchrec_cli ...`")
        import torch
        from torch import distributed

        if torch.cuda.is_available():
            torch.cuda.set_device(self.local_rank % torch.cuda.device_count())
        distributed.init_process_group("gloo", rank=self.rank, world_size=self.count, timeout=START_TIMEOUT)
        try:
            if self.is_main:
                return _tell(work)
            went_well = _hear()
        finally:
            distributed.destroy_process_group()
        return work() if went_well else None


def _tell(work: Callable[[], T]) -> T:
    """Do the work and tell the other processes whether it went well."""
    import torch
    from torch import distributed

    went_well = torch.zeros(1)
    try:
        found = work()
        went_well += 1
    finally:
        try:
            distributed.broadcast(went_well, src=0)
        except RuntimeError as error:
            raise PatchrecError("another process of this job stopped before it began; start it again") from error
    return found


def _hear() -> bool:
    """Wait for process 0."""
    import torch
    from torch import distributed

    went_well = torch.zeros(1)
    try:
        distributed.broadcast(went_well, src=0)
    except RuntimeError:  # process 0 is gone
        return False
    return bool(went_well.item())


@contextmanager
def stoppable(kept: Callable[[], str]) -> Iterator[None]:
    """Make Ctrl-C and SIGTERM an error that says what is kept: for work that may stop anywhere.

    Raises:
        InterruptedRunError: One of them came.
    """

    def terminate(number: int, frame: FrameType | None) -> None:
        raise InterruptedRunError(f"stopped by SIGTERM; {kept()}", 128 + signal.SIGTERM)

    watch = threading.current_thread() is threading.main_thread()  # nowhere else may signals be set
    before = signal.signal(signal.SIGTERM, terminate) if watch else None
    try:
        yield
    except KeyboardInterrupt as error:
        raise InterruptedRunError(f"stopped by Ctrl-C; {kept()}") from error
    finally:
        if watch:
            signal.signal(signal.SIGTERM, before)
