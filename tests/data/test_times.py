"""Times in every form that logs have: each comes back exactly to the second, or is refused with the way on."""

import json
import tempfile
import time
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from notes import Notes
from written_tables import database, write_as

from patchrec.data.prepare import Prepared, prepare
from patchrec.errors import InputError, UsageError

FORMATS = ("csv", "tsv", "jsonl", "parquet", "inter")


def utc(moment: str) -> int:
    """Unix seconds of ISO 8601 without a zone."""
    return int(datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp())


def write_log(folder: Path, written: list[str], kind: str = "csv", column: str = "timestamp") -> Path:
    """A user a row, so that the rows keep their order whatever their times are."""
    rows = [("user_id", "item_id", column), *((f"u{place}", "1", text) for place, text in enumerate(written))]
    return write_as(kind, folder, "log", rows)


def write_long_log(folder: Path, written: list[str], kind: str = "csv") -> Path:
    """The same with a row of almost 1 MiB before, so that none is read in one block with the header."""
    first = ("first", "1", written[0], "x" * ((1 << 20) - 30 - len(written[0])))
    rows = [("user_id", "item_id", "timestamp", "more"), first]
    return write_as(kind, folder, "log", [*rows, *((f"u{n}", "1", text, "") for n, text in enumerate(written))])


def read(path: Path, **options: object) -> tuple[Prepared, list[str]]:
    items = path.parent / "items.csv"
    items.write_text("item_id,title\n1,A\n2,B\n")
    report = Notes()
    found = prepare("shop", interactions=path, items=items, items_format="csv", report=report, **options)
    return found, report.notes


def times(found: Prepared) -> list[int]:
    assert found.dataset.sequences.timestamps is not None
    return found.dataset.sequences.timestamps.tolist()


def seconds(folder: Path, written: list[str], kind: str = "csv", **options: object) -> list[int]:
    """What a column of times becomes, row by row."""
    return times(read(write_log(folder, written, kind), **options)[0])


def account(found: Prepared) -> dict:
    return found.split["account"]["interactions"]


def parquet(path: Path, select: str) -> Path:
    database().execute("SET TimeZone = 'UTC'")
    database().execute(f"COPY ({select}) TO '{path}' (FORMAT parquet)")
    return path


# Digits that are dates


COMPACT = {
    "14 digits": (["20240110103000", "20231231235959"], ["2024-01-10T10:30:00", "2023-12-31T23:59:59"]),
    "12 digits": (["202401101030", "202312312359"], ["2024-01-10T10:30:00", "2023-12-31T23:59:00"]),
    "8 digits": (["20240110", "20231231", "20000229"], ["2024-01-10", "2023-12-31", "2000-02-29"]),
    "12 and 14 digits": (["202401101030", "20231231235959"], ["2024-01-10T10:30:00", "2023-12-31T23:59:59"]),
    "8 digits of the last century": (["19991231", "19700101"], ["1999-12-31", "1970-01-01"]),
}


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("digits", COMPACT)
def test_digits_that_read_as_dates_are_dates(tmp_path, kind, digits):
    written, moments = COMPACT[digits]
    assert seconds(tmp_path, written, kind) == list(map(utc, moments))


@pytest.mark.parametrize("kind", ["csv", "tsv"])
@pytest.mark.parametrize("digits", COMPACT)
def test_digits_that_read_as_dates_are_dates_far_into_a_file(tmp_path, kind, digits):
    written, moments = COMPACT[digits]
    found, _ = read(write_long_log(tmp_path, written, kind))
    assert times(found)[1:] == list(map(utc, moments))
    found, _ = read(write_long_log(tmp_path, [*written, "0", *written], kind), skip_bad=True)
    assert times(found)[1:] == list(map(utc, moments)) * 2
    assert sum(account(found)["rejected"].values()) == 1


@pytest.mark.parametrize("digits", COMPACT)
def test_digits_that_read_as_dates_are_dates_where_they_are_numbers(tmp_path, digits):
    written, moments = COMPACT[digits]
    path = tmp_path / "log.jsonl"
    path.write_text("".join(f'{{"user_id":"u{n}","item_id":"1","timestamp":{t}}}\n' for n, t in enumerate(written)))
    assert times(read(path)[0]) == list(map(utc, moments))
    rows = " UNION ALL ".join(
        f"SELECT {n} AS user_id, 1 AS item_id, {t}::BIGINT AS timestamp" for n, t in enumerate(written)
    )
    assert times(read(parquet(tmp_path / "log.parquet", rows))[0]) == list(map(utc, moments))


@pytest.mark.parametrize("digits", COMPACT)
@pytest.mark.parametrize("bad", ["0", "-1", "", "99999999"])
@pytest.mark.parametrize("place", [0, 1, -1])
def test_one_value_that_is_no_date_is_one_row_that_cannot_be_used(tmp_path, digits, bad, place):
    written, moments = COMPACT[digits]
    written, moments = written * 2, moments * 2
    place = place % (len(written) + 1)
    rows = [*written[:place], bad, *written[place:]]
    with pytest.raises(InputError, match=rf"^log\.csv:{place + 2}: "):
        seconds(tmp_path, rows)
    found, _ = read(tmp_path / "log.csv", skip_bad=True)
    assert times(found) == list(map(utc, moments))
    assert (account(found)["read"], account(found)["kept"]) == (len(rows), len(written))
    assert sum(account(found)["rejected"].values()) == 1


@pytest.mark.parametrize("kind", FORMATS)
def test_one_zero_among_days_leaves_the_days_as_they_are(tmp_path, kind):
    path = write_log(tmp_path, ["20240110", "0", "20240111"], kind)
    with pytest.raises(InputError, match=rf"log\.{kind}:{2 if kind in ('jsonl', 'parquet') else 3}: "):
        read(path)
    assert times(read(path, skip_bad=True)[0]) == [utc("2024-01-10"), utc("2024-01-11")]


@pytest.mark.parametrize("rows", [["0", "20240110"], ["20240110", "0"], ["0", "20240110103000"]])
def test_a_zero_beside_a_single_day_does_not_make_that_day_one_of_1970(tmp_path, rows):
    with pytest.raises(InputError):
        seconds(tmp_path, rows)


@pytest.mark.parametrize("rows", [["20240231", "20240110"], ["20240110", "20240231"]])
def test_a_compact_day_of_no_calendar_does_not_make_the_other_one_of_1970(tmp_path, rows):
    with pytest.raises(InputError):
        seconds(tmp_path, rows)


@pytest.mark.parametrize("value", ["20240231", "20241301", "20240100", "20230229"])
def test_a_compact_day_of_no_calendar_is_a_row_that_cannot_be_used(tmp_path, value):
    rows = ["20240110", value, "20240111"]
    with pytest.raises(InputError, match=r"^log\.csv:3: "):
        seconds(tmp_path, rows)
    assert seconds(tmp_path, rows, skip_bad=True) == [utc("2024-01-10"), utc("2024-01-11")]


@pytest.mark.parametrize("value", ["20240231103000", "20240110250000", "20240110106000", "20240110103060"])
def test_a_compact_moment_of_no_calendar_is_a_row_that_cannot_be_used(tmp_path, value):
    rows = ["20240110103000", value, "20240111103000"]
    with pytest.raises(InputError, match=r"^log\.csv:3: "):
        seconds(tmp_path, rows)
    assert seconds(tmp_path, rows, skip_bad=True) == [utc("2024-01-10T10:30:00"), utc("2024-01-11T10:30:00")]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_days_that_a_data_frame_made_floats_are_not_seconds_of_1970(tmp_path, kind):
    """A column of whole numbers with a gap is written with `.0`."""
    path = tmp_path / f"log.{kind}"
    if kind == "csv":
        path.write_text("user_id,item_id,timestamp\na,1,20240110.0\nb,1,20240111.0\n")
    elif kind == "jsonl":
        path.write_text("".join(f'{{"user_id":"u","item_id":"1","timestamp":2024011{n}.0}}\n' for n in (0, 1)))
    else:
        parquet(
            path,
            "SELECT user_id, '1' AS item_id, t::DOUBLE AS timestamp FROM "
            "(VALUES (1, 20240110), (2, 20240111)) AS log(user_id, t)",
        )
    try:
        found = times(read(path)[0])
    except InputError as error:
        assert "--time-format" in str(error)  # noqa: PT017 - either outcome is right
        return
    assert found == [utc("2024-01-10"), utc("2024-01-11")]


# Numbers


EXCEL = ["45301.5", "45302", "45302.3513888889"]
EXCEL_MOMENTS = ["2024-01-10T12:00:00", "2024-01-11", "2024-01-11T08:26:00"]
NUMBERS = {
    "csv": lambda values: "user_id,item_id,timestamp\n" + "".join(f"u{n},1,{v}\n" for n, v in enumerate(values)),
    "jsonl": lambda values: "".join(
        f'{{"user_id":"u{n}","item_id":"1","timestamp":{v}}}\n' for n, v in enumerate(values)
    ),
}


def numbers(folder: Path, kind: str, values: list[str]) -> Path:
    """A column of times that are numbers where the format has numbers."""
    path = folder / f"log.{kind}"
    if kind == "parquet":
        rows = ", ".join(f"('u{n}', '1', {value}::DOUBLE)" for n, value in enumerate(values))
        return parquet(path, f"SELECT * FROM (VALUES {rows}) AS log(user_id, item_id, timestamp)")
    path.write_text(NUMBERS[kind](values))
    return path


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_days_of_excel_are_refused_with_the_option_that_says_so_and_right_with_it(tmp_path, kind):
    path = numbers(tmp_path, kind, EXCEL)
    with pytest.raises(InputError, match=r"days of Excel.*45301\.5.*--time-format excel"):
        read(path)
    assert times(read(path, time_format="excel")[0]) == list(map(utc, EXCEL_MOMENTS))
    assert times(read(path, time_format="s")[0]) == [45301, 45302, 45302]


@pytest.mark.parametrize("odd", ["0", ""])
def test_one_odd_value_among_days_of_excel_does_not_make_them_seconds(tmp_path, odd):
    with pytest.raises(InputError, match="--time-format excel"):
        seconds(tmp_path, [*EXCEL * 3, odd], skip_bad=True)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_years_are_refused_with_the_option_that_says_so(tmp_path, kind):
    path = numbers(tmp_path, kind, ["2019", "2020"])
    with pytest.raises(InputError, match=r"look like years \(2019\).*--time-format %Y.*--time-format s"):
        read(path)
    assert times(read(path, time_format="s")[0]) == [2019, 2020]


@pytest.mark.parametrize("kind", FORMATS)
def test_years_are_right_where_they_are_said_to_be_years(tmp_path, kind):
    assert seconds(tmp_path, ["2019", "1999"], kind, time_format="%Y") == [utc("2019-01-01"), utc("1999-01-01")]


@pytest.mark.parametrize("odd", ["0", ""])
def test_one_odd_value_among_years_does_not_make_them_seconds(tmp_path, odd):
    with pytest.raises(InputError, match="--time-format %Y"):
        seconds(tmp_path, ["2019", "2020", "2021", odd], skip_bad=True)


UNITS = {
    "s": (["1704882600", "1704882601"], [1704882600, 1704882601]),
    "ms": (["1704882600000", "1704882601999"], [1704882600, 1704882601]),
    "us": (["1704882600000000", "1704882601999999"], [1704882600, 1704882601]),
    "ns": (["1704882600000000000", "1704882601999999999"], [1704882600, 1704882601]),
}


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("said", [False, True])
def test_numbers_since_1970_are_of_the_unit_that_their_size_tells_or_that_is_said(tmp_path, kind, unit, said):
    written, expected = UNITS[unit]
    assert seconds(tmp_path, written, kind, time_format=unit if said else None) == expected


@pytest.mark.parametrize("kind", ["csv", "tsv"])
@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("said", [False, True])
def test_numbers_since_1970_are_the_same_far_into_a_file(tmp_path, kind, unit, said):
    written, expected = UNITS[unit]
    found, _ = read(write_long_log(tmp_path, written, kind), time_format=unit if said else None)
    assert times(found)[1:] == expected


@pytest.mark.parametrize("unit", UNITS)
def test_whole_numbers_of_parquet_are_of_the_unit_that_their_size_tells(tmp_path, unit):
    written, expected = UNITS[unit]
    rows = ", ".join(f"('u{n}', '1', {value}::BIGINT)" for n, value in enumerate(written))
    path = parquet(tmp_path / "log.parquet", f"SELECT * FROM (VALUES {rows}) AS log(user_id, item_id, timestamp)")
    assert times(read(path)[0]) == expected


@given(
    st.lists(st.integers(200_000_000, 4_000_000_000), min_size=1, max_size=30),
    st.sampled_from([*UNITS]),
    st.sampled_from([write_log, write_long_log]),
)
@settings(max_examples=60)
@example([1_000_000_000], "us", write_log)
@example([200_000_000, 999_999_999], "ms", write_long_log)
def test_numbers_since_1970_come_back_exactly(values, unit, write):
    scale = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    with tempfile.TemporaryDirectory() as name:
        found, _ = read(write(Path(name), [str(value * scale + scale - 1) for value in values]))
    assert times(found)[-len(values) :] == values


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("1704882600.75", 1704882600),
        ("1704882600.999", 1704882600),
        ("1704882600.9996", 1704882600),
        ("1704882600.999999", 1704882600),
        ("1.7048826e9", 1704882600),
        ("1704882600.0", 1704882600),
        ("1704882600000.5", 1704882600),
        ("1704882600999.9", 1704882600),
        ("-86400", -86400),
        ("-0.5", -1),
        ("-1500000000000", -1500000000),
    ],
)
def test_fractions_belong_to_the_second_that_they_are_in(tmp_path, written, expected):
    assert seconds(tmp_path, [written]) == [expected]


@pytest.mark.parametrize(
    ("unit", "value", "expected"),
    [
        ("s", "100", 100),
        ("s", "20240110", 20240110),
        ("s", "1704882600.9", 1704882600),
        ("ms", "100000", 100),
        ("ms", "20240110103000", 20240110103),
        ("us", "1999999", 1),
        ("ns", "1999999999", 1),
        ("ns", "9223372036854775807", 9223372036),
        ("us", "-1", -1),
        ("excel", "1", -2208988800 - 86400),
        ("excel", "25569", 0),
        ("excel", "45301.999988425926", 1704931199),
    ],
)
def test_a_unit_that_is_said_holds_whatever_the_numbers_look_like(tmp_path, unit, value, expected):
    assert seconds(tmp_path, [value], time_format=unit) == [expected]


@pytest.mark.parametrize(
    ("options", "value"),
    [
        ({"time_format": "s"}, "1704882600000000"),
        ({"time_format": "s"}, "-99999999999999"),
        ({"time_format": "excel"}, "1704882600"),
        ({"time_format": "ms"}, "1704882600000000000"),
        ({}, "-99999999999"),
        ({}, "1/1/0000"),
    ],
    ids=str,
)
def test_what_is_in_no_year_of_four_digits_ends_in_words(tmp_path, options, value):
    """The message, or the note with its example, is written; nothing breaks on the way."""
    path = write_log(tmp_path, [value, "13/01/2010" if "/" in value else value])
    try:
        _, notes = read(path, **options)
    except InputError:
        return
    assert any("times are" in note for note in notes)


# Written dates


FORMS = [
    ("2019-11-01 00:00:00 UTC", "2019-11-01T00:00:00"),
    ("2019-11-01 10:20:30 UTC", "2019-11-01T10:20:30"),
    ("2019-11-01 10:20:30 GMT", "2019-11-01T10:20:30"),
    ("2019-11-01T10:20:30Z", "2019-11-01T10:20:30"),
    ("2019-11-01T10:20:30.123456789Z", "2019-11-01T10:20:30"),
    ("2019-11-01 10:20:30.999", "2019-11-01T10:20:30"),
    ("2019-11-01T10:20", "2019-11-01T10:20:00"),
    ("2019-11-01", "2019-11-01"),
    ("2019-11-1 1:02", "2019-11-01T01:02:00"),
    ("2019-11-01T10:20:30+01:00", "2019-11-01T09:20:30"),
    ("2019-11-01 10:20:30-05:30", "2019-11-01T15:50:30"),
    ("2019-11-01 10:20:30 +0100", "2019-11-01T09:20:30"),
    ("2019-11-01 10:20:30.5+01:00", "2019-11-01T09:20:30"),
    ("2019-11-01T00:30:00+0100", "2019-10-31T23:30:00"),
    ("2010/12/31 10:00", "2010-12-31T10:00:00"),
    ("2010/12/31", "2010-12-31"),
    ("2010.12.31 10:00:05", "2010-12-31T10:00:05"),
    ("31.12.2010", "2010-12-31"),
    ("31.12.2010 23:59", "2010-12-31T23:59:00"),
    ("31.12.2010, 23:59:58", "2010-12-31T23:59:58"),
    ("31-12-2010 23:59", "2010-12-31T23:59:00"),
    ("31/12/2010 8:26", "2010-12-31T08:26:00"),
    ("12/31/2010 8:26", "2010-12-31T08:26:00"),
    ("12/31/2010", "2010-12-31"),
    ("12/31/2010 12:00:00 AM", "2010-12-31T00:00:00"),
    ("12/31/2010 12:00:00 PM", "2010-12-31T12:00:00"),
    ("12/31/2010 12:59 AM", "2010-12-31T00:59:00"),
    ("12/31/2010 1:00 am", "2010-12-31T01:00:00"),
    ("12/31/2010 2:14:46 PM", "2010-12-31T14:14:46"),
    ("12/31/2010, 11:59:59 p.m.", "2010-12-31T23:59:59"),
    ("Wed, 29 Aug 2012 17:12:58 +0000", "2012-08-29T17:12:58"),
    ("Wed, 29 Aug 2012 17:12:58 GMT", "2012-08-29T17:12:58"),
    ("Wed, 29 Aug 2012 17:12:58 +0200", "2012-08-29T15:12:58"),
    ("29 Aug 2012 17:12:58 -0730", "2012-08-30T00:42:58"),
    ("Wed, 29 Aug 2012 17:12:58 EST", "2012-08-29T22:12:58"),
    ("Wed, 29 Aug 2012 17:12:58 +0200 (CEST)", "2012-08-29T15:12:58"),
    ("Wed Aug 29 17:12:58 2012", "2012-08-29T17:12:58"),
    ("Sat Sep  1 07:02:08 2012", "2012-09-01T07:02:08"),
    ("Wed Aug 29 17:12:58 +0000 2012", "2012-08-29T17:12:58"),
    ("Wed Aug 29 17:12:58 +0200 2012", "2012-08-29T15:12:58"),
    ("Wed Aug 29 17:12:58 UTC 2012", "2012-08-29T17:12:58"),
    ("Nov 5, 2011", "2011-11-05"),
    ("November 5, 2011", "2011-11-05"),
    ("5 Nov 2011", "2011-11-05"),
    ("5 November 2011", "2011-11-05"),
    ("05-Nov-2011", "2011-11-05"),
    ("Nov 5, 2011 14:15:16", "2011-11-05T14:15:16"),
    ("Nov 5, 2011 02:14:46 PM", "2011-11-05T14:14:46"),
]


@pytest.mark.parametrize(("written", "moment"), FORMS)
def test_a_written_date_is_that_date(tmp_path, written, moment):
    assert seconds(tmp_path, [written]) == [utc(moment)]


@pytest.mark.parametrize("kind", FORMATS)
def test_written_dates_are_the_same_in_every_format(tmp_path, kind):
    for written, moment in FORMS[:: 9 if kind == "parquet" else 2]:
        assert seconds(tmp_path, [f" {written}", f"{written} "], kind) == [utc(moment)] * 2, written


OR_REFUSED = [
    ("Nov 5, 2011 2:14 PM", "2011-11-05T14:14:00"),
    ("Nov 5, 2011, 2:14 PM", "2011-11-05T14:14:00"),
    ("Nov 5, 2011, 2:14:46 PM", "2011-11-05T14:14:46"),
    ("5 Nov 2011 2:14:46 PM", "2011-11-05T14:14:46"),
    ("5 November 2011 2:14 PM", "2011-11-05T14:14:00"),
    ("5 Nov 2011, 2:14 PM", "2011-11-05T14:14:00"),
    ("05-Nov-2011 2:14:46 PM", "2011-11-05T14:14:46"),
    ("12 Aug 2012 12:00 AM", "2012-08-12T00:00:00"),
    ("Wed, 29 Aug 2012 17:12:58 CEST", "2012-08-29T15:12:58"),
    ("Wed Aug 29 17:12:58 CEST 2012", "2012-08-29T15:12:58"),
    ("Wed Aug 29 17:12:58 JST 2012", "2012-08-29T08:12:58"),
    ("Wed, 29 Aug 2012 17:12:58 +02:00", "2012-08-29T15:12:58"),
    ("29 Aug 2012 17:12:58 UTC+2", "2012-08-29T15:12:58"),
    ("29 Aug 2012 17:12:58 +2", "2012-08-29T15:12:58"),
    ("Wed Aug 29 2012 17:12:58 GMT+0200 (CEST)", "2012-08-29T15:12:58"),
    ("Wed Aug 29 2012 17:12:58 GMT-0700", "2012-08-30T00:12:58"),
    ("2012-08-29 17:12:58 CEST", "2012-08-29T15:12:58"),
    ("2012/08/29 17:12:58 +0200", "2012-08-29T15:12:58"),
    ("2012-08-29 5:12:58 PM +0200", "2012-08-29T15:12:58"),
    ("29/08/2012 17:12:58 +0200", "2012-08-29T15:12:58"),
    ("12/31/10 8:26", "2010-12-31T08:26:00"),
    ("31.12.10", "2010-12-31"),
]


@pytest.mark.parametrize(("written", "moment"), OR_REFUSED)
def test_what_follows_the_clock_is_respected_or_the_time_is_refused(tmp_path, written, moment):
    """Half a day, a zone that is no number: never left out without a word."""
    try:
        found = seconds(tmp_path, [written])
    except InputError as error:
        assert "log.csv:2: timestamp" in str(error)  # noqa: PT017 - either outcome is right
        return
    assert found == [utc(moment)]


@pytest.mark.parametrize("words", ["banana", "blah blah", "(what)", "PM", "2012", "+9900"])
def test_words_after_a_time_make_it_none(tmp_path, words):
    with pytest.raises(InputError, match=r"log\.csv:2: timestamp '.*' is no time"):
        seconds(tmp_path, [f"Wed, 29 Aug 2012 17:12:58 {words}"])


@pytest.mark.parametrize("written", ["Wed Aug 29 17:12:58 EDT 2012", "Wed Aug 29 17:12:58 EST 2012"])
@pytest.mark.parametrize("form", [None, "%a %b %d %H:%M:%S %Z %Y"])
def test_the_zone_of_this_machine_changes_no_time(tmp_path, monkeypatch, written, form):
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        found = seconds(tmp_path, [written], time_format=form)
    except InputError as error:
        assert "log.csv:2: timestamp" in str(error)  # noqa: PT017 - refused is right, too
        return
    finally:
        monkeypatch.undo()
        time.tzset()
    assert found == [utc("2012-08-29T21:12:58" if "EDT" in written else "2012-08-29T22:12:58")]


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata", "Pacific/Auckland"])
def test_a_time_without_a_zone_is_utc_on_every_machine(tmp_path, monkeypatch, zone):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        found = [seconds(tmp_path, [text]) for text, _ in FORMS]
        stamps = parquet(
            tmp_path / "log.parquet",
            "SELECT 1 AS user_id, 1 AS item_id, TIMESTAMPTZ '2019-11-01 10:20:30+00' AS timestamp",
        )
        typed = times(read(stamps)[0])
    finally:
        monkeypatch.undo()
        time.tzset()
    assert found == [[utc(moment)] for _, moment in FORMS]
    assert typed == [utc("2019-11-01T10:20:30")]


# Which is first, day or month


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("sign", ["/", ".", "-"])
def test_one_value_above_12_tells_the_order_for_the_column(tmp_path, kind, sign):
    us = [text.replace("/", sign) for text in ("12/1/2010 8:26", "1/2/2011 9:00", "12/13/2010 23:59")]
    assert seconds(tmp_path, us, kind) == list(
        map(utc, ("2010-12-01T08:26:00", "2011-01-02T09:00:00", "2010-12-13T23:59:00"))
    )
    world = [text.replace("/", sign) for text in ("12/1/2010 8:26", "1/2/2011 9:00", "13/12/2010 23:59")]
    assert seconds(tmp_path, world, kind) == list(
        map(utc, ("2010-01-12T08:26:00", "2011-02-01T09:00:00", "2010-12-13T23:59:00"))
    )


@pytest.mark.parametrize("kind", FORMATS)
def test_the_order_is_asked_for_where_nothing_tells(tmp_path, kind):
    path = write_log(tmp_path, ["12/1/2010 8:26", "1/2/2011 9:00", "5/5/2011 9:00"], kind)
    with pytest.raises(InputError, match=r"12/1/2010 may be either.*--time-format.*'%d/%m/%Y %H:%M'.*'%m/%d/%Y"):
        read(path)
    with pytest.raises(InputError, match="--time-format"):
        read(path, skip_bad=True)
    found, _ = read(path, time_format="%m/%d/%Y %H:%M")
    assert times(found) == list(map(utc, ("2010-12-01T08:26:00", "2011-01-02T09:00:00", "2011-05-05T09:00:00")))
    found, _ = read(path, time_format="%d/%m/%Y %H:%M")
    assert times(found) == list(map(utc, ("2010-01-12T08:26:00", "2011-02-01T09:00:00", "2011-05-05T09:00:00")))


@pytest.mark.parametrize("kind", FORMATS)
def test_dates_of_both_orders_are_refused(tmp_path, kind):
    path = write_log(tmp_path, ["12/31/2010 8:26", "31/12/2010 9:00"], kind)
    for options in ({}, {"skip_bad": True}):
        with pytest.raises(InputError, match=r"some have the day first and some the month.*--time-format"):
            read(path, **options)


def test_the_order_is_decided_over_all_files(tmp_path):
    paths = [tmp_path / name for name in ("a.csv", "b.csv")]
    paths[0].write_text("user_id,item_id,timestamp\na,1,12/1/2010 8:26\n")
    paths[1].write_text("user_id,item_id,timestamp\nb,1,13/1/2010 8:26\n")
    (tmp_path / "items.csv").write_text("item_id,title\n1,A\n")
    found = prepare("shop", interactions=paths, items=tmp_path / "items.csv")
    assert times(found) == [utc("2010-01-12T08:26:00"), utc("2010-01-13T08:26:00")]


IMPOSSIBLE = {
    "31.02. among days first": ("31.02.2010", ["30.01.2010", "01.02.2010"], ["2010-01-30", "2010-02-01"]),
    "30/2 among days first": ("30/2/2010", ["30/1/2010", "1/2/2010"], ["2010-01-30", "2010-02-01"]),
    "29.02. of a common year": ("29.02.2011", ["30.01.2010", "29.02.2012"], ["2010-01-30", "2012-02-29"]),
    "31.04.": ("31.04.2010", ["30.04.2010"], ["2010-04-30"]),
    "2/30 among months first": ("2/30/2010", ["1/30/2010", "2/1/2010"], ["2010-01-30", "2010-02-01"]),
    "11/31 with a clock": ("11/31/2010 8:00", ["11/30/2010 8:00"], ["2010-11-30T08:00:00"]),
    "month 13": ("13/13/2010", ["13/12/2010"], ["2010-12-13"]),
    "day 0": ("0/12/2010", ["13/12/2010"], ["2010-12-13"]),
    "day 32": ("32.01.2010", ["31.01.2010"], ["2010-01-31"]),
    "year 0": ("31.01.0000", ["31.01.2010"], ["2010-01-31"]),
    "25:00": ("31.01.2010 25:00", ["31.01.2010 23:00"], ["2010-01-31T23:00:00"]),
    "10:60": ("31.01.2010 10:60", ["31.01.2010 10:59"], ["2010-01-31T10:59:00"]),
    "13 PM": ("1/31/2010 13:00 PM", ["1/31/2010 1:00 PM"], ["2010-01-31T13:00:00"]),
    "0 AM": ("1/31/2010 0:30 AM", ["1/31/2010 12:30 AM"], ["2010-01-31T00:30:00"]),
    "ISO, 31 February": ("2010-02-31", ["2010-02-28"], ["2010-02-28"]),
    "ISO, month 13": ("2010-13-01", ["2010-12-01"], ["2010-12-01"]),
    "ISO, 25:00": ("2010-02-01T25:00:00", ["2010-02-01T23:00:00"], ["2010-02-01T23:00:00"]),
    "ISO, zone of 99 hours": ("2010-02-01T10:00:00+99:00", ["2010-02-01T23:00:00"], ["2010-02-01T23:00:00"]),
    "slashes, 31 February": ("2010/02/31 10:00", ["2010/02/28 10:00"], ["2010-02-28T10:00:00"]),
    "RFC 2822, 31 February": (
        "Thu, 31 Feb 2012 10:00:00 +0000",
        ["Wed, 29 Feb 2012 10:00:00 +0000"],
        ["2012-02-29T10:00:00"],
    ),
    "RFC 2822, 25:00": (
        "Thu, 1 Mar 2012 25:00:00 +0000",
        ["Wed, 29 Feb 2012 10:00:00 +0000"],
        ["2012-02-29T10:00:00"],
    ),
    "a name, 31 February": ("Feb 31, 2012", ["Feb 29, 2012"], ["2012-02-29"]),
    "words": ("yesterday", ["2012-02-29"], ["2012-02-29"]),
    "a clock alone": ("10:30:00", ["2012-02-29"], ["2012-02-29"]),
}


@pytest.mark.parametrize("fault", IMPOSSIBLE)
@pytest.mark.parametrize("first", [True, False])
def test_an_impossible_date_is_a_row_that_cannot_be_used(tmp_path, fault, first):
    bad, good, moments = IMPOSSIBLE[fault]
    rows = [bad, *good] if first else [*good, bad]
    with pytest.raises(InputError, match=rf"^log\.csv:{2 if first else len(rows) + 1}: "):
        seconds(tmp_path, rows)
    found, _ = read(tmp_path / "log.csv", skip_bad=True)
    assert times(found) == list(map(utc, moments))
    assert sum(account(found)["rejected"].values()) == 1


def test_an_impossible_date_is_one_with_the_form_named_too(tmp_path):
    path = write_log(tmp_path, ["31.01.2010", "31.02.2010"])
    with pytest.raises(InputError, match=r"log\.csv:3: timestamp '31\.02\.2010' is not of the form '%d\.%m\.%Y'"):
        read(path, time_format="%d.%m.%Y")


# The form is named


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    ("form", "written", "moment"),
    [
        ("%d.%m.%Y %H:%M", "05.04.2010 10:30", "2010-04-05T10:30:00"),
        ("%m/%d/%y %I:%M %p", "4/5/10 12:30 AM", "2010-04-05T00:30:00"),
        ("%Y%j", "2024032", "2024-02-01"),
        ("%d/%b/%Y:%H:%M:%S %z", "05/Apr/2010:10:30:00 +0200", "2010-04-05T08:30:00"),
        ("%Y-%m-%dT%H:%M:%S.%f%z", "2010-04-05T10:30:00.250+02:00", "2010-04-05T08:30:00"),
        ("%Y%m%d", "20240110", "2024-01-10"),
        ("%H:%M:%S %d%m%Y", "10:30:00 05042010", "2010-04-05T10:30:00"),
    ],
)
def test_a_form_of_strptime_is_read_as_said(tmp_path, kind, form, written, moment):
    assert seconds(tmp_path, [written], kind, time_format=form) == [utc(moment)]


@pytest.mark.parametrize(
    "form", ["banana", "", "seconds", "%Q", "%d.%m.%Y %", "%Y %Y", "MS", "%-d.%m.%Y", "dd.mm.yyyy"]
)
def test_a_wrong_form_is_refused(tmp_path, form):
    with pytest.raises(UsageError, match="--time-format"):
        seconds(tmp_path, ["1", "2"], time_format=form)


@pytest.mark.parametrize("broken", ["the items", "the interactions"])
def test_a_wrong_form_is_refused_before_anything_is_read(tmp_path, broken):
    path = write_log(tmp_path, ["1", "" if broken == "the interactions" else "2"])
    items = tmp_path / "items.csv"
    items.write_text("item_id,title\n1,A\n" + ("1,again\n" if broken == "the items" else ""))
    with pytest.raises(UsageError, match="--time-format"):
        prepare("shop", interactions=path, items=items, time_format="%Q")


def test_a_form_that_does_not_fit_is_told_with_line_value_and_form(tmp_path):
    path = write_log(tmp_path, ["05.04.2010", "2010-04-06"])
    with pytest.raises(InputError, match=r"log\.csv:3: timestamp '2010-04-06' is not of the form '%d\.%m\.%Y'; "):
        read(path, time_format="%d.%m.%Y")
    with pytest.raises(InputError, match=r"log\.csv:2: timestamp '05\.04\.2010' is no number, as --time-format ms"):
        read(path, time_format="ms")


# What is odd is told


LATE = f"{datetime.now(UTC) + timedelta(days=3):%Y-%m-%d}"
SOON = f"{datetime.now(UTC) + timedelta(hours=12):%Y-%m-%dT%H:%M:%S}"


def told(notes: list[str]) -> list[str]:
    return [note for note in notes if "times are" in note or (" time is " in note and "skipped" not in note)]


def test_times_before_1990_are_told_with_the_first(tmp_path):
    _, notes = read(write_log(tmp_path, ["2010-01-01", "1989-12-31T23:59:59", "1970-01-01", "1990-01-01"]))
    assert told(notes) == ["2 times are before 1990, such as 1989-12-31T23:59:59 (log.csv:3)"]


def test_times_after_tomorrow_are_told_with_the_first(tmp_path):
    _, notes = read(write_log(tmp_path, ["2010-01-01", LATE, SOON]))
    assert told(notes) == [f"1 time is later than tomorrow, such as {LATE} (log.csv:3)"]


def test_times_of_one_second_are_told(tmp_path):
    _, notes = read(write_log(tmp_path, ["1700000000100", "1700000000900", "1700000000500"]))
    assert told(notes) == ["all 3 times are in one second, such as 2023-11-14T22:13:20.100 (log.csv:2)"]


def test_times_both_too_early_and_too_late_are_both_told(tmp_path):
    _, notes = read(write_log(tmp_path, ["2010-01-01", "1980-01-01", LATE]))
    assert len(told(notes)) == 2
    assert any("before 1990" in note for note in notes)
    assert any("later than tomorrow" in note for note in notes)


@pytest.mark.parametrize("kind", FORMATS)
def test_ordinary_times_are_told_nothing_about(tmp_path, kind):
    _, notes = read(write_log(tmp_path, ["1990-01-01", "2010-01-01", SOON], kind))
    assert told(notes) == []
    _, notes = read(write_log(tmp_path, ["2010-01-01"], kind))
    assert told(notes) == []


def test_the_line_of_an_odd_time_is_its_own_after_skipped_ones(tmp_path):
    _, notes = read(write_log(tmp_path, ["2010-01-01", "soon", "5", "1980-01-01"]), skip_bad=True)
    assert told(notes) == ["1 time is before 1990, such as 1980-01-01 (log.csv:5)"]


# One kind a column


@pytest.mark.parametrize(
    ("minority", "words"),
    [
        ("1704882600000", "milliseconds"),
        ("2024-01-10T10:30:00", "ISO 8601"),
        ("20240110", "dates such as 20240131"),
        ("20240110103000", "times such as 20240131103000"),
        ("Nov 5, 2011", "dates with a month's name"),
        ("31.12.2010", "days and months such as 1/31/2024"),
    ],
)
@pytest.mark.parametrize("kind", FORMATS)
def test_the_kind_of_few_is_rejected_among_the_kind_of_most(tmp_path, kind, minority, words):
    most = ["1704882600", "1704882601", "1704882602"]
    path = write_log(tmp_path, [most[0], minority, *most[1:]], kind)
    line = 2 if kind in ("jsonl", "parquet") else 3
    with pytest.raises(InputError, match=rf"log\.{kind}:{line}: the time is {words}.*--time-format"):
        read(path)
    found, _ = read(path, skip_bad=True)
    assert times(found) == list(map(int, most))
    assert account(found)["rejected"] != {}


def test_seconds_among_dates_are_rejected(tmp_path):
    path = write_log(tmp_path, ["2024-01-10", "1704882600", "2024-01-11"])
    with pytest.raises(InputError, match=r"log\.csv:3: the time is seconds, most others are ISO 8601"):
        read(path)


def test_the_kind_is_decided_over_all_batches(tmp_path):
    """20,000 rows of one kind and more of another after them."""
    early, late = 20_001, 20_002
    rows = [*(["1704882600000"] * early), *(["1704882600"] * late)]
    found, notes = read(write_log(tmp_path, rows), skip_bad=True)
    assert times(found) == [1704882600] * late
    assert account(found)["rejected"] == {"the time is milliseconds, most others are seconds": early}
    assert sum("the time is" in note for note in notes) == 1


# Order


ORDERED = {
    "milliseconds": ["1700000000900", "1700000000100", "1700000000500"],
    "fractions": ["1700000000.9", "1700000000.1", "1700000000.5"],
    "ISO": ["2023-11-14T22:13:20.9", "2023-11-14T22:13:20.1Z", "2023-11-14T22:13:20.500"],
    "microseconds": ["1700000000900000", "1700000000100000", "1700000000500000"],
    "nanoseconds": ["1700000000900000000", "1700000000100000000", "1700000000500000000"],
    "zones": ["2023-11-14T23:13:20.9+01:00", "2023-11-14T22:13:20.1Z", "2023-11-14T21:13:20.5-01:00"],
}


def in_order(folder: Path, kind: str, written: list[str]) -> list[str]:
    """Items of one user in the order of their times."""
    rows = [("user_id", "item_id", "timestamp"), *(("a", str(place), text) for place, text in enumerate(written))]
    path = write_as(kind, folder, "log", rows)
    found = prepare("shop", interactions=path, untitled="id")
    return [found.dataset.catalog.item_ids[item] for item in found.dataset.sequences.items_of(0)]


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("form", ORDERED)
def test_order_within_a_second_counts(tmp_path, kind, form):
    assert in_order(tmp_path, kind, ORDERED[form]) == ["1", "2", "0"]


def test_the_same_item_twice_within_a_second_is_no_repeat(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("user_id,item_id,timestamp\na,1,1700000000100\na,1,1700000000200\n")
    assert times(read(path)[0]) == [1700000000, 1700000000]


# Parquet's own types


TYPED = ["TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "TIMESTAMP WITH TIME ZONE", "DATE"]
MOMENTS = {
    "of a log": ["2024-01-10 10:30:00", "2023-12-31 23:59:59", "2019-02-28 00:00:01"],
    "1970 to 1973": ["1970-01-01 00:00:00", "1970-01-01 00:00:01", "1971-06-05 04:03:02", "1973-03-03 09:46:40"],
    "1970 among 2024": ["2024-01-10 10:30:00", "1970-01-01 00:00:00", "2024-01-11 10:30:00"],
    "before 1970": ["1969-12-31 23:59:59", "1901-01-01 00:00:00"],
}


def typed_log(path: Path, kind: str, moments: list[str]) -> Path:
    rows = ", ".join(f"('u{n}', '1', '{moment}')" for n, moment in enumerate(moments))
    cast = "t::TIMESTAMP" if "ZONE" not in kind else "t::TIMESTAMP AT TIME ZONE 'UTC'"
    source = f"(VALUES {rows}) AS log(user_id, item_id, t)"
    return parquet(path, f"SELECT user_id, item_id, ({cast})::{kind} AS timestamp FROM {source}")


@pytest.mark.parametrize("kind", TYPED)
@pytest.mark.parametrize("when", MOMENTS)
def test_typed_moments_of_parquet_are_exact(tmp_path, kind, when):
    found, notes = read(typed_log(tmp_path / "log.parquet", kind, MOMENTS[when]))
    moments = [moment[:10] if kind == "DATE" else moment for moment in MOMENTS[when]]
    assert times(found) == list(map(utc, moments))
    assert len(told(notes)) == (when != "of a log")


FINEST = {"DATE": 86_400 * 10**6, "TIMESTAMP_S": 10**6, "TIMESTAMP_MS": 10**3}
"""Microseconds."""


def at_most_as_fine(moment: datetime, kind: str) -> datetime:
    """The moment as a column of a kind has it."""
    finest = timedelta(microseconds=FINEST.get(kind, 1))
    return datetime(1600, 1, 1) + (moment - datetime(1600, 1, 1)) // finest * finest


@given(st.lists(st.datetimes(datetime(1700, 1, 1), datetime(2250, 1, 1)), min_size=1, max_size=30))
@settings(max_examples=8)
def test_typed_moments_of_parquet_come_back_whatever_they_are(moments):
    with tempfile.TemporaryDirectory() as name:
        columns = ", ".join(f't{n}::TIMESTAMP::{kind} AS "{kind}"' for n, kind in enumerate(TYPED))
        rows = ", ".join(
            f"({place}, {', '.join(repr(str(at_most_as_fine(moment, kind))) for kind in TYPED)})"
            for place, moment in enumerate(moments)
        )
        names = ", ".join(f"t{n}" for n in range(len(TYPED)))
        path = parquet(
            Path(name) / "log.parquet",
            f"SELECT 'u' || place AS user_id, 1 AS item_id, {columns} FROM (VALUES {rows}) AS log(place, {names})",
        )
        for kind in TYPED:
            expected = [utc(str(at_most_as_fine(moment, kind).replace(microsecond=0))) for moment in moments]
            assert times(read(path, time_col=kind)[0]) == expected, kind


def test_a_moment_that_is_null_or_infinite_is_a_row_that_cannot_be_used(tmp_path):
    path = parquet(
        tmp_path / "log.parquet",
        "SELECT user_id, '1' AS item_id, t::TIMESTAMP AS timestamp FROM "
        "(VALUES ('a', '2024-01-10 10:30:00'), ('b', NULL), ('c', 'infinity')) AS log(user_id, t)",
    )
    with pytest.raises(InputError, match=r"log\.parquet:2: timestamp is missing"):
        read(path)
    found, _ = read(path, skip_bad=True)
    assert times(found) == [utc("2024-01-10T10:30:00")]
    assert account(found)["rejected"] == {"timestamp is missing": 2}


def test_order_within_a_second_counts_for_typed_moments(tmp_path):
    path = parquet(
        tmp_path / "log.parquet",
        "SELECT 'a' AS user_id, item_id, t::TIMESTAMP AS timestamp FROM (VALUES ('x', '2024-01-10 10:30:00.9'), "
        "('y', '2024-01-10 10:30:00.1'), ('z', '2024-01-10 10:30:00.5')) AS log(item_id, t)",
    )
    found = prepare("shop", interactions=path, untitled="id")
    assert [found.dataset.catalog.item_ids[item] for item in found.dataset.sequences.items_of(0)] == ["y", "z", "x"]


def items_of(folder: Path, select: str) -> tuple[dict, ...]:
    parquet(folder / "items.parquet", select)
    (folder / "log.csv").write_text("user_id,item_id\na,1\n")
    found = prepare("shop", interactions=folder / "log.csv", items=folder / "items.parquet")
    json.dumps(found.dataset.catalog.metadata)
    return found.dataset.catalog.metadata


@pytest.mark.parametrize("kind", TYPED[:-1])
def test_moments_of_items_become_iso_text(tmp_path, kind):
    cast = "TIMESTAMP '{}'" if "ZONE" not in kind else "TIMESTAMP '{}' AT TIME ZONE 'UTC'"
    row = f"SELECT {{}} AS item_id, {{}} AS title, ({cast})::{kind} AS released"
    metadata = items_of(
        tmp_path, f"{row.format(1, 2, '2024-01-10 10:30:00')} UNION ALL {row.format(3, 4, '1970-01-01 00:00:01')}"
    )
    assert metadata == ({"released": "2024-01-10T10:30:00"}, {"released": "1970-01-01T00:00:01"})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("DATE '2024-01-10'", "2024-01-10"),
        ("DATE '1970-01-01'", "1970-01-01"),
        ("NULL::TIMESTAMP", None),
        ("TIMESTAMP '2024-01-10 10:30:00.25'", "2024-01-10T10:30:00.250"),
        ("['Drama', 'Comedy']", ["Drama", "Comedy"]),
        ("['Drama', NULL]", ["Drama", None]),
        ("[]::VARCHAR[]", []),
        ("NULL::VARCHAR[]", None),
        ("[1, 2]", [1, 2]),
        ("[[1], [2, 3]]", [[1], [2, 3]]),
        ("[1, 2]::INTEGER[2]", [1, 2]),
        ("{'name': 'Ann', 'born': 1970}", {"name": "Ann", "born": 1970}),
        ("{'a': {'b': ['c']}}", {"a": {"b": ["c"]}}),
        ("[{'name': 'Ann'}, {'name': 'Bob'}]", [{"name": "Ann"}, {"name": "Bob"}]),
        ("MAP {'a': 1, 'b': 2}", {"a": 1, "b": 2}),
        ("[DATE '2024-01-10']", ["2024-01-10"]),
        ("'abc'::BLOB", "abc"),
        ("'\\xC3\\xA9'::BLOB", "é"),
        ("'\\xFF'::BLOB", None),
        ("['abc'::BLOB]", ["abc"]),
        ("{'a': 1.5::DOUBLE, 'b': 'nan'::DOUBLE}", {"a": 1.5, "b": None}),
        ("true", True),
        ("1.5::DOUBLE", 1.5),
        ("'nan'::DOUBLE", None),
        ("7::TINYINT", "7"),
        ("1.50::DECIMAL(5, 2)", "1.50"),
    ],
)
def test_values_of_parquet_become_the_metadata_they_mean(tmp_path, value, expected):
    metadata = items_of(tmp_path, f"SELECT 1 AS item_id, 'A' AS title, {value} AS more, 'x' AS other")
    assert metadata == ({"more": expected, "other": "x"},)


@pytest.mark.parametrize(
    "value", ["[TIMESTAMP '2024-01-10 10:30:00']", "[TIMESTAMP '2024-01-10 10:30:00' AT TIME ZONE 'UTC']"]
)
def test_moments_in_lists_of_items_become_iso_text(tmp_path, value):
    assert items_of(tmp_path, f"SELECT 1 AS item_id, 'A' AS title, {value} AS seen") == (
        {"seen": ["2024-01-10T10:30:00"]},
    )


def test_ids_and_times_in_blobs_are_text(tmp_path):
    path = parquet(
        tmp_path / "log.parquet",
        "SELECT 'a'::BLOB AS user_id, '1'::BLOB AS item_id, '2024-01-10 10:30:00'::BLOB AS timestamp",
    )
    found, _ = read(path)
    assert (found.dataset.sequences.user_ids, times(found)) == (("a",), [utc("2024-01-10T10:30:00")])


# Which column


NAMES = ["timestamp", "timestamp ", " Timestamp", "Timestamp", "TIMESTAMP", "time", "Time", "datetime", "DateTime"]


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("name", [*NAMES, "date_time", "Date"])
def test_a_column_with_a_usual_name_is_the_one_of_times(tmp_path, kind, name):
    path = write_log(tmp_path, ["1700000000", "1700000001"], kind, name)
    assert times(read(path)[0]) == [1700000000, 1700000001]


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    "names", [("time", "date"), ("Time", "datetime"), ("date ", "ts"), ("created_at", "event_time")]
)
def test_two_columns_that_may_be_the_time_are_refused(tmp_path, kind, names):
    rows = [
        ("user_id", "item_id", *names),
        ("a", "1", "1700000000", "1700000001"),
        ("b", "1", "1700000002", "1700000003"),
    ]
    path = write_as(kind, tmp_path, "log", rows)
    shown = ", ".join(repr(name.strip() if kind in ("csv", "tsv") else name) for name in names)
    if kind != "inter":
        with pytest.raises(InputError, match=rf"which column is the time\? {shown}; name it with --time-col"):
            read(path)
    with pytest.raises(InputError, match="which column is the time"):
        read(path)
    assert times(read(path, time_col=names[1])[0]) == [1700000001, 1700000003]


@pytest.mark.parametrize("kind", FORMATS)
def test_the_usual_name_itself_wins(tmp_path, kind):
    rows = [("user_id", "item_id", "date", "timestamp"), ("a", "1", "2010-01-01", "1700000000")]
    assert times(read(write_as(kind, tmp_path, "log", rows))[0]) == [1700000000]


@pytest.mark.parametrize("kind", FORMATS)
def test_columns_that_are_not_used_are_named(tmp_path, kind):
    rows = [("user_id", "item_id", "timestamp", "price", "shop"), ("a", "1", "1700000000", "5", "x")]
    _, notes = read(write_as(kind, tmp_path, "log", rows))
    assert f"log.{kind}: columns not used: price, shop" in notes
    _, notes = read(write_log(tmp_path, ["1700000000"], kind))
    assert not any("not used" in note for note in notes)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    "written",
    [
        "2024-01-10",
        "2024-01-10 10:30:00 UTC",
        "20240110",
        "1700000000000",
        "Nov 5, 2011",
        "12/1/2010 8:26",
        "1700000000",
    ],
)
def test_a_column_that_reads_as_times_and_is_not_used_is_named(tmp_path, kind, written):
    found, notes = read(write_log(tmp_path, [written, written], kind, "happened"))
    assert found.dataset.sequences.timestamps is None
    assert f"log.{kind}: no times are used, and 'happened' reads as times: --time-col happened" in notes


@pytest.mark.parametrize("kind", TYPED)
def test_a_typed_column_that_is_not_used_is_named(tmp_path, kind):
    path = typed_log(tmp_path / "log.parquet", kind, MOMENTS["of a log"])
    renamed = parquet(tmp_path / "other.parquet", f"SELECT user_id, item_id, timestamp AS happened FROM '{path}'")
    _, notes = read(renamed)
    assert "other.parquet: no times are used, and 'happened' reads as times: --time-col happened" in notes


@pytest.mark.parametrize("written", ["5", "1.5", "", "red", "123456"])
def test_a_column_that_is_no_time_is_not_named_as_one(tmp_path, written):
    _, notes = read(write_log(tmp_path, [written, written], "csv", "amount"))
    assert not any("reads as times" in note for note in notes)


# Whatever the moments are


WRITTEN = {
    # name: (how strftime writes it, the seconds of it that are kept, an anchor is needed)
    "compact": ("%Y%m%d%H%M%S", "s"),
    "compact minutes": ("%Y%m%d%H%M", "m"),
    "compact days": ("%Y%m%d", "d"),
    "ISO": ("%Y-%m-%dT%H:%M:%S", "s"),
    "ISO with Z": ("%Y-%m-%dT%H:%M:%SZ", "s"),
    "SQL": ("%Y-%m-%d %H:%M:%S", "s"),
    "SQL UTC": ("%Y-%m-%d %H:%M:%S UTC", "s"),
    "SQL fractions": ("%Y-%m-%d %H:%M:%S.%f", "s"),
    "days": ("%Y-%m-%d", "d"),
    "slashes": ("%Y/%m/%d %H:%M", "m"),
    "dots": ("%d.%m.%Y", "d"),
    "dots and clock": ("%d.%m.%Y %H:%M:%S", "s"),
    "US": ("%m/%d/%Y %I:%M:%S %p", "s"),
    "US minutes": ("%m/%d/%Y %H:%M", "m"),
    "day first": ("%d/%m/%Y %H:%M", "m"),
    "RFC 2822": ("%a, %d %b %Y %H:%M:%S +0000", "s"),
    "ctime": ("%a %b %d %H:%M:%S %Y", "s"),
    "Twitter": ("%a %b %d %H:%M:%S +0000 %Y", "s"),
    "month's name": ("%b %d, %Y", "d"),
    "month's long name": ("%B %d, %Y", "d"),
    "day and month's name": ("%d %b %Y", "d"),
}
ANCHOR = datetime(2001, 1, 31, 13, 14, 15)
moments_of_logs = st.lists(st.datetimes(datetime(1970, 1, 1), datetime(2099, 12, 31)), max_size=25)


def kept(moment: datetime, to: str) -> int:
    gone = {"s": {}, "m": {"second": 0}, "d": {"second": 0, "minute": 0, "hour": 0}}[to]
    return utc(str(moment.replace(microsecond=0, **gone)))


@pytest.mark.parametrize("form", WRITTEN)
@given(moments_of_logs, st.booleans())
@settings(max_examples=12)
def test_written_moments_come_back_exactly(form, moments, named):
    strftime, to = WRITTEN[form]
    moments = [ANCHOR, *moments]
    with tempfile.TemporaryDirectory() as name:
        written = [moment.strftime(strftime) for moment in moments]
        found = seconds(Path(name), written, "tsv", time_format=strftime if named else None)
    assert found == [kept(moment, to) for moment in moments]


@given(moments_of_logs, st.sampled_from(["/", ".", "-"]), st.booleans())
@settings(max_examples=25)
def test_dates_without_leading_zeros_come_back_exactly(moments, sign, day_first):
    moments = [ANCHOR, *moments]
    written = [
        sign.join(map(str, (m.day, m.month, m.year) if day_first else (m.month, m.day, m.year)))
        + f" {m.hour}:{m.minute:02d}"
        for m in moments
    ]
    with tempfile.TemporaryDirectory() as name:
        assert seconds(Path(name), written) == [kept(moment, "m") for moment in moments]


zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
ZONED = {
    "ISO": lambda moment: moment.isoformat(),
    "SQL": lambda moment: moment.isoformat(" ", "seconds"),
    "ISO without colon": lambda moment: moment.strftime("%Y-%m-%dT%H:%M:%S%z"),
    "ISO with blank": lambda moment: moment.strftime("%Y-%m-%d %H:%M:%S %z"),
    "RFC 2822": format_datetime,
    "Twitter": lambda moment: moment.strftime("%a %b %d %H:%M:%S %z %Y"),
}


@pytest.mark.parametrize("form", ZONED)
@given(st.lists(st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1), timezones=zones), min_size=1, max_size=25))
@settings(max_examples=15)
@example([datetime(1996, 4, 5, 23, 59, 59, 999_999, tzinfo=timezone(timedelta(hours=-7)))])
def test_moments_with_zones_come_back_exactly(form, moments):
    with tempfile.TemporaryDirectory() as name:
        found = seconds(Path(name), [ZONED[form](moment) for moment in moments], "tsv")
    assert found == [int(moment.replace(microsecond=0).timestamp()) for moment in moments]
