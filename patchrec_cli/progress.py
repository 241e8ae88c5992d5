"""Progress on stderr: a bar with time left, tokens/s and loss on a terminal; a plain line now and then elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from patchrec.reporting import Task
from patchrec_cli import logbook
from patchrec_cli.display import clean
from patchrec_cli.numbers import count, duration, rate

if TYPE_CHECKING:
    from rich.progress import Progress

LINE_EVERY = 10.0  # seconds between plain lines


class Meter:
    """What is known of a task so far, and how it reads."""

    def __init__(self, label: str, total: float, unit: str, done: float = 0.0) -> None:
        self.label, self.total, self.unit = clean(label), total, clean(unit)
        self.before, self.done, self.tokens = done, done, 0
        self.loss: float | None = None
        self.started = time.monotonic()

    def add(self, amount: float, tokens: int, loss: float | None) -> None:
        """Take in one report; the loss shown is smoothed over about ten of them."""
        self.done += amount
        self.tokens += tokens
        if loss is not None:
            self.loss = loss if self.loss is None else 0.9 * self.loss + 0.1 * loss

    @property
    def seconds(self) -> float:
        """Time since the start."""
        return time.monotonic() - self.started

    @property
    def facts(self) -> list[str]:
        """Time left, tokens/s and loss: those that are known."""
        own = self.done - self.before  # what was done earlier took none of this time
        if own > 0 and self.done < self.total:
            return [f"{duration(self.seconds / own * (self.total - self.done))} left", *self._so_far]
        return self._so_far

    @property
    def _so_far(self) -> list[str]:
        facts = []
        if self.tokens:
            facts.append(f"{rate(self.tokens, self.seconds)} tokens/s")
        if self.loss is not None:
            facts.append(f"loss {self.loss:.3f}")
        return facts

    def __str__(self) -> str:
        return self._line(self.facts)

    @property
    def ended(self) -> str:
        """How it reads once it has ended, were it before all was done."""
        return self._line([*self._so_far, f"took {duration(self.seconds)}"])

    def _line(self, facts: list[str]) -> str:
        if self.unit == "bytes":
            done, total, unit = f"{self.done / 1e6:.1f}", f"{self.total / 1e6:.1f}", "MB"
        else:
            done, total, unit = count(self.done), count(self.total), self.unit
        share = f" ({self.done / self.total:.0%})" if self.total else ""
        return ", ".join([f"{self.label}: {done}/{total} {unit}{share}", *facts])


class PlainTask:
    """A task that prints a line every few seconds."""

    def __init__(self, meter: Meter, stream: TextIO, every: float) -> None:
        self.meter, self.stream, self.every = meter, stream, every
        self.said = meter.started

    def advance(self, amount: float, *, tokens: int = 0, loss: float | None = None) -> None:
        """Count, and say so when it is time."""
        self.meter.add(amount, tokens, loss)
        if time.monotonic() - self.said >= self.every:
            self.said = time.monotonic()
            self.stream.write(f"{self.meter}\n")
            self.stream.flush()


class BarTask:
    """A task drawn as a bar by rich."""

    def __init__(self, meter: Meter, progress: "Progress") -> None:
        self.meter, self.progress = meter, progress
        self.bar = progress.add_task(meter.label, total=meter.total or None, completed=int(meter.done), facts="")

    def advance(self, amount: float, *, tokens: int = 0, loss: float | None = None) -> None:
        """Count and redraw."""
        self.meter.add(amount, tokens, loss)
        self.progress.update(self.bar, completed=self.meter.done, facts=", ".join(self.meter.facts))


class TerminalReporter:
    """Reports to stderr. Bars of tasks that run inside each other share one display."""

    def __init__(self, stream: TextIO | None = None, every: float = LINE_EVERY) -> None:
        self.stream = stream or sys.stderr
        self.every = every
        self.progress: Progress | None = None

    def note(self, message: str) -> None:
        """Print one line, above the bars where there are any."""
        logbook.write(message)
        if self.progress is not None:
            self.progress.console.print(clean(message), markup=False, highlight=False, emoji=False)
            return
        self.stream.write(clean(message) + "\n")
        self.stream.flush()

    def picked(self, what: str, value: str, why: str) -> None:
        """Print what a default chose: `data: ml-100k (the only one)`."""
        self.note(f"{what}: {value} ({why})")

    @contextmanager
    def task(self, label: str, total: float, unit: str, *, done: float = 0.0) -> Iterator[Task]:
        """Show progress until the block ends, and then how long it took (or that it stopped)."""
        meter = Meter(label, total, unit, done)
        if self.stream.isatty():
            with self._bars() as progress:
                bar = BarTask(meter, progress)
                try:
                    yield bar
                finally:
                    progress.remove_task(bar.bar)
                    self._close(meter)
        else:
            try:
                yield PlainTask(meter, self.stream, self.every)
            finally:
                self._close(meter)

    def _close(self, meter: Meter) -> None:
        self.note(meter.ended)

    @contextmanager
    def _bars(self) -> "Iterator[Progress]":
        if self.progress is not None:
            yield self.progress
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

        console = Console(file=self.stream)
        columns = [
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TaskProgressColumn(),
            TextColumn("{task.fields[facts]}", markup=False),
        ]
        with Progress(*columns, console=console, transient=True) as progress:
            self.progress = progress
            try:
                yield progress
            finally:
                self.progress = None
