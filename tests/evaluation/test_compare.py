import numpy as np
import pytest

from patchrec.errors import UsageError
from patchrec.evaluation.compare import compare_runs, shared_targets
from patchrec.store.evaluations import RankingRow


def rows(ranks, *, start=0, log_prob=-1.0):
    """Two targets for each of many users."""
    return [
        RankingRow(
            user=number // 2, user_id=f"u{number // 2}", position=5 + number % 2, item_id=f"i{number}",
            log_prob=log_prob, item_rank_dropped=rank, item_rank_kept=rank, title_rank_dropped=rank,
            title_rank_kept=rank,
        )
        for number, rank in enumerate(ranks, start=start)
    ]  # fmt: skip


def test_runs_are_compared_on_shared_targets_alone():
    shared = shared_targets({"a": rows([1, 2, 3, 4]), "b": rows([9, 8], start=2)})
    assert [row.item_id for row in shared["a"]] == [row.item_id for row in shared["b"]] == ["i2", "i3"]
    found = compare_runs({"a": rows([1, 2, 3, 4]), "b": rows([9, 8], start=2)})
    assert {(pair.num_targets, pair.num_users) for pair in found} == {(2, 1)}


def test_a_difference_is_first_minus_second():
    found = {pair.metric: pair for pair in compare_runs({"a": rows([1] * 80), "b": rows([2] * 80)}, ks=(1,))}
    assert found["hr@1"].paired.difference == 1
    assert found["mrr"].paired.difference == 1 / 2
    assert found["mrr"].paired.p_value == 1 / 10_001
    assert found["mrr"].num_users == 40


def test_targets_that_could_not_be_ranked_count_as_misses():
    found = {pair.metric: pair for pair in compare_runs({"a": rows([1, 1]), "b": rows([None, 1])}, ks=(1,))}
    assert found["hr@1"].paired.difference == 1 / 2


def test_several_pairs_are_corrected_metric_by_metric():
    generator = np.random.default_rng(0)
    runs = {name: rows(generator.integers(1, 30, 60).tolist()) for name in "abc"}
    found = compare_runs(runs, ks=(10,))
    for metric in ("hr@10", "mrr"):
        pairs = [pair for pair in found if pair.metric == metric]
        assert [(pair.first, pair.second) for pair in pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
        smallest = min(pairs, key=lambda pair: pair.paired.p_value)
        assert smallest.p_adjusted == pytest.approx(min(1, 3 * smallest.paired.p_value))
        assert all(pair.p_adjusted >= pair.paired.p_value for pair in pairs)


def test_one_pair_needs_no_correction():
    found = compare_runs({"a": rows([1, 5] * 20), "b": rows([2, 3] * 20)})
    assert all(pair.p_adjusted == pair.paired.p_value for pair in found)


def test_log_probabilities_compare_in_the_view_that_has_them():
    runs = {"a": rows([1] * 10, log_prob=-1.0), "b": rows([1] * 10, log_prob=-3.0)}
    found = {pair.metric: pair.paired.difference for pair in compare_runs(runs, level="title", seen="kept")}
    assert found["log_prob"] == 2
    assert "log_prob" not in {pair.metric for pair in compare_runs(runs)}


def test_runs_without_a_common_target_cannot_be_compared():
    with pytest.raises(UsageError, match="no target in common"):
        compare_runs({"a": rows([1]), "b": rows([1], start=8)})


def test_no_run_cannot_be_compared():
    with pytest.raises(UsageError, match="no target in common"):
        compare_runs({})
