"""Groups of seeds: what a name stands for, and what is kept of a group. Reads stored rows; no model runs here."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from patchrec.config import SPLITS, SplitName
from patchrec.evaluation.seeds import mean_metrics
from patchrec.evaluation.slices import slices_of_rankings
from patchrec.operations.compared import Evaluated
from patchrec.store import Store
from patchrec.store.evaluations import ALL
from patchrec.store.runs import Run


def is_group(name: str | None, *, home: Path | None = None) -> bool:
    """Whether a name is that of a group of seeds, and of no run."""
    if name is None:
        return False
    with Store.open(home) as store:
        return store.seed_groups.find(name) is not None


def show_seed_group(name: str, *, home: Path | None = None) -> dict[str, Any] | None:
    """What is kept of a group: its runs, and the newest evaluations that they share; None where a run is named.

    Returns:
        `name`, `runs` (name, seed, status, command and so on) and `evaluations`: for each split `num_targets`, `seeds`
        and `metrics`, means over seeds.
    """
    with Store.open(home) as store:
        group = store.seed_groups.find(name)
        if group is None:
            return None
        shown = (
            "name",
            "seed",
            "status",
            "command",
            "label",
            "dataset",
            "backbone",
            "parent",
            "created_at",
            "finished_at",
            "note",
            "tags",
        )
        return {
            "name": group.name,
            "runs": [{key: getattr(run, key) for key in shown} for run in group.runs],
            "evaluations": [
                _means(store, shared, split) for split in SPLITS if (shared := newest_shared(store, group.runs, split))
            ],
        }


def newest_shared(store: Store, runs: Sequence[Run], split: SplitName) -> list[Evaluated]:
    """The newest evaluations of runs on a split that are of the same targets as the newest of all."""
    newest = [(run, found) for run in runs if (found := store.evaluations.newest(run.name, split)) is not None]
    if not newest:
        return []
    last = max((found for _, found in newest), key=lambda found: found.id)
    asked = {key: last.config.get(key) for key in ("limit", "users_with")}
    return [
        (run, found)
        for run, found in newest
        if {key: found.config.get(key) for key in asked} == asked
        and (found.catalog, found.data) == (last.catalog, last.data)
    ]


def _means(store: Store, shared: list[Evaluated], split: SplitName) -> dict[str, Any]:
    """What evaluations of the same targets come to together, with the slices that they stored."""
    run, first = shared[0]
    metrics = [store.evaluations.metrics(found.id) for _, found in shared]
    rankings = [store.evaluations.rankings(found.id) for _, found in shared]
    cut = None
    if any(row.slice != ALL for row in metrics[0]):
        dataset = store.datasets.load(run.dataset)
        fields = {name for item in dataset.catalog.metadata for name in item}
        cut = partial(slices_of_rankings, dataset, by=[name for name in first.config.get("by", ()) if name in fields])
    return {
        "split": split,
        "num_targets": first.num_targets,
        "seeds": [own.seed for own, _ in shared],
        "metrics": [asdict(row) for row in mean_metrics(metrics, rankings, cut=cut)],
    }
