"""What the system says of a disk, in one line for the user. Shared by everything that writes model files."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from patchrec.errors import OutOfResourcesError, PatchrecError, UsageError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def disk_errors(doing: str, kept: str, again: str) -> Iterator[None]:
    """Turn errors of writing into ours.

    Args:
        doing: What was being done and where, such as "writing checkpoint X".
        kept: What is safe, such as "earlier ones are kept".
        again: What to do once that is put right, such as "resume".

    Raises:
        OutOfResourcesError: The disk is full. UsageError: The path cannot be written. PatchrecError: Anything else that
            the system refuses, such as a connection.
    """
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as error:  # safetensors reports the system's error in words only
        number = error.errno if isinstance(error, OSError) else None
        if number in FULL or any(f"os error {code}" in str(error) for code in FULL):
            raise OutOfResourcesError(f"disk full while {doing}; {kept}, free some space and {again}") from error
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        of_path = "os error" in why if number is None else error.filename is not None  # type: ignore[union-attr]
        kind = UsageError if of_path else PatchrecError
        raise kind(f"{doing} failed: {why}; {kept}, put that right and {again}") from error
