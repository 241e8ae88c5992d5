"""Several processes at one job, started by `torchrun` or `accelerate launch`: which one this is, how all start and end.

The processes talk once, before the work; after that each goes its own way, so that none waits for one that died.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from types import FrameType
from typing import TypeVar

from patchrec.errors import InterruptedRunError, PatchrecError, UsageError

START_TIMEOUT = timedelta(hours=1)  # for a model to be loaded and many parts to be checked

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

    def start(self, prepare: Callable[[], tuple[T, list[int]]]) -> tuple[T | None, list[int]]:
        """Prepare a job in process 0 and tell the others what is to be done; they take GPUs in turn.

        Args:
            prepare: Gives whatever process 0 goes on with, and the numbers of the pieces of work that there are.

        Returns:
            What `prepare` gave. In the others None and the numbers, or no numbers where it failed in process 0, which
            tells why.

        Raises:
            UsageError: The launcher did not say where the processes meet.
        """
        if self.count == 1:
            return prepare()
        if "MASTER_ADDR" not in os.environ:
            raise UsageError("start several processes with `torchrun --nproc_per_node N -m patchrec_cli ...`")
        import torch
        from torch import distributed

        if torch.cuda.is_available():
            torch.cuda.set_device(self.local_rank % torch.cuda.device_count())
        distributed.init_process_group("gloo", rank=self.rank, world_size=self.count, timeout=START_TIMEOUT)
        try:
            if not self.is_main:
                return None, _hear()
            numbers: list[int] = []
            try:
                found, numbers = prepare()
            finally:
                _tell(numbers)
            return found, numbers
        finally:
            distributed.destroy_process_group()


def _tell(numbers: Sequence[int]) -> None:
    """Give numbers to the other processes."""
    import torch
    from torch import distributed

    try:
        distributed.broadcast(torch.tensor([len(numbers)]), src=0)
        distributed.broadcast(torch.tensor(numbers, dtype=torch.int64), src=0)
    except RuntimeError as error:
        raise PatchrecError("another process of this job stopped before it began; start it again") from error


def _hear() -> list[int]:
    """Get the numbers of process 0; none where it is gone."""
    import torch
    from torch import distributed

    length = torch.zeros(1, dtype=torch.int64)
    try:
        distributed.broadcast(length, src=0)
        numbers = torch.zeros(int(length), dtype=torch.int64)
        distributed.broadcast(numbers, src=0)
    except RuntimeError:
        return []
    found: list[int] = numbers.tolist()
    return found


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
