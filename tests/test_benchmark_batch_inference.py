"""The benchmark of one batch of histories, on a tiny model and a small made-up data set."""

import json
from pathlib import Path

import pytest
from test_benchmark_training import readers

from benchmarks.batch_inference import main
from benchmarks.tables import WIDTH
from patchrec.operations.training.train import baseline
from patchrec.store import Store
from patchrec.store.marks import Marks

FEW = ["--data", "readers", "--backbone", "tiny-random", "--batch", "3", "--k", "4", "--repeats", "2"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("batches")
    with Store.open(folder) as store:
        store.datasets.add(readers(), source="made up", licence="none", split={"rule": "ratio"})
    return folder


def test_kinds_are_timed_side_by_side_and_leave_nothing_in_the_store(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers = tmp_path / "numbers.json"
    kinds = ["popularity", "sasrec:width=8,layers=1", "item", "title", "beam"]
    assert main([*FEW, "--home", str(home), "--layers", "1", "--kinds", *kinds, "--json", str(numbers)]) == 0
    printed = capsys.readouterr().out
    assert "354" in printed
    assert max(map(len, printed.partition("=" * WIDTH)[2].splitlines())) <= WIDTH
    rows = json.loads(numbers.read_text())["sections"]["batches"]["tables"][0]["rows"]
    assert [row["kind"] for row in rows] == kinds
    assert [len(row["seconds"]) for row in rows] == [2, 2, 2, 2, 1]
    assert (rows[0]["over_first"], rows[-1]["beam_over"]) == (1, 1)
    assert all(row["beam_over"] > 0 for row in rows)
    assert rows[2]["positions"] < rows[3]["positions"]
    with Store.open(home) as store:
        assert store.runs.names() == []


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ("--kinds sasrek", 4, "did you mean 'sasrec'"),
        ("--kinds sasrec:width", 2, "OPTION=VALUE"),
        ("--kinds run:none", 4, "no run"),
        ("--kinds beam --title run:counts", 2, "ranks by no titles"),
    ],
)
def test_a_slip_is_one_line(
    home: Path, arguments: str, code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if "counts" in arguments:
        baseline("popularity", data="readers", marks=Marks(name="counts"), home=home)
    assert main([*FEW, "--home", str(home), *arguments.split()]) == code
    assert words in capsys.readouterr().err.splitlines()[-1]
