"""What is wrong with a question is told before torch is imported, and listings import little."""

import json
import subprocess
import sys

import pytest

from patchrec_cli.app import main
from patchrec_cli.pipeline import PIPELINE, build

CODE = (
    "import sys, json\nfrom patchrec_cli.app import main\n"
    "codes = [main(words) for words in json.loads(sys.argv[1])]\n"
    "print(json.dumps([codes, sorted(sys.modules)]), file=sys.stderr)"
)


def modules_after(*lines):
    """Exit codes of commands in a new process, and what they imported."""
    ran = subprocess.run([sys.executable, "-c", CODE, json.dumps(lines)], capture_output=True, text=True, check=True)
    codes, modules = json.loads(ran.stderr.splitlines()[-1])
    return codes, set(modules)


def test_mistakes_that_need_no_model_are_told_before_torch_is_imported(toy_store, tmp_path):
    (tmp_path / "there.csv").write_text("x")
    home = ["--home", str(toy_store.home)]
    assert main([*home, "baseline", "popularity", "-q"]) == 0
    ask = [*home, "recommend", "--run", "popularity-1"]
    wrong = {
        (*ask, "--user", "nobody"): 4,
        (*ask, "--user", "ann", "--where", "nonesuch > 3"): 2,
        (*ask, "--user", "ann", "--k", "0"): 2,
        (*ask, "--history", "Nonesuch"): 4,
        (*ask, "--all", "--output", str(tmp_path / "there.csv")): 2,
        (*ask, "--all", "--output", str(tmp_path / "new.csv"), "--with", "nonesuch"): 2,
        (*home, "data", "add", "my shop", "nonesuch.csv"): 2,  # the name, before the file is looked for
        (*home, "eval", "nonesuch"): 4,
        (*home, "eval", "popularity-1", "--users-with", "x"): 2,
        (*home, "finetune", "--strategy", "pft-s", "--L", "0"): 2,
        (*home, "finetune", "--strategy", "nonesuch"): 4,
        (*home, "finetune", "--strategy", "pft-s", "--data", "nonesuch"): 4,
        (*home, "finetune", "--strategy", "pft-s", "--from", "nonesuch"): 4,
        (*home, "finetune", "--strategy", "pft-s", "--backbone", "tiny-random", "--learning-rate", "5"): 2,
        (*home, "pretrain", "--backbone", "nonesuch"): 4,
        (*home, "baseline", "sasrec", "--learning-rate", "5"): 2,
        (*home, "sweep", "nonesuch.toml"): 3,
        (*home, "baseline", "nonesuch"): 4,
    }
    codes, modules = modules_after(*wrong)
    assert dict(zip(wrong, codes, strict=True)) == wrong
    assert "torch" not in modules


def test_listings_import_neither_numpy_nor_sqlite_utils(toy_store):
    home = ["--home", str(toy_store.home)]
    assert main([*home, "baseline", "popularity", "-q"]) == 0
    assert main([*home, "baseline", "markov", "-q"]) == 0
    assert main([*home, "blend", "popularity-1", "markov-1", "--weights", "1,1", "-q"]) == 0
    codes, modules = modules_after([*home, "data", "ls"], [*home, "runs", "ls"], [*home, "runs", "ls", "--json"])
    assert codes == [0, 0, 0]
    assert not {"numpy", "sqlite_utils", "duckdb", "torch", "patchrec.plugins"} & modules


@pytest.mark.parametrize("name", PIPELINE)
def test_the_summary_of_a_command_is_the_first_line_of_its_help(name):
    assert PIPELINE[name].summary == build(name, PIPELINE[name]).get_short_help_str(1000)


def test_a_listing_of_runs_is_one_line_a_run_where_there_is_no_terminal(toy_store, capfd):
    home = ["--home", str(toy_store.home)]
    for kind in ("popularity", "item-knn"):
        assert main([*home, "baseline", kind, "--tag", "a-long-tag-that-would-wrap-the-table-at-eighty-columns"]) == 0
    capfd.readouterr()
    assert main([*home, "runs", "ls"]) == 0
    assert len(capfd.readouterr().out.splitlines()) == 3


@pytest.mark.parametrize("columns", [80, 60])
def test_help_is_cut_nowhere_and_examples_come_before_options(columns, monkeypatch, capfd):
    monkeypatch.setenv("COLUMNS", str(columns))
    for words in ([], ["recommend"], ["finetune"], ["runs"]):
        assert main([*words, "--help"]) == 0
        shown = capfd.readouterr().out
        assert "..." not in shown.partition("\n\n")[2].replace("ARGS]...", "")
        if words and words != ["runs"]:
            assert shown.index("\nExamples:\n") < shown.index("\nOptions:\n")
