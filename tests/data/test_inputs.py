"""Where rows come from: files, folders, patterns, archives, packings, encodings; every row is read once, in order."""

import bz2
import csv
import gzip
import io
import json
import lzma
import random
import sys
import tempfile
import zipfile
from functools import cache
from pathlib import Path

import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st
from notes import Notes
from written_tables import write_as

from patchrec.data import lines
from patchrec.data.prepare import Prepared, prepare
from patchrec.errors import InputError, UsageError

MIB = 1 << 20


def read(interactions: object, **options: object) -> tuple[Prepared, list[str]]:
    """A log with ids for titles."""
    report = Notes()
    found = prepare("shop", interactions=interactions, untitled="id", report=report, **options)
    return found, report.notes


def items_in_order(found: Prepared) -> list[str]:
    """Of the only user, without times: as the rows were read."""
    dataset = found.dataset
    assert dataset.sequences.user_ids == ("a",)
    return [dataset.catalog.item_ids[item] for item in dataset.sequences.items_of(0)]


def account(found: Prepared) -> dict:
    return found.split["account"]["interactions"]


def csv_of(*items: object, header: bool = True) -> str:
    return ("user_id,item_id\n" if header else "") + "".join(f"a,{item}\n" for item in items)


def json_of(*items: object) -> str:
    return "".join(json.dumps({"user_id": "a", "item_id": str(item)}) + "\n" for item in items)


def put(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def zipped(path: Path, members: dict[str, str | bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def skipped(notes: list[str]) -> list[str]:
    return [note.removeprefix("skipped ") for note in notes if note.startswith("skipped ")]


# Several files


def test_files_are_read_in_the_order_in_which_they_are_named(tmp_path):
    paths = [put(tmp_path / f"{name}.csv", csv_of(item)) for name, item in (("b", 1), ("c", 2), ("a", 3))]
    assert items_in_order(read(paths)[0]) == ["1", "2", "3"]
    assert items_in_order(read(paths[::-1])[0]) == ["3", "2", "1"]


def test_files_of_several_formats_may_be_named_one_by_one(tmp_path):
    rows = [("user_id", "item_id"), ("a", "1")]
    paths = []
    for place, kind in enumerate(("csv", "tsv", "jsonl", "parquet", "inter")):
        paths.append(write_as(kind, tmp_path, f"log{place}", [rows[0], ("a", str(place))]))
    found, _ = read(paths)
    assert items_in_order(found) == ["0", "1", "2", "3", "4"]
    assert account(found) == {"read": 5, "kept": 5, "rejected": {}, "left_out": {}}


SPARK = {
    "_SUCCESS": "",
    "._SUCCESS.crc": b"crc\0",
    ".part-00000.csv.crc": b"crc\0\0\0\x01",
    "part-00000.csv": csv_of(1, 2),
    "part-00001.csv": "",
    "part-00002.csv": csv_of(),
    "part-00003.csv": csv_of(3),
    "part-00010.csv": csv_of(4),
}


def spark(folder: Path, parts: dict[str, str | bytes]) -> Path:
    for name, content in parts.items():
        put(folder / name, content)
    return folder


@pytest.mark.parametrize("named", ["log", "log/part-*.csv", "log/part-000*", "log/*", "log/**/*.csv"])
def test_the_parts_of_spark_are_one_table(tmp_path, named):
    spark(tmp_path / "log", SPARK)
    found, _ = read(tmp_path / named)
    assert items_in_order(found) == ["1", "2", "3", "4"]
    assert account(found) == {"read": 4, "kept": 4, "rejected": {}, "left_out": {}}


@pytest.mark.parametrize("kind", ["csv.gz", "csv.bz2", "json", "json.gz", "parquet", "tsv"])
def test_the_parts_of_spark_are_one_table_in_every_format(tmp_path, kind):
    for place in range(4):
        items = [] if place == 1 else [place]
        name = f"part-{place:05d}.{kind}"
        if kind == "parquet":
            rows = [("user_id", "item_id"), ("a", str(place))]
            write_as("parquet", put(tmp_path / "log" / "_SUCCESS", "").parent, f"part-{place:05d}", rows)
        elif kind.startswith("json"):
            put(tmp_path / "log" / name, packed(name, json_of(*items).encode()))
        else:
            text = csv_of(*items).replace(",", "\t" if kind == "tsv" else ",")
            put(tmp_path / "log" / name, packed(name, text.encode()))
    expected = ["0", "1", "2", "3"] if kind == "parquet" else ["0", "2", "3"]
    assert items_in_order(read(tmp_path / "log")[0]) == expected


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "csv.bz2", "csv.xz", "csv.zst", "json", "json.gz", "tsv.gz"])
def test_a_part_without_a_byte_is_no_fault_packed_or_not(tmp_path, kind):
    """A task of Spark without rows writes such a part."""
    write = json_of if kind.startswith("json") else csv_of
    between = "\t" if kind.startswith("tsv") else ","
    for place, text in enumerate((write(1), "", write(2))):
        name = f"part-{place:05d}.{kind}"
        put(
            tmp_path / "log" / name,
            packed(name, text.replace(",", between).encode() if "json" not in kind else text.encode()),
        )
    assert items_in_order(read(tmp_path / "log")[0]) == ["1", "2"]


def test_a_part_of_parquet_without_rows_is_no_fault(tmp_path):
    import duckdb

    for place in range(3):
        with duckdb.connect() as connection:
            connection.execute(
                f"COPY (SELECT 'a' AS user_id, '{place}' AS item_id WHERE {place} <> 1) "
                f"TO '{tmp_path}/part-{place}.parquet' (FORMAT parquet)"
            )
    assert items_in_order(read(tmp_path)[0]) == ["0", "2"]


def test_parts_in_folders_by_day_are_read_by_path(tmp_path):
    spark(
        tmp_path / "log",
        {
            "_SUCCESS": "",
            "date=2024-01-10/part-00000.csv": csv_of(3),
            "date=2024-01-09/part-00001.csv": csv_of(2),
            "date=2024-01-09/part-00000.csv": csv_of(1),
            "date=2024-01-09/.part-00000.csv.crc": b"\0",
            "_temporary/0/part-00009.csv": csv_of(8),
            ".hidden/part-00009.csv": csv_of(9),
        },
    )
    for named in ("log", "log/date=*/part-*.csv", "log/*/part-*.csv"):
        assert items_in_order(read(tmp_path / named)[0]) == ["1", "2", "3"], named
    assert items_in_order(read(tmp_path / "log" / "date=2024-01-10")[0]) == ["3"]


def test_rows_of_parts_are_told_apart(tmp_path):
    spark(tmp_path / "log", {f"date=2024-01-{day}/part-0.csv": csv_of(day) + "a\n" for day in (10, 11)})
    for named in ("log", "log/*/part-0.csv"):
        _, notes = read(tmp_path / named, skip_bad=True)
        told = skipped(notes)
        assert len(told) == 2
        assert [("2024-01-10" in told[0]), ("2024-01-11" in told[1])] == [True, True], named
        assert all("part-0.csv:3: 1 fields where the header has 2" in one for one in told)


def test_rows_of_files_with_one_name_are_told_apart(tmp_path):
    text = "user_id,item_id,timestamp\na,1,1700000000\n"
    paths = [put(tmp_path / day / "log.csv", text) for day in ("monday", "tuesday")]
    with pytest.raises(InputError, match=r"tuesday/log\.csv:2: the same user, item and time as .*monday/log\.csv:2"):
        read(paths)


def test_a_pattern_is_read_by_path(tmp_path, monkeypatch):
    for name in ("b.csv", "a.csv", "c.tsv", "10.csv", "9.csv"):
        put(tmp_path / "logs" / name, csv_of(name))
    assert items_in_order(read(tmp_path / "logs/*.csv")[0]) == ["10.csv", "9.csv", "a.csv", "b.csv"]
    assert items_in_order(read(tmp_path / "logs/?.csv")[0]) == ["9.csv", "a.csv", "b.csv"]
    assert items_in_order(read(tmp_path / "l*s/[ab].csv")[0]) == ["a.csv", "b.csv"]
    monkeypatch.chdir(tmp_path)
    assert items_in_order(read("logs/[ab].csv")[0]) == ["a.csv", "b.csv"]


def test_a_file_whose_name_reads_as_a_pattern_is_that_file(tmp_path):
    put(tmp_path / "log [1].csv", csv_of(1))
    put(tmp_path / "log 1.csv", csv_of(2))
    assert items_in_order(read(tmp_path / "log [1].csv")[0]) == ["1"]


def test_a_pattern_of_archives_reads_what_they_hold(tmp_path):
    for place in (1, 2):
        zipped(tmp_path / f"log-{place}.zip", {"log.csv": csv_of(place)})
    assert items_in_order(read(tmp_path / "log-*.zip")[0]) == ["1", "2"]


def test_archives_of_one_name_are_not_one_archive(tmp_path):
    paths = [zipped(tmp_path / day / "log.zip", {"log.csv": csv_of(day)}) for day in ("monday", "tuesday")]
    assert items_in_order(read(paths)[0]) == ["monday", "tuesday"]


TWICE = {
    "the same path": ["log/a.csv", "log/a.csv"],
    "another way to it": ["log/a.csv", "log/../log/a.csv"],
    "its folder": ["log", "log/a.csv"],
    "a pattern": ["log/*.csv", "log/a.csv"],
    "a link": ["log/a.csv", "link.csv"],
    "an archive": ["log.zip", "log.zip"],
    "a member": ["log.zip", "log.zip/a.csv"],
    "an archive by another way": ["log.zip", "log/../log.zip"],
    "standard input": ["-", "-"],
}


@pytest.mark.parametrize("how", TWICE)
def test_a_file_that_is_named_twice_is_refused(tmp_path, how, monkeypatch):
    put(tmp_path / "log/a.csv", csv_of(1))
    (tmp_path / "link.csv").symlink_to(tmp_path / "log/a.csv")
    zipped(tmp_path / "log.zip", {"a.csv": csv_of(1)})
    monkeypatch.setattr(sys, "stdin", Piped(csv_of(1)))
    named = [one if one == "-" else f"{tmp_path}/{one}" for one in TWICE[how]]
    with pytest.raises(UsageError, match="a file twice"):
        read(named, format="csv")


NOTHING = {
    "a file that is not there": ("none.csv", "no file '.*none.csv'; check the path"),
    "a folder that is not there": ("none/log.csv", "no file"),
    "a pattern": ("log/*.parquet", r"no file matches '.*log/\*\.parquet'"),
    "a pattern below nothing": ("none/*.csv", "no file matches"),
    "an empty folder": ("empty", "empty' holds no file that reads as a table"),
    "a folder of empty files": ("zeros", "zeros' holds no file that reads as a table"),
    "a folder without tables": ("texts", r"texts' holds no file that reads as a table \(texts/a\.md, texts/b\.md\)"),
    "an empty archive": ("empty.zip", "empty.zip' holds no file that reads as a table|has no member"),
    "a member that is not there": ("log.zip/b.csv", r"log\.zip' has no member 'b\.csv'; it holds a\.csv"),
    "a pattern in an archive": ("log.zip/2024/*.csv", r"log\.zip' has no member '2024/\*\.csv'; it holds a\.csv"),
    "an empty file": ("zeros/a.csv", "a.csv' is empty"),
    "a workbook": ("book.xlsx", "book.xlsx' is an Excel workbook; save its sheet as CSV"),
    "an old workbook": ("BOOK.XLS", "BOOK.XLS' is an Excel workbook; save its sheet as CSV"),
}


@pytest.mark.parametrize("what", NOTHING)
def test_what_holds_no_table_is_refused_by_its_name(tmp_path, what):
    put(tmp_path / "log/a.csv", csv_of(1))
    put(tmp_path / "zeros/a.csv", "")
    put(tmp_path / "texts/a.md", "a")
    put(tmp_path / "texts/b.md", "b")
    (tmp_path / "empty").mkdir()
    zipped(tmp_path / "empty.zip", {})
    zipped(tmp_path / "log.zip", {"a.csv": csv_of(1)})
    zipped(tmp_path / "book.xlsx", {"xl/worksheets/sheet1.xml": "<x/>"})
    put(tmp_path / "BOOK.XLS", b"\xd0\xcf\x11\xe0")
    named, words = NOTHING[what]
    with pytest.raises(InputError, match=words) as caught:
        read(tmp_path / named)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("where", ["folder", "zip"])
def test_files_of_several_formats_in_one_place_are_refused_with_names(tmp_path, where):
    members = {"a.csv": csv_of(1), "b.jsonl": json_of(2)}
    path = tmp_path / "log"
    if where == "zip":
        path = zipped(tmp_path / "log.zip", members)
    else:
        spark(path, members)
    with pytest.raises(InputError, match=r"log(\.zip)?' holds files of several formats \(\.csv, \.jsonl\).*'a\.csv'"):
        read(path)
    assert items_in_order(read(f"{path}/*.csv")[0]) == ["1"]


@pytest.mark.parametrize(("one", "other"), [("a.json", "b.jsonl"), ("a.ndjson", "b.json"), ("a.json", "b.json.gz")])
def test_endings_of_one_format_are_not_several_formats(tmp_path, one, other):
    for place, name in enumerate((one, other)):
        put(tmp_path / "log" / name, packed(name, json_of(place).encode()))
    assert items_in_order(read(tmp_path / "log")[0]) == ["0", "1"]


@pytest.mark.parametrize("options", [{"format": "csv"}, {"sep": ","}])
@pytest.mark.parametrize("where", ["folder", "zip"])
def test_where_the_format_is_said_no_file_is_left_out_without_a_word(tmp_path, where, options):
    members = {"a.csv": csv_of(1), "b.txt": csv_of(2), "c": csv_of(3)}
    path = zipped(tmp_path / "log.zip", members) if where == "zip" else spark(tmp_path / "log", members)
    try:
        found, notes = read(path, **options)
    except InputError as error:
        assert "b.txt" in str(error)  # noqa: PT017 - refused is right, too
        return
    assert items_in_order(found) == ["1", "2", "3"] or any("b.txt" in note for note in notes)


# Packings


@cache
def packed(name: str, content: bytes) -> bytes:
    """As the end of a name says."""
    pack = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zstandard.compress}
    return pack.get(name.rsplit(".", 1)[-1], bytes)(content)


PACKINGS = ["gz", "bz2", "xz", "zst"]
MANY = [f"item {number}" for number in range(20_000)]


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "inter"])
@pytest.mark.parametrize("packing", PACKINGS)
def test_every_packing_of_every_text_is_read(tmp_path, packing, kind):
    plain = write_as(kind, tmp_path, "log", [("user_id", "item_id"), *(("a", item) for item in MANY[:50])])
    path = put(tmp_path / f"log.{kind}.{packing}", packed(packing, plain.read_bytes()))
    assert items_in_order(read(path)[0]) == MANY[:50]


@pytest.mark.parametrize("packing", PACKINGS)
def test_every_piece_of_a_packed_file_is_read(tmp_path, packing):
    """Packers write one after another into one file: pigz, cat, parallel bzip2."""
    text = csv_of(*MANY[:3000]).encode()
    pieces = [text[:10], text[10:20_000], b"", text[20_000:]]
    path = put(tmp_path / f"log.csv.{packing}", b"".join(packed(packing, piece) for piece in pieces))
    assert items_in_order(read(path)[0]) == MANY[:3000]


@pytest.mark.parametrize("ending", ["GZ", "Gz"])
def test_the_case_of_an_ending_does_not_matter(tmp_path, ending):
    assert items_in_order(read(put(tmp_path / f"LOG.CSV.{ending}", gzip.compress(csv_of(1).encode())))[0]) == ["1"]


@pytest.mark.parametrize("name", ["log.csv", "LOG.CSV", "log.dat", "data/log.csv", "log.csv.gz", "log.json"])
def test_the_one_table_of_an_archive_is_read(tmp_path, name):
    content = packed(name, (json_of(1, 2) if "json" in name else csv_of(1, 2)).encode())
    others = {"__MACOSX/._log.csv": b"\0\1", ".DS_Store": b"\0", "README.md": "read me"}
    path = zipped(tmp_path / "log.zip", {**(others if "dat" not in name else {}), name: content})
    assert items_in_order(read(path, format="csv" if "dat" in name else None)[0]) == ["1", "2"]


def test_members_of_an_archive_are_one_table_by_their_names(tmp_path):
    members = {"2024/b.csv": csv_of(3), "2023/z.csv": csv_of(1), "2024/a.csv": csv_of(2), "2024/": ""}
    path = zipped(tmp_path / "log.zip", members)
    assert items_in_order(read(path)[0]) == ["1", "2", "3"]
    assert items_in_order(read(f"{path}/2024/*.csv")[0]) == ["2", "3"]
    assert items_in_order(read(f"{path}/2023/z.csv")[0]) == ["1"]
    assert items_in_order(read([f"{path}/2024/b.csv", f"{path}/2023/z.csv"])[0]) == ["3", "1"]


def test_an_empty_member_of_an_archive_is_no_fault(tmp_path):
    members = {"log/_SUCCESS": "", "log/part-0.csv": csv_of(1), "log/part-1.csv": "", "log/part-2.csv": csv_of(2)}
    assert items_in_order(read(zipped(tmp_path / "log.zip", members))[0]) == ["1", "2"]


def test_rows_of_members_are_told_by_archive_and_member(tmp_path):
    path = zipped(tmp_path / "log.zip", {"a.csv": csv_of(1), "b.csv": csv_of(2) + "a\n"})
    with pytest.raises(InputError, match=r"^log\.zip/b\.csv:3: 1 fields where the header has 2"):
        read(path)


def test_parquet_in_an_archive_is_refused_with_the_way_on(tmp_path):
    plain = write_as("parquet", tmp_path, "log", [("user_id", "item_id"), ("a", "1")])
    path = zipped(tmp_path / "log.zip", {"log.parquet": plain.read_bytes()})
    with pytest.raises(InputError, match=r"log\.zip/log\.parquet' cannot be read there; unpack it"):
        read(path)


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_a_large_member_is_read_to_its_end(tmp_path, ending):
    text = (csv_of if ending == "csv" else json_of)(*(f"{item} {'é' * 40}" for item in MANY))
    path = zipped(tmp_path / "log.zip", {f"log.{ending}": text})
    assert items_in_order(read(path)[0]) == [f"{item} {'é' * 40}" for item in MANY]


# Damage


LONG_TEXT = csv_of(*(random.Random(number).random() for number in range(5_000))).encode()


def damaged(content: bytes, how: str) -> bytes:
    if how == "cut in the middle":
        return content[: len(content) // 2]
    if how == "cut at the end":
        return content[:-4]
    if how == "cut after the beginning":
        return content[:20]
    if how == "bytes changed":
        middle = len(content) // 2
        return content[:middle] + bytes(64) + content[middle + 64 :]
    return b"this is no archive, but text\n" * 10


DAMAGE = ["cut in the middle", "cut at the end", "cut after the beginning", "bytes changed", "other bytes"]


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("skip_bad", [False, True])
@pytest.mark.parametrize("packing", [*PACKINGS, "zip"])
def test_a_damaged_archive_is_refused_by_its_name(tmp_path, packing, how, skip_bad):
    if packing == "zip":
        whole = zipped(tmp_path / "whole.zip", {"log.csv": LONG_TEXT}).read_bytes()
    else:
        whole = packed(packing, LONG_TEXT)
    name = "log.zip" if packing == "zip" else f"log.csv.{packing}"
    path = put(tmp_path / name, damaged(whole, how))
    with pytest.raises(InputError, match=name.replace(".", r"\.")) as caught:
        read(path, skip_bad=skip_bad)
    assert "\n" not in str(caught.value)
    assert "damaged" in str(caught.value)
    assert "permissions" not in str(caught.value)


@pytest.mark.parametrize("packing", PACKINGS)
def test_damage_of_json_lines_is_refused_too(tmp_path, packing):
    content = packed(packing, json_of(*MANY).encode())
    with pytest.raises(InputError, match=rf"log\.jsonl\.{packing}"):
        read(put(tmp_path / f"log.jsonl.{packing}", content[: len(content) // 2]), skip_bad=True)


def test_a_member_that_is_packed_and_damaged_is_named(tmp_path):
    content = gzip.compress(LONG_TEXT)
    path = zipped(tmp_path / "log.zip", {"a.csv": csv_of(1), "b.csv.gz": content[: len(content) // 2]})
    with pytest.raises(InputError, match=r"log\.zip/b\.csv\.gz' is damaged"):
        read(path)


@given(st.sampled_from(PACKINGS), st.integers(0, 10_000), st.integers(1, 255))
@settings(max_examples=60)
def test_any_changed_byte_is_found_or_changes_nothing(packing, place, by):
    """gzip, bzip2, xz and zip carry a sum over what they hold, zstd where it is asked to."""
    text = csv_of(*(f"item {number}" for number in range(300))).encode()
    content = bytearray(
        zstandard.ZstdCompressor(write_checksum=True).compress(text) if packing == "zst" else packed(packing, text)
    )
    content[place % len(content)] ^= by
    with tempfile.TemporaryDirectory() as name:
        path = put(Path(name) / f"log.csv.{packing}", bytes(content))
        try:
            found = items_in_order(read(path)[0])
        except InputError:
            return
    assert found == [f"item {number}" for number in range(300)]


# Standard input


class Piped:
    """Standard input that can be read once, in small pieces."""

    def __init__(self, content: str | bytes) -> None:
        self.buffer = io.BytesIO(content.encode() if isinstance(content, str) else content)
        self.buffer.seekable = lambda: False


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "recbole"])
def test_standard_input_is_read_like_a_file(tmp_path, monkeypatch, kind):
    ending = "inter" if kind == "recbole" else kind
    plain = write_as(ending, tmp_path, "log", [("user_id", "item_id"), *(("a", item) for item in MANY)])
    monkeypatch.setattr(sys, "stdin", Piped(plain.read_bytes()))
    assert items_in_order(read("-", format=kind)[0]) == MANY


def test_standard_input_needs_its_format(monkeypatch):
    monkeypatch.setattr(sys, "stdin", Piped(csv_of(1)))
    with pytest.raises(UsageError, match=r"cannot tell the format of '-'.*--format"):
        read("-")


def test_rows_of_standard_input_are_told_by_its_sign(monkeypatch):
    monkeypatch.setattr(sys, "stdin", Piped(csv_of(1) + "a\n"))
    with pytest.raises(InputError, match=r"^-:3: 1 fields where the header has 2"):
        read("-", format="csv")
    monkeypatch.setattr(sys, "stdin", Piped(json_of(1) + "{\n"))
    with pytest.raises(InputError, match=r"^-:2: not JSON"):
        read("-", format="jsonl")


def test_standard_input_stands_where_it_is_named(tmp_path, monkeypatch):
    paths = [put(tmp_path / f"{place}.csv", csv_of(place)) for place in (1, 3)]
    monkeypatch.setattr(sys, "stdin", Piped(csv_of(2)))
    assert items_in_order(read([paths[0], "-", paths[1]], format="csv")[0]) == ["1", "2", "3"]


def test_standard_input_has_an_encoding_too(monkeypatch):
    for encoding in ("utf-16", "latin-1"):
        monkeypatch.setattr(sys, "stdin", Piped(csv_of("é").encode(encoding)))
        assert items_in_order(read("-", format="csv", encoding=encoding)[0]) == ["é"]
        monkeypatch.setattr(sys, "stdin", Piped('{"user_id":"a","item_id":"é"}'.encode(encoding)))
        assert items_in_order(read("-", format="jsonl", encoding=encoding)[0]) == ["é"]


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_nothing_on_standard_input_is_refused(monkeypatch, kind):
    monkeypatch.setattr(sys, "stdin", Piped(""))
    with pytest.raises(InputError, match=r"'-' (is empty|has no)"):
        read("-", format=kind)


def test_standard_input_is_not_both_interactions_and_items(monkeypatch):
    monkeypatch.setattr(sys, "stdin", Piped("user_id,item_id,title\na,1,A\n"))
    with pytest.raises(UsageError, match="'-'"):
        prepare("shop", interactions="-", items="-", format="csv")


def test_parquet_on_standard_input_is_refused_with_the_way_on(monkeypatch):
    monkeypatch.setattr(sys, "stdin", Piped(b"PAR1"))
    with pytest.raises(InputError, match="'-' cannot be read there"):
        read("-", format="parquet")


# Encodings


NAMES = ["é", "Łódź", "€ 5", "日本", "😀"]
ENCODED = {
    "utf-8": NAMES,
    "utf-8-sig": NAMES,
    "utf-16": NAMES,
    "utf-16-le": NAMES,
    "utf-16-be": NAMES,
    "utf-32": NAMES,
    "latin-1": ["é", "ÿ", "\x80x"[1:], "½"],
    "cp1252": ["é", "€ 5", "“x”"],
    "cp1251": ["Привет", "№ 5"],
    "shift_jis": ["日本", "ｱ"],
    "gb18030": ["中文", "é", "😀"],
    "big5": ["中文"],
    "euc-kr": ["한국"],
}


@pytest.mark.parametrize("encoding", ENCODED)
@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl"])
def test_text_is_read_in_the_encoding_that_is_said(tmp_path, encoding, kind):
    names = ENCODED[encoding]
    plain = write_as(kind, tmp_path, "log", [("user_id", "item_id"), *(("a", name) for name in names)])
    path = put(tmp_path / f"other.{kind}", plain.read_text(encoding="utf-8").encode(encoding))
    assert items_in_order(read(path, encoding=encoding)[0]) == names
    assert items_in_order(read(path, encoding=encoding.upper().replace("-", "_"))[0]) == names


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "gb18030", "shift_jis"])
def test_characters_over_the_borders_of_blocks_are_whole(tmp_path, encoding):
    names = [f"{'日本' * 50}{number}" for number in range(9000)]
    path = put(tmp_path / "log.csv", csv_of(*names).encode(encoding))
    assert path.stat().st_size > MIB
    assert items_in_order(read(path, encoding=encoding)[0]) == names
    path = put(tmp_path / "log.csv.gz", gzip.compress(csv_of(*names).encode(encoding), 1))
    assert items_in_order(read(path, encoding=encoding)[0]) == names


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_with_a_mark_asks_for_its_encoding(tmp_path, encoding):
    content = csv_of("é").encode(encoding)
    marked = content if encoding == "utf-16" else "\ufeff".encode(encoding) + content
    with pytest.raises(InputError, match=r"log\.csv:1: the file is UTF-16; give --encoding utf-16"):
        read(put(tmp_path / "log.csv", marked))
    assert items_in_order(read(tmp_path / "log.csv", encoding="utf-16")[0]) == ["é"]


def test_a_mark_of_utf_8_is_no_part_of_the_first_name(tmp_path):
    for kind, text in (("csv", csv_of(1)), ("jsonl", json_of(1))):
        path = put(tmp_path / f"log.{kind}", b"\xef\xbb\xbf" + text.encode())
        assert items_in_order(read(path)[0]) == ["1"]
        assert items_in_order(read(path, encoding="utf-8")[0]) == ["1"]


def test_what_is_not_utf_8_asks_for_its_encoding(tmp_path):
    path = put(tmp_path / "log.csv", csv_of("é").encode("latin-1"))
    with pytest.raises(
        InputError, match=r"log\.csv:2: not UTF-8 \(byte 0xe9 at 3\); give its --encoding such as latin-1"
    ):
        read(path)
    path = put(
        tmp_path / "log.jsonl", json.dumps({"user_id": "a", "item_id": "é"}, ensure_ascii=False).encode("latin-1")
    )
    with pytest.raises(InputError, match=r"log\.jsonl:1: not UTF-8.*--encoding"):
        read(path)


@pytest.mark.parametrize("encoding", ["utf-9", "latin", "", "rot13", "base64", "hex", "zip", "undefined", "ansi", "é"])
def test_a_name_of_no_encoding_of_text_is_refused(tmp_path, encoding):
    path = put(tmp_path / "log.csv", csv_of(1))
    if encoding == "latin":  # Python's name of latin-1
        assert items_in_order(read(path, encoding=encoding)[0]) == ["1"]
        return
    with pytest.raises(UsageError, match=f"no encoding '{encoding}'; give one such as latin-1"):
        read(path, encoding=encoding)


@pytest.mark.parametrize(
    ("encoding", "content"),
    [
        ("ascii", csv_of(1, "é").encode()),
        ("cp1252", csv_of(1).encode() + b"a,\x81\n"),
        ("shift_jis", csv_of(1).encode() + b"a,\xff\xff\n"),
        ("utf-16", csv_of(1, 2).encode() + b"\n"),
        ("utf-16", csv_of(1).encode("utf-16")[:-1]),
    ],
)
def test_bytes_that_are_not_of_the_encoding_blame_the_encoding(tmp_path, encoding, content):
    """The file is not damaged, and getting it again is no help."""
    with pytest.raises(InputError, match=r"log\.csv") as caught:
        read(put(tmp_path / "log.csv", content), encoding=encoding)
    assert encoding in str(caught.value)
    assert "get it again" not in str(caught.value)


def test_an_encoding_is_not_for_parquet(tmp_path):
    path = write_as("parquet", tmp_path, "log", [("user_id", "item_id"), ("a", "1")])
    with pytest.raises(UsageError, match="--encoding is for text"):
        read(path, encoding="utf-8")


# Separators and headers


@pytest.mark.parametrize("ending", ["csv", "tsv", "dat"])
def test_a_tab_may_be_written_as_a_shell_passes_it(tmp_path, ending):
    """`--sep '\\t'` is a backslash and a letter; so does the hint show it."""
    path = put(tmp_path / f"log.{ending}", "user_id\titem_id\na\t1\n")
    assert items_in_order(read(path, sep="\\t")[0]) == ["1"]


@pytest.mark.parametrize("sep", [";", "|", "::", "\t", ",", " ", "~", "\x01", "\u00a6", "||", ", "])
@pytest.mark.parametrize("name", ["log.csv", "log.dat", "log.txt", "log"])
def test_fields_are_split_where_it_is_said(tmp_path, sep, name):
    path = put(tmp_path / name, f"user_id{sep}item_id{sep}rating\na{sep}1{sep}5\na{sep}2{sep}4\n")
    found, _ = read(path, sep=sep)
    assert items_in_order(found) == ["1", "2"]
    assert found.ratings.tolist() == [5, 4]


def test_fields_of_a_recbole_file_are_split_where_it_is_said(tmp_path):
    path = put(tmp_path / "log.inter", "user_id:token,item_id:token\na,1\na,2\n")
    assert items_in_order(read(path, sep=",")[0]) == ["1", "2"]


@pytest.mark.parametrize("sep", [";", "|", "::", "\t", ","])
@pytest.mark.parametrize("ending", ["csv", "tsv"])
def test_a_header_that_does_not_split_is_answered_with_its_separator(tmp_path, sep, ending):
    if sep == {"csv": ",", "tsv": "\t"}[ending]:
        return
    path = put(tmp_path / f"log.{ending}", f"user_id{sep}item_id{sep}time\na{sep}1{sep}5\n")
    with pytest.raises(InputError, match="--sep ") as caught:
        read(path)
    assert f"--sep {sep!r}" in str(caught.value)
    assert items_in_order(read(path, sep=sep)[0]) == ["1"]


@pytest.mark.parametrize("sep", [";", "|", "::", "\t", ","])
def test_a_header_that_does_not_split_at_what_was_said_is_answered(tmp_path, sep):
    path = put(tmp_path / "log.dat", f"user_id{sep}item_id\na{sep}1\n")
    with pytest.raises(InputError) as caught:
        read(path, sep="~")
    assert f"--sep {sep!r}" in str(caught.value)


@pytest.mark.parametrize("ending", ["csv", "tsv", "dat"])
@pytest.mark.parametrize(
    ("sep", "rows"),
    [
        (",", ["196,242,3,881250949", "186,302,3,891717742"]),
        ("\t", ["196\t242\t3\t881250949", "186\t302\t3\t891717742"]),
        ("::", ["1::1193::5::978300760", "1::661::3::978302109"]),
        (",", ["A2CX,0006428320,3.0,1394496000", "B2CX,0006428321,3.0,1394496000"]),
        (",", ["1,2,2024-01-10", "1,3,2024-01-11"]),
        (",", ["u1,i1,5,1700000000", "u1,i2,4,1700000001"]),
        (",", ["ann,1,2024-01-10T10:30:00Z", "ann,2,2024-01-10T10:30:00Z"]),
        (",", ["1,2014-04-07T10:51:09.277Z,214536502,0", "1,2014-04-07T10:54:09.868Z,214536500,0"]),
    ],
)
def test_a_first_line_that_is_data_is_answered_with_no_header(tmp_path, ending, sep, rows):
    path = put(tmp_path / f"log.{ending}", "".join(row + "\n" for row in rows))
    with pytest.raises(InputError, match=rf"^log\.{ending}:1: .*--no-header --columns "):
        read(path, sep=sep)


@pytest.mark.parametrize("header", ["user,item,rating,when", "who,what,year 2019,year 2020", "a,b,c,d"])
def test_a_first_line_that_names_columns_is_not_taken_for_data(tmp_path, header):
    path = put(tmp_path / "log.csv", f"{header}\n1,2,3,4\n")
    with pytest.raises(InputError, match="no column 'user_id'") as caught:
        read(path)
    assert "--no-header" not in str(caught.value)


@pytest.mark.parametrize("kind", ["csv", "tsv", "::"])
def test_files_without_a_header_take_their_names_from_the_option(tmp_path, kind):
    sep = {"csv": ",", "tsv": "\t"}.get(kind, kind)
    path = put(tmp_path / f"log.{kind if len(kind) == 3 else 'dat'}", f"a{sep}1{sep}5\na{sep}2{sep}4\na{sep}3\n")
    options = {"header": False, "columns": ("user_id", "item_id", "rating"), "sep": sep if kind == "::" else None}
    with pytest.raises(InputError, match=r":3: 2 fields where --columns names 3"):
        read(path, **options)
    found, _ = read(path, skip_bad=True, **options)
    assert items_in_order(found) == ["1", "2"]
    assert account(found) == {"read": 3, "kept": 2, "rejected": {"N fields where --columns names N": 1}, "left_out": {}}


def test_no_header_needs_the_names_of_columns(tmp_path):
    with pytest.raises(UsageError, match="--columns"):
        read(put(tmp_path / "log.csv", "a,1\n"), header=False)


def test_names_of_columns_replace_those_of_a_header(tmp_path):
    path = put(tmp_path / "log.csv", "x,y\na,1\n")
    assert items_in_order(read(path, columns=("user_id", "item_id"))[0]) == ["1"]
    with pytest.raises(UsageError, match=r"--columns names 3 columns, and 'log\.csv' has 2: 'x', 'y'"):
        read(path, columns=("user_id", "item_id", "rating"))


UNNAMED = {
    "a data frame's CSV": ("csv", ",user_id,item_id\n0,a,1\n1,a,2\n"),
    "written again": ("csv", ",Unnamed: 0,user_id,item_id\n0,0,a,1\n1,1,a,2\n"),
    "written three times": ("csv", ",Unnamed: 0.1,Unnamed: 0,user_id,item_id\n0,0,0,a,1\n1,1,1,a,2\n"),
    "with a name": ("csv", "Unnamed: 0,user_id,item_id\n0,a,1\n1,a,2\n"),
    "in quotes": ("csv", '"","user_id","item_id"\n"0","a","1"\n"1","a","2"\n'),
    "at the end": ("csv", "user_id,item_id,Unnamed: 2\na,1,\na,2,\n"),
    "a data frame's TSV": ("tsv", "\tuser_id\titem_id\n0\ta\t1\n1\ta\t2\n"),
    "JSON": (
        "jsonl",
        '{"Unnamed: 0": 0, "user_id": "a", "item_id": "1"}\n{"Unnamed: 0": 1, "user_id": "a", "item_id": "2"}\n',
    ),
}


@pytest.mark.parametrize("how", UNNAMED)
def test_a_column_of_row_numbers_is_not_used_and_told(tmp_path, how):
    kind, text = UNNAMED[how]
    found, notes = read(put(tmp_path / f"log.{kind}", text))
    assert items_in_order(found) == ["1", "2"]
    assert found.dataset.catalog.metadata == ()
    assert [note for note in notes if "not used" in note and f"log.{kind}: " in note]


def test_a_column_of_row_numbers_is_no_metadata_of_items(tmp_path):
    put(tmp_path / "log.csv", csv_of(1))
    for name, text in {
        "items.csv": ",item_id,title,year\n0,1,A,2000\n",
        "again.csv": ",Unnamed: 0,item_id,title,year\n0,0,1,A,2000\n",
        "items.jsonl": '{"Unnamed: 0": 0, "item_id": "1", "title": "A", "year": "2000"}\n',
    }.items():
        found = prepare("shop", interactions=tmp_path / "log.csv", items=put(tmp_path / name, text), items_format=None)
        assert found.dataset.catalog.metadata == ({"year": "2000"},), name


# Fields over the borders of blocks


PIECES = ["é", "日本", "😀", '"', "\n", "\r\n", ",", "x", " ", "''", ";", "long " * 20]


def described(rows: list[list[str]], quoting: int, end: str) -> str:
    written = io.StringIO()
    csv.writer(written, lineterminator=end, quoting=quoting).writerows([["item_id", "title", "about", "more"], *rows])
    return written.getvalue()


def catalog_rows(folder: Path, text: str, **options: object) -> list[list[str]]:
    """Rows of an item file as they come back."""
    put(folder / "log.csv", csv_of(0))
    path = put(folder / "items.csv", text)
    catalog = prepare("shop", interactions=folder / "log.csv", items=path, **options).dataset.catalog
    each = zip(catalog.item_ids, catalog.titles, catalog.metadata, strict=True)
    return [[item_id, title, further["about"], further["more"]] for item_id, title, further in each]


def as_csv_reads(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))[1:]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.5])
def test_a_large_file_is_read_as_by_one_reader_of_the_whole(tmp_path, end, share):
    draw = random.Random(f"{end}{share}")
    rows, size = [], 0
    while size < 2.3 * MIB:
        plain = draw.random() >= share
        about = "日本é " * draw.randrange(60) if plain else "".join(draw.choices(PIECES, k=draw.randrange(30)))
        rows.append([str(len(rows)), f"title {len(rows)}", about, draw.choice(["", "a", "é" * draw.randrange(400)])])
        size += len("".join(rows[-1]).encode())
    text = described(rows, csv.QUOTE_MINIMAL, end)
    assert len(text.encode()) > 2 * MIB
    assert as_csv_reads(text) == rows
    assert catalog_rows(tmp_path, text) == rows


@given(
    st.lists(st.lists(st.sampled_from(PIECES), max_size=12).map("".join), min_size=1, max_size=20),
    st.integers(1, 200),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
@settings(max_examples=80)
def test_wherever_blocks_end_fields_are_those_of_one_reader(abouts, block, quoting, end, open_end):
    rows = [[str(place), f"title {place}", about, about[::-1].replace("\r", "")] for place, about in enumerate(abouts)]
    text = described(rows, quoting, end)
    text = text.removesuffix(end) if open_end else text
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as name:
        patch.setattr(lines, "BLOCK", block)
        assert as_csv_reads(text) == rows
        assert catalog_rows(Path(name), text) == rows


@given(
    st.lists(
        st.text("aé日😀 'x;|\u2028\x85\x0b\x1c", min_size=1, max_size=9).filter(str.strip), min_size=1, max_size=30
    ),
    st.integers(1, 100),
    st.sampled_from(["csv", "tsv", "jsonl", "inter"]),
    st.sampled_from(["\n", "\r\n", "\n\n", "\r\n\r\n\r\n"]),
)
@settings(max_examples=80)
@example(["é" * 9] * 30, 7, "csv", "\n")
def test_wherever_blocks_end_lines_are_whole(items, block, kind, end):
    """Line breaks of Unicode are no line breaks, and blank lines are no rows."""
    items = [item.replace("\x0b", "").replace("\x1c", "") or "x" for item in items]
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as name:
        patch.setattr(lines, "BLOCK", block)
        path = write_as(kind, Path(name), "log", [("user_id", "item_id"), *(("a", item) for item in items)])
        path.write_bytes(path.read_bytes().replace(b"\n", end.encode()))
        found, _ = read(path)
        assert items_in_order(found) == items
        assert account(found)["read"] == len(items)


fields = st.text("ab07é日😀 .", min_size=1, max_size=8).filter(str.strip)
long_fields = st.tuples(fields, st.integers(1, 20)).map(lambda drawn: drawn[0] * drawn[1])
rated = st.sampled_from(["5", "0", "-1", "4.5", ".5", "1e2", "007", " 3", "", "3.0000000000000004"])


@given(
    st.lists(st.tuples(fields | long_fields, fields | long_fields, rated), min_size=1, max_size=40),
    st.sampled_from([30, 200, MIB]),
    st.sampled_from(["csv", "tsv", "inter", "jsonl"]),
)
@settings(max_examples=70)
@example([("a", "b", "5"), ("a\u00e9", "b", ""), ("a", "c", "4.5")] * 9, 30, "csv")
def test_users_items_and_ratings_are_those_of_their_rows_wherever_blocks_end(rows, block, kind):
    rows = [("first", "first", "1"), *rows]
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as name:
        patch.setattr(lines, "BLOCK", block)
        path = write_as(
            kind, Path(name), "log", [("user_id", "more", "item_id", "rating"), *((u, "", *r) for u, *r in rows)]
        )
        found, _ = read(path)
    dataset = found.dataset
    users = list(dict.fromkeys(user for user, _, _ in rows))
    items = list(dict.fromkeys(item for _, item, _ in rows))
    assert (dataset.sequences.user_ids, dataset.catalog.item_ids) == (tuple(users), tuple(items))
    expected = [(item, value) for user in users for of, item, value in rows if of == user]
    assert [items[item] for item in dataset.sequences.items] == [item for item, _ in expected]
    assert [str(rating) for rating in found.ratings] == [str(float(value or "nan")) for _, value in expected]


def test_a_long_field_is_read_with_and_without_a_quote_near_it(tmp_path):
    """Python's reader stops at 128 KiB."""
    about = "word, " * 50_000
    for more in ("", 'a "quote"'):
        rows = [["0", "title", about, more], ["1", "title", "", ""]]
        assert catalog_rows(tmp_path, described(rows, csv.QUOTE_MINIMAL, "\n")) == rows
    plain = "word; " * 50_000
    text = f'item_id,title,about,more\n0,title,{plain},\n1,title,"x, y",\n'
    assert catalog_rows(tmp_path, text) == [["0", "title", plain, ""], ["1", "title", "x, y", ""]]


@pytest.mark.parametrize("kind", ["csv", "tsv", "inter", "jsonl"])
def test_line_ends_of_windows_are_no_part_of_a_value(tmp_path, kind):
    path = write_as(kind, tmp_path, "log", [("user_id", "item_id", "title"), ("a", "1", "One"), ("a", "2", "Two")])
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    found, _ = read(path)
    assert items_in_order(found) == ["1", "2"]
    assert found.dataset.catalog.titles == ("One", "Two")


def test_line_ends_may_be_mixed_and_the_last_one_missing(tmp_path):
    path = put(tmp_path / "log.csv", "user_id,item_id\r\na,1\na,2\r\n\r\n\na,3\r\n\na,4")
    found, _ = read(path)
    assert items_in_order(found) == ["1", "2", "3", "4"]
    assert account(found)["read"] == 4


# Lines that are too long


SHORT = {"csv": "a,{}\n", "jsonl": '{{"user_id":"a","item_id":"{}"}}\n'}
HEADER = {"csv": "user_id,item_id\n", "jsonl": ""}


def long_line(kind: str, size: int) -> str:
    return SHORT[kind].format("x" * (size - len(SHORT[kind].format("")) + 1))


PLACES = {
    "first": lambda long, rows: [long, *rows],
    "in the middle": lambda long, rows: [*rows[:2], long, *rows[2:]],
    "last": lambda long, rows: [*rows, long],
    "last without a line break": lambda long, rows: [*rows, long.rstrip("\n")],
    "two together": lambda long, rows: [*rows[:2], long, long, *rows[2:]],
    "two apart": lambda long, rows: [rows[0], long, *rows[1:3], long, rows[3]],
    "far into the file": lambda long, rows: [*rows * 7_000, long, *rows],
}


@pytest.mark.parametrize("kind", HEADER)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("size", [MIB + 1, 2 * MIB, int(3.5 * MIB)])
def test_a_line_that_is_too_long_is_rejected_with_its_number_wherever_it_stands(tmp_path, kind, place, size):
    if place == "far into the file" and size != 2 * MIB:
        return
    short = [SHORT[kind].format(f"item-number-{number:012d}") for number in range(4)]
    bad = [f"{kind[:1]}\n", short[0]]  # a row of one field after it, whose number tells whether lines are counted
    rows = [*PLACES[place](long_line(kind, size), short), "\n" if place.endswith("break") else "", *bad]
    written = HEADER[kind] + "".join(rows)
    numbers = [n for n, line in enumerate(written.split("\n"), start=1) if len(line) > MIB or line == kind[:1]]
    path = put(tmp_path / f"log.{kind}", written)
    with pytest.raises(InputError, match=rf"^log\.{kind}:{numbers[0]}: longer than 1 MiB"):
        read(path)
    found, notes = read(path, skip_bad=True)
    assert [int(one.split(":")[1]) for one in skipped(notes)] == numbers
    assert account(found)["rejected"]["longer than N MiB"] == len(numbers) - 1
    kept = [line for line in written.split("\n") if len(line) <= MIB and "item-number" in line]
    assert account(found)["kept"] == len(kept)


@pytest.mark.parametrize("kind", HEADER)
def test_a_line_of_exactly_1_mib_is_a_line(tmp_path, kind):
    """Items may not be as long, but no line is rejected for its length."""
    path = put(
        tmp_path / f"log.{kind}", HEADER[kind] + SHORT[kind].format(1) + long_line(kind, MIB) + SHORT[kind].format(2)
    )
    found, notes = read(path, skip_bad=True)
    assert not any("longer than" in note for note in notes)
    assert account(found)["read"] == 3


def test_a_header_that_is_too_long_is_refused(tmp_path):
    path = put(tmp_path / "log.csv", "x" * (MIB + 5) + "\n" + csv_of(1))
    for skip_bad in (False, True):
        with pytest.raises(InputError, match=r"^log\.csv:1: longer than 1 MiB"):
            read(path, skip_bad=skip_bad)


def test_one_array_of_json_may_be_longer_than_a_line(tmp_path):
    """It is one line as a rule."""
    rows = [{"user_id": "a", "item_id": f"{item} {'x' * 60}"} for item in MANY]
    path = put(tmp_path / "log.json", json.dumps(rows))
    assert path.stat().st_size > MIB
    assert len(items_in_order(read(path)[0])) == len(MANY)


# Numbers of lines


def test_numbers_are_right_after_skipped_lines_and_quoted_line_breaks(tmp_path):
    path = put(
        tmp_path / "log.csv",
        b"user_id,item_id,title\n"  # 1
        b'a,1,"One\n\n\nmore"\n'  # 2 to 5
        b"\n"  # 6
        b"a,2\n"  # 7
        b'a,3,"Three\r\n"\r\n'  # 8, 9
        b"a\0,4,Four\n"  # 10
        b'a,5,"Five"five\n'  # 11
        b"\xff,6,Six\n"  # 12
        b',7,"Seven\n"\n'  # 13, 14
        b"a,8,Eight\n"  # 15
        b"a,9\n",  # 16
    )
    found, notes = read(path, skip_bad=True)
    assert [one.split(": ", 1)[0] for one in skipped(notes)] == [f"log.csv:{n}" for n in (2, 7, 8, 10, 11, 12, 13, 16)]
    assert items_in_order(found) == ["8"]
    assert (account(found)["read"], account(found)["kept"]) == (9, 1)


KINDS_OF_LINES = {
    # name: (the line, its reason; None is a good one)
    "good": ("a,{},5", None),
    "quoted": ('a,"{}",5', None),
    "blank": ("", None),
    "short": ("a,{}", "fields where"),
    "long": ("a,{},5,6", "fields where"),
    "NUL": ("a\0,{},5", "a NUL byte"),
    "not UTF-8": ("\udcff,{},5", "not UTF-8"),
    "rating": ("a,{},five", "is no number"),
    "no user": (",{},5", "user_id is blank"),
    "control": ("a\x1b,{},5", "control character"),
    "after a quote": ('"a"a,{},5', "expected after"),
}


@given(st.lists(st.sampled_from([*KINDS_OF_LINES]), max_size=25), st.sampled_from([20, 100, MIB]))
@settings(max_examples=80)
@example(["good", "short", "rating", "NUL"], MIB)
@example(["good", "NUL", "short"], MIB)
@example(["after a quote", "NUL", "short", "rating", "not UTF-8", "quoted"], MIB)
def test_rows_that_cannot_be_used_are_listed_in_the_order_of_lines(kinds, block):
    """Faults of format and of values, wherever blocks end; the first of them is the one that is told."""
    text = "user_id,item_id,rating\na,first,1\n"
    text += "".join(KINDS_OF_LINES[kind][0].format(place) + "\n" for place, kind in enumerate(kinds))
    expected = [
        (place + 3, KINDS_OF_LINES[kind][1]) for place, kind in enumerate(kinds) if KINDS_OF_LINES[kind][1] is not None
    ]
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as name:
        patch.setattr(lines, "BLOCK", block)
        path = put(Path(name) / "log.csv", text.encode("utf-8", "surrogateescape"))
        found, _ = read(path, skip_bad=True)
        assert [int(one.split(":")[1]) for one in found.rejected] == [line for line, _ in expected]
        assert all(reason in one for one, (_, reason) in zip(found.rejected, expected, strict=True))
        good = [kind for kind in kinds if KINDS_OF_LINES[kind][1] is None and kind != "blank"]
        assert account(found)["kept"] == len(good) + 1
        assert account(found)["read"] == len(good) + 1 + len(expected)
        rejected = put(Path(name) / "rejected.csv", "").unlink() or Path(name) / "rejected.csv"
        read(path, rejects=rejected)
        with rejected.open(encoding="utf-8", newline="") as handle:
            assert [int(row["line"]) for row in csv.DictReader(handle)] == [line for line, _ in expected]
        if expected:
            with pytest.raises(InputError, match=rf"^log\.csv:{expected[0][0]}: "):
                read(path)


JSON_LINES = {
    "good": ('{"user_id":"a","item_id":"%d"}', None),
    "blank": ("", None),
    "broken": ('{"user_id":"a","item_id":"%d"', "not JSON"),
    "an array": ("[%d]", "not JSON"),
    "no item": ('{"user_id":"a","n":"%d"}', "item_id is missing"),
    "NUL": ('{"user_id":"a","item_id":"\0%d"}', "a NUL byte"),
    "not UTF-8": ('{"user_id":"a","item_id":"\udcff%d"}', "not UTF-8"),
    "rating": ('{"user_id":"a","item_id":"%d","rating":"five"}', "is no number"),
    "Python": ("{'user_id': 'a', 'item_id': u'%d'}", None),
    "code": ("{'user_id': 'a', 'item_id': str(%d)}", "not JSON"),
}


@given(st.lists(st.sampled_from([*JSON_LINES]), max_size=25), st.sampled_from([20, 100, MIB]))
@settings(max_examples=70)
@example(["good", "broken", "no item", "NUL"], MIB)
@example(["broken", "NUL", "broken"], MIB)
def test_lines_of_json_that_cannot_be_used_are_listed_in_the_order_of_lines(kinds, block):
    text = '{"user_id":"a","item_id":"first"}\n'
    text += "".join((JSON_LINES[kind][0] % place if kind != "blank" else "") + "\n" for place, kind in enumerate(kinds))
    expected = [(place + 2, JSON_LINES[kind][1]) for place, kind in enumerate(kinds) if JSON_LINES[kind][1] is not None]
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as name:
        patch.setattr(lines, "BLOCK", block)
        path = put(Path(name) / "log.jsonl", text.encode("utf-8", "surrogateescape"))
        found, notes = read(path, skip_bad=True)
        assert [int(one.split(":")[1]) for one in found.rejected] == [line for line, _ in expected]
        assert all(reason in one for one, (_, reason) in zip(found.rejected, expected, strict=True))
        python = kinds.count("Python")
        told = [note for note in notes if "Python literal" in note]
        assert len(told) == bool(python)
        assert all(f" {python} line" in note for note in told)
        if expected:
            with pytest.raises(InputError, match=rf"^log\.jsonl:{expected[0][0]}: "):
                read(path)


# Lines of Python


def python_rows(folder: Path, *rows: str, **options: object) -> tuple[Prepared, list[str]]:
    path = put(folder / "items.json", "".join(row + "\n" for row in rows))
    put(folder / "log.csv", csv_of(1))
    report = Notes()
    return prepare("shop", interactions=folder / "log.csv", items=path, report=report, **options), report.notes


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("u'Comedy'", "Comedy"),
        ("'it\\'s'", "it's"),
        ('"it\'s"', "it's"),
        ("'\\u00e9'", "é"),
        ("u'\\xe9'", "é"),
        ("'007'", "007"),
        ("7", "7"),
        ("1e5", "1e5"),
        ("4.50", "4.50"),
        ("-5", "-5"),
        ("-0.5", "-0.5"),
        ("True", True),
        ("False", False),
        ("None", None),
        ("[u'Drama', u'Comedy']", ["Drama", "Comedy"]),
        ("('Drama', 'Comedy')", ["Drama", "Comedy"]),
        ("[]", []),
        ("{}", {}),
        ("[1e5, None, True]", ["1e5", None, True]),
        ("[-1, 2]", ["-1", "2"]),
        (
            "{u'name': u'Ann', 'born': 1970, 'of': ['x', {'y': None}]}",
            {"name": "Ann", "born": "1970", "of": ["x", {"y": None}]},
        ),
        ("{1: 'one'}", {"1": "one"}),
        ("'\\n'", "\n"),
    ],
)
def test_lines_of_python_are_read_and_told(tmp_path, written, value):
    row = f"{{'item_id': '1', u'title': 'A', 'more': {written}}}"
    found, notes = python_rows(tmp_path, row)
    assert found.dataset.catalog.metadata == ({"more": value},)
    assert [note for note in notes if note.startswith("items.json: 1 line") and "Python" in note]


def test_ids_in_lines_of_python_are_as_they_are_written(tmp_path):
    ids = ["1", "1e5", "007", "10", "0.50", "-3"]
    rows = [f"{{'item_id': {one if one != '007' else repr(one)}, 'title': 'A'}}" for one in ids]
    found, _ = python_rows(tmp_path, *rows)
    assert found.dataset.catalog.item_ids == tuple(ids)


def test_a_python_line_of_characters_of_several_bytes_keeps_its_numbers(tmp_path):
    found, _ = python_rows(tmp_path, "{'title': '日本😀', 'é': 12345, 'item_id': 1, 'z': [6.70]}")
    assert found.dataset.catalog.item_ids == ("1",)
    assert found.dataset.catalog.metadata == ({"é": "12345", "z": ["6.70"]},)


CODE = [
    "{'item_id': '2', 'title': __import__('os').getcwd()}",
    "{'item_id': '2', 'title': open('CANARY', 'w')}",
    "{'item_id': '2', 'title': [open('CANARY', 'w') for x in '1']}",
    "{open('CANARY', 'w'): 'x', 'item_id': '2', 'title': 'B'}",
    "{**{'item_id': '2'}, 'title': 'B'}",
    "{'item_id': '2', 'title': f'{open(\"CANARY\", \"w\")}'}",
    "{'item_id': '2', 'title': 'B' * 1000000000}",
    "{'item_id': '2', 'title': 'B', 'x': 9 ** 9 ** 9}",
    "{'item_id': '2', 'title': 'B', 'x': 1 + 2}",
    "{'item_id': '2', 'title': 'B', 'x': (lambda: 1)()}",
    "{'item_id': '2', 'title': 'B', 'x': nan}",
    "{'item_id': '2', 'title': 'B', 'x': datetime.datetime(2024, 1, 1)}",
    "{'item_id': '2', 'title': 'B', 'x': b'bytes'}",
    "{'item_id': '2', 'title': 'B', 'x': ...}",
    "{'item_id': '2', 'title': 'B', 'x': (y := 1)}",
    "{'item_id': '2', 'item_id': '3', 'title': 'B'}",
    "['item_id', '2']",
    "'item_id'",
    "open('CANARY', 'w')",
    "{'item_id': '2', 'title': 'B'} if open('CANARY', 'w') else 0",
    "{'item_id': '2', 'title': 'B'}; open('CANARY', 'w')",
    "{'item_id': '2', 'title': 'B'",
    "{'item_id': '2', 'title': 'B', 'x': " + "[" * 500 + "]" * 500 + "}",
    "{'item_id': '2', 'title': 'B', 'x': " + "-" * 5000 + "1}",
    "{'item_id': '2', 'title': 'B', 'x': " + "(" * 5000 + "1" + ")" * 5000 + "}",
    "{'item_id': '2', 'title': 'B', 'x': " + "1" * 5000 + ".real}",
]


@pytest.mark.parametrize("row", CODE, ids=lambda row: row[:60])
def test_code_in_a_line_is_never_run_and_rejected(tmp_path, monkeypatch, row):
    monkeypatch.chdir(tmp_path)
    good = "{'item_id': '1', 'title': 'A'}"
    with pytest.raises(InputError, match=r"^items\.json:2: not JSON") as caught:
        python_rows(tmp_path, good, row)
    assert len(str(caught.value)) < 400
    found, notes = python_rows(tmp_path, good, row, skip_bad=True)
    assert found.dataset.catalog.item_ids == ("1",)
    assert len(skipped(notes)) == 1
    assert not (tmp_path / "CANARY").exists()


def test_python_and_json_may_stand_in_one_file(tmp_path):
    rows = ["{'item_id': '1', 'title': 'A'}", '{"item_id": "2", "title": "it\'s"}', "{u'item_id': u'3', 'title': 'C'}"]
    found, notes = python_rows(tmp_path, *rows)
    assert found.dataset.catalog.titles == ("A", "it's", "C")
    assert [note for note in notes if note.startswith("items.json: 2 lines") and "Python" in note]


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.text(max_size=8)
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
        max_leaves=8,
    )
)
@settings(max_examples=70)
def test_what_python_writes_comes_back(value):
    def shown(one: object) -> object:
        if isinstance(one, list):
            return [shown(each) for each in one]
        if isinstance(one, dict):
            return {key: shown(each) for key, each in one.items()}
        return repr(one) if type(one) in (int, float) else one

    row = repr({"item_id": "1", "title": "A", "more": value, "other": "'"})
    if any(sign in row for sign in "\n\r\0"):
        return
    with tempfile.TemporaryDirectory() as name:
        found, _ = python_rows(Path(name), row)
    assert found.dataset.catalog.metadata == ({"more": shown(value), "other": "'"},)


# What cannot be used


MANY_BAD = 94_156


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_94156_bad_lines_are_a_few_notes(tmp_path, kind):
    bad = "a,{0},1,2\n" if kind == "csv" else '{{"user_id":"a","item_id":"{0}"\n'
    worse = ",{0}\n" if kind == "csv" else '{{"user_id":"","item_id":"{0}"}}\n'
    text = (csv_of if kind == "csv" else json_of)(0)
    text += "".join((worse if place % 7 == 0 else bad).format(place) for place in range(MANY_BAD))
    found, notes = read(put(tmp_path / f"log.{kind}", text), skip_bad=True)
    assert items_in_order(found) == ["0"]
    assert len(notes) < 12
    blank = -(-MANY_BAD // 7)
    told = skipped(notes) or [note for note in notes if note.startswith("skipped")]
    first = 2 if kind == "jsonl" else 3  # after the header
    assert f"skipped: user_id is blank ({blank:,}), such as log.{kind}:{first}: user_id is blank" in told
    assert any(f"({MANY_BAD - blank:,})" in note for note in notes)
    assert any(f"{MANY_BAD:,} rows were skipped; --rejects FILE" in note for note in notes)
    assert sorted(account(found)["rejected"].values()) == [blank, MANY_BAD - blank]
    assert len(found.rejected) <= 1000


def test_bad_lines_of_many_values_are_told_by_reason(tmp_path):
    """Whatever byte, character, number or word is at fault."""
    letters = [chr(code) for code in range(0xA0, 0x100)]
    rows = [f"a,{letter}".encode("latin-1") for letter in letters]
    rows += [f"a,{letter}{'x' * place}".encode("latin-1") for place, letter in enumerate(letters)]
    rows += [f"a,x{chr(code)}".encode() for code in range(1, 32) if code not in (10, 13)]
    rows += [b"a" + b",x" * fields for fields in range(2, 40)]
    found, notes = read(put(tmp_path / "log.csv", csv_of(1).encode() + b"\n".join(rows)), skip_bad=True)
    assert account(found)["kept"] == 1
    assert len(account(found)["rejected"]) <= 3
    assert len(notes) < 12


def test_up_to_twenty_bad_lines_are_told_one_by_one(tmp_path):
    path = put(tmp_path / "log.csv", csv_of(1) + "a\n" * 20)
    told = skipped(read(path, skip_bad=True)[1])
    assert told == [f"log.csv:{n}: 1 fields where the header has 2" for n in range(3, 23)]
    path = put(tmp_path / "log.csv", csv_of(1) + "a\n" * 21)
    _, notes = read(path, skip_bad=True)
    assert "skipped: N fields where the header has N (21), such as log.csv:3: 1 fields where the header has 2" in notes


def rejected_rows(path: Path) -> list[tuple[str, str, str, str]]:
    with path.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.reader(handle))
    assert rows[0] == ["file", "line", "reason", "row"]
    return [tuple(row) for row in rows[1:]]


def test_the_file_of_rejects_holds_every_row_that_cannot_be_used(tmp_path):
    log = put(
        tmp_path / "log.csv",
        b"user_id,item_id,timestamp,rating\n"
        b"a,1,1700000000,5\n"
        b"a,1,1700000001\n"  # 3
        b"a,9,1700000002,5\n"  # 4
        b"a\0,1,1700000003,5\n"  # 5
        b"\xff,1,1700000004,5\n"  # 6
        b"a,1,soon,5\n"  # 7
        b'"a"a,1,1700000005,5\n'  # 8
        b"a,1,2024-01-10,5\n"  # 9
        b"a,1,1700000000,4\n"  # 10
        b'a,1,1700000006,"five, or\nso"\n'  # 11
        b"a,1,1700000007,5\n",
    )
    items = put(tmp_path / "items.csv", "item_id,title\n1,A\n2,\n1,Again\n")
    path = tmp_path / "rejects.csv"
    found = prepare("shop", interactions=log, items=items, rejects=path)
    rows = rejected_rows(path)
    assert [(file, int(line)) for file, line, _, _ in rows if file == "items.csv"] == [
        ("items.csv", 3),
        ("items.csv", 4),
    ]
    of_log = {int(line): (reason, row) for file, line, reason, row in rows if file == "log.csv"}
    assert sorted(of_log) == [3, 4, 5, 6, 7, 8, 9, 10, 11]
    assert sum(account(found)["rejected"].values()) == len(of_log)
    words = {
        3: ("3 fields where the header has 4", "a,1,1700000001"),
        4: ("item '9' is not among the items", '"9"'),
        5: ("a NUL byte", ",1,1700000003,5"),
        6: ("not UTF-8", "xff,1,1700000004,5"),
        7: ("timestamp 'soon' is no time", '"soon"'),
        8: ("expected after", "a,1,1700000005,5"),
        9: ("the time is ISO 8601", "2024-01-10"),
        10: ("the same user, item and time as line 2", "2023-11-14T22:13:20"),
        11: ("is no number", "five, or\\nso"),
    }
    for line, (reason, row) in words.items():
        assert reason in of_log[line][0], line
        assert row in of_log[line][1], (line, of_log[line])


def test_rows_of_rejected_lines_of_json_and_parquet_are_there_too(tmp_path):
    rejects = tmp_path / "rejects.csv"
    read(
        put(tmp_path / "log.jsonl", json_of(1) + '{"user_id":"a","item_id":\n{"user_id":"","item_id":"é"}\n'),
        rejects=rejects,
    )
    rows = rejected_rows(rejects)
    assert [(row[0], row[1], row[3]) for row in rows[:1]] == [("log.jsonl", "2", '{"user_id":"a","item_id":')]
    assert json.loads(rows[1][3]) == {"user_id": "", "item_id": "é"}
    path = write_as("parquet", tmp_path, "log", [("user_id", "item_id"), ("a", "1"), ("", "2")])
    read(path, rejects=rejects)
    ((file, line, reason, row),) = rejected_rows(rejects)
    assert (file, line, reason, json.loads(row)) == (
        "log.parquet",
        "2",
        "user_id is blank",
        {"user_id": "", "item_id": "2"},
    )


def test_a_row_that_was_quoted_is_still_told_apart_in_the_file_of_rejects(tmp_path):
    rejects = tmp_path / "rejects.csv"
    read(put(tmp_path / "log.csv", csv_of(1) + 'a,"x, y","z ""q"""\n'), rejects=rejects)
    ((_, line, _, row),) = rejected_rows(rejects)
    fields = json.loads(row) if row.startswith("[") else next(csv.reader([row]))
    assert (line, fields) == ("3", ["a", "x, y", 'z "q"'])


def test_a_file_of_something_else_is_not_written_over(tmp_path):
    log = put(tmp_path / "log.csv", csv_of(1) + "a\n")
    for content in ("user_id,item_id\n", "", "file,line\n"):
        foreign = put(tmp_path / "mine.csv", content or "x")
        before = foreign.read_bytes()
        with pytest.raises(UsageError, match=r"--rejects .*mine\.csv' is there and holds something else"):
            read(log, rejects=foreign)
        assert foreign.read_bytes() == before
    with pytest.raises(UsageError, match="--rejects"):
        read(log, rejects=tmp_path)
    with pytest.raises(UsageError, match="--rejects"):
        read(log, rejects=tmp_path / "none" / "rejects.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.csv", "mine.csv"]


def test_the_inputs_are_not_written_over(tmp_path):
    log = put(tmp_path / "log.csv", csv_of(1) + "a\n")
    with pytest.raises(UsageError, match="--rejects"):
        read(log, rejects=log)
    assert log.read_text() == csv_of(1) + "a\n"


def test_an_earlier_file_of_rejects_is_replaced(tmp_path):
    rejects = tmp_path / "rejects.csv"
    read(put(tmp_path / "log.csv", csv_of(1) + "a\na\n"), rejects=rejects)
    assert len(rejected_rows(rejects)) == 2
    read(put(tmp_path / "log.csv", csv_of(1)), rejects=rejects)
    assert rejected_rows(rejects) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.csv", "rejects.csv"]


NONE_GOOD = {
    "csv": (
        "user_id,item_id\n" + "a\n" * 3 + ",1\n" * 2,
        ["N fields where the header has N (3)", "user_id is blank (2)"],
    ),
    "jsonl": ('{"user_id":"","item_id":"1"}\n' * 2 + "{\n" * 3, ["not JSON", "(3)", "user_id is blank", "(2)"]),
    "json": ("{\n" * 3 + "[1]\n", ["not JSON", "(3)"]),
    "tsv": ("user_id\titem_id\n" + "a\n" * 3, ["N fields where the header has N (3)"]),
}


@pytest.mark.parametrize("kind", NONE_GOOD)
def test_where_no_row_can_be_used_the_error_shows_reasons_with_examples(tmp_path, kind):
    text, words = NONE_GOOD[kind]
    rejects = tmp_path / "rejects.csv"
    path = put(tmp_path / f"log.{kind}", text)
    for options in ({"skip_bad": True}, {"rejects": rejects}):
        with pytest.raises(InputError) as caught:
            read(path, **options)
        message = str(caught.value)
        assert any(one in message for one in words[0].split("|"))
        assert f"log.{kind}:" in message
        for word in words[1:]:
            assert any(one in message for one in word.split("|")), message
        assert "\n" not in message
    assert len(rejected_rows(rejects)) == text.count("\n") - (0 if kind.startswith("json") else 1)


def test_where_no_item_can_be_used_the_error_shows_reasons_with_examples(tmp_path):
    log = put(tmp_path / "log.csv", csv_of(1))
    items = put(tmp_path / "items.csv", "item_id,title\n1,\n2,\n3\n")
    with pytest.raises(InputError) as caught:
        prepare("shop", interactions=log, items=items, skip_bad=True)
    assert "'items.csv' has no usable item: title is blank (2), such as items.csv:2: title is blank" in str(
        caught.value
    )
    assert "N fields where the header has N (1), such as items.csv:4" in str(caught.value)


def test_files_of_the_folder_one_stands_in_are_told_by_their_names(tmp_path, monkeypatch):
    put(tmp_path / "a.csv", "user_id,item_id\nu\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"^a\.csv:2: "):
        read(".")
