"""The rows that others check us by."""

from patchrec.data.export import export_rows
from patchrec.data.histories import Dataset


def test_a_row_per_target_with_its_newest_items(toy: Dataset) -> None:
    assert list(export_rows(toy, "test", K=2)) == [
        {"user_id": "ann", "item_id": "14", "timestamp": 40, "position": 4, "history": ["12", "13"]},
        {"user_id": "bob", "item_id": "13", "timestamp": 70, "position": 2, "history": ["11", "12"]},
        {"user_id": "007", "item_id": "12", "timestamp": 110, "position": 3, "history": ["14", "13"]},
    ]


def test_histories_reach_back_into_earlier_splits_and_begin_with_the_oldest(toy: Dataset) -> None:
    rows = list(export_rows(toy, "validation"))
    assert [row["history"] for row in rows] == [["10", "11", "12"], ["11"], ["15", "14"]]


def test_the_first_item_of_a_user_is_no_target(toy: Dataset) -> None:
    assert [row["position"] for row in export_rows(toy, "train")] == [1, 2, 1]


def test_without_times_the_timestamp_is_none(toy: Dataset) -> None:
    from dataclasses import replace

    untimed = replace(toy, sequences=replace(toy.sequences, timestamps=None))
    assert {row["timestamp"] for row in export_rows(untimed, "test")} == {None}
