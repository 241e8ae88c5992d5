"""A store of an earlier release becomes one of today: nothing is lost, and no kill leaves anything between."""

import hashlib
import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from first_release import CATALOG, METRICS, MOMENT, connect, write_store

from patchrec.store import Store, schema
from patchrec.store.connection import FILE_NAME

SCRIPT = Path(__file__).with_name("first_release.py")
UNCHANGED = (
    "settings", "datasets", "items", "users", "interactions", "backbones", "losses", "checkpoints",
    "evaluations", "rankings",
)  # fmt: skip


def everything(path: Path) -> dict[str, list[tuple]]:
    """The rows of every table, and the schema."""
    connection = connect(path)
    try:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        rows = {name: connection.execute(f"SELECT * FROM {name}").fetchall() for name in tables}
        return rows | {"schema": connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()}
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("statements", "digest"),
    [
        ("FIRST_TABLES", "84dba7f8f616898bb7cdbc25b47165f25d500c59ed0c617f2a4e894e9896d7ec"),
        ("GROWING_CATALOGS", "d58ed5db127b64f1fcb38903e355370836a282e04847d64d859343401fe901cc"),
        ("WATCHED_RUNS", "1066cfb09564b3c8f8b9dac3e59f5aaaa4102d01725a3bb689c94dbc3d0a6793"),
        ("KINDS_OF_RECOMMENDER", "b4bcef341b55f159bd01976ec9a774dac12b7bf74ef7945c0df368b5eb6f0b79"),
        ("NAMED_SESSIONS", "080c852ac8a1a1ad822a65b8ea9576130c960017603a7e4b5e98b98513a7f7cd"),
        ("ANY_SLICE", "dced032962323d24dfb4b45e03cf79b67f906312ca24fdeaf874b47d1a126f8b"),
        ("PLUGINS_OF_RUNS", "efc68d477035447328d75a2424fc800e64fa5d46bd991218064293a6f1f8840f"),
        ("GROUPS_OF_SEEDS", "e859e7fa2feebbbe1726f729beb82e8d8bda152468307f783b5432a9010618a5"),
    ],
)
def test_a_migration_that_stores_have_does_not_change(statements: str, digest: str) -> None:
    """A store that applied it would never get the change; a new need is a new migration."""
    assert hashlib.sha256(getattr(schema, statements).encode()).hexdigest() == digest


def test_a_store_of_the_first_release_is_upgraded_without_loss(tmp_path: Path) -> None:
    home = tmp_path / "home"
    write_store(home, evaluations=3)
    before = everything(home / FILE_NAME)
    assert "catalog_versions" not in before
    Store.open(home).close()
    after = everything(home / FILE_NAME)
    before["interactions"] = [(*row, None, 1) for row in before["interactions"]]
    for table in UNCHANGED:
        assert after[table] == before[table] != [] or table == "backbones"
    assert after["runs"] == [(*row[:2], "baseline", *row[3:], None, "popularity", None) for row in before["runs"]] != []
    sizes = {row[0]: row[3:5] for row in after["evaluations"]}  # its targets and users
    assert after["metrics"] == [(*row, "all", *sizes[row[0]]) for row in before["metrics"]]
    assert after["catalog_versions"] == [("toy", 3, CATALOG.fingerprint, MOMENT)]
    of_data = [row[8] for row in before["datasets"]]
    assert after["data_versions"] == [("toy", 1, 2, 2, of_data[0], "{}", MOMENT)]
    assert after["former_splits"] == []


def test_stages_that_were_kinds_are_runs_of_these_kinds(tmp_path: Path) -> None:
    path = tmp_path / "home" / FILE_NAME
    write_store(tmp_path / "home")
    connection = connect(path)
    prompt = {"form": "continuation", "noun": "movie", "verb": "watched", "K": 40, "windows": "anchored"}
    config = {"stage": "untrained", "dataset": "toy", "backbone": "tiny-random", "prompt": prompt}
    connection.execute(
        "INSERT INTO runs (name, stage, dataset, backbone, strategy, status, config, seed, versions, fingerprints,"
        " created_at) SELECT 'untrained-1', 'untrained', dataset, 'tiny-random', strategy, status, ?, seed, versions,"
        " fingerprints, created_at FROM runs",
        [json.dumps(config)],
    )
    connection.execute("UPDATE evaluations SET score = 'catalog'")
    connection.close()
    with Store.open(tmp_path / "home") as store:
        counts, model = store.runs.get("pft-s-1"), store.runs.get("untrained-1")
        (evaluation,) = store.evaluations.all("pft-s-1")
    assert (counts.stage, counts.kind, counts.config.prompt, counts.score) == ("baseline", "popularity", None, "item")
    assert (model.stage, model.kind, model.score) == ("baseline", "title", "catalog")
    assert (model.config.history.K, model.config.history.windows) == (40, "anchored")
    assert model.config.prompt is not None
    assert model.config.prompt.form == "continuation"
    assert evaluation.score == "item"


def test_an_upgraded_store_has_the_schema_of_a_new_one(tmp_path: Path) -> None:
    write_store(tmp_path / "old")
    for folder in ("old", "new"):
        Store.open(tmp_path / folder).close()

    def shape(folder: str) -> list[tuple]:
        return everything(tmp_path / folder / FILE_NAME)["schema"]

    assert shape("old") == shape("new")


def test_what_an_old_store_holds_is_read_as_before(tmp_path: Path) -> None:
    write_store(tmp_path / "home")
    with Store.open(tmp_path / "home") as store:
        assert store.catalogs.load("toy") == CATALOG
        (evaluation,) = store.evaluations.all("pft-s-1")
        assert evaluation.catalog == CATALOG.fingerprint
        assert [(row.name, row.value, row.slice) for row in store.evaluations.metrics(evaluation.id)] == [
            (name, value, "all") for name, _, _, value, _, _ in METRICS
        ]
        assert [item.added_at for item in store.catalogs.items("toy")] == [MOMENT] * 3


def test_removing_a_run_of_an_old_store_takes_its_metrics(tmp_path: Path) -> None:
    write_store(tmp_path / "home")
    with Store.open(tmp_path / "home") as store:
        store.runs.remove("pft-s-1")
        assert store.rows("SELECT count(*) FROM metrics") == [(0,)]


def check_kills_inside_the_migration(home: Path, kills: int, evaluations: int) -> None:
    """Kill upgrades at moments spread over the time that one takes, and see that each store is whole."""
    write_store(home, evaluations)
    before = everything(home / FILE_NAME)
    whole = home / "whole"
    whole.mkdir()
    (whole / FILE_NAME).write_bytes((home / FILE_NAME).read_bytes())
    began = time.monotonic()
    Store.open(whole).close()
    taken = time.monotonic() - began
    draw = random.Random(0)
    moments = [f"{1.1 * taken * (number + draw.random()) / kills:.4f}" for number in range(kills)]
    subprocess.run([sys.executable, str(SCRIPT), str(home), *moments], check=True)
    after = everything(whole / FILE_NAME)
    for number in range(kills):
        path = home / str(number) / FILE_NAME
        found = everything(path)
        if "catalog_versions" in found:
            found["_sqlite_migrations"] = after["_sqlite_migrations"]  # when it was applied differs
            assert found == after
        else:
            assert found == before
        with Store.open(path.parent) as store:
            assert store.rows("PRAGMA integrity_check") == [("ok",)]
            assert store.rows("PRAGMA foreign_key_check") == []
            assert store.rows("SELECT count(*) FROM metrics WHERE slice = 'all'") == [(len(METRICS) * evaluations,)]


def test_20_kills_inside_the_migration_leave_the_old_or_the_new_schema(tmp_path: Path) -> None:
    check_kills_inside_the_migration(tmp_path / "home", kills=20, evaluations=3_000)


@pytest.mark.slow
def test_100_kills_inside_the_migration_leave_the_old_or_the_new_schema(tmp_path: Path) -> None:
    check_kills_inside_the_migration(tmp_path / "home", kills=100, evaluations=20_000)
