"""The folder of a GPU run: its settings, one JSON file for each result, and the time that one call may take."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from typing import Any

from patchrec.errors import UsageError


class OutOfTimeError(BaseException):
    """The call's minutes are over; what was finished is written. No failure: nothing on the way is to handle it."""


@contextmanager
def minutes(amount: float) -> Iterator[None]:
    """End what runs in here after some minutes, as SIGTERM would: a training saves its state first.

    Raises:
        OutOfTimeError: They are over, and no training was under way that tells so itself.
    """

    def over(number: int, frame: object) -> None:
        raise OutOfTimeError

    timer = Timer(60 * amount, lambda: os.kill(os.getpid(), signal.SIGTERM))
    timer.daemon = True
    before = signal.signal(signal.SIGTERM, over)
    try:
        timer.start()
        yield
    finally:
        timer.cancel()
        signal.signal(signal.SIGTERM, before)


class Folder:
    """Results as files, each whole or absent."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def keep_settings(self, settings: dict[str, Any]) -> None:
        """Write what all results depend on, or hold it to what the calls before had.

        Raises:
            UsageError: They had something else.
        """
        settings = json.loads(json.dumps(settings))
        before = self.read("settings") or settings
        other = [
            f"{key} was {before.get(key)!r}, now {value!r}"
            for key, value in settings.items()
            if before.get(key) != value
        ]
        if other:
            raise UsageError(f"{self.place} holds results with other settings ({'; '.join(other)}); use another --out")
        self.write("settings", settings)

    def read(self, name: str) -> Any:
        """What a file holds; None where there is none."""
        path = self.place / f"{name}.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def write(self, name: str, found: Any) -> None:
        """Write a file in one move."""
        path = self.place / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text(json.dumps(found, indent=1, ensure_ascii=False), encoding="utf-8")
        part.replace(path)
