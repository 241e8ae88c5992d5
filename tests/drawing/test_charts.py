"""What charts show and how they are drawn."""

import xml.etree.ElementTree as ET
from math import inf, nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchrec.drawing import png as raster
from patchrec.drawing.chart import (
    Curves,
    Level,
    Mark,
    Point,
    Row,
    Rows,
    Series,
    log_ticks,
    steps_up,
    thinned,
    tick_texts,
    ticks,
    value_span,
    x_span,
    y_span,
)
from patchrec.drawing.colours import file_style
from patchrec.drawing.extra import needed
from patchrec.drawing.svg import document, figure
from patchrec.errors import UsageError

SVG = "{http://www.w3.org/2000/svg}"
numbers = st.floats(-1e6, 1e6, allow_nan=False).map(lambda number: round(number, 6))


def curves(name: str = "run", **more) -> Curves:
    series = Series(name, 0, (Mark(1, 0.5, 0.4, 0.6), Mark(10, 0.7)))
    return Curves("title", "step", "ndcg@10", (series,), **more)


def rows(label: str = "all targets") -> Rows:
    return Rows("slices", "mrr", ("a", "b"), (0, 1), (Row(label, "12 targets", (Point(0.5, 0.4, 0.6), None)),))


@given(numbers, numbers)
def test_ticks_are_round_and_between_the_ends(one, other):
    low, high = min(one, other), max(one, other) + 1e-3
    found = ticks(low, high)
    room = (high - low) * 1e-6
    assert 2 <= len(found) <= 11
    assert all(low - room <= tick <= high + room for tick in found)


def test_ticks_are_told_apart_by_as_few_decimals_as_that_takes():
    assert tick_texts(ticks(0, 0.12, 5)) == ["0.000", "0.025", "0.050", "0.075", "0.100"]
    assert tick_texts(ticks(0, 3_000, 3)) == ["0", "1,000", "2,000", "3,000"]
    assert tick_texts([-0.1, -0.0, 0.1]) == ["-0.1", "0.0", "0.1"]


def test_ticks_of_a_log_scale_are_one_two_and_five():
    assert log_ticks(9, 600) == [10, 20, 50, 100, 200, 500]
    assert log_ticks(110, 180) == ticks(110, 180, 4)  # neither 100 nor 200 is there


def test_the_front_is_what_nothing_beats_with_as_few_tokens():
    marks = [Mark(10, 0.1), Mark(20, 0.3), Mark(20, 0.2), Mark(40, 0.25), Mark(80, 0.4)]
    assert steps_up(marks) == ((10, 0.1), (20, 0.3), (80, 0.4))


def test_a_long_curve_is_averaged_and_what_is_no_number_left_out():
    marks, size = thinned([(1, 2.0), (2, 4.0), (3, nan), (4, inf), (5, 6.0), (6, 8.0)], most=2)
    assert size == 2
    assert [(mark.x, mark.y) for mark in marks] == [((1 + 2) / 2, (2 + 4) / 2), ((5 + 6) / 2, (6 + 8) / 2)]


@settings(max_examples=25)
@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=6), st.text(max_size=20))
def test_every_chart_is_well_formed_whatever_its_numbers_and_names(pairs, name):
    series = Series(name, 3, tuple(Mark(x, y, y - 1, y + 1) for x, y in pairs), beside=True)
    chart = Curves(name, name, name, (series,), (Level(name, 1, pairs[0][1]),), note=name)
    row = Row(name, name, (Point(pairs[0][1]), None))
    ET.fromstring(document([chart, Rows(name, name, (name, name), (0, 1), (row,), zero=True)], file_style()))
    assert x_span(chart)[0] < x_span(chart)[1]
    assert y_span(chart)[0] < y_span(chart)[1]


def test_a_chart_of_one_value_has_room_around_it():
    low, high = value_span(Rows("t", "x", ("a",), (0,), (Row("r", "", (Point(0.0),)),)))
    assert low <= 0 < high


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", '"><b onload=x>', "]]>&amp;", "\x1b[31m\x00\ud800"])
def test_names_are_text_in_a_picture(name):
    for chart in (curves(name), rows(name)):
        for drawn in (document([chart], file_style()), str(figure(chart))):
            root = ET.fromstring(drawn)
            kinds = {element.tag.removeprefix(SVG) for element in root.iter()}
            assert kinds <= {"svg", "style", "rect", "g", "text", "line", "path", "circle", "title"}
            assert not any(key.startswith("on") or key == "style" for element in root.iter() for key in element.attrib)


def test_an_interval_and_its_value_are_drawn_where_they_are():
    root = ET.fromstring(str(figure(curves())))
    whisker = next(element for element in root.iter() if element.get("class") == "whisker")
    dots = [element for element in root.iter() if element.get("class") == "line" and element.get("d")]
    middle = (float(whisker.get("y1")) + float(whisker.get("y2"))) / 2
    x, y = dots[0].get("d").removeprefix("M").split()[:2]
    assert (float(x), float(y)) == (float(whisker.get("x1")), pytest.approx(middle, abs=0.1))


def test_a_png_is_drawn_from_the_same_picture():
    pytest.importorskip("resvg_py")
    try:
        found = raster.png(document([curves(), rows()], file_style()))
    except UsageError as error:
        pytest.skip(str(error))
    assert found.startswith(b"\x89PNG\r\n")


def test_without_a_font_a_png_is_refused(monkeypatch):
    resvg = pytest.importorskip("resvg_py")
    draw = resvg.svg_to_bytes
    monkeypatch.setattr(resvg, "svg_to_bytes", lambda **given: draw(**given, skip_system_fonts=True))
    with pytest.raises(UsageError, match="no font is installed"):
        raster.png(document([curves()], file_style()))


def test_a_missing_package_is_told_with_the_command_that_brings_it():
    with pytest.raises(UsageError, match=r'drawing needs the package not-there: pip install "patchrec\[report\]"'):
        needed("not_there", "drawing")
