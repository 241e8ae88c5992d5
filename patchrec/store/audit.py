"""Whether a store is what patchrec writes: SQLite's own checks, the tables, and text that can be read."""

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from patchrec.store.schema import migrations
from patchrec.store.sqlite import sqlite3, wrap

if TYPE_CHECKING:
    from sqlite_utils import Database

    from patchrec.store.connection import Store

RESTORE = "restore a copy of store.db, or move it away to begin anew"
_OWNERS = {
    "runs": "name",
    "plugins": "run",
    "notes": "run",
    "tags": "run",
    "trash": "run",
    "losses": "run",
    "validations": "run",
    "checkpoints": "run",
    "evaluations": "run",
}
_OF_DATASETS = {
    "datasets": "name",
    "items": "dataset",
    "users": "dataset",
    "catalog_versions": "dataset",
    "data_versions": "dataset",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is wrong, and its mend.

    Attributes:
        what: In words, without a stop.
        fix: What to do.
    """

    what: str
    fix: str


def audit(store: "Store") -> list[Fault]:
    """Everything that is wrong with the file itself; empty where it is sound. Reads all of it."""
    tables = _other_tables(store.db)
    if tables:
        return [Fault(f"{', '.join(tables)}: not as patchrec makes them", RESTORE)]
    faults = [Fault(row[0], RESTORE) for row in store.db.execute("PRAGMA integrity_check(3)") if row[0] != "ok"]
    strays: dict[tuple[str, str], int] = {}
    for table, _, parent, _ in store.db.execute("PRAGMA foreign_key_check"):
        strays[table, parent] = strays.get((table, parent), 0) + 1
    for (table, parent), number in strays.items():
        faults.append(Fault(f"{number:,} rows of {table} belong to {parent} that are gone", RESTORE))
    return faults + [fault for table in _names(store.db) for fault in _unreadable(store, table)]


def _names(db: "Database") -> list[str]:
    """Tables of patchrec, without those of SQLite and of migrations."""
    rows = db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    return [name for (name,) in rows if not name.startswith(("sqlite_", "_"))]


def _other_tables(db: "Database") -> list[str]:
    """Tables and indices that are missing, or that have other columns than those of a new store."""
    wanted = wrap(sqlite3.connect(":memory:", isolation_level=None))
    try:
        migrations.apply(wanted)
        select = "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"
        expected, found = dict(wanted.execute(select).fetchall()), dict(db.execute(select).fetchall())
        ours = [name for name in expected if not name.startswith("_")]  # the note of migrations is sqlite-utils' own
        return sorted(name for name in ours if found.get(name) != expected[name])
    finally:
        wanted.close()


def _unreadable(store: "Store", table: str) -> list[Fault]:
    """Texts of a table that are no UTF-8, one fault for each data set or run that has them."""
    kept = {row[3] for row in store.db.execute(f"PRAGMA foreign_key_list({table})")}  # as readable as what they name
    columns = [row[1] for row in store.db.execute(f"PRAGMA table_info({table})") if row[2] == "TEXT"]
    columns = [name for name in columns if name not in kept]
    if not columns:
        return []
    texts = ", ".join(columns)
    try:
        deque(store.db.execute(f"SELECT {texts} FROM {table}"), maxlen=0)  # noqa: S608 - names of our own tables
    except sqlite3.OperationalError as error:
        if not str(error).startswith("Could not decode to UTF-8"):
            raise
    else:
        return []
    owner = _OWNERS.get(table) or _OF_DATASETS.get(table)
    found: dict[str, tuple[str, str]] = {}  # owner -> first column, and its text
    usual = store.db.conn.text_factory
    store.db.conn.text_factory = bytes
    try:
        rows = store.db.execute(f"SELECT {owner or 'NULL'}, {texts} FROM {table}")  # noqa: S608
        for name, *cells in rows:
            for column, cell in zip(columns, cells, strict=True):
                if not _is_text(cell):
                    found.setdefault(_shown(name), (column, _shown(cell)))
    finally:
        store.db.conn.text_factory = usual
    return [
        Fault(f"{table}.{column}{_of(table, name)} is no UTF-8: {text!r}", _mend(table, name))
        for name, (column, text) in found.items()
    ]


def _is_text(cell: Any) -> bool:
    try:
        return not isinstance(cell, bytes) or cell.decode() is not None
    except UnicodeDecodeError:
        return False


def _shown(cell: Any) -> str:
    text = cell.decode("utf-8", "backslashreplace") if isinstance(cell, bytes) else str(cell)
    return text if len(text) <= 80 else text[:79] + "…"


def _of(table: str, name: str) -> str:
    if table in _OF_DATASETS:
        return f" of data set {name!r}"
    return f" of run {name!r}" if table in _OWNERS else ""


def _mend(table: str, name: str) -> str:
    if table in _OF_DATASETS:
        return f"restore a copy of store.db; or remove its runs and it (`patchrec data rm {name}`), and add it again"
    return f"restore a copy of store.db, or `patchrec runs rm {name}`" if table in _OWNERS else RESTORE
