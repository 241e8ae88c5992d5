"""A report in headless Chromium: hostile titles run nothing, and nothing sticks out from 80 to 1600 pixels."""

import html
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hostile import PAYLOADS, fill

from patchrec_cli.app import main

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
POLICY = re.compile(r"<meta http-equiv=[^>]*>")
WIDTHS = (80, 320, 480, 768, 1024, 1280, 1600)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (Debian package: chromium)")


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    """A page about runs on 100 hostile titles, with hostile users and labels."""
    folder = tmp_path_factory.mktemp("browser")
    users = PAYLOADS[-4:]
    fill(folder / "home", PAYLOADS, users, label=PAYLOADS[0])
    named = [word for user in users for word in ("--user", user)]
    command = ["--home", str(folder / "home"), "runs", "report", *named, "--out", str(folder / "report.html"), "-q"]
    assert main(command) == 0
    return folder / "report.html"


def browse(page: Path, *options: str) -> str:
    """The document as it is after everything in it had time to run."""
    profile = page.parent / "profile"
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    command += [f"--user-data-dir={profile}", "--virtual-time-budget=4000", *options, "--dump-dom", page.as_uri()]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def marks(document: str) -> set[str]:
    """Numbers of the payloads that ran."""
    opening = re.search(r"<html[^>]*>", document)
    return set(re.findall(r"data-ran(\d+)", opening[0])) if opening else set()


def raw(folder: Path, policy: str = "") -> Path:
    """A page that holds all payloads unescaped, each in a frame of its own."""
    frames = "".join(f'<iframe srcdoc="{html.escape(payload)}"></iframe>' for payload in PAYLOADS)
    page = folder / "raw.html"
    page.write_text(f"<!doctype html><html><head>{policy}</head><body>{frames}</body></html>", encoding="utf-8")
    return page


def test_none_of_100_payloads_runs_in_a_report(report):
    document = browse(report)
    assert "patchrec report" in document
    assert marks(document) == set()


def test_the_payloads_do_run_where_nothing_stops_them(tmp_path):
    assert len(marks(browse(raw(tmp_path)))) >= 60  # 73 when this was written; the others wait for a click


def test_the_policy_alone_stops_them_all(report, tmp_path):
    policy = POLICY.search(report.read_text(encoding="utf-8"))[0]
    assert marks(browse(raw(tmp_path, policy))) == set()


def test_escaping_alone_stops_them_all(report, tmp_path):
    page = tmp_path / "report.html"
    page.write_text(POLICY.sub("", report.read_text(encoding="utf-8")), encoding="utf-8")
    assert marks(browse(page)) == set()


def test_nothing_sticks_out_from_80_to_1600_pixels(report):
    frames = "".join(f'<iframe src="{report.name}" style="width:{width}px;height:900px"></iframe>' for width in WIDTHS)
    script = (
        "onload=()=>{for(const frame of document.querySelectorAll('iframe')){"
        "const root=frame.contentDocument.documentElement;"
        "document.body.append(`[${frame.clientWidth}:${root.scrollWidth}]`)}}"
    )
    page = report.parent / "frames.html"
    page.write_text(f"<!doctype html><style>iframe{{border:0}}</style><body>{frames}<script>{script}</script></body>")
    document = browse(page, "--allow-file-access-from-files", "--hide-scrollbars")
    measured = [tuple(map(int, pair)) for pair in re.findall(r"\[(\d+):(\d+)\]", document)]
    assert [width for width, _ in measured] == list(WIDTHS)
    assert [needed for _, needed in measured] == list(WIDTHS)
