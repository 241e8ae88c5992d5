"""Verb: cut the targets of a run's evaluations into slices, from what is stored; no model runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from patchrec.config import ScoreName, SplitName
from patchrec.errors import NotFoundError
from patchrec.evaluation.rows import metric_rows
from patchrec.evaluation.slices import slices_of_rankings
from patchrec.store import Store
from patchrec.store.evaluations import MetricRow


@dataclass(frozen=True, slots=True)
class Sliced:
    """One evaluation with its metrics over slices of its targets, and over all of them."""

    evaluation: int
    split: SplitName
    score: ScoreName
    num_targets: int
    num_users: int
    metrics: list[MetricRow]


def slices_of(run: str, *, by: Sequence[str] = (), home: Path | None = None) -> list[Sliced]:
    """The newest evaluation of a run on each split, cut into slices.

    Args:
        run: Its name, or the unique beginning of one.
        by: Fields of the catalog whose values make slices too, whether the evaluation knew of them or not.
        home: Folder of the store.

    Raises:
        NotFoundError: No such run, or it is not evaluated. UsageError: No item has a field.
    """
    with Store.open(home) as store:
        found = store.runs.get(run)
        newest = {evaluation.split: evaluation for evaluation in store.evaluations.all(found.name)}
        if not newest:
            raise NotFoundError(f"run {found.name!r} is not evaluated; do so: `patchrec eval {found.name}`")
        cut = []
        for evaluation in newest.values():
            dataset = store.datasets.load_as(found.dataset, evaluation.data)
            rows = store.evaluations.rankings(evaluation.id)
            metrics = metric_rows(
                rows,
                evaluation.config.get("ks", ()),
                slices=slices_of_rankings(dataset, rows, by),
                exact_to=evaluation.exact_to,
            )
            facts = evaluation.split, evaluation.score, evaluation.num_targets, evaluation.num_users
            cut.append(Sliced(evaluation.id, *facts, metrics))
        return cut
