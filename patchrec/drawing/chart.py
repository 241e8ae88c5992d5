"""What a chart shows, before anything draws it: marks with their intervals, and where ticks stand.

A chart is drawn as SVG (`svg.py`) or in a terminal (`patchrec_cli`); both read the same numbers.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, floor, isfinite, log10
from statistics import fmean

MOST_MARKS = 160  # of a curve; more are averaged


@dataclass(frozen=True, slots=True)
class Mark:
    """One measured value, with its 95 % interval along y where it has one.

    Attributes:
        note: What it is, for whoever points at it.
    """

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Series:
    """Marks of one run.

    Attributes:
        number: Chooses colour and shape: a run has the same in all charts.
        line: Whether neighbours are joined.
        dots: Whether the marks themselves are drawn.
        beside: Its name stands beside its last mark, not in a legend.
    """

    name: str
    number: int
    marks: tuple[Mark, ...]
    line: bool = True
    dots: bool = False
    beside: bool = False


@dataclass(frozen=True, slots=True)
class Level:
    """A value that belongs to no place along x: a line across the chart."""

    name: str
    number: int
    y: float


@dataclass(frozen=True, slots=True)
class Curves:
    """Marks over two axes.

    Attributes:
        front: Corners of the steps that no mark stands above and to the left of, from left to right.
        note: What a reader has to know, one or two sentences.
    """

    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    levels: tuple[Level, ...] = ()
    front: tuple[tuple[float, float], ...] = ()
    log_x: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class Point:
    """One value of a row, with its 95 % interval."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a chart of rows: a point for each name, None where there is none.

    Attributes:
        number: The run that the row is of, where the chart has one point for each run alone.
    """

    label: str
    detail: str
    points: tuple[Point | None, ...]
    number: int | None = None


@dataclass(frozen=True, slots=True)
class Rows:
    """Values of several runs under named conditions, one row for each condition.

    Attributes:
        names: Of the runs. numbers: Their colours and shapes.
        zero: Whether a line stands at 0, which separates better from worse.
    """

    title: str
    x_label: str
    names: tuple[str, ...]
    numbers: tuple[int, ...]
    rows: tuple[Row, ...]
    zero: bool = False
    note: str = ""


Chart = Curves | Rows


def x_span(chart: Curves) -> tuple[float, float]:
    """Least and largest x, with room at the sides where marks are not joined."""
    xs = [mark.x for series in chart.series for mark in series.marks]
    if chart.log_x:
        return min(xs) / 1.25, max(xs) * 1.25
    low, high = min(xs), max(xs)
    room = 0.0 if all(series.line for series in chart.series) and high > low else 0.06 * ((high - low) or 1.0)
    return low - room, high + room


def y_span(chart: Curves) -> tuple[float, float]:
    """Least and largest y, intervals among them, with a little room."""
    marks = [mark for series in chart.series for mark in series.marks]
    ys = [mark.y for mark in marks] + [level.y for level in chart.levels]
    return _roomy(ys + [end for mark in marks for end in (mark.low, mark.high) if end is not None])


def value_span(chart: Rows) -> tuple[float, float]:
    """Least and largest value of a chart of rows, intervals among them, with a little room."""
    points = [point for row in chart.rows for point in row.points if point is not None]
    values = [end for point in points for end in (point.value, point.low, point.high) if end is not None]
    return _roomy(values + ([0.0] if chart.zero else []))


def _roomy(values: list[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = 0.06 * (high - low) or 0.05 * abs(high) or 0.5
    return (0.0 if 0 <= low < room else low - room), high + room


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers between two ends, about so many."""
    rough = (high - low) / max(about, 1)
    size = 10.0 ** floor(log10(rough))
    step = next(size * part for part in (1, 2, 2.5, 5, 10) if size * part >= rough * 0.999)
    first, last = ceil(low / step - 1e-9), floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten between two positive ends; round numbers where these are fewer than two."""
    powers = range(floor(log10(low)), ceil(log10(high)) + 1)
    found = [part * 10.0**power for power in powers for part in (1, 2, 5) if low <= part * 10.0**power <= high]
    return found if len(found) > 1 else ticks(low, high, 4)


def tick_texts(values: list[float]) -> list[str]:
    """Ticks as people read them, all with the decimals that tell them apart."""
    decimals = next(
        (number for number in range(7) if all(abs(round(one, number) - one) <= 1e-9 * abs(one) for one in values)), 6
    )
    return [f"{value + 0.0:,.{decimals}f}" for value in values]


def steps_up(marks: Iterable[Mark]) -> tuple[tuple[float, float], ...]:
    """The marks that no other beats at the same or a smaller x, from left to right: the front of a trade."""
    found: list[tuple[float, float]] = []
    for x, y in sorted(((mark.x, mark.y) for mark in marks), key=lambda pair: (pair[0], -pair[1])):
        if not found or y > found[-1][1]:
            found.append((x, y))
    return tuple(found)


def thinned(pairs: Iterable[tuple[float, float]], most: int = MOST_MARKS) -> tuple[tuple[Mark, ...], int]:
    """A curve of at most so many marks, each the mean of as many neighbours, and how many these are.

    What is no finite number is left out.
    """
    known = [(x, y) for x, y in pairs if isfinite(y)]
    size = max(1, ceil(len(known) / most))
    groups = [known[start : start + size] for start in range(0, len(known), size)]
    return tuple(Mark(fmean(x for x, _ in group), fmean(y for _, y in group)) for group in groups), size
