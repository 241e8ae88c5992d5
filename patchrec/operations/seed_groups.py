"""Groups of seeds: what a name stands for, and what is kept of a group. Reads stored rows; no model runs here."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from patchrec.config import SPLITS, SplitName
from patchrec.evaluation.seeds import mean_metrics
from patchrec.store import Store
from patchrec.store.seed_groups import SeedGroup


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
            "evaluations": [found for split in SPLITS if (found := _newest_shared(store, group, split))],
        }


def _newest_shared(store: Store, group: SeedGroup, split: SplitName) -> dict[str, Any] | None:
    """Means of the newest evaluations of a split that are of the same targets as the newest of all."""
    newest = [(run, found) for run in group.runs if (found := store.evaluations.newest(run.name, split)) is not None]
    if not newest:
        return None
    last = max((found for _, found in newest), key=lambda found: found.id)
    asked = {key: last.config.get(key) for key in ("limit", "users_with")}
    same = [
        (run, found)
        for run, found in newest
        if {key: found.config.get(key) for key in asked} == asked
        and (found.catalog, found.data) == (last.catalog, last.data)
    ]
    metrics = [store.evaluations.metrics(found.id) for _, found in same]
    rankings = [store.evaluations.rankings(found.id) for _, found in same]
    return {
        "split": split,
        "num_targets": last.num_targets,
        "seeds": [run.seed for run, _ in same],
        "metrics": [asdict(row) for row in mean_metrics(metrics, rankings)],
    }
