"""What a long operation tells on stderr."""

import io
import re

from patchrec_cli.numbers import count, duration, moment, rate, value
from patchrec_cli.progress import TerminalReporter


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_elsewhere_than_on_a_terminal_a_plain_line_comes_now_and_then():
    stream = io.StringIO()
    with TerminalReporter(stream, every=0.0).task("finetune", 4, "steps") as task:
        task.advance(1, tokens=100, loss=3.0)
        task.advance(1, tokens=100, loss=2.0)
    first, second, last = stream.getvalue().splitlines()
    assert "left" not in last  # it ended before its time, as patience ends a run
    assert re.fullmatch(r"finetune: 1/4 steps \(25%\), .* left, [\d,.]+ tokens/s, loss 3\.000", first)
    assert "2/4 steps (50%)" in second
    assert "loss 2.900" in second  # smoothed: 0.9 * 3 + 0.1 * 2
    assert "took" in last


def test_time_left_counts_nothing_that_earlier_sessions_did(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("patchrec_cli.progress.time.monotonic", lambda: now[0])
    stream = io.StringIO()
    with TerminalReporter(stream, every=0.0).task("finetune", 1000, "targets", done=900) as task:
        now[0] = 10.0
        task.advance(10)
    first, last = stream.getvalue().splitlines()
    assert first == "finetune: 910/1,000 targets (91%), 1 min 30 s left"
    assert last.endswith("took 10.0 s")


def test_lines_are_rare_by_default():
    stream = io.StringIO()
    with TerminalReporter(stream).task("evaluate", 1000, "targets") as task:
        for _ in range(1000):
            task.advance(1)
    assert len(stream.getvalue().splitlines()) == 1


def test_a_terminal_gets_one_bar_and_notes_stand_above_it(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    reporter = TerminalReporter(stream)
    with reporter.task("outer", 2, "steps") as outer:
        with reporter.task("inner [bold]", 10, "targets") as inner:
            inner.advance(5, tokens=10, loss=1.0)
            reporter.note("a [red]note\x1b[2J")
        outer.advance(2)
    shown = stream.getvalue()
    assert "a [red]note[2J" in shown
    assert "inner [bold]: 5/10 targets (50%)" in shown
    assert "outer: 2/2 steps (100%)" in shown
    assert reporter.progress is None


def test_what_a_default_picked_is_told_in_one_line():
    stream = io.StringIO()
    TerminalReporter(stream).picked("data", "ml-100k", "the only one")
    assert stream.getvalue() == "data: ml-100k (the only one)\n"


def test_a_task_that_fails_says_how_far_it_came():
    stream = io.StringIO()
    try:
        with TerminalReporter(stream).task("download", 4_700_000, "bytes") as task:
            task.advance(1_500_000)
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert stream.getvalue().startswith("download: 1.5/4.7 MB (32%)")


def test_numbers_are_written_for_people():
    assert value(0.10401, 0.0612, 0.15) == "0.104 [0.061, 0.150]"
    assert value(0.10401) == "0.104"
    assert value(None) == "-"
    assert value(0.1, float("nan"), float("nan")) == "0.100"  # of one user: no interval
    assert count(100_000) == "100,000"
    assert [duration(seconds) for seconds in (0.0012, 0.84, 4.2, 59.97, 185, 7_800, 90_000)] == [
        "1 ms",
        "840 ms",
        "4.2 s",
        "1 min 00 s",
        "3 min 05 s",
        "2 h 10 min",
        "1 d 01 h",
    ]
    assert (rate(1_000, 2), rate(9, 2), rate(9, 0)) == ("500", "4.5", "-")
    assert moment("2026-11-21T12:35:12Z") == "2026-11-21 12:35"
