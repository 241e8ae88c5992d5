"""Verb: cut the targets of evaluations into slices, from what is stored; no model runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from patchrec.config import SPLITS, SplitName
from patchrec.errors import NotFoundError
from patchrec.evaluation.rows import metric_rows
from patchrec.evaluation.seeds import SeedMetric, mean_metrics
from patchrec.evaluation.slices import slices_of_rankings
from patchrec.operations.seed_groups import newest_shared
from patchrec.store import Store
from patchrec.store.evaluations import MetricRow


@dataclass(frozen=True, slots=True)
class Sliced:
    """One evaluation of a run, or those of a group of seeds, with metrics over slices of the targets and over all.

    Attributes:
        evaluation: Its id; None of a group. evaluations: The ids of all.
        score: Which ranked; several, where runs of a group rank by different ones.
        metrics: Of a group means over seeds, with their standard deviation.
        seeds: Of the runs.
    """

    evaluation: int | None
    evaluations: list[int]
    seeds: list[int]
    split: SplitName
    score: str
    num_targets: int
    num_users: int
    metrics: list[MetricRow] | list[SeedMetric]


def slices_of(run: str, *, by: Sequence[str] = (), home: Path | None = None) -> list[Sliced]:
    """The newest evaluations of a run or of a group of seeds on each split, cut into slices.

    Args:
        run: Its name, or the unique beginning of one.
        by: Fields of the catalog whose values make slices too, whether the evaluation knew of them or not.
        home: Folder of the store.

    Raises:
        NotFoundError: No such run, or it is not evaluated. UsageError: No item has a field.
    """
    with Store.open(home) as store:
        group = store.seed_groups.find(run)
        runs = [store.runs.get(run)] if group is None else list(group.runs)
        sliced = []
        for split in SPLITS:
            newest = newest_shared(store, runs, split)
            rankings = [store.evaluations.rankings(found.id) for _, found in newest]
            if not newest:
                continue
            dataset = store.datasets.load_as(runs[0].dataset, newest[0][1].data)
            cut = partial(slices_of_rankings, dataset, by=by)
            each = [
                metric_rows(rows, found.config.get("ks", ()), slices=cut(rows), exact_to=found.exact_to)
                for (_, found), rows in zip(newest, rankings, strict=True)
            ]
            ids = [found.id for _, found in newest]
            sliced.append(
                Sliced(
                    evaluation=ids[0] if group is None else None,
                    evaluations=ids,
                    seeds=[own.seed for own, _ in newest],
                    split=split,
                    score="/".join(sorted({found.score for _, found in newest})),
                    num_targets=len(rankings[0]),
                    num_users=len({row.user for row in rankings[0]}),
                    metrics=each[0] if group is None else mean_metrics(each, rankings, cut=cut),
                )
            )
    if not sliced:
        name = runs[0].name if group is None else group.name
        raise NotFoundError(f"run {name!r} is not evaluated; do so: `patchrec eval {name}`")
    return sliced
