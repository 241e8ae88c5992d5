import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchrec.errors import UsageError
from patchrec.ranking.items import item_order, precedence, rank_items, shortfall


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
    found = item_order(scores[title_of_item], precedence(popularity))
    assert found.tolist() == slow_order(scores, title_of_item, popularity)


def check_ranking(case, k):
    scores, title_of_item, popularity, seen = case
    titles = [f"title {number}" for number in title_of_item]
    left = np.array([item for item in range(len(titles)) if item not in seen], dtype=np.int64)
    found = rank_items(left, scores[title_of_item[left]], precedence(popularity), titles, k=k)
    items = [line.item for line in found]
    assert items == [item for item in slow_order(scores, title_of_item, popularity) if item not in seen][:k]
    assert len(set(items)) == len(items)
    assert [line.rank for line in found] == list(range(1, len(items) + 1))
    assert all(line.title == titles[line.item] for line in found)
    assert all(line.score == scores[title_of_item[line.item]] for line in found)
    reason = shortfall(k, len(titles), len(titles), len(left))
    assert (len(items) == k) == (reason is None)


@given(rankings(), st.integers(1, 20))
def test_a_ranking_is_the_best_unseen_items_none_twice(case, k):
    check_ranking(case, k)


@pytest.mark.slow
@settings(max_examples=1_000)
@given(rankings(), st.integers(1, 20))
def test_a_ranking_is_the_best_unseen_items_none_twice_on_1000_catalogs(case, k):
    check_ranking(case, k)


def test_items_of_one_title_share_its_score_and_the_popular_one_leads():
    scores = np.array([-1.0, -1.0, -2.0])
    found = rank_items(np.arange(3), scores, precedence(np.array([3, 9, 99])), ["A", "A", "B"], k=3)
    assert [(line.item, line.score) for line in found] == [(1, -1.0), (0, -1.0), (2, -2.0)]


def test_fewer_than_k_come_with_the_reason():
    assert shortfall(5, 3, 3, 3) == "asked for 5, but 3 of 3 items can be ranked"
    assert shortfall(5, 3, 3, 2) == "asked for 5, but 2 of 3 items can be ranked: the user has had 1 of them"
    assert shortfall(5, 1_682, 9, 9) is None
    assert shortfall(5, 1_682, 9, 4) == (
        "asked for 5, but 4 of 1,682 items can be ranked: the filters allow 9, and the user has had 5 of those"
    )


@pytest.mark.parametrize("k", [0, -1])
def test_k_below_one_is_refused(k):
    with pytest.raises(UsageError, match="at least 1"):
        rank_items(np.array([0]), np.array([-1.0]), precedence(np.array([0])), ["A"], k=k)
