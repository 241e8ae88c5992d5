"""What stands in a row of a comparison: a run, or runs of one group of seeds with their seeds averaged."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from patchrec.config import ScoreName, SplitName
from patchrec.errors import UsageError
from patchrec.evaluation.seeds import averaged_targets, mean_metrics
from patchrec.history import FloatArray
from patchrec.store import Store
from patchrec.store.evaluations import Evaluation, MetricRow, RankingRow
from patchrec.store.runs import Run

Evaluated = tuple[Run, Evaluation]


@dataclass(frozen=True, slots=True)
class Compared:
    """A row of a comparison.

    Attributes:
        name: Of the run or of the group.
        group: The group of seeds that the runs are of; None for a run alone.
        members: Its runs, each with its evaluation of the same targets.
    """

    name: str
    group: str | None
    members: tuple[Evaluated, ...]

    @property
    def run(self) -> Run:
        """The first run, which stands for what all of them are."""
        return self.members[0][0]

    @property
    def seeds(self) -> list[int]:
        """Seeds of its runs."""
        return [run.seed for run, _ in self.members]

    @property
    def scores(self) -> set[ScoreName]:
        """What its runs ranked by."""
        return {found.score for _, found in self.members}

    @property
    def exact_to(self) -> int | None:
        """Up to which ranks are known of all its runs; None: all are."""
        return min((found.exact_to for _, found in self.members if found.exact_to is not None), default=None)

    def values(
        self, rankings: Mapping[str, list[RankingRow]], of_targets: Callable[[list[RankingRow]], FloatArray]
    ) -> FloatArray:
        """(B,) a value of each target, averaged over seeds.

        Args:
            rankings: Rows of the same targets, by the name of the run.
            of_targets: The value of each row.
        """
        return averaged_targets([of_targets(rankings[run.name]) for run, _ in self.members])

    def metrics(
        self, metrics: Mapping[str, list[MetricRow]], rankings: Mapping[str, list[RankingRow]]
    ) -> list[dict[str, Any]]:
        """Metrics with intervals, and `sd` over seeds (None for a run alone).

        Args:
            metrics: By the name of the run. rankings: Rows of the same targets, likewise.
        """
        names = [run.name for run, _ in self.members]
        if len(names) == 1:
            return [asdict(row) | {"sd": None} for row in metrics[names[0]]]
        found = mean_metrics([metrics[name] for name in names], [rankings[name] for name in names])
        return [asdict(row) for row in found]

    def cost(self, key: str) -> float | None:
        """A cost of its evaluations, averaged over seeds; None where one does not have it."""
        of_each = [
            found.catalog_tokens if key == "catalog_tokens_per_target" else found.cost.get(key)
            for _, found in self.members
        ]
        if len(of_each) == 1:
            return of_each[0]
        known = [value for value in of_each if value is not None]
        return fmean(known) if len(known) == len(of_each) else None


def fold(chosen: Sequence[Evaluated]) -> list[Compared]:
    """Rows of evaluated runs: those of one group that stand together are one row, where the first of them stood."""
    rows: dict[str, list[Evaluated]] = {}
    for run, found in chosen:
        rows.setdefault(run.group or run.name, []).append((run, found))
    return [
        Compared(name, name, tuple(members)) if len(members) > 1 else Compared(members[0][0].name, None, tuple(members))
        for name, members in rows.items()
    ]


def apart(chosen: Sequence[Evaluated]) -> list[Compared]:
    """A row for each evaluated run, whatever group it is of."""
    return [Compared(run.name, None, ((run, found),)) for run, found in chosen]


def runs_of(store: Store, names: Sequence[str]) -> list[Run]:
    """The runs that names stand for: a group's name for those of its runs that are done.

    Raises:
        NotFoundError: No such run. UsageError: No run of a group is done.
    """
    found: dict[str, Run] = {}
    for name in names:
        group = store.seed_groups.find(name)
        runs = [store.runs.get(name)] if group is None else [run for run in group.runs if run.status == "done"]
        if not runs and group is not None:
            raise UsageError(
                f"no run of {group.name} is done; go on with `patchrec {group.command} --resume {group.name}`"
            )
        found |= {run.name: run for run in runs}
    return list(found.values())


def missing_seeds(store: Store, rows: Sequence[Compared], split: SplitName) -> list[str]:
    """Sentences on seeds of groups that are in no row, though others of the group are."""

    def why(run: Run) -> str:
        if run.status != "done":
            return run.status
        return "left out" if store.evaluations.newest(run.name, split) else "not evaluated"

    groups = store.seed_groups.all()
    notes = []
    for row in rows:
        if row.group is None:
            continue
        absent = [run for run in groups[row.group].runs if run.seed not in row.seeds]
        if absent:
            shown = ", ".join(f"{run.seed} ({why(run)})" for run in absent)
            notes.append(f"{row.name} is without seed {shown}")
    return notes
