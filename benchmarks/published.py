"""A paper's table, trained and evaluated here, beside the paper's own figures: `python -m benchmarks.published NAME`.

    python -m benchmarks.published patchrec-table2 --dry-run     # what would be fitted
    python -m benchmarks.published patchrec-table2 > table2.md
    python -m benchmarks.published lite-table4 --sweep mine.toml # the same rows, other settings

A table is a sweep (`benchmarks/tables/NAME.toml`, see docs/sweeps.md): every row is fitted in the store, chosen on
validation by the same search, and ranks the same test targets; what is done is used again, so the command goes on
where it was stopped. The figures of the papers are in `benchmarks/tables/published.toml`, with their source.
"""

import argparse
import shlex
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field

from benchmarks.machine import describe
from benchmarks.prompts import tell
from patchrec.config import Closed
from patchrec.errors import PatchrecError, UsageError, unknown
from patchrec.evaluation.seeds import mean_metrics
from patchrec.operations.sweeping.file import SweepFile, read_sweep
from patchrec.operations.sweeping.sweep import SweepResult, find_counted, sweep
from patchrec.reporting import Silent
from patchrec.store import Store

FOLDER = Path(__file__).parent / "tables"
FIGURES = "published"
NOT_HERE = "not at hand"
COMPRESSION = "compression_"


class Figures(Closed):
    """What a paper says.

    Attributes:
        title: Of the table. source: Of the figures, with the setting that they are of.
        columns: `hr@20`, `hr@20 sampled` (by the sweep's protocol), or `compression_paper`.
        seen: Whether items that a user had before are dropped from rankings or kept, in the columns of metrics.
        rows: Name of a row -> column -> figure.
        notes: Sentences below the table.
    """

    title: str
    source: str
    columns: tuple[str, ...]
    seen: Literal["dropped", "kept"] = "dropped"
    rows: dict[str, dict[str, float]] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cell:
    """A number with its interval, or without one."""

    value: float | None
    low: float | None = None
    high: float | None = None
    sd: float | None = None

    def __str__(self) -> str:
        if self.value is None:
            return "-"
        spread = "" if self.sd is None else f" ± {self.sd:.3f}"
        interval = "" if self.low is None or self.high is None else f" [{self.low:.3f}, {self.high:.3f}]"
        return f"{self.value:.3f}{spread}{interval}"


class Telling(Silent):
    """Says what a sweep is at."""

    def note(self, message: str) -> None:
        """Say it, beside the table."""
        tell(f"  {message}")


def read_figures(name: str, folder: Path = FOLDER) -> Figures:
    """The figures of a table.

    Raises:
        UsageError: There is no such table.
    """
    known = tomllib.loads((folder / f"{FIGURES}.toml").read_text(encoding="utf-8"))
    if name not in known:
        raise UsageError(unknown("table", name, known))
    return Figures.model_validate(known[name])


def markdown(plan: SweepFile, found: SweepResult, figures: Figures, store: Store) -> Iterator[str]:
    """The table, line by line: every row of the sweep in its order, each column beside the paper's figure."""
    comparison = found.comparison
    assert comparison is not None
    rows = dict(zip(plan.names, (_row_of(comparison, run) for run in found.chosen), strict=True))
    names = list(dict.fromkeys(entry.called for entry in plan.run))
    targets = f"{comparison['num_targets']:,} test targets of {comparison['num_users']:,} users"
    yield f"{figures.title}: {found.dataset}, {targets}"
    yield ""
    header = ["row"]
    for column in figures.columns:
        header += [column, "paper"]
    yield _line([*header, f"{found.metric}, difference to {plan.names[0]}", "p (Holm)", "run"])
    yield _line(["---"] * (len(header) + 3))
    for name in names:
        row = rows[name]
        cells = [name]
        for column in figures.columns:
            figure = figures.rows.get(name, {}).get(column)
            cells += [str(_cell(row, column, figures.seen, plan, store)), NOT_HERE if figure is None else f"{figure:g}"]
        yield _line([*cells, *_difference(row), row["run"]])
    yield ""
    yield f"Paper: {figures.source}."
    dropped = "" if figures.seen == "dropped" else " in the columns, dropped in the difference"
    yield f"Here: items that a user had before are {figures.seen}{dropped}; intervals resample users."
    yield from figures.notes
    yield from _choices(plan, found, names)


def _row_of(comparison: Mapping[str, Any], run: str) -> Mapping[str, Any]:
    row: Mapping[str, Any] = next(row for row in comparison["rows"] if row["run"] == run)
    return row


def _cell(row: Mapping[str, Any], column: str, seen: str, plan: SweepFile, store: Store) -> Cell:
    """A column's number of a row."""
    if column.startswith(COMPRESSION):
        return Cell(row["compression"][column.removeprefix(COMPRESSION)])
    name, _, protocol = column.partition(" ")
    if protocol not in ("", plan.protocol):
        raise UsageError(f"{column!r} needs protocol = {protocol!r} in the sweep; its file says {plan.protocol!r}")
    wanted = (name, "item", "dropped" if protocol == "sampled" else seen, "all")
    rows = _counted(row["runs"], plan, store) if protocol else row["metrics"]
    keys = ("name", "level", "seen", "slice")
    one = next((one for one in rows if tuple(one[key] for key in keys) == wanted), None)
    return Cell(None) if one is None else Cell(*(one.get(key) for key in ("value", "low", "high", "sd")))


def _counted(runs: Sequence[str], plan: SweepFile, store: Store) -> list[dict[str, Any]]:
    """Metrics of some runs by the protocol of the sweep, averaged over them where they are several."""
    found = [one for name in runs if (one := find_counted(store, store.runs.get(name), plan)) is not None]
    metrics = [store.evaluations.metrics(one.id) for one in found]
    if len(found) == 1:
        return [asdict(row) for row in metrics[0]]
    return [asdict(row) for row in mean_metrics(metrics, [store.evaluations.rankings(one.id) for one in found])]


def _difference(row: Mapping[str, Any]) -> tuple[str, str]:
    """The paired difference to the reference, and its corrected p-value."""
    found = row["difference"]
    if found is None:
        return "reference", ""
    adjusted = found["p_adjusted"]
    shown = Cell(found["difference"], found["low"], found["high"])
    return str(shown), "" if adjusted is None else f"{adjusted:.4f}"


def _choices(plan: SweepFile, found: SweepResult, names: Sequence[str]) -> Iterator[str]:
    """What validation chose among, for the record."""
    yield f"Chosen by {plan.metric} on {'all' if plan.limit is None else f'{plan.limit:,}'} validation targets:"
    yield ""
    for name in names:
        lines = [line for line in found.lines if line.name == name]
        best = next(line for line in lines if line.chosen)
        among = f", of {len(lines)} settings" if len(lines) > 1 else ""
        seeds = ", ".join(map(str, best.seeds))
        yield f"- {best.setting} ({Cell(best.validation, sd=best.sd)}{among}; seed {seeds})"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit what is missing of a table, print it as Markdown, and give an exit code."""
    given = _parser().parse_args(arguments)
    words = sys.argv[1:] if arguments is None else arguments
    path = given.sweep or FOLDER / f"{given.name}.toml"
    try:
        figures, plan = read_figures(given.name), read_sweep(path)
        found = sweep(path, dry_run=given.dry_run, home=given.home, report=Telling())
        if given.dry_run:
            for line in (*found.parts, *found.lines):
                print(f"{line.setting}: {line.state}")
            tell(f"{found.num_runs} runs, {found.to_fit} to fit, {found.to_evaluate} to evaluate on validation")
            return 0
        with Store.open(given.home) as store:
            lines = list(markdown(plan, found, figures, store))
    except PatchrecError as error:
        tell(f"error: {error}")
        return error.exit_code
    machine = describe(torch.device("cpu"))
    command = shlex.join(["python", "-m", "benchmarks.published", *map(str, words)])
    lines += ["", f"`{command}` on {machine['processor']}, {machine['cores']} cores, torch {machine['torch']}."]
    print(*lines, sep="\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.published", description=str(__doc__).splitlines()[0].partition(":")[0]
    )
    tables = sorted(path.stem for path in FOLDER.glob("*.toml") if path.stem != FIGURES)
    parser.add_argument("name", choices=tables, metavar="NAME", help=", ".join(tables))
    parser.add_argument("--sweep", type=Path, metavar="FILE", help="a sweep of the same rows with other settings")
    parser.add_argument("--dry-run", action="store_true", help="list the rows and their state; fit nothing")
    parser.add_argument("--home", type=Path, help="folder of the store; default: the usual one")
    return parser


if __name__ == "__main__":
    sys.exit(main())
