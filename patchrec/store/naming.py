"""Names that may enter the store, and the clock it writes down."""

import re
from datetime import UTC, datetime

from patchrec.errors import UsageError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")  # what can be a folder's name and stay where it is put


def check_name(kind: str, name: str) -> str:
    """Give the name back if it is one: no path separator, no leading dot, nothing that a shell or folder minds.

    Raises:
        UsageError: It is not.
    """
    if not NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot name a {kind}; use up to 64 letters, digits, '.', '_' and '-', "
            "a letter or digit first, such as 'my-data'"
        )
    return name


def now() -> str:
    """The present moment in UTC, ISO 8601 to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
