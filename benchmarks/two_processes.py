"""Section `processes`: steps by two processes against the same steps by one.

python -m benchmarks.two_processes JSON     one of the processes, as torchrun starts them
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.learning import KINDS, Bench, Settings
from benchmarks.prompts import tell
from benchmarks.tables import Column, Section, Target
from patchrec.config import HistoryConfig, PromptConfig, RunConfig
from patchrec.plugins import plan_for
from patchrec.store import Store
from patchrec.training.batches import Batches
from patchrec.training.language_learner import LanguageLearner
from patchrec.training.processes import Process

FASTER, EQUAL = 1.8, 1e-5
COUNTS = (1, 2)
COLUMNS = (
    Column("processes", "count", "d"),
    Column("targets/s", "target_rate", ",.2f"),
    Column("faster", "faster", ",.2f"),
    Column("loss differs by", "difference", ".1e"),
)


def processes(bench: Bench) -> Iterator[Section]:
    """The first steps of PFT-S with instruction-first prompts; the first step is not timed."""
    found = {}
    for number in COUNTS:
        tell(f"  {number}")
        found[number] = _start(bench, number)
    one = found[COUNTS[0]]
    rows = [
        {
            "count": number,
            "target_rate": rows["target_rate"],
            "faster": rows["target_rate"] / one["target_rate"],
            "difference": max(abs(a - b) for a, b in zip(rows["losses"], one["losses"], strict=True)),
            **{name: rows[name] for name in ("losses", "seconds")},
        }
        for number, rows in found.items()
    ]
    gpus = torch.cuda.device_count()
    bars = [Target("two processes: loss differs by", EQUAL, rows[-1]["difference"])]
    if gpus >= COUNTS[-1]:
        bars.append(Target("two processes: times faster", FASTER, rows[-1]["faster"], at_most=False))
    note = f"{gpus} GPUs. Where two processes share the cores of one machine, only equality is asked."
    yield Section(f"Processes: {len(one['losses'])} steps of {bench.dataset.name}", COLUMNS, rows, bars, (note,))


def _start(bench: Bench, number: int) -> dict[str, Any]:
    """Let so many processes take the steps; what the first one found."""
    settings = replace(bench.settings, picture=None)
    job = {
        "home": str(bench.store.home),
        "data": bench.dataset.name,
        "backbone": bench.backbone.name,
        "settings": asdict(settings),
    }
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(number)]
    threads = str(max(1, torch.get_num_threads() // number))
    done = subprocess.run(
        [*launcher, "-m", "benchmarks.two_processes", json.dumps(job)],
        check=True,
        stdout=subprocess.PIPE,
        env=os.environ | {"OMP_NUM_THREADS": threads},
        cwd=Path(__file__).parents[1],
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def work(job: dict[str, Any]) -> dict[str, Any] | None:
    """Take the steps; the first process tells losses and seconds."""
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in job["settings"].items()
    }
    process = Process.this_one()
    with Store.open(Path(job["home"])) as store, process.together():
        bench = Bench.open(store, job["data"], job["backbone"], Settings(**values))
        config = RunConfig(
            stage="finetune",
            dataset=bench.dataset.name,
            backbone=bench.backbone.name,
            history=HistoryConfig(K=bench.settings.K, windows="anchored"),
            prompt=PromptConfig(form="instruction-first"),
            training=bench.settings.training,
        )
        planners, steps = [plan_for(KINDS["PFT-S L=5"])], bench.steps("anchored", bench.settings.passes + 1)
        examples = bench.dataset.examples("train", bench.settings.K, "anchored")
        batches = Batches(examples, bench.settings.training, bench.settings.seed, stage="finetune")
        batches.num_steps = len(steps)  # what the schedule of the learning rate counts
        learner = LanguageLearner(
            config,
            bench.dataset,
            bench.backbone,
            encoder=bench.encoders["instruction-first"],
            planners=planners,
            batches=batches,
        )
        learner.begin()
        rows = list(learner.take(steps))
    timed = rows[1:] or rows
    rate = sum(row.targets for row in timed) / sum(row.seconds for row in timed)
    found = {"losses": [row.loss for row in rows], "seconds": [row.seconds for row in rows], "target_rate": rate}
    return found if process.is_main else None


if __name__ == "__main__":
    told = work(json.loads(sys.argv[1]))
    if told is not None:
        print(json.dumps(told))
