"""The published order of ties. Expected values were computed with NumPy 1.24.4."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchrec.data.tie_order import numpy_quicksort_order


def made_up(n: int, distinct: int, seed: int) -> list[int]:
    """A linear congruential sequence: the same numbers under every library."""
    values, state = [], seed
    for _ in range(n):
        state = (1103515245 * state + 12345) % 2**31
        values.append((state >> 8) % distinct)
    return values


def lopsided(n: int) -> list[int]:
    """An input whose medians of three are always near the end, so that the quicksort gives up for a heap sort."""
    half = n // 2
    values = [0] * n
    for i in range(1, half + 1):
        if i % 2:
            values[i - 1] = i
            values[i] = half + i if i < n else 0
        values[half + i - 1] = 2 * i
    return values


def digest(order: list[int]) -> str:
    return hashlib.sha256(",".join(map(str, order)).encode()).hexdigest()[:16]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (made_up(17, 1, 1), "a39017d659893609"),
        (made_up(100, 5, 2), "31868de045ca6515"),
        (made_up(1435, 60, 3), "55d081844d80ae10"),
        (made_up(1435, 10**6, 4), "ce08593fa1362a7e"),
        (lopsided(4000), "3fc4747896ef7d6a"),
        ([value // 3 for value in lopsided(1000)], "f5c40471d43cc625"),
    ],
    ids=["all equal", "many ties", "longest user", "few ties", "heap sort", "heap sort with ties"],
)
def test_the_order_is_that_of_numpy_1_24(values: list[int], expected: str) -> None:
    assert digest(numpy_quicksort_order(values)) == expected


@given(st.lists(st.integers(0, 30), max_size=200))
def test_the_order_sorts_and_uses_every_position_once(values: list[int]) -> None:
    order = numpy_quicksort_order(values)
    assert sorted(order) == list(range(len(values)))
    assert [values[place] for place in order] == sorted(values)


@given(st.lists(st.integers(0, 30), max_size=16))
def test_up_to_sixteen_values_keep_the_order_of_ties(values: list[int]) -> None:
    assert numpy_quicksort_order(values) == np.argsort(values, kind="stable").tolist()
