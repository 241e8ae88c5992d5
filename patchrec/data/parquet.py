"""Parquet files, read by duckdb into text. Only this file knows duckdb."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from patchrec.errors import InputError

BATCH = 10_000
WHOLE_NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")


def open_parquet(path: Path, stack: ExitStack) -> tuple[tuple[str, ...], Iterator[tuple[int, dict[str, Any]]]]:
    """Columns and rows of a Parquet file; rows are numbered from 1.

    Text and whole numbers come as text, moments as milliseconds since 1970, days as ISO dates; floats and truth values
    as themselves; bytes and nested values as None.

    Raises:
        InputError: It is no Parquet file, or a damaged one.
    """
    import duckdb

    connection = stack.enter_context(
        duckdb.connect(config={"autoinstall_known_extensions": False, "autoload_known_extensions": False})
    )
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
    quoted = '"' + name.replace('"', '""') + '"'
    if kind in ("VARCHAR", "DOUBLE", "FLOAT", "BOOLEAN"):
        return quoted
    if kind.startswith("TIMESTAMP"):
        return f"CAST(epoch_ms({quoted}) AS VARCHAR)"
    if kind in (*WHOLE_NUMBERS, "DATE", "UUID") or kind.startswith("DECIMAL"):
        return f"CAST({quoted} AS VARCHAR)"
    return "NULL"


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(f"{str(path)!r} is no sound Parquet file ({str(error).splitlines()[0][:200]}); write it again")
