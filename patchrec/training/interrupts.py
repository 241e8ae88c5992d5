"""Ctrl-C, SIGTERM and SIGHUP: a wish to stop, granted between two steps, or the end of work that may stop anywhere.

Whoever stops a program often says so more than once, so SIGTERM and SIGHUP count once: what they began is not disturbed
by another. Ctrl-C is a person at the keyboard: the second one stops at once.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from patchrec.errors import InterruptedRunError

_HANGUP = getattr(signal, "SIGHUP", None)  # which Windows does not have


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP came where work may stop anywhere.

    Attributes:
        signal: Its number.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped at once by {signal_name(number)}")
        self.signal = number

    @property
    def exit_code(self) -> int:
        """128 plus the signal's number, as shells have it: 143, or 129 for SIGHUP."""
        return 128 + self.signal


class StopWish:
    """Which signal asked to stop, if any.

    Attributes:
        signal: Its number; 0 while nothing asked.
    """

    def __init__(self) -> None:
        self.signal = 0

    @property
    def name(self) -> str:
        """The signal in the user's words."""
        return signal_name(self.signal)

    @property
    def exit_code(self) -> int:
        """128 plus the signal's number, as shells have it: 130, 143, or 129 for SIGHUP."""
        return 128 + self.signal


class _Ending:
    """Whether this process is ending by a signal already, and the terminals that it writes to."""

    signal = 0
    terminals: tuple[int, ...] = ()

    @classmethod
    def begin(cls, number: int) -> None:
        """Remember the signal; once a terminal is gone, nothing more is written to it."""
        cls.signal = number
        if number == _HANGUP and cls.terminals:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            for descriptor in cls.terminals:
                os.dup2(nowhere, descriptor)
            os.close(nowhere)

    @classmethod
    def watch(cls) -> None:
        """Begin anew."""
        cls.signal = 0
        cls.terminals = tuple(descriptor for descriptor in (1, 2) if _is_terminal(descriptor))


def signal_name(number: int) -> str:
    """A signal in the user's words."""
    return "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name


def stopped_by() -> int:
    """The signal that this process is ending by; 0 where none came that was watched for."""
    return _Ending.signal


def forget_signals() -> None:
    """Begin anew, where one process does several things in turn."""
    _Ending.watch()


@contextmanager
def stop_on_signals() -> Iterator[StopWish]:
    """Note the first SIGINT, SIGTERM or SIGHUP instead of dying of it; a second SIGINT has its usual effect.

    Outside the main thread, where Python takes no signals, nothing is watched.
    """
    wish = StopWish()
    before: dict[int, Any] = {}

    def note(number: int, frame: FrameType | None) -> None:
        if wish.signal:
            return
        wish.signal = number
        _Ending.begin(number)
        signal.signal(signal.SIGINT, before[signal.SIGINT])

    if _in_main_thread():
        _Ending.watch()
        before = {watched: signal.getsignal(watched) or signal.SIG_DFL for watched in (signal.SIGINT, *_ending())}
        for watched in before:
            signal.signal(watched, note)
    try:
        yield wish
    finally:
        _restore(before)


@contextmanager
def terminable() -> Iterator[None]:
    """Make the first SIGTERM or SIGHUP an exception, `Terminated`, that passes wherever Ctrl-C does; ignore others."""
    before = _take_over()
    try:
        yield
    finally:
        _restore(before)


def terminable_program() -> None:
    """The same for the rest of this process, until `deaf`."""
    _take_over()


def deaf() -> None:
    """Ignore SIGTERM and SIGHUP from now on: all is done, and the exit code says how it went."""
    for watched in _ending():
        signal.signal(watched, signal.SIG_IGN)


@contextmanager
def stoppable(kept: Callable[[], str]) -> Iterator[None]:
    """Make Ctrl-C, SIGTERM and SIGHUP an error that says what is kept: for work that may stop anywhere.

    Raises:
        InterruptedRunError: One of them came.
    """
    try:
        with terminable():
            yield
    except Terminated as error:
        raise InterruptedRunError(f"stopped by {signal_name(error.signal)}; {kept()}", error.exit_code) from error
    except KeyboardInterrupt as error:
        raise InterruptedRunError(f"stopped by Ctrl-C; {kept()}") from error


def _terminate(number: int, frame: FrameType | None) -> None:
    if not _Ending.signal:
        _Ending.begin(number)
        raise Terminated(number)


def _take_over() -> dict[int, Any]:
    """Let `_terminate` handle what ends a process, where it does not yet; gives what did before."""
    before: dict[int, Any] = {}
    if _in_main_thread():
        handlers = {watched: signal.getsignal(watched) or signal.SIG_DFL for watched in _ending()}
        before = {watched: handler for watched, handler in handlers.items() if handler is not _terminate}
        if before:
            _Ending.watch()
        for watched in before:
            signal.signal(watched, _terminate)
    return before


def _restore(before: dict[int, Any]) -> None:
    for watched, handler in before.items():
        signal.signal(watched, handler)


def _ending() -> list[int]:
    """The signals that end a process; SIGHUP only where nobody said to ignore it, as `nohup` does."""
    hangup = [] if _HANGUP is None or signal.getsignal(_HANGUP) == signal.SIG_IGN else [_HANGUP]
    return [signal.SIGTERM, *hangup]


def _in_main_thread() -> bool:
    """Where alone signals may be set."""
    return threading.current_thread() is threading.main_thread()


def _is_terminal(descriptor: int) -> bool:
    with suppress(OSError):
        return os.isatty(descriptor)
    return False
