"""Several processes at one job, started by `torchrun` or `accelerate launch`: which one this is, and how they talk.

All talk passes here. What is small goes over gloo, on the CPU; gradients on GPUs go over NCCL. torch is imported when
there are several: a process on its own can say what is wrong with a command before that.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from itertools import count
from typing import TYPE_CHECKING, TypeVar

from patchrec.errors import PatchrecError, UsageError

if TYPE_CHECKING:
    from torch import Tensor
    from torch.distributed.distributed_c10d import Store

START_TIMEOUT = timedelta(hours=1)  # for a model to be fetched, or many parts to be checked
PEER_TIMEOUT = 600.0  # seconds; a long checkpoint is written while the others wait
ENVIRONMENT = "PATCHREC_PEER_TIMEOUT"
PLUGINS = ("FSDP", "DEEPSPEED", "MEGATRON_LM")  # of accelerate, which training does not pass through

T = TypeVar("T")
_meetings = count()


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
    def this_one(cls) -> Process:
        """What the launcher says; a process on its own where none did.

        Raises:
            UsageError: It says something else.
        """
        values = [os.environ.get(name, default) for name, default in (("RANK", "0"), ("WORLD_SIZE", "1"))]
        try:
            rank, number = map(int, values)
            local_rank = int(os.environ.get("LOCAL_RANK", rank))
        except ValueError:
            rank, number, local_rank = -1, 0, 0
        if not 0 <= rank < number:
            raise UsageError(f"RANK={values[0]!r} and WORLD_SIZE={values[1]!r} say no process; unset them")
        return cls(rank, number, local_rank)

    @classmethod
    def among_peers(cls) -> Process:
        """This one where processes work `together`; else one on its own."""
        from torch import distributed

        if not distributed.is_initialized():
            return cls()
        return cls(distributed.get_rank(), distributed.get_world_size())

    @property
    def is_main(self) -> bool:
        """Whether this process speaks for all."""
        return self.rank == 0

    def command(self, words: str) -> str:
        """A `patchrec` command as it is given again to as many processes, where they are all on one machine."""
        if self.count == 1 or os.environ.get("LOCAL_WORLD_SIZE", str(self.count)) != str(self.count):
            return f"patchrec {words}"
        return f"torchrun --nproc_per_node {self.count} -m patchrec_cli {words}"

    def start(
        self, prepare: Callable[[], tuple[T, bytes]], follow: Callable[[bytes], T] | None = None
    ) -> tuple[T | None, bytes]:
        """Prepare a job in process 0 and tell the others what is to be done; they take GPUs in turn.

        Args:
            prepare: Gives whatever process 0 goes on with, and what the others have to know.
            follow: Makes what the others go on with of that; then none goes on before all can.

        Returns:
            What `prepare` or `follow` gave (None in the others without it), and what the others have to know.

        Raises:
            UsageError: The launcher did not say where the processes meet.
            PatchrecError: Another process ended before it could begin.
            SystemExit: Process 0 failed, and says why; this one ends with the same exit code.
        """
        if self.count == 1:
            return prepare()
        with self._group(START_TIMEOUT):
            found: T | None = None
            if self.is_main:
                found, told = _prepared(prepare)
            else:
                told = _hear()
                if follow is not None:
                    found = follow(told)
            if follow is not None:
                with _lost_at_the_start():
                    self.wait()
            return found, told

    @contextmanager
    def together(self) -> Iterator[None]:
        """Let the processes add and compare numbers, with the patience that PATCHREC_PEER_TIMEOUT says.

        Raises:
            UsageError: That is no number of seconds, or the launcher did not say where the processes meet.
        """
        patience = peer_timeout()
        if self.count == 1:
            yield
            return
        from torch import distributed

        if distributed.is_initialized():
            yield
            return
        for plugin in PLUGINS:
            if os.environ.get(f"ACCELERATE_USE_{plugin}", "false").lower() in ("true", "1"):
                raise UsageError(
                    f"ACCELERATE_USE_{plugin} is set, which patchrec does not use: its own way to split a model over "
                    "processes is --shard; launch without that plugin"
                )
        with self._group(patience):
            yield

    @contextmanager
    def with_peers(self, again: str) -> Iterator[None]:
        """Say plainly that another process is gone, wherever that shows.

        Args:
            again: The command that goes on.

        Raises:
            PatchrecError: One is gone.
        """
        try:
            yield
        except RuntimeError as error:
            if self.count == 1 or not is_lost_peer(error):
                raise
            raise PatchrecError(
                f"process {self.rank} of {self.count}: another process is gone or does not answer "
                f"({_reason(error)}); start all again with `{again}`"
            ) from error

    def add(self, tensor: Tensor) -> None:
        """Make a tensor the sum of all processes' in place."""
        if self.count > 1:
            from torch import distributed

            distributed.all_reduce(tensor)

    def largest(self, *values: int) -> list[int]:
        """The largest of each value over all processes: all have come as far as this."""
        if self.count == 1:
            return list(values)
        import torch
        from torch import distributed

        found = torch.tensor(values, dtype=torch.int64)  # on the CPU, where waiting ends with an error and not a kill
        distributed.all_reduce(found, op=distributed.ReduceOp.MAX)
        return [int(value) for value in found]

    def wait(self) -> None:
        """Wait until all have come as far."""
        self.largest(0)

    def agree(self, value: int) -> bool:
        """Whether all processes have the same value."""
        high, low = self.largest(value, -value)
        return high == -low

    @contextmanager
    def _group(self, timeout: timedelta) -> Iterator[None]:
        if "MASTER_ADDR" not in os.environ:
            raise UsageError("start several processes with `torchrun --nproc_per_node N -m patchrec_cli ...`")
        import torch
        from torch import distributed
        from torch.distributed.distributed_c10d import PrefixStore

        backend = "gloo"
        if torch.cuda.is_available():
            devices = torch.cuda.device_count()
            torch.cuda.set_device(self.local_rank % devices)
            if int(os.environ.get("LOCAL_WORLD_SIZE", self.count)) <= devices:  # NCCL wants a GPU for each
                backend = "cpu:gloo,cuda:nccl"
        meeting = PrefixStore(f"patchrec-{next(_meetings)}", _store(self.rank, self.count))
        try:
            distributed.init_process_group(
                backend, store=meeting, rank=self.rank, world_size=self.count, timeout=timeout
            )
        except RuntimeError as error:
            raise _no_meeting(self, error) from error
        try:
            yield
        finally:
            distributed.destroy_process_group()


def peer_timeout() -> timedelta:
    """How long a process waits for another before it takes it for gone.

    Raises:
        UsageError: PATCHREC_PEER_TIMEOUT is no number of seconds.
    """
    said = os.environ.get(ENVIRONMENT, str(PEER_TIMEOUT))
    try:
        seconds = float(said)
    except ValueError:
        seconds = math.nan
    if not 1 <= seconds <= 1e6:
        raise UsageError(f"{ENVIRONMENT}={said!r} is no number of seconds from 1 on; unset it, or give one such as 600")
    return timedelta(seconds=seconds)


def is_lost_peer(error: RuntimeError) -> bool:
    """Whether an error of torch says that another process is gone."""
    from torch import distributed

    return isinstance(error, distributed.DistError) or "gloo" in str(error)  # whose errors have no class of their own


@cache
def _store(rank: int, number: int) -> Store:
    """Where processes find each other: one for all meetings, since its address is taken as long as it lives."""
    from torch.distributed.rendezvous import rendezvous

    try:
        found, _, _ = next(rendezvous("env://", rank, number, timeout=START_TIMEOUT))
    except (RuntimeError, ValueError) as error:
        raise _no_meeting(Process(rank, number), error) from error
    store: Store = found
    return store


def _no_meeting(process: Process, error: Exception) -> PatchrecError:
    where = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
    return PatchrecError(
        f"process {process.rank} of {process.count} did not meet the others at {where} ({_reason(error)}); "
        "start all of them again"
    )


def _reason(error: Exception) -> str:
    """The first line of an error of torch, without where in its source it was raised."""
    return re.sub(r"^\[[^]]*\]\s*", "", str(error).partition("\n")[0]).split(". This may indicate")[0].strip(". ")


def _prepared(prepare: Callable[[], tuple[T, bytes]]) -> tuple[T, bytes]:
    try:
        found, told = prepare()
    except BaseException as error:
        with suppress(PatchrecError):  # whoever is gone need not know
            _tell(b"", getattr(error, "exit_code", 1) or 1)
        raise
    _tell(told)
    return found, told


@contextmanager
def _lost_at_the_start() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise PatchrecError("another process of this job stopped before it began; start all of them again") from error


def _tell(content: bytes, exit_code: int = 0) -> None:
    """Give bytes to the other processes."""
    import torch
    from torch import distributed

    with _lost_at_the_start():
        distributed.broadcast(torch.tensor([exit_code, len(content)]), src=0)
        if content:
            distributed.broadcast(torch.frombuffer(bytearray(content), dtype=torch.uint8), src=0)


def _hear() -> bytes:
    """Get the bytes of process 0.

    Raises:
        SystemExit: It failed, or is gone.
    """
    import torch
    from torch import distributed

    head = torch.zeros(2, dtype=torch.int64)
    try:
        distributed.broadcast(head, src=0)
        exit_code, length = head.tolist()
        if exit_code:
            raise SystemExit(exit_code)
        content = torch.zeros(length, dtype=torch.uint8)
        if length:
            distributed.broadcast(content, src=0)
    except RuntimeError as error:
        raise SystemExit(1) from error
    return content.numpy().tobytes()
