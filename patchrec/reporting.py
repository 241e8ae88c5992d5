"""How operations tell what they do without knowing a terminal: notes, picked defaults and progress."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Task(Protocol):
    """A piece of work with a known total."""

    def advance(self, amount: float, *, tokens: int = 0, loss: float | None = None) -> None:
        """Report `amount` more of the total done, the tokens it took and the present loss (nats per token)."""


class Reporter(Protocol):
    """Where operations report to. The command line prints; the library is silent by default."""

    def note(self, message: str) -> None:
        """Say one line that the user should read."""

    def picked(self, what: str, value: str, why: str) -> None:
        """Say that a default chose: `what` is now `value`, because `why`."""

    def task(self, label: str, total: float, unit: str, *, done: float = 0.0) -> AbstractContextManager[Task]:
        """Open a progress bar of `total` units, such as "targets" or "bytes", of which `done` are done already."""


class _SilentTask:
    def advance(self, amount: float, *, tokens: int = 0, loss: float | None = None) -> None:
        pass


class Silent:
    """A reporter that says nothing."""

    def note(self, message: str) -> None:
        """Ignore the note."""

    def picked(self, what: str, value: str, why: str) -> None:
        """Ignore the pick."""

    @contextmanager
    def task(self, label: str, total: float, unit: str, *, done: float = 0.0) -> Iterator[Task]:
        """Give a task that shows nothing."""
        yield _SilentTask()


class WithoutNotes:
    """A reporter that leaves out notes, which whoever calls several operations says once."""

    def __init__(self, report: Reporter) -> None:
        self._report = report

    def note(self, message: str) -> None:
        """Ignore the note."""

    def picked(self, what: str, value: str, why: str) -> None:
        """See `Reporter.picked`."""
        self._report.picked(what, value, why)

    def task(self, label: str, total: float, unit: str, *, done: float = 0.0) -> AbstractContextManager[Task]:
        """See `Reporter.task`."""
        return self._report.task(label, total, unit, done=done)


class LatePicks:
    """A reporter that keeps picked defaults until it is known that they are of use."""

    def __init__(self, report: Reporter) -> None:
        self._report = report
        self._kept: list[tuple[str, str, str]] = []

    def note(self, message: str) -> None:
        """See `Reporter.note`."""
        self._report.note(message)

    def picked(self, what: str, value: str, why: str) -> None:
        """Keep the pick."""
        self._kept.append((what, value, why))

    def task(self, label: str, total: float, unit: str, *, done: float = 0.0) -> AbstractContextManager[Task]:
        """See `Reporter.task`."""
        return self._report.task(label, total, unit, done=done)

    def tell(self) -> None:
        """Say what was kept."""
        for pick in self._kept:
            self._report.picked(*pick)
        self._kept.clear()


SILENT = Silent()
