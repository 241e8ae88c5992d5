"""SQLite's module, and sqlite-utils over it, which takes a tenth of a second to import and is not needed to read.

sqlite-utils takes pysqlite3 where it is installed (Linux), else the standard library's module: this is the same one,
since the exceptions of the two are different classes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import sqlite3

    from sqlite_utils import Database
else:
    try:
        import pysqlite3 as sqlite3
    except ImportError:
        import sqlite3

__all__ = ["MIGRATED", "Migrations", "UtilsWhenAsked", "is_current", "sqlite3", "wrap"]

MIGRATED = "SELECT name FROM _sqlite_migrations WHERE migration_set = ?"
F = TypeVar("F", bound=Callable[..., None])


class UtilsWhenAsked:
    """A connection that becomes sqlite-utils' database when more than SQL is asked of it.

    The connection has no implicit transactions (`isolation_level=None`), so that its own `execute` does the same.
    """

    def __init__(self, conn: "sqlite3.Connection") -> None:
        self.conn = conn
        self._whole: Database | None = None

    def __getitem__(self, name: str) -> Any:
        return self.table(name)

    def execute(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> "sqlite3.Cursor":
        """Run one statement."""
        return self.conn.execute(sql, parameters)

    def rollback(self) -> None:
        """Undo the open transaction, if there is one."""
        if self.conn.in_transaction:
            self.conn.execute("ROLLBACK")

    def close(self) -> None:
        """Close the connection."""
        self.conn.close()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if self._whole is None:
            from sqlite_utils import Database

            self._whole = Database(self.conn, recursive_triggers=False, execute_plugins=False)
        return getattr(self._whole, name)


@dataclass(frozen=True, slots=True)
class Migration:
    """One migration, as sqlite-utils has it."""

    name: str
    fn: Callable[[Any], None]
    transactional: bool = True


class Migrations:
    """Migrations in their order, collected before sqlite-utils is there; what is done with them is its `Migrations`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._migrations: list[Migration] = []

    @property
    def names(self) -> set[str]:
        """Names of all."""
        return {migration.name for migration in self._migrations}

    def __call__(self) -> Callable[[F], F]:
        """Add a function as the last migration; its name is that of the migration."""

        def added(step: F) -> F:
            self._migrations.append(Migration(step.__name__, step))
            return step

        return added

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        from sqlite_utils import Migrations as Applied

        whole: Any = Applied(self.name)
        whole._migrations = self._migrations
        return getattr(whole, name)


def is_current(connection: "sqlite3.Connection", migrations: Migrations) -> bool:
    """Whether a database has these migrations and no others. Reads only."""
    try:
        applied = {name for (name,) in connection.execute(MIGRATED, [migrations.name])}
    except sqlite3.OperationalError:  # no such table, or busy: whoever looks closer says which
        return False
    return applied == migrations.names


def wrap(connection: "sqlite3.Connection") -> "Database":
    """What the store works with: sqlite-utils' database, as far as anyone can tell."""
    database: Any = UtilsWhenAsked(connection)
    return database  # type: ignore[no-any-return]
