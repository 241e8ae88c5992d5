"""Verb: copy runs into a tracker of experiments, through accelerate's own trackers.

Where a tracker writes, it decides itself, by its own settings and environment (`MLFLOW_TRACKING_URI`,
`TRACKIO_SPACE_ID`).
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from contextvars import copy_context
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from math import isfinite
from pathlib import Path
from typing import Any

from patchrec.config import SPLITS
from patchrec.errors import PatchrecError, UsageError, unknown
from patchrec.operations.compared import runs_of
from patchrec.operations.exporting.model_card import shown_backbone
from patchrec.plugins import why
from patchrec.store import Store
from patchrec.store.runs import Run

TRACKERS: dict[str, tuple[str, dict[str, Any]]] = {
    "mlflow": ("run_name", {}),
    "trackio": ("name", {"auto_log_cpu": False, "auto_log_gpu": False}),  # today's load is not the run's
}
"""By accelerate's name: the setting that names a run there, and other settings."""

PROJECT = "patchrec"
Points = dict[int, dict[str, float]]


@dataclass(frozen=True, slots=True)
class Tracked:
    """A run in a tracker.

    Attributes:
        settings: How many settings, versions and fingerprints went there. values: How many measured values.
    """

    run: str
    to: str
    project: str
    settings: int
    values: int


def track_runs(names: Sequence[str], to: str, *, project: str = PROJECT, home: Path | None = None) -> list[Tracked]:
    """Write the settings of runs, their loss curves and their newest evaluation of each split as runs of a tracker.

    A run that is copied again is another run there. No title, user, item or folder is among what is written.

    Args:
        names: Runs of the store, or groups of seeds for each of their runs.
        to: `mlflow` or `trackio`.
        project: The tracker's project (MLflow: experiment), made where it is not there.
        home: Folder of the store.

    Raises:
        NotFoundError: No such run. UsageError: No such tracker, or it is not installed. PatchrecError: It failed.
    """
    if to not in TRACKERS:
        raise UsageError(unknown("tracker", to, TRACKERS))
    if find_spec(to) is None:
        raise UsageError(f"{to} is not installed; `pip install 'patchrec[{to}]'`, then again")
    with Store.open(home) as store:
        runs = runs_of(store, names)
        found = [(run, settings(run), points(store, run)) for run in runs]
    tracked = []
    for run, own, values in found:
        # Trackio ends its current run, a context variable, at exit again, and prints so
        copy_context().run(_write, to, project, run.name, own, values)
        tracked.append(Tracked(run.name, to, project, len(own), sum(map(len, values.values()))))
    return tracked


def settings(run: Run) -> dict[str, Any]:
    """What a run was made of, flat: `training.learning_rate`, `versions.torch`."""
    config = run.config.model_dump(mode="json")
    if run.backbone is not None:
        config["backbone"] = shown_backbone(run.backbone)
    about = {"run": run.name, "label": run.label, "status": run.status, "ranks_by": run.score}
    return {**about, **_flat({**config, "versions": run.versions, "fingerprints": run.fingerprints})}


def points(store: Store, run: Run) -> Points:
    """Everything measured of a run, by step; evaluations stand at the last one.

    Names hold no `@`, which MLflow refuses: `test/item_dropped/hr_at_10`, and with `_low` and `_high` its interval.
    """
    found: Points = {}

    def add(step: int, name: str, value: object) -> None:
        if isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value):
            found.setdefault(step, {})[name.replace("@", "_at_")] = value

    for loss in store.runs.losses(run.name):
        for key, value in asdict(loss).items():
            add(loss.step, f"train/{key}", None if key == "step" else value)
    for row in store.runs.validations(run.name):
        for key, value in asdict(row).items():
            add(row.step, f"validate/{key}", None if key == "step" else value)
    last = max(found, default=0)
    for split in SPLITS:
        evaluation = store.evaluations.newest(run.name, split)
        if evaluation is None:
            continue
        for metric in store.evaluations.metrics(evaluation.id):
            if "=" in metric.slice:  # of a field: its values are text of anyone, and no name for a tracker
                continue
            part = "" if metric.slice == "all" else f"{metric.slice.replace('+', ' or more')}/"
            name = f"{split}/{part}{metric.level}_{metric.seen}/{metric.name}"
            for suffix, value in (("", metric.value), ("_low", metric.low), ("_high", metric.high)):
                add(last, name + suffix, value)
        for key, value in evaluation.cost.items():
            add(last, f"{split}/cost/{key}", value)
    return found


def _flat(value: object, prefix: str = "") -> dict[str, Any]:
    """Nested settings by their paths; those that are not set are left out."""
    if isinstance(value, Mapping):
        parts: Iterator[tuple[object, object]] = iter(value.items())
    elif isinstance(value, list):
        parts = iter(enumerate(value))
    else:
        return {} if value is None else {prefix: value}
    found: dict[str, Any] = {}
    for key, inner in parts:
        found |= _flat(inner, f"{prefix}.{key}" if prefix else str(key))
    return found


def _write(to: str, project: str, run: str, own: dict[str, Any], values: Points) -> None:
    """Make a run in a tracker. What that prints goes to stderr.

    Raises:
        PatchrecError: It failed, in one line.
    """
    from accelerate import PartialState
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    name, others = TRACKERS[to]
    try:
        with redirect_stdout(sys.stderr):
            PartialState(cpu=True)  # the trackers' own messages need it
            tracker = LOGGER_TYPE_TO_CLASS[to](project, **{name: run}, **others)
            tracker.start()
            try:
                tracker.store_init_configuration(own)
                for step, measured in sorted(values.items()):
                    tracker.log(measured, step=step)
            finally:
                tracker.finish()
    except Exception as error:  # whatever a tracker and its server raise
        raise PatchrecError(
            f"{to} did not take run {run}: {why(error)}; nothing changed here: put that right and export again"
        ) from error
