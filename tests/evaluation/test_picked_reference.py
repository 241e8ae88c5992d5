"""The best of some equal runs is not better: picking it as the reference is paid for in the p-values."""

import numpy as np
import pytest

from patchrec.evaluation.significance import FLIPS, flips_for, holm, num_comparisons, sign_flip

USERS = 60


def equal_runs(number, draw):
    """(B,) reciprocal ranks of each run, and the users: some have many targets, runs agree on what is hard."""
    users = np.repeat(np.arange(USERS), draw.geometric(0.15, USERS))
    level, hard = draw.beta(0.5, 3, USERS)[users], draw.random(len(users))
    values = []
    for _ in range(number):
        chance = 0.6 * level + 0.4 * draw.beta(0.5, 3, USERS)[users]
        values.append(1 / np.ceil(1 / np.maximum(1e-3, chance * (0.5 * hard + 0.5 * draw.random(len(users))))))
    return values, users


def findings(number, trials, *, picked, worse=0.0):
    """Share of trials in which some run is called different from the best although the two are equal.

    Args:
        picked: Correct for the reference having been picked as the best; else as if it had been named beforehand.
        worse: By how much one more run really is worse than the others.
    """
    draw = np.random.default_rng([number, int(100 * worse)])
    wrong = 0
    for trial in range(trials):
        values, users = equal_runs(number, draw)
        if worse:
            values[-1] = values[-1] * (1 - worse)
        best = int(np.argmax([found.mean() for found in values]))
        others = [run for run in range(number) if run != best]
        p_values = [sign_flip(values[run] - values[best], users, flips=2_000, seed=trial) for run in others]
        adjusted = holm(p_values, num_comparisons(number, picked=picked))
        equal = [p for p, run in zip(adjusted, others, strict=True) if not (worse and number - 1 in (run, best))]
        wrong += any(p < 0.05 for p in equal)
    return wrong / trials


def bar(trials):
    """0.05 and three standard errors of a share of so many trials."""
    return 0.05 + 3 * (0.05 * 0.95 / trials) ** 0.5


@pytest.mark.parametrize("number", [3, 6])
def test_equal_runs_are_rarely_called_different(number):
    assert findings(number, 150, picked=True) <= bar(150)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(3, 11))
def test_equal_runs_are_called_different_in_at_most_one_table_of_twenty(number):
    assert findings(number, 4_000, picked=True) <= bar(4_000)


@pytest.mark.slow
def test_without_the_correction_they_are_called_so_too_often():
    assert findings(10, 2_000, picked=False) > 0.07


@pytest.mark.slow
@pytest.mark.parametrize("number", [4, 8])
def test_equal_runs_beside_a_worse_one_are_rarely_called_different(number):
    assert findings(number, 4_000, picked=True, worse=0.5) <= bar(4_000)


def test_a_picked_reference_stands_for_all_pairs():
    assert [num_comparisons(runs, picked=False) for runs in (1, 2, 10)] == [0, 1, 9]
    assert [num_comparisons(runs, picked=True) for runs in (1, 2, 10)] == [0, 1, 10 * 9 // 2]


def test_comparisons_that_are_not_shown_count_as_not_significant():
    assert holm([0.001, 0.01], 6) == pytest.approx([6 * 0.001, 5 * 0.01])
    assert holm([0.001, 0.01], 6) >= holm([0.001, 0.01])
    assert holm([0.5], 6) == [1.0]


def test_many_comparisons_draw_enough_patterns_to_find_something():
    for runs in (2, 10, 30, 100):
        comparisons = num_comparisons(runs, picked=True)
        assert flips_for(comparisons) >= FLIPS
        assert comparisons / (1 + flips_for(comparisons)) < 0.05
