"""What a model says of itself beside its weights: configuration and tokenizer, kept in a run's checkpoints.

With them a module of the same shapes is made again wherever the run goes; its weights are in the checkpoint too.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from patchrec.data.whole_files import sha256
from patchrec.errors import InputError

START = "start"  # their folder in a checkpoint
_SUFFIXES = {".json", ".model", ".txt", ".jinja"}
_OURS = {"patchrec.json"}
_MOST = 64 << 20  # bytes of one of them


def start_files(folder: Path) -> dict[str, bytes]:
    """Configuration and tokenizer files of a model folder, by name.

    Raises:
        InputError: One is too large to be any of these.
    """
    found = {}
    for path in sorted(folder.iterdir()):
        if not path.is_file() or path.suffix not in _SUFFIXES or path.name in _OURS or ".safetensors" in path.name:
            continue
        if path.stat().st_size > _MOST:
            raise InputError(f"{path} is larger than any configuration or tokenizer; is this a model folder?")
        found[path.name] = path.read_bytes()
    return found


def write_start(folder: Path, files: Mapping[str, bytes]) -> None:
    """Put such files where a checkpoint has them; a name may have folders in it."""
    for name, content in files.items():
        path = folder / START / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def files_fingerprint(files: Mapping[str, bytes]) -> str:
    """sha256 over names and bytes (hex, 16 digits)."""
    listed = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    return hashlib.sha256(json.dumps(listed, sort_keys=True).encode()).hexdigest()[:16]


def weights_fingerprint(folder: Path) -> str:
    """sha256 over the weights of a model folder (hex, 16 digits)."""
    listed = {path.name: sha256(path) for path in sorted(folder.glob("*.safetensors"))}
    return hashlib.sha256(json.dumps(listed, sort_keys=True).encode()).hexdigest()[:16]


@contextmanager
def start_folder(start: Path | None, make: Callable[[Path], None]) -> Iterator[Path]:
    """The folder that a module is made from: the one it has, or a new one that `make` fills and that goes afterwards.

    Args:
        start: See `patchrec.recommenders.factories.Ground`; None where there are no weights to begin with.
        make: Writes configuration and tokenizer, such as `patchrec.model.scratch.make_scratch`.
    """
    if start is not None:
        yield start
        return
    with TemporaryDirectory() as temporary:
        make(Path(temporary))
        yield Path(temporary)


def has_weights(folder: Path) -> bool:
    """Whether a model folder has weights beside its configuration."""
    return any(folder.glob("*.safetensors"))


def files_of(model: Any, start: Path | None, starts: Mapping[str, Path]) -> dict[str, bytes]:
    """What a checkpoint of a module keeps beside its weights: files of its starts, and its own `start_files`."""
    found = {} if start is None else start_files(start)
    for role, folder in starts.items():
        found |= {f"{role}/{name}": content for name, content in start_files(folder).items()}
    own: Mapping[str, bytes] = getattr(model, "start_files", {})
    return {**found, **own}


def kept_roles(kept: Path | None) -> dict[str, Path]:
    """Folders of further models in the folder that a checkpoint keeps, by role."""
    return {} if kept is None else {path.name: path for path in sorted(kept.iterdir()) if path.is_dir()}
