"""The paper's tables as commands, on a tiny model and a small made-up data set: all of them."""

import json
from pathlib import Path

import pytest
from test_benchmark_training import readers

from benchmarks.paper import BASELINES, TABLES, Job, Line, main
from patchrec.store import Store

FEW = [
    "--data",
    "readers",
    "--backbone",
    "tiny-random",
    "--max-steps",
    "2",
    "--batch-size",
    "8",
    "--limit",
    "4",
    "--long",
    "20+",
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("paper")
    with Store.open(folder) as store:
        store.datasets.add(readers(), source="made up", licence="none", split={"rule": "ratio"})
    return folder


@pytest.mark.parametrize(
    "tables", [("table-2", "table-4"), pytest.param(tuple(TABLES), marks=pytest.mark.slow)], ids=["two", "all"]
)
def test_every_table_trains_and_evaluates_each_of_its_lines_once(
    home: Path, tmp_path: Path, capsys, tables: tuple[str, ...]
) -> None:
    numbers = tmp_path / "numbers.json"
    command = [*tables, *FEW, "--home", str(home), "--json", str(numbers)]
    assert main(command) == 0
    shown = capsys.readouterr().out
    sections = json.loads(numbers.read_text())["sections"]
    assert list(sections) == list(tables)
    rows = {row["label"]: row for part in sections.values() for row in part["tables"][0]["rows"]}
    assert all(0 <= row[f"hr@20 {seen}"] <= 1 for row in rows.values() for seen in ("dropped", "kept"))
    assert rows["vanilla"]["compression_paper"] == 1
    assert "stage 1 drops items" in shown
    with Store.open(home) as store:
        configs = {run.name: run.config for run in store.runs.all()}
        before = len(configs)
        run = rows["stage 1 alone, text"]["seeds"]["0"]["run"]
        assert configs[configs[run].parent].stage == "pretrain"
        assert configs[run].training is None
        dropped = configs[configs[rows["stage 1 drops items"]["seeds"]["0"]["run"]].parent]
        assert dropped.strategies[1].options["into"] == "nothing"
        assert all(config.training.max_steps == 2 for config in configs.values() if config.stage != "baseline")
    assert main(command) == 0
    with Store.open(home) as store:
        assert len(store.runs.all()) == before  # a second call trains nothing


def test_numbers_are_means_over_seeds(home: Path, tmp_path: Path) -> None:
    numbers = tmp_path / "numbers.json"
    assert main(["table-3", *FEW, "--seeds", "2", "--home", str(home), "--json", str(numbers)]) == 0
    for row in json.loads(numbers.read_text())["sections"]["table-3"]["tables"][0]["rows"]:
        values = [one["log_prob"] for one in row["seeds"].values()]
        assert len(values) == 2
        assert row["log_prob"] == pytest.approx(sum(values) / 2)


def test_the_loss_is_of_fine_tuned_titles_and_dropout_of_every_language_model(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [Line("popularity"), Line("titles", "vanilla"), Line("itself", "vanilla", start="itself")]
    lines += [Line(head, "item-mean", head=head, start="none") for head in ("item", "both")]
    monkeypatch.setitem(TABLES, "table-2", lambda job: iter(lines))
    numbers = tmp_path / "numbers.json"
    learning = ["--loss", "catalog", "--dropout", "0.25", "--max-nodes", "512"]
    assert main(["table-2", *FEW, *learning, "--home", str(home), "--json", str(numbers)]) == 0
    rows = json.loads(numbers.read_text())["sections"]["table-2"]["tables"][0]["rows"]
    with Store.open(home) as store:
        configs = {row["label"]: store.runs.get(row["seeds"]["0"]["run"]).config for row in rows}
        configs["pre-trained"] = store.runs.get(configs["titles"].parent).config
    losses = {label: config.kind.options.get("loss") for label, config in configs.items()}
    assert losses["titles"] == losses["both"] == "catalog"
    assert losses["item"] is None
    assert losses["itself"] == losses["pre-trained"] == "vocabulary"
    for label in ("titles", "item", "both", "pre-trained"):
        assert (configs[label].training.dropout, configs[label].training.max_nodes) == (0.25, 512)


def test_a_value_that_cannot_be_is_told_before_anything_is_trained(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["table-2", *FEW, "--dropout", "1", "--home", str(home)]) == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1
    assert "--dropout" in told[0]


def test_a_slip_is_one_line(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table-3", "--data", "reader", "--backbone", "tiny-random", "--home", str(home)]) == 4
    assert "readers" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("kinds", [BASELINES, ("gru4rec", "hstu")])
def test_the_recommenders_are_the_baselines_named_and_the_heads(kinds: tuple[str, ...]) -> None:
    job = Job(None, "readers", "tiny-random", [0], 5, 5, None, "20+", {}, kinds)
    assert [line.label for line in TABLES["recommenders"](job)][:-3] == list(kinds)


@pytest.mark.parametrize("name", ["gru4rek", "item"])
def test_a_baseline_that_there_is_not_is_told_before_anything_is_trained(
    home: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert main(["recommenders", *FEW, "--kinds", name, "--home", str(home)]) == 4
    assert f"no baseline '{name}'" in capsys.readouterr().err.splitlines()[-1]
