"""A long file shows how far its reading is, whatever its format."""

from contextlib import contextmanager

import duckdb
import pytest

from patchrec.data import lines, log_table
from patchrec.data.prepare import prepare


class Bars:
    """A reporter that remembers its tasks."""

    def __init__(self) -> None:
        self.tasks: list[tuple[str, float, list[float]]] = []

    def note(self, message: str) -> None:
        pass

    def picked(self, what: str, value: str, why: str) -> None:
        pass

    @contextmanager
    def task(self, label: str, total: float, unit: str, *, done: float = 0.0):
        advanced: list[float] = []

        class Task:
            def advance(self, amount: float, *, tokens: int = 0, loss: float | None = None) -> None:
                advanced.append(amount)

        self.tasks.append((f"{label} {unit}", total, advanced))
        yield Task()


@pytest.mark.parametrize("name", ["log.csv", "log.csv.gz", "log.jsonl", "log [1].parquet"])
def test_bytes_add_up_to_the_size_of_the_file_in_steps(tmp_path, monkeypatch, name):
    monkeypatch.setattr(log_table, "LONG", 1000)
    monkeypatch.setattr(lines, "BLOCK", 1 << 14)
    path, rows = tmp_path / name, 60_000
    how = "FORMAT parquet" if name.endswith("parquet") else "FORMAT json" if "json" in name else "HEADER"
    how += ", COMPRESSION gzip" if name.endswith(".gz") else ""
    duckdb.sql(
        f"COPY (SELECT (i % 99)::VARCHAR AS user_id, (i % 50)::VARCHAR AS item_id, 1600000000 + i AS timestamp "
        f"FROM range({rows}) AS log(i)) TO '{path}' ({how})"
    )
    bars = Bars()
    found = prepare("shop", interactions=path, untitled="id", report=bars)
    assert len(found.dataset.sequences.items) == rows
    ((label, total, advanced),) = bars.tasks
    assert label == f"read {name} bytes"
    assert total == sum(advanced) == path.stat().st_size
    assert min(advanced) >= 0
    if name != "log.csv.gz":  # packed, it is read in one or two pieces
        assert max(advanced) < total


def test_a_short_file_shows_no_bar(tmp_path):
    (tmp_path / "log.csv").write_text("user_id,item_id\na,1\na,2\n")
    bars = Bars()
    prepare("shop", interactions=tmp_path / "log.csv", untitled="id", report=bars)
    assert bars.tasks == []
