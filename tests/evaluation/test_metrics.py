from math import inf, log2, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchrec.errors import UsageError
from patchrec.evaluation.metrics import hr, mrr, ndcg, rank_metrics

RANKS = np.array([1.0, 2.0, 10.0, 11.0, inf, nan])


def test_hr_counts_targets_among_the_first_k():
    assert hr(RANKS, 10).tolist() == [1, 1, 1, 0, 0, 0]


def test_ndcg_discounts_by_log2_of_one_plus_rank():
    assert ndcg(RANKS, 10).tolist() == pytest.approx([1 / log2(2), 1 / log2(3), 1 / log2(11), 0, 0, 0])


def test_mrr_is_the_reciprocal_rank():
    assert mrr(RANKS).tolist() == pytest.approx([1, 1 / 2, 1 / 10, 1 / 11, 0, 0])


def test_mrr_at_k_misses_beyond_k():
    assert mrr(RANKS, 10).tolist() == pytest.approx([1, 1 / 2, 1 / 10, 0, 0, 0])


def test_metrics_are_written_with_their_k():
    assert list(rank_metrics(RANKS, [10, 20])) == [
        "hr@10", "ndcg@10", "mrr@10", "hr@20", "ndcg@20", "mrr@20", "mrr",
    ]  # fmt: skip


def test_no_candidate_is_a_miss_not_a_gap():
    assert all(len(values) == len(RANKS) for values in rank_metrics(RANKS, [5]).values())
    assert rank_metrics(np.array([nan, 1.0]), [5])["hr@5"].mean() == 1 / 2


@pytest.mark.parametrize("k", [0, -3])
def test_k_below_one_is_refused(k):
    with pytest.raises(UsageError, match="at least 1"):
        rank_metrics(RANKS, [k])


@given(st.lists(st.one_of(st.integers(1, 100).map(float), st.just(inf)), min_size=1), st.integers(1, 60))
def test_metrics_equal_a_plain_loop(ranks, k):
    array = np.array(ranks)
    assert hr(array, k).tolist() == [float(rank <= k) for rank in ranks]
    assert ndcg(array, k).tolist() == pytest.approx([1 / log2(1 + rank) if rank <= k else 0 for rank in ranks])
    assert mrr(array, k).tolist() == pytest.approx([1 / rank if rank <= k else 0 for rank in ranks])


@given(st.lists(st.integers(1, 50).map(float), min_size=1), st.integers(1, 40))
def test_hr_bounds_ndcg_bounds_mrr(ranks, k):
    array = np.array(ranks)
    assert (hr(array, k) >= ndcg(array, k)).all()
    assert (ndcg(array, k) >= mrr(array, k) - 1e-15).all()
