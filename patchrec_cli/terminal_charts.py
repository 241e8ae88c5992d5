"""Charts in the terminal, through plotext: what `patchrec.drawing.chart` describes, in characters."""

import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from math import log10
from typing import Any

from patchrec.drawing import chart as charts
from patchrec.drawing.chart import Chart, Curves, Rows, tick_texts
from patchrec.drawing.extra import needed
from patchrec_cli.display import WIDTH, clean, print_lines

HEIGHT = 22
FEWEST = 40  # columns below which nothing can be read
SIGNS = "●■◆▲○□◇△"
COLOURS = (33, 208, 36, 205, 141, 178, 44, 250)  # of 256, readable on dark and on light
CURVE = "braille"


def draw_charts(drawn: Sequence[Chart]) -> None:
    """Print charts below one another, as wide as the terminal, in colour where it shows colours.

    Raises:
        UsageError: plotext is not installed.
    """
    plotext = needed("plotext", "drawing in the terminal")
    colours = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    width = max(FEWEST, shutil.get_terminal_size((WIDTH, 24)).columns) if sys.stdout.isatty() else WIDTH
    for number, chart in enumerate(drawn):
        if number:
            print_lines([""])
        print_lines([chart.title])
        write_legend(chart, width, colours=colours)
        canvas = _canvas(plotext, chart, width, colours=colours)
        # Every text in it passed `clean`; what is left of escapes are the colours.
        sys.stdout.write("\n".join(line.rstrip() for line in canvas.splitlines()) + "\n")
        if chart.note:
            print_lines(textwrap.wrap(chart.note, width))


def legend_entries(chart: Chart) -> list[tuple[str, int]]:
    """Names that a legend has to explain, with the numbers of their runs."""
    if isinstance(chart, Rows):
        return list(zip(chart.names, chart.numbers, strict=True)) if len(chart.names) > 1 else []
    named = [(series.name, series.number) for series in chart.series]
    return named + [(level.name, level.number) for level in chart.levels]


def write_legend(chart: Chart, width: int, *, colours: bool) -> None:
    """Print what sign each run has, in as many lines as that takes."""
    line, used = "", 0
    for name, number in legend_entries(chart):
        sign, text = SIGNS[number % len(SIGNS)], clean(name)
        if used and used + len(text) + 4 > width:
            sys.stdout.write(line.rstrip() + "\n")
            line, used = "", 0
        line += (f"\x1b[38;5;{COLOURS[number % len(COLOURS)]}m{sign}\x1b[0m" if colours else sign) + f" {text}   "
        used += len(text) + 5
    if line:
        sys.stdout.write(line.rstrip() + "\n")


def _canvas(plotext: Any, chart: Chart, width: int, *, colours: bool) -> str:
    """The chart itself as lines of text."""
    plotext.terminal.limit(False, False)
    figure = plotext.figure
    figure.clear()
    figure.theme("simple")
    draw = _curves if isinstance(chart, Curves) else _rows
    draw(plotext, figure, chart, width)  # type: ignore[arg-type]
    text: str = figure.build().string(not colours)
    figure.clear()
    return text


def _curves(plotext: Any, figure: Any, chart: Curves, width: int) -> None:
    x_low, x_high = charts.x_span(chart)
    y_low, y_high = charts.y_span(chart)
    place = log10 if chart.log_x else float
    figure.plot_size(width, HEIGHT)
    several = len(chart.series) + len(chart.levels) > 1
    for level in chart.levels:
        ends = [place(x_low), place(x_high)]
        marker = _marker(plotext, "·", level.number)
        figure.draw(figure.segment(ends, [level.y, level.y], marker=marker))
        figure.draw(figure.signal(ends[-1:], [level.y], marker=_marker(plotext, _sign(level.number), level.number)))
    if len(chart.front) > 1:
        for (x0, y0), (x1, y1) in zip(chart.front, chart.front[1:], strict=False):
            figure.draw(figure.segment([place(x0), place(x1)], [y0, y0], marker=plotext.marker("╌")))
            figure.draw(figure.segment([place(x1), place(x1)], [y0, y1], marker=plotext.marker("╎")))
    for series in chart.series:
        xs, ys = [place(mark.x) for mark in series.marks], [mark.y for mark in series.marks]
        for mark, x in zip(series.marks, xs, strict=True):
            if mark.low is not None and mark.high is not None:
                marker = _marker(plotext, "│", series.number)
                figure.draw(figure.segment([x, x], [mark.low, mark.high], marker=marker))
        if series.line and len(xs) > 1:
            signal = figure.signal(xs, ys, marker=_marker(plotext, CURVE, series.number))
            signal.lines()
            figure.draw(signal)
        if not series.line or several:
            few = slice(None) if not series.line else slice(len(xs) // 16, None, max(1, len(xs) // 8))
            marker = _marker(plotext, _sign(series.number), series.number)
            figure.draw(figure.signal(xs[few], ys[few], marker=marker))
    values = charts.log_ticks(x_low, x_high) if chart.log_x else charts.ticks(x_low, x_high, max(3, width // 14))
    figure.ruler("x").lim(place(x_low), place(x_high)).ticks([place(value) for value in values], tick_texts(values))
    levels = charts.ticks(y_low, y_high, 5)
    figure.ruler("y").lim(y_low, y_high).ticks(levels, tick_texts(levels))
    figure.label(clean(f"{chart.y_label} against {chart.x_label}"))


def _rows(plotext: Any, figure: Any, chart: Rows, width: int) -> None:
    low, high = charts.value_span(chart)
    step = len(chart.names) + 1
    most = len(chart.rows) * step - 1
    figure.plot_size(width, most + 5)
    if chart.zero:
        figure.draw(figure.segment([0, 0], [1, most], marker=plotext.marker("│")))
    middles = []
    for number, row in enumerate(chart.rows):
        top = most - number * step
        middles.append(top - (len(row.points) - 1) // 2)
        for place, (point, run) in enumerate(zip(row.points, chart.numbers, strict=True)):
            if point is None:
                continue
            own = run if row.number is None else row.number
            y = top - place
            if point.low is not None and point.high is not None:
                marker = _marker(plotext, "─", own)
                figure.draw(figure.segment([point.low, point.high], [y, y], marker=marker))
            figure.draw(figure.signal([point.value], [y], marker=_marker(plotext, _sign(own), own)))
    ends = charts.ticks(low, high, max(3, width // 16))
    figure.ruler("x").lim(low, high).ticks(ends, tick_texts(ends))
    figure.ruler("y").lim(1, max(most, 2)).ticks(middles, [clean(row.label) for row in chart.rows])
    figure.label(clean(chart.x_label))


def _sign(number: int) -> str:
    return SIGNS[number % len(SIGNS)]


def _marker(plotext: Any, sign: str, number: int) -> Any:
    return plotext.marker(sign, COLOURS[number % len(COLOURS)])
