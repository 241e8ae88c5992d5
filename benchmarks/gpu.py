"""Everything that needs a GPU, in one command that can be called again: `python -m benchmarks.gpu --out DIR`.

    python -m benchmarks.gpu --out gpu-results                  # nine minutes; call again until nothing is left
    python -m benchmarks.gpu --out gpu-results --only training  # one piece
    python -m benchmarks.gpu --out toy --device cpu --backbone tiny-random --shape tiny --max-steps 3 --limit 40

Pieces: `environment`, `tests` (pytest -m gpu), `throughput` (the shape of Llama-3.2-1B with random weights, and the
backbone), `training` (vanilla, PFT-I and PFT-S, each from pre-training and without, evaluated beside popularity and the
untrained backbone). Results are JSON files in DIR; DIR/home is the store, DIR/report.md the tables. See docs/gpu.md.
"""

import argparse
import os
import shlex
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks import gpu_throughput, gpu_training
from benchmarks.gpu_files import Folder, OutOfTimeError, minutes
from benchmarks.gpu_report import markdown
from benchmarks.gpu_shapes import SHAPES, make_shape
from patchrec.errors import InterruptedRunError, PatchrecError, UsageError
from patchrec.model.backbone import fast_dtype
from patchrec.model.pull import DEFAULT_BACKBONE
from patchrec.operations.backbones import find_backbone
from patchrec.operations.datasets import add_dataset
from patchrec.operations.environment import environment
from patchrec.store import Store
from patchrec_cli.progress import TerminalReporter

ROOT = Path(__file__).resolve().parent.parent
BASELINES = ("popularity", "untrained")
_MAX_NODES = {"cuda": 8192}  # of the training rows; elsewhere the default


class Bench:
    """One call: what was asked for, and the folder that results go to."""

    def __init__(self, given: argparse.Namespace, command: str) -> None:
        self.given, self.command = given, command
        self.folder = Folder(given.out)
        self.home = given.out / "home"
        self.device = torch.device(given.device)
        self.report = TerminalReporter()
        self.scale = gpu_throughput.Scale(
            given.steps, tuple(given.sizes), batch_size=given.batch_size, users=given.users
        )
        self.left: list[str] = []

    def environment(self) -> Iterator[str]:
        """What the numbers depend on."""
        self.folder.write("environment", environment(home=self.home) | {"device": _device(self.device)})
        yield "environment"

    def tests(self) -> Iterator[str]:
        """The GPU's own tests, in a process of their own."""
        found = self.folder.read("tests")
        if found is None:
            yield "tests"
            self.folder.write("tests", _tests(self.device, self.given.out))

    def throughput(self) -> Iterator[str]:
        """Row after row, each written when it is measured."""
        found = self.folder.read("throughput") or {"rates": None, "rows": []}
        known = ("kind", "model", "workload", "variant", "max_nodes", "dtype")
        done = [{key: row[key] for key in known if key in row} for row in found["rows"]]
        models = list(dict.fromkeys((self.given.shape, self.given.backbone)))
        for row in gpu_throughput.plan(models, self.scale):
            if row in done:
                continue
            yield "throughput: " + ", ".join(str(value) for key, value in row.items() if key != "kind")
            found["rates"] = found["rates"] or gpu_throughput.rates(self.device)
            with Store.open(self.home) as store:
                dataset = store.datasets.load(self._data())
            measured = row | gpu_throughput.measure(row, self._model(row["model"]), dataset, self.scale, self.device)
            if row["kind"] == "training":
                measured |= dict(gpu_throughput.shares(measured, found["rates"]))
            found["rows"].append(measured)
            self.folder.write("throughput", found)

    def training(self) -> Iterator[str]:
        """Row after row; a training that is stopped goes on with the next call."""
        given = self.given
        settings = {"epochs": given.epochs, "max_steps": given.max_steps, "max_nodes": given.max_nodes}
        job = gpu_training.Job(self.home, given.data, given.backbone, given.limit, settings)
        for row in gpu_training.rows(given.seeds):
            if self.folder.read(f"training/{row.name}") is None:
                yield f"training: {row.name}"
                self._data()
                self.folder.write(f"training/{row.name}", gpu_training.run_row(job, row, self.report))
        for name in BASELINES:
            if self.folder.read(f"training/{name}") is None:
                yield f"training: {name}"
                self.folder.write(f"training/{name}", gpu_training.baseline(job, name, self.report))

    def run(self) -> None:
        """Take the chosen pieces in order until the time is over; then say what is left."""
        self.folder.keep_settings(self._settings())
        try:
            with minutes(self.given.minutes):
                for piece in self.given.only:
                    for what in getattr(self, piece)():
                        self.report.note(what)
        except (OutOfTimeError, InterruptedRunError) as error:
            if isinstance(error, InterruptedRunError) and error.exit_code == 130:  # Ctrl-C was no clock
                raise
            self.report.note(f"{self.given.minutes:g} minutes are over; call again to go on")
        self.left = [piece for piece in self.given.only if self._is_left(piece)]

    def summary(self) -> dict[str, Any]:
        """All results so far."""
        names = [row.name for row in gpu_training.rows(self.given.seeds)]
        trained = (self.folder.read(f"training/{name}") for name in (*names, *BASELINES))
        found = {name: self.folder.read(name) for name in ("environment", "tests", "throughput")}
        return {
            "command": self.command,
            "settings": self._settings(),
            **found,
            "training": [row for row in trained if row is not None],
            "complete": not self.left,
            "left": self.left,
        }

    def _is_left(self, piece: str) -> bool:
        """Whether a piece has something to do. Each says so before it does it."""
        return piece != "environment" and next(getattr(self, piece)(), None) is not None

    def _settings(self) -> dict[str, Any]:
        free = ("out", "only", "minutes", "from_path")
        return {key: value for key, value in vars(self.given).items() if key not in free}

    def _data(self) -> str:
        """The data set's name; it is added the first time."""
        name: str = self.given.data
        with Store.open(self.home) as store:
            known = name in store.datasets.names()
        if not known:
            add_dataset(name, from_path=self.given.from_path, home=self.home, report=self.report)
        return name

    def _model(self, name: str) -> Path:
        """Folder of the backbone, or of the shape that is made with its tokenizer."""
        with Store.open(self.home) as store:
            folder = find_backbone(store, self.given.backbone, self.report).folder
        if name == self.given.backbone:
            return folder
        place = self.home / "shapes" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        make_shape(name, place, folder)
        return place


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chosen pieces, print the tables, and give an exit code: 1 where a GPU test failed."""
    given = _parser().parse_args(arguments)
    command = shlex.join(["python", "-m", "benchmarks.gpu", *(sys.argv[1:] if arguments is None else arguments)])
    try:
        _choose_device(given)
        bench = Bench(given, command)
        bench.run()
    except PatchrecError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    found = bench.summary()
    report = "\n".join(markdown(found)) + "\n"
    bench.folder.write("summary", found)
    (given.out / "report.md").write_text(report, encoding="utf-8")
    print(report, end="")
    return int(bool(found["tests"] and found["tests"]["failed"]) and not bench.left)


def _choose_device(given: argparse.Namespace) -> None:
    """Have everything run where it was asked for: patchrec takes a GPU wherever it sees one."""
    if given.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    elif not torch.cuda.is_available():
        raise UsageError(
            "there is no CUDA device here; try it small with --device cpu --backbone tiny-random --shape tiny"
        )
    if given.max_nodes is None:
        given.max_nodes = _MAX_NODES.get(given.device)


def _device(device: torch.device) -> dict[str, Any]:
    """The card and what drives it."""
    facts: dict[str, Any] = {"name": str(device), "dtype": str(fast_dtype()).removeprefix("torch.")}
    if device.type != "cuda":
        return facts
    card = torch.cuda.get_device_properties(device)
    asked = subprocess.run(
        ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"],
        capture_output=True,
        text=True,
        check=False,
    )
    return facts | {
        "name": card.name,
        "memory_gb": card.total_memory / 1e9,
        "processors": card.multi_processor_count,
        "capability": f"{card.major}.{card.minor}",
        "driver": asked.stdout.strip().splitlines()[0] if asked.stdout.strip() else None,
        "cuda": torch.version.cuda,
    }


def _tests(device: torch.device, out: Path) -> dict[str, Any]:
    """Results of pytest, test by test."""
    log = (out / "tests.xml").resolve()
    command = [sys.executable, "-m", "pytest", "tests/gpu", "-m", "gpu", f"--junitxml={log}", "-p", "no:cacheprovider"]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"PATCHREC_TEST_DEVICE": device.type}, stdout=sys.stderr, check=False
    )
    outcomes: dict[str, str] = {}
    for case in ET.parse(log).getroot().iter("testcase"):
        tags = {child.tag for child in case}
        outcome = "failed" if tags & {"failure", "error"} else "skipped" if "skipped" in tags else "passed"
        outcomes[f"{case.get('classname')}::{case.get('name')}"] = outcome
    counts = {outcome: list(outcomes.values()).count(outcome) for outcome in ("passed", "failed", "skipped")}
    failures = [name for name, outcome in outcomes.items() if outcome == "failed"]
    return {"exit_code": done.returncode, **counts, "failures": failures, "tests": outcomes}


def _parser() -> argparse.ArgumentParser:
    default = gpu_throughput.Scale()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description=str(__doc__).splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    pieces = ("environment", "tests", "throughput", "training")
    add("--out", type=Path, required=True, help="folder of results and store; call again with it to go on")
    add("--only", nargs="+", choices=pieces, default=list(pieces), metavar="PIECE", help=", ".join(pieces))
    add("--minutes", type=float, default=9, help="stop after so many, to go on with the next call")
    add("--device", choices=("cuda", "cpu"), default="cuda", help="where everything runs")
    add("--backbone", default=DEFAULT_BACKBONE, help="of the training, and of the throughput beside the shape")
    add("--shape", choices=SHAPES, default="llama-3.2-1b", help="random weights of the throughput")
    add("--data", default="ml-100k", help="data set; added where DIR/home does not have it")
    add("--from", dest="from_path", type=Path, help="archive or folder of the data set; None: fetched")
    add("--seeds", "--seed", nargs="+", type=int, default=[0], help="one set of trainings for each")
    add("--epochs", type=int, default=1, help="of each training")
    add("--max-steps", type=int, help="of each training; None: whole epochs")
    add("--max-nodes", type=int, help="tokens of a pass of the trainings; None: 8192 on a GPU")
    add("--limit", type=int, help="a sample of so many test targets; None: all")
    add("--sizes", nargs="+", type=int, default=list(default.max_nodes), help="tokens of a pass in the throughput")
    add("--batch-size", type=int, default=default.batch_size, help="targets of a step there; None: its workloads' own")
    add("--steps", type=int, default=default.steps, help="steps that a row there times")
    add("--users", type=int, default=default.users, help="prompts of its ranking rows")
    return parser


if __name__ == "__main__":
    sys.exit(main())
