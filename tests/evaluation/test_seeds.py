"""Means over seeds: what they are, and that a comparison of groups is as honest as one of runs."""

from math import sqrt

import numpy as np
import pytest

from patchrec.evaluation.rows import metric_rows
from patchrec.evaluation.seeds import averaged_targets, deviation, mean_metrics
from patchrec.evaluation.significance import paired
from patchrec.store.evaluations import RankingRow

USERS = 40


def rows(ranks):
    """Two targets of each user."""
    return [
        RankingRow(
            user=number // 2, user_id=f"u{number // 2}", position=number % 2, item_id=f"i{number}",
            log_prob=-float(rank), item_rank_dropped=rank, item_rank_kept=rank, title_rank_dropped=rank,
            title_rank_kept=rank,
        )
        for number, rank in enumerate(ranks)
    ]  # fmt: skip


def averaged(*seeds):
    rankings = [rows(ranks) for ranks in seeds]
    found = mean_metrics([metric_rows(each, (1,)) for each in rankings], rankings)
    return {(row.name, row.level, row.seen): row for row in found}


def test_a_metric_is_the_mean_over_seeds_with_the_deviation_of_a_sample():
    found = averaged([1, 2, 2, 2], [1, 1, 1, 2])["hr@1", "item", "dropped"]
    assert found.value == (1 / 4 + 3 / 4) / 2
    assert found.sd == pytest.approx(sqrt(((1 / 4 - 1 / 2) ** 2 + (3 / 4 - 1 / 2) ** 2) / (2 - 1)))


def test_the_interval_is_that_of_targets_with_seeds_averaged():
    draw = np.random.default_rng(0)
    seeds = [draw.integers(1, 9, 40).tolist() for _ in range(3)]
    found = averaged(*seeds)
    one = averaged(seeds[0], seeds[0])
    alone = {(row.name, row.level, row.seen): row for row in metric_rows(rows(seeds[0]), (1,))}
    for key, row in alone.items():
        assert (one[key].low, one[key].high, one[key].sd) == (pytest.approx(row.low), pytest.approx(row.high), 0)
    mrr, single = found["mrr", "item", "dropped"], alone["mrr", "item", "dropped"]
    assert mrr.low < mrr.value < mrr.high
    assert mrr.high - mrr.low < single.high - single.low


def test_a_slice_is_averaged_like_all_targets_where_somebody_says_which_they_are():
    draw = np.random.default_rng(1)
    rankings = [rows(draw.integers(1, 9, 40).tolist()) for _ in range(3)]
    half = np.arange(40) < 20
    metrics = [metric_rows(each, (1,), slices={"half": half}) for each in rankings]

    def cut(shared):
        return {"half": np.array([int(row.item_id[1:]) < 20 for row in shared])}

    found = [row for row in mean_metrics(metrics, rankings, cut=cut) if row.slice == "half"]
    alone = [each[:20] for each in rankings]
    expected = mean_metrics([metric_rows(each, (1,)) for each in alone], alone)
    for own, other in zip(found, expected, strict=True):
        ends = own.value, own.sd, own.low, own.high
        assert ends == pytest.approx((other.value, other.sd, other.low, other.high))
    without = [row for row in mean_metrics(metrics, rankings) if row.slice == "half"]
    assert {(row.low, row.high) for row in without} == {(None, None)}


def test_a_metric_that_a_seed_lacks_is_left_out_and_one_seed_has_no_deviation():
    rankings = [rows([1, 2]), rows([2, 1])]
    found = mean_metrics([metric_rows(rankings[0], (1, 2)), metric_rows(rankings[1], (1,))], rankings)
    assert "hr@2" not in {row.name for row in found}
    assert deviation([0.5]) is None
    assert deviation([]) is None


def test_values_that_are_not_known_have_no_mean():
    rankings = [rows([1, 2]), rows([2, 1])]
    metrics = [metric_rows(each, (1,)) for each in rankings]
    blank = [type(row)(row.name, row.level, row.seen, None) for row in metrics[1]]
    assert {(row.value, row.sd) for row in mean_metrics([metrics[0], blank], rankings)} == {(None, None)}


def test_targets_are_averaged_one_by_one():
    assert averaged_targets([np.array([0.0, 1.0]), np.array([1.0, 1.0])]).tolist() == [0.5, 1.0]


def equal_methods(draw, seeds):
    """(B,) seed-averaged values of two equally good methods, each trained with so many seeds, and the users.

    A training moves each target's chance at random, so seeds of one method agree more than methods do with chance.
    """
    users = np.repeat(np.arange(USERS), draw.geometric(0.2, USERS))
    hard = draw.beta(0.5, 3, USERS)[users]
    return [
        averaged_targets([(draw.random(len(users)) < 0.7 * hard + 0.3 * draw.beta(0.5, 3, len(users))) * 1.0
                          for _ in range(seeds)])
        for _ in range(2)
    ], users  # fmt: skip


def findings(trials, seeds):
    draw = np.random.default_rng(seeds)
    wrong = 0
    for trial in range(trials):
        (first, second), users = equal_methods(draw, seeds)
        wrong += paired(first, second, users, flips=1_000, seed=trial).p_value < 0.05
    return wrong / trials


def test_equal_methods_of_three_seeds_are_rarely_called_different():
    assert findings(100, 3) <= 0.05 + 3 * (0.05 * 0.95 / 100) ** 0.5


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_equal_methods_are_called_different_in_at_most_one_table_of_twenty(seeds):
    assert findings(2_000, seeds) <= 0.05 + 3 * (0.05 * 0.95 / 2_000) ** 0.5
