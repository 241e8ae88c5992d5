"""The store's file: where it is, how it is opened, how a write is one transaction, what its errors mean.

It knows SQLite and the operating system; the tables are in `schema.py`, what they mean in the files beside it.
"""

import errno
import os
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from patchrec.errors import (
    CorruptError,
    NotFoundError,
    OutOfResourcesError,
    PatchrecError,
    StoreBusyError,
    UsageError,
)
from patchrec.store.naming import PLAIN
from patchrec.store.schema import migrations, pending, upgrade
from patchrec.store.sqlite import is_current, sqlite3, wrap

if TYPE_CHECKING:
    from sqlite_utils import Database

    from patchrec.store.backbones import Backbones
    from patchrec.store.catalogs import Catalogs
    from patchrec.store.claims import Claims
    from patchrec.store.datasets import Datasets
    from patchrec.store.evaluations import Evaluations
    from patchrec.store.runs import Runs
    from patchrec.store.seed_groups import SeedGroups
    from patchrec.store.trash import Trash
    from patchrec.store.versions import DataVersions

FILE_NAME = "store.db"
BUSY_SECONDS = 10.0
SOUND_WAL = (3, 51, 3)
"""First SQLite whose WAL cannot lose a frame when several processes write and restart the log."""

DESCRIBING_PRAGMAS = {
    "table_info", "table_xinfo", "table_list", "index_list", "index_info", "index_xinfo", "foreign_key_list",
    "foreign_key_check", "integrity_check", "quick_check",
}  # fmt: skip
"""Pragmas that only tell, whatever they are asked of."""
TELLING_PRAGMAS = {
    "application_id", "collation_list", "compile_options", "data_version", "database_list", "encoding", "foreign_keys",
    "freelist_count", "function_list", "journal_mode", "module_list", "page_count", "page_size", "pragma_list",
    "query_only", "schema_version", "synchronous", "user_version",
}  # fmt: skip
"""Pragmas that tell where they are given no value."""
OUTREACHING = {"load_extension", "readfile", "writefile", "edit", "fts3_tokenizer"}

T = TypeVar("T")


def home() -> Path:
    """The folder of the store: PATCHREC_HOME, else ./.patchrec where that exists, else the platform's data folder."""
    named = os.environ.get("PATCHREC_HOME")
    if named:
        return Path(named).expanduser().absolute()
    local = Path.cwd() / ".patchrec"
    if local.is_dir():
        return local
    import platformdirs

    return platformdirs.user_data_path("patchrec", appauthor=False)


class Store:
    """One SQLite file and the folders of runs beside it. Not for sharing between threads or across a fork.

    Attributes:
        home: Folder of the store.
        db: The open database; read with it, write through `write()`.
        datasets: Data sets, settings and which one is current.
        catalogs: Items of data sets, and how their catalogs grew.
        versions: Interactions of data sets as they grew.
        backbones: Language models that were pulled.
        runs: Runs, their losses and checkpoints.
        trash: Removed runs that can be taken back.
        evaluations: Metrics and per-target rankings.
        seed_groups: Runs that differ in their seed alone.
        claims: Which process is at which work.
    """

    def __init__(self, folder: Path, db: "Database") -> None:
        self.home = folder
        self.db = db
        self._reading = False

    @classmethod
    def open(
        cls,
        home: Path | None = None,
        *,
        read_only: bool = False,
        before: "Callable[[sqlite3.Connection], None] | None" = None,
    ) -> Self:
        """Open the store, creating or upgrading its file where needed.

        Args:
            home: Folder of the store; None means `connection.home()`.
            read_only: Refuse every write; the file must exist.
            before: Sets up a read-only connection before it refuses what is not reading.

        Raises:
            NotFoundError: Read-only and no store yet.
            UsageError: The folder cannot be written, or a newer patchrec wrote the store.
            StoreBusyError: Another process holds it for longer than ten seconds.
            CorruptError: The file is no store.
        """
        folder = default_home() if home is None else Path(home).absolute()
        path = folder / FILE_NAME
        if read_only and not path.exists():
            raise NotFoundError(f"no store in {str(folder)!r} yet; add a data set first: `patchrec data add ml-100k`")
        _create_file(path)
        connection = _patiently(lambda: _connect(path), path)
        if read_only:
            connection.close()
            with error_mapping(path):
                connection = _connect_read_only(path, before)
        return cls(folder, wrap(connection))

    @property
    def path(self) -> Path:
        """The SQLite file."""
        return self.home / FILE_NAME

    def run_folder(self, name: str) -> Path:
        """Where a run keeps its checkpoints. The folder may not exist yet.

        Raises:
            CorruptError: The name leads elsewhere: patchrec gives no such name, somebody else wrote it.
        """
        if not PLAIN.fullmatch(name):
            raise CorruptError(
                f"{name!r} is no name that patchrec gives a run, so {str(self.path)!r} was written by something else; "
                f"restore a copy, or take the run out: `patchrec runs rm {shlex.quote(name)}`"
            )
        return self.home / "runs" / name

    @contextmanager
    def read(self) -> Iterator["Database"]:
        """One snapshot: whatever others write meanwhile, the block sees one state. Not for writing.

        Raises:
            StoreBusyError: Another process holds the store for longer than ten seconds.
            CorruptError: The file is damaged.
        """
        with error_mapping(self.path):
            if self.db.conn.in_transaction:
                yield self.db
                return
            self.db.conn.execute("BEGIN")
            self._reading = True
            try:
                yield self.db
            finally:
                self._reading = False
                self.db.rollback()

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a SELECT (see `read`)."""
        with self.read() as db:
            return db.execute(sql, list(values)).fetchall()

    def records(self, sql: str, values: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """All rows of a SELECT by column name (see `read`)."""
        with self.read() as db:
            found = db.execute(sql, list(values))
            names = [column[0] for column in found.description]
            return [dict(zip(names, row, strict=True)) for row in found]

    @contextmanager
    def write(self) -> Iterator["Database"]:
        """One transaction: all of the block or nothing. Inside another `write` it is a part of that one.

        Raises:
            StoreBusyError: Another process holds the store for longer than ten seconds.
            OutOfResourcesError: The disk is full.
            CorruptError: The file is damaged.
        """
        assert not self._reading, "a snapshot cannot become a write"
        with error_mapping(self.path):
            if self.db.conn.in_transaction:
                with self.db.atomic():
                    yield self.db
                return
            # Not a deferred BEGIN: that one fails at once, busy timeout or not, when it has to become a writer later.
            self.db.conn.execute("BEGIN IMMEDIATE")
            try:
                yield self.db
                self.db.conn.execute("COMMIT")
            except BaseException:
                self.db.rollback()
                raise

    @property
    def datasets(self) -> "Datasets":
        """Data sets, settings and which one is current."""
        from patchrec.store.datasets import Datasets

        return Datasets(self)

    @property
    def catalogs(self) -> "Catalogs":
        """Items of data sets, and how their catalogs grew."""
        from patchrec.store.catalogs import Catalogs

        return Catalogs(self)

    @property
    def versions(self) -> "DataVersions":
        """Interactions of data sets as they grew."""
        from patchrec.store.versions import DataVersions

        return DataVersions(self)

    @property
    def backbones(self) -> "Backbones":
        """Language models that were pulled."""
        from patchrec.store.backbones import Backbones

        return Backbones(self)

    @property
    def runs(self) -> "Runs":
        """Runs, their losses and checkpoints."""
        from patchrec.store.runs import Runs

        return Runs(self)

    @property
    def trash(self) -> "Trash":
        """Removed runs that can be taken back."""
        from patchrec.store.trash import Trash

        return Trash(self)

    @property
    def evaluations(self) -> "Evaluations":
        """Metrics and per-target rankings."""
        from patchrec.store.evaluations import Evaluations

        return Evaluations(self)

    @property
    def seed_groups(self) -> "SeedGroups":
        """Runs that differ in their seed alone."""
        from patchrec.store.seed_groups import SeedGroups

        return SeedGroups(self)

    @property
    def claims(self) -> "Claims":
        """Which process is at which work."""
        from patchrec.store.claims import Claims

        return Claims(self)

    def close(self) -> None:
        """Close the file."""
        self.db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


default_home = home
"""`home()` under a name that `Store.open`'s argument does not hide."""


@contextmanager
def error_mapping(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours; what can only be a bug of ours stays what it is."""
    try:
        yield
    except sqlite3.Error as error:
        mapped = system_error(error, path) or _not_ours(str(error), path)
        if mapped is None:
            raise
        raise mapped from error


def system_error(error: "sqlite3.Error", path: Path) -> PatchrecError | None:
    """What the system or other processes did to a store; None for what only a statement can have done."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    where = repr(str(path))
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreBusyError(
            f"another process has been writing to {where} for more than {BUSY_SECONDS:.0f} s; wait for it and try again"
        )
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return CorruptError(f"{where} is damaged ({error}); restore a copy, or move it away to begin a new store")
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM):
        return OutOfResourcesError(f"cannot write {where} ({error}); free some space: what was saved before is safe")
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return UsageError(f"cannot open {where} for writing ({error}); set PATCHREC_HOME to a folder of yours")
    return None


def _not_ours(message: str, path: Path) -> CorruptError | None:
    """What SQLite says of a store that is whole as a database, and not as a store."""
    mend = "restore a copy"
    if message.startswith("Could not decode to UTF-8"):
        column = message.partition("column ")[2].partition(" with text")[0]
        what = f"a text that is no UTF-8 in column {column}"
        mend = "`patchrec doctor` says where: remove that data set or run, or restore a copy"
    elif message.startswith(("no such table", "no such column")) or "has no column named" in message:
        what = f"tables that are not those of a store ({message})"
    else:
        return None
    return CorruptError(f"{str(path)!r} holds {what}, which patchrec never wrote; {mend}")


def _create_file(path: Path) -> None:
    """Create folder and file before SQLite does, so that only the user can read them (its side files follow).

    A file that is there is not opened: closing it would take the locks of every connection that this process has to it
    (https://www.sqlite.org/howtocorrupt.html, section 2.2), and another program would clear the log that these write.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        elif not os.access(path, os.R_OK | os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OutOfResourcesError(f"no space left for {str(path)!r}; free some and try again") from error
        raise UsageError(
            f"cannot use {str(path)!r} ({error.strerror}); set PATCHREC_HOME to a folder of yours"
        ) from error


def _patiently(work: Callable[[], T], path: Path) -> T:
    """Try again while the file is busy: changing the journal mode does not wait by itself."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            with error_mapping(path):
                return work()
        except StoreBusyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _connect(path: Path) -> "sqlite3.Connection":
    connection = sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=BUSY_SECONDS, isolation_level=None)
    try:
        connection.execute("PRAGMA foreign_keys = ON")
        if not is_current(connection, migrations):
            db = wrap(connection)
            if pending(db, path):
                upgrade(db, path)
        _set_journal(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _connect_read_only(path: Path, before: "Callable[[sqlite3.Connection], None] | None") -> "sqlite3.Connection":
    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS, isolation_level=None)
    if before is not None:
        before(connection)
    connection.set_authorizer(_only_reading)
    return connection


def _only_reading(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    """Let through what reads this file: no ATTACH or VACUUM INTO, which write others, and no pragma that does a thing.

    Functions that reach outside the database are refused by name; SQLite's own are not among them.
    """
    reading = {
        sqlite3.SQLITE_SELECT,
        sqlite3.SQLITE_READ,
        sqlite3.SQLITE_RECURSIVE,
        sqlite3.SQLITE_TRANSACTION,
        sqlite3.SQLITE_SAVEPOINT,
    }
    describing = action == sqlite3.SQLITE_PRAGMA and (
        first in DESCRIBING_PRAGMAS or (second is None and first in TELLING_PRAGMAS)
    )
    computing = action == sqlite3.SQLITE_FUNCTION and second not in OUTREACHING
    return sqlite3.SQLITE_OK if action in reading or describing or computing else sqlite3.SQLITE_DENY


def _set_journal(connection: "sqlite3.Connection") -> None:
    wanted = "wal" if sqlite3.sqlite_version_info >= SOUND_WAL else "delete"
    if connection.execute("PRAGMA journal_mode").fetchone()[0] != wanted:
        connection.execute(f"PRAGMA journal_mode = {wanted}")
    # A commit in WAL survives any crash of ours without a sync each; only a power cut may undo the last ones, whole.
    connection.execute(f"PRAGMA synchronous = {'NORMAL' if wanted == 'wal' else 'FULL'}")
