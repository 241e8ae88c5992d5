"""Parquet files, by duckdb: read column by column, written with typed columns. Only this file knows duckdb."""

import errno
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from patchrec.data.batches import Batch
from patchrec.data.timestamps import Moment
from patchrec.errors import InputError

WRITE_BATCH = 100_000
_ARRAYS: dict[str, Any] = {"VARCHAR": object, "DOUBLE": np.float64, "INTEGER": np.int32, "BIGINT": np.int64}
NESTED = ("STRUCT", "MAP", "UNION")


def open_parquet(path: Path, stack: ExitStack, size: int = 20_000) -> tuple[tuple[str, ...], Iterator[Batch]]:
    """Columns and rows of a Parquet file; rows are numbered from 1.

    Text and whole numbers come as text, moments and days as `Moment`, floats and truth values as themselves, lists and
    structs as lists and dicts; bytes as text where they are UTF-8, else as None.

    Args:
        path: The file.
        stack: Closes it.
        size: Rows of a batch.

    Raises:
        InputError: It is no Parquet file, or a damaged one.
    """
    import duckdb

    connection = stack.enter_context(_connect())
    connection.execute("SET TimeZone = 'UTC'")
    literal = _literal(path)
    source = "FROM read_parquet(?, hive_partitioning = false)"  # or a folder `user=3` is a column
    try:
        described = connection.execute(f"DESCRIBE SELECT * {source}", [literal]).fetchall()
        wanted = ", ".join(_selected(name, kind) for name, kind, *_ in described)
        cursor = connection.execute(f"SELECT {wanted} {source}", [literal])
    except duckdb.Error as error:
        raise _damaged(path, error) from error
    columns = tuple(name for name, *_ in described)
    return columns, _batches(cursor, columns, [_reader(kind) for _, kind, *_ in described], path, size)


def count_rows(path: Path) -> int:
    """Rows of a Parquet file that opens, by what stands at its end."""
    with _connect() as connection:
        return int(
            connection.execute("SELECT sum(num_rows) FROM parquet_file_metadata(?)", [_literal(path)]).fetchone()[0]
        )


def write_parquet(path: Path, columns: Mapping[str, str], rows: Iterable[Sequence[Any]]) -> None:
    """Write rows; the same rows give the same bytes. None among numbers is NULL.

    Args:
        path: The file; what is there is written over.
        columns: Name -> VARCHAR, DOUBLE, INTEGER or BIGINT, in the order of a row.
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


def _batches(
    cursor: Any, columns: tuple[str, ...], readers: Sequence[Callable[[Any], Any] | None], path: Path, size: int
) -> Iterator[Batch]:
    import duckdb

    number = 1
    while True:
        try:
            rows = cursor.fetchmany(size)
        except duckdb.Error as error:
            raise _damaged(path, error) from error
        if not rows:
            return
        found = {}
        for name, values, reader in zip(columns, zip(*rows, strict=True), readers, strict=True):
            found[name] = values if reader is None else [None if one is None else reader(one) for one in values]
        yield Batch(range(number, number + len(rows)), found)
        number += len(rows)


def _selected(name: str, kind: str) -> str:
    """The column as it is fetched."""
    quoted = _quoted(name)
    nested = kind.endswith("]") or kind.startswith(NESTED)
    if "TIME ZONE" in kind and (
        nested or not kind.startswith("TIMESTAMP")
    ):  # in Python it would need a package of its own
        return f"CAST({quoted} AS {kind.replace(' WITH TIME ZONE', '')})"
    if nested or kind in ("VARCHAR", "DOUBLE", "FLOAT", "BOOLEAN", "BLOB"):
        return quoted
    if kind == "DATE" or kind.startswith("TIMESTAMP"):
        moment = f"CAST({quoted} AS TIMESTAMP)" if kind == "DATE" else quoted
        return f"CASE WHEN isfinite({quoted}) THEN epoch_us({moment}) END"
    return f"CAST({quoted} AS VARCHAR)"


def _reader(kind: str) -> Callable[[Any], Any] | None:
    """What makes a value of what is fetched; None where it is one."""
    if kind.endswith("]") or kind.startswith(NESTED):
        return _plain
    if kind == "DATE" or kind.startswith("TIMESTAMP"):
        return _moment
    return _text if kind == "BLOB" else None


def _moment(microseconds: int) -> Moment:
    return Moment(microseconds // 1000)


def _plain(value: Any) -> Any:
    """A nested value in JSON's types, numbers as they are, others as text."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, bytes):
        return _text(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, datetime):
        since = value.replace(tzinfo=value.tzinfo or UTC) - datetime(1970, 1, 1, tzinfo=UTC)
        return str(Moment(since // timedelta(milliseconds=1)))
    return value if value is None or isinstance(value, str | bool | int | float) else str(value)


def _text(value: bytes) -> str | None:
    """Bytes that old writers meant as text."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _literal(path: Path) -> str:
    """A path as duckdb wants it, which takes a name for a pattern."""
    return re.sub(r"([*?\[])", r"[\1]", str(path.absolute()))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(f"{str(path)!r} is no sound Parquet file ({str(error).splitlines()[0][:200]}); write it again")
