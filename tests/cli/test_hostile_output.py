"""Text from data is shown in a terminal, in a table and in a picture, and steers none of them."""

import csv
import re
import sys
import unicodedata

import pytest
from hostile import SEQUENCES, fill

from patchrec_cli.app import main

USERS = ["\x1b[2Jeve", "\x9b31mbob", "\x1b]0;x\x07ann"]


def controls(text: str) -> set[str]:
    """Control characters but the end of a line."""
    return {character for character in text if character != "\n" and unicodedata.category(character) == "Cc"}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile") / "home"
    fill(folder, SEQUENCES, USERS, label=SEQUENCES[3])
    return folder


COMMANDS = (
    ["data", "ls"],
    ["data", "show", "hostile"],
    ["data", "items", "ls", "hostile"],
    ["runs", "ls"],
    ["runs", "show", "pft-s-1"],
    ["runs", "compare"],
    ["runs", "plot", "loss", "pft-s-1", "vanilla-1"],
    ["runs", "plot", "frontier"],
    ["runs", "plot", "slices"],
    ["strategies", "preview", "--strategy", "vanilla", "--user", USERS[0]],
)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("more", [[], ["-q"], ["--json"]], ids=["", "-q", "--json"])
def test_no_command_prints_a_control_sequence_of_60_titles(home, command, more, capfd):
    main(["--home", str(home), *command, *more])
    shown = capfd.readouterr()
    assert not controls(shown.out + shown.err)


def test_the_store_has_60_titles_that_would_steer_a_terminal():
    assert len(SEQUENCES) == len(set(SEQUENCES)) == 60
    assert all(controls(title) for title in SEQUENCES)


@pytest.mark.parametrize("sequence", SEQUENCES, ids=ascii)
def test_no_error_repeats_a_control_sequence(home, sequence, capfd):
    for command in (
        ["runs", "show", sequence],
        ["runs", "plot", "loss", sequence],
        ["runs", "plot", "frontier", "--metric", sequence],
        ["data", "show", sequence],
    ):
        assert main(["--home", str(home), *command]) in (2, 4)
        shown = capfd.readouterr()
        assert "error: " in shown.err
        assert not controls(shown.out + shown.err)


def test_charts_in_colour_have_colours_and_no_other_sequence(home, capfd, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    for picture in ("loss", "frontier", "slices"):
        assert main(["--home", str(home), "runs", "plot", picture, "pft-s-1", "vanilla-1"]) == 0
    shown = capfd.readouterr().out
    assert "\x1b[38;5;" in shown
    assert not controls(re.sub(r"\x1b\[[0-9;]*m", "", shown))


def test_rejected_rows_are_no_formulas(cli, tmp_path):
    formulas = ["=1+1", "+1", "-1", "@SUM(A1)", '=HYPERLINK("http://x.example")']
    lines = "".join(f"{text}\n" for text in formulas)  # too few columns
    (tmp_path / "log.csv").write_text("user_id,item_id,timestamp\n" + lines + "u,i,1\nu,j,2\nu,k,3\nu,l,4\n")
    (tmp_path / "items.csv").write_text("item_id,title\n" + "".join(f"{item},{item}\n" for item in "ijkl"))
    files = ["--interactions", tmp_path / "log.csv", "--items", tmp_path / "items.csv"]
    ran = cli("data", "add", "x", *files, "--rejects", tmp_path / "rejects.csv")
    assert ran.code == 0, ran.err
    with (tmp_path / "rejects.csv").open(newline="") as stream:
        _, *rows = csv.reader(stream)
    assert len(rows) == len(formulas)
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row)
