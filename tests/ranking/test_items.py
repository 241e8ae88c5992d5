import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchrec.errors import UsageError
from patchrec.ranking.items import item_order, precedence, rank_items


@st.composite
def rankings(draw):
    """Scores of few values, popularities of few values, so that ties abound."""
    num_titles = draw(st.integers(1, 8))
    title_of_item = draw(st.lists(st.integers(0, num_titles - 1), min_size=num_titles, max_size=15))
    title_of_item[:num_titles] = range(num_titles)
    num_items = len(title_of_item)
    scores = draw(st.lists(st.sampled_from([-3.0, -2.5, -1.0, -np.inf]), min_size=num_titles, max_size=num_titles))
    popularity = draw(st.lists(st.integers(0, 2), min_size=num_items, max_size=num_items))
    seen = draw(st.sets(st.integers(0, num_items - 1)))
    return np.array(scores), np.array(title_of_item), np.array(popularity), np.array(sorted(seen), dtype=np.int64)


def slow_order(scores, title_of_item, popularity):
    return sorted(range(len(popularity)), key=lambda item: (-scores[title_of_item[item]], -popularity[item], item))


@given(rankings())
def test_order_is_score_then_popularity_then_index(case):
    scores, title_of_item, popularity, _ = case
    found = item_order(scores, title_of_item, precedence(popularity))
    assert found.tolist() == slow_order(scores, title_of_item, popularity)


def check_ranking(case, k):
    scores, title_of_item, popularity, seen = case
    titles = [f"title {number}" for number in title_of_item]
    found = rank_items(scores, title_of_item, precedence(popularity), titles, k=k, seen=seen)
    items = [line.item for line in found.recommendations]
    assert items == [item for item in slow_order(scores, title_of_item, popularity) if item not in seen][:k]
    assert len(set(items)) == len(items)
    assert [line.rank for line in found.recommendations] == list(range(1, len(items) + 1))
    assert all(line.title == titles[line.item] for line in found.recommendations)
    assert all(line.score == scores[title_of_item[line.item]] for line in found.recommendations)
    assert (len(items) == k) == (found.shortfall is None)


@given(rankings(), st.integers(1, 20))
def test_a_ranking_is_the_best_unseen_items_none_twice(case, k):
    check_ranking(case, k)


@pytest.mark.slow
@settings(max_examples=1_000)
@given(rankings(), st.integers(1, 20))
def test_a_ranking_is_the_best_unseen_items_none_twice_on_1000_catalogs(case, k):
    check_ranking(case, k)


def test_items_of_one_title_share_its_score_and_the_popular_one_leads():
    found = rank_items(
        np.array([-1.0, -2.0]), np.array([0, 0, 1]), precedence(np.array([3, 9, 99])), ["A", "A", "B"], k=3
    )
    assert [(line.item, line.score) for line in found.recommendations] == [(1, -1.0), (0, -1.0), (2, -2.0)]


def test_fewer_than_k_come_with_the_reason():
    scores, titles = np.array([-1.0, -2.0, -3.0]), ["A", "B", "C"]
    place = precedence(np.zeros(3, dtype=np.int64))
    found = rank_items(scores, np.arange(3), place, titles, k=5, seen=np.array([1]))
    assert [line.item for line in found.recommendations] == [0, 2]
    assert found.shortfall == "asked for 5, but the catalog holds 2 items without the 1 already seen"
    found = rank_items(scores, np.arange(3), place, titles, k=5)
    assert found.shortfall == "asked for 5, but the catalog holds 3 items"


def test_seen_items_stay_when_none_are_named():
    found = rank_items(np.array([-1.0]), np.array([0]), precedence(np.array([0])), ["A"], k=1, seen=None)
    assert len(found.recommendations) == 1


@pytest.mark.parametrize("k", [0, -1])
def test_k_below_one_is_refused(k):
    with pytest.raises(UsageError, match="at least 1"):
        rank_items(np.array([-1.0]), np.array([0]), precedence(np.array([0])), ["A"], k=k)
