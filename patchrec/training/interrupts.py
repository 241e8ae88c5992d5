"""Ctrl-C and SIGTERM: a wish to stop, granted between two steps, or the end of work that may stop anywhere."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from patchrec.errors import InterruptedRunError

_WATCHED = (signal.SIGINT, signal.SIGTERM)


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
        return "Ctrl-C" if self.signal == signal.SIGINT else signal.Signals(self.signal).name

    @property
    def exit_code(self) -> int:
        """128 plus the signal's number, as shells have it: 130 or 143."""
        return 128 + self.signal


@contextmanager
def stop_on_signals() -> Iterator[StopWish]:
    """Note the first SIGINT or SIGTERM instead of dying of it; a second one has its usual effect.

    Outside the main thread, where Python takes no signals, nothing is watched.
    """
    wish = StopWish()
    before: dict[signal.Signals, Any] = {}

    def restore() -> None:
        for watched, handler in before.items():
            signal.signal(watched, handler)

    def note(number: int, frame: FrameType | None) -> None:
        wish.signal = number
        restore()

    if threading.current_thread() is threading.main_thread():
        before = {watched: signal.getsignal(watched) or signal.SIG_DFL for watched in _WATCHED}
        for watched in _WATCHED:
            signal.signal(watched, note)
    try:
        yield wish
    finally:
        restore()


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
