"""Verb: ask the store in SQL."""

from pathlib import Path
from typing import Any

from patchrec.store.queries import ask


def query(
    sql: str, *, limit: int = 100, seconds: float = 30.0, max_bytes: int | None = None, home: Path | None = None
) -> dict[str, Any]:
    """Answer one SQL statement that reads the store; nothing can change it.

    Args:
        sql: The statement; `docs/store.md` says what tables and columns there are.
        limit: Rows to give.
        seconds: After which it is stopped.
        max_bytes: Most memory that SQLite may take, in this process and from now on.
        home: Folder of the store.

    Returns:
        `columns` (names, each once), `rows` (an object each) and `more` (whether there are others).

    Raises:
        NotFoundError: No store yet. UsageError: A statement that is none, takes too long or would change something.
        OutOfResourcesError: It takes too much memory.
    """
    answer = ask(home, sql, limit=limit, seconds=seconds, max_bytes=max_bytes)
    rows = [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
    return {"columns": list(answer.columns), "rows": rows, "more": answer.more}
