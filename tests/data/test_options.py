"""Each option of own files does what it says, alone and beside others, and refuses what it cannot take."""

import json
import random
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from notes import Notes

from patchrec.data.prepare import Prepared, prepare, prepare_items
from patchrec.data.recipe import Recipe, make_recipe, read_recipe
from patchrec.data.splits import Split, choose_split
from patchrec.errors import InputError, PatchrecError, UsageError

ITEMS = "item_id,title\n1,Alien\n2,Big\n3,Cars\n"
LOG = "user_id,item_id,timestamp\na,1,1000000001\na,2,1000000002\nb,3,1000000003\n"


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def shop(folder: Path, log: str = LOG, items: str | None = ITEMS, **options: Any) -> tuple[Prepared, list[str]]:
    """A data set of two CSV files, or of one."""
    report = Notes()
    files: dict[str, Any] = {"interactions": write(folder / "log.csv", log)}
    if items is not None:
        files["items"] = write(folder / "items.csv", items)
    return prepare("shop", **files, report=report, **options), report.notes


def refused(folder: Path, error: type[PatchrecError], *args: str | None, **options: Any) -> str:
    """The one line that refuses it."""
    with pytest.raises(error) as caught:
        shop(folder, *args, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def table(columns: str, *rows: str) -> str:
    return "".join(line + "\n" for line in (columns, *rows))


def histories(found: Prepared) -> dict[str, list[str]]:
    dataset = found.dataset
    return {
        user_id: [dataset.catalog.item_ids[item] for item in dataset.sequences.items_of(user).tolist()]
        for user, user_id in enumerate(dataset.sequences.user_ids)
    }


def titles(found: Prepared) -> dict[str, str]:
    return dict(zip(found.dataset.catalog.item_ids, found.dataset.catalog.titles, strict=True))


def account(found: Prepared, what: str = "interactions") -> tuple[int, int, dict[str, int], dict[str, int]]:
    one = found.split["account"][what]
    return one["read"], one["kept"], one["rejected"], one["left_out"]


def test_nothing_is_left_out_where_nothing_is_asked_for(tmp_path):
    found, notes = shop(tmp_path)
    assert histories(found) == {"a": ["1", "2"], "b": ["3"]}
    assert titles(found) == {"1": "Alien", "2": "Big", "3": "Cars"}
    assert account(found) == (3, 3, {}, {})
    assert account(found, "items") == (3, 3, {}, {})
    assert [note for note in notes if "left out" in note or "skipped" in note] == []


# ---------------------------------------------------------------- options of each file


def test_ids_have_one_column_in_both_files_or_one_in_each(tmp_path):
    log = LOG.replace("item_id", "article")
    both, _ = shop(tmp_path, log, ITEMS.replace("item_id", "article"), item_col="article")
    each, _ = shop(tmp_path, log, ITEMS.replace("item_id", "sku"), item_col="article", items_id_col="sku")
    log_alone, _ = shop(tmp_path, log, ITEMS, item_col="article")
    items_alone, _ = shop(tmp_path, LOG, ITEMS.replace("item_id", "sku"), items_id_col="sku")
    for found in (both, each, log_alone, items_alone):
        assert histories(found) == {"a": ["1", "2"], "b": ["3"]}
        assert titles(found) == {"1": "Alien", "2": "Big", "3": "Cars"}


def test_the_items_id_column_wins_over_the_one_of_both_files(tmp_path):
    items = table("item_id,code,title", "9,1,Alien", "8,2,Big", "7,3,Cars")
    found, _ = shop(tmp_path, LOG, items, items_id_col="code")
    assert titles(found) == {"1": "Alien", "2": "Big", "3": "Cars"}
    assert found.dataset.catalog.metadata[0] == {"item_id": "9"}


UMLAUTS = "item_id;title\n1;Älien\n2;Bïg\n3;Cars\n"
CSV_OF_SEMICOLONS = LOG.replace(",", ";")


@pytest.mark.parametrize(
    ("log", "log_file", "items", "items_file", "options"),
    [
        (CSV_OF_SEMICOLONS, "log.csv", UMLAUTS, "items.csv", {"sep": ";"}),
        (CSV_OF_SEMICOLONS, "log.csv", UMLAUTS.replace(";", ","), "items.csv", {"sep": ";", "items_sep": ","}),
        (LOG, "log.csv", UMLAUTS, "items.csv", {"items_sep": ";"}),
        (LOG, "log.txt", UMLAUTS.replace(";", ","), "items.txt", {"format": "csv"}),
        (LOG, "log.txt", UMLAUTS.replace(";", "\t"), "items.txt", {"format": "csv", "items_format": "tsv"}),
        (CSV_OF_SEMICOLONS, "log.csv", UMLAUTS.replace(";", "\t"), "items.tsv", {"sep": ";", "items_format": "tsv"}),
        (CSV_OF_SEMICOLONS, "log.txt", UMLAUTS, "items.txt", {"sep": ";"}),
        (LOG.replace(",", "::"), "log.dat", UMLAUTS.replace(";", "::"), "items.dat", {"sep": "::"}),
        (LOG, "log.csv", UMLAUTS.replace(";", "\t"), "items.csv", {"items_format": "tsv"}),
        (LOG, "log.csv", UMLAUTS.split("\n", 1)[1], "items.csv",
         {"items_sep": ";", "items_header": False, "items_columns": ["item_id", "title"]}),
        (LOG.split("\n", 1)[1], "log.csv", UMLAUTS.replace(";", ","), "items.csv",
         {"header": False, "columns": ["user_id", "item_id", "timestamp"]}),
        (LOG.replace("user_id", "wer"), "log.csv", UMLAUTS.replace(";", ","), "items.csv",
         {"columns": ["user_id", "item_id", "timestamp"]}),
    ],
    ids=lambda value: " ".join(f"{key}={one}" for key, one in value.items()) if isinstance(value, dict) else None,
)  # fmt: skip
def test_items_are_written_as_the_interactions_unless_they_say_otherwise(
    tmp_path, log, log_file, items, items_file, options
):
    found = prepare(
        "shop", interactions=write(tmp_path / log_file, log), items=write(tmp_path / items_file, items), **options
    )
    assert histories(found) == {"a": ["1", "2"], "b": ["3"]}
    assert titles(found) == {"1": "Älien", "2": "Bïg", "3": "Cars"}


NAMED = LOG.replace("a,", "ä,")


@pytest.mark.parametrize(
    ("log", "items", "options"),
    [
        ("latin-1", "latin-1", {"encoding": "latin-1"}),
        ("latin-1", "utf-8", {"encoding": "latin-1", "items_encoding": "utf-8"}),
        ("utf-8", "cp1252", {"items_encoding": "cp1252"}),
        ("utf-16", "utf-8", {"encoding": "utf-16", "items_encoding": "utf-8"}),
    ],
    ids=["both", "interactions alone", "items alone", "UTF-16"],
)
def test_each_file_has_its_encoding(tmp_path, log, items, options):
    found = prepare(
        "shop",
        interactions=write(tmp_path / "log.csv", NAMED, log),
        items=write(tmp_path / "items.csv", UMLAUTS.replace(";", ","), items),
        **options,
    )
    assert list(histories(found)) == ["ä", "b"]
    assert titles(found)["1"] == "Älien"


def parquet(path: Path, select: str) -> Path:
    import duckdb

    with duckdb.connect() as connection:
        connection.execute(f"COPY ({select}) TO '{path}' (FORMAT parquet)")
    return path


PARQUET_ITEMS = "SELECT * FROM (VALUES ('1', 'Alien'), ('2', 'Big'), ('3', 'Cars')) AS t(item_id, title)"


@pytest.mark.parametrize(
    "options",
    [{"encoding": "latin-1"}, {"sep": ";"}, {"quotes": "group"}, {"format": "csv"}],
    ids="".join,
)
def test_what_is_said_of_a_text_file_is_not_said_of_parquet_items(tmp_path, options):
    """Items of another format: only `--items-format parquet` can be meant."""
    text = NAMED.replace(",", options.get("sep", ","))
    log = write(tmp_path / "log.csv", text, options.get("encoding", "utf-8"))
    items = parquet(tmp_path / "items.parquet", PARQUET_ITEMS)
    found = prepare("shop", interactions=log, items=items, items_format="parquet", **options)
    assert histories(found) == {"ä": ["1", "2"], "b": ["3"]}


@pytest.mark.parametrize(
    ("items", "encoding", "words"),
    [
        (UMLAUTS.replace(";", ","), "latin-1", ["items.csv:2", "--items-encoding"]),
        (ITEMS.replace(",", ";"), "utf-8", ["items.csv:1", "--items-sep ';'"]),
        (ITEMS.split("\n", 1)[1], "utf-8", ["items.csv:1", "--items-no-header --items-columns"]),
        ("1,4\n2,5\n", "utf-8", ["items.csv:1", "--items-no-header --items-columns"]),
        (ITEMS.replace("item_id", "sku"), "utf-8", ["items.csv:1", "--items-id-col"]),
        (ITEMS.replace("title", "what"), "utf-8", ["items.csv:1", "--title-col"]),
        (ITEMS + "4,\n", "utf-8", ["items.csv:5", "--untitled"]),
        (ITEMS + "2,Again\n", "utf-8", ["items.csv:5", "--duplicate-items"]),
        (ITEMS + "4,Dune,1\n", "utf-8", ["items.csv:5", "--skip-bad"]),
        (ITEMS + ",Dune\n", "utf-8", ["items.csv:5", "--skip-bad"]),
    ],
    ids=["encoding", "separator", "no header", "no header, numbers", "ids", "titles", "blank title", "id twice",
         "ragged", "blank id"],
)  # fmt: skip
def test_a_fault_of_the_items_names_the_option_of_the_items(tmp_path, items, encoding, words):
    log = write(tmp_path / "log.csv", LOG)
    with pytest.raises(InputError) as caught:
        prepare("shop", interactions=log, items=write(tmp_path / "items.csv", items, encoding))
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("log", "encoding", "words"),
    [
        (NAMED, "latin-1", ["log.csv:2", "--encoding"]),
        (LOG.replace(",", ";"), "utf-8", ["log.csv:1", "--sep ';'"]),
        (LOG.split("\n", 1)[1], "utf-8", ["log.csv:1", "--no-header --columns user_id,item_id,timestamp"]),
        (LOG.replace("user_id", "wer"), "utf-8", ["log.csv:1", "--user-col"]),
        (LOG.replace("item_id", "was"), "utf-8", ["log.csv:1", "--item-col"]),
        (LOG + "a,9,1000000009\n", "utf-8", ["log.csv:5", "'9'", "--skip-bad"]),
        (LOG + "a,1,1000000001\n", "utf-8", ["log.csv:5", "line 2", "--repeats"]),
        (LOG + "a,1,soon\n", "utf-8", ["log.csv:5", "'soon'", "--time-format"]),
        (LOG + "a,1\n", "utf-8", ["log.csv:5", "--skip-bad"]),
        (LOG + ",1,1000000009\n", "utf-8", ["log.csv:5", "user_id is blank", "--skip-bad"]),
        (LOG + "a,,1000000009\n", "utf-8", ["log.csv:5", "item_id is blank", "--skip-bad"]),
    ],
    ids=["encoding", "separator", "no header", "users", "items", "unknown item", "repeat", "time", "ragged", "no user",
         "no item"],
)  # fmt: skip
def test_a_fault_of_the_interactions_names_the_option_that_mends_it(tmp_path, log, encoding, words):
    items = write(tmp_path / "items.csv", ITEMS)
    with pytest.raises(InputError) as caught:
        prepare("shop", interactions=write(tmp_path / "log.csv", log, encoding), items=items)
    for word in words:
        assert word in str(caught.value)


# ---------------------------------------------------------------- no items file

TITLED = table(
    "user_id,item_id,timestamp,name,colour,price,shop",
    "a,1,1000000001,Alien,red,5,x",
    "a,2,1000000002,Big,blue,6,x",
    "b,1,1000000003,Alien 1,red,7,x",
    "b,1,1000000004,Alien 1,red,8,x",
    "c,1,1000000005,Alien,red,8,x",
    "c,1,1000000006,ALIEN,red,9,x",
    "c,3,1000000007,Cars,,9,x",
)


@pytest.mark.parametrize(
    ("rule", "title", "which"),
    [
        (None, "Alien", "most frequent"),
        ("most", "Alien", "most frequent"),
        ("first", "Alien", "first"),
        ("last", "ALIEN", "last"),
    ],
)
def test_titles_come_from_the_interactions_where_there_are_no_items(tmp_path, rule, title, which):
    options = {} if rule is None else {"duplicate_items": rule}
    found, notes = shop(tmp_path, TITLED, None, title_col="name", **options)
    assert titles(found) == {"1": title, "2": "Big", "3": "Cars"}
    assert histories(found) == {"a": ["1", "2"], "b": ["1", "1"], "c": ["1", "1", "3"]}
    assert [note for note in notes if "several titles" in note] == [
        f"1 item has several titles in the interactions; the {which} is taken (--duplicate-items first, last or most)"
    ]
    assert "items" not in found.split["account"]
    assert account(found) == (7, 7, {}, {})


def test_the_most_frequent_title_is_not_the_first_one(tmp_path):
    log = table("user_id,item_id,title", "a,1,Aliem", "b,1,Alien", "c,1,Alien", "d,1,ALIEN")
    found, _ = shop(tmp_path, log, None)
    assert titles(found) == {"1": "Alien"}
    assert titles(shop(tmp_path, log, None, duplicate_items="first")[0]) == {"1": "Aliem"}
    assert titles(shop(tmp_path, log, None, duplicate_items="last")[0]) == {"1": "ALIEN"}


def test_columns_that_never_differ_within_an_item_are_kept_with_it(tmp_path):
    """The price differs within an item; the shop is the same everywhere, and so tells nothing."""
    found, notes = shop(tmp_path, TITLED, None, title_col="name")
    assert found.dataset.catalog.metadata == ({"colour": "red"}, {"colour": "blue"}, {"colour": ""})
    assert "kept with the items, for it never differs within one: colour" in notes


def test_a_title_of_several_columns_comes_from_the_interactions_too(tmp_path):
    found, _ = shop(tmp_path, TITLED, None, title="{name} ({colour})", duplicate_items="first")
    assert titles(found) == {"1": "Alien (red)", "2": "Big (blue)", "3": "Cars"}


def test_ids_are_titles_where_nothing_else_is_there(tmp_path):
    found, _ = shop(tmp_path, LOG, None, untitled="id")
    assert titles(found) == {"1": "1", "2": "2", "3": "3"}


def test_an_id_is_the_title_only_of_an_item_that_has_none(tmp_path):
    """Item 1 has a title in one row of three; item 2 has none anywhere."""
    log = table("user_id,item_id,title", "a,1,", "b,1,Alien", "c,1,", "a,2,")
    found, _ = shop(tmp_path, log, None, untitled="id")
    assert titles(found) == {"1": "Alien", "2": "2"}


def test_only_items_without_any_title_are_dropped(tmp_path):
    log = table("user_id,item_id,title", "a,1,", "b,1,Alien", "c,1,", "a,2,", "b,3,Cars")
    found, _ = shop(tmp_path, log, None, untitled="drop")
    assert titles(found) == {"1": "Alien", "3": "Cars"}
    assert account(found) == (5, 4, {}, {"its item has no title (--untitled drop)": 1})


def test_titles_are_needed_and_the_ways_to_them_are_named(tmp_path):
    told = refused(tmp_path, InputError, LOG, None)
    for word in ("--items FILE", "--untitled id", "--title-col"):
        assert word in told


# ---------------------------------------------------------------- an id several times among the items

AGAIN = table("item_id,title,year", "1,Alien,1979", "2,Big,1988", "1,Aliens,1986", "3,Cars,2006", "1,Aliens,1987")


@pytest.mark.parametrize(
    ("rule", "title", "year"), [("first", "Alien", "1979"), ("last", "Aliens", "1987"), ("most", "Aliens", "1986")]
)
def test_one_row_of_an_id_counts(tmp_path, rule, title, year):
    found, notes = shop(tmp_path, LOG, AGAIN, duplicate_items=rule)
    assert found.dataset.catalog.item_ids == ("1", "2", "3")
    assert found.dataset.catalog.titles == (title, "Big", "Cars")
    assert [one["year"] for one in found.dataset.catalog.metadata] == [year, "1988", "2006"]
    reason = f"an item's id again (--duplicate-items {rule})"
    assert account(found, "items") == (5, 3, {}, {reason: 2})
    assert f"left out 2 items: {reason}" in notes


def test_an_id_twice_is_refused_or_skipped(tmp_path):
    told = refused(tmp_path, InputError, LOG, AGAIN)
    assert told.startswith("items.csv:4: item '1' was on line 2 already; ")
    assert "--duplicate-items first, last or most" in told
    found, notes = shop(tmp_path, LOG, AGAIN, skip_bad=True)
    assert titles(found) == {"1": "Alien", "2": "Big", "3": "Cars"}
    assert account(found, "items") == (5, 3, {"item ... was on line N already": 2}, {})
    assert [note for note in notes if note.startswith("skipped")] == [
        "skipped items.csv:4: item '1' was on line 2 already",
        "skipped items.csv:6: item '1' was on line 2 already",
    ]


# ---------------------------------------------------------------- user, item and moment again

REPEATS = table(
    "user_id,item_id,timestamp,rating",
    "a,1,1000000001,1",
    "a,2,1000000002,2",
    "a,1,1000000001,3",
    "b,1,1000000001,4",
    "a,1,1000000001,5",
    "a,1,1000000009,6",
    "b,1,1000000001,7",
)


@pytest.mark.parametrize(
    ("rule", "ratings"),
    [
        ("keep", [1, 3, 5, 2, 6, 4, 7]),
        ("first", [1, 2, 6, 4]),
        ("last", [5, 2, 6, 7]),
    ],
)
def test_repeats_are_kept_or_one_of_them_counts(tmp_path, rule, ratings):
    found, notes = shop(tmp_path, REPEATS, repeats=rule)
    assert found.ratings.tolist() == ratings
    reason = f"the same user, item and time again (--repeats {rule})"
    assert account(found) == (7, len(ratings), {}, {} if rule == "keep" else {reason: 3})
    if rule == "keep":
        assert "3 interactions repeat user, item and time of another; all are kept" in notes
    else:
        assert f"left out 3 interactions: {reason}" in notes


def test_repeats_are_refused_or_skipped_unless_something_is_said(tmp_path):
    told = refused(tmp_path, InputError, REPEATS)
    assert told.startswith("log.csv:4: the same user, item and time as line 2; ")
    assert "--repeats keep, first or last" in told
    found, _ = shop(tmp_path, REPEATS, skip_bad=True)
    assert found.ratings.tolist() == [1, 2, 6, 4]
    assert account(found) == (7, 4, {"the same user, item and time as line N": 3}, {})


@pytest.mark.parametrize(("rule", "ratings"), [("keep", [1, 2]), ("first", [1]), ("last", [2])])
def test_repeats_are_found_across_files(tmp_path, rule, ratings):
    head = "user_id,item_id,timestamp,rating\n"
    paths = [write(tmp_path / f"{n}.csv", f"{head}a,1,1000000001,{n}\n") for n in (1, 2)]
    items = write(tmp_path / "items.csv", ITEMS)
    assert prepare("shop", interactions=paths, items=items, repeats=rule).ratings.tolist() == ratings
    with pytest.raises(InputError, match=r"2\.csv:2: the same user, item and time as 1\.csv:2; .*--repeats"):
        prepare("shop", interactions=paths, items=items)


@pytest.mark.parametrize("rule", ["refuse", "keep", "first", "last"])
def test_without_times_nothing_repeats(tmp_path, rule):
    found, notes = shop(tmp_path, table("user_id,item_id", "a,1", "a,1", "a,1"), repeats=rule)
    assert histories(found) == {"a": ["1", "1", "1"]}
    assert not [note for note in notes if "repeat" in note]


def test_times_within_one_second_do_not_repeat(tmp_path):
    log = table("user_id,item_id,timestamp", "a,1,1700000000000", "a,1,1700000000001", "a,1,1700000000999")
    assert histories(shop(tmp_path, log)[0]) == {"a": ["1", "1", "1"]}


@pytest.mark.parametrize("users", [3, 3000])
@pytest.mark.parametrize("span", [1, 1000, 10**6, 2_000_000_000, 480_000_000_000])
def test_repeats_are_found_whatever_the_span_of_times(tmp_path, users, span):
    rng = random.Random(span + users)
    rows = [
        (f"u{rng.randrange(users)}", f"i{rng.randrange(2)}", 10**12 + rng.randrange(min(span, 500)) * (span // 500 + 1))
        for _ in range(3000)
    ]
    rows += rng.choices(rows, k=20)
    log = table("user_id,item_id,timestamp", *(f"{user},{item},{time}" for user, item, time in rows))
    found, _ = shop(tmp_path, log, None, untitled="id", repeats="first")
    assert len(found.dataset.sequences.items) == len(set(rows))
    reason = "the same user, item and time again (--repeats first)"
    assert account(found) == (3020, len(set(rows)), {}, {reason: 3020 - len(set(rows))})


def test_repeats_of_one_user_are_not_lost_among_those_of_others(tmp_path):
    """A span of 2 ** 28 milliseconds times the number of a user is the same for every 16th in 32 bits."""
    times = [1 << 28, 1, 7, 7 << 20]
    rows = [(f"u{user}", f"i{user % 2}", 10**12 + time) for time in times for user in range(400)]
    rows += rows[::9]
    log = table("user_id,item_id,timestamp", *(f"{user},{item},{time}" for user, item, time in rows))
    found, _ = shop(tmp_path, log, None, untitled="id", repeats="first")
    assert len(found.dataset.sequences.items) == 1600
    assert account(found)[3] == {"the same user, item and time again (--repeats first)": 178}


# ---------------------------------------------------------------- rows

EVENTS = table(
    "user_id,item_id,event,quantity",
    "a,1,view,1",
    "a,2,purchase,2",
    "a,3,purchase,0",
    "b,1,purchase,10",
    "b,2,purchase,-1",
    "b,3,cart,3",
)


@pytest.mark.parametrize(
    ("condition", "kept"),
    [
        ("event == 'purchase' and quantity > 0", {"a": ["2"], "b": ["1"]}),
        ("event = 'purchase' AND NOT quantity <= 0", {"a": ["2"], "b": ["1"]}),
        ("event <> 'purchase'", {"a": ["1"], "b": ["3"]}),
        ("EVENT in ('cart', 'view')", {"a": ["1"], "b": ["3"]}),
        ("quantity between 2 and 3", {"a": ["2"], "b": ["3"]}),
        ("quantity >= 10", {"b": ["1"]}),
        ("event like 'p%' and user_id = 'b' and quantity < 10", {"b": ["2"]}),
        ("length(event) = 4", {"a": ["1"], "b": ["3"]}),
        ("1", {"a": ["1", "2", "3"], "b": ["1", "2", "3"]}),
    ],
)
def test_a_condition_keeps_rows(tmp_path, condition, kept):
    found, notes = shop(tmp_path, EVENTS, rows=condition)
    assert histories(found) == kept
    number = sum(map(len, kept.values()))
    assert account(found) == (6, number, {}, {"another row (--rows)": 6 - number} if number < 6 else {})
    assert (f"left out {6 - number} interactions: another row (--rows)" in notes) == (number < 6)


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("evnt = 'view'", ["no column 'evnt'", "did you mean 'event'"]),
        ('event = "view"', ["no column 'view'", "single quotes"]),
        ("quantity >", ["--rows"]),
        ("select 1", ["'select'"]),
        ("event in (select event from items)", ["'select'"]),
        ("1; drop table items", ["';'"]),
        ("1 -- x", ["'--'"]),
        ("random() > 0", ["--rows"]),
        ("load_extension('x')", ["--rows"]),
        ("(quantity > 0", ["bracket"]),
        ("  ", ["--rows is empty"]),
        ("quantity > ?", ["'?'"]),
    ],
)
def test_what_is_no_condition_is_refused(tmp_path, condition, words):
    told = refused(tmp_path, UsageError, EVENTS, rows=condition)
    for word in ("--rows", "columns: user_id, item_id, event, quantity" if "column" not in "".join(words) else "event"):
        assert word in told
    for word in words:
        assert word in told


def test_rows_that_are_left_out_may_hold_anything(tmp_path):
    """Whoever wants purchases alone need not mend the rest."""
    log = table("user_id,item_id,event", ",,view", "a,99,view", "a,1,buy")
    assert histories(shop(tmp_path, log, rows="event = 'buy'")[0]) == {"a": ["1"]}


def test_a_value_that_is_not_there_is_above_no_number(tmp_path):
    """SQLite alone holds text, an empty one too, to be above all numbers."""
    log = table("user_id,item_id,quantity", "a,1,", "a,2,1", "a,3,0")
    found, _ = shop(tmp_path, log, rows="quantity > 0")
    assert histories(found) == {"a": ["2"]}


def test_a_text_for_missing_is_missing_to_a_condition(tmp_path):
    log = table("user_id,item_id,quantity", "a,1,NA", "a,2,1", "a,3,0")
    found, _ = shop(tmp_path, log, rows="quantity > 0", missing="NA")
    assert histories(found) == {"a": ["2"]}


def test_moments_of_parquet_compare_as_they_are_written(tmp_path):
    select = (
        "SELECT 'a' AS user_id, item_id, moment FROM (VALUES ('1', TIMESTAMP '2024-01-31 10:00:00'), "
        "('2', TIMESTAMP '2024-02-01 00:00:00'), ('3', TIMESTAMP '2024-02-01 00:00:01')) AS t(item_id, moment)"
    )
    log, items = parquet(tmp_path / "log.parquet", select), write(tmp_path / "items.csv", ITEMS)
    found = prepare("shop", interactions=log, items=items, time_col="moment", rows="moment >= '2024-02-01'")
    assert histories(found) == {"a": ["2", "3"]}


EVENT_NAMES = ("view", "purchase", "it's", "Ürün", "")
QUANTITIES = (-2, -1, 0, 0.5, 1, 2, 10)
NUMBER_TESTS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda one, other: one == other,
    "==": lambda one, other: one == other,
    "<>": lambda one, other: one != other,
    "!=": lambda one, other: one != other,
    "<": lambda one, other: one < other,
    "<=": lambda one, other: one <= other,
    ">": lambda one, other: one > other,
    ">=": lambda one, other: one >= other,
}
Test = tuple[str, Callable[[dict[str, Any]], bool]]


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _number_test(sign: str, value: float) -> Test:
    return f"quantity {sign} {value}", lambda row: NUMBER_TESTS[sign](row["quantity"], value)


def _text_test(sign: str, value: str) -> Test:
    return f"event {sign} {_quoted(value)}", lambda row: NUMBER_TESTS[sign](row["event"], value)


def _among(values: list[str]) -> Test:
    return f"event IN ({', '.join(map(_quoted, values))})", lambda row: row["event"] in values


def _both(word: str, one: Test, other: Test) -> Test:
    if word == "and":
        return f"({one[0]} and {other[0]})", lambda row: one[1](row) and other[1](row)
    return f"({one[0]} or {other[0]})", lambda row: one[1](row) or other[1](row)


row_tests = st.recursive(
    st.builds(_number_test, st.sampled_from(sorted(NUMBER_TESTS)), st.sampled_from(QUANTITIES))
    | st.builds(_text_test, st.sampled_from(["=", "==", "<>", "!="]), st.sampled_from(EVENT_NAMES))
    | st.builds(_among, st.lists(st.sampled_from(EVENT_NAMES), min_size=1, max_size=3)),
    lambda one: (
        st.builds(_both, st.sampled_from(["and", "or"]), one, one)
        | st.builds(lambda test: (f"not ({test[0]})", lambda row: not test[1](row)), one)
    ),
    max_leaves=5,
)
row_values = st.lists(st.tuples(st.sampled_from(EVENT_NAMES), st.sampled_from(QUANTITIES)), min_size=1, max_size=12)


@settings(max_examples=60)
@given(row_tests, row_values, st.sampled_from(["csv", "jsonl"]))
def test_conditions_hold_for_the_rows_for_which_python_says_so(test, values, kind):
    condition, holds = test
    rows = [{"user_id": "u", "item_id": f"i{place}", "event": e, "quantity": q} for place, (e, q) in enumerate(values)]
    kept = [row["item_id"] for row in rows if holds(row)]
    with tempfile.TemporaryDirectory() as name:
        log = Path(name) / f"log.{kind}"
        if kind == "jsonl":
            text = "".join(json.dumps(row) + "\n" for row in rows)
        else:
            text = table(",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows))
        write(log, text)
        if not kept:
            with pytest.raises(InputError, match="no usable interaction: left out: another row"):
                prepare("shop", interactions=log, untitled="id", rows=condition)
            return
        found = prepare("shop", interactions=log, untitled="id", rows=condition)
    assert histories(found) == {"u": kept}
    out = len(rows) - len(kept)
    assert account(found) == (len(rows), len(kept), {}, {"another row (--rows)": out} if out else {})


# ---------------------------------------------------------------- titles of several columns


@pytest.mark.parametrize(
    ("template", "values", "title"),
    [
        ("{prod_name}, {colour}", ("Vest", "Black"), "Vest, Black"),
        ("{prod_name}, {colour}", ("Vest", ""), "Vest"),
        ("{prod_name}, {colour}", ("", "Black"), "Black"),
        ("{prod_name}, {colour}", (" Vest ", " Black"), "Vest, Black"),
        ("{prod_name} ({colour})", ("Vest", ""), "Vest"),
        ("{prod_name} [{colour}]", ("Vest", ""), "Vest"),
        ("{prod_name} ({colour})", ("", "Black"), "(Black)"),
        ("({colour}) {prod_name}", ("Vest", ""), "Vest"),
        ("{colour}: {prod_name}", ("Vest", ""), "Vest"),
        ("{prod_name} - {colour}", ("Vest", ""), "Vest"),
        ("{prod_name} – {colour}", ("", "Black"), "Black"),
        ("{prod_name} | {colour}", ("Vest", ""), "Vest"),
        ("{prod_name}/{colour}", ("Vest", ""), "Vest"),
        ("{prod_name} {colour}", ("Vest", ""), "Vest"),
        ("{prod_name} {colour}", ("", "Black"), "Black"),
        ("{prod_name}", ("Vest", ""), "Vest"),
        ("{prod_name} {{{colour}}}", ("Vest", "Black"), "Vest {Black}"),
        ("{prod_name} {{{colour}}}", ("Vest", ""), "Vest"),
        ("{prod_name} ({colour}), {item_id}", ("Vest", ""), "Vest, 1"),
        ("{prod_name}, {colour}, {item_id}", ("Vest", ""), "Vest, 1"),
        ("{prod_name}, {colour}, {item_id}", ("", ""), "1"),
        ("{item_id}. {prod_name} ({colour})", ("", ""), "1"),
        ("{item_id} ({prod_name}, {colour})", ("Vest", "Black"), "1 (Vest, Black)"),
        ("{item_id} ({prod_name}, {colour})", ("Vest", ""), "1 (Vest)"),
        ("{item_id} ({prod_name}, {colour})", ("", "Black"), "1 (Black)"),
        ("{item_id} ({prod_name}, {colour})", ("", ""), "1"),
        ("{item_id} [{prod_name}] ({colour})", ("", ""), "1"),
        ("{prod_name} ({colour})", ("-30-", ""), "-30-"),
        ("{prod_name}, {colour}", ("What If:", ""), "What If:"),
        ("{prod_name}, {colour}", ("/Geo", ""), "/Geo"),
        ("{prod_name}, {colour}", ("A (b)", ""), "A (b)"),
        ("{prod_name}, {colour}", ("[]", ""), "[]"),
        ("{prod_name}, {colour}", ("{0}", "{1}"), "{0}, {1}"),
    ],
)
def test_a_title_of_columns_takes_along_what_would_be_left_of_a_missing_one(tmp_path, template, values, title):
    items = tmp_path / "items.jsonl"
    items.write_text(json.dumps({"item_id": "1", "prod_name": values[0], "colour": values[1]}))
    log = write(tmp_path / "log.csv", table("user_id,item_id", "a,1"))
    found = prepare("shop", interactions=log, items=items, title=template)
    assert titles(found) == {"1": title}


@pytest.mark.parametrize("missing", [None, "", " "])
def test_null_and_blank_columns_of_a_title_are_missing(tmp_path, missing):
    rows = [{"item_id": "1", "name": "Vest", "size": missing}, {"item_id": "2", "name": "Sock", "size": "5"}]
    items = write(tmp_path / "items.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    log = write(tmp_path / "log.csv", table("user_id,item_id", "a,1", "a,2"))
    found = prepare("shop", interactions=log, items=items, title="{name} ({size})")
    assert titles(found) == {"1": "Vest", "2": "Sock (5)"}


def test_a_text_for_missing_is_missing_to_a_title_of_columns(tmp_path):
    items = table("item_id,name,colour", "1,Vest,NA", "2,Sock,red", "3,Hat,NA")
    found, _ = shop(tmp_path, LOG, items, title="{name}, {colour}", missing="NA")
    assert titles(found) == {"1": "Vest", "2": "Sock, red", "3": "Hat"}


def test_columns_of_a_title_stay_metadata(tmp_path):
    items = table("item_id,name,colour", "1,Vest,red", "2,Sock,red", "3,Hat,blue")
    found, _ = shop(tmp_path, LOG, items, title="{name}, {colour}")
    assert found.dataset.catalog.metadata[0] == {"name": "Vest", "colour": "red"}


def test_whole_floats_of_parquet_are_written_without_a_fraction(tmp_path):
    select = "SELECT '1' AS item_id, 'Alien' AS name, 1979.0::DOUBLE AS year, 8.5::DOUBLE AS score"
    items = parquet(tmp_path / "items.parquet", select)
    log = write(tmp_path / "log.csv", table("user_id,item_id", "a,1"))
    found = prepare("shop", interactions=log, items=items, title="{name} ({year}), {score}")
    assert titles(found) == {"1": "Alien (1979), 8.5"}


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{nam}, {colour}", ["--title", "'nam'", "name, colour"]),
        ("no column", ["--title", "names no column"]),
        ("{name", ["--title", "'{name'"]),
        ("name}", ["--title", "'name}'"]),
        ("{}", ["--title", "no column ''"]),
        ("{0}", ["--title", "no column '0'"]),
        ("{name.real}", ["--title", "'name.real'"]),
    ],
)
def test_what_is_no_title_of_columns_is_refused(tmp_path, template, words):
    items = table("item_id,name,colour", "1,Vest,red")
    told = refused(tmp_path, UsageError, LOG, items, title=template)
    for word in words:
        assert word in told


def test_two_titles_are_refused_together(tmp_path):
    told = refused(tmp_path, UsageError, title="{title}", title_col="title")
    assert "--title and --title-col" in told


def test_two_titles_of_new_items_are_refused_together(tmp_path):
    found, _ = shop(tmp_path)
    new = write(tmp_path / "new.csv", table("item_id,title,year", "9,New,2026"))
    with pytest.raises(UsageError, match="--title-of and --title-col"):
        prepare_items(found.dataset.catalog, new, title_of="{title} ({year})", title_col="title")


# ---------------------------------------------------------------- items without title

HALF = table("item_id,title", "1,Alien", "2,", "3,   ")


def test_items_without_title_are_dropped_with_their_interactions(tmp_path):
    found, notes = shop(tmp_path, LOG, HALF, untitled="drop")
    assert titles(found) == {"1": "Alien"}
    assert histories(found) == {"a": ["1"]}
    assert account(found, "items") == (3, 1, {}, {"an item without title (--untitled drop)": 2})
    assert account(found) == (3, 1, {}, {"its item has no title (--untitled drop)": 2})
    assert "left out 2 items: an item without title (--untitled drop)" in notes
    assert "left out 2 interactions: its item has no title (--untitled drop)" in notes


def test_items_without_title_take_their_id(tmp_path):
    found, _ = shop(tmp_path, LOG, HALF, untitled="id")
    assert titles(found) == {"1": "Alien", "2": "2", "3": "3"}
    assert account(found, "items") == (3, 3, {}, {})


def test_items_without_title_are_refused_or_skipped_unless_something_is_said(tmp_path):
    assert refused(tmp_path, InputError, LOG, HALF).startswith("items.csv:3: title is blank; ")
    found, _ = shop(tmp_path, LOG, HALF, skip_bad=True)
    assert account(found, "items") == (3, 1, {"title is blank": 2}, {})
    assert account(found) == (3, 1, {"item ... is not among the items": 2}, {})


def test_ids_are_titles_of_items_without_a_column_of_titles(tmp_path):
    found, _ = shop(tmp_path, LOG, table("item_id,year", "1,1979", "2,1988", "3,2006"), untitled="id")
    assert titles(found) == {"1": "1", "2": "2", "3": "3"}
    assert found.dataset.catalog.metadata[0] == {"year": "1979"}


@pytest.mark.parametrize("untitled", ["drop", "id"])
def test_a_text_for_missing_is_no_title(tmp_path, untitled):
    items = ITEMS.replace("Big", "NULL")
    found, _ = shop(tmp_path, LOG, items, untitled=untitled, missing=["NULL"])
    second = {} if untitled == "drop" else {"2": "2"}
    assert titles(found) == {"1": "Alien", **second, "3": "Cars"}


# ---------------------------------------------------------------- active users, samples, ratings


def slow_core(pairs: list[tuple[str, str]], core: int) -> list[tuple[str, str]]:
    while True:
        users, items = Counter(user for user, _ in pairs), Counter(item for _, item in pairs)
        kept = [(user, item) for user, item in pairs if users[user] >= core and items[item] >= core]
        if kept == pairs:
            return kept
        pairs = kept


def by_user(pairs: list[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for user, item in pairs:
        found.setdefault(user, []).append(item)
    return found


pair_lists = st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("123456")), min_size=1, max_size=40)
CHAIN = [("a", "1"), ("a", "2"), ("b", "2"), ("b", "3"), ("c", "3"), ("c", "4"), ("d", "4")]


@settings(max_examples=50)
@given(pair_lists, st.integers(1, 4), st.booleans())
@example(CHAIN, 2, False)
def test_a_core_is_what_obvious_code_keeps(pairs, core, own_items):
    kept = slow_core(pairs, core)
    log = table("user_id,item_id", *(f"{user},{item}" for user, item in pairs))
    items = None if own_items else table("item_id,title", *(f"{item},T{item}" for item in "123456"))
    options: dict[str, Any] = {"untitled": "id"} if own_items else {}
    with tempfile.TemporaryDirectory() as name:
        if not kept:
            assert "--core" in refused(Path(name), InputError, log, items, core=core, **options)
            return
        found, notes = shop(Path(name), log, items, core=core, **options)
    assert histories(found) == by_user(kept)
    assert list(histories(found)) == list(by_user(kept))
    order = list(dict.fromkeys(item for _, item in pairs)) if own_items else list("123456")
    assert list(found.dataset.catalog.item_ids) == [item for item in order if item in {item for _, item in kept}]
    assert list(titles(found).values()) == [item if own_items else f"T{item}" for item in titles(found)]
    out = len(pairs) - len(kept)
    reason = f"interactions in no {core}-core (--core)"
    assert account(found) == (len(pairs), len(kept), {}, {reason: out} if out else {})
    told = f"left out {out} interaction{'s' * (out != 1)}: in no {core}-core (--core)"
    assert (told in notes) == bool(out)


def test_items_that_a_core_takes_out_are_in_the_account_of_items(tmp_path):
    log = table("user_id,item_id", "a,1", "b,1", "a,2", "b,2", "c,3")
    found, _ = shop(tmp_path, log, core=2)
    assert titles(found) == {"1": "Alien", "2": "Big"}
    read, kept, rejected, left_out = account(found, "items")
    assert (read, kept) == (3, 2)
    assert (sum(rejected.values()), sum(left_out.values())) == (0, 1)


@settings(max_examples=30)
@given(pair_lists, st.integers(1, 6))
def test_long_histories_are_what_obvious_code_keeps(pairs, least):
    counts = Counter(user for user, _ in pairs)
    kept = [(user, item) for user, item in pairs if counts[user] >= least]
    log = table("user_id,item_id", *(f"{user},{item}" for user, item in pairs))
    with tempfile.TemporaryDirectory() as name:
        if not kept:
            assert "--min-history" in refused(Path(name), InputError, log, None, untitled="id", min_history=least)
            return
        found, _ = shop(Path(name), log, None, untitled="id", min_history=least)
    assert list(histories(found).items()) == list(by_user(kept).items())
    out = len(pairs) - len(kept)
    reason = f"interactions of users with fewer than {least} (--min-history)"
    assert account(found) == (len(pairs), len(kept), {}, {reason: out} if out else {})


def test_long_histories_are_counted_among_what_a_core_kept(tmp_path):
    log = table("user_id,item_id", "a,1", "a,2", "b,1", "b,2", "b,1", "c,1", "c,3", "c,2", "d,1")
    found, _ = shop(tmp_path, log, core=2, min_history=3)
    assert histories(found) == {"b": ["1", "2", "1"]}
    assert account(found)[3] == {
        "interactions in no 2-core (--core)": 2,
        "interactions of users with fewer than 3 (--min-history)": 4,
    }


USERS = [f"u{number}" for number in range(30)]
MANY = table(
    "user_id,item_id", *(f"{user},{1 + (place + again) % 3}" for again in range(3) for place, user in enumerate(USERS))
)


def test_a_sample_of_users_is_the_same_every_time(tmp_path):
    drawn = [list(histories(shop(tmp_path, MANY, sample_users=10, seed=seed)[0])) for seed in (0, 0, 1, 2)]
    plain = list(histories(shop(tmp_path, MANY, sample_users=10)[0]))
    assert drawn[0] == drawn[1] == plain
    assert len({tuple(users) for users in drawn}) == 3
    for users in drawn:
        assert len(users) == 10
        assert users == [user for user in USERS if user in users]


def test_a_sample_keeps_whole_users(tmp_path):
    whole = histories(shop(tmp_path, MANY)[0])
    found, notes = shop(tmp_path, MANY, sample_users=7, seed=3)
    assert histories(found) == {user: whole[user] for user in histories(found)}
    reason = "of users who were not drawn (--sample-users)"
    assert account(found) == (90, 21, {}, {f"interactions {reason}": 69})
    assert f"left out 69 interactions: {reason}" in notes
    assert len(found.dataset.catalog) == 3


@pytest.mark.parametrize("number", [30, 31, 10**9])
def test_a_sample_of_more_users_than_there_are_is_all_of_them(tmp_path, number):
    found, _ = shop(tmp_path, MANY, sample_users=number)
    assert list(histories(found)) == USERS
    assert account(found) == (90, 90, {}, {})


def test_a_sample_draws_from_users_who_are_left(tmp_path):
    log = MANY + "".join(f"lone{number},1\n" for number in range(100))
    found, _ = shop(tmp_path, log, sample_users=25, min_history=2, seed=5)
    assert len(histories(found)) == 25
    assert set(histories(found)) <= set(USERS)


RATED = table(
    "user_id,item_id,timestamp,rating", "a,1,1000000001,2", "a,2,1000000002,4", "b,3,1000000003,4.5", "b,1,1000000004,"
)


def test_ratings_are_kept_from_the_least_on(tmp_path):
    found, _ = shop(tmp_path, RATED.replace(",\n", ",3.5\n"), min_rating=4)
    assert found.ratings.tolist() == [4, 4.5]
    assert account(found) == (4, 2, {}, {"rating below 4 (--min-rating)": 2})


def test_a_rating_that_is_missing_is_none_or_not_enough(tmp_path):
    found, _ = shop(tmp_path, RATED)
    assert [str(rating) for rating in found.ratings] == ["2.0", "4.0", "4.5", "nan"]
    assert refused(tmp_path, InputError, RATED, min_rating=4).startswith("log.csv:5: rating is missing; ")
    found, _ = shop(tmp_path, RATED, min_rating=4, skip_bad=True)
    assert account(found) == (4, 2, {"rating is missing": 1}, {"rating below 4 (--min-rating)": 1})


def test_the_least_rating_needs_ratings(tmp_path):
    assert "--rating-col" in refused(tmp_path, InputError, LOG, min_rating=4)


# ---------------------------------------------------------------- order and patterns


def test_items_of_one_moment_are_ordered_by_a_column(tmp_path):
    log = table(
        "user_id,item_id,timestamp,step",
        "b,1,1000000005,3",
        "a,1,1000000001,10",
        "b,2,1000000005,-1",
        "a,2,1000000001,9",
        "a,3,1000000000,99",
        "b,3,1000000005,2.5",
        "a,1,1000000002,1",
    )
    assert list(histories(shop(tmp_path, log)[0]).items()) == [("b", ["1", "2", "3"]), ("a", ["3", "1", "2", "1"])]
    found, _ = shop(tmp_path, log, order_col="step")
    assert list(histories(found).items()) == [("b", ["2", "3", "1"]), ("a", ["3", "2", "1", "1"])]


def test_what_has_one_place_too_stays_in_the_order_of_the_file(tmp_path):
    log = table("user_id,item_id,timestamp,step", *(f"a,{item},1000000001,{step}" for item, step in ["32", "11", "22"]))
    assert histories(shop(tmp_path, log, order_col="step")[0]) == {"a": ["1", "3", "2"]}


def test_without_times_the_column_orders_everything(tmp_path):
    log = table("user_id,item_id,step", "b,1,3", "a,1,10", "b,2,1", "a,2,9", "b,3,2")
    found, _ = shop(tmp_path, log, order_col="step")
    assert list(histories(found).items()) == [("b", ["2", "3", "1"]), ("a", ["2", "1"])]


def test_ratings_go_with_their_items_when_they_are_ordered(tmp_path):
    log = table("user_id,item_id,timestamp,step,rating", "a,1,1000000001,2,5", "a,2,1000000001,1,4")
    found, _ = shop(tmp_path, log, order_col="step")
    assert found.ratings.tolist() == [4, 5]


@settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3), st.integers(-3, 3)), min_size=1, max_size=25))
def test_order_is_by_time_then_column_then_file(rows):
    log = table(
        "user_id,item_id,timestamp,step", *(f"{u},i{n},{10**9 + t},{step}" for n, (u, t, step) in enumerate(rows))
    )
    with tempfile.TemporaryDirectory() as name:
        found, _ = shop(Path(name), log, None, untitled="id", order_col="step")
    expected: dict[str, list[str]] = {user: [] for user, _, _ in rows}
    for place, (user, *_) in sorted(enumerate(rows), key=lambda one: (one[1][1], one[1][2], one[0])):
        expected[user].append(f"i{place}")
    assert list(histories(found).items()) == list(expected.items())


def test_the_column_of_order_has_numbers(tmp_path):
    log = table("user_id,item_id,timestamp,step", "a,1,1000000001,1", "a,2,1000000002,x", "a,3,1000000003,")
    assert refused(tmp_path, InputError, log, order_col="step").startswith("log.csv:3: step 'x' is no number; ")
    assert "--order-col" in refused(tmp_path, InputError, log, order_col="stop")
    found, _ = shop(tmp_path, log, order_col="step", skip_bad=True)
    assert account(found) == (3, 1, {"step ... is no number": 1, "step is missing": 1}, {})


CLICKS = table("user_id,item_id,timestamp", "a,1-1 2-0 3-1,1000000001", "b,2-0,1000000002", "a,2-1,1000000003")


def test_every_match_of_a_pattern_is_an_item(tmp_path):
    found, notes = shop(tmp_path, CLICKS, item_pattern=r"(\S+)-1(?!\S)")
    assert histories(found) == {"a": ["1", "3", "2"]}
    assert account(found) == (4, 3, {}, {"no item in it (--item-pattern)": 1})
    assert "left out 1 interaction: no item in it (--item-pattern)" in notes


def test_a_pattern_without_group_takes_the_whole_match(tmp_path):
    log = table("user_id,item_id", "a,1|2|3", "b,3")
    assert histories(shop(tmp_path, log, item_pattern=r"\d+")[0]) == {"a": ["1", "2", "3"], "b": ["3"]}


def test_a_pattern_reads_lists_too(tmp_path):
    log = write(tmp_path / "log.jsonl", '{"user_id": "a", "item_id": ["1", "3"]}\n{"user_id": "b", "item_id": "2"}\n')
    items = write(tmp_path / "items.csv", ITEMS)
    found = prepare("shop", interactions=log, items=items, item_pattern=r"\S+")
    assert histories(found) == {"a": ["1", "3"], "b": ["2"]}


def test_rows_that_a_condition_leaves_out_are_counted_once(tmp_path):
    found, _ = shop(tmp_path, CLICKS, item_pattern=r"(\S+)-1(?!\S)", rows="user_id = 'b' or item_id = '2-1'")
    assert account(found) == (3, 1, {}, {"no item in it (--item-pattern)": 1, "another row (--rows)": 1})


@pytest.mark.parametrize(
    ("pattern", "words"), [("(", ["is no regular expression"]), (r"(\d)(\d)", ["2 groups", "mark the item with one"])]
)
def test_what_is_no_pattern_is_refused(tmp_path, pattern, words):
    told = refused(tmp_path, UsageError, CLICKS, item_pattern=pattern)
    for word in ("--item-pattern", *words):
        assert word in told


# ---------------------------------------------------------------- near misses


@pytest.mark.parametrize(
    ("items", "written", "known", "words"),
    [
        (["007", "012", "3"], ["7", "12", "12", "99", "3"], "007", "putting leading zeros back would match 3"),
        (["12", "7", "3"], ["12.0", "7.0", "7.0", "99.0", "3"], "12", "leaving '.0' out would match 3"),
        (["12", "7", "3"], ["12 ", " 7", " 7 ", "99 ", "3"], "12", "leaving blanks out would match 3"),
        (["B00A", "B00C", "3"], ["b00a", "b00C", "b00c", "b00d", "3"], "B00A", "ignoring case would match 3"),
    ],
    ids=["zeros", "fractions", "blanks", "case"],
)
def test_unknown_items_that_another_spelling_would_match_are_told(tmp_path, items, written, known, words):
    titled = table("item_id,title", *(f"{item},T{place}" for place, item in enumerate(items)))
    log = table("user_id,item_id", *(f"a,{item}" for item in written))
    told = refused(tmp_path, InputError, log, titled)
    assert told.startswith(f"log.csv:2: item {written[0]!r} is not among the items; the items have {known!r}: ")
    assert words.split(" would")[0] in told
    assert "--skip-bad" in told
    found, notes = shop(tmp_path, log, titled, skip_bad=True)
    assert [note for note in notes if "would match" in note] == [f"of 4 interactions with unknown items, {words}"]
    assert account(found) == (5, 1, {"item ... is not among the items": 4}, {})


def test_leading_zeros_of_the_interactions_are_told_as_such(tmp_path):
    """The zeros are in the interactions: nothing is to be put back."""
    told = refused(tmp_path, InputError, table("user_id,item_id", "a,007"), table("item_id,title", "7,Bond"))
    assert "the items have '7'" in told
    assert "leaving leading zeros out" in told


def test_an_item_that_is_just_unknown_is_no_near_miss(tmp_path):
    told = refused(tmp_path, InputError, table("user_id,item_id", "a,99"))
    assert told == "log.csv:2: item '99' is not among the items; add it to the items, or leave such out with --skip-bad"
    _, notes = shop(tmp_path, table("user_id,item_id", "a,99", "a,1"), skip_bad=True)
    assert not [note for note in notes if "would match" in note]


# ---------------------------------------------------------------- splits


@pytest.mark.parametrize("fractions", [(0.5, None), (None, 0.1), (0.5, 0.1)])
def test_leave_one_out_takes_no_fractions(tmp_path, fractions):
    with pytest.raises(UsageError) as caught:
        choose_split("leave-one-out", *fractions)
    assert "leave-one-out" in str(caught.value)
    assert "--train" in str(caught.value) or "--validation" in str(caught.value)


def test_leave_one_out_of_a_recipe_takes_no_fractions_either(tmp_path):
    base = make_recipe({"split": "leave-one-out", "train": 0.5})
    with pytest.raises(UsageError, match="leave-one-out"):
        shop(tmp_path, recipe=base)


def test_fractions_of_no_rule_are_refused(tmp_path):
    told = refused(tmp_path, UsageError, recipe=make_recipe({"train": 0.5}))
    assert "--split" in told


@pytest.mark.parametrize(
    ("rule", "train", "validation"),
    [("ratio", 0.9, 0.2), ("temporal", 0, 0.1), ("ratio", 1.5, None), ("ratio", -0.1, None), ("paper", 0.8, None)],
)
def test_fractions_that_make_no_split_are_refused(rule, train, validation):
    with pytest.raises(UsageError) as caught:
        choose_split(rule, train, validation)
    assert "train" in str(caught.value)


def seen_targets(found: Prepared) -> tuple[int, int]:
    dataset = found.dataset
    sequences = dataset.sequences
    seen = number = 0
    for user in range(len(sequences)):
        items = sequences.items_of(user).tolist()
        for place in range(int(sequences.validation_stop[user]), len(items)):
            if place >= dataset.min_history:
                number += 1
                seen += items[place] in items[:place]
    return seen, number


@settings(max_examples=30)
@given(pair_lists, st.sampled_from(["leave-one-out", "ratio"]))
@example([("a", "1"), ("a", "2"), ("a", "1"), ("b", "1"), ("b", "2"), ("b", "3")], "leave-one-out")
def test_targets_that_a_user_had_before_are_told_with_their_number(pairs, rule):
    log = table("user_id,item_id", *(f"{user},{item}" for user, item in pairs))
    split = Split(rule=rule, train=0.5, validation=0.1) if rule == "ratio" else Split(rule=rule)
    with tempfile.TemporaryDirectory() as name:
        found, notes = shop(Path(name), log, None, untitled="id", split=split)
    seen, number = seen_targets(found)
    told = [note for note in notes if "had before" in note]
    assert bool(told) == bool(seen)
    if seen:
        assert told[0].startswith(f"{seen} of {number} test targets are items that their user had before")


# ---------------------------------------------------------------- names and values of options


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("user_column", ["--user-column", "did you mean '--user-col'"]),
        ("item_id", ["--item-id"]),
        ("separator", ["--separator"]),
        ("skip", ["--skip"]),
    ],
)
def test_options_that_are_none_are_refused(tmp_path, option, words):
    told = refused(tmp_path, UsageError, **{option: "x"})
    for word in ("no option", "choices", *words):
        assert word in told


@pytest.mark.parametrize(
    ("option", "value", "choices"),
    [
        ("repeats", "frist", ["did you mean 'first'", "first, keep, last, refuse"]),
        ("duplicate_items", "newest", ["first, last, most, refuse"]),
        ("untitled", "skip", ["drop, id, refuse"]),
        ("format", "xlsx", ["csv, jsonl, parquet, recbole, tsv"]),
        ("items_format", "xlsx", ["csv, jsonl, parquet, recbole, tsv"]),
        ("quotes", "double", ["group, text"]),
        ("items_quotes", "double", ["group, text"]),
    ],
)
def test_values_that_are_none_are_refused_with_the_choices(tmp_path, option, value, choices):
    told = refused(tmp_path, UsageError, **{option: value})
    for word in (repr(value), *choices):
        assert word in told
    assert "--" + option.replace("_", "-") in told


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("core", 0),
        ("core", -1),
        ("core", "many"),
        ("core", 2.5),
        ("min_history", 0),
        ("sample_users", 0),
        ("cold_items", 0.0),
        ("cold_items", 1.0),
        ("cold_items", float("nan")),
        ("cold_items", "some"),
        ("seed", -1),
        ("min_rating", "high"),
        ("min_rating", float("nan")),
        ("user_col", 5),
        ("sep", ""),
        ("items_sep", ""),
        ("skip_bad", "perhaps"),
        ("columns", 3),
        ("missing", {"a": 1}),
    ],
)
def test_values_of_another_kind_are_refused_under_their_option(tmp_path, option, value):
    assert "--" + option.replace("_", "-") in refused(tmp_path, UsageError, **{option: value})


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"header": False}, "--columns"),
        ({"items_header": False}, "--items-columns"),
        ({"encoding": "utf-9"}, "--encoding"),
        ({"items_encoding": "utf-9"}, "--items-encoding"),
        ({"time_format": "%Q"}, "--time-format"),
        ({"time_format": "days"}, "--time-format"),
        ({"columns": ["user_id", "item_id"]}, "--columns"),
        ({"items_columns": ["item_id"]}, "--items-columns"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_options_that_do_not_fit_are_refused_by_name(tmp_path, options, word):
    assert word in refused(tmp_path, UsageError, **options)


def test_a_rule_that_is_none_is_refused_with_the_choices(tmp_path):
    told = refused(tmp_path, UsageError, recipe=make_recipe({"split": "random"}))
    assert "'random'" in told
    assert "leave-one-out, paper, ratio, temporal" in told


def test_files_are_needed(tmp_path):
    with pytest.raises(UsageError, match="--interactions FILE"):
        prepare("shop", items=write(tmp_path / "items.csv", ITEMS))
    with pytest.raises(InputError, match=r"no file .*nowhere\.csv"):
        prepare("shop", interactions=tmp_path / "nowhere.csv")


@pytest.mark.parametrize("name", ["steam", "yelp"])
def test_own_files_may_have_the_name_of_a_recipe(tmp_path, name):
    log, items = write(tmp_path / "log.csv", LOG), write(tmp_path / "items.csv", ITEMS)
    found = prepare(name, Recipe(interactions=(str(log),), items=(str(items),)))
    assert histories(found) == {"a": ["1", "2"], "b": ["3"]}


# ---------------------------------------------------------------- recipes

RECIPE = """\
about = "A shop"
licence = "ours"
noun = "good"
interactions = "log.csv"
items = ["items.csv"]
user-col = "customer"
item-col = "article"
title-col = "name"
sep = ";"
missing = ["NA", "-1"]
min-rating = 2.5
core = 1
skip-bad = true
"""


def test_keys_of_a_recipe_are_the_options(tmp_path):
    found = read_recipe(write(tmp_path / "shop.toml", RECIPE))
    assert (found.user_col, found.item_col, found.title_col, found.sep) == ("customer", "article", "name", ";")
    assert (found.missing, found.min_rating, found.core, found.skip_bad) == (("NA", "-1"), 2.5, 1, True)
    assert (found.about, found.licence, found.noun) == ("A shop", "ours", "good")
    assert [Path(one).name for one in found.interactions + found.items] == ["log.csv", "items.csv"]


def test_options_win_over_a_recipe(tmp_path):
    base = read_recipe(write(tmp_path / "shop.toml", RECIPE))
    found = make_recipe({"user_col": "who", "core": 3, "noun": None}, base)
    assert (found.user_col, found.core, found.noun, found.item_col) == ("who", 3, "good", "article")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('user-colour = "x"', ["--user-colour", "did you mean '--user-col'"]),
        ('[items]\nsep = ";"', ["items"]),
        ("user-col = 5", ["--user-col", "5"]),
        ('core = "five"', ["--core", "five"]),
        ("core = 0", ["--core"]),
        ("core = true", ["--core"]),
        ('core = "5"', ["--core"]),
        ('skip-bad = "yes"', ["--skip-bad"]),
        ("interactions = 7", ["--interactions"]),
        ("interactions = [7]", ["--interactions"]),
        ('repeats = "maybe"', ["repeats", "first, keep, last, refuse"]),
        ('repeats = ["first"]', ["repeats", "first, keep, last, refuse"]),
        ("header = false", ["--columns"]),
        ('user-col = "a"\nuser-col = "b"', ["no recipe"]),
        ("user-col =", ["no recipe"]),
        ("user-col: a", ["no recipe"]),
        ("\x00", ["no recipe"]),
    ],
)
def test_a_recipe_that_is_none_is_refused_by_its_file(tmp_path, text, words):
    path = write(tmp_path / "odd.toml", text)
    with pytest.raises(InputError) as caught:
        read_recipe(path)
    assert "\n" not in str(caught.value)
    for word in ("odd.toml", *words):
        assert word in str(caught.value)


def test_a_recipe_that_is_no_text_is_refused_by_its_file(tmp_path):
    path = tmp_path / "odd.toml"
    path.write_bytes(b'about = "\xff"\n')
    with pytest.raises(InputError, match=r"odd\.toml"):
        read_recipe(path)
    with pytest.raises(InputError, match=r"nowhere\.toml.*--recipe"):
        read_recipe(tmp_path / "nowhere.toml")


def test_a_recipe_is_kept_with_the_data_set(tmp_path):
    write(tmp_path / "log.csv", LOG)
    write(tmp_path / "items.csv", ITEMS)
    base = make_recipe({"interactions": str(tmp_path / "log.csv"), "items": str(tmp_path / "items.csv")})
    found = prepare("shop", base, repeats="first", core=1)
    assert found.split["recipe"] == {
        "interactions": [str(tmp_path / "log.csv")],
        "items": [str(tmp_path / "items.csv")],
        "repeats": "first",
        "core": 1,
    }


def test_the_seed_alone_chooses_the_sample(tmp_path):
    first = histories(shop(tmp_path, MANY, sample_users=5, seed=4)[0])
    np.random.seed(1)
    assert histories(shop(tmp_path, MANY, sample_users=5, seed=4)[0]) == first
