"""Files of recommendations read back as they were written, and appear whole or not at all."""

import csv
import io
import json
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchrec.data.parquet import open_parquet
from patchrec.data.writers import COLUMNS, format_for, print_rows, write_rows
from patchrec.errors import UsageError

ROWS = [
    ("=1+1", "007", -0.1, 1, 0.9),
    ("=1+1", "@SUM(A1)", -2.5e-17, 2, 1e-300),
    ("007", "+49", -1e300, 1, None),
    ("-5", "😀 𐍈", -3.3333333333333335, 2, 0.1),
    ('a,"b"', "'quoted'", 0.0, 1, 1.0),
    ("1e5", "NA", -1.0, 1, None),
    ("\tx", "line\nbreak", -1.0, 1, None),
]

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
rows = st.lists(
    st.tuples(
        texts,
        texts,
        st.floats(allow_nan=False, allow_infinity=False),
        st.integers(1, 1 << 31 - 1),
        st.none() | st.floats(0, 1),
    ),
    max_size=5,
)


def parquet_rows(path: Path) -> list[tuple]:
    with ExitStack() as stack:
        columns, batches = open_parquet(path, stack)
        assert columns == tuple(COLUMNS)
        found = [batch.row(place) for batch in batches for place in range(len(batch))]
        return [(row["user_id"], row["item_id"], row["score"], int(row["rank"]), row["probability"]) for row in found]


def printed(kind: str, given_rows: list) -> str:
    stream = io.StringIO()
    print_rows(stream, kind, given_rows)
    return stream.getvalue()


def test_parquet_has_typed_columns_and_every_byte_of_ids(tmp_path: Path) -> None:
    import duckdb

    write_rows(tmp_path / "recs.parquet", "parquet", ROWS)
    assert parquet_rows(tmp_path / "recs.parquet") == ROWS
    with duckdb.connect() as db:
        described = db.execute("DESCRIBE SELECT * FROM read_parquet(?)", [str(tmp_path / "recs.parquet")]).fetchall()
    assert {name: kind for name, kind, *_ in described} == COLUMNS


def test_the_same_rows_make_the_same_parquet_and_none_make_an_empty_one(tmp_path: Path) -> None:
    for name in ("it's.parquet", "b*.parquet"):
        write_rows(tmp_path / name, "parquet", iter(ROWS))
    assert (tmp_path / "it's.parquet").read_bytes() == (tmp_path / "b*.parquet").read_bytes()
    write_rows(tmp_path / "none.parquet", "parquet", [])
    assert parquet_rows(tmp_path / "none.parquet") == []


@given(rows)
def test_json_lines_read_back_equal_and_are_ascii(given_rows: list) -> None:
    text = printed("jsonl", given_rows)
    assert text.isascii()
    assert [tuple(json.loads(line).values()) for line in text.splitlines()] == given_rows
    assert all(list(json.loads(line)) == list(COLUMNS) for line in text.splitlines())


@given(rows)
def test_csv_reads_back_equal_but_for_the_mark_before_formulas(given_rows: list) -> None:
    header, *lines = csv.reader(io.StringIO(printed("csv", given_rows), newline=""))
    assert header == list(COLUMNS)
    for line, row in zip(lines, given_rows, strict=True):
        for cell, text in zip(line[:2], row[:2], strict=True):
            assert cell == ("'" + text if text[:1] in tuple("=+-@\t\r\n") else text)
        assert (float(line[2]), int(line[3])) == row[2:4]
        assert (float(line[4]) if line[4] else None) == row[4]


def test_no_cell_of_csv_is_a_formula_and_numbers_stay_numbers() -> None:
    lines = list(csv.reader(io.StringIO(printed("csv", ROWS), newline="")))[1:]
    assert [line[0] for line in lines] == ["'=1+1", "'=1+1", "007", "'-5", 'a,"b"', "1e5", "'\tx"]
    assert lines[0][2] == "-0.1"


def test_what_is_no_finite_number_is_null_in_json() -> None:
    assert '"score":null' in printed("jsonl", [("u", "i", float("-inf"), 1, None)])


@pytest.mark.parametrize(
    ("output", "named", "expected"),
    [
        ("a.parquet", None, "parquet"),
        ("a.PQ", None, "parquet"),
        ("a.csv", None, "csv"),
        ("a.ndjson", None, "jsonl"),
        ("a.txt", "csv", "csv"),
        ("a.csv", "jsonl", "jsonl"),
        ("-", None, "jsonl"),
        ("-", "csv", "csv"),
    ],
)
def test_the_format_is_the_named_one_or_that_of_the_ending(output, named, expected) -> None:
    assert format_for(output, named) == expected


@pytest.mark.parametrize(("output", "named", "word"), [("recs.txt", None, r"\.parquet"), ("-", "parquet", "stdout")])
def test_a_format_that_cannot_be_is_refused(output, named, word) -> None:
    with pytest.raises(UsageError, match=word):
        format_for(output, named)


def test_parquet_that_cannot_be_written_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"recs\.parquet"):
        write_rows(tmp_path / "missing" / "recs.parquet", "parquet", ROWS)
