"""The benchmark of serving, on a tiny run."""

import json
from pathlib import Path

from benchmarks.serving import AIMS, main


def test_every_aim_is_measured(made: Path, tmp_path: Path, capsys) -> None:
    numbers = tmp_path / "numbers.json"
    main(
        [
            "pft-s-1",
            "--item-run",
            "pft-s-1",
            "--L",
            "3",
            "--users",
            "8",
            "--k",
            "3",
            "--home",
            str(made),
            "--json",
            str(numbers),
        ]
    )
    found = json.loads(numbers.read_text())
    assert set(found["met"]) == set(AIMS)
    assert all(value > 0 for name in AIMS if name != "item_head" for value in found[name].values())
    shown = capsys.readouterr().out
    assert all(name in shown for name in AIMS)
