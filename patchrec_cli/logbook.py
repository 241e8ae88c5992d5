"""`--log-file FILE`: what a command says on stderr, with times, at the end of a file; also where `-q` says nothing."""

from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path

from patchrec.errors import UsageError
from patchrec.reporting import Silent

FILE: ContextVar[Path | None] = ContextVar("FILE", default=None)


class Logged(Silent):
    """A reporter that says nothing, and writes it down."""

    def note(self, message: str) -> None:
        """Write the note down."""
        write(message)

    def picked(self, what: str, value: str, why: str) -> None:
        """Write the pick down."""
        write(f"{what}: {value} ({why})")


def open_log(file: Path, command: str) -> None:
    """Write down what this process says from now on.

    Args:
        file: Lines are added at its end; only the user can read it where it is new.
        command: What was asked, its first line.

    Raises:
        UsageError: It cannot be written.
    """
    try:
        file.touch(0o600, exist_ok=True)
        FILE.set(file)
        _append(file, f"$ {command}")
    except OSError as error:
        FILE.set(None)
        raise UsageError(f"--log-file {str(file)!r}: {error.strerror or error}; name another file") from error


def write(message: str) -> None:
    """Add a line to the file, if there is one. A disk that is full stops no command."""
    file = FILE.get()
    if file is not None:
        try:
            _append(file, message)
        except OSError:
            FILE.set(None)


def _append(file: Path, message: str) -> None:
    from patchrec_cli.display import clean

    with file.open("a", encoding="utf-8") as stream:  # each time, so that lines of several processes stay whole
        stream.write(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {clean(message)}\n")
