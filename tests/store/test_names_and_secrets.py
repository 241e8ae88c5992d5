"""Names cannot leave the store, secrets never land in it, and nobody but the owner reads it."""

import json
import os
import stat
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchrec.config import KindConfig, RunConfig, StrategyConfig
from patchrec.errors import UsageError
from patchrec.store import Store
from patchrec.store.backbones import StoredBackbone
from patchrec.store.naming import check_name
from patchrec_cli.app import main

HOSTILE = [
    "", ".", "..", "../x", "../../etc/passwd", "/etc/passwd", "a/b", "a\\b", "..\\x", "~", "~root", "-rf", "--all",
    ".x", "x\0y", "x\ny", "x\n", "\nx", "x ", " x", "x\ty", "$(touch y)", "`y`", "x;y", "x|y", "x&y", "x>y", "x*",
    "x?", "[x]", "x'y", 'x"y', "%2e%2e%2f", "x%00", "é", "ｘ", "x\u202ey", "x\u200by", "\u2024\u2024/x", "a" * 65,
    "a" * 5_000, "file:x", "C:x", "x:y", "x@y", "x#y", "{x}", "x=y", "x,y", "x+y", "\x1b[2J", "👩", "x\r", "\x7f",
]  # fmt: skip


def check_that_it_stays(name):
    """A name is refused, or is one plain folder below where it is put."""
    try:
        check_name("data set", name)
    except UsageError:
        return
    joined = os.path.normpath(os.path.join("/store/runs", name))  # noqa: PTH118 - what the system makes of it
    assert os.path.split(joined) == ("/store/runs", name)
    assert name.isascii()
    assert name.isprintable()
    assert not set(name) & set(" /\\'\"`$;|&<>*?[]{}()~!#%:=,+@\0")
    assert not name.startswith(("-", "."))
    assert len(name) <= 64


NEAR_NAMES = st.text(alphabet="ab01._-/\\~ \n\0:%é\u202e", max_size=70) | st.text(max_size=70)


@given(NEAR_NAMES)
def test_a_name_stays_where_it_is_put(name):
    check_that_it_stays(name)


@pytest.mark.slow
@settings(max_examples=20_000)
@given(NEAR_NAMES)
def test_20_000_names_stay_where_they_are_put(name):
    check_that_it_stays(name)


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: ascii(name[:20]))
def test_a_hostile_name_names_nothing(toy_store, toy, tmp_path, name):
    import dataclasses

    files = sorted(path.name for path in tmp_path.rglob("*"))
    with pytest.raises(UsageError, match="cannot name a data set"):
        toy_store.datasets.add(dataclasses.replace(toy, name=name), source="s", licence="l", split={})
    with pytest.raises(UsageError, match="cannot name a backbone"):
        toy_store.backbones.put(StoredBackbone(name, "s", tmp_path))
    for config in (
        RunConfig(stage="finetune", dataset="toy", backbone=None, strategies=(StrategyConfig(name=name),)),
        RunConfig(stage="baseline", dataset="toy", backbone=None, kind=KindConfig(name=name)),
    ):
        with pytest.raises(UsageError, match="cannot name a run"):
            toy_store.runs.create(config, label="x", versions={}, fingerprints={})
    assert sorted(path.name for path in tmp_path.rglob("*")) == files


OF_COMMANDS = [name for name in HOSTILE if "\0" not in name]  # which no system passes on


@pytest.mark.parametrize(
    "name",
    [*OF_COMMANDS[::8], *(pytest.param(name, marks=pytest.mark.slow) for name in OF_COMMANDS)],
    ids=lambda name: ascii(name[:20]),
)
def test_a_hostile_name_on_the_command_line_is_one_line(toy_store, name, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    files = sorted(path.name for path in tmp_path.rglob("*"))
    (tmp_path / "log.csv").write_text("user_id,item_id,timestamp\nu,a,1\nu,b,2\nu,a,3\nu,b,4\n")
    (tmp_path / "items.csv").write_text("item_id,title\na,A\nb,B\n")
    for command in (
        ["data", "add", "--interactions", "log.csv", "--items", "items.csv", "--split", "leave-one-out", "--", name],
        ["data", "rm", "--", name],
        ["data", "use", "--", name],
        ["runs", "rm", "--", name],
        ["runs", "show", "--", name],
        ["baseline", "--", name],
    ):
        code = main(["--home", str(toy_store.home), *command])
        said = capfd.readouterr().err
        assert code in (2, 4), (command, said)
        assert "bug" not in said
        assert len([line for line in said.splitlines() if line.startswith("error: ")]) == 1
    (tmp_path / "log.csv").unlink()
    (tmp_path / "items.csv").unlink()
    assert sorted(path.name for path in tmp_path.rglob("*")) == files
    assert toy_store.datasets.names() == ["toy"]


SECRET = "hf-SeCrEt-0123456789"
WORK = """
import json, os, sys
os.umask(0)
from patchrec_cli.app import main
for command in json.loads(sys.argv[1]):
    print("==", main(command), flush=True)
"""


@pytest.mark.parametrize("full", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["a few", "all"])
def test_no_secret_lands_in_the_store_and_nobody_else_reads_it(toy, tmp_path, full):
    """A store in a folder that others may read, with everything that makes files in it, some of it failing."""
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    home.chmod(0o755)
    with Store.open(home) as store:
        store.datasets.add(toy, source="made up", licence="none", split={"rule": "leave-one-out"})
    small = ["--backbone", "tiny-random", "--batch-size", "2"]
    run = ["finetune", "--strategy", "vanilla", "--from", "none", *small, "--max-steps", "4", "--checkpoint-every", "1"]
    commands = [
        [*run, "--validate-every", "2"],
        ["finetune", "--strategy", "item-mean", "--head", "item", "--from", "none", *small, "--max-steps", "1"],
        ["baseline", "popularity"],
        ["eval", "vanilla-1"],
        ["eval", "--baseline", "untrained", "--strategy", "vanilla", "--backbone", "tiny-random"],
        ["recommend", "--user", "ann", "--run", "vanilla-1"],
        ["data", "items", "add", "toy", "--item-id", "n", "--title", "New"],
        ["export", "vanilla-1", str(tmp_path / "exported")],
    ]
    failing = [
        ["backbones", "pull", "org/model"],
        ["backbones", "pull", "smollm2-135m"],
        ["data", "add", "ml-100k"],
        ["pretrain", "--backbone", "org/model"],
    ]
    if not full:
        commands, failing = [commands[0], commands[3], commands[-1]], failing[:1]
    unreachable = f"https://user:{SECRET}@127.0.0.1:9"
    environment = os.environ | {
        "PATCHREC_HOME": str(home),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "HF_TOKEN": SECRET,
        "HUGGING_FACE_HUB_TOKEN": SECRET,
        "HF_ENDPOINT": unreachable,
        "PIP_INDEX_URL": f"{unreachable}/simple",
        "PIP_RETRIES": "0",
        "PIP_TIMEOUT": "1",
        "HTTPS_PROXY": unreachable.replace("https", "http"),
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    command = [sys.executable, "-c", WORK, json.dumps([*commands, *failing])]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600, check=False)
    codes = [int(line[3:]) for line in done.stdout.splitlines() if line.startswith("==")]
    assert codes[: len(commands)] == [0] * len(commands), done.stderr
    assert len(codes) == len(commands) + len(failing), done.stderr
    assert all(codes[len(commands) :]), done.stdout
    paths = list(home.rglob("*"))
    assert {"store.db", "model.safetensors", "manifest.json", "patchrec.json"} <= {path.name for path in paths}
    for path in paths:
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes(), path
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in paths}
    assert {path: oct(mode) for path, mode in modes.items() if mode != (0o700 if path.is_dir() else 0o600)} == {}
    assert SECRET not in done.stderr + done.stdout
    exported = (tmp_path / "exported" / "config.json").stat()
    assert stat.S_IMODE(exported.st_mode) == 0o666  # what is made for others is as the system makes files
