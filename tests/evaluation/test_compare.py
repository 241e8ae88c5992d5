import numpy as np

from patchrec.evaluation.compare import shared_targets
from patchrec.evaluation.rows import target_values
from patchrec.evaluation.significance import paired
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


def difference(first, second, metric, level="item", seen="dropped"):
    users = np.array([row.user for row in first])
    values = [target_values(found, level, seen, (1,))[metric] for found in (first, second)]
    return paired(*values, users)


def test_runs_share_the_targets_that_all_of_them_ranked():
    shared = shared_targets({"a": rows([1, 2, 3, 4]), "b": rows([9, 8], start=2), "c": rows([7] * 8)})
    for name in "abc":
        assert [row.item_id for row in shared[name]] == ["i2", "i3"]
    assert [row.item_rank_kept for row in shared["a"]] == [3, 4]


def test_the_order_of_rows_does_not_matter():
    first = rows([1, 2, 3, 4])
    assert shared_targets({"a": first, "b": first[::-1]})["b"] == shared_targets({"a": first})["a"]


def test_the_same_item_at_another_position_is_another_target():
    one, *_ = rows([1])
    moved = RankingRow(one.user, one.user_id, 99, one.item_id, -1.0, 1, 1, 1, 1)
    assert shared_targets({"a": [one], "b": [moved]}) == {"a": [], "b": []}


def test_no_run_shares_nothing():
    assert shared_targets({}) == {}


def test_a_difference_is_first_minus_second():
    found = difference(rows([1] * 80), rows([2] * 80), "mrr")
    assert found.difference == 1 - 1 / 2
    assert found.p_value == 1 / 10_001
    assert difference(rows([1] * 80), rows([2] * 80), "hr@1").difference == 1


def test_targets_that_could_not_be_ranked_count_as_misses():
    assert difference(rows([1, 1]), rows([None, 1]), "hr@1").difference == 1 / 2


def test_log_probabilities_have_one_view_alone():
    first, second = rows([1] * 10, log_prob=-1.0), rows([1] * 10, log_prob=-3.0)
    assert difference(first, second, "log_prob", "title", "kept").difference == 2
    assert "log_prob" not in target_values(first, "item", "dropped", (1,))
