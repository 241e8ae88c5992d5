"""`patchrec runs query`: answers any question, changes nothing, and ends."""

import hashlib
import os
import subprocess
import sys
import time

import pytest
from rich.cells import cell_len
from store_dump import dump

from patchrec.store import Store

ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT "
HOSTILE = [
    "DELETE FROM settings",
    "DELETE FROM datasets RETURNING name",
    "INSERT INTO settings VALUES ('a', 'b')",
    "INSERT INTO settings VALUES ('a', 'b') RETURNING key",
    "REPLACE INTO settings VALUES ('dataset', 'none')",
    "UPDATE datasets SET licence = 'mine' RETURNING licence",
    "UPDATE items SET title = upper(title)",
    "WITH x AS (SELECT 1) DELETE FROM items",
    "WITH x AS (SELECT 1) UPDATE users SET user_id = 'x'",
    "EXPLAIN QUERY PLAN DELETE FROM items",
    "DROP TABLE runs",
    "DROP INDEX runs_dataset",
    "CREATE TABLE mine (a)",
    "CREATE TEMP TABLE mine (a)",
    "CREATE TABLE mine AS SELECT * FROM items",
    "CREATE VIEW mine AS SELECT * FROM items",
    "CREATE TEMP VIEW items AS SELECT 1",
    "CREATE TRIGGER mine AFTER INSERT ON runs BEGIN DELETE FROM runs; END",
    "CREATE TEMP TRIGGER mine AFTER INSERT ON runs BEGIN DELETE FROM runs; END",
    "CREATE VIRTUAL TABLE mine USING fts5(a)",
    "ALTER TABLE runs RENAME TO others",
    "ALTER TABLE runs ADD COLUMN mine",
    "ATTACH DATABASE '{folder}/other.db' AS other",
    "ATTACH DATABASE ':memory:' AS other",
    "DETACH DATABASE main",
    "VACUUM",
    "VACUUM INTO '{folder}/copy.db'",
    "REINDEX",
    "ANALYZE",
    "PRAGMA writable_schema = ON",
    "PRAGMA journal_mode = DELETE",
    "PRAGMA user_version = 7",
    "PRAGMA application_id = 7",
    "PRAGMA query_only = OFF",
    "PRAGMA wal_checkpoint(TRUNCATE)",
    "PRAGMA wal_checkpoint",
    "PRAGMA optimize",
    "PRAGMA incremental_vacuum",
    "PRAGMA temp_store_directory = '{folder}'",
    "PRAGMA hard_heap_limit = 1",
    "UPDATE sqlite_master SET sql = ''",
    "INSERT INTO sqlite_dbpage VALUES (1, zeroblob(4096))",
    "SELECT load_extension('{folder}/mine')",
    "SELECT writefile('{folder}/mine', 'x')",
    "SELECT fts3_tokenizer('simple', x'00')",
    "BEGIN IMMEDIATE",
    "BEGIN EXCLUSIVE",
    "COMMIT",
    "ROLLBACK",
    "SAVEPOINT mine",
    "SELECT 1; DROP TABLE runs",
    "SELECT 1; --",
    "-- nothing",
    "",
    "SELECT '\0'",
    "SELECT '\ud800'",
    "SELECT",
    "SELECT ? + 1",
    "SELECT :name",
    f"SELECT {'(' * 5_000}1{')' * 5_000}",
    f"{ENDLESS} count(*) FROM n",
    f"{ENDLESS} x FROM n ORDER BY -x",
    f"{ENDLESS} group_concat(x) FROM n",
    f"SELECT count(*) FROM {', '.join(f'items AS {name}' for name in 'abcdefghijklm')}",
    "SELECT zeroblob(999999999), zeroblob(999999999)",
    "SELECT printf('%.*c', 999999999, 'x')",
    f"{ENDLESS} printf('%.*c', 10000000, 'x') FROM n",
]  # fmt: skip


@pytest.fixture
def asked(toy_cli, monkeypatch):
    """The command, in a process that does not keep SQLite's memory limit."""
    monkeypatch.setattr("patchrec_cli.queries.MOST_BYTES", None)
    return toy_cli


@pytest.fixture(scope="module")
def hostile_home(tmp_path_factory):
    """A store of its own in a folder of its own."""
    return tmp_path_factory.mktemp("hostile") / "home"


def everything(folder):
    """Digest of every file, but SQLite's own beside the store."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(("-wal", "-shm")))
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


RUN_ALL = """
import json, sys
from patchrec_cli.app import main
for statement in json.load(open(sys.argv[1])):
    print("==", main(["runs", "query", statement, "--seconds", "0.3"]), flush=True)
"""


def test_hostile_statements_change_nothing_and_end(toy, hostile_home, tmp_path):
    """All in one process of their own, with its limit on memory."""
    import json

    with Store.open(hostile_home) as store:
        store.datasets.add(toy, source="made up", licence="none", split={})
        store.datasets.use("toy")
        before = dump(store)
    assert len(HOSTILE) >= 40
    folder = hostile_home.parent
    statements = tmp_path / "statements.json"
    statements.write_text(json.dumps([statement.replace("{folder}", str(folder)) for statement in HOSTILE]))
    files = everything(folder)
    environment = os.environ | {"PATCHREC_HOME": str(hostile_home), "TMPDIR": str(folder)}
    command = [sys.executable, "-c", RUN_ALL, str(statements)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    codes = [int(line[3:]) for line in done.stdout.splitlines() if line.startswith("==")]
    assert len(codes) == len(HOSTILE)
    wrong = {statement: code for statement, code in zip(HOSTILE, codes, strict=True) if code not in (0, 2, 7)}
    assert wrong == {}
    assert "bug" not in done.stderr
    assert len(done.stderr.splitlines()) <= len(HOSTILE)
    let_through = {statement for statement, code in zip(HOSTILE, codes, strict=True) if code == 0}
    assert let_through <= {"EXPLAIN QUERY PLAN DELETE FROM items", "SELECT 1; --"}
    assert everything(folder) == files
    with Store.open(hostile_home) as store:
        assert dump(store) == before
        assert store.rows("PRAGMA integrity_check") == [("ok",)]


def test_a_function_that_hears_of_no_limit_is_ended_too(toy, tmp_path):
    with Store.open(tmp_path / "home") as store:
        store.datasets.add(toy, source="made up", licence="none", split={})
    sql = "SELECT instr(printf('%.*c', 200000000, 'a'), printf('%.*c', 100000000, 'a') || 'b')"
    command = [sys.executable, "-m", "patchrec_cli", "--home", str(tmp_path / "home"), "runs", "query", sql]
    done = subprocess.run([*command, "--seconds", "0.1"], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "takes longer than 0.1 s" in done.stderr


def test_a_query_is_answered_as_a_table_as_json_and_quietly(asked):
    sql = "SELECT item_id, title FROM items ORDER BY item"
    assert asked("runs", "query", sql, "-q").out.splitlines()[:2] == ["10\tAlien", "11\tAliens"]
    found = asked("runs", "query", sql, "--json", "--limit", "2").json
    assert found["columns"] == ["item_id", "title"]
    assert found["rows"] == [{"item_id": "10", "title": "Alien"}, {"item_id": "11", "title": "Aliens"}]
    assert found["more"] is True
    ran = asked("runs", "query", sql)
    assert [line.split() for line in ran.out.splitlines()[:2]] == [["item_id", "title"], ["10", "Alien"]]
    assert "only the first 2 rows" in asked("runs", "query", sql, "--limit", "2").err


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM datasets",
        "SELECT * FROM items, users, interactions",
        "SELECT printf('%.*c', 5000, 'x') AS long, 1, 2, 3, 4, 5, 6",
        "SELECT title, title, title, title, title, title, title, title FROM items",
        "SELECT 1 WHERE 0",
    ],
)
def test_an_answer_fits_80_columns(asked, sql):
    ran = asked("runs", "query", sql)
    assert ran.code == 0
    assert max(map(cell_len, ran.out.splitlines())) <= 80


def test_columns_of_one_name_are_told_apart(asked):
    found = asked("runs", "query", "SELECT 1 AS a, 2 AS a, 3 AS a_2, x'00ff' AS blob, NULL AS none", "--json").json
    assert found["rows"] == [{"a": 1, "a_2": 2, "a_2_2": 3, "blob": "00ff", "none": None}]


def test_what_an_answer_holds_is_shown_and_not_obeyed(asked):
    sql = "SELECT char(27) || '[31mred' || char(8238) || char(8207) AS \"x\x1b[2Jy\", CAST(x'41ff42' AS TEXT) AS bad"
    for more in ([], ["-q"]):
        out = asked("runs", "query", sql, *more).out
        assert "\x1b" not in out
        assert "\u202e" not in out
        assert "[31mred" in out
        assert "AB" in out
    assert asked("runs", "query", sql, "--json").out.isascii()


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELECT * FROM run", "did you mean 'runs'"),
        ("SELECT nme FROM runs", "no such column: nme"),
        ("SELCT 1", "syntax error"),
        ("DROP TABLE runs", "queries only read"),
    ],
)
def test_a_wrong_query_is_one_line(asked, sql, words):
    ran = asked("runs", "query", sql)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert words in ran.err


def test_a_query_of_no_store_makes_none(cli, tmp_path):
    ran = cli("runs", "query", "SELECT 1")
    assert ran.code == 4
    assert not (tmp_path / "home").exists()


def test_a_query_that_goes_on_is_stopped(asked):
    begun = time.monotonic()
    ran = asked("runs", "query", f"{ENDLESS} count(*) FROM n", "--seconds", "0.2")
    assert ran.code == 2
    assert "--seconds" in ran.err
    assert time.monotonic() - begun < 60
