"""Small JSON files that we read back: each holds a digest of all else in it, and has one valid spelling."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_SEAL = "sha256"


def sealed(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record with the digest of everything else in it under `sha256`."""
    return {**record, _SEAL: hashlib.sha256(_dump({**record, _SEAL: None})).hexdigest()}


def seal(record: Mapping[str, Any]) -> bytes:
    """The only valid bytes of a record with its digest."""
    return _dump(sealed(record))


def read_sealed(path: Path) -> dict[str, Any] | None:
    """The record in a file, with its digest; None where the file is not there or not as it was written."""
    try:
        content = path.read_bytes()
        record = json.loads(content)
        whole = isinstance(record, dict) and content == seal(record)
    except (OSError, ValueError, RecursionError):
        return None
    return record if whole else None


def _dump(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record, sort_keys=True, indent=1).encode()
