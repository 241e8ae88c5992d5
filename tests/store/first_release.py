"""A store as the first release left it: only its tables, filled by statements of that time.

`python first_release.py HOME SECONDS...` upgrades a copy of HOME/store.db in HOME/0, HOME/1, ... and kills each upgrade
after so many seconds: one process that forks, so that Python starts once.
"""

import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

from sqlite_utils import Database
from sqlite_utils.utils import sqlite3

from patchrec.data.catalog import Catalog
from patchrec.store import Store
from patchrec.store.connection import FILE_NAME, SOUND_WAL
from patchrec.store.schema import APPLICATION_ID, migrations

CATALOG = Catalog(("10", "11", "12"), ("Alien", "😀 NA", "Heat"), ({"year": 1979}, {}, {}))
MOMENT = "2026-01-31T12:00:00Z"
METRICS = [("hr@10", "item", "dropped", 0.5, 0.25, 0.75), ("mrr", "title", "kept", 0.125, None, None)]

Connection = Any  # of pysqlite3 or the standard library, whichever sqlite-utils takes


def connect(path: Path) -> Connection:
    """Open a store's file as it is, upgrading nothing."""
    return sqlite3.connect(path, isolation_level=None)


def write_store(home: Path, evaluations: int = 1) -> None:
    """Make the store: a data set of three items and two users, a run, and evaluations of it."""
    home.mkdir(parents=True)
    connection = connect(home / FILE_NAME)
    db = Database(connection)
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    migrations.apply(db, stop_before="m002_growing_catalogs")
    fill(connection, evaluations)
    connection.execute("COMMIT")
    connection.execute(f"PRAGMA journal_mode = {'wal' if sqlite3.sqlite_version_info >= SOUND_WAL else 'delete'}")
    db.close()


def fill(connection: Connection, evaluations: int) -> None:
    sequences = "0" * 16
    connection.execute("INSERT INTO settings VALUES ('dataset', 'toy'), ('runs.pft-s', '1')")
    connection.execute(
        "INSERT INTO datasets VALUES ('toy', 'made up', 'none', 'movie', 'watched', '{}', 1, ?, ?, ?, ?)",
        [CATALOG.fingerprint, sequences, json.dumps({"items": 3, "titles": 3, "splits": {}}), MOMENT],
    )
    for item, (item_id, title) in enumerate(zip(CATALOG.item_ids, CATALOG.titles, strict=True)):
        metadata = json.dumps(CATALOG.metadata[item], ensure_ascii=False)
        connection.execute("INSERT INTO items VALUES ('toy', ?, ?, ?, ?)", [item, item_id, title, metadata])
    connection.execute("INSERT INTO users VALUES ('toy', 0, 'ann', 1, 1), ('toy', 1, 'bob', 1, 2)")
    connection.execute("INSERT INTO interactions VALUES ('toy', 0, 0, 2, 5, 4.5), ('toy', 1, 0, 0, NULL, NULL)")
    fingerprints = json.dumps({"catalog": CATALOG.fingerprint, "split": sequences})
    config = json.dumps({"stage": "popularity", "dataset": "toy", "backbone": None})
    connection.execute(
        "INSERT INTO runs (name, stage, dataset, strategy, status, config, seed, versions, fingerprints, created_at)"
        " VALUES ('pft-s-1', 'popularity', 'toy', 'pft-s', 'done', ?, 0, '{}', ?, ?)",
        [config, fingerprints, MOMENT],
    )
    connection.execute("INSERT INTO losses VALUES ('pft-s-1', 1, 3.5, 10, 2, 0.5, 0.001)")
    connection.execute("INSERT INTO checkpoints VALUES ('pft-s-1', 1, 'runs/pft-s-1/step-1', '{}', ?)", [MOMENT])
    for number in range(1, evaluations + 1):
        connection.execute(
            "INSERT INTO evaluations VALUES (?, 'pft-s-1', 'test', 1, 1, 'joint', ?, '{}', ?)",
            [number, json.dumps({"limit": None, "ks": [10]}), MOMENT],
        )
        connection.executemany("INSERT INTO metrics VALUES (?, ?, ?, ?, ?, ?, ?)", [(number, *row) for row in METRICS])
        connection.execute(
            "INSERT INTO rankings VALUES (?, 0, 0, 'ann', 1, '12', -1.5, 1, 2, 3, 4, '[[\"10\", -1.0]]', 7, 0.5)",
            [number],
        )


def kill_upgrades(home: Path, seconds: list[float]) -> None:
    """Upgrade a copy for each number of seconds and kill it after so long."""
    for number, patience in enumerate(seconds):
        folder = home / str(number)
        folder.mkdir()
        shutil.copy(home / FILE_NAME, folder / FILE_NAME)
        process = os.fork()
        if process == 0:
            Store.open(folder)
            time.sleep(60)  # alive and open until it is killed, as a command would be
        time.sleep(patience)
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)


if __name__ == "__main__":
    kill_upgrades(Path(sys.argv[1]), [float(word) for word in sys.argv[2:]])
