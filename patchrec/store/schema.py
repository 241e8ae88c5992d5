"""The store's tables, as named migrations in order. `docs/store.md` says what every column means.

A released migration never changes; a new need is a new migration at the end.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from patchrec.errors import CorruptError, UsageError
from patchrec.store.sqlite import Migrations

if TYPE_CHECKING:
    from sqlite_utils import Database

APPLICATION_ID = 0x50617463
"""`PRAGMA application_id` of a store: "Patc"."""

migrations = Migrations("patchrec")


@migrations()
def m001_first_tables(db: "Database") -> None:
    """Everything of the first release."""
    for statement in FIRST_TABLES.split(";\n"):
        db.execute(statement)


@migrations()
def m002_growing_catalogs(db: "Database") -> None:
    """Catalogs that grow are remembered version by version, and metrics are also of slices of the targets."""
    for statement in GROWING_CATALOGS.split(";\n"):
        db.execute(statement)


@migrations()
def m003_watched_runs(db: "Database") -> None:
    """A run knows how many steps it will take, may end interrupted, and may measure validation targets on the way.

    SQLite cannot change a CHECK, so the table is made anew. `upgrade` keeps foreign keys off meanwhile: dropping the
    old table would else take what refers to it along.
    """
    for statement in WATCHED_RUNS.split(";\n"):
        db.execute(statement)


@migrations()
def m004_kinds_of_recommender(db: "Database") -> None:
    """A run says what kind of recommender it is: two stages were kinds. Validation may measure a ranking metric."""
    for statement in KINDS_OF_RECOMMENDER.split(";\n"):
        db.execute(statement)


@migrations()
def m005_named_sessions(db: "Database") -> None:
    """An interaction may belong to a session that its source names."""
    db.execute(NAMED_SESSIONS)


@migrations()
def m006_plugins_of_runs(db: "Database") -> None:
    """A run notes the plugins that it was made with."""
    db.execute(PLUGINS_OF_RUNS)


@migrations()
def m007_groups_of_seeds(db: "Database") -> None:
    """Runs that differ in their seed alone may be a group."""
    for statement in GROUPS_OF_SEEDS.split(";\n"):
        db.execute(statement)


@migrations()
def m008_marks_and_trash(db: "Database") -> None:
    """Users note and tag runs; a removed run is in the trash until that is emptied."""
    for statement in MARKS_AND_TRASH.split(";\n"):
        db.execute(statement)


@migrations()
def m009_any_slice(db: "Database") -> None:
    """Metrics may be of any slice of the targets, and say of how many targets and users."""
    for statement in ANY_SLICE.split(";\n"):
        db.execute(statement)


@migrations()
def m010_growing_data(db: "Database") -> None:
    """Interactions may be appended: each knows the version that it came with, and every version stays known."""
    for statement in GROWING_DATA.split(";\n"):
        db.execute(statement)


def pending(db: "Database", path: Path) -> bool:
    """Whether migrations wait to be applied. Reads only.

    Raises:
        UsageError: A newer patchrec wrote the store.
        CorruptError: The file is another program's database.
    """
    known = {migration.name for migration in migrations.pending(db)}
    applied = {migration.name for migration in migrations.applied(db)}
    newer = applied - {migration.name for migration in migrations._migrations}
    if newer:
        raise UsageError(
            f"{str(path)!r} was written by a newer patchrec (it knows {min(newer)!r}); "
            "upgrade patchrec, or set PATCHREC_HOME to another folder"
        )
    tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if not applied and tables:
        raise CorruptError(
            f"{str(path)!r} is a database of another program; move it away, or set PATCHREC_HOME to another folder"
        )
    return bool(known)


def upgrade(db: "Database", path: Path) -> None:
    """Apply what is pending, all in one transaction. Of processes that start at once, one does it."""
    db.conn.execute("PRAGMA foreign_keys = OFF")  # has no effect inside a transaction
    db.conn.execute("BEGIN IMMEDIATE")
    try:
        if pending(db, path):
            db.conn.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            migrations.apply(db)
        db.conn.execute("COMMIT")
    except BaseException:
        db.rollback()
        raise
    finally:
        db.conn.execute("PRAGMA foreign_keys = ON")


FIRST_TABLES = """
CREATE TABLE settings (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE datasets (
    name TEXT PRIMARY KEY,
    source TEXT NOT NULL,
    licence TEXT NOT NULL,
    noun TEXT NOT NULL,
    verb TEXT NOT NULL,
    split TEXT NOT NULL CHECK (json_valid(split)),
    min_history INTEGER NOT NULL,
    catalog_fingerprint TEXT NOT NULL,
    sequences_fingerprint TEXT NOT NULL,
    summary TEXT NOT NULL CHECK (json_valid(summary)),
    created_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE items (
    dataset TEXT NOT NULL REFERENCES datasets (name) ON DELETE CASCADE,
    item INTEGER NOT NULL,
    item_id TEXT NOT NULL,
    title TEXT NOT NULL,
    metadata TEXT CHECK (metadata IS NULL OR json_valid(metadata)),
    PRIMARY KEY (dataset, item),
    UNIQUE (dataset, item_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE users (
    dataset TEXT NOT NULL REFERENCES datasets (name) ON DELETE CASCADE,
    user INTEGER NOT NULL,
    user_id TEXT NOT NULL,
    train_stop INTEGER NOT NULL,
    validation_stop INTEGER NOT NULL,
    PRIMARY KEY (dataset, user),
    UNIQUE (dataset, user_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE interactions (
    dataset TEXT NOT NULL REFERENCES datasets (name) ON DELETE CASCADE,
    user INTEGER NOT NULL,
    position INTEGER NOT NULL,
    item INTEGER NOT NULL,
    timestamp INTEGER,
    rating REAL,
    PRIMARY KEY (dataset, user, position)
) STRICT, WITHOUT ROWID;
CREATE TABLE backbones (
    name TEXT PRIMARY KEY,
    source TEXT NOT NULL,
    path TEXT NOT NULL,
    revision TEXT,
    sha256 TEXT,
    licence TEXT,
    num_parameters INTEGER,
    created_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    stage TEXT NOT NULL,
    dataset TEXT NOT NULL REFERENCES datasets (name),
    backbone TEXT,
    parent TEXT REFERENCES runs (name),
    strategy TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('running', 'done', 'failed')),
    config TEXT NOT NULL CHECK (json_valid(config)),
    seed INTEGER NOT NULL,
    versions TEXT NOT NULL CHECK (json_valid(versions)),
    fingerprints TEXT NOT NULL CHECK (json_valid(fingerprints)),
    error TEXT,
    pid INTEGER,
    process TEXT,
    host TEXT,
    created_at TEXT NOT NULL,
    finished_at TEXT,
    summary TEXT CHECK (summary IS NULL OR json_valid(summary))
) STRICT;
CREATE INDEX runs_dataset ON runs (dataset);
CREATE INDEX runs_parent ON runs (parent);
CREATE TABLE losses (
    run TEXT NOT NULL REFERENCES runs (name) ON DELETE CASCADE,
    step INTEGER NOT NULL,
    loss REAL,
    tokens INTEGER NOT NULL,
    targets INTEGER NOT NULL,
    seconds REAL NOT NULL,
    learning_rate REAL NOT NULL,
    PRIMARY KEY (run, step)
) STRICT, WITHOUT ROWID;
CREATE TABLE checkpoints (
    run TEXT NOT NULL REFERENCES runs (name) ON DELETE CASCADE,
    step INTEGER NOT NULL,
    path TEXT NOT NULL,
    manifest TEXT NOT NULL CHECK (json_valid(manifest)),
    created_at TEXT NOT NULL,
    PRIMARY KEY (run, step)
) STRICT, WITHOUT ROWID;
CREATE TABLE evaluations (
    id INTEGER PRIMARY KEY,
    run TEXT NOT NULL REFERENCES runs (name) ON DELETE CASCADE,
    split TEXT NOT NULL,
    num_targets INTEGER NOT NULL,
    num_users INTEGER NOT NULL,
    score TEXT NOT NULL,
    config TEXT NOT NULL CHECK (json_valid(config)),
    cost TEXT NOT NULL CHECK (json_valid(cost)),
    created_at TEXT NOT NULL
) STRICT;
CREATE INDEX evaluations_run ON evaluations (run, split);
CREATE TABLE metrics (
    evaluation INTEGER NOT NULL REFERENCES evaluations (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    level TEXT NOT NULL CHECK (level IN ('item', 'title')),
    seen TEXT NOT NULL CHECK (seen IN ('dropped', 'kept')),
    value REAL,
    low REAL,
    high REAL,
    PRIMARY KEY (evaluation, name, level, seen)
) STRICT, WITHOUT ROWID;
CREATE TABLE rankings (
    evaluation INTEGER NOT NULL REFERENCES evaluations (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    user INTEGER NOT NULL,
    user_id TEXT NOT NULL,
    position INTEGER NOT NULL,
    item_id TEXT NOT NULL,
    log_prob REAL,
    item_rank_dropped INTEGER,
    item_rank_kept INTEGER,
    title_rank_dropped INTEGER,
    title_rank_kept INTEGER,
    top TEXT NOT NULL CHECK (json_valid(top)),
    tokens INTEGER,
    seconds REAL,
    PRIMARY KEY (evaluation, number)
) STRICT, WITHOUT ROWID
"""

GROWING_CATALOGS = """
CREATE TABLE catalog_versions (
    dataset TEXT NOT NULL REFERENCES datasets (name) ON DELETE CASCADE,
    num_items INTEGER NOT NULL,
    fingerprint TEXT NOT NULL,
    added_at TEXT NOT NULL,
    PRIMARY KEY (dataset, num_items)
) STRICT, WITHOUT ROWID;
INSERT INTO catalog_versions
SELECT name, (SELECT count(*) FROM items WHERE dataset = datasets.name), catalog_fingerprint, created_at FROM datasets;
CREATE TABLE metrics_by_slice (
    evaluation INTEGER NOT NULL REFERENCES evaluations (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    level TEXT NOT NULL CHECK (level IN ('item', 'title')),
    seen TEXT NOT NULL CHECK (seen IN ('dropped', 'kept')),
    value REAL,
    low REAL,
    high REAL,
    slice TEXT NOT NULL CHECK (slice IN ('all', 'cold')),
    PRIMARY KEY (evaluation, slice, name, level, seen)
) STRICT, WITHOUT ROWID;
INSERT INTO metrics_by_slice SELECT evaluation, name, level, seen, value, low, high, 'all' FROM metrics;
DROP TABLE metrics;
ALTER TABLE metrics_by_slice RENAME TO metrics
"""

WATCHED_RUNS = """
CREATE TABLE watched_runs (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    stage TEXT NOT NULL,
    dataset TEXT NOT NULL REFERENCES datasets (name),
    backbone TEXT,
    parent TEXT REFERENCES runs (name),
    strategy TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('running', 'done', 'failed', 'interrupted')),
    config TEXT NOT NULL CHECK (json_valid(config)),
    seed INTEGER NOT NULL,
    versions TEXT NOT NULL CHECK (json_valid(versions)),
    fingerprints TEXT NOT NULL CHECK (json_valid(fingerprints)),
    error TEXT,
    pid INTEGER,
    process TEXT,
    host TEXT,
    created_at TEXT NOT NULL,
    finished_at TEXT,
    summary TEXT CHECK (summary IS NULL OR json_valid(summary)),
    num_steps INTEGER
) STRICT;
INSERT INTO watched_runs SELECT runs.*, NULL FROM runs;
DROP TABLE runs;
ALTER TABLE watched_runs RENAME TO runs;
CREATE INDEX runs_dataset ON runs (dataset);
CREATE INDEX runs_parent ON runs (parent);
CREATE TABLE validations (
    run TEXT NOT NULL REFERENCES runs (name) ON DELETE CASCADE,
    step INTEGER NOT NULL,
    loss REAL,
    tokens INTEGER NOT NULL,
    targets INTEGER NOT NULL,
    seconds REAL NOT NULL,
    PRIMARY KEY (run, step)
) STRICT, WITHOUT ROWID
"""

KINDS_OF_RECOMMENDER = """
ALTER TABLE runs ADD COLUMN kind TEXT NOT NULL DEFAULT 'title';
UPDATE runs SET kind = 'popularity' WHERE stage = 'popularity';
UPDATE evaluations SET score = 'item'
WHERE score = 'catalog' AND run IN (SELECT name FROM runs WHERE kind = 'popularity');
UPDATE runs SET stage = 'baseline' WHERE stage IN ('popularity', 'untrained');
ALTER TABLE validations ADD COLUMN metric REAL
"""

NAMED_SESSIONS = "ALTER TABLE interactions ADD COLUMN session INTEGER"

PLUGINS_OF_RUNS = """
CREATE TABLE plugins (
    run TEXT NOT NULL REFERENCES runs (name) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('strategy', 'recommender')),
    name TEXT NOT NULL,
    package TEXT,
    version TEXT,
    layouts TEXT,
    PRIMARY KEY (run, number)
) STRICT, WITHOUT ROWID
"""

GROUPS_OF_SEEDS = """
ALTER TABLE runs ADD COLUMN seed_group TEXT;
CREATE UNIQUE INDEX runs_seed_group ON runs (seed_group, seed)
"""

MARKS_AND_TRASH = """
CREATE TABLE notes (
    run TEXT PRIMARY KEY REFERENCES runs (name) ON DELETE CASCADE,
    note TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE tags (
    run TEXT NOT NULL REFERENCES runs (name) ON DELETE CASCADE,
    tag TEXT NOT NULL,
    PRIMARY KEY (run, tag)
) STRICT, WITHOUT ROWID;
CREATE TABLE trash (
    run TEXT PRIMARY KEY REFERENCES runs (name) ON DELETE CASCADE,
    removed_at TEXT NOT NULL,
    emptying INTEGER NOT NULL DEFAULT 0 CHECK (emptying IN (0, 1))
) STRICT, WITHOUT ROWID
"""

ANY_SLICE = """
CREATE TABLE metrics_of_any_slice (
    evaluation INTEGER NOT NULL REFERENCES evaluations (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    level TEXT NOT NULL CHECK (level IN ('item', 'title')),
    seen TEXT NOT NULL CHECK (seen IN ('dropped', 'kept')),
    value REAL,
    low REAL,
    high REAL,
    slice TEXT NOT NULL,
    slice_targets INTEGER,
    slice_users INTEGER,
    PRIMARY KEY (evaluation, slice, name, level, seen)
) STRICT, WITHOUT ROWID;
INSERT INTO metrics_of_any_slice
SELECT metrics.*,
    CASE slice WHEN 'all' THEN evaluations.num_targets ELSE cost ->> 'cold_targets' END,
    CASE slice WHEN 'all' THEN evaluations.num_users ELSE cost ->> 'cold_users' END
FROM metrics JOIN evaluations ON evaluations.id = evaluation;
DROP TABLE metrics;
ALTER TABLE metrics_of_any_slice RENAME TO metrics
"""

GROWING_DATA = """
ALTER TABLE interactions ADD COLUMN version INTEGER NOT NULL DEFAULT 1;
CREATE TABLE data_versions (
    dataset TEXT NOT NULL REFERENCES datasets (name) ON DELETE CASCADE,
    version INTEGER NOT NULL,
    num_users INTEGER NOT NULL,
    num_interactions INTEGER NOT NULL,
    fingerprint TEXT NOT NULL,
    account TEXT NOT NULL CHECK (json_valid(account)),
    added_at TEXT NOT NULL,
    PRIMARY KEY (dataset, version)
) STRICT, WITHOUT ROWID;
INSERT INTO data_versions
SELECT name, 1, (SELECT count(*) FROM users WHERE dataset = datasets.name),
    (SELECT count(*) FROM interactions WHERE dataset = datasets.name), sequences_fingerprint, '{}', created_at
FROM datasets;
CREATE TABLE former_splits (
    dataset TEXT NOT NULL REFERENCES datasets (name) ON DELETE CASCADE,
    version INTEGER NOT NULL,
    user INTEGER NOT NULL,
    train_stop INTEGER NOT NULL,
    validation_stop INTEGER NOT NULL,
    PRIMARY KEY (dataset, version, user)
) STRICT, WITHOUT ROWID
"""
