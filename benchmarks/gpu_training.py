"""Piece `training`: rows trained with and without patch pre-training, evaluated on the test split beside two baselines.

What is done is read from the store: a run that was stopped, or whose process died, is resumed; one that is done is
evaluated; one that is evaluated is left alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from patchrec.operations.evaluate import EvaluationResult, evaluate
from patchrec.operations.training.train import finetune, pretrain
from patchrec.reporting import Reporter
from patchrec.store import Store
from patchrec.store.runs import Run

STRATEGIES: dict[str, dict[str, Any]] = {"vanilla": {}, "pft-i": {"M": 5}, "pft-s": {"L": 20}}


@dataclass(frozen=True, slots=True)
class Row:
    """One training.

    Attributes:
        strategy: None for the pre-training.
        start: "pretrained" or "none".
    """

    seed: int
    strategy: str | None = None
    start: str = "none"

    @property
    def name(self) -> str:
        """Names the row's file."""
        what = "pretraining" if self.strategy is None else f"{self.strategy}-from-{self.start}"
        return f"{what}-seed-{self.seed}"


@dataclass(frozen=True, slots=True)
class Job:
    """Where and how the rows are trained.

    Attributes:
        limit: A sample of so many test targets; None: all.
        settings: Of every run, as `patchrec.operations.training.train` takes them.
    """

    home: Path
    data: str
    backbone: str
    limit: int | None
    settings: dict[str, Any] = field(default_factory=dict)


def rows(seeds: Sequence[int]) -> Iterator[Row]:
    """All trainings, each after the one that it starts from."""
    for seed in seeds:
        yield Row(seed)
        for strategy in STRATEGIES:
            for start in ("pretrained", "none"):
                yield Row(seed, strategy, start)


def run_row(job: Job, row: Row, report: Reporter) -> dict[str, Any]:
    """Train one row as far as it is not trained yet, and evaluate it; give its numbers."""
    run = _trained(job, row, report)
    found = {"row": row.name, "run": run.name, "label": run.label, "summary": run.summary, "config": run.config}
    found["config"] = run.config.model_dump(mode="json")
    if row.strategy is not None:
        found["evaluation"] = _numbers(evaluate(run.name, limit=job.limit, reuse=True, home=job.home, report=report))
    return found


def baseline(job: Job, name: str, report: Reporter) -> dict[str, Any]:
    """Evaluate popularity, or the backbone before any training (full text)."""
    if name == "popularity":
        done = evaluate(baseline="popularity", data=job.data, limit=job.limit, reuse=True, home=job.home, report=report)
    else:
        done = evaluate(
            baseline="untrained", data=job.data, backbone=job.backbone, strategy="vanilla", limit=job.limit, reuse=True,
            home=job.home, report=report,
        )  # fmt: skip
    return {"row": name, "run": done.run, "label": done.label, "evaluation": _numbers(done)}


def _trained(job: Job, row: Row, report: Reporter) -> Run:
    """The row's run, done."""
    parent = None if row.start == "none" else _find(job, Row(row.seed))
    run = _find(job, row, parent)
    if run is not None and run.status == "done":
        return run
    begin = {"home": job.home, "report": report}
    if run is not None:
        done = (pretrain if row.strategy is None else finetune)(resume=run.name, **begin)
    else:
        settings = {"data": job.data, "backbone": job.backbone, "seed": row.seed, **job.settings, **begin}
        if row.strategy is None:
            done = pretrain(**settings)
        else:
            start = "none" if parent is None else parent.name
            done = finetune(strategy=row.strategy, options=STRATEGIES[row.strategy], start=start, **settings)
    with Store.open(job.home) as store:
        return store.runs.get(done.run)


def _find(job: Job, row: Row, parent: Run | None = None) -> Run | None:
    """The newest run of a row, whatever became of it."""
    with Store.open(job.home) as store:
        runs = [run for run in store.runs.all() if run.stage == ("finetune" if row.strategy else "pretrain")]
    mine = [
        run
        for run in runs
        if (run.dataset, run.seed, run.parent) == (job.data, row.seed, parent and parent.name)
        and (row.strategy is None or run.config.strategies[-1].name == row.strategy)
    ]
    return max(mine, key=lambda run: run.id, default=None)


def _numbers(done: EvaluationResult) -> dict[str, Any]:
    """An evaluation as plain values, its metrics over all targets alone."""
    metrics = [asdict(metric) for metric in done.metrics if metric.slice == "all"]
    return asdict(done) | {"metrics": metrics}
