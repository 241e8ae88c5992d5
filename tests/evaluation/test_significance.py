from itertools import product
from math import isnan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchrec.evaluation.significance import (
    bootstrap,
    few_users_note,
    holm,
    interval_note,
    paired,
    sign_flip,
    simulated_coverage,
)


def test_the_value_is_the_mean_over_targets_not_over_users():
    interval = bootstrap(np.array([[1.0], [1.0], [1.0], [0.0]]), np.array([7, 7, 7, 9]))[0]
    assert interval.value == 3 / 4


def test_users_are_drawn_with_all_their_targets():
    """User 0 has three hits, user 1 one miss: a draw of both users gives 3/4, else 1 or 0."""
    values, users = np.array([[1.0], [1.0], [1.0], [0.0]]), np.array([0, 0, 0, 1])
    interval = bootstrap(values, users)[0]
    assert (interval.low, interval.high) == (0, 1)


def test_draws_equal_a_plain_loop_over_users():
    generator = np.random.default_rng(5)
    users, values = generator.integers(0, 9, 60), generator.random((60, 2))
    users[:9] = range(9)
    draws = np.random.default_rng(3).multinomial(9, [1 / 9] * 9, size=500)
    means = []
    for times in draws:
        drawn = np.concatenate([values[users == user] for user in range(9) for _ in range(times[user])])
        means.append(drawn.mean(axis=0))
    for column, interval in enumerate(bootstrap(values, users, draws=500, seed=3)):
        expected = np.quantile(np.array(means)[:, column], [0.025, 0.975])
        assert (interval.low, interval.high) == pytest.approx(tuple(expected))


def test_targets_that_agree_within_users_widen_the_interval():
    generator = np.random.default_rng(0)
    values = np.repeat(generator.random(40) < 0.3, 25).astype(float)[:, None]
    clustered = bootstrap(values, np.repeat(np.arange(40), 25))[0]
    alone = bootstrap(values, np.arange(1_000))[0]
    assert clustered.high - clustered.low > 4 * (alone.high - alone.low)


def test_one_user_gives_no_interval():
    interval = bootstrap(np.array([[0.0], [1.0]]), np.array([4, 4]))[0]
    assert interval.value == 1 / 2
    assert isnan(interval.low)
    assert isnan(interval.high)


def test_no_target_gives_no_value():
    assert isnan(bootstrap(np.empty((0, 1)), np.empty(0, dtype=np.int64))[0].value)


def test_equal_seeds_give_equal_intervals_whatever_the_user_numbers():
    values, users = np.random.default_rng(1).random((50, 3)), np.arange(50) % 10
    assert bootstrap(values, users, seed=4) == bootstrap(values, users * 100 + 7, seed=4)
    assert bootstrap(values, users, seed=4) != bootstrap(values, users, seed=5)


@pytest.mark.slow
def test_intervals_cover_the_truth_about_as_often_as_they_say():
    generator = np.random.default_rng(0)
    covered = 0
    for trial in range(400):
        rates = generator.beta(2, 6, size=80)  # the mean is 2 / 8
        counts = generator.integers(1, 20, size=80)
        users = np.repeat(np.arange(80), counts)
        values = (generator.random(len(users)) < rates[users]).astype(float)[:, None]
        interval = bootstrap(values, users, draws=500, seed=trial)[0]
        covered += interval.low <= 2 / 8 <= interval.high
    assert 0.90 <= covered / 400 <= 0.98


def test_few_users_are_said_to_be_few():
    assert few_users_note(100) is None
    assert few_users_note(30) is None
    assert "5 users are too few" in (few_users_note(5) or "")
    assert "one user is too few" in (few_users_note(1) or "")


def skewed(num_users, seed):
    """Hits of users who differ in how many targets they have and in how often they are hit, as in real logs."""
    generator = np.random.default_rng(seed)
    counts = generator.geometric(1 / 28, size=num_users)
    rates = generator.beta(0.5, 4, size=num_users)
    users = np.repeat(np.arange(num_users), counts)
    return (generator.random(len(users)) < rates[users]).astype(float), users


def slow_coverage(values, users, draws):
    """Sample after sample, interval after interval."""
    generator = np.random.default_rng(5)
    own = [values[users == user] for user in np.unique(users)]
    held = 0
    for sample in range(draws):
        taken = [own[user] for user in generator.integers(0, len(own), size=len(own))]
        again = np.repeat(np.arange(len(taken)), [len(one) for one in taken])
        interval = bootstrap(np.concatenate(taken)[:, None], again, draws=300, seed=sample)[0]
        held += interval.low <= values.mean() <= interval.high
    return held / draws


def test_simulated_coverage_is_that_of_samples_drawn_one_by_one():
    values, users = skewed(30, seed=3)
    assert simulated_coverage(values, users) == pytest.approx(slow_coverage(values, users, 400), abs=0.035)


def test_intervals_of_few_uneven_users_are_told_to_be_narrow_and_of_many_are_not():
    values, users = skewed(37, seed=0)
    assert simulated_coverage(values, users) < 0.94
    assert "37 users holds the true mean in about" in (interval_note(values, users) or "")
    assert interval_note(*skewed(400, seed=0)) is None
    assert "5 users are too few" in (interval_note(*skewed(5, seed=0)) or "")


def test_intervals_of_many_alike_users_are_wide_enough():
    generator = np.random.default_rng(0)
    users = np.repeat(np.arange(200), 20)
    values = generator.normal(size=len(users))
    assert simulated_coverage(values, users) == pytest.approx(0.95, abs=0.02)
    assert interval_note(values, users) is None


def test_three_users_all_better_reach_two_of_eight_patterns():
    assert sign_flip(np.array([1.0, 2.0, 3.0]), np.array([0, 1, 2])) == 2 / 8


def test_signs_flip_by_user_not_by_target():
    """Two users: four patterns, two of them as extreme, however many targets agree."""
    assert sign_flip(np.ones(20), np.repeat([0, 1], 10)) == 2 / 4


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=8))
def test_few_users_are_tried_in_every_pattern(differences):
    signs = np.array(list(product([-1, 1], repeat=len(differences))))
    expected = np.mean([abs(sum(row * differences)) >= abs(sum(differences)) for row in signs])
    found = sign_flip(np.array(differences, dtype=np.float64), np.arange(len(differences)))
    assert found == pytest.approx(expected)


def test_many_users_are_sampled_close_to_the_normal_answer():
    """100 users, each +1 or -1, 60 better: P(|B - 50| >= 10) for B ~ Binomial(100, 1/2) is 0.0569."""
    differences = np.array([1.0] * 60 + [-1.0] * 40)
    assert sign_flip(differences, np.arange(100)) == pytest.approx(0.0569, abs=0.008)


def test_a_p_value_is_never_zero():
    assert sign_flip(np.ones(200), np.arange(200)) == 1 / 10_001


def test_no_difference_is_no_evidence():
    assert sign_flip(np.zeros(40), np.arange(40)) == 1


@pytest.mark.slow
def test_p_values_of_equal_runs_are_uniform():
    generator = np.random.default_rng(0)
    p_values = []
    for trial in range(300):
        users = np.repeat(np.arange(40), generator.integers(1, 9, size=40))
        differences = generator.standard_normal(40)[users] + generator.standard_normal(len(users))
        p_values.append(sign_flip(differences, users, flips=1_000, seed=trial))
    assert 0.02 <= np.mean(np.array(p_values) < 0.05) <= 0.09
    assert 0.42 <= np.mean(p_values) <= 0.58


def test_a_comparison_tells_difference_interval_and_p():
    generator = np.random.default_rng(0)
    users = np.repeat(np.arange(50), 4)
    second = generator.random(200)
    found = paired(second + 0.1 + 0.05 * generator.standard_normal(200), second, users)
    assert found.difference == pytest.approx(0.1, abs=0.02)
    assert 0 < found.low < found.difference < found.high
    assert found.p_value == 1 / 10_001


def test_holm_multiplies_by_how_many_are_left():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([3 * 0.01, 2 * 0.03, 2 * 0.03])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@settings(max_examples=50)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_never_lowers_and_keeps_the_order(p_values):
    adjusted = holm(p_values)
    assert all(after >= before for after, before in zip(adjusted, p_values, strict=True))
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(np.array(adjusted)[order]) >= 0).all()
