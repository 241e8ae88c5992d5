"""What a checkpoint holds besides tensors: how far training is, and what it is made of.

No generator needs saving: every random number is a pure function of the seed and the step.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from patchrec import __version__
from patchrec.config import RunConfig
from patchrec.data.histories import Dataset
from patchrec.errors import CorruptError, UsageError

_PROGRESS = "training.json"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far training is.

    Attributes:
        step: Steps done.
        targets, tokens: Targets learned from and positions forwarded so far.
        seconds: Time in steps so far, over all resumptions.
        loss: Of the newest step, in nats per supervised label.
        validations: How often validation targets were measured.
        best_step: Step after which they were best; None before the first of them.
        best_loss: Their loss there, in nats per supervised label.
        best_metric: Their ranking metric there, where that says what is best.
        since_best: Measurements since then.
    """

    step: int = 0
    targets: int = 0
    tokens: int = 0
    seconds: float = 0.0
    loss: float = float("nan")
    validations: int = 0
    best_step: int | None = None
    best_loss: float | None = None
    best_metric: float | None = None
    since_best: int = 0


@dataclass(frozen=True, slots=True)
class SavedRun:
    """What was read from a checkpoint.

    Attributes:
        complete: Whether training had ended; then there is no optimizer state.
        identity: See `identity`.
    """

    progress: Progress
    complete: bool
    identity: dict[str, Any]


def identity(config: RunConfig, dataset: Dataset, own: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that must be equal for a resumed run to be the same run, as plain JSON data.

    Args:
        config: Of the run.
        dataset: What it learns from.
        own: What else decides what its learner does (`Learner.identity`); its `versions` join the others.
    """
    versions = {
        "patchrec": __version__,
        "torch": str(torch.__version__),
        "transformers": metadata.version("transformers"),
        **own.get("versions", {}),
    }
    data = {"catalog": dataset.catalog.fingerprint, "sequences": dataset.sequences.fingerprint}
    return {"config": config.model_dump(mode="json"), "data": data, **own, "versions": versions}


def differences(saved: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Name every value that differs between two identities, such as "config.seed: 0 saved, 1 now"."""
    before, after = _flat(saved), _flat(now)
    return [
        f"{key}: {before.get(key, 'absent')!r} saved, {after.get(key, 'absent')!r} now"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)  # a setting that is newer than the checkpoint was as good as None
    ]


def refuse_differences(saved: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to resume a run as another one.

    Raises:
        UsageError: They differ; the message says in what.
    """
    found = differences(saved, now)
    if found:
        raise UsageError(f"cannot resume: {'; '.join(found)}; start a new run, or use --force to go on all the same")


def write_progress(folder: Path, progress: Progress, known: Mapping[str, Any], *, complete: bool) -> None:
    """Add to a checkpoint folder how far training is."""
    record = {"schema": 1, "progress": asdict(progress), "complete": complete, "identity": known}
    (folder / _PROGRESS).write_text(json.dumps(record, indent=1), encoding="utf-8")


def read_run(folder: Path) -> SavedRun:
    """Read how far a verified checkpoint is.

    Raises:
        CorruptError: It is not a training checkpoint of this version.
    """
    try:
        record = json.loads((folder / _PROGRESS).read_text(encoding="utf-8"))
        known = record["identity"]
        config = RunConfig.model_validate(known["config"]).model_dump(mode="json")  # settings of since then: defaults
        return SavedRun(Progress(**record["progress"]), record["complete"], {**known, "config": config})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CorruptError(f"checkpoint {folder}: {_PROGRESS} is not what this version of patchrec writes") from error


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found
