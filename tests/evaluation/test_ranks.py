from math import inf

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from patchrec.evaluation.ranks import TargetRanks, target_ranks
from patchrec.ranking.items import item_order, precedence, rank_items


@st.composite
def cases(draw):
    """Items of shared titles, scores and popularities of few values, some items seen."""
    num_titles = draw(st.integers(1, 6))
    title_of_item = draw(st.lists(st.integers(0, num_titles - 1), min_size=num_titles, max_size=12))
    title_of_item[:num_titles] = range(num_titles)
    num_items = len(title_of_item)
    scores = np.array(draw(st.lists(st.sampled_from([-1.0, -2.0, -3.0]), min_size=num_titles, max_size=num_titles)))
    popularity = np.array(draw(st.lists(st.integers(0, 2), min_size=num_items, max_size=num_items)))
    seen = draw(st.sets(st.integers(0, num_items - 1)))
    return scores, np.array(title_of_item), popularity, draw(st.integers(0, num_items - 1)), seen


def ranks(scores, title_of_item, popularity, target, seen):
    order = item_order(scores[title_of_item], precedence(popularity))
    return target_ranks(order, title_of_item, target, np.array(sorted(seen), dtype=np.int64))


def slow_item_rank(scores, title_of_item, popularity, target, seen):
    """One more than the candidates that beat the target."""
    if target in seen:
        return inf

    def key(item):
        return -scores[title_of_item[item]], -popularity[item], item

    return 1 + sum(key(item) < key(target) for item in range(len(popularity)) if item not in seen)


def slow_title_rank(scores, title_of_item, popularity, target, seen):
    """The place of the target's title once the item ranking keeps the first item of each title alone."""
    places = {
        item: slow_item_rank(scores, title_of_item, popularity, item, seen)
        for item in range(len(popularity))
        if item not in seen
    }
    titles = list(dict.fromkeys(int(title_of_item[item]) for item in sorted(places, key=places.__getitem__)))
    wanted = int(title_of_item[target])
    return 1 + titles.index(wanted) if wanted in titles else inf


@given(cases())
def test_ranks_equal_counting_the_candidates_that_beat_the_target(case):
    *scored, seen = case
    assert ranks(*case) == TargetRanks(
        slow_item_rank(*scored, seen),
        slow_item_rank(*scored, set()),
        slow_title_rank(*scored, seen),
        slow_title_rank(*scored, set()),
    )


@given(cases())
def test_the_rank_is_the_place_in_the_recommended_list(case):
    scores, title_of_item, popularity, target, seen = case
    left = np.array([item for item in range(len(popularity)) if item not in seen], dtype=np.int64)
    shown = rank_items(
        left, scores[title_of_item[left]], precedence(popularity), ["x"] * len(popularity), k=len(popularity)
    )
    places = {line.item: line.rank for line in shown}
    assert ranks(*case).item_dropped == places.get(target, inf)


def test_a_target_seen_before_is_a_miss_where_seen_items_are_dropped():
    found = ranks(np.array([-1.0, -2.0]), np.array([0, 1]), np.array([0, 0]), 0, {0})
    assert (found.item_dropped, found.item_kept) == (inf, 1)
    assert (found.title_dropped, found.title_kept) == (inf, 1)


def test_a_seen_target_whose_title_another_item_has_is_still_a_title_hit():
    found = ranks(np.array([-1.0, -2.0]), np.array([0, 1, 0]), np.array([5, 0, 1]), 0, {0})
    assert (found.item_dropped, found.title_dropped) == (inf, 1)


def test_titles_shared_by_many_items_take_one_place():
    scores, title_of_item = np.array([-1.0, -2.0]), np.array([0, 0, 0, 1])
    found = ranks(scores, title_of_item, np.zeros(4, dtype=np.int64), 3, set())
    assert (found.item_kept, found.title_kept) == (4, 2)


def test_equal_scores_go_by_popularity_then_index():
    scores, title_of_item = np.array([-1.0, -1.0, -1.0]), np.array([0, 1, 2])
    popularity = np.array([1, 7, 1])
    assert [ranks(scores, title_of_item, popularity, item, set()).item_kept for item in range(3)] == [2, 1, 3]
