"""Small files that unpack to very much: read in bounded memory, or refused in one line."""

import bz2
import gzip
import json
import lzma
import subprocess
import sys
import zipfile
from functools import partial
from pathlib import Path

import pytest

MEGABYTES = 20
ADD = """
import re, sys
from patchrec_cli.app import main
code = main(["--home", sys.argv[1], "data", "add", "x", *sys.argv[2:], "-q"])
peak = re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())
print("ended", code, int(peak[1]) >> 10)
"""
HEADER, ROWS = b"user_id,item_id,timestamp\n", b"ann,a,1\nann,b,2\nann,c,3\n"
BLANK = {
    "csv": HEADER + ROWS[:8] + b"\n" * (MEGABYTES << 20) + ROWS[8:],
    "tsv": (HEADER + ROWS[:8]).replace(b",", b"\t") + b"\n" * (MEGABYTES << 20) + ROWS[8:].replace(b",", b"\t"),
    "crlf.csv": (HEADER + ROWS[:8]).replace(b"\n", b"\r\n") + b"\r\n" * (MEGABYTES << 19) + ROWS[8:],
    "jsonl": b"".join(
        json.dumps({"user_id": "ann", "item_id": item, "timestamp": time}).encode() + b"\n" * (MEGABYTES << 17)
        for time, item in enumerate("abc")
    ),
    "leading.csv": b"\n" * (MEGABYTES << 20) + HEADER + ROWS,
}


def zipped(content: bytes, method: int, path: Path) -> None:
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("log.csv", content)


def zstd(content: bytes) -> bytes:
    return pytest.importorskip("zstandard").compress(content)


PACKED = {"gz": partial(gzip.compress, compresslevel=1), "bz2": bz2.compress, "xz": partial(lzma.compress, preset=0)}
METHODS = {
    "stored": zipfile.ZIP_STORED,
    "deflate": zipfile.ZIP_DEFLATED,
    "bz2": zipfile.ZIP_BZIP2,
    "lzma": zipfile.ZIP_LZMA,
}


def add(folder: Path, log: Path) -> tuple[int, int, str]:
    """Add a log in a process of its own: exit code, peak in MiB, and what it said."""
    (folder / "items.csv").write_text("item_id,title\na,Alien\nb,Big\nc,Casino\n")
    command = [sys.executable, "-c", ADD, folder / "home", "--interactions", log, "--items", folder / "items.csv"]
    ran = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    _, code, peak = ran.stdout.splitlines()[-1].split()
    return int(code), int(peak), ran.stderr


def check(folder: Path, log: Path) -> None:
    code, peak, told = add(folder, log)
    assert (code, told) == (0, ""), told
    assert peak < 400


@pytest.mark.parametrize("kind", BLANK)
def test_blank_lines_are_passed_over(kind, tmp_path):
    log = tmp_path / f"log.{kind}.gz"
    log.write_bytes(gzip.compress(BLANK[kind], compresslevel=1))
    check(tmp_path, log)


@pytest.mark.slow
@pytest.mark.parametrize("packing", [*PACKED, "zst"])
def test_so_they_are_however_they_are_packed(packing, tmp_path):
    """500 MB of them; one block of zstd may hold 30,000 times its size."""
    log = tmp_path / f"log.csv.{packing}"
    content = HEADER + ROWS[:8] + b"\n" * (500 << 20) + ROWS[8:]
    log.write_bytes((PACKED | {"zst": zstd})[packing](content))
    check(tmp_path, log)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_members_of_archives_too(method, tmp_path):
    log = tmp_path / "log.zip"
    zipped(HEADER + ROWS[:8] + b"\n" * (500 << 20) + ROWS[8:], METHODS[method], log)
    check(tmp_path, log)


@pytest.mark.parametrize(
    ("name", "content", "hint"),
    [
        ("log.csv.gz", HEADER + b"x" * (MEGABYTES << 20), "log.csv.gz:2: longer than 1 MiB"),
        ("log.jsonl.gz", b'{"user_id": "' + b"x" * (MEGABYTES << 20), "log.jsonl.gz:1: longer than 1 MiB"),
        ("log.csv.gz", b"\n" * (MEGABYTES << 20), "'log.csv.gz' has no header"),
        ("log.jsonl.gz", b"\n" * (MEGABYTES << 20), "'log.jsonl.gz' has no rows"),
        (
            "log.json.gz",
            b"[" + b"{}," * (17 << 20),
            "JSON array of more than 33,554,432 values; give one object a line",
        ),
    ],
    ids=["one line", "one JSON line", "nothing else", "nothing else in JSON", "array"],
)
def test_what_cannot_be_used_is_refused_in_one_line(name, content, hint, tmp_path):
    log = tmp_path / name
    log.write_bytes(gzip.compress(content, compresslevel=1))
    code, peak, told = add(tmp_path, log)
    assert (code, told.count("\n")) == (3, 1), told
    assert hint in told
    assert peak < 1000
