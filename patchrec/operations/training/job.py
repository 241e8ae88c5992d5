"""What process 0 tells the others about a run: everything that they need and do not read from disk themselves."""

import io
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from patchrec.config import RunConfig
from patchrec.data.catalog import Catalog
from patchrec.data.histories import Dataset, Sequences
from patchrec.errors import UsageError

_ARRAYS = ("offsets", "items", "timestamps", "train_stop", "validation_stop", "sessions", "ratings")


@dataclass(frozen=True, slots=True, eq=False)
class TrainingJob:
    """A run that is in the store and can train.

    Attributes:
        start: Folder of the weights that it begins with; None where it begins with none.
        folder: Of its checkpoints; on a disk that all processes see.
        resume, force: As `patchrec.training.loop.train` has them.
        starts: Folders of further models that it begins with, by role.
    """

    config: RunConfig
    dataset: Dataset
    start: Path | None
    folder: Path
    resume: bool = False
    force: bool = False
    starts: Mapping[str, Path] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Everything, without pickle: arrays as NumPy has them, the rest as JSON beside them."""
        dataset, sequences = self.dataset, self.dataset.sequences
        about = {
            "config": self.config.model_dump(mode="json"),
            "start": None if self.start is None else str(self.start),
            "starts": {role: str(folder) for role, folder in self.starts.items()},
            "folder": str(self.folder),
            "resume": self.resume,
            "force": self.force,
            "dataset": {
                "name": dataset.name, "min_history": dataset.min_history, "noun": dataset.noun, "verb": dataset.verb,
            },
            "catalog": [dataset.catalog.item_ids, dataset.catalog.titles, dataset.catalog.metadata],
            "user_ids": sequences.user_ids,
        }  # fmt: skip
        arrays = {name: getattr(sequences, name) for name in _ARRAYS if getattr(sequences, name) is not None}
        stream = io.BytesIO()
        np.savez(stream, allow_pickle=False, about=np.frombuffer(json.dumps(about).encode(), np.uint8), **arrays)
        return stream.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> "TrainingJob":
        """What `to_bytes` gave."""
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            arrays: dict[str, Any] = {name: stored.get(name) for name in _ARRAYS}
            about: dict[str, Any] = json.loads(stored["about"].tobytes())
        item_ids, titles, metadata = map(tuple, about["catalog"])
        sequences = Sequences(user_ids=tuple(about["user_ids"]), **arrays)
        return cls(
            RunConfig.model_validate(about["config"]),
            Dataset(catalog=Catalog(item_ids, titles, metadata), sequences=sequences, **about["dataset"]),
            None if about["start"] is None else Path(about["start"]),
            Path(about["folder"]),
            about["resume"],
            about["force"],
            {role: Path(folder) for role, folder in about["starts"].items()},
        )

    def refuse_unseen(self, rank: int) -> None:
        """Refuse to begin where a folder is not there.

        Raises:
            UsageError: Names the folder, the process and its machine.
        """
        for folder in (self.folder, self.start, *self.starts.values()):
            if folder is not None and not folder.is_dir():
                raise UsageError(
                    f"process {rank} on {socket.gethostname()} does not see {str(folder)!r}, which process 0 uses; put "
                    "store and backbones on a disk that all machines have under the same path (--home DIR)"
                )
