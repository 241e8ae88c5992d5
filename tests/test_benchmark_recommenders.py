"""The benchmark of recommenders, on a tiny model and a small made-up data set, all of its sections."""

import json
from pathlib import Path

import pytest
from test_benchmark_training import readers

from benchmarks.recommenders import PROPOSED, SECTIONS, main
from patchrec.operations.training.train import finetune
from patchrec.store import Store

FEW = ["--data", "readers", "--long-data", "readers", "--backbone", "tiny-random", "--targets", "4", "--users", "4"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("benchmark")
    with Store.open(folder) as store:
        store.datasets.add(readers(), source="made up", licence="none", split={"rule": "ratio"})
    return folder


def test_every_section_measures_what_it_says(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    setting = {"data": "readers", "backbone": "tiny-random", "strategy": "item-mean", "start": "none", "max_steps": 1}
    run = finetune(**setting, head="both", home=home).run
    numbers = tmp_path / "numbers.json"
    few = [*FEW, "--steps", "1", "--repeats", "1", "--home", str(home), "--json", str(numbers)]
    assert main([*few, "--run", run]) == 0
    assert "Two stages" in capsys.readouterr().out
    found = json.loads(numbers.read_text())["sections"]
    assert list(found) == list(SECTIONS)
    by_title = {
        section["title"].partition(":")[0]: section["rows"] for part in found.values() for section in part["tables"]
    }
    title, item = by_title["Training"]
    assert item["positions"] < title["positions"]
    shares = by_title["Two stages"]
    assert [row["number"] for row in shares] == list(PROPOSED)
    assert all(row["share"] == row["least"] == 1.0 for row in shares)  # 12 items: all are proposed
    assert by_title["Evaluation"][0]["targets"] == 4


def test_two_stages_need_a_run(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*FEW, "--home", str(home), "--only", "retrieve"]) == 2
    assert "name it with --run" in capsys.readouterr().err
