"""Questions in SQL that patchrec did not write: they read the store, and are bounded in rows, time and memory."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from patchrec.errors import OutOfResourcesError, PatchrecError, UsageError, unknown
from patchrec.store.connection import Store, system_error
from patchrec.store.sqlite import sqlite3

ANSWER_BYTES = 64 << 20  # text and blobs of an answer, taken together
_OPCODES = 10_000  # of SQLite's machine, between two looks at the clock
_READS_ONLY = "queries only read this store; begin with SELECT or WITH, and copy store.db for anything else"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a query gave.

    Attributes:
        columns: Their names, each once: a second `name` is `name_2`.
        rows: Numbers, texts and None; a blob is its hexadecimal digits.
        more: Whether there are rows beyond these.
    """

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    more: bool


def ask(home: Path | None, sql: str, *, limit: int, seconds: float, max_bytes: int | None = None) -> Answer:
    """Answer one statement that reads the store.

    Args:
        home: Folder of the store; None: the usual one.
        sql: The statement.
        limit: Rows to give.
        seconds: After which the statement is stopped. A single function of SQLite, such as `instr` on texts of
            megabytes, is not stopped in between.
        max_bytes: Most memory that SQLite may take, in this process and from now on: SQLite never raises it again.

    Raises:
        NotFoundError: No store yet. StoreBusyError, CorruptError: As `Store.open`.
        UsageError: No such table or column, no SQL, several statements, one that gives no rows or would change
            something, or one that takes too long.
        OutOfResourcesError: It takes too much memory.
    """
    with Store.open(home, read_only=True, before=lambda connection: _bound(connection, max_bytes)) as store:
        connection = store.db.conn
        deadline = time.monotonic() + seconds
        connection.set_progress_handler(lambda: time.monotonic() > deadline, _OPCODES)
        connection.text_factory = lambda text: text.decode("utf-8", "surrogateescape")
        try:
            cursor = connection.execute(sql)
            if cursor.description is None:
                raise UsageError(f"this statement gives no rows; {_READS_ONLY}")
            rows = _fetched(cursor, limit)
            return Answer(_distinct([column[0] for column in cursor.description]), rows[:limit], len(rows) > limit)
        except (sqlite3.Error, sqlite3.Warning, MemoryError, ValueError) as error:
            raise _worded(error, store, seconds) from error
        finally:
            connection.set_progress_handler(None, 0)


def _bound(connection: "sqlite3.Connection", max_bytes: int | None) -> None:
    """Keep what a query sorts off the disk, and in bounds."""
    connection.execute("PRAGMA temp_store = MEMORY")
    if max_bytes is not None:
        connection.execute(f"PRAGMA hard_heap_limit = {max_bytes:d}")


def _fetched(cursor: "sqlite3.Cursor", limit: int) -> list[tuple[Any, ...]]:
    """At most one row more than the limit.

    Raises:
        OutOfResourcesError: Texts and blobs are larger than an answer may be.
    """
    rows, size = [], 0
    for row in cursor:
        size += sum(len(cell) for cell in row if isinstance(cell, str | bytes))
        if size > ANSWER_BYTES:
            raise OutOfResourcesError(
                f"the answer is larger than {ANSWER_BYTES >> 20} MB; ask for fewer columns, or give a lower --limit"
            )
        rows.append(tuple(cell.hex() if isinstance(cell, bytes) else cell for cell in row))
        if len(rows) > limit:
            break
    return rows


def _distinct(names: list[str]) -> tuple[str, ...]:
    """Each name once: the second `a` becomes `a_2`."""
    found: list[str] = []
    for name in names:
        number, distinct = 1, name
        while distinct in found:
            number += 1
            distinct = f"{name}_{number}"
        found.append(distinct)
    return tuple(found)


def _worded(error: Exception, store: Store, seconds: float) -> PatchrecError:
    """What a statement did wrong, in one line."""
    message = " ".join(str(error).split())
    missing = message.partition("no such table: ")[2]
    found: PatchrecError | None = None
    if isinstance(error, MemoryError):
        found = OutOfResourcesError("this query takes too much memory; narrow it with WHERE, or sort and join less")
    elif "interrupted" in message:
        found = UsageError(f"this query takes longer than {seconds:g} s; narrow it, or give more time with --seconds N")
    elif any(sign in message for sign in ("authoriz", "readonly", "prohibited")):
        found = UsageError(f"{message}: {_READS_ONLY}")
    elif missing:
        tables = [name for (name,) in store.rows("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found = UsageError(unknown("table", missing, tables))
    elif isinstance(error, UnicodeEncodeError):
        found = UsageError("the query is no text in UTF-8; write it in plain letters")
    elif isinstance(error, sqlite3.Error):
        found = system_error(error, store.path)
    return found or UsageError(f"{message.removesuffix('.')}; docs/store.md says what tables and columns there are")
