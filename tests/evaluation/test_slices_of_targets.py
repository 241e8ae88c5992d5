"""Targets by the length of their history and by the popularity of their item."""

import numpy as np

from patchrec.evaluation.slices import popularity_groups, slices
from patchrec.store.evaluations import RankingRow


def row(user: int, position: int, item_id: str) -> RankingRow:
    return RankingRow(user, str(user), position, item_id, -1.0, 1, 1, 1, 1)


def test_groups_share_the_interactions_in_thirds():
    popularity = np.array([0, 30, 10, 10, 10, 5, 5, 5, 5, 5, 5])  # 90: thirds are 30
    groups = popularity_groups(popularity)
    assert groups.tolist() == [3, 0, 1, 1, 1, 2, 2, 2, 2, 2, 2]


def test_items_that_are_equally_popular_are_of_one_group():
    assert set(popularity_groups(np.array([2, 2, 2, 2, 2])).tolist()) == {0}
    assert popularity_groups(np.array([0, 0])).tolist() == [3, 3]


def test_every_target_is_in_one_part_of_each_division(toy):
    rows = [row(0, 3, "13"), row(0, 4, "14"), row(1, 2, "13"), row(2, 3, "12"), row(2, 2, "15")]
    found = slices(toy, rows)
    assert found[0].by == "all"
    assert found[0].chosen.all()
    for by in ("history", "popularity"):
        parts = [one.chosen for one in found if one.by == by]
        assert np.sum(parts, axis=0).tolist() == [1] * len(rows)
    assert [one.name for one in found if one.by == "history"] == ["after 2 items", "after 3 items", "after 4 items"]


def test_items_without_an_interaction_in_training_are_named(toy):
    cold = next(one for one in slices(toy, [row(0, 3, "13"), row(0, 4, "14")]) if one.name == "never seen in training")
    seen = toy.popularity
    expected = [bool(seen[3] == 0), bool(seen[4] == 0)]
    assert cold.chosen.tolist() == expected


def test_one_length_makes_no_slices(toy):
    assert not [one for one in slices(toy, [row(0, 3, "13"), row(2, 3, "12")]) if one.by == "history"]
