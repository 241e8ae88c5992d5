"""Parquet files, by duckdb: read into text, written with typed columns. Only this file knows duckdb."""

import errno
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from patchrec.errors import InputError

BATCH = 10_000
WRITE_BATCH = 100_000
_ARRAYS: dict[str, Any] = {"VARCHAR": object, "DOUBLE": np.float64, "INTEGER": np.int32}
WHOLE_NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")


def open_parquet(path: Path, stack: ExitStack) -> tuple[tuple[str, ...], Iterator[tuple[int, dict[str, Any]]]]:
    """Columns and rows of a Parquet file; rows are numbered from 1.

    Text and whole numbers come as text, moments as milliseconds since 1970, days as ISO dates; floats and truth values
    as themselves; bytes and nested values as None.

    Raises:
        InputError: It is no Parquet file, or a damaged one.
    """
    import duckdb

    connection = stack.enter_context(_connect())
    connection.execute("SET TimeZone = 'UTC'")
    # duckdb takes the name for a pattern, and a folder `user=3` for a column.
    literal = re.sub(r"([*?\[])", r"[\1]", str(path.absolute()))
    source = "FROM read_parquet(?, hive_partitioning = false)"
    try:
        described = connection.execute(f"DESCRIBE SELECT * {source}", [literal]).fetchall()
        wanted = ", ".join(_as_text(name, kind) for name, kind, *_ in described)
        cursor = connection.execute(f"SELECT {wanted} {source}", [literal])
    except duckdb.Error as error:
        raise _damaged(path, error) from error
    columns = tuple(name for name, *_ in described)
    return columns, _rows(cursor, columns, path)


def write_parquet(path: Path, columns: Mapping[str, str], rows: Iterable[Sequence[Any]]) -> None:
    """Write rows; the same rows give the same bytes. None among numbers is NULL.

    Args:
        path: The file; what is there is written over.
        columns: Name -> VARCHAR, DOUBLE or INTEGER, in the order of a row.
        rows: Values of each row.

    Raises:
        OSError: The file cannot be written. MemoryError: The rows do not fit.
    """
    import duckdb

    remaining = iter(rows)
    declared = ", ".join(f"{_quoted(name)} {kind}" for name, kind in columns.items())
    with _connect(threads=1, temp_directory="") as connection:
        try:
            connection.execute(f"CREATE TABLE found ({declared})")
            while block := list(islice(remaining, WRITE_BATCH)):
                values = zip(*block, strict=True)
                arrays = [
                    np.array(each, dtype=_ARRAYS[kind]) for each, kind in zip(values, columns.values(), strict=True)
                ]
                connection.register("block", dict(zip(columns, arrays, strict=True)))
                connection.execute("INSERT INTO found SELECT * FROM block")
                connection.unregister("block")
            literal = str(path.absolute()).replace("'", "''")
            connection.execute(f"COPY found TO '{literal}' (FORMAT parquet, USE_TMP_FILE false)")
        except duckdb.OutOfMemoryException as error:
            raise MemoryError(str(error)) from error
        except duckdb.Error as error:
            full = "No space left" in str(error) or "File too large" in str(error)
            number = errno.ENOSPC if full else errno.EIO
            raise OSError(number, str(error).splitlines()[0][:200], str(path)) from error


def _connect(**settings: Any) -> Any:
    """A database in memory that loads no extension."""
    import duckdb

    fixed = {"autoinstall_known_extensions": False, "autoload_known_extensions": False}
    return duckdb.connect(config={**fixed, **settings})


def _rows(cursor: Any, columns: tuple[str, ...], path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    import duckdb

    number = 0
    while True:
        try:
            batch = cursor.fetchmany(BATCH)
        except duckdb.Error as error:
            raise _damaged(path, error) from error
        if not batch:
            return
        for values in batch:
            number += 1
            yield number, dict(zip(columns, values, strict=True))


def _as_text(name: str, kind: str) -> str:
    quoted = _quoted(name)
    if kind in ("VARCHAR", "DOUBLE", "FLOAT", "BOOLEAN"):
        return quoted
    if kind.startswith("TIMESTAMP"):
        return f"CAST(epoch_ms({quoted}) AS VARCHAR)"
    if kind in (*WHOLE_NUMBERS, "DATE", "UUID") or kind.startswith("DECIMAL"):
        return f"CAST({quoted} AS VARCHAR)"
    return "NULL"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(f"{str(path)!r} is no sound Parquet file ({str(error).splitlines()[0][:200]}); write it again")
