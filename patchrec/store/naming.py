"""Names that may enter the store, the clock it writes down, and the JSON it reads back."""

import json
import re
from datetime import UTC, datetime
from typing import Any

from patchrec.errors import CorruptError, UsageError

MOST_LETTERS = 64  # of a name
NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{MOST_LETTERS - 1}}}")

PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")  # what can be a folder's name and stay where it is put


def check_name(kind: str, name: str) -> str:
    """Give the name back if it is one: no path separator, no leading dot, nothing that a shell or folder minds.

    Raises:
        UsageError: It is not.
    """
    if not NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot name a {kind}; use up to {MOST_LETTERS} letters, digits, '.', '_' and '-', "
            "a letter or digit first, such as 'my-data'"
        )
    return name


def now() -> str:
    """The present moment in UTC, ISO 8601 to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def json_object(text: str) -> dict[str, Any]:
    """What the store keeps as a JSON object.

    Raises:
        CorruptError: It is another kind of value; the store itself only sees to it that it is JSON.
    """
    found = json.loads(text)
    if not isinstance(found, dict):
        raise CorruptError(f"the store holds {text[:40]!r} where it keeps a JSON object; restore a copy of store.db")
    return found
