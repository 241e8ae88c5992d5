"""Checkpoint folders: whole or absent, verified before use, the newest few kept.

    <folder>/step-00000120/manifest.json     sizes and sha256 of all other files, and of itself
                          /...               whatever the writer put there

A checkpoint is written under a temporary name beside its place, flushed to disk, and renamed. This file knows files and
bytes: no tensors, no training.
"""

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from patchrec.data.sealed import read_sealed, seal, sealed
from patchrec.data.whole_files import flush, make_private, sha256
from patchrec.errors import CorruptError
from patchrec.model.disk import disk_errors
from patchrec.store.runs import Checkpoint

MANIFEST = "manifest.json"
_PREFIX = "step-"
_TEMPORARY = ".unfinished-"


def write_checkpoint(folder: Path, step: int, write: Callable[[Path], None]) -> Checkpoint:
    """Let `write` fill a new checkpoint folder, then make it appear at once.

    Raises:
        OutOfResourcesError: The disk is full. PatchrecError: It cannot be written for another reason. Either way
            nothing that was there before is touched.
    """
    final = checkpoint_folder(folder, step)
    temporary = folder / f"{_TEMPORARY}{final.name}"
    with _disk_errors(final):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _remove(temporary)
            temporary.mkdir()
            write(temporary)
            manifest = sealed(_describe(temporary, step))
            (temporary / MANIFEST).write_bytes(seal(manifest))
            make_private(temporary)
            for path in [*_files(temporary), *(path for path in temporary.rglob("*") if path.is_dir()), temporary]:
                flush(path)
            temporary.rename(final)
            flush(folder)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    return Checkpoint(step, final, manifest)


def read_manifest(folder: Path, mend: str | None = None) -> Checkpoint:
    """Check a checkpoint, every byte of it, and return it.

    Args:
        folder: Of the checkpoint.
        mend: What to do where it is damaged; None: to resume without it.

    Raises:
        CorruptError: A file differs from what was written, is missing, or was added.
    """
    manifest = read_sealed(folder / MANIFEST)
    if manifest is None:
        raise _corrupt(folder, MANIFEST, "is missing or damaged", mend)
    listed: dict[str, dict[str, Any]] = manifest["files"]
    present = {path.relative_to(folder).as_posix(): path for path in _files(folder) if path != folder / MANIFEST}
    for name in sorted(present.keys() ^ listed.keys()):
        raise _corrupt(folder, name, "is missing" if name in listed else "does not belong there", mend)
    for name, entry in listed.items():
        if present[name].stat().st_size != entry["size"]:
            raise _corrupt(folder, name, "has another size than was written", mend)
        if sha256(present[name]) != entry["sha256"]:
            raise _corrupt(folder, name, "has other bytes than were written", mend)
    return Checkpoint(int(manifest["step"]), folder, manifest)


def list_checkpoints(folder: Path) -> list[Path]:
    """Checkpoint folders, oldest first, unverified."""
    return sorted(path for path in folder.glob(f"{_PREFIX}*") if path.is_dir())


def checkpoint_folder(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step is, or would be."""
    return folder / f"{_PREFIX}{step:08d}"


def prune(folder: Path, keep: int, best: int | None = None) -> None:
    """Remove all but the newest `keep` checkpoints and that of step `best`, and what killed writers left behind."""
    spared = None if best is None else checkpoint_folder(folder, best)
    with _disk_errors(folder):
        for old in list_checkpoints(folder)[:-keep]:
            if old != spared:
                _retire(old)
        for leftover in folder.glob(f"{_TEMPORARY}*"):
            _remove(leftover)


def _describe(folder: Path, step: int) -> dict[str, Any]:
    files = {
        path.relative_to(folder).as_posix(): {"size": path.stat().st_size, "sha256": sha256(path)}
        for path in _files(folder)
    }
    return {"schema": 1, "step": step, "files": files}


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if not path.is_dir())


def _retire(checkpoint: Path) -> None:
    """Remove a checkpoint so that a kill half-way never leaves a part of it under its name."""
    doomed = checkpoint.with_name(f"{_TEMPORARY}old-{checkpoint.name}")
    _remove(doomed)
    checkpoint.rename(doomed)
    _remove(doomed)


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


def _corrupt(folder: Path, name: str, what: str, mend: str | None) -> CorruptError:
    others = [other for other in list_checkpoints(folder.parent) if other != folder]
    before = "the checkpoint before it" if others else "the first step"
    return CorruptError(f"checkpoint {folder}: {name} {what}; {mend or f'remove that folder to go on from {before}'}")


def _disk_errors(place: Path) -> AbstractContextManager[None]:
    return disk_errors(f"writing checkpoint {place}", "earlier ones are kept", "resume")
