"""Rankings from scores of all items, and what a model's scores are held to."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchrec.errors import PluginError, UsageError
from patchrec.history import History
from patchrec.ranking.dense import DenseRecommender, dense_ranking
from patchrec.ranking.items import precedence
from patchrec.recommender import Query, log_probs, rank


class Told:
    """A model that says what it was told to say, for every query."""

    def __init__(self, row):
        self.row = np.asarray(row)

    def log_probs(self, queries):
        return np.repeat(self.row[None], len(queries), axis=0)


def told(row, num_items=None):
    size = len(row) if num_items is None else num_items
    return DenseRecommender("told", Told(row), np.arange(size), [f"title {item}" for item in range(size)])


def query(*seen):
    return Query(History(np.array([0], dtype=np.int64)), np.array(seen, dtype=np.int64))


@given(st.data())
def test_a_ranking_is_the_best_unseen_allowed_items_in_the_shared_order(data):
    size = data.draw(st.integers(1, 12))
    scores = np.array(data.draw(st.lists(st.sampled_from([-1.0, -2.0, -2.5]), min_size=size, max_size=size)))
    place = precedence(np.array(data.draw(st.lists(st.integers(0, 2), min_size=size, max_size=size))))
    seen = np.array(data.draw(st.lists(st.integers(0, size - 1))), dtype=np.int64)
    allowed = np.array(data.draw(st.lists(st.booleans(), min_size=size, max_size=size)))
    k = data.draw(st.integers(1, size + 2))
    found = dense_ranking(scores, seen, k, allowed, place, [""] * size)
    left = [item for item in range(size) if allowed[item] and item not in seen]
    best = sorted(left, key=lambda item: (-scores[item], place[item]))[:k]
    assert [line.item for line in found.recommendations] == best
    assert [line.probability for line in found.recommendations] == pytest.approx(np.exp(scores[best]).tolist())
    assert (found.shortfall is None) == (len(best) == k)


def test_more_than_there_is_comes_with_the_reason():
    (found,) = rank(told(np.log([0.5, 0.3, 0.2])), [query(0)], 5)
    assert found.shortfall == "asked for 5, but 2 of 3 items can be ranked: the user has had 1 of them"


def test_queries_are_grouped_by_what_they_run():
    own = told(np.log([1.0]))
    asked = [Query(History(np.zeros(length, dtype=np.int64)), np.array([], dtype=np.int64)) for length in (0, 3)]
    assert own.lengths(asked).tolist() == [1, 1]  # nothing runs
    own.positions = 1
    assert own.lengths(asked).tolist() == [1, 4]
    own.cost_of = lambda items: (5 + 2 * items, 1.0)
    assert own.lengths(asked).tolist() == [5, 11]


def test_no_item_is_asked_for():
    with pytest.raises(UsageError, match="at least 1"):
        rank(told(np.log([1.0])), [query()], 0)


def test_items_that_came_later_rank_below_all_others_and_probabilities_still_sum_to_one():
    recommender = told(np.log([0.2, 0.7, 0.1]), num_items=5)
    (row,) = log_probs(recommender, [query()])
    assert np.exp(row).sum() == pytest.approx(1)
    assert row[3] == row[4] == row[2] == pytest.approx(np.log(0.1 / 1.2))
    (found,) = rank(recommender, [query()], 5)
    assert [line.item for line in found.recommendations] == [1, 0, 2, 3, 4]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([np.log(0.5), np.nan], "1 scores that are not finite"),
        ([0.0, -np.inf], "1 scores that are not finite"),
        ([0.0, 0.0], "sum to 2, not to 1"),
        ([-9.0, -9.0], "sum to 0.0002468, not to 1"),
        ([[0.0]], r"shape \(1, 1, 1\)"),
        ([], r"shape \(1, 0\)"),
    ],
)
def test_scores_that_are_no_distribution_are_refused_by_the_name_of_their_kind(row, message):
    recommender = DenseRecommender("odd", Told(row), np.arange(2), ["a", "b"])
    with pytest.raises(PluginError, match=message) as caught:
        log_probs(recommender, [query()])
    assert str(caught.value).startswith("recommender 'odd'")
    assert "\n" not in str(caught.value)


def test_more_scores_than_items_are_refused():
    with pytest.raises(PluginError, match=r"shape \(1, 3\) for 1 queries over 2 items"):
        log_probs(told(np.log([0.5, 0.3, 0.2]), num_items=2), [query()])
