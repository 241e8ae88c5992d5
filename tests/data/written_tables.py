"""Writing the same small table in every format that is read."""

import csv
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

Rows = Sequence[Sequence[str]]

ITEMS = [("item_id", "title"), ("1", "Alien"), ("02", "NA"), ("1e5", "Heat, 2")]
INTERACTIONS = [
    ("user_id", "item_id", "timestamp", "rating"),
    ("007", "1", "100", "4"),
    ("bob", "02", "150", "5"),
    ("007", "02", "200", "3"),
    ("007", "1e5", "300", "5"),
    ("bob", "1", "350", "2"),
    ("bob", "1e5", "400", "4"),
]


def write_table(path: Path, rows: Rows, delimiter: str = ",") -> Path:
    with path.open("w", encoding="utf-8", newline="") as handle:
        csv.writer(handle, delimiter=delimiter, lineterminator="\n").writerows(rows)
    return path


def write_lines(path: Path, rows: Rows) -> Path:
    """A row a line with tabs between, quotes as they are."""
    path.write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8", newline="")
    return path


def write_as(kind: str, folder: Path, name: str, rows: Rows) -> Path:
    """Write rows (the first names the columns) in one of the formats."""
    path = folder / f"{name}.{kind}"
    if kind == "csv":
        return write_table(path, rows)
    if kind == "tsv":
        return write_lines(path, rows)
    if kind in ("inter", "item"):
        return write_lines(path, [[f"{column}:token" for column in rows[0]], *rows[1:]])
    if kind == "jsonl":
        lines = (json.dumps(dict(zip(rows[0], row, strict=True)), ensure_ascii=False) for row in rows[1:])
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path
    return _write_parquet(path, rows)


@cache
def database() -> Any:
    """A database in memory that writes files for all tests: beginning one takes longer than writing a file."""
    import duckdb

    return duckdb.connect()


def _write_parquet(path: Path, rows: Rows) -> Path:
    columns = ", ".join(f'"{column}" VARCHAR' for column in rows[0])
    database().execute(f"CREATE OR REPLACE TABLE rows ({columns})")
    database().executemany(
        f"INSERT INTO rows VALUES ({', '.join('?' * len(rows[0]))})", [list(row) for row in rows[1:]]
    )
    database().execute(f"COPY rows TO '{path}' (FORMAT parquet)")
    return path
