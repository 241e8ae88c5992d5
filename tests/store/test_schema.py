"""The schema: upgraded once, never guessed at, and documented."""

import re
from pathlib import Path

import pytest

from patchrec.errors import CorruptError, NotFoundError, UsageError
from patchrec.store import Store, home
from patchrec.store.schema import APPLICATION_ID, migrations

DOCS = Path(__file__).resolve().parents[2] / "docs" / "store.md"


def test_a_new_store_knows_all_migrations_and_says_what_it_is(store: Store) -> None:
    assert migrations.pending(store.db) == []
    assert store.rows("PRAGMA application_id") == [(APPLICATION_ID,)]


def test_a_newer_schema_is_refused_untouched(store: Store) -> None:
    with store.write() as db:
        db.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('patchrec', 'm999_later', 'now')"
        )
    store.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store.close()
    before = store.path.read_bytes()
    for read_only in (False, True):
        with pytest.raises(UsageError, match=r"newer patchrec.*'m999_later'.*upgrade patchrec"):
            Store.open(store.home, read_only=read_only)
    assert store.path.read_bytes() == before


def test_another_programs_database_is_refused_untouched(tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "store.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE runs (mine TEXT)")
    before = path.read_bytes()
    with pytest.raises(CorruptError, match="another program"):
        Store.open(tmp_path)
    assert path.read_bytes() == before


def test_a_migration_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("patchrec.store.schema.FIRST_TABLES", "CREATE TABLE one (a);\nCREATE TABLE one (b)")
    with pytest.raises(Exception, match="already exists"):
        Store.open(tmp_path)
    monkeypatch.undo()
    with Store.open(tmp_path) as store:
        assert store.datasets.names() == []


def test_store_files_are_only_the_users(tmp_path: Path) -> None:
    with Store.open(tmp_path / "home") as store:
        store.datasets.names()
        with store.write() as db:
            db.execute("INSERT INTO settings VALUES ('a', 'b')")
        modes = {path.name: path.stat().st_mode & 0o777 for path in store.home.iterdir()}
    assert set(modes.values()) == {0o600}
    assert (tmp_path / "home").stat().st_mode & 0o777 == 0o700


def test_a_read_only_store_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="patchrec data add"):
        Store.open(tmp_path / "none", read_only=True)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM settings",
        "INSERT INTO settings VALUES ('a', 'b')",
        "DROP TABLE runs",
        "CREATE TABLE mine (a)",
        "CREATE TEMP TABLE mine (a)",
        "ALTER TABLE runs RENAME TO others",
        "ATTACH DATABASE '{folder}/other.db' AS other",
        "VACUUM INTO '{folder}/copy.db'",
        "VACUUM",
        "REINDEX",
        "ANALYZE",
        "PRAGMA journal_mode = DELETE",
        "PRAGMA user_version = 7",
        "PRAGMA writable_schema = ON",
        "PRAGMA query_only = OFF",
        "UPDATE settings SET value = 'x' RETURNING value",
        "WITH x AS (SELECT 1) DELETE FROM settings",
        "SELECT load_extension('x')",
    ],
)
def test_a_read_only_store_cannot_be_changed(statement: str, toy_store: Store, tmp_path: Path) -> None:
    toy_store.datasets.use("toy")
    files = sorted(path.name for path in tmp_path.rglob("*"))
    with Store.open(toy_store.home, read_only=True) as reader:
        assert reader.datasets.load("toy").name == "toy"
        with pytest.raises(Exception, match=r"auth|extension"):
            reader.db.execute(statement.format(folder=tmp_path))
    assert toy_store.datasets.current() == "toy"
    assert sorted(path.name for path in tmp_path.rglob("*")) == files


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="PATCHREC_HOME"):
        Store.open(tmp_path / "file" / "home")


def test_home_is_the_variable_then_the_project_then_the_platform(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PATCHREC_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert home().name == "patchrec"
    (tmp_path / ".patchrec").mkdir()
    assert home() == tmp_path / ".patchrec"
    monkeypatch.setenv("PATCHREC_HOME", str(tmp_path / "mine"))
    assert home() == tmp_path / "mine"


def documented_tables() -> dict[str, set[str]]:
    """Columns that docs/store.md describes, by table: `### name` and the first cells of its rows."""
    found: dict[str, set[str]] = {}
    for section in re.split(r"^### ", DOCS.read_text(), flags=re.MULTILINE)[1:]:
        name = section.split("\n", 1)[0].strip("` ")
        found[name] = set(re.findall(r"^\| `(\w+)` \|", section, flags=re.MULTILINE))
    return found


def test_every_table_and_column_is_documented(store: Store) -> None:
    tables = [
        name
        for (name,) in store.rows("SELECT name FROM sqlite_master WHERE type = 'table'")
        if not name.startswith(("sqlite_", "_"))
    ]
    actual = {name: {row[1] for row in store.rows(f"PRAGMA table_info({name})")} for name in tables}
    assert documented_tables() == actual


def test_the_documented_queries_run(toy_store: Store) -> None:
    queries = re.findall(r"```sql\n(.*?)```", DOCS.read_text(), flags=re.DOTALL)
    assert queries
    with Store.open(toy_store.home, read_only=True) as reader:
        for query in queries:
            reader.rows(query)
