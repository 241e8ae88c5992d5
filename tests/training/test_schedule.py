from math import cos, pi

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchrec.training.schedule import learning_rate_factor, warmup_steps


def test_warm_up_rises_by_equal_steps_and_wastes_none_at_zero():
    assert [learning_rate_factor(step, 100, 0.04) for step in range(5)] == [1 / 5, 2 / 5, 3 / 5, 4 / 5, 1.0]


def test_after_warm_up_half_a_cosine_falls():
    for step in (4, 5, 30, 52, 99):
        assert learning_rate_factor(step, 100, 0.04) == 0.5 * (1 + cos(pi * (step - 4) / 96))


def test_half_way_down_is_half_the_rate():
    assert learning_rate_factor(4 + 48, 100, 0.04) == pytest.approx(0.5)


def test_without_warm_up_the_first_step_stands_at_the_peak():
    assert learning_rate_factor(0, 10, 0.0) == 1.0


def test_warm_up_of_everything_never_reaches_the_peak():
    assert [learning_rate_factor(step, 3, 1.0) for step in range(3)] == [1 / 4, 2 / 4, 3 / 4]


def test_warm_up_steps_round_up_but_not_for_rounding_noise():
    assert [warmup_steps(total, 0.05) for total in (0, 1, 20, 21, 100)] == [0, 1, 1, 2, 5]
    assert warmup_steps(100, 0.07) == 7  # 100 * 0.07 is 7.000000000000001


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5000), st.floats(0, 1))
def test_every_step_learns_and_none_above_the_peak(total, warmup):
    factors = [learning_rate_factor(step, total, warmup) for step in range(total)]
    top = factors.index(max(factors))
    assert all(0 < factor <= 1 for factor in factors)
    assert factors[: top + 1] == sorted(factors[: top + 1])
    assert factors[top:] == sorted(factors[top:], reverse=True)
