"""Coverage, novelty and Gini of what was recommended, as arithmetic."""

from math import isnan, log2

import numpy as np
import pytest
from test_evaluate import K, popular, run

from patchrec.evaluation.evaluate import evaluate
from patchrec.evaluation.lists import coverage, gini, information, list_measures


def test_coverage_is_the_share_of_the_catalog_recommended_to_anyone():
    assert coverage(np.array([3, 0, 1, 0])) == 2 / 4


def test_gini_is_0_for_even_lists_and_1_where_one_item_is_all():
    assert gini(np.array([2, 2, 2])) == 0
    assert gini(np.array([0, 0, 9])) == 1
    # sorted counts 1, 3: ((2 - 3) * 1 + (4 - 3) * 3) / ((2 - 1) * 4)
    assert gini(np.array([3, 1])) == (3 - 1) / 4
    assert isnan(gini(np.array([5])))
    assert isnan(gini(np.array([0, 0])))


def test_information_is_what_a_share_of_the_train_interactions_tells():
    assert information(np.array([3, 0])).tolist() == [-log2(4 / 5), -log2(1 / 5)]


def test_a_cutoff_looks_at_the_first_k_of_each_list():
    tops, popularity = [[0, 1], [0, 2]], np.array([3, 1, 0, 0])
    found = list_measures(tops, popularity, (1, 2))
    bits = {0: -log2(4 / 8), 1: -log2(2 / 8), 2: -log2(1 / 8)}
    assert (found["coverage@1"], found["coverage@2"]) == (1 / 4, 3 / 4)
    assert found["novelty@1"] == pytest.approx(bits[0])
    assert found["novelty@2"] == pytest.approx((2 * bits[0] + bits[1] + bits[2]) / 4)
    assert found["gini@1"] == 1
    assert isnan(list_measures([[]], popularity, (1,))["novelty@1"])


def test_an_evaluation_measures_the_lists_that_it_keeps(movies, scorer):
    result = run(movies, scorer, ks=(2, 30))
    kept = [[movies.catalog.index[item] for item, _ in row.top] for row in result.rankings]
    expected = list_measures(kept, movies.popularity, (2,))
    assert {name: result.cost[name] for name in expected} == expected
    assert "coverage@30" not in result.cost  # 20 are kept


def test_popularity_recommends_less_novel_items_than_a_random_model(movies, scorer):
    counted = evaluate(movies, movies.examples("test", K), popular(movies), ks=(2,))
    assert counted.cost["novelty@2"] < run(movies, scorer, ks=(2,)).cost["novelty@2"]
