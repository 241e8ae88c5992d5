"""Files that `data add` refuses are refused by an append, too, and the data set stays as it was."""

from pathlib import Path

import pytest
from store_dump import dump
from test_malformed_files import BAD_INTERACTIONS, BAD_ITEMS, GOOD, GOOD_ITEMS

from patchrec.data.recipe import Recipe
from patchrec.errors import InputError, UsageError
from patchrec.operations.datasets import add_dataset
from patchrec.operations.growing import append_interactions
from patchrec.store import Store

LATER = b"user_id,item_id,timestamp,rating\nbob,1,900,5\n"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("append")
    (folder / "log.csv").write_bytes(GOOD)
    (folder / "items.csv").write_bytes(GOOD_ITEMS)
    add_dataset("mine", interactions=[folder / "log.csv"], items=[folder / "items.csv"], home=folder / "home")
    return folder / "home"


def assert_refused(home: Path, file: str, line: int | None, words: str, **files: list[Path]) -> None:
    with Store.open(home) as store:
        before = dump(store)
        with pytest.raises(InputError) as caught:
            append_interactions("mine", **files, home=home)
        assert dump(store) == before
    message = str(caught.value)
    assert (f"{file}:{line}: " if line else file) in message
    assert words in message
    assert "\n" not in message


@pytest.mark.parametrize("family", BAD_INTERACTIONS)
def test_a_malformed_file_of_interactions_changes_nothing(family: str, home: Path, tmp_path: Path) -> None:
    ending, content, line, words = BAD_INTERACTIONS[family]
    path = tmp_path / f"log.{ending}"
    path.write_bytes(content)
    assert_refused(home, path.name, line, words, interactions=[path])


@pytest.mark.parametrize("family", sorted(BAD_ITEMS.keys() - {"duplicate item"}))
def test_a_malformed_file_of_items_changes_nothing(family: str, home: Path, tmp_path: Path) -> None:
    content, line, words = BAD_ITEMS[family]
    (tmp_path / "items.csv").write_bytes(content)
    (tmp_path / "log.csv").write_bytes(LATER)
    files = {"interactions": [tmp_path / "log.csv"], "items": [tmp_path / "items.csv"]}
    assert_refused(home, "items.csv", line, words, **files)


def test_a_new_item_twice_changes_nothing(home: Path, tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_bytes(GOOD_ITEMS + b"9,Nine\n9,Neuf\n")
    (tmp_path / "log.csv").write_bytes(LATER)
    files = {"interactions": [tmp_path / "log.csv"], "items": [tmp_path / "items.csv"]}
    assert_refused(home, "items.csv", 6, "item '9' was on line 5 already", **files)


@pytest.mark.parametrize("column", ["item_id,timestamp,rating", "user_id,item_id,rating"])
def test_columns_that_the_data_set_has_must_be_there(column: str, home: Path, tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text(f"{column}\n" + ",".join("1" for _ in column.split(",")) + "\n")
    assert_refused(
        home,
        "" if "user_id" in column else path.name,
        None,
        "name their column" if "user_id" in column else "--user-col",
        interactions=[path],
    )


def test_bad_rows_are_left_out_when_asked_and_kept_with_their_reasons(home: Path, tmp_path: Path) -> None:
    with Store.open(home) as store:
        number = len(store.versions.all("mine"))
    path = tmp_path / "log.csv"
    path.write_bytes(LATER + b"bob,unknown,901,5\nbob,1,soon,5\n")
    found = append_interactions("mine", interactions=[path], rejects=tmp_path / "rejects.csv", home=home)
    assert (found["version"], found["appended"]["interactions"], len(found["rejected"])) == (number + 1, 1, 2)
    assert len((tmp_path / "rejects.csv").read_text().splitlines()) == 3
    assert found["accounts"]["interactions"]["read"] == 3


def test_another_format_is_said_and_forgets_how_the_first_was_written(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text("a;1;10\nb;2;20\n")
    (tmp_path / "items.csv").write_text("item_id;title\n1;One\n2;Two\n")
    recipe = Recipe(
        interactions=(str(tmp_path / "log.txt"),),
        items=(str(tmp_path / "items.csv"),),
        format="csv",
        sep=";",
        header=False,
        columns=("user_id", "item_id", "timestamp"),
    )
    home = tmp_path / "home"
    add_dataset("mine", recipe=recipe, home=home)
    (tmp_path / "more.jsonl").write_text('{"user_id":"a","item_id":"2","timestamp":30}\n')
    found = append_interactions("mine", interactions=[tmp_path / "more.jsonl"], format="jsonl", home=home)
    assert found["appended"]["interactions"] == 1
    with pytest.raises(UsageError, match=r"--format .xlsx."):
        append_interactions("mine", interactions=[tmp_path / "more.jsonl"], format="xlsx", home=home)


def test_a_file_whose_ending_names_another_format_is_read_as_that(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("wer;was;wann\na;1;10\nb;2;20\n")
    (tmp_path / "items.csv").write_text("was;title\n1;One\n2;Two\n")
    files = {"interactions": [tmp_path / "log.csv"], "items": [tmp_path / "items.csv"]}
    home, columns = tmp_path / "home", {"user_col": "wer", "item_col": "was", "time_col": "wann"}
    add_dataset("mine", sep=";", format="csv", **columns, **files, home=home)
    (tmp_path / "more.jsonl").write_text('{"wer":"a","was":"3","wann":30}\n')
    (tmp_path / "new.csv").write_text("was;title\n3;Three\n")
    later = {"interactions": [tmp_path / "more.jsonl"], "items": [tmp_path / "new.csv"]}
    found = append_interactions("mine", **later, home=home)
    assert (found["appended"]["interactions"], found["appended"]["items"]) == (1, 1)
    (tmp_path / "more.tsv").write_text("wer\twas\twann\nb\t1\t40\n")
    assert append_interactions("mine", interactions=[tmp_path / "more.tsv"], home=home)["version"] == 3
    (tmp_path / "last.jsonl").write_text('{"wer":"b","was":"1","wann":45}\n')
    both = [tmp_path / "last.jsonl", tmp_path / "more.tsv"]  # each by its own, and the second is there already
    assert append_interactions("mine", interactions=both, home=home)["appended"]["repeated"] == 1
    (tmp_path / "more.dat").write_text("wer;was;wann\nb;1;50\n")  # an ending that names none
    assert append_interactions("mine", interactions=[tmp_path / "more.dat"], home=home)["version"] == 5
