"""The quick suite draws fewer examples than a test asks for; with the slow tests all are drawn."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

drawn: list[int] = []


@settings(max_examples=90, database=None)
@given(st.integers())
def test_something(number):
    drawn.append(number)


@settings(max_examples=4, database=None)
@given(st.integers())
def test_something_dear(number):
    drawn.append(number)


def test_as_many_were_drawn_as_this_suite_draws(request: pytest.FixtureRequest):
    quick = "not slow" in request.config.option.markexpr
    drawn.clear()
    test_something()
    test_something_dear()
    assert len(drawn) == (30 + 4 if quick else 90 + 4)
