"""Own data in every format: every byte of ids and titles comes back, also out of the store."""

import gzip
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from written_tables import INTERACTIONS, ITEMS, write_as, write_table

from patchrec.data.characters import is_blank
from patchrec.data.prepare import Prepared, prepare
from patchrec.data.splits import Split
from patchrec.errors import InputError, UsageError
from patchrec.store import Store

KINDS = [("csv", "csv"), ("tsv", "tsv"), ("jsonl", "jsonl"), ("parquet", "parquet"), ("inter", "item")]

words = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters=[chr(code) for code in (*range(32), 127)]), min_size=1
).filter(str.strip)
tricky = st.sampled_from(
    ["007", "NA", "null", "1e5", "-0", "1.0", "TRUE", "2024-01-31", " a ", '"', '""', "a,b", "\u202eabc", "😀", "=1+1"]
)
texts = words | tricky
titles = texts.filter(lambda text: not is_blank(text))  # ids may be of invisible characters, titles are read


@st.composite
def data_sets(draw: st.DrawFn) -> tuple[list[list[str]], list[list[str]]]:
    item_ids = draw(st.lists(texts, min_size=1, max_size=6, unique=True))
    items = [["item_id", "title"], *([item_id, draw(titles)] for item_id in item_ids)]
    users = draw(st.lists(texts, min_size=1, max_size=4, unique=True))
    log = [[draw(st.sampled_from(users)), draw(st.sampled_from(item_ids)), str(time)] for time in range(1, 8)]
    return items, [["user_id", "item_id", "timestamp"], *log]


def check_every_byte(kinds: tuple[str, str], items: list[list[str]], log: list[list[str]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = write_as(kinds[0], folder, "log", log), write_as(kinds[1], folder, "items", items)
        prepared = prepare("mine", interactions=paths[0], items=paths[1])
        with Store.open(folder / "home") as store:
            store.datasets.add(prepared.dataset, source="s", licence="l", split=prepared.split)
            for dataset in (prepared.dataset, store.datasets.load("mine")):
                assert [
                    [*pair] for pair in zip(dataset.catalog.item_ids, dataset.catalog.titles, strict=True)
                ] == items[1:]
                found = [
                    [user_id, dataset.catalog.item_ids[item]]
                    for user, user_id in enumerate(dataset.sequences.user_ids)
                    for item in dataset.sequences.items_of(user)
                ]
                order = list(dict.fromkeys(row[0] for row in log[1:]))
                assert found == [row[:2] for user in order for row in log[1:] if row[0] == user]


@pytest.mark.parametrize("kinds", KINDS, ids=[kind for kind, _ in KINDS])
@settings(max_examples=8, deadline=None)
@given(data_sets())
def test_ids_and_titles_come_back_byte_for_byte(
    kinds: tuple[str, str], drawn: tuple[list[list[str]], list[list[str]]]
) -> None:
    check_every_byte(kinds, *drawn)


@pytest.mark.slow
@pytest.mark.parametrize("kinds", KINDS, ids=[kind for kind, _ in KINDS])
@settings(max_examples=400, deadline=None)
@given(data_sets())
def test_ids_and_titles_come_back_byte_for_byte_from_many_data_sets(
    kinds: tuple[str, str], drawn: tuple[list[list[str]], list[list[str]]]
) -> None:
    check_every_byte(kinds, *drawn)


def small(folder: Path, kind: str = "csv", **options: object) -> Prepared:
    item_kind = "item" if kind == "inter" else kind
    return prepare(
        "mine",
        interactions=write_as(kind, folder, "log", INTERACTIONS),
        items=write_as(item_kind, folder, "items", ITEMS),
        **options,
    )


@pytest.mark.parametrize("kind", [kind for kind, _ in KINDS])
def test_every_format_gives_the_same_data_set(kind: str, tmp_path: Path) -> None:
    expected = small(tmp_path)
    found = small(tmp_path, kind)
    assert found.dataset.catalog.fingerprint == expected.dataset.catalog.fingerprint
    assert found.dataset.sequences.fingerprint == expected.dataset.sequences.fingerprint
    assert found.ratings.tolist() == [4, 3, 5, 5, 2, 4]


def test_users_stand_in_order_of_appearance_and_items_in_file_order(tmp_path: Path) -> None:
    dataset = small(tmp_path).dataset
    assert dataset.sequences.user_ids == ("007", "bob")
    assert dataset.catalog.item_ids == ("1", "02", "1e5")
    assert [dataset.sequences.items_of(user).tolist() for user in (0, 1)] == [[0, 1, 2], [1, 0, 2]]


def test_other_column_names_can_be_given(tmp_path: Path) -> None:
    items = write_table(tmp_path / "items.csv", [("sku", "name", "shelf"), ("a", "Alien", "7"), ("b", "Big", "")])
    log = write_table(tmp_path / "log.csv", [("who", "sku", "when"), ("u", "a", "5"), ("u", "b", "6")])
    dataset = prepare(
        "mine", interactions=log, items=items, user_col="who", item_col="sku", time_col="when", title_col="name"
    ).dataset
    assert dataset.catalog.titles == ("Alien", "Big")
    assert dataset.catalog.metadata == ({"shelf": "7"}, {"shelf": ""})
    assert dataset.sequences.timestamps.tolist() == [5, 6]


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        (["1700000000", "1700000001"], [1700000000, 1700000001]),
        (["1700000000000", "1700000001999"], [1700000000, 1700000001]),
        (["1700000000.25", "1.700000001e9"], [1700000000, 1700000001]),
        (["2023-11-14T22:13:20Z", "2023-11-14 23:13:21+01:00"], [1700000000, 1700000001]),
        (
            ["2024-01-31", "2024-02-01"],
            [int(datetime(2024, month, day, tzinfo=UTC).timestamp()) for month, day in ((1, 31), (2, 1))],
        ),
        (["-86400", "0"], [-86400, 0]),
    ],
    ids=["seconds", "milliseconds", "fractions", "ISO 8601", "days", "before 1970"],
)
def test_times_are_seconds_milliseconds_or_iso(written: list[str], seconds: list[int], tmp_path: Path) -> None:
    items = write_table(tmp_path / "items.csv", ITEMS)
    rows = [("user_id", "item_id", "timestamp"), ("u", "1", written[0]), ("u", "02", written[1])]
    dataset = prepare("mine", interactions=write_table(tmp_path / "log.csv", rows), items=items).dataset
    assert dataset.sequences.timestamps.tolist() == seconds


def test_parquet_columns_of_their_own_types_are_read(tmp_path: Path) -> None:
    import duckdb

    path = tmp_path / "odd [1] name*.parquet"
    with duckdb.connect() as connection:
        connection.execute(
            "CREATE TABLE log AS SELECT 7::BIGINT AS user_id, '02' AS item_id, 4.5::DOUBLE AS rating, "
            "TIMESTAMP '2023-11-14 22:13:20' AS timestamp UNION ALL "
            "SELECT 7, '1', NULL, TIMESTAMP '2023-11-14 22:13:21'"
        )
        connection.execute(f"COPY log TO '{path}' (FORMAT parquet)")
        connection.execute("CREATE TABLE bad AS SELECT 7.0::DOUBLE AS user_id, '02' AS item_id")
        connection.execute(f"COPY bad TO '{tmp_path}/bad.parquet' (FORMAT parquet)")
    items = write_table(tmp_path / "items.csv", ITEMS)
    prepared = prepare("mine", interactions=path, items=items)
    assert prepared.dataset.sequences.user_ids == ("7",)
    assert prepared.dataset.sequences.timestamps.tolist() == [1700000000, 1700000001]
    assert [str(rating) for rating in prepared.ratings] == ["4.5", "nan"]
    with pytest.raises(InputError, match=r"bad\.parquet:1: user_id is no text"):
        prepare("mine", interactions=tmp_path / "bad.parquet", items=items)


def test_text_files_may_be_gzipped_and_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    items = write_table(tmp_path / "items.csv", ITEMS)
    log = write_table(tmp_path / "log.csv", INTERACTIONS)
    packed = tmp_path / "packed.csv.gz"
    packed.write_bytes(gzip.compress(b"\xef\xbb\xbf" + log.read_bytes()))
    found, expected = (prepare("mine", interactions=path, items=items) for path in (packed, log))
    assert found.dataset.sequences.fingerprint == expected.dataset.sequences.fingerprint


def test_without_times_file_order_is_kept_and_the_split_is_picked_aloud(tmp_path: Path) -> None:
    picked: list[tuple[str, ...]] = []
    noted: list[str] = []

    class Report:
        def picked(self, *what: str) -> None:
            picked.append(what)

        def note(self, message: str) -> None:
            noted.append(message)

    items = write_table(tmp_path / "items.csv", ITEMS)
    log = write_table(tmp_path / "log.csv", [("user_id", "item_id"), ("u", "1e5"), ("u", "1"), ("u", "1e5")])
    prepared = prepare("mine", interactions=log, items=items, report=Report())
    assert [what[:2] for what in picked] == [("split", "leave-one-out")]
    assert noted == [
        "1 of 1 test targets are items that their user had before: where seen items are dropped nothing can hit them; "
        "evaluations give both",
        "the train split has no target; choose another --split or give more data",
    ]
    assert prepared.dataset.sequences.items.tolist() == [2, 0, 2]
    assert prepared.dataset.sequences.timestamps is None
    with pytest.raises(UsageError, match="needs times"):
        prepare("mine", interactions=log, items=items, split=Split(rule="temporal"))


def test_min_rating_keeps_ratings_from_there_on(tmp_path: Path) -> None:
    prepared = small(tmp_path, min_rating=4)
    assert sorted(prepared.ratings) == [4, 4, 5, 5]
    assert prepared.split["min_rating"] == 4
    assert prepared.split["interactions_read"] == 6
    with pytest.raises(InputError, match="no rating of 6 or more"):
        small(tmp_path, min_rating=6)


HEADERS = {
    ".csv": b"user_id,item_id,timestamp,rating\n",
    ".tsv": b"user_id\titem_id\ttimestamp\trating\n",
    ".inter": b"user_id:token\titem_id:token\ttimestamp:float\trating:float\n",
    ".jsonl": b"",
    ".parquet": b"PAR1",
    ".csv.gz": b"",
}
plain = ["1", "02", ",", "\t", "\n", "\r", '"', "100", "1e999", "-", "9" * 18, "1_0", "2024-01-31", " ", "null"]
odd = ["\0", "\x1b", "\u0661", "[", "{", "}", '"user_id":', '"item_id":', '"timestamp":']
pieces = st.sampled_from([*plain, *odd]).map(str.encode) | st.just(b"\xff")
contents = st.binary(max_size=200) | st.lists(pieces, max_size=60).map(b"".join)


@given(contents, st.sampled_from(list(HEADERS)), st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_a_data_set_or_an_input_error(content: bytes, ending: str, skip_bad: bool) -> None:
    check_any_bytes(content, ending, skip_bad)


@pytest.mark.slow
@given(contents, st.sampled_from(list(HEADERS)), st.booleans())
@settings(max_examples=5000, deadline=None)
def test_any_bytes_are_a_data_set_or_an_input_error_over_many_files(
    content: bytes, ending: str, skip_bad: bool
) -> None:
    check_any_bytes(content, ending, skip_bad)


def check_any_bytes(content: bytes, ending: str, skip_bad: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        items = write_table(folder / "items.csv", ITEMS)
        log = folder / f"log{ending}"
        content = HEADERS[ending] + content
        log.write_bytes(gzip.compress(content) if ending == ".csv.gz" and len(content) % 2 else content)
        try:
            assert len(prepare("mine", interactions=log, items=items, skip_bad=skip_bad).dataset.sequences)
        except InputError as error:
            assert "\n" not in str(error)  # noqa: PT017 - either outcome is right
