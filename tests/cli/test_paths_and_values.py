"""Paths that cannot be written, values given twice, characters that do more than they show."""

import errno
import os
import unicodedata

import pytest

from patchrec.store import Store
from patchrec_cli import app
from patchrec_cli.display import Column, clean, print_table

JOINERS = "\u200c\u200d"
NUMBER_SIGNS = "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"


def test_no_format_character_reaches_the_terminal():
    """Marks, embeddings, overrides, isolates, tags, invisible ones; joiners and drawn signs stay."""
    formats = {chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) == "Cf"}
    assert {character for character in formats if clean(character)} == set(JOINERS + NUMBER_SIGNS)
    controls = {chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) in ("Cc", "Cs", "Zl", "Zp")}
    assert {clean(character) for character in controls} == {"", " "}


@pytest.mark.parametrize(
    "hidden",
    ["\u200f", "\u061c", "\U000e0041\U000e007f", "\u2066", "\u202e", "\u200b", "\ufeff", "\xad", "\x9b", "\u2063"],
    ids=ascii,
)
def test_a_hidden_character_is_shown_nowhere(hidden, toy_cli, capfd):
    print_table([Column(f"a{hidden}b", "x")], [{"x": f"c{hidden}d"}])
    assert capfd.readouterr().out.split() == ["ab", "cd"]
    ran = toy_cli("data", "show", f"a{hidden}b")
    assert ran.code == 4
    assert hidden not in ran.err


@pytest.mark.parametrize(
    ("words", "quoted"),
    [
        (["--batch-size", "4", "--batch-size", "-1"], "'-1'"),
        (["--batch-size", "4", "--batch-size=-1"], "'-1'"),
        (["--batch-size=4", "--batch-size", "x"], "'x'"),
        (["--batch-size", "0"], "'0'"),
    ],
    ids=" ".join,
)
def test_of_a_value_given_twice_the_wrong_one_is_quoted(toy_cli, words, quoted):
    ran = toy_cli("finetune", "--strategy", "pft-s", *words)
    assert ran.code == 2
    assert quoted in ran.err
    assert "'4'" not in ran.err


@pytest.fixture
def fitted(toy_cli):
    """The command, with a run that costs nothing."""
    assert toy_cli("baseline", "popularity").code == 0
    return toy_cli


LONG = "x" * 300


@pytest.mark.parametrize("place", ["file/x", f"{LONG}", "file/deep/x"], ids=["in a file", "too long", "deep in a file"])
@pytest.mark.parametrize("command", ["export", "recommend", "rejects", "home"])
def test_a_path_that_cannot_be_written_is_a_usage_error(fitted, tmp_path, command, place):
    (tmp_path / "file").write_text("")
    (tmp_path / "log.csv").write_text("user_id,item_id,timestamp\n" + "u,a,1\nu,b,2\nu,a,3\nu,b,4\n")
    (tmp_path / "items.csv").write_text("item_id,title\na,A\nb,B\n")
    path = tmp_path / place
    files = ["--interactions", tmp_path / "log.csv", "--items", tmp_path / "items.csv", "--split", "leave-one-out"]
    arguments = {
        "export": ["export", "popularity-1", path],
        "recommend": ["recommend", "--all", "--run", "popularity-1", "--output", f"{path}.csv"],
        "rejects": ["data", "add", "new", *files, "--rejects", path],
        "home": ["--home", path, "data", "ls"],
    }[command]
    before = sorted(found.name for found in tmp_path.rglob("*"))
    ran = fitted(*arguments)
    assert ran.code == 2, ran.err
    line = ran.err.splitlines()[-1]
    assert line.startswith("error: ")
    assert "bug" not in line
    assert place in line
    assert sorted(found.name for found in tmp_path.rglob("*")) == before


@pytest.mark.parametrize("number", [errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOENT])
def test_what_the_system_says_of_a_path_is_no_bug(number, capfd, monkeypatch):
    def fail(**_):
        raise OSError(number, os.strerror(number), "/some/path")

    monkeypatch.setattr("patchrec.operations.datasets.list_datasets", fail)
    assert app.main(["data", "ls"]) == 2
    err = capfd.readouterr().err
    assert "/some/path" in err
    assert "bug" not in err


@pytest.mark.parametrize(
    ("number", "code"), [(errno.ENOTDIR, 2), (errno.EROFS, 2), (errno.ENOSPC, 7), (errno.EDQUOT, 7)]
)
def test_a_run_whose_folder_cannot_be_made_fails_and_says_why(toy_cli, tmp_path, monkeypatch, number, code):
    import pathlib

    made = pathlib.Path.mkdir

    def mkdir(self, *arguments, **options):
        if self.name == "popularity-1":
            raise OSError(number, os.strerror(number), str(self))
        made(self, *arguments, **options)

    monkeypatch.setattr(pathlib.Path, "mkdir", mkdir)
    ran = toy_cli("baseline", "popularity")
    assert ran.code == code
    assert "popularity-1" in ran.err
    monkeypatch.undo()
    with Store.open(tmp_path / "home") as store:
        run = store.runs.get("popularity-1")
    assert run.status == "failed"
    assert run.error
    assert "popularity-1" in run.error


def test_a_file_where_the_runs_belong_fails_the_run(toy_cli, tmp_path):
    (tmp_path / "home" / "runs").write_text("")
    assert toy_cli("baseline", "popularity").code == 2
    with Store.open(tmp_path / "home") as store:
        assert store.runs.get("popularity-1").status == "failed"
