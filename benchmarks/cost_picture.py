"""The cost model as a picture: lines are the formulas, points what was counted. SVG, written by hand."""

from collections.abc import Iterator, Mapping, Sequence
from math import log2, log10
from typing import Any

PANELS = {
    "row, sliding, paper": "One example per row",
    "forest, instruction-first": "Forest, instruction first",
    "forest, continuation": "Forest, continuation",
}
# Readable on white and on black
COLOURS = {
    "vanilla": "#d9822b",
    "PFT-I M=5": "#8f6bd1",
    "PFT-S L=5": "#2f9e6e",
    "PFT-S L=20": "#3f8fd2",
}
GREY = "#808890"
WIDTH, HEIGHT = 730, 300
PANEL, GAP, LEFT, TOP, BOTTOM = 204, 26, 54, 60, 46
LOW, HIGH = 4.0, 640.0
TICKS = (5, 10, 20, 50, 100, 200, 500)

Line = Mapping[str, Any]


def draw(curves: Sequence[Line], points: Sequence[Line], data: str) -> str:
    """The picture as text.

    Args:
        curves: By formula, with `K`, `kind`, `what` and `all_formula`.
        points: As counted, with `all_counted` in its place.
        data: Name of the data set.
    """
    lengths = sorted({int(point["K"]) for point in points})
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="system-ui, sans-serif" font-size="11" fill="{GREY}">',
        f"<title>Tokens per target by history length K, {data}</title>",
        *_legend(),
        f'<text transform="translate(13 {TOP + _tall() / 2:.0f}) rotate(-90)" text-anchor="middle">'
        "forwarded tokens per target</text>",
    ]
    for number, (what, title) in enumerate(PANELS.items()):
        left = LEFT + number * (PANEL + GAP)
        parts += _frame(left, title, lengths, numbered=number == 0)
        for kind, colour in COLOURS.items():
            line = [_place(left, lengths, row["K"], row["all_formula"]) for row in _of(curves, what, kind)]
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in line)
            parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
            for row in _of(points, what, kind):
                x, y = _place(left, lengths, row["K"], row["all_counted"])
                parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.2" fill="{colour}"/>')
    return "\n".join([*parts, "</svg>", ""])


def _of(rows: Sequence[Line], what: str, kind: str) -> Iterator[Line]:
    return (row for row in rows if (row["what"], row["kind"]) == (what, kind))


def _legend() -> Iterator[str]:
    x = LEFT
    for kind, colour in COLOURS.items():
        yield f'<line x1="{x}" y1="16" x2="{x + 22}" y2="16" stroke="{colour}" stroke-width="1.8"/>'
        yield f'<circle cx="{x + 11}" cy="16" r="3.2" fill="{colour}"/>'
        yield f'<text x="{x + 28}" y="20">{kind}</text>'
        x += 106
    yield f'<text x="{LEFT + 3 * PANEL + 2 * GAP}" y="20" text-anchor="end">lines: formula, points: counted</text>'


def _frame(left: int, title: str, lengths: Sequence[int], *, numbered: bool) -> Iterator[str]:
    """Axes, grid and words of a panel."""
    bottom = TOP + _tall()
    yield f'<text x="{left + PANEL / 2:.0f}" y="{TOP - 12}" text-anchor="middle" font-size="12">{title}</text>'
    for tick in TICKS:
        y = _height(tick)
        yield f'<line x1="{left}" y1="{y:.1f}" x2="{left + PANEL}" y2="{y:.1f}" stroke="{GREY}" stroke-opacity=".22"/>'
        if numbered:
            yield f'<text x="{left - 7}" y="{y + 4:.1f}" text-anchor="end">{tick}</text>'
    for K in lengths:
        x = _across(left, lengths, K)
        yield f'<line x1="{x:.1f}" y1="{bottom}" x2="{x:.1f}" y2="{bottom + 4}" stroke="{GREY}"/>'
        yield f'<text x="{x:.1f}" y="{bottom + 17}" text-anchor="middle">{K}</text>'
    yield f'<line x1="{left}" y1="{bottom}" x2="{left + PANEL}" y2="{bottom}" stroke="{GREY}"/>'
    yield f'<text x="{left + PANEL / 2:.0f}" y="{bottom + 35}" text-anchor="middle">history length K</text>'


def _tall() -> int:
    return HEIGHT - TOP - BOTTOM


def _place(left: int, lengths: Sequence[int], K: int, tokens: float) -> tuple[float, float]:
    return _across(left, lengths, K), _height(tokens)


def _across(left: int, lengths: Sequence[int], K: int) -> float:
    """Doubling K is a step of equal width; a margin keeps points off the edge."""
    span = max(log2(lengths[-1] / lengths[0]), 1e-9)
    return left + 12 + (PANEL - 24) * log2(K / lengths[0]) / span


def _height(tokens: float) -> float:
    share = (log10(min(max(tokens, LOW), HIGH)) - log10(LOW)) / (log10(HIGH) - log10(LOW))
    return TOP + _tall() * (1 - share)
