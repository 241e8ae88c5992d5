"""One boundary: an error is one line and a code."""

import dataclasses
import errno
import os
import subprocess
import sys

import pytest

from patchrec import errors
from patchrec.store import Store
from patchrec_cli import app


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["data", "lss"], 2, ["'lss'", "'ls'"]),
        (["finetun"], 2, ["'finetune'"]),
        (["data", "ls", "--jsn"], 2, ["--jsn", "did you mean --json?"]),
        (["data", "ls", "--hom", "x"], 2, ["--home", "before the command"]),
        (["finetune", "--stratgy", "pft-s"], 2, ["--strategy"]),
        (["runs", "show"], 2, ["RUN", "patchrec runs show --help"]),
        (["data", "export", "toy", "--split", "tst"], 2, ["'tst'", "'test'"]),
        (["recommend", "--user", "ann", "--k", "0"], 2, ["--k"]),
        (["recommend", "--user", "ann", "--k", "many"], 2, ["--k", "many"]),
        (["recommend", "--user", "ann", "--data", "tyo"], 4, ["data set 'tyo'", "'toy'"]),
        (["data", "items", "add", "toy", "--item-id", "9", "--title", "x", "--set", "title=y"], 2, ["--title"]),
        (["eval", "--k", "10,x"], 2, ["'10,x'"]),
        (["data", "show", "tyo"], 4, ["data set 'tyo'", "'toy'", "patchrec data ls"]),
        (["data", "use", "tyo"], 4, ["'toy'"]),
        (["data", "rm", "tyo"], 4, ["'toy'"]),
        (["data", "export", "tyo"], 4, ["'toy'"]),
        (["data", "add", "toy"], 2, ["there already"]),
        (["data", "add", "ml-100"], 4, ["'ml-100k'", "--interactions"]),
        (["data", "add", "ml-100k", "--from", "/nowhere"], 3, ["/nowhere"]),
        (["data", "add", "new", "--interactions", "/nowhere.csv", "--items", "/nowhere.csv"], 3, ["/nowhere.csv"]),
        (["data", "add", "new", "--train", "0.5"], 2, ["--split"]),
        (["runs", "show", "pft"], 4, ["run 'pft'", "there is none yet"]),
        (["runs", "rm", "pft"], 4, ["run 'pft'"]),
        (["runs", "compare"], 4, ["patchrec eval"]),
        (["strategies", "show", "pft"], 4, ["strategy 'pft'", "choices:"]),
        (["strategies", "preview", "--length", "3"], 2, ["--strategy"]),
        (["strategies", "preview", "--strategy", "pft-s"], 2, ["--user", "--length"]),
        (["strategies", "preview", "--strategy", "pft-s", "--user", "anna"], 4, ["user 'anna'", "'ann'"]),
        (["strategies", "preview", "--strategy", "pft-s", "--L", "0", "--length", "3"], 2, ["--L", "'0'"]),
        (["strategies", "preview", "--strategy", "pft-i", "--L", "3", "--length", "3"], 2, ["pft-i", "--L", "--M"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_error_is_one_line_with_the_right_code(toy_cli, arguments, code, words):
    ran = toy_cli(*arguments)
    assert ran.code == code
    assert ran.out == ""
    *picked, line = ran.err.splitlines()
    assert picked in ([], ["data: toy (the only one)"])
    assert line.startswith("error: ")
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (KeyboardInterrupt(), 130),
        (errors.InterruptedRunError("stopped", 143), 143),
        (errors.CheckFailedError("x"), 1),
        (errors.StoreBusyError("x"), 5),
        (errors.CorruptError("x"), 6),
        (errors.OutOfResourcesError("x"), 7),
        (errors.PluginError("x"), 8),
        (MemoryError(), 7),
        (OSError(errno.ENOSPC, "No space left on device"), 7),
        (PermissionError(errno.EACCES, "Permission denied", "/root/x"), 3),
        (ZeroDivisionError("division by zero"), 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_goes_wrong_has_its_code_and_its_line(error, code, capfd, monkeypatch):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("patchrec.operations.datasets.list_datasets", fail)
    assert app.main(["data", "ls"]) == code
    assert capfd.readouterr().err.count("\n") == 1


def test_a_bug_is_called_a_bug_and_shows_its_traceback_only_when_asked(capfd, monkeypatch):
    monkeypatch.delenv("PATCHREC_DEBUG", raising=False)
    monkeypatch.setattr("patchrec.operations.datasets.list_datasets", lambda **_: 1 / 0)
    assert app.main(["data", "ls"]) == 1
    assert capfd.readouterr().err == (
        "error: ZeroDivisionError: division by zero (this is a bug in patchrec; --debug shows where)\n"
    )
    assert app.main(["--debug", "data", "ls"]) == 1
    assert "Traceback" in capfd.readouterr().err


def test_an_error_stays_one_line_whatever_its_message_holds(capfd, monkeypatch):
    def fail(**_):
        raise errors.InputError("line\nbreak \x1b[31mred\x1b[0m \x9b1m \u202eback")

    monkeypatch.setattr("patchrec.operations.datasets.list_datasets", fail)
    assert app.main(["data", "ls"]) == 3
    assert capfd.readouterr().err == "error: line break [31mred[0m 1m back\n"


@pytest.mark.parametrize("kind", ["OutOfMemoryError", "RuntimeError"])
def test_memory_of_torch_that_runs_out_is_no_bug(cli, monkeypatch, kind):
    import torch

    error = {"OutOfMemoryError": torch.OutOfMemoryError, "RuntimeError": RuntimeError}[kind]

    def fail(**_):
        raise error("unable to mmap 9 bytes from file <x>: Cannot allocate memory (12)")

    monkeypatch.setattr("patchrec.operations.datasets.list_datasets", fail)
    ran = cli("data", "ls")
    assert ran.code == 7
    assert ran.err.startswith("error: out of memory; ")


def test_a_damaged_store_is_told_and_left_alone(cli, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "store.db").write_bytes(b"this is no database" * 400)
    ran = cli("data", "ls")
    assert ran.code == 6
    assert "store.db" in ran.err
    assert (tmp_path / "home" / "store.db").read_bytes() == b"this is no database" * 400


def test_a_reader_that_has_enough_is_no_error(toy, tmp_path):
    with Store.open(tmp_path) as store:
        store.datasets.add(toy, source="made up", licence="none", split={})
    code = (
        "import sys; from patchrec_cli import app, data;"
        "data.dump = lambda row: 'x' * 100_000; sys.exit(app.main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "--home", str(tmp_path), "data", "export", "toy", "--split", "train"]
    reader, writer = os.pipe()
    process = subprocess.Popen(command, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    os.read(reader, 10)
    os.close(reader)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")


def test_a_terminal_without_the_letters_gets_escapes(toy, tmp_path):
    dataset = dataclasses.replace(toy, catalog=dataclasses.replace(toy.catalog, titles=("Amélie",) * 6))
    with Store.open(tmp_path) as store:
        store.datasets.add(dataset, source="made up", licence="none", split={})
    command = [sys.executable, "-m", "patchrec_cli", "--home", str(tmp_path), "strategies", "preview", "--user", "ann"]
    done = subprocess.run(
        [*command, "--strategy", "vanilla"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Am\\xe9lie" in done.stdout
