"""New items for a catalog, one or a file of them: read by the rules of own data, in the types that the catalog has."""

import json
from pathlib import Path

import pytest
from written_tables import write_as

from patchrec.data.catalog import Catalog
from patchrec.data.prepare import prepare_item, prepare_items
from patchrec.errors import InputError

CATALOG = Catalog(
    ("1", "2", "3"),
    ("Alien", "Heat", "Big"),
    (
        {"year": 1979, "genres": ["Horror"], "score": 8.5, "land": "US", "mixed": 1},
        {"year": 1995, "genres": [], "land": "US", "mixed": "x"},
        {"genres": ["Comedy"], "land": None},
    ),
)
ROWS = [("item_id", "title", "year"), ("07", "New Film", "2026"), ("NA", "Heat", "2027")]


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet", "item"])
def test_a_file_of_any_format_gives_items_in_its_order(tmp_path: Path, kind: str) -> None:
    new, rejected = prepare_items(CATALOG, write_as(kind, tmp_path, "new", ROWS))
    assert new == Catalog(("07", "NA"), ("New Film", "Heat"), ({"year": 2026}, {"year": 2027}))
    assert rejected == ()


def test_columns_and_format_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "goods.txt").write_text("sku;x\n".replace(";", "\t") + "07\tNew Film\n")
    new, _ = prepare_items(CATALOG, tmp_path / "goods.txt", item_col="sku", title_col="x", format="tsv")
    assert (new.item_ids, new.titles, new.metadata) == (("07",), ("New Film",), ())


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("2,Heat 2,", ["new.csv:3", "item '2' is in the catalog already"]),
        ("9,Other,", ["new.csv:3", "item '9' was on line 2"]),
        ("8, ,", ["new.csv:3", "title is blank"]),
        (",Other,", ["new.csv:3", "item_id is blank"]),
        ("8,Other,soon", ["new.csv:3", "year 'soon' is no whole number"]),
        ("8,Oth\x07er,", ["new.csv:3", "control character U+0007"]),
    ],
)
def test_a_line_that_cannot_be_used_is_named_or_skipped(tmp_path: Path, line: str, words: list[str]) -> None:
    path = tmp_path / "new.csv"
    path.write_text(f"item_id,title,year\n9,New Film,2026\n{line}\n")
    with pytest.raises(InputError) as caught:
        prepare_items(CATALOG, path)
    for word in words:
        assert word in str(caught.value)
    new, (rejected,) = prepare_items(CATALOG, path, skip_bad=True)
    assert new == Catalog(("9",), ("New Film",), ({"year": 2026},))
    assert all(word in rejected for word in words)


def test_a_file_with_nothing_new_is_refused(tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("item_id,title\n1,Alien\n2,Heat\n")
    with pytest.raises(InputError, match="no usable item"):
        prepare_items(CATALOG, tmp_path / "new.csv", skip_bad=True)


def test_one_item_is_checked_as_a_line_is() -> None:
    assert prepare_item(CATALOG, "07", " A ") == Catalog(("07",), (" A ",))
    for item_id, title, word in [("4", "", "--title is blank"), (" ", "A", "--item-id is blank"), ("4", "a\nb", "U+")]:
        with pytest.raises(InputError, match=f"{word}.*; nothing was added") as caught:
            prepare_item(CATALOG, item_id, title)
        assert "\n" not in str(caught.value)


def test_metadata_takes_the_types_that_the_catalog_has() -> None:
    written = {"year": "2026", "genres": "Drama|Comedy", "score": "7", "land": "", "mixed": "1", "other": "1"}
    assert CATALOG.fit_metadata(written) == {
        "year": 2026, "genres": ["Drama", "Comedy"], "score": 7.0, "land": "", "mixed": "1", "other": "1",
    }  # fmt: skip


def test_blank_numbers_and_lists_are_missing() -> None:
    assert CATALOG.fit_metadata({"year": "", "genres": " ", "score": ""}) == {}


def test_what_is_no_text_stays_as_it_is() -> None:
    assert CATALOG.fit_metadata({"year": None, "genres": ["a"], "score": 1.5}) == {
        "year": None,
        "genres": ["a"],
        "score": 1.5,
    }


@pytest.mark.parametrize(
    ("key", "text"), [("year", "1.5"), ("year", "１９"), ("year", "9" * 30), ("score", "nan"), ("score", "1e999")]
)
def test_numbers_that_are_none_are_refused(key: str, text: str) -> None:
    with pytest.raises(InputError, match=f"{key} .* is no (whole )?number, as the catalog has there"):
        prepare_item(CATALOG, "4", "A", {key: text})


def test_metadata_that_json_cannot_hold_is_missing_or_refused(tmp_path: Path) -> None:
    import duckdb

    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE t AS SELECT * FROM (VALUES ('8', 'A', 'nan'::DOUBLE), ('9', 'B', 'inf'))")
        connection.execute("ALTER TABLE t RENAME col0 TO item_id")
        connection.execute("ALTER TABLE t RENAME col1 TO title")
        connection.execute(f"COPY t TO '{tmp_path / 'new.parquet'}' (FORMAT parquet)")
    new, _ = prepare_items(CATALOG, tmp_path / "new.parquet")
    assert new.metadata == ({"col2": None}, {"col2": None})
    (tmp_path / "new.jsonl").write_text(json.dumps({"item_id": "8", "title": "A", "note": ["\ud800"]}))
    with pytest.raises(InputError, match="half a character"):
        prepare_items(CATALOG, tmp_path / "new.jsonl")
