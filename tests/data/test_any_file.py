"""Any bytes under any options are a data set or an error in one line, and every row is accounted for."""

import bz2
import gzip
import lzma
import zipfile
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from patchrec.data.prepare import prepare
from patchrec.data.recipe import make_recipe
from patchrec.data.understand import understand
from patchrec.errors import InputError, UsageError

GOOD = "user_id,item_id,timestamp,rating,title\n007,1,100,4,Alien\nbob,02,150,5,Heat\n007,02,200,3,Heat\n"
ITEMS = "item_id,title\n1,Alien\n02,NA\n1e5,Heat\n"
WORDS = [
    "1", "02", "007", ",", ";", "::", "\t", "|", "\n", "\r\n", "\r", '"', "'", "{", "}", "[", "]", ":", "u'x'", "None",
    "nan", "user_id", "item_id", "timestamp", "title", "100", "1700000000", "20240131", "31.12.2010", "12/1/2010 8:26",
    "2024-01-31", "Wed, 29 Aug 2012 17:12:58 EST", "-", "1e999", "\0", "\x1b", "\u0661", "é", " ", "Unnamed: 0",
    "__import__('os')",
]  # fmt: skip
PIECES = st.sampled_from(WORDS).map(str.encode) | st.just(b"\xff") | st.just(b"\xff\xfe")
CONTENTS = (
    st.binary(max_size=120)
    | st.lists(PIECES, max_size=50).map(b"".join)
    | st.lists(PIECES, max_size=20).map(b"".join).map(GOOD.encode().__add__)
    | st.lists(PIECES, max_size=20).map(b"".join).map(GOOD.replace(",", ";").encode("utf-16").__add__)
)
PACKINGS = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.ZstdCompressor().compress,
}
ENDINGS = [".csv", ".tsv", ".json", ".jsonl", ".inter", ".dat", ".parquet"]
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "format": st.sampled_from(["csv", "tsv", "jsonl", "parquet", "recbole"]),
        "sep": st.sampled_from([";", "::", "\\t", "\t", "|", "é", " ", '"']),
        "encoding": st.sampled_from(["latin-1", "utf-16", "cp1252", "ascii", "utf-7", "idna", "rot13", "no"]),
        "quotes": st.sampled_from(["group", "text"]),
        "columns": st.sampled_from(
            [("user_id", "item_id"), ("user_id", "item_id", "timestamp"), ("a",), ("", "user_id")]
        ),
        "header": st.booleans(),
        "time_format": st.sampled_from(["%Y", "%d.%m.%Y", "s", "ms", "ns", "excel", "%Z", "%Q"]),
        "user_col": st.sampled_from(["user_id", "title", "no", "no|user_id", "|"]),
        "rating_col": st.just("rating"),
        "order_col": st.just("rating"),
        "session_col": st.just("title"),
        "title": st.sampled_from(["{title}", "{title} ({item_id})", "{no}", "{"]),
        "fields": st.sampled_from([("rating",), ("no", "a|title"), ("|",), ("",)]),
        "html": st.booleans(),
        "item_pattern": st.sampled_from(["[0-9]+", "(", "(a)(b)", "(.)", ""]),
        "rows": st.sampled_from(["rating > 3", "no = 1", "1; drop", "title like 'A%'"]),
        "missing": st.sampled_from([("nan",), ("", "1")]),
        "repeats": st.sampled_from(["refuse", "keep", "first", "last"]),
        "duplicate_items": st.sampled_from(["refuse", "first", "last", "most"]),
        "untitled": st.sampled_from(["refuse", "drop", "id"]),
        "min_rating": st.floats(-1, 6),
        "core": st.integers(1, 3),
        "min_history": st.integers(1, 3),
        "sample_users": st.integers(1, 3),
        "cold_items": st.floats(0, 1),
    },
)


def assert_one_line(error: Exception) -> None:
    assert "\n" not in str(error)


def check(content: bytes, ending: str, packing: str, options: dict, *, skip_bad: bool, own: bool, zipped: bool) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        log, items = folder / f"log{ending}{packing}", folder / "items.csv"
        log.write_bytes(PACKINGS[packing](content))
        items.write_text(ITEMS)
        if zipped:
            buffer = BytesIO()
            with zipfile.ZipFile(buffer, "w") as archive:
                archive.write(log, log.name)
            log = folder / "log.zip"
            log.write_bytes(buffer.getvalue())
        files = {"interactions": log} | ({} if own else {"items": items, "items_format": "csv", "items_sep": ","})
        everything = {**options, **files, "skip_bad": skip_bad}
        try:
            found = prepare("mine", **everything)
        except (InputError, UsageError) as error:
            assert_one_line(error)
        else:
            account = found.split["account"]["interactions"]
            out = sum(account["rejected"].values()) + sum(account["left_out"].values())
            assert account["read"] == account["kept"] + out
            assert account["kept"] == len(found.dataset.sequences.items) > 0
        try:
            understand(make_recipe(everything))
        except (InputError, UsageError) as error:
            assert_one_line(error)


CASES = st.fixed_dictionaries(
    {
        "content": CONTENTS,
        "ending": st.sampled_from(ENDINGS),
        "packing": st.sampled_from(list(PACKINGS)),
        "options": OPTIONS,
        "skip_bad": st.booleans(),
        "own": st.booleans(),
        "zipped": st.booleans(),
    }
)


@given(CASES)
@settings(max_examples=150, deadline=None)
def test_any_bytes_under_any_options_are_a_data_set_or_one_line(case):
    check(**case)


@pytest.mark.slow
@given(CASES)
@settings(max_examples=5000, deadline=None)
def test_any_bytes_under_any_options_over_many_files(case):
    check(**case)
