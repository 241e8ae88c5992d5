"""Migration m003: a table of runs that is made anew keeps every run and everything that refers to one."""

import math
from pathlib import Path

import pytest
from first_release import MOMENT, connect, fill
from sqlite_utils import Database
from sqlite_utils.utils import sqlite3

from patchrec.config import RunConfig
from patchrec.store import Store
from patchrec.store.connection import FILE_NAME
from patchrec.store.runs import LossRow, Run, ValidationRow
from patchrec.store.schema import APPLICATION_ID, migrations


def write_second_schema(home: Path) -> None:
    """A store as the schema before this one has it: a run with everything, a child of it, and one of each status."""
    home.mkdir(parents=True)
    connection = connect(home / FILE_NAME)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    migrations.apply(Database(connection), stop_before={"m002_growing_catalogs"})
    fill(connection, evaluations=2)
    migrations.apply(Database(connection), stop_before={"m003_watched_runs"})
    for number, status in enumerate(("running", "done", "failed"), start=2):
        connection.execute(
            "INSERT INTO runs SELECT ?, ?, stage, dataset, backbone, ?, strategy, ?, config, 7, versions, fingerprints,"
            " 'why', 1, 'boot:1', 'elsewhere', ?, ?, '{\"loss\": 1.5}' FROM runs WHERE id = 1",
            [number, f"pft-s-{number}", "pft-s-1" if number == 2 else None, status, MOMENT, MOMENT],
        )
    connection.close()


def rows_of(path: Path, table: str) -> list[tuple]:
    connection = connect(path)
    try:
        return connection.execute(f"SELECT * FROM {table}").fetchall()
    finally:
        connection.close()


def test_runs_and_all_that_refers_to_them_survive(tmp_path: Path) -> None:
    path = tmp_path / "home" / FILE_NAME
    write_second_schema(tmp_path / "home")
    tables = ("losses", "checkpoints", "evaluations", "metrics", "rankings")
    before = {table: rows_of(path, table) for table in ("runs", *tables)}
    with Store.open(tmp_path / "home") as store:
        assert store.rows("PRAGMA foreign_keys") == [(1,)]
        assert store.rows("PRAGMA foreign_key_check") == []
        assert store.rows("PRAGMA integrity_check") == [("ok",)]
        assert [(run.name, run.status, run.num_steps) for run in store.runs.all()] == [
            ("pft-s-1", "done", None),
            ("pft-s-2", "running", None),
            ("pft-s-3", "done", None),
            ("pft-s-4", "failed", None),
        ]
    sizes = {row[0]: row[3:5] for row in before["evaluations"]}  # targets and users, which metrics tell since
    before["metrics"] = [(*row, *sizes[row[0]]) for row in before["metrics"]]
    for table in tables:
        assert rows_of(path, table) == before[table] != []
    assert rows_of(path, "runs") == [
        (*row[:2], "baseline", *row[3:], None, "popularity", None) for row in before["runs"]
    ]


def test_what_refers_to_a_run_still_goes_with_it(tmp_path: Path) -> None:
    write_second_schema(tmp_path / "home")
    with Store.open(tmp_path / "home") as store:
        store.runs.log_validation("pft-s-3", ValidationRow(1, 2.0, 10, 3, 0.1))
        store.runs.remove("pft-s-3")
        assert store.runs.validations("pft-s-3") == []
        with pytest.raises(sqlite3.IntegrityError), store.write() as db:
            db.execute("DELETE FROM runs WHERE name = 'pft-s-1'")  # a child begins with it


def test_other_statuses_stay_impossible(toy_store: Store) -> None:
    name = make_run(toy_store).name
    with pytest.raises(sqlite3.IntegrityError, match="CHECK"), toy_store.write() as db:
        db.execute("UPDATE runs SET status = 'paused' WHERE name = ?", [name])


def make_run(store: Store) -> Run:
    config = RunConfig(stage="pretrain", dataset="toy", backbone="tiny-random")
    return store.runs.create(config, label="pretrain", versions={}, fingerprints={})


def test_an_interrupted_run_says_how_and_goes_on(toy_store: Store) -> None:
    name = make_run(toy_store).name
    toy_store.runs.interrupt(name, "stopped by Ctrl-C after step 3 of 9")
    run = toy_store.runs.get(name)
    assert (run.status, run.error) == ("interrupted", "stopped by Ctrl-C after step 3 of 9")
    assert run.finished_at is not None
    assert toy_store.runs.newest(status="interrupted") == run
    again = toy_store.runs.reopen(name)
    assert (again.status, again.error, again.finished_at) == ("running", None, None)


def test_a_run_that_goes_on_forgets_the_steps_it_takes_again(toy_store: Store) -> None:
    name, other = make_run(toy_store).name, make_run(toy_store).name
    for run in (name, other):
        toy_store.runs.log_loss(run, [LossRow(step, 1.0, 1, 1, 1.0, 1.0) for step in (1, 2, 3)])
        for step in (2, 3):
            toy_store.runs.log_validation(run, ValidationRow(step, 1.0, 1, 1, 1.0))
    toy_store.runs.begin_steps(name, 9, after=2)
    assert toy_store.runs.get(name).num_steps == 9
    assert [row.step for row in toy_store.runs.losses(name)] == [1, 2]
    assert [row.step for row in toy_store.runs.validations(name)] == [2]
    assert len(toy_store.runs.losses(other)) == 3
    assert len(toy_store.runs.validations(other)) == 2


def test_a_validation_loss_that_is_not_a_number_comes_back_as_such(toy_store: Store) -> None:
    name = make_run(toy_store).name
    toy_store.runs.log_validation(name, ValidationRow(4, math.nan, 10, 3, 0.1))
    (row,) = toy_store.runs.validations(name)
    assert math.isnan(row.loss)
    assert (row.step, row.tokens, row.targets) == (4, 10, 3)
