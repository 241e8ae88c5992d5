"""The files of a backbone that was pulled: what they were when it was, and whether they still are.

`patchrec.json` beside them tells. Somebody else's folder has none, and a copy under another name is theirs to change.
"""

import json
from pathlib import Path
from typing import Any

from patchrec.data.sealed import read_sealed, seal
from patchrec.data.whole_files import sha256
from patchrec.errors import CorruptError

FACTS = "patchrec.json"
_FILES = "files"
_WEIGHTS = ".safetensors"
_EARLIER = {"name", "source", "revision", "licence", "num_parameters"}


def folder_name(name: str) -> str:
    """Folder of a backbone under `backbones/`: hub ids lose their slash."""
    return name.replace("/", "--")


def write_facts(folder: Path, facts: dict[str, Any]) -> None:
    """Note what is known of a backbone, with size and sha256 of each of its files."""
    files = {
        path.relative_to(folder).as_posix(): {"size": path.stat().st_size, "sha256": sha256(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    (folder / FACTS).write_bytes(seal({**facts, _FILES: files}))


def read_facts(folder: Path) -> dict[str, Any]:
    """What was noted, without the files; weights are looked at in size only.

    Raises:
        CorruptError: That note, or a file, is not what was written.
    """
    record = read_sealed(folder / FACTS) or _of_earlier(folder / FACTS)
    if record is None:
        raise _corrupt(folder, FACTS)
    _compare(folder, record, weights=False)
    return {key: value for key, value in record.items() if key not in (_FILES, "sha256")}


def refuse_damaged(folder: Path) -> None:
    """Compare every byte with what was written, in the folder of a pulled backbone.

    Raises:
        CorruptError: They differ.
    """
    record = read_sealed(folder / FACTS)
    if record is not None and folder.name == folder_name(str(record.get("name"))):
        _compare(folder, record, weights=True)


def _of_earlier(path: Path) -> dict[str, Any] | None:
    """The note of an earlier version, which knew no files."""
    try:
        record = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and record.keys() == _EARLIER else None


def _compare(folder: Path, record: dict[str, Any], *, weights: bool) -> None:
    for name, entry in record.get(_FILES, {}).items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != entry["size"]:
            raise _corrupt(folder, name)
        if (weights or path.suffix != _WEIGHTS) and sha256(path) != entry["sha256"]:
            raise _corrupt(folder, name)


def _corrupt(folder: Path, name: str) -> CorruptError:
    return CorruptError(
        f"backbone {str(folder)!r}: {name} is not what was written; remove that folder, and it is fetched again when "
        "it is wanted"
    )
