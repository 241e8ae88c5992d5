"""A run that cannot be used says so wherever it is listed, with the mend."""

import json
import shlex
import shutil

import pytest
from sqlite_utils.utils import sqlite3

from patchrec import plugins
from patchrec.config import KindConfig, RunConfig, StrategyConfig
from patchrec.operations import runs
from patchrec.store import Store
from patchrec.store import process as process_module
from patchrec_cli.app import main


@pytest.fixture
def made(toy_store):
    """A store with a run that can be used: of popularity, fitted on `toy`."""
    assert main(["--home", str(toy_store.home), "baseline", "popularity"]) == 0
    return toy_store


def by_hand(store, *statements):
    """What no command of patchrec does."""
    connection = sqlite3.connect(store.path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


def dead_kind(store, _):
    by_hand(store, "UPDATE runs SET config = json_set(config, '$.kind.name', 'gone-kind'), kind = 'gone-kind'")


def dead_strategy(store, _):
    by_hand(store, """UPDATE runs SET config = json_set(config, '$.strategies', json('[{"name": "gone-plan"}]'))""")


def removed_data(store, _):
    by_hand(store, "DELETE FROM datasets WHERE name = 'toy'")


def retitled(store, _):
    by_hand(store, "UPDATE items SET title = 'Another' WHERE item = 1")


def another_catalog(store, _):
    by_hand(store, "UPDATE catalog_versions SET fingerprint = 'another'")


def another_split(store, _):
    by_hand(store, "UPDATE datasets SET sequences_fingerprint = 'another'")


def no_checkpoint(store, _):
    shutil.rmtree(store.run_folder("popularity-1"))


def lost(store, monkeypatch):
    by_hand(store, "UPDATE runs SET status = 'running'")
    monkeypatch.setattr(process_module, "_start_mark", lambda pid: "another boot:1")


FAULTS = {
    dead_kind: ("it is of kind 'gone-kind', which no plugin brings now", "install its plugin again"),
    dead_strategy: ("it has strategy 'gone-plan', which no plugin brings now", "install its plugin again"),
    removed_data: ("its data set 'toy' is gone", "add it again"),
    retitled: ("its data set 'toy' has another catalog than it learned from", "train again"),
    another_catalog: ("its data set 'toy' has another catalog than it learned from", "train again"),
    another_split: ("its data set 'toy' has another split than it learned from", "train again"),
    no_checkpoint: ("its checkpoint is gone", "--resume popularity-1"),
    lost: ("its process ended without a word", "--resume popularity-1"),
}


@pytest.mark.parametrize("harm", FAULTS, ids=lambda harm: harm.__name__)
def test_each_fault_is_told_by_ls_show_and_doctor_with_its_mend(made, harm, capfd, monkeypatch):
    what, fix = FAULTS[harm]
    harm(made, monkeypatch)
    command = ["--home", str(made.home)]
    capfd.readouterr()
    assert main([*command, "runs", "ls"]) == 0
    said = capfd.readouterr().err
    assert f"popularity-1: {what}" in said
    assert fix in said
    assert main([*command, "runs", "ls", "--json"]) == 0
    [row] = json.loads(capfd.readouterr().out)["runs"]
    assert [fault["what"] for fault in row["faults"]] == [what]
    assert main([*command, "runs", "show", "popularity-1"]) == 0
    shown = " ".join(capfd.readouterr().out.split())
    assert what in shown
    assert fix in shown
    assert main([*command, "doctor", "--json"]) == 1
    check = {check["name"]: check for check in json.loads(capfd.readouterr().out)["checks"]}["runs"]
    assert not check["ok"]
    assert f"popularity-1: {what}" in check["detail"]
    assert fix in check["fix"]


@pytest.mark.parametrize("harm", FAULTS, ids=lambda harm: harm.__name__)
def test_a_run_with_a_fault_can_be_removed(made, harm, capfd, monkeypatch):
    harm(made, monkeypatch)
    assert main(["--home", str(made.home), "runs", "rm", "popularity-1"]) == 0
    assert runs.list_runs(home=made.home) == []


def test_the_mend_of_a_lost_run_works(made, capfd, monkeypatch):
    lost(made, monkeypatch)
    [row] = runs.list_runs(home=made.home)
    words = shlex.split(row["faults"][0]["fix"].partition("`patchrec ")[2].partition("`")[0])
    monkeypatch.undo()
    by_hand(made, "UPDATE runs SET pid = 999999999")
    assert main(["--home", str(made.home), *words]) == 0
    [row] = runs.list_runs(home=made.home)
    assert (row["status"], row["faults"]) == ("done", [])


def test_a_sound_run_has_no_fault_also_after_items_came(made, capfd):
    assert runs.show_run("popularity-1", home=made.home)["faults"] == []
    add = ["data", "items", "add", "toy", "--item-id", "new", "--title", "New"]
    assert main(["--home", str(made.home), *add]) == 0
    assert runs.show_run("popularity-1", home=made.home)["faults"] == []
    assert [row["faults"] for row in runs.list_runs(home=made.home)] == [[]]


def test_a_large_catalog_is_left_to_doctor_by_the_listing(made, monkeypatch):
    retitled(made, monkeypatch)
    monkeypatch.setattr(runs, "QUICKLY_READ", 5)
    assert [row["faults"] for row in runs.list_runs(home=made.home)] == [[]]
    assert runs.show_run("popularity-1", home=made.home)["faults"] != []


def test_a_listing_tells_a_few_faults_and_counts_the_rest(made, capfd):
    config = RunConfig(stage="baseline", dataset="toy", backbone=None, kind=KindConfig(name="gone"))
    for _ in range(9):
        name = made.runs.create(config, label="gone", versions={}, fingerprints={}).name
        made.runs.finish(name, {})
    capfd.readouterr()
    assert main(["--home", str(made.home), "runs", "ls"]) == 0
    said = capfd.readouterr().err
    assert said.count("no plugin brings") == 5
    assert "and 4 more; see `patchrec --home" in said


def test_the_plugin_that_did_not_load_is_named(made, monkeypatch):
    problem = plugins.PluginProblem("mine", "ImportError: no module named x")
    monkeypatch.setattr("patchrec.plugins.problems", lambda: [problem])
    config = RunConfig(stage="finetune", dataset="toy", backbone=None, strategies=(StrategyConfig(name="mine"),))
    with Store.open(made.home) as store:
        store.runs.create(config, label="mine", versions={}, fingerprints={})
    [fault] = runs.show_run("mine-1", home=made.home)["faults"]
    assert "plugin 'mine': ImportError" in fault["what"]
