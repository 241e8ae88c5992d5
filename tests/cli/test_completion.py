"""What a shell is told at a press of Tab: names that fit, at once, and nothing when it cannot be known."""

import json
import subprocess
import sys

import pytest

from patchrec.store.backbones import StoredBackbone
from patchrec_cli.app import main


@pytest.fixture
def completed(toy_store, monkeypatch, capfd):
    """The words that bash is offered after a line, in a store with a data set and a run."""
    assert main(["--home", str(toy_store.home), "baseline", "popularity", "-q"]) == 0
    monkeypatch.setenv("PATCHREC_HOME", str(toy_store.home))
    monkeypatch.setenv("_PATCHREC_COMPLETE", "complete_bash")

    def offered(line):
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
        capfd.readouterr()
        assert main([]) == 0
        out, err = capfd.readouterr()
        assert err == ""
        return out.split()

    return offered


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("patchrec fin", {"finetune"}),
        ("patchrec runs sh", {"show"}),
        ("patchrec runs show ", {"popularity-1"}),
        ("patchrec eval pop", {"popularity-1"}),
        ("patchrec recommend --run ", {"popularity-1"}),
        ("patchrec recommend --data t", {"toy"}),
        ("patchrec data show ", {"toy"}),
        ("patchrec data add ml-1", {"ml-100k", "ml-1m"}),
        ("patchrec finetune --strategy pft", {"pft-i", "pft-s"}),
        ("patchrec strategies show van", {"vanilla"}),
        ("patchrec baseline pop", {"popularity"}),
        ("patchrec pretrain --backbone smol", {"smollm2-135m"}),
        ("patchrec recommend --score m", {"mixture"}),
        ("patchrec --no-pl", {"--no-plugins"}),
    ],
)
def test_names_that_fit_are_offered(completed, line, wanted):
    assert set(completed(line)) == wanted


def test_only_backbones_of_the_store_are_offered_to_be_removed(completed, toy_store, tmp_path):
    toy_store.backbones.put(StoredBackbone("small", "made up", tmp_path))
    assert completed("patchrec backbones rm ") == ["small"]


def test_nothing_is_offered_and_nothing_said_where_nothing_is_known(completed, monkeypatch, tmp_path):
    assert completed("patchrec runs show zzz") == []
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "store.db").write_text("no database")
    for home in (tmp_path / "none", broken):
        monkeypatch.setenv("PATCHREC_HOME", str(home))
        assert completed("patchrec runs show ") == []
    assert not (tmp_path / "none").exists()


def test_completing_imports_nothing_heavy(completed, tmp_path):
    code = (
        "import sys, json; from patchrec_cli.app import main; main([]);"
        "print(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    )
    import os

    env = os.environ | {"COMP_WORDS": "patchrec runs show p", "COMP_CWORD": "3"}
    ran = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["popularity-1"]
    assert not {"torch", "numpy", "sqlite_utils", "rich.console"} & set(json.loads(ran.stderr))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_can_be_shown(shell, monkeypatch, capfd):
    monkeypatch.setattr("typer.completion._get_shell_name", lambda: shell)
    assert main(["--show-completion"]) == 0
    assert "_PATCHREC_COMPLETE" in capfd.readouterr().out
