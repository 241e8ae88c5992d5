"""A store of every schema that was released becomes one of today with all that was in it."""

import json
import random
import shutil
import subprocess
import sys
import time

import pytest
from first_release import MOMENT, connect, write_store
from sqlite_utils import Database

from patchrec.errors import UsageError
from patchrec.store import Store
from patchrec.store.connection import FILE_NAME
from patchrec.store.schema import migrations

NAMES = [migration.name for migration in migrations._migrations]
SCRIPT = __file__.replace("test_every_schema", "first_release")
# what only stores from a migration on can hold: table, its new row
LATER = {
    "m002_growing_catalogs": [
        ("catalog_versions", "'toy', 4, 'later', 'then'"),
        (
            "metrics (evaluation, name, level, seen, value, low, high, slice)",
            "1, 'mrr', 'item', 'kept', 0.5, NULL, NULL, 'cold'",
        ),
    ],
    "m003_watched_runs": [("validations (run, step, loss, tokens, targets, seconds)", "'pft-s-1', 2, 1.5, 9, 3, 0.25")],
    "m004_kinds_of_recommender": [("validations", "'pft-s-1', 4, 1.25, 9, 3, 0.25, 0.125")],
    "m005_named_sessions": [
        ("interactions (dataset, user, position, item, timestamp, rating, session)", "'toy', 1, 1, 1, 7, 3.5, 12")
    ],
    "m009_any_slice": [("metrics", "1, 'mrr', 'item', 'kept', 0.25, NULL, NULL, 'history 0-9', 2, 1")],
    "m010_growing_data": [
        ("interactions", "'toy', 1, 2, 0, 9, NULL, 13, 2"),
        ("data_versions", "'toy', 2, 2, 3, 'later', '{}', 'then'"),
        ("former_splits", "'toy', 1, 0, 1, 1"),
    ],
}


def write_schema(home, last, evaluations=1):
    """A store as the release wrote it whose newest migration was `last`, with rows that only it could have."""
    write_store(home, evaluations)
    connection = connect(home / FILE_NAME)
    later = NAMES[NAMES.index(last) + 1 :]
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute("BEGIN IMMEDIATE")
    migrations.apply(Database(connection), **({"stop_before": later[0]} if later else {}))
    for name in NAMES[: NAMES.index(last) + 1]:
        for table, values in LATER.get(name, ()):
            connection.execute(f"INSERT INTO {table} VALUES ({values})")
    if NAMES.index(last) >= NAMES.index("m003_watched_runs"):
        connection.execute(
            "INSERT INTO runs (name, stage, dataset, strategy, status, config, seed, versions, fingerprints,"
            " created_at, num_steps) SELECT 'pft-s-2', 'finetune', dataset, strategy, 'interrupted', ?, seed, versions,"
            " fingerprints, created_at, 40 FROM runs",
            [json.dumps({"stage": "finetune", "dataset": "toy", "backbone": None})],
        )
    connection.execute("COMMIT")
    connection.close()


def rows_by_key(path):
    """Every table as its rows by column name, without the note of migrations."""
    connection = connect(path)
    try:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found = {}
        for table in tables:
            if not table.startswith(("_", "sqlite_")):
                cursor = connection.execute(f"SELECT * FROM {table}")
                columns = [column[0] for column in cursor.description]
                found[table] = [dict(zip(columns, row, strict=True)) for row in cursor]
        return found
    finally:
        connection.close()


def carried(table, row):
    """What today's store keeps of a row of an earlier one."""
    if table == "runs" and row["stage"] in ("popularity", "untrained"):
        return row | {"stage": "baseline"}
    if table == "evaluations" and row["score"] == "catalog" and row["run"] == "pft-s-1":
        return row | {"score": "item"}
    return row


@pytest.mark.parametrize("last", NAMES)
def test_nothing_is_lost_from_a_store_of_any_release(tmp_path, last):
    home = tmp_path / "home"
    write_schema(home, last, evaluations=3)
    before = rows_by_key(home / FILE_NAME)
    with Store.open(home) as store:
        assert store.rows("PRAGMA integrity_check") == [("ok",)]
        assert store.rows("PRAGMA foreign_key_check") == []
        assert migrations.pending(store.db) == []
        assert [run.name for run in store.runs.all()] == [row["name"] for row in before["runs"]]
    after = rows_by_key(home / FILE_NAME)
    assert sum(map(len, before.values())) > 15
    for table, rows in before.items():
        assert len(after[table]) == len(rows), table
        for row in rows:
            wanted = carried(table, row).items()
            assert any(wanted <= kept.items() for kept in after[table]), (table, row)


@pytest.mark.parametrize("last", NAMES)
def test_every_release_becomes_the_same_schema(tmp_path, last):
    write_schema(tmp_path / "old", last)
    Store.open(tmp_path / "old").close()
    Store.open(tmp_path / "new").close()
    shapes = []
    for folder in ("old", "new"):
        connection = connect(tmp_path / folder / FILE_NAME)
        shapes.append(connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall())
        connection.close()
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("last", NAMES)
def test_an_older_patchrec_refuses_a_store_of_today_untouched(tmp_path, last, monkeypatch):
    """As one that knows the migrations up to `last` alone would."""
    if last == NAMES[-1]:
        return
    Store.open(tmp_path).close()
    before = (tmp_path / FILE_NAME).read_bytes()
    monkeypatch.setattr(migrations, "_migrations", migrations._migrations[: NAMES.index(last) + 1])
    for read_only in (False, True):
        with pytest.raises(UsageError, match="newer patchrec"):
            Store.open(tmp_path, read_only=read_only)
    assert (tmp_path / FILE_NAME).read_bytes() == before


def check_kills(home, last, kills, evaluations):
    """Kill upgrades from a release at moments spread over the time that one takes; each store is old or new."""
    write_schema(home, last, evaluations)
    old = rows_by_key(home / FILE_NAME)
    whole = home / "whole"
    whole.mkdir()
    shutil.copy(home / FILE_NAME, whole / FILE_NAME)
    begun = time.monotonic()
    Store.open(whole).close()
    taken = time.monotonic() - begun
    new = rows_by_key(whole / FILE_NAME)
    draw = random.Random(last)
    moments = [f"{1.1 * taken * (number + draw.random()) / kills:.4f}" for number in range(kills)]
    subprocess.run([sys.executable, SCRIPT, str(home), *moments], check=True)
    for number in range(kills):
        path = home / str(number)
        assert rows_by_key(path / FILE_NAME) in (old, new)
        with Store.open(path) as store:
            assert store.rows("PRAGMA integrity_check") == [("ok",)]
            assert store.rows("PRAGMA foreign_key_check") == []
        assert rows_by_key(path / FILE_NAME) == new


@pytest.mark.slow
@pytest.mark.parametrize("last", NAMES[1:-1])
def test_100_kills_inside_the_migration_of_any_release(tmp_path, last):
    check_kills(tmp_path / "home", last, kills=100, evaluations=5_000)


def test_6_kills_inside_the_migration_of_a_later_release(tmp_path):
    check_kills(tmp_path / "home", "m002_growing_catalogs", kills=6, evaluations=500)


def test_the_moment_of_the_made_up_store_is_kept(tmp_path):
    write_schema(tmp_path / "home", NAMES[-1])
    with Store.open(tmp_path / "home") as store:
        assert store.datasets.show("toy")["created_at"] == MOMENT
        assert {run.name: (run.status, run.num_steps) for run in store.runs.all()}["pft-s-2"] == ("interrupted", 40)
