"""Quotes that are text, and rows of JSON that lack a key: nothing of them is lost without a word."""

import gzip
import json
from pathlib import Path

import pytest
from notes import Notes

from patchrec.data.prepare import prepare
from patchrec.errors import InputError, UsageError


def read(folder: Path, ending: str, items: str, log: str, **options):
    files = {"items": folder / f"items.{ending}", "interactions": folder / f"log.{ending}"}
    for name, text in (("items", items), ("interactions", log)):
        files[name].write_text(text, encoding="utf-8")
    report = Notes()
    return prepare("shop", **files, report=report, **options), report.notes


RECBOLE = {"user_id": "user_id:token", "item_id": "item_id:token", "tag": "tag:token", "title": "title:token"}


def delimited(kind: str, columns: str, rows: list[tuple[str, ...]], between: str = "\t") -> str:
    names = [RECBOLE[name] if kind == "recbole" else name for name in columns.split()]
    return "".join(between.join(row) + "\n" for row in [tuple(names), *rows])


@pytest.mark.parametrize(("kind", "ending"), [("tsv", "tsv"), ("recbole", "inter")])
def test_a_quote_that_is_never_closed_takes_no_rows_with_it(tmp_path, kind, ending):
    """Four rows, of which a reader of quoted fields makes two."""
    items = delimited(kind, "item_id title", [("1", '"Heroes"'), ("2", '"Weird Al" Yankovic')])
    log = delimited(
        kind, "user_id item_id tag", [("a", "1", '"red'), ("a", "2", "shoes"), ("b", "1", 'blue"'), ("b", "2", "x")]
    )
    found, notes = read(tmp_path, ending, items, log)
    assert len(found.dataset.sequences.items) == 4
    assert found.dataset.catalog.titles == ('"Heroes"', '"Weird Al" Yankovic')
    assert [note for note in notes if "in quotes" in note] == [
        f"items.{ending}: 1 line has a field in quotes, kept as its text; if they only group it, give "
        "--items-quotes group"
    ]


def test_a_quoted_tsv_is_read_where_it_is_said_to_be_one(tmp_path):
    items = 'item_id\ttitle\n1\t"A ""B""\tC"\n2\tPlain\n'
    log = "user_id\titem_id\na\t1\na\t2\n"
    with pytest.raises(InputError, match="control character"):
        read(tmp_path, "tsv", items, log, quotes="group")
    found, notes = read(tmp_path, "tsv", items.replace("\tC", " C"), log, quotes="group")
    assert found.dataset.catalog.titles == ('A "B" C', "Plain")
    assert not any("in quotes" in note for note in notes)


def test_quotes_of_a_csv_can_be_text(tmp_path):
    items, log = 'item_id,title\n1,"Heroes"\n2,5" disk\n', "user_id,item_id\na,1\na,2\n"
    found, _ = read(tmp_path, "csv", items, log, quotes="text")
    assert found.dataset.catalog.titles == ('"Heroes"', '5" disk')
    grouped, _ = read(tmp_path, "csv", items, log)
    assert grouped.dataset.catalog.titles == ("Heroes", '5" disk')


def test_quotes_are_not_for_json(tmp_path):
    with pytest.raises(UsageError, match="--quotes is for CSV, TSV and RecBole files"):
        read(tmp_path, "jsonl", '{"item_id":"1","title":"A"}', '{"user_id":"a","item_id":"1"}', quotes="text")


def lines(rows: list[dict]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


ITEMS = lines([{"item_id": "1", "title": "A"}, {"item_id": "2", "title": "B"}])
EVENTS = [{"user_id": "a", "item_id": str(1 + n % 2), "timestamp": 100 * n, "rating": 3} for n in range(1, 5)]


def test_a_first_event_without_a_time_does_not_take_the_times_of_all(tmp_path):
    first = {"user_id": "a", "item_id": "1"}
    with pytest.raises(InputError, match=r"log\.jsonl:1: timestamp is missing"):
        read(tmp_path, "jsonl", ITEMS, lines([first, *EVENTS]))
    found, notes = read(tmp_path, "jsonl", ITEMS, lines([first, *EVENTS]), skip_bad=True)
    assert found.dataset.sequences.timestamps is not None
    assert len(found.dataset.sequences.items) == 4
    assert "skipped log.jsonl:1: timestamp is missing" in notes


def test_a_first_event_without_a_rating_does_not_take_the_ratings_of_all(tmp_path):
    first = {"user_id": "a", "item_id": "1", "timestamp": 50}
    found, _ = read(tmp_path, "jsonl", ITEMS, lines([first, *EVENTS]), rating_col="rating")
    assert found.ratings is not None
    assert found.ratings.tolist()[1:] == [3.0] * 4


def test_a_first_item_without_a_title_is_one_line_that_cannot_be_used(tmp_path):
    items = lines([{"item_id": "0"}]) + ITEMS
    with pytest.raises(InputError, match=r"items\.jsonl:1: title is missing"):
        read(tmp_path, "jsonl", items, lines(EVENTS))
    found, notes = read(tmp_path, "jsonl", items, lines(EVENTS), skip_bad=True)
    assert found.dataset.catalog.titles == ("A", "B")
    assert "skipped items.jsonl:1: title is missing" in notes


def test_a_column_that_no_row_has_is_told_with_all_that_some_have(tmp_path):
    log = lines([{"user": "a", "item_id": "1"}, {"user": "a", "item_id": "2", "when": 5}])
    with pytest.raises(InputError, match=r"no column 'user_id'; columns: 'user', 'item_id', 'when'"):
        read(tmp_path, "jsonl", ITEMS, log)


@pytest.mark.parametrize("indent", [None, 2])
def test_json_is_lines_or_one_array(tmp_path, indent):
    rows = json.loads(json.dumps(EVENTS))
    array, _ = read(
        tmp_path, "json", json.dumps([json.loads(x) for x in ITEMS.splitlines()]), json.dumps(rows, indent=indent)
    )
    each, _ = read(tmp_path, "json", ITEMS, lines(EVENTS))
    assert array.dataset.sequences.fingerprint == each.dataset.sequences.fingerprint
    assert array.dataset.catalog.fingerprint == each.dataset.catalog.fingerprint


def test_rows_of_an_array_are_numbered(tmp_path):
    log = json.dumps([*EVENTS, {"user_id": "a"}, 7])
    with pytest.raises(InputError, match=r"log\.json:5: item_id is missing"):
        read(tmp_path, "json", ITEMS, log)
    found, notes = read(tmp_path, "json", ITEMS, log, skip_bad=True)
    assert len(found.dataset.sequences.items) == 4
    assert {"skipped log.json:5: item_id is missing", "skipped log.json:6: not a JSON object"} <= set(notes)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[1, 2", "begins as a JSON array and is none"),
        ("[]", "has no rows"),
        ("\n", "has no rows"),
        ("{", "no line of"),
    ],
)
def test_what_is_no_json_is_refused_in_one_line(tmp_path, text, words):
    with pytest.raises(InputError, match=words):
        read(tmp_path, "json", ITEMS, text)


def test_packed_lines_are_read_twice_alike(tmp_path):
    (tmp_path / "items.jsonl").write_text(ITEMS)
    (tmp_path / "log.jsonl.gz").write_bytes(gzip.compress(lines(EVENTS).encode()))
    found = prepare("shop", items=tmp_path / "items.jsonl", interactions=tmp_path / "log.jsonl.gz")
    assert len(found.dataset.sequences.items) == 4


def logs(folder: Path, *texts: str) -> list[Path]:
    paths = [folder / f"log-{number}.csv" for number in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text)
    (folder / "items.csv").write_text("item_id,title\n1,A\n2,B\n3,C\n")
    return paths


def test_several_files_are_read_one_after_another(tmp_path):
    paths = logs(
        tmp_path,
        "user_id,item_id\na,1\nb,2\n",
        "item_id,user_id\n2,a\n3,b\n",  # columns in another order
        "user_id,item_id\na,3\n",
    )
    found = prepare("shop", interactions=paths, items=tmp_path / "items.csv")
    items = found.dataset.sequences
    assert [items.items_of(items.index[user]).tolist() for user in ("a", "b")] == [[0, 1, 2], [1, 2]]
    assert found.source == "log-0.csv, log-1.csv, log-2.csv and items.csv"
    assert found.split["interactions_read"] == 5


def test_lines_that_cannot_be_used_are_told_with_their_own_file(tmp_path):
    first, second = "user_id,item_id,timestamp\na,1,5\n", "user_id,item_id,timestamp\na,9,6\na,1,5\na,2,7\n"
    report = Notes()
    paths = logs(tmp_path, first, second)
    found = prepare("shop", interactions=paths, items=tmp_path / "items.csv", skip_bad=True, report=report)
    assert len(found.dataset.sequences.items) == 2
    assert "skipped log-1.csv:2: item '9' is not among the items" in report.notes
    assert "skipped log-1.csv:3: the same user, item and time as log-0.csv:2" in report.notes


def test_files_that_do_not_go_together_are_refused(tmp_path):
    paths = logs(tmp_path, "user_id,item_id,timestamp\na,1,5\n", "user_id,item_id\na,2\n")
    with pytest.raises(InputError, match=r"'log-0\.csv' has times and 'log-1\.csv' has none"):
        prepare("shop", interactions=paths, items=tmp_path / "items.csv")
    with pytest.raises(UsageError, match="names a file twice"):
        prepare("shop", interactions=[paths[0], paths[0]], items=tmp_path / "items.csv")
