"""The benchmark of imports, on a small log."""

import json
from pathlib import Path

import pytest

from benchmarks.importing import PARTS, main


def test_every_part_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    numbers = tmp_path / "numbers.json"
    assert main(["--rows", "2000", "--json", str(numbers)]) == 0
    assert "Import: 2,000 interactions" in capsys.readouterr().out
    found = json.loads(numbers.read_text())
    assert [row["part"] for row in found["rows"]] == list(PARTS)
    assert all(row["seconds"] > 0 and row["peak"] > 0 and row["rate"] > 0 for row in found["rows"])
    assert len(found["targets"]) == 3
