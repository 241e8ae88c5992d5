"""The papers' tables: their files are sweeps, and a table stands beside the papers' figures."""

import re
from pathlib import Path

import pytest
from test_benchmark_training import readers

from benchmarks.published import FOLDER, NOT_HERE, main, read_figures
from patchrec.operations.sweeping.file import lines_of, parts_of, read_sweep
from patchrec.store import Store

SWEEP = """
data = "readers"
metric = "ndcg@10"
reference = "sasrec"
protocol = "sampled"

[[run]]
baseline = "popularity"

[[run]]
baseline = "sasrec"
options = { width = [4, 8], layers = 1, heads = 1 }
max-steps = 2
seeds = [0, 1]

[[run]]
finetune = "pft-s"
from = "none"
backbone = "tiny-random"
options = { L = 2 }
max-steps = 1
batch-size = 4
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    with Store.open(folder) as store:
        store.datasets.add(readers(), source="made up", licence="none", split={"rule": "ratio"})
    (folder / "mine.toml").write_text(SWEEP)
    return folder


def cells(printed: str) -> dict[str, list[str]]:
    """Rows of the table by name."""
    lines = [line.strip("| ").split(" | ") for line in printed.splitlines() if line.startswith("| ")]
    return {line[0]: line[1:] for line in lines}


@pytest.mark.parametrize("name", ["patchrec-table2", "lite-table4", "lite-ablations"])
def test_a_table_is_a_sweep_of_one_search_for_all(name: str) -> None:
    plan, figures = read_sweep(FOLDER / f"{name}.toml"), read_figures(name)
    lines = lines_of(plan)
    assert set(figures.rows) <= set(plan.names)
    assert set(parts_of(plan, lines)) == {entry.called for entry in plan.part}
    tried = {name: sum(line.name == name for line in lines) for name in plan.names}
    others = {name: number for name, number in tried.items() if number != 2}
    assert others == ({"popularity": 1} if "popularity" in tried else {})
    assert {frozenset(figures.rows.get(name, {})) <= set(figures.columns) for name in plan.names} == {True}


def test_rows_have_intervals_beside_the_papers_figures(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--home", str(home), "--sweep", str(home / "mine.toml")]
    assert main(["patchrec-table2", *words]) == 0
    printed = capsys.readouterr().out
    rows = cells(printed)
    assert list(rows) == ["row", "---", "popularity", "sasrec", "pft-s"]
    assert rows["row"][:6] == ["hr@20", "paper", "ndcg@20", "paper", "compression_paper", "paper"]
    assert re.fullmatch(r"\d\.\d{3} \[\d\.\d{3}, \d\.\d{3}\]", rows["popularity"][0])
    assert re.fullmatch(r"\d\.\d{3} ± \d\.\d{3} \[.*\]", rows["sasrec"][0])
    assert rows["sasrec"][6:8] == ["reference", ""]
    assert rows["pft-s"][1:6:2] == ["0.168", NOT_HERE, "9.23"]
    assert float(rows["pft-s"][4]) > 1
    assert "of 2 settings; seed 0, 1" in printed
    assert main(["lite-table4", *words]) == 0  # the same runs, by their other counts
    other = cells(capsys.readouterr().out)
    assert other["row"][4] == "hr@10 sampled"
    assert re.match(r"\d\.\d{3} \[", other["popularity"][4])
    assert re.match(r"\d\.\d{3} ± ", other["sasrec"][4])
    assert other["pft-s"][1] == NOT_HERE


def test_a_dry_run_lists_the_rows_and_fits_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Store.open(tmp_path) as store:
        store.datasets.add(readers(), source="made up", licence="none", split={"rule": "ratio"})
    (tmp_path / "mine.toml").write_text(SWEEP)
    words = ["--home", str(tmp_path), "--sweep", str(tmp_path / "mine.toml"), "--dry-run"]
    assert main(["lite-table4", *words]) == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines()[0] == "popularity: new"
    assert "6 runs, 6 to fit" in shown.err
    with Store.open(tmp_path) as store:
        assert store.runs.names() == []


def test_counts_that_the_sweep_does_not_make_are_refused(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = home / "plain.toml"
    path.write_text(SWEEP.partition("[[run]]")[0].replace('protocol = "sampled"', "").replace("sasrec", "popularity"))
    path.write_text(path.read_text() + '[[run]]\nbaseline = "popularity"\n')
    assert main(["lite-table4", "--home", str(home), "--sweep", str(path)]) == 2
    assert "needs protocol = 'sampled'" in capsys.readouterr().err.splitlines()[-1]
