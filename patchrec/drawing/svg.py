"""Draws charts as SVG: presentation by classes alone, so that a page with a strict policy styles it, in light and dark.

Every text passes `escape`. Sizes are units of the view box; a reader scales it as a whole.
"""

import textwrap
from collections.abc import Callable, Sequence
from math import log10

from markupsafe import Markup, escape

from patchrec.drawing import chart as charts
from patchrec.drawing.chart import Chart, Curves, Mark, Row, Rows, Series, tick_texts, ticks
from patchrec.drawing.text import possible

WIDTH = 560
SHAPES, COLOURS = 4, 8
GAP = 26  # between the charts of one file
LETTER = 7.0  # mean width of a letter of 13 units
Scale = Callable[[float], float]


def document(drawn: Sequence[Chart], style: str) -> str:
    """Charts below one another as an SVG file of its own, with their titles and notes.

    Args:
        drawn: At least one.
        style: Rules for the classes (`patchrec.drawing.colours`).
    """
    inner, y = Markup(), 0.0
    for chart in drawn:
        body, height = _drawn(chart)
        title = _text(8, 26, chart.title, "title")
        notes = [_text(8, 46 + 17 * line, words, "note") for line, words in enumerate(textwrap.wrap(chart.note, 78))]
        top = 52 + 17 * len(notes)
        inner += _tag("g", {"transform": f"translate(0 {y:g})"}, title, *notes, _moved(body, top))
        y += top + height + GAP
    size = {"viewBox": f"0 0 {WIDTH} {y:g}", "width": WIDTH, "height": f"{y:g}"}
    ground = _tag("rect", {"width": "100%", "height": "100%", "class": "ground"})
    sheet = Markup("<style>{}</style>").format(Markup(style))  # noqa: S704 - our own rules
    return str(_tag("svg", {"xmlns": "http://www.w3.org/2000/svg", **size}, sheet, ground, inner)) + "\n"


def figure(chart: Chart) -> Markup:
    """A chart to stand inside a page, which has its title and its styles."""
    body, height = _drawn(chart)
    return _tag(
        "svg",
        {"viewBox": f"0 0 {WIDTH} {height:g}", "role": "img", "aria-label": chart.title, "class": "chart"},
        body,
    )


def _drawn(chart: Chart) -> tuple[Markup, float]:
    return _curves(chart) if isinstance(chart, Curves) else _rows(chart)


def _curves(chart: Curves) -> tuple[Markup, float]:
    left, right, height = 58.0, WIDTH - 16.0, 280.0
    legend, top = _legend([(one.name, one.number) for one in chart.series if not one.beside], left, dots=False)
    top += 20
    bottom = top + height
    (x_low, x_high), (y_low, y_high) = charts.x_span(chart), charts.y_span(chart)
    if chart.log_x:
        x_scale: Scale = _scale(log10(x_low), log10(x_high), left, right, log10)
        x_ticks = charts.log_ticks(x_low, x_high)
    else:
        x_scale, x_ticks = _scale(x_low, x_high, left, right), ticks(x_low, x_high, 6)
    y_scale, y_ticks = _scale(y_low, y_high, bottom, top), ticks(y_low, y_high, 5)
    parts = [legend, _text(left - 46, top - 10, chart.y_label, "axis")]
    for value, text in zip(y_ticks, tick_texts(y_ticks), strict=True):
        parts += [_line(left, y_scale(value), right, y_scale(value), "grid")]
        parts += [_text(left - 8, y_scale(value) + 4, text, "tick", "end")]
    for value, text in zip(x_ticks, tick_texts(x_ticks), strict=True):
        parts += [_line(x_scale(value), bottom, x_scale(value), bottom + 5, "mark")]
        parts += [_text(x_scale(value), bottom + 20, text, "tick", "middle")]
    parts.append(_line(left, bottom, right, bottom, "base"))
    parts.append(_text((left + right) / 2, bottom + 42, chart.x_label, "axis", "middle"))
    taken = _Taken(left, right)
    for level in sorted(chart.levels, key=lambda one: -one.y):
        y = y_scale(level.y)
        name = _text(right, taken.free(right, y - 6, level.name, "end"), level.name, "name", "end")
        parts.append(_series_group(level.number, _line(left, y, right, y, "level"), name))
    if len(chart.front) > 1:
        corners = [(x_scale(x), y_scale(y)) for x, y in chart.front]
        path = f"M{corners[0][0]:.1f} {corners[0][1]:.1f}" + "".join(f"H{x:.1f}V{y:.1f}" for x, y in corners[1:])
        parts.append(_tag("path", {"d": path, "class": "front"}))
    for series in chart.series:
        parts.append(_series(series, x_scale, y_scale))
    for series in chart.series:
        if series.beside and series.marks:
            parts.append(_beside(series, x_scale, y_scale, taken))
    return Markup().join(parts), bottom + 52


def _rows(chart: Rows) -> tuple[Markup, float]:
    longest = max(max(len(row.label) * LETTER, len(row.detail) * 6.4) for row in chart.rows)
    left, right = min(max(longest + 24, 110.0), 240.0), WIDTH - 20.0
    several = len(chart.names) > 1
    legend, top = _legend(list(zip(chart.names, chart.numbers, strict=True)) if several else [], 8, dots=True)
    top += 14
    heights = [max(44.0, 15.0 * len(row.points) + 16) for row in chart.rows]
    bottom = top + sum(heights)
    low, high = charts.value_span(chart)
    scale, places = _scale(low, high, left, right), ticks(low, high, 5)
    parts = [legend]
    for value, text in zip(places, tick_texts(places), strict=True):
        parts += [_line(scale(value), top, scale(value), bottom, "grid")]
        parts += [_text(scale(value), bottom + 18, text, "tick", "middle")]
    if chart.zero:
        parts.append(_line(scale(0), top, scale(0), bottom, "zero"))
    y = top
    for row, height in zip(chart.rows, heights, strict=True):
        parts.append(_row(chart, row, y, height, scale))
        y += height
    parts.append(_line(8, bottom, right, bottom, "base"))
    parts.append(_text((left + right) / 2, bottom + 40, chart.x_label, "axis", "middle"))
    return Markup().join(parts), bottom + 50


def _row(chart: Rows, row: Row, y: float, height: float, scale: Scale) -> Markup:
    """One row: its label, a line above it, a point with its interval for each run."""
    middle, step = y + height / 2, 15.0
    parts = [_line(8, y, WIDTH - 20.0, y, "grid")]
    parts.append(_text(8, middle - (2 if row.detail else -4), row.label, "label"))
    if row.detail:
        parts.append(_text(8, middle + 14, row.detail, "tick"))
    for place, (point, name, number) in enumerate(zip(row.points, chart.names, chart.numbers, strict=True)):
        if point is None:
            continue
        at = middle + (place - (len(row.points) - 1) / 2) * step
        note = f"{name}, {row.label}: {_measured(point.value, point.low, point.high)}"
        whisker = Markup()
        if point.low is not None and point.high is not None:
            whisker = _line(scale(point.low), at, scale(point.high), at, "whisker")
        own = number if row.number is None else row.number
        parts.append(_series_group(own, whisker, _shape(scale(point.value), at, own, note)))
    return Markup().join(parts)


def _series(series: Series, x_scale: Scale, y_scale: Scale) -> Markup:
    """Marks of one run, joined or apart, with their intervals."""
    parts = []
    if series.line and len(series.marks) > 1:
        path = " ".join(f"{x_scale(mark.x):.1f} {y_scale(mark.y):.1f}" for mark in series.marks)
        parts.append(_tag("path", {"d": f"M{path}", "class": "line"}, _tag("title", {}, series.name)))
    for mark in series.marks:
        if mark.low is not None and mark.high is not None:
            parts.append(_line(x_scale(mark.x), y_scale(mark.low), x_scale(mark.x), y_scale(mark.high), "whisker"))
        if series.dots or len(series.marks) == 1:
            note = mark.note or f"{series.name}: {_measured(mark.y, mark.low, mark.high)}"
            parts.append(_shape(x_scale(mark.x), y_scale(mark.y), series.number, note))
    return _series_group(series.number, *parts)


class _Taken:
    """Where names stand already, so that the next does not cover one."""

    def __init__(self, left: float, right: float) -> None:
        self._left, self._right = left, right
        self._boxes: list[tuple[float, float, float]] = []

    def free(self, x: float, y: float, text: str, anchor: str) -> float:
        """A height near y at which a text is free, which is then taken."""
        width = len(text) * LETTER
        start = x - width if anchor == "end" else x
        for move in (0, 15, -15, 30, -30, 45, -45, 60, -60):
            at = y + move
            if not any(abs(at - y0) < 14 and start < x1 and x0 < start + width for x0, x1, y0 in self._boxes):
                break
        self._boxes.append((start, start + width, at))
        return at


def _beside(series: Series, x_scale: Scale, y_scale: Scale, taken: _Taken) -> Markup:
    """A run's name beside its last mark: to the right of it, or to the left where there is no room."""
    mark: Mark = series.marks[-1]
    x, y = x_scale(mark.x), y_scale(mark.y)
    to_left = x + 12 + len(series.name) * LETTER > WIDTH - 8
    anchor, at = ("end", x - 11) if to_left else ("start", x + 11)
    height = taken.free(at, y - 6, series.name, anchor)
    return _series_group(series.number, _text(at, height, series.name, "name", anchor))


def _legend(entries: Sequence[tuple[str, int]], left: float, *, dots: bool) -> tuple[Markup, float]:
    """Names with their colours and shapes in as many lines as they need, and where these end."""
    parts, x, y = [], left, 16.0
    for name, number in entries:
        width = 40 + len(name) * LETTER
        if x > left and x + width > WIDTH - 16:
            x, y = left, y + 21
        sample = _shape(x + 8, y - 4, number, "") if dots else _line(x, y - 4, x + 18, y - 4, "line")
        parts.append(_series_group(number, sample))
        parts.append(_text(x + 24, y, name, "label"))
        x += width
    return Markup().join(parts), y + 8 if entries else 0.0


def _shape(x: float, y: float, number: int, note: str) -> Markup:
    """A mark: circle, square, diamond or triangle, so that colour is not all that tells runs apart."""
    title = [_tag("title", {}, note)] if note else []
    corners = {
        1: "M-4.6-4.6H4.6V4.6H-4.6Z",
        2: "M0-6.4L6.4 0 0 6.4-6.4 0Z",
        3: "M0-6L6 4.8H-6Z",
    }
    if number % SHAPES == 0:
        return _tag("circle", {"cx": f"{x:.1f}", "cy": f"{y:.1f}", "r": 5.2, "class": "dot"}, *title)
    place = {"transform": f"translate({x:.1f} {y:.1f})", "class": "dot"}
    return _tag("path", {"d": corners[number % SHAPES], **place}, *title)


def _series_group(number: int, *inner: Markup) -> Markup:
    return _tag("g", {"class": f"c{number % COLOURS}"}, *inner)


def _line(x0: float, y0: float, x1: float, y1: float, kind: str) -> Markup:
    ends = {"x1": f"{x0:.1f}", "y1": f"{y0:.1f}", "x2": f"{x1:.1f}", "y2": f"{y1:.1f}"}
    return _tag("line", {**ends, "class": kind})


def _text(x: float, y: float, words: str, kind: str, anchor: str = "start") -> Markup:
    return _tag("text", {"x": f"{x:.1f}", "y": f"{y:.1f}", "class": kind, "text-anchor": anchor}, words)


def _moved(inner: Markup, down: float) -> Markup:
    return _tag("g", {"transform": f"translate(0 {down:g})"}, inner)


def _tag(name: str, attributes: dict[str, object], *inner: str) -> Markup:
    """An element; whatever of it is text from elsewhere is escaped."""
    written = "".join(f' {key}="{escape(possible(value))}"' for key, value in attributes.items())
    parts = (part if isinstance(part, Markup) else possible(part) for part in inner)
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), Markup(written), Markup().join(parts))  # noqa: S704


def _scale(low: float, high: float, start: float, stop: float, of: Callable[[float], float] = float) -> Scale:
    """A function from values to places: `of(value)` between low and high becomes start to stop."""
    width = (high - low) or 1.0
    return lambda value: start + (of(value) - low) / width * (stop - start)


def _measured(value: float, low: float | None, high: float | None) -> str:
    return f"{value:.4g}" if low is None or high is None else f"{value:.4g} [{low:.4g}, {high:.4g}]"
