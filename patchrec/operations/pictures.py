"""Verb: plot. Charts of runs from stored rows: loss curves, accuracy against tokens, slices. No model runs here."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, Literal

import numpy as np

from patchrec.config import SplitName
from patchrec.data.histories import Dataset
from patchrec.drawing.chart import Chart, Curves, Level, Mark, Point, Row, Rows, Series, steps_up, thinned
from patchrec.errors import NotFoundError, UsageError
from patchrec.evaluation.compare import shared_targets
from patchrec.evaluation.rows import default_values
from patchrec.evaluation.significance import bootstrap
from patchrec.evaluation.slice_names import in_order
from patchrec.evaluation.slices import slices_of_rankings
from patchrec.operations.compared import runs_of
from patchrec.operations.comparison import compare_runs
from patchrec.reporting import SILENT, Reporter
from patchrec.store import Store
from patchrec.store.evaluations import Evaluation, RankingRow
from patchrec.store.runs import LossRow, Run, ValidationRow

Picture = Literal["loss", "frontier", "slices"]


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """Evaluated runs on the targets that they share, with all that charts and reports read.

    Attributes:
        table: What `compare_runs` gives.
        runs, evaluations, rankings: Of each of its rows, in their order; rankings are of the same targets.
        dataset: Where these are from.
    """

    table: dict[str, Any]
    runs: list[Run]
    evaluations: list[Evaluation]
    rankings: list[list[RankingRow]]
    dataset: Dataset


def plot(
    picture: Picture,
    names: Sequence[str] = (),
    *,
    metric: str | None = None,
    split: SplitName = "test",
    data: str | None = None,
    home: Path | None = None,
    report: Reporter = SILENT,
) -> list[Chart]:
    """Make the charts of a picture.

    Args:
        picture: `loss` (of training and validation), `frontier` (a metric against the length of prompts) or `slices`.
        names: Runs, or groups of seeds for each of their runs. None named: the newest run that trained, for `loss`;
            else all evaluated runs that share targets.
        metric, split, data: See `compare_runs`; `loss` has no use for them.
        home: Folder of the store.
        report: Where picks are told.

    Raises:
        NotFoundError: No such run, or none with what the picture shows.
        UsageError: See `compare_runs`.
    """
    if picture == "loss":
        with Store.open(home) as store:
            return loss_charts(store, _trained(store, names, data, report))
    compared = compare(names, metric=metric, split=split, data=data, home=home, report=report)
    return [frontier_chart(compared) if picture == "frontier" else slices_chart(compared)]


def compare(
    names: Sequence[str],
    *,
    metric: str | None,
    split: SplitName,
    data: str | None = None,
    home: Path | None = None,
    report: Reporter = SILENT,
) -> Compared:
    """Compare runs, those of a group of seeds one by one, and read the rows behind the table.

    Raises:
        NotFoundError, UsageError: See `compare_runs`.
    """
    table = compare_runs(names, metric=metric, split=split, data=data, grouped=False, home=home, report=report)
    with Store.open(home) as store:
        runs = [store.runs.get(row["run"]) for row in table["rows"]]
        numbers = [row["evaluation"] for row in table["rows"]]
        evaluations = [
            next(found for found in store.evaluations.all(run.name, split) if found.id == number)
            for run, number in zip(runs, numbers, strict=True)
        ]
        rankings = shared_targets(
            {run.name: store.evaluations.rankings(number) for run, number in zip(runs, numbers, strict=True)}
        )
        dataset = store.datasets.load_as(table["dataset"], evaluations[0].data)
    return Compared(table, runs, evaluations, [rankings[run.name] for run in runs], dataset)


def _trained(store: Store, names: Sequence[str], data: str | None, report: Reporter) -> list[Run]:
    """The runs named, else the newest one with a loss curve."""
    if names:
        return runs_of(store, names)
    for run in reversed(store.runs.all()):
        if data in (None, run.dataset) and len(_known(store.runs.losses(run.name))) > 1:
            report.picked("run", run.name, "the newest one that trained")
            return [run]
    raise NotFoundError("no run has a loss curve yet; train one: `patchrec finetune --strategy pft-s --L 5`")


def loss_charts(store: Store, runs: Sequence[Run], numbers: dict[str, int] | None = None) -> list[Chart]:
    """Loss and validation curves, one chart for each unit that they are measured in.

    Args:
        store: Where they are.
        runs: Whose; those without a curve are left out.
        numbers: Of runs, by name, for their colours; None: in this order.

    Raises:
        NotFoundError: None has a curve.
    """
    numbers = numbers or {run.name: number for number, run in enumerate(runs)}
    curves = {run.name: _known(store.runs.losses(run.name)) for run in runs}
    measured = {run.name: store.runs.validations(run.name) for run in runs}
    trained = [run for run in runs if len(curves[run.name]) > 1]
    if not trained:
        shown = ", ".join(run.name for run in runs)
        raise NotFoundError(f"no loss curve of {shown}: runs of counts have none; see `patchrec runs ls` for others")
    charts: list[Chart] = []
    for unit in dict.fromkeys(map(loss_unit, trained)):
        of_unit = [run for run in trained if loss_unit(run) == unit]
        thin = {run.name: thinned((row.step, row.loss) for row in curves[run.name]) for run in of_unit}
        series = tuple(Series(run.name, numbers[run.name], thin[run.name][0]) for run in of_unit)
        mean_of = max(size for _, size in thin.values())
        note = f"Each point is the mean of {mean_of} steps or fewer." if mean_of > 1 else ""
        charts.append(Curves("Training loss", "step", unit, series, note=note))
        charts += _validation(of_unit, measured, numbers, "loss", unit)
    chosen = dict.fromkeys(run.config.training.validate_metric for run in trained if run.config.training)
    for metric in chosen:
        if metric != "loss":
            charts += _validation(trained, measured, numbers, metric, metric)
    return charts


def _validation(
    runs: Sequence[Run], measured: dict[str, list[ValidationRow]], numbers: dict[str, int], what: str, unit: str
) -> list[Chart]:
    """The chart of what validation targets were measured by, if any was measured so."""
    series = []
    for run in runs:
        chosen = run.config.training.validate_metric if run.config.training else "loss"
        rows = [row for row in measured[run.name] if chosen == what]
        marks = [Mark(row.step, row.loss if row.metric is None else row.metric) for row in rows]
        marks = [mark for mark in marks if isfinite(mark.y)]
        if marks:
            series.append(Series(run.name, numbers[run.name], tuple(marks), dots=len(marks) <= 40))
    title = "Validation loss" if what == "loss" else f"Validation {what}"
    return [Curves(title, "step", unit, tuple(series))] if series else []


def loss_unit(run: Run) -> str:
    """What a run's loss is counted in."""
    return "nats a target" if run.score == "item" else "nats a token"


def _known(losses: list[LossRow]) -> list[LossRow]:
    return [row for row in losses if isfinite(row.loss)]


def frontier_chart(compared: Compared) -> Curves:
    """Accuracy against the tokens that a prompt takes: the kind of Fig. 2 of the PatchRec paper.

    Raises:
        UsageError: No run reads a prompt.
    """
    metric, series, levels = compared.table["metric"], [], []
    for number, (run, evaluation, rows) in enumerate(
        zip(compared.runs, compared.evaluations, compared.rankings, strict=True)
    ):
        found = point(rows, metric)
        length = evaluation.cost.get("prompt_length")
        if length is None:
            levels.append(Level(run.name, number, found.value))
            continue
        note = f"{run.name} ({run.label}): {metric} {found.value:.3f} with {length:,.1f} positions"
        mark = Mark(length, found.value, found.low, found.high, note)
        series.append(Series(run.name, number, (mark,), line=False, dots=True, beside=True))
    if not series:
        raise UsageError("none of these runs reads a prompt, so there are no tokens to draw; name a language model's")
    note = "Dashed steps: the best there is with as few positions or fewer. Bars are 95 % intervals over users."
    if levels:
        note += " Dotted: recommenders that read no prompt."
    return Curves(
        "Accuracy against tokens",
        "mean positions of a prompt (log scale)",
        metric,
        tuple(series),
        tuple(levels),
        steps_up(one.marks[0] for one in series),
        log_x=True,
        note=note,
    )


def slices_chart(compared: Compared) -> Rows:
    """A metric over parts of the targets (`patchrec.evaluation.slices`), for each run."""
    metric, reference = compared.table["metric"], compared.rankings[0]
    parts = {"all targets": np.ones(len(reference), dtype=np.bool_)}
    found = slices_of_rankings(compared.dataset, reference)
    parts |= {name: found[name] for name in sorted(found, key=in_order)}
    rows = []
    for name, members in parts.items():
        chosen = np.flatnonzero(members).tolist()
        users = len({reference[place].user for place in chosen})
        points = tuple(point([rankings[place] for place in chosen], metric) for rankings in compared.rankings)
        rows.append(Row(name, f"{len(chosen):,} targets of {users:,} users", points))
    return Rows(
        "Where each is good",
        f"{metric}, with 95 % intervals over users",
        tuple(run.name for run in compared.runs),
        tuple(range(len(compared.runs))),
        tuple(rows),
        note="The same targets for all runs. The head are the most popular items, which have a fifth of all "
        "interactions together, the tail the least popular, which have a fifth at most.",
    )


def differences_chart(table: dict[str, Any]) -> Rows | None:
    """Paired differences of a comparison to its reference; None where there are none."""
    rows = tuple(
        Row(row["run"], verdict(row["difference"]), (_point(row["difference"], "difference"),), number)
        for number, row in enumerate(table["rows"])
        if row["difference"]
    )
    if not rows:
        return None
    label = f"{table['metric']} minus that of {table['reference']}, with 95 % intervals over users"
    return Rows(f"Against {table['reference']}", label, ("difference",), (0,), rows, zero=True)


def verdict(difference: dict[str, float]) -> str:
    """What a paired difference shows, in words; a p-value of 0.05 or more shows none."""
    p = difference["p_adjusted"]
    if not p < 0.05:
        return "no difference shown"
    return "better" if difference["difference"] > 0 else "worse"


def point(rows: Sequence[RankingRow], metric: str) -> Point:
    """A metric over targets in its default view, with its interval over users."""
    values = default_values(rows, metric)
    users = np.array([row.user for row in rows], dtype=np.int64)
    found = bootstrap(values[:, None], users)[0]
    return _point({"value": found.value, "low": found.low, "high": found.high}, "value")


def _point(found: dict[str, float], key: str) -> Point:
    """A value with its interval, where that is known."""
    low, high = found["low"], found["high"]
    if not (isfinite(low) and isfinite(high)):
        return Point(found[key])
    return Point(found[key], low, high)
