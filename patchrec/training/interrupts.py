"""Ctrl-C and SIGTERM as a wish to stop, granted between two steps."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

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
