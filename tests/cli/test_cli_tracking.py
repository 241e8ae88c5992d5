"""`patchrec runs export --to`: accelerate's own trackers, with stand-ins for the programs that they write to."""

import importlib
import json
import sys
from pathlib import Path

import pytest

from patchrec.config import RunConfig
from patchrec.store import Store
from patchrec.store.evaluations import MetricRow, RankingRow
from patchrec.store.runs import LossRow, ValidationRow

MLFLOW = """
import json, os, re
from types import SimpleNamespace

utils = SimpleNamespace(validation=SimpleNamespace(MAX_PARAM_VAL_LENGTH=6000, MAX_PARAMS_TAGS_PER_BATCH=100))


def note(*what):
    with open(os.environ["TRACKED"], "a") as stream:
        stream.write(json.dumps(what) + "\\n")


def search_experiments(filter_string):
    note("search", filter_string)
    return []


def create_experiment(name, artifact_location, tags):
    return name


def start_run(experiment_id, run_name, **_):
    if os.environ.get("TRACKED_FAILS"):
        raise ConnectionError("no server\\nat all")
    print("a tracker talks")
    note("start", experiment_id, run_name)
    return "run"


def log_params(values):
    note("params", values)


def log_metrics(values, step):
    assert all(re.fullmatch(r"[/\\w.\\- :]+", name) for name in values), values
    note("metrics", step, values)


def end_run():
    note("end")
"""

TRACKIO = """
from mlflow import note


class config:
    @staticmethod
    def update(values, allow_val_change):
        note("params", values)


class Run:
    def log(self, values, step):
        note("metrics", step, values)

    def finish(self):
        note("end")


def init(project, name, auto_log_cpu, auto_log_gpu):
    assert not auto_log_cpu
    assert not auto_log_gpu
    note("start", project, name)
    return Run()
"""


@pytest.fixture
def tracked(toy_cli, tmp_path, monkeypatch):
    """The command with a run, and what trackers were told."""
    folder = tmp_path / "packages"
    folder.mkdir()
    (folder / "mlflow.py").write_text(MLFLOW)
    (folder / "trackio.py").write_text(TRACKIO)
    monkeypatch.syspath_prepend(str(folder))
    importlib.invalidate_caches()
    monkeypatch.setenv("TRACKED", str(tmp_path / "tracked.jsonl"))
    for name in ("mlflow", "trackio"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    for name in ("MLFLOW_EXPERIMENT_NAME", "MLFLOW_RUN_ID", "MLFLOW_TAGS", "MLFLOW_NESTED_RUN"):
        monkeypatch.delenv(name, raising=False)
    with Store.open(tmp_path / "home") as store:
        config = RunConfig(stage="finetune", dataset="toy", backbone="/home/jane/secret/llama")
        run = store.runs.create(config, label="vanilla", versions={"torch": "2"}, fingerprints={"prompt": "0"}).name
        store.runs.log_loss(run, [LossRow(1, 3.0, 10, 2, 0.1, 1e-3), LossRow(2, float("nan"), 10, 2, 0.1, 1e-4)])
        store.runs.log_validation(run, ValidationRow(2, 2.5, 10, 2, 0.1))
        store.runs.finish(run, {})
        row = RankingRow(0, "ann", 3, "13", -1.0, 1, 1, 1, 1, (("13", -1.0),))
        metrics = [MetricRow("hr@10", "item", "dropped", 0.5, 0.25, None)]
        store.evaluations.add(
            run, "test", "catalog", config={"ks": [10]}, metrics=metrics, rankings=[row], cost={"flops_per_target": 7.0}
        )
    yield toy_cli, run, lambda: [json.loads(line) for line in (tmp_path / "tracked.jsonl").read_text().splitlines()]
    for name in ("mlflow", "trackio"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("to", ["mlflow", "trackio"])
def test_settings_curves_and_metrics_become_a_run_of_the_tracker(tracked, to):
    cli, run, told = tracked
    ran = cli("runs", "export", run, "--to", to, "--project", "films", "--json")
    assert ran.code == 0, ran.err
    (found,) = ran.json["tracked"]
    assert (found["run"], found["to"], found["project"]) == (run, to, "films")
    events = [event for event in told() if event[0] != "search"]
    assert events[0] == ["start", "films", run]
    assert events[-1] == ["end"]
    (settings,) = (event[1] for event in events if event[0] == "params")
    assert len(settings) == found["settings"]
    assert (settings["run"], settings["history.K"], settings["versions.torch"]) == (run, 100, "2")
    assert settings["backbone"] == "llama"
    by_step = {event[1]: event[2] for event in events if event[0] == "metrics"}
    assert by_step[1]["train/loss"] == 3.0
    assert "train/loss" not in by_step[2]  # it was no number
    assert by_step[2]["validate/loss"] == 2.5
    assert by_step[2]["test/item_dropped/hr_at_10"] == 0.5
    assert by_step[2]["test/item_dropped/hr_at_10_low"] == 0.25
    assert "test/item_dropped/hr_at_10_high" not in by_step[2]
    assert by_step[2]["test/cost/flops_per_target"] == 7.0
    assert sum(map(len, by_step.values())) == found["values"]
    said = json.dumps(told())
    assert not any(word in said for word in ("secret", "jane", "ann", "Alien"))


def test_what_a_tracker_prints_is_no_result(tracked):
    cli, run, _ = tracked
    ran = cli("runs", "export", run, "--to", "mlflow", "-q")
    assert ran.out == f"{run}\n"


def test_a_tracker_that_fails_or_is_not_there_is_one_line(tracked, monkeypatch, tmp_path):
    cli, run, _ = tracked
    monkeypatch.setenv("TRACKED_FAILS", "1")
    ran = cli("runs", "export", run, "--to", "mlflow")
    assert ran.code == 1
    assert f"mlflow did not take run {run}: ConnectionError: no server at all" in ran.err
    assert len(ran.err.strip().splitlines()) == 1
    Path(tmp_path / "packages" / "trackio.py").unlink()
    importlib.invalidate_caches()
    ran = cli("runs", "export", run, "--to", "trackio")
    assert ran.code == 2
    assert ran.err == "error: trackio is not installed; `pip install 'patchrec[trackio]'`, then again\n"
    assert cli("runs", "export", "pft-x", "--to", "mlflow").code == 4
    assert cli("runs", "export", run, "--to", "wandb").code == 2
