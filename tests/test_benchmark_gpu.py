"""The GPU benchmark runs whole on a CPU, with a tiny model and a made-up data set, and goes on where it stopped."""

import json
import shlex
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import gpu, gpu_throughput
from benchmarks.gpu_files import Folder, OutOfTimeError, minutes
from benchmarks.gpu_shapes import SHAPES, make_shape, training_flops
from patchrec.errors import UsageError
from patchrec.history import IntArray
from patchrec.model.backbone import Backbone
from patchrec.model.forest import grow
from patchrec.model.loss import Labels
from patchrec.operations.datasets import add_dataset
from patchrec.store import Store
from patchrec.store.runs import Runs
from patchrec.training.objective import LabelledForest

SMALL = shlex.split(
    "--device cpu --backbone tiny-random --shape tiny --data toy --epochs 2 --limit 3 --sizes 700 --batch-size 4 "
    "--steps 1 --users 2"
)
TRAINED = 7  # pre-training, three strategies from it and without


def add_toy(out: Path, files: Path) -> None:
    """A data set of six users who watch twelve films in turn, in a result folder's store."""
    rows = [(user, (user + 5 * step) % 12, 1000 * step) for user in range(6) for step in range(9)]
    (files / "rows.csv").write_text("user_id,item_id,timestamp\n" + "".join(f"u{u},i{i},{t}\n" for u, i, t in rows))
    (files / "items.csv").write_text(
        "item_id,title\n" + "".join(f"i{i},Film {'abc' * (1 + i % 3)}{i}\n" for i in range(12))
    )
    add_dataset("toy", interactions=files / "rows.csv", items=files / "items.csv", home=out / "home")


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A result folder whose store has the data set; nothing is left of what `--device cpu` sets."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    add_toy(tmp_path / "out", tmp_path)
    return tmp_path / "out"


def test_every_piece_runs_and_writes_its_results(
    out: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(gpu_throughput, "WORKLOADS", gpu_throughput.WORKLOADS[:1])
    variants = {name: gpu_throughput.VARIANTS[name] for name in (gpu_throughput.AS_IS, "checkpointing")}
    monkeypatch.setattr(gpu_throughput, "VARIANTS", variants)
    monkeypatch.setattr(gpu, "_tests", lambda device, out: {"passed": 3, "failed": 0, "skipped": 1, "failures": []})
    assert gpu.main(["--out", str(out), *SMALL]) == 0
    printed = capsys.readouterr().out
    summary = json.loads((out / "summary.json").read_text())
    assert summary["complete"]
    assert (out / "report.md").read_text() == printed
    assert "GPU tests: 3 passed" in printed
    assert json.loads((out / "environment.json").read_text())["device"]["name"] == "cpu"
    rows = json.loads((out / "throughput.json").read_text())["rows"]
    assert all("error" not in row for row in rows)
    assert [row["tokens_per_second"] > 0 for row in rows if row["kind"] == "training"] == [True] * 4
    assert all(row["flops"] > 0 and row["mfu_measured"] > 0 for row in rows if row["kind"] == "training")
    assert {row["model"] for row in rows if row["kind"] == "ranking"} == {"tiny", "tiny-random"}
    trained = {path.stem: json.loads(path.read_text()) for path in (out / "training").glob("*.json")}
    assert len(trained) == TRAINED + len(gpu.BASELINES)
    for name, row in trained.items():
        assert ("evaluation" in row) == (not name.startswith("pretraining"))
        assert f"| {name} |" in printed
    assert trained["pft-s-from-pretrained-seed-0"]["config"]["parent"] == trained["pretraining-seed-0"]["run"]
    assert trained["pft-s-from-none-seed-0"]["config"]["parent"] is None


def test_a_training_that_runs_out_of_time_goes_on_with_the_next_call(
    out: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    log_loss = Runs.log_loss
    steps = []

    def stopping(self: Runs, name: str, rows: object) -> None:
        log_loss(self, name, rows)
        if not name.startswith("popularity"):  # which is counted, in a step of its own
            steps.append(name)
        if len(steps) == 3:  # the first step of the second training
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(Runs, "log_loss", stopping)
    call = ["--out", str(out), *SMALL, "--only", "training"]
    assert gpu.main(call) == 0
    assert "Not complete; left: training." in capsys.readouterr().out
    with Store.open(out / "home") as store:
        assert {run.name: run.status for run in store.runs.all()} == {"pretrain-1": "done", "vanilla-1": "interrupted"}
    assert gpu.main(call) == 0
    assert capsys.readouterr().out.endswith("Complete.\n")
    with Store.open(out / "home") as store:
        assert [run.name for run in store.runs.all() if run.status != "done"] == []
    assert len(steps) == 2 * TRAINED
    assert gpu.main(call) == 0
    assert len(steps) == 2 * TRAINED


def test_what_a_call_measured_the_next_does_not_measure_again(out: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gpu_throughput, "WORKLOADS", gpu_throughput.WORKLOADS[:1])
    measured: list[dict[str, object]] = []

    def measure(row: dict[str, object], *others: object) -> dict[str, object]:
        measured.append(row)
        if len(measured) == 3:
            raise OutOfTimeError
        return {"error": "not measured here"}

    monkeypatch.setattr(gpu_throughput, "measure", measure)
    monkeypatch.setattr(gpu_throughput, "rates", lambda device: {"measured": 1.0, "data_sheet": None})
    for _ in range(2):
        assert gpu.main(["--out", str(out), *SMALL, "--only", "throughput"]) == 0
    assert measured[2] == measured[3]
    assert len(json.loads((out / "throughput.json").read_text())["rows"]) == len(measured) - 1


def test_a_row_that_fails_is_a_row_and_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*arguments: object) -> None:
        raise errors.pop()

    errors: list[Exception] = [torch.OutOfMemoryError("no room"), ValueError("no such kernel")]
    monkeypatch.setattr(gpu_throughput, "_ranking", fail)
    row, scale = {"kind": "ranking"}, gpu_throughput.Scale()
    found = [gpu_throughput.measure(row, tmp_path, None, scale, torch.device("cpu")) for _ in range(2)]
    assert found == [{"error": "ValueError", "message": "no such kernel"}, {"error": "out of memory"}]


def test_another_setting_wants_another_folder(out: Path, capsys: pytest.CaptureFixture[str]):
    assert gpu.main(["--out", str(out), *SMALL, "--only", "environment"]) == 0
    assert gpu.main(["--out", str(out), *SMALL, "--limit", "4"]) == 2
    assert "limit was 3, now 4" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_it_says_how_to_try_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert gpu.main(["--out", str(tmp_path)]) == 2
    assert "--device cpu" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_results_of_pytest_are_read_test_by_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    cases = "<testcase classname='a' name='one'/><testcase classname='a' name='two'><failure/></testcase>"
    cases += "<testcase classname='b' name='one'><skipped/></testcase>"
    written = f"<testsuites><testsuite>{cases}</testsuite></testsuites>"

    def run(command: list[str], **options: object) -> object:
        log = next(part for part in command if part.startswith("--junitxml="))
        Path(log.removeprefix("--junitxml=")).write_text(written)
        return type("Done", (), {"returncode": 1})

    monkeypatch.setattr(gpu.subprocess, "run", run)
    found = gpu._tests(torch.device("cpu"), tmp_path)
    assert (found["passed"], found["failed"], found["skipped"]) == (1, 1, 1)
    assert found["failures"] == ["a::two"]


def test_time_that_is_over_ends_what_runs():
    with pytest.raises(OutOfTimeError), minutes(0):
        signal.pause()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_result_is_whole_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = Folder(tmp_path)
    folder.write("training/row", {"loss": 1})
    with pytest.raises(TypeError):
        folder.write("training/row", {"loss": object()})
    assert folder.read("training/row") == {"loss": 1}
    assert folder.read("training/other") is None
    folder.keep_settings({"sizes": (1, 2)})
    folder.keep_settings({"sizes": [1, 2]})
    with pytest.raises(UsageError, match="use another --out"):
        folder.keep_settings({"sizes": [1]})


def test_a_shape_is_a_model_with_room_for_its_tokens(tmp_path: Path):
    make_shape("tiny", tmp_path / "tiny", tmp_path)
    backbone = Backbone.load(tmp_path / "tiny", name="tiny", device="cpu")
    assert backbone.vocab_size == SHAPES["tiny"]["vocab_size"]
    assert backbone.model.config.head_dim == SHAPES["tiny"]["head_dim"]
    assert not (tmp_path / ".tiny").exists()


def test_operations_of_a_step_are_those_of_its_products(tmp_path: Path):
    make_shape("tiny", tmp_path / "tiny", tmp_path)
    backbone = Backbone.load(tmp_path / "tiny", name="tiny", device="cpu")
    none: IntArray = np.empty(0, dtype=np.int64)
    forest, _ = grow([np.array([5, 6, 7]), np.array([5, 9])])
    labelled = LabelledForest(forest, Labels(np.array([1, 2]), none, none, none), None)
    shape = SHAPES["tiny"]
    hidden, inner, vocabulary = shape["hidden_size"], shape["intermediate_size"], shape["vocab_size"]
    keys = shape["num_key_value_heads"] * shape["head_dim"]
    layer = 2 * hidden * hidden + 2 * hidden * keys + 3 * hidden * inner
    layers = shape["num_hidden_layers"]
    pairs = int(sum(forest.ancestors(node).sum() for node in range(4)))
    wanted = 6 * (4 * layers * layer + 2 * vocabulary * hidden) + 12 * pairs * hidden * layers
    assert training_flops(backbone, [labelled]) == wanted
