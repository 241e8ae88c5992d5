"""A store that somebody else changed: every fault is found, told with its mend, and none is called a bug."""

import dataclasses
import json

import pytest
from sqlite_utils.utils import sqlite3

from patchrec.config import RunConfig, StrategyConfig
from patchrec.errors import CorruptError
from patchrec.store import Store
from patchrec.store.audit import audit
from patchrec.store.runs import LossRow
from patchrec_cli.app import main

STRATEGIES = (StrategyConfig(name="vanilla"), StrategyConfig(name="patch-pretraining"))
CONFIG = RunConfig(stage="pretrain", dataset="toy", backbone="tiny-random", strategies=STRATEGIES)


@pytest.fixture
def filled(toy_store):
    """A store with a row in every table that a run and a data set fill."""
    run = toy_store.runs.create(CONFIG, label="pretrain", versions={}, fingerprints={}).name
    toy_store.runs.log_loss(run, [LossRow(1, 1.0, 1, 1, 1.0, 1.0)])
    toy_store.evaluations.add(run, "test", "catalog", config={}, metrics=[], rankings=[], cost={})
    toy_store.runs.finish(run, {})
    return toy_store


def change(store, *statements, keys=True):
    """Write what patchrec never would."""
    connection = sqlite3.connect(store.path, isolation_level=None)
    connection.execute(f"PRAGMA foreign_keys = {'ON' if keys else 'OFF'}")
    for statement in statements:
        connection.execute(statement)
    connection.close()


def test_a_store_of_patchrec_has_no_fault(filled):
    assert audit(filled) == []


@pytest.mark.parametrize(
    "table", ["settings", "items", "users", "interactions", "losses", "validations", "metrics", "rankings", "runs"]
)
def test_a_missing_table_is_a_fault(filled, table):
    change(filled, f"DROP TABLE {table}", keys=False)
    (fault,) = audit(filled)
    assert table in fault.what
    assert "restore" in fault.fix


@pytest.mark.parametrize("statement", ["DROP INDEX runs_dataset", "ALTER TABLE items DROP COLUMN metadata"])
def test_a_missing_part_of_a_table_is_a_fault(filled, statement):
    change(filled, "DROP TABLE rankings", statement, keys=False)
    assert len(audit(filled)) == 1


def test_a_table_of_somebody_else_is_none(filled):
    change(filled, "CREATE TABLE mine (a)", "CREATE INDEX mine_too ON runs (stage)")
    assert audit(filled) == []


TEXTS = {
    "items": ("title", "data set 'toy'"),
    "users": ("user_id", "data set 'toy'"),
    "datasets": ("source", "data set 'toy'"),
    "catalog_versions": ("fingerprint", "data set 'toy'"),
    "runs": ("strategy", "run 'pretrain-1'"),
    "evaluations": ("split", "run 'pretrain-1'"),
}


@pytest.mark.parametrize("table", TEXTS)
def test_text_that_is_no_utf8_is_found_and_named(filled, table):
    column, owner = TEXTS[table]
    one = {"items": " WHERE item = 2", "users": " WHERE user = 1"}.get(table, "")
    change(filled, f"UPDATE {table} SET {column} = CAST(x'41ff42' AS TEXT){one}")
    (fault,) = audit(filled)
    assert f"{table}.{column}" in fault.what
    assert owner in fault.what
    assert "A\\\\xffB" in fault.what
    assert "patchrec" in fault.fix


def test_rows_of_a_data_set_that_is_gone_are_a_fault(filled):
    change(filled, "DELETE FROM datasets", keys=False)
    assert any("rows of runs belong to datasets that are gone" in fault.what for fault in audit(filled))


COMMANDS = [
    ["data", "show", "toy"],
    ["data", "ls"],
    ["data", "export", "toy"],
    ["data", "items", "ls", "toy"],
    ["data", "items", "add", "toy", "--item-id", "z", "--title", "Z"],
    ["runs", "ls"],
    ["runs", "show", "pretrain-1"],
    ["runs", "compare"],
    ["baseline", "popularity"],
    ["eval", "--baseline", "popularity"],
    ["eval", "pretrain-1"],
    ["recommend", "--user", "ann"],
    ["strategies", "preview", "--strategy", "vanilla", "--user", "ann"],
    ["export", "pretrain-1", "nowhere"],
    ["doctor"],
]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE items SET title = CAST(x'41ff42' AS TEXT) WHERE item = 2",
        "UPDATE runs SET strategy = CAST(x'41ff42' AS TEXT)",
        "DROP TABLE losses",
        "UPDATE runs SET config = '[]'",
        'UPDATE runs SET config = \'{"stage": "cooking"}\'',
        "UPDATE runs SET summary = '7'",
    ],
    ids=["title", "label", "table", "list", "stage", "summary"],
)
def test_a_damaged_store_is_never_called_a_bug(filled, statement, capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    change(filled, statement, keys=False)
    codes = set()
    for command in COMMANDS:
        code = main(["--home", str(filled.home), *command])
        said = capfd.readouterr().err
        assert "bug" not in said, (command, said)
        assert code in (0, 6) or (command == ["doctor"] and code == 1) or code in (2, 4), (command, code, said)
        codes.add(code)
    assert 6 in codes


def test_a_title_that_is_no_text_ends_with_6_and_its_mend(filled, capfd):
    change(filled, "UPDATE items SET title = CAST(x'41ff42' AS TEXT) WHERE item = 2")
    for command in (["data", "items", "ls", "toy"], ["baseline", "popularity"], ["data", "export", "toy"]):
        assert main(["--home", str(filled.home), *command]) == 6
        said = capfd.readouterr().err
        assert "no UTF-8 in column 'title'" in said
        assert "patchrec --home" in said
        assert "doctor" in said
    assert main(["--home", str(filled.home), "doctor"]) == 1
    assert "items.title of data set" in " ".join(capfd.readouterr().out.split())
    for command in (["runs", "rm", "pretrain-1"], ["runs", "gc"], ["data", "rm", "toy"]):  # what doctor says works
        assert main(["--home", str(filled.home), *command]) == 0


def test_a_run_that_cannot_be_read_can_be_removed(filled):
    change(filled, "UPDATE runs SET config = '{}'")
    with pytest.raises(CorruptError, match="patchrec runs rm pretrain-1"):
        filled.runs.all()
    filled.runs.remove("pretrain-1")
    assert filled.runs.all() == []


@pytest.mark.parametrize("name", ["../../elsewhere", "/elsewhere", ".", "..", "a/b", "", ".hidden", "a\nb"])
def test_a_name_that_leads_out_of_the_store_is_refused_and_removes_nothing(filled, name, tmp_path):
    """Only somebody else can have written it."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").write_text("x")
    change(filled, f"UPDATE runs SET name = {quoted(name)}, parent = NULL", keys=False)
    with pytest.raises(CorruptError, match="no name that patchrec gives"):
        filled.run_folder(name)
    filled.runs.remove(name)
    assert (elsewhere / "kept").exists()
    assert filled.home.exists()
    assert filled.runs.names() == []


def quoted(text):
    return "'" + text.replace("'", "''") + "'"


def test_doctor_says_ok_of_a_sound_store_and_failed_of_one_that_misses_a_table(filled, capfd):
    checks = doctor(filled, capfd)
    assert checks["store"]["ok"]
    assert {"torch", "device", "sqlite", "store", "data", "runs", "disk"} <= set(checks)
    change(filled, "DROP TABLE losses", keys=False)
    checks = doctor(filled, capfd)
    assert not checks["store"]["ok"]
    assert "losses" in checks["store"]["detail"]
    assert checks["store"]["fix"]


def test_doctor_reads_every_interaction(filled, capfd):
    change(filled, "UPDATE interactions SET item = 0 WHERE user = 1 AND position = 1")
    check = doctor(filled, capfd)["data"]
    assert not check["ok"]
    assert "'toy' is not what was stored" in check["detail"]


def doctor(store, capfd):
    main(["--home", str(store.home), "doctor", "--json"])
    return {check["name"]: check for check in json.loads(capfd.readouterr().out)["checks"]}


def test_the_store_stays_as_it_is_when_it_is_audited(filled, toy):
    filled.datasets.add(dataclasses.replace(toy, name="other"), source="s", licence="l", split={})
    with Store.open(filled.home, read_only=True) as reader:
        assert audit(reader) == []
