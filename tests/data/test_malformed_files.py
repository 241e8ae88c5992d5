"""Files that cannot be used: refused with file, line and a hint, and nothing reaches the store."""

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from store_dump import dump
from written_tables import INTERACTIONS, ITEMS, write_as, write_table

from patchrec.data.prepare import Prepared, prepare
from patchrec.errors import InputError, UsageError
from patchrec.store import Store

GOOD = b"user_id,item_id,timestamp,rating\n007,1,100,4\nbob,02,150,5\n007,02,200,3\n"
GOOD_ITEMS = b"item_id,title\n1,Alien\n02,NA\n1e5,Heat\n"
JSON = b'{"user_id":"007","item_id":"1","timestamp":100}\n'

BAD_INTERACTIONS = {
    # name: (file ending, content, line, words of the message)
    "encoding: latin-1": ("csv", GOOD + b"andr\xe9,1,300,4\n", 5, "not UTF-8 (byte 0xe9 at 5)"),
    "encoding: utf-16": ("csv", GOOD.decode().encode("utf-16"), 1, "UTF-16"),
    "NUL byte": ("csv", GOOD + b"b\0b,1,300,4\n", 5, "NUL"),
    "control byte": ("csv", GOOD + b"b\x1b[31m,1,300,4\n", 5, "control character U+001B"),
    "quote never closed": ("csv", GOOD + b'"bob,1,300,4\nann,1,300,4\n', 5, "runs on to line 6"),
    "text after a quote": ("csv", GOOD + b'"bob"by,1,300,4\n', 5, "expected after"),
    "ragged: short": ("csv", GOOD + b"bob,1,300\n", 5, "3 fields where the header has 4"),
    "ragged: long": ("csv", GOOD + b"bob,1,300,4,5\n", 5, "5 fields where the header has 4"),
    "separator: semicolons": ("csv", GOOD.replace(b",", b";"), 1, "no column 'user_id'"),
    "separator: tabs in csv": ("csv", GOOD.replace(b",", b"\t"), 1, "no column 'user_id'"),
    "header: none": ("csv", GOOD.split(b"\n", 1)[1], 1, "no column 'user_id'"),
    "header: a column twice": ("csv", GOOD.replace(b"rating", b"item_id"), 1, "same"),
    "header: no name": ("csv", GOOD.replace(b"rating", b" "), 1, "no name"),
    "header: other names": ("csv", GOOD.replace(b"user_id", b"user"), 1, "'--user-col'".strip("'")),
    "typed header: no type": ("inter", GOOD.replace(b",", b"\t"), 1, "typed column"),
    "typed header: unknown type": ("inter", b"user_id:text\titem_id:token\n007\t1\n", 1, "typed column"),
    "number: rating": ("csv", GOOD + b"bob,1,300,four\n", 5, "rating 'four' is no number"),
    "number: infinite rating": ("csv", GOOD + b"bob,1,300,inf\n", 5, "rating 'inf' is no number"),
    "time: words": ("csv", GOOD + b"bob,1,yesterday,4\n", 5, "'yesterday' is no time"),
    "time: blank": ("csv", GOOD + b"bob,1,,4\n", 5, "is no time"),
    "time: ms among s": ("csv", GOOD + b"bob,1,1700000000000,4\n", 5, "milliseconds, most others are seconds"),
    "time: ISO among s": ("csv", GOOD + b"bob,1,2024-01-31T10:00:00,4\n", 5, "ISO 8601, most others are seconds"),
    "time: us among s": ("csv", GOOD + b"bob,1,1700000000000000,4\n", 5, "microseconds, most others are seconds"),
    "time: too many digits": (
        "csv",
        GOOD + b"bob,1,17000000000000000000000,4\n",
        5,
        "neither seconds nor milliseconds",
    ),
    "time: digits of another script": ("csv", GOOD + "bob,1,\u0661\u0662,4\n".encode(), 5, "is no time"),
    "only a header": ("csv", GOOD.split(b"\n", 1)[0] + b"\n", None, "no usable interaction"),
    "line of 2 MB": ("csv", GOOD + b"b" * (2 << 20) + b",1,300,4\n", 5, "longer than 1 MiB"),
    "duplicate interaction": ("csv", GOOD + b"007,1,100,2\n", 5, "same user, item and time as line 2"),
    "unknown item": ("csv", GOOD + b"bob,2,300,4\n", 5, "item '2' is not among the items"),
    "blank user": ("csv", GOOD + b"  ,1,300,4\n", 5, "user_id is blank"),
    "JSON: broken": ("jsonl", JSON + b'{"user_id":\n', 2, "not JSON"),
    "JSON: array": ("jsonl", JSON + b"[1,2]\n", 2, "not a JSON object"),
    "JSON: key missing": ("jsonl", JSON + b'{"user_id":"a","timestamp":5}\n', 2, "item_id is missing"),
    "JSON: key twice": ("jsonl", JSON + b'{"user_id":"a","user_id":"b"}\n', 2, "twice"),
    "JSON: null": ("jsonl", JSON + b'{"user_id":null,"item_id":"1","timestamp":5}\n', 2, "user_id is missing"),
    "JSON: object as id": ("jsonl", JSON + b'{"user_id":{},"item_id":"1","timestamp":5}\n', 2, "no text"),
    "JSON: NaN": ("jsonl", JSON + b'{"user_id":"a","item_id":"1","timestamp":NaN}\n', 2, "NaN"),
    "JSON: lone surrogate": ("jsonl", JSON + b'{"user_id":"\\ud800","item_id":"1","timestamp":5}\n', 2, "U+D800"),
    "JSON: nested deeply": ("jsonl", JSON + b'{"a":' * 100_000 + b"\n", 2, "not JSON"),
    "Parquet: other bytes": ("parquet", b"PAR1 this is none PAR1", None, "no sound Parquet file"),
    "gz: cut off": ("csv.gz", gzip.compress(GOOD * 100)[:60], None, "damaged"),
    "gz: other bytes": ("csv.gz", GOOD, None, "damaged"),
}

BAD_ITEMS = {
    "duplicate item": (GOOD_ITEMS + b"1,Aliens\n", 5, "item '1' was on line 2 already"),
    "blank title": (GOOD_ITEMS + b"4, \n", 5, "title is blank"),
    "blank id": (GOOD_ITEMS + b",Big\n", 5, "item_id is blank"),
    "line break in a title": (GOOD_ITEMS + b'4,"Big\nFish"\n', 5, "U+000A"),
    "no title column": (GOOD_ITEMS.replace(b"title", b"name"), 1, "--title-col"),
    "only a header": (b"item_id,title\n", None, "no usable item"),
}


@pytest.fixture
def items(tmp_path: Path) -> Path:
    path = tmp_path / "items.csv"
    path.write_bytes(GOOD_ITEMS)
    return path


def import_into(store: Store, prepared: Callable[[], Prepared]) -> None:
    """What adding a data set does: prepare, then store."""
    ready = prepared()
    store.datasets.add(ready.dataset, source=ready.source, licence=ready.licence, split=ready.split)


def assert_refused(store: Store, file: str, line: int | None, words: str, prepared: Callable[[], Prepared]) -> None:
    before = dump(store)
    with pytest.raises(InputError) as caught:
        import_into(store, prepared)
    message = str(caught.value)
    assert (f"{file}:{line}: " if line else file) in message
    assert words in message
    assert "\n" not in message
    assert ";" in message  # a hint follows
    assert dump(store) == before


@pytest.mark.parametrize("family", BAD_INTERACTIONS)
def test_a_malformed_file_of_interactions_changes_nothing(
    family: str, items: Path, tmp_path: Path, toy_store: Store
) -> None:
    ending, content, line, words = BAD_INTERACTIONS[family]
    path = tmp_path / f"log.{ending}"
    path.write_bytes(content)
    assert_refused(
        toy_store, path.name, line, words, lambda: prepare("mine", interactions=path, items=items, format=None)
    )


PACKINGS = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstandard.ZstdCompressor().compress,
}


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("family", [family for family, (ending, *_) in BAD_INTERACTIONS.items() if "." not in ending])
def test_a_malformed_file_that_is_packed_changes_nothing(
    family: str, packing: str, items: Path, tmp_path: Path, toy_store: Store
) -> None:
    ending, content, line, words = BAD_INTERACTIONS[family]
    if ending == "parquet":
        words = "Parquet"
    path = tmp_path / f"log.{ending}.{packing}"
    path.write_bytes(PACKINGS[packing](content))
    assert_refused(toy_store, path.name, line, words, lambda: prepare("mine", interactions=path, items=items))


@pytest.mark.parametrize("family", BAD_ITEMS)
def test_a_malformed_file_of_items_changes_nothing(family: str, tmp_path: Path, toy_store: Store) -> None:
    content, line, words = BAD_ITEMS[family]
    items = tmp_path / "items.csv"
    items.write_bytes(content)
    log = tmp_path / "log.csv"
    log.write_bytes(GOOD)
    assert_refused(toy_store, "items.csv", line, words, lambda: prepare("mine", interactions=log, items=items))


@pytest.mark.parametrize("which", ["log.csv", "items.csv"])
def test_an_empty_or_missing_file_is_refused(which: str, items: Path, tmp_path: Path, toy_store: Store) -> None:
    log = tmp_path / "log.csv"
    log.write_bytes(GOOD)
    (tmp_path / which).write_bytes(b"")
    assert_refused(toy_store, which, None, "is empty", lambda: prepare("mine", interactions=log, items=items))
    (tmp_path / which).unlink()
    assert_refused(toy_store, which, None, "no file", lambda: prepare("mine", interactions=log, items=items))


def test_a_broken_parquet_file_is_refused(items: Path, tmp_path: Path, toy_store: Store) -> None:
    path = write_as("parquet", tmp_path, "log", INTERACTIONS)
    content = bytearray(path.read_bytes())
    content[4 : len(content) // 2] = bytes(len(content) // 2 - 4)
    path.write_bytes(content)
    assert_refused(toy_store, "log.parquet", None, "Parquet", lambda: prepare("mine", interactions=path, items=items))


def test_skip_bad_keeps_the_rest_and_lists_each_line(tmp_path: Path) -> None:
    bad = [
        b"bob,9,300,4",
        b"b\0b,1,300,4",
        b"andr\xe9,1,300,4",
        b"bob,1",
        b"bob,1,soon,4",
        b"007,1,100,4",
        b"bob,1,17e11,1",
    ]
    log = tmp_path / "log.csv"
    log.write_bytes(GOOD + b"\n".join(bad) + b"\nann,1e5,400,4\n")
    items = tmp_path / "items.csv"
    items.write_bytes(GOOD_ITEMS + b"4,\n1,Again\n5,Big\n")
    noted: list[str] = []

    class Notes:
        def note(self, message: str) -> None:
            noted.append(message)

        def picked(self, what: str, value: str, why: str) -> None:
            pass

    prepared = prepare("mine", interactions=log, items=items, skip_bad=True, report=Notes())
    lines = [message.split(": ")[0] for message in prepared.rejected]
    assert lines == ["items.csv:5", "items.csv:6", *(f"log.csv:{line}" for line in (5, 6, 7, 8, 9, 11, 10))]
    assert [note for note in noted if note.startswith("skipped ")] == [f"skipped {m}" for m in prepared.rejected]
    assert prepared.dataset.catalog.item_ids == ("1", "02", "1e5", "5")
    assert prepared.dataset.sequences.user_ids == ("007", "bob", "ann")
    assert prepared.split["interactions_read"] == 11
    account = prepared.split["account"]["interactions"]
    assert (account["read"], account["kept"], sum(account["rejected"].values())) == (11, 4, 7)


def test_a_runaway_quote_is_listed_with_all_the_lines_it_swallows(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_bytes(GOOD + b'"ann,1,300,4\nann,02,400,4\n')
    items = tmp_path / "items.csv"
    items.write_bytes(GOOD_ITEMS)
    prepared = prepare("mine", interactions=log, items=items, skip_bad=True)
    assert len(prepared.rejected) == 1
    assert "runs on to line 6" in prepared.rejected[0]


def test_dates_without_dashes_are_not_taken_for_seconds(tmp_path: Path) -> None:
    items = write_table(tmp_path / "items.csv", ITEMS)
    log = write_table(
        tmp_path / "log.csv", [("user_id", "item_id", "timestamp"), ("a", "1", "20240131"), ("a", "02", "20240201")]
    )
    times = prepare("mine", interactions=log, items=items).dataset.sequences.timestamps
    assert times is not None
    assert times.tolist() == [1706659200, 1706745600]


def test_a_wrong_separator_is_named(tmp_path: Path) -> None:
    items = write_table(tmp_path / "items.csv", ITEMS)
    log = write_table(tmp_path / "log.csv", INTERACTIONS, ";")
    with pytest.raises(InputError, match="one piece with ';' in it"):
        prepare("mine", interactions=log, items=items)


def test_a_column_that_was_named_must_be_there(tmp_path: Path) -> None:
    items = write_table(tmp_path / "items.csv", ITEMS)
    log = write_table(tmp_path / "log.csv", INTERACTIONS)
    with pytest.raises(InputError, match="no column 'when'; columns: 'user_id', 'item_id', 'timestamp', 'rating'"):
        prepare("mine", interactions=log, items=items, time_col="when")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"format": "xml"}, "no --format 'xml'; choices: csv"),
        ({"interactions": None}, "--interactions is not there"),
    ],
)
def test_options_that_make_no_sense_name_the_choices(given: dict[str, object], words: str, tmp_path: Path) -> None:
    items = write_table(tmp_path / "items.csv", ITEMS)
    log = write_table(tmp_path / "log.csv", INTERACTIONS)
    with pytest.raises(UsageError, match=words):
        prepare("mine", **{"interactions": log, "items": items, **given})


def test_an_unknown_ending_asks_for_the_format(tmp_path: Path) -> None:
    log = write_table(tmp_path / "log.txt", INTERACTIONS)
    items = write_table(tmp_path / "items.csv", ITEMS)
    with pytest.raises(UsageError, match=r"'log\.txt'.*--format csv"):
        prepare("mine", interactions=log, items=items)


def test_without_items_titles_must_come_from_somewhere(tmp_path: Path) -> None:
    log = write_table(tmp_path / "log.csv", INTERACTIONS)
    with pytest.raises(InputError, match=r"no column 'title'.*--title-col.*--items FILE.*--untitled id"):
        prepare("mine", interactions=log)
