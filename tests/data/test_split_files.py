"""Splits as files: every row, byte for byte, as another program reads them."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from patchrec.data.export import export_rows
from patchrec.data.inputs import Part
from patchrec.data.lines import Rejects
from patchrec.data.readers import open_table
from patchrec.data.recipe import Written
from patchrec.data.split_files import write_splits
from patchrec.errors import UsageError


def as_recbole(path):
    """Rows as RecBole reads them: pandas' Python engine is Python's own reader of CSV with tabs."""
    with path.open(encoding="utf-8", newline="") as stream:
        header, *rows = csv.reader(stream, delimiter="\t")
    return [dict(zip([name.split(":")[0] for name in header], row, strict=True)) for row in rows]


def as_csv(path):
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_train_is_every_interaction_and_the_others_are_the_targets(toy, tmp_path):
    rows = write_splits(toy, "csv", tmp_path, "toy", 100)
    assert rows == {"train.csv": 6, "validation.csv": 3, "test.csv": 3, "items.csv": 6}
    train, test = as_csv(tmp_path / "train.csv"), as_csv(tmp_path / "test.csv")
    assert train[0] == {"user_id": "ann", "item_id": "10", "timestamp": "0", "position": "0"}
    assert [(row["user_id"], row["item_id"], row["position"]) for row in train] == [
        ("ann", "10", "0"), ("ann", "11", "1"), ("ann", "12", "2"), ("bob", "11", "0"), ("007", "15", "0"),
        ("007", "14", "1"),
    ]  # fmt: skip
    wanted = [(row["user_id"], row["item_id"], str(row["position"])) for row in export_rows(toy, "test")]
    assert [(row["user_id"], row["item_id"], row["position"]) for row in test] == wanted
    assert [row["title"] for row in as_csv(tmp_path / "items.csv")] == list(toy.catalog.titles)


def test_recbole_reads_the_same_splits_by_the_names_of_its_configuration(toy, tmp_path):
    rows = write_splits(toy, "recbole", tmp_path, "shop", 100)
    assert rows == {"shop.train.inter": 6, "shop.valid.inter": 3, "shop.test.inter": 3, "shop.item": 6}
    assert (tmp_path / "shop.train.inter").read_text().startswith(
        "user_id:token\titem_id:token\ttimestamp:float\tposition:float\nann\t10\t0\t0\n"
    )  # fmt: skip
    configuration = (tmp_path / "recbole.yaml").read_text().splitlines()
    assert "benchmark_filename: [train, valid, test]" in configuration
    assert "  inter: [user_id, item_id, timestamp]" in configuration
    assert [row["item_id"] for row in as_recbole(tmp_path / "shop.item")] == list(toy.catalog.item_ids)


def test_sequential_files_have_each_target_with_its_history(toy, tmp_path):
    write_splits(toy, "recbole-sequential", tmp_path, "toy", 2)
    for split, suffix in (("train", "train"), ("validation", "valid"), ("test", "test")):
        found = as_recbole(tmp_path / f"toy.{suffix}.inter")
        assert [(row["user_id"], row["item_id"], row["item_id_list"].split()) for row in found] == [
            (row["user_id"], row["item_id"], row["history"]) for row in export_rows(toy, split, K=2)
        ]
    configuration = (tmp_path / "recbole.yaml").read_text()
    assert "MAX_ITEM_LIST_LENGTH: 2\n" in configuration
    assert "alias_of_item_id: [item_id_list]\n" in configuration
    assert "  inter: [user_id, item_id, timestamp, item_id_list]\n" in configuration


def test_without_times_there_is_no_column_of_them(toy, tmp_path):
    untimed = replace(toy, sequences=replace(toy.sequences, timestamps=None))
    write_splits(untimed, "recbole", tmp_path, "toy", 100)
    assert list(as_recbole(tmp_path / "toy.test.inter")[0]) == ["user_id", "item_id", "position"]


def odd_ids(toy):
    titles = ('"Heat"', "a, b", "=1+1", "Größe 🎬", "'quoted'", "NA")
    catalog = replace(toy.catalog, item_ids=('"10', "1,1", "-12", "🎬", "1e5", "014"), titles=titles)
    return replace(toy, catalog=catalog, sequences=replace(toy.sequences, user_ids=('"ann"', "b b", "007")))


def test_odd_ids_come_back_as_they_are(toy, tmp_path):
    odd = odd_ids(toy)
    write_splits(odd, "recbole", tmp_path, "toy", 100)
    assert [row["item_id"] for row in as_recbole(tmp_path / "toy.item")] == list(odd.catalog.item_ids)
    assert [row["title"] for row in as_recbole(tmp_path / "toy.item")] == list(odd.catalog.titles)
    assert {row["user_id"] for row in as_recbole(tmp_path / "toy.train.inter")} == set(odd.sequences.user_ids)
    path = tmp_path / "toy.item"
    part = Part(path.name, path, lambda: path.open("rb"))
    with open_table(part, Written(format="recbole", quotes="group"), Rejects()) as table:
        assert [row["item_id"] for _, row in table.rows] == list(odd.catalog.item_ids)


def test_cells_of_csv_are_no_formulas(toy, tmp_path):
    write_splits(odd_ids(toy), "csv", tmp_path, "toy", 100)
    rows = as_csv(tmp_path / "items.csv")
    assert [row["item_id"] for row in rows][:3] == ['"10', "1,1", "'-12"]
    assert rows[2]["title"] == "'=1+1"


@pytest.mark.parametrize(
    ("item", "kind", "message"),
    [("NA", "recbole", "a missing value"), ("a b", "recbole-sequential", "more than one id"), ("a b", "recbole", None)],
)
def test_ids_that_recbole_reads_as_something_else_are_refused(toy, tmp_path, item, kind, message):
    odd = replace(toy, catalog=replace(toy.catalog, item_ids=(item, "11", "12", "13", "14", "15")))
    if message is None:
        write_splits(odd, kind, tmp_path, "toy", 100)
    else:
        with pytest.raises(UsageError, match=f"{message}.*--format csv"):
            write_splits(odd, kind, tmp_path, "toy", 100)


def test_targets_without_the_least_history_are_in_train_alone(toy, tmp_path):
    short = replace(toy, min_history=3)
    rows = write_splits(short, "csv", tmp_path, "toy", 100)
    assert rows["train.csv"] == 6
    assert rows["test.csv"] == short.num_targets("test") == 2
    assert np.all([int(row["position"]) >= 3 for row in as_csv(tmp_path / "test.csv")])
