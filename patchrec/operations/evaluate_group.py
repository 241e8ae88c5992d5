"""Verb: evaluate every run of a group of seeds, and say what they come to together."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from patchrec.config import ScoreName, SplitName
from patchrec.errors import not_found
from patchrec.evaluation.evaluate import KS
from patchrec.evaluation.seeds import SeedMetric, mean_metrics
from patchrec.evaluation.slices import slices_of_rankings
from patchrec.operations.compared import fold, runs_of
from patchrec.operations.evaluate import EvaluationResult, evaluate
from patchrec.reporting import SILENT, Reporter, WithoutNotes
from patchrec.store import Store
from patchrec.store.runs import LIST_THEM


@dataclass(frozen=True, slots=True)
class GroupEvaluation:
    """Evaluations of the runs of a group, on the same targets.

    Attributes:
        run: The group, where an evaluation of a run has that.
        seeds: Of the runs evaluated.
        score: Which scores ranked.
        metrics: Means over seeds with their standard deviation, and intervals over users of targets with seeds
            averaged.
        cost: Means over seeds.
        evaluations: Each run's own.
        exact_to: Ranks beyond this are not known; None: all are.
    """

    run: str
    label: str
    dataset: str
    split: SplitName
    score: str
    num_targets: int
    num_users: int
    metrics: list[SeedMetric]
    cost: dict[str, Any]
    seeds: list[int]
    evaluations: list[EvaluationResult]
    exact_to: int | None = None


def evaluate_group(
    name: str,
    *,
    split: SplitName = "test",
    limit: int | None = None,
    users_with: str | None = None,
    ks: Sequence[int] = KS,
    exact_to: int | None = None,
    top: int | None = None,
    by: Sequence[str] = (),
    score: ScoreName | None = None,
    home: Path | None = None,
    report: Reporter = SILENT,
) -> GroupEvaluation:
    """Evaluate all finished runs of a group, one after the other; see `evaluate`.

    Args:
        name: Of the group.

    Raises:
        NotFoundError: No such group. UsageError: None of its runs is done, or arguments that do not fit.
    """
    with Store.open(home) as store:
        group = store.seed_groups.find(name)
        if group is None:
            raise not_found("group of seeds", name, store.seed_groups.all(), LIST_THEM)
        runs = runs_of(store, [group.name])
    for run in group.runs:
        if run.status != "done":
            report.note(f"{run.name} is {run.status}, and left out; `patchrec {run.command} --resume {group.name}`")
    results = []
    for number, run in enumerate(runs, 1):
        report.note(f"{run.name}: {number} of {len(runs)}")
        told = report if number == 1 else WithoutNotes(report)
        found = evaluate(
            run.name,
            split=split,
            limit=limit,
            users_with=users_with,
            ks=ks,
            exact_to=exact_to,
            top=top,
            by=by,
            score=score,
            home=home,
            report=told,
        )
        results.append(found)
    with Store.open(home) as store:
        newest = [(run, store.evaluations.all(run.name, split)[-1]) for run in runs]
        rankings = [store.evaluations.rankings(found.id) for _, found in newest]
        cut = partial(slices_of_rankings, store.datasets.load(results[0].dataset), by=by)
    (row,) = fold(newest)
    first = results[0]
    return GroupEvaluation(
        run=group.name,
        label=group.label,
        dataset=first.dataset,
        split=first.split,
        score="/".join(sorted(row.scores)),
        num_targets=first.num_targets,
        num_users=first.num_users,
        metrics=mean_metrics([found.metrics for found in results], rankings, cut=cut),
        cost={key: row.cost(key) for key in first.cost},
        seeds=[run.seed for run in runs],
        evaluations=results,
        exact_to=exact_to,
    )
