"""Slices of stored rankings are those of their targets, and each division has a target in one part."""

import numpy as np

from patchrec.data.histories import Example
from patchrec.evaluation.slice_names import group_of, in_order
from patchrec.evaluation.slices import slices, slices_of_rankings
from patchrec.store.evaluations import RankingRow

TARGETS = [(0, 3, "13"), (0, 4, "14"), (1, 2, "13"), (2, 3, "12"), (2, 2, "15")]


def row(dataset, user: int, position: int, item_id: str) -> RankingRow:
    return RankingRow(user, dataset.sequences.user_ids[user], position, item_id, -1.0, 1, 1, 1, 1)


def test_they_are_those_of_the_targets(toy):
    found = slices_of_rankings(toy, [row(toy, *target) for target in TARGETS])
    expected = slices(toy, [Example(user, 0, position) for user, position, _ in TARGETS])
    assert {name: own.tolist() for name, own in found.items()} == {name: own.tolist() for name, own in expected.items()}


def test_every_target_is_in_one_part_of_each_division(toy):
    found = slices_of_rankings(toy, [row(toy, *target) for target in TARGETS])
    for group in ("history", "popularity"):
        parts = [own for name, own in found.items() if group_of(name) == group]
        assert np.sum(parts, axis=0).tolist() == [1] * len(TARGETS)


def test_a_user_is_known_by_id_whatever_the_number(toy):
    moved = RankingRow(9, toy.sequences.user_ids[2], 3, "12", -1.0, 1, 1, 1, 1)
    assert set(slices_of_rankings(toy, [moved])) == set(slices_of_rankings(toy, [row(toy, 2, 3, "12")]))


def test_names_are_shown_by_group_and_number():
    names = ["history 20-49", "history 100-199", "cold", "genre=Drama", "history 0-9"]
    assert sorted(names, key=in_order) == ["cold", "genre=Drama", "history 0-9", "history 20-49", "history 100-199"]
    assert [group_of(name) for name in ("history 0-9", "genre=Drama", "user new", "cold")] == [
        "history", "genre", "user", "cold",
    ]  # fmt: skip
