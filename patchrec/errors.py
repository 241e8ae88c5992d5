"""Every error that patchrec raises on purpose, each with the exit code of the command line.

    PatchrecError
    ├── CheckFailedError      1   a check that was asked for did not hold
    ├── UsageError            2   wrong option, value or configuration
    ├── InputError            3   a file or a value in it cannot be used
    ├── NotFoundError         4   no such data set, user, item, run, strategy or backbone
    ├── StoreBusyError        5   another process holds the store
    ├── CorruptError          6   stored bytes are not what was written
    ├── OutOfResourcesError   7   disk or memory ran out
    ├── PluginError           8   a plugin broke its contract
    └── InterruptedRunError 130   a run stopped by Ctrl-C (130) or SIGTERM (143) after saving

A message is one line: the thing, the choices, the next step.
"""

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError

_ALL_SHOWN = 24  # choices that a line still takes


class PatchrecError(Exception):
    """An error with a message for the user and an exit code."""

    exit_code = 1


class CheckFailedError(PatchrecError):
    """A check that was asked for did not hold."""

    exit_code = 1


class UsageError(PatchrecError):
    """A wrong option, value or configuration."""

    exit_code = 2


class InputError(PatchrecError):
    """A file, or a value in it, cannot be used."""

    exit_code = 3


class NotFoundError(PatchrecError):
    """Something named does not exist."""

    exit_code = 4


class StoreBusyError(PatchrecError):
    """Another process holds the store longer than we wait."""

    exit_code = 5


class CorruptError(PatchrecError):
    """Stored bytes are not what was written."""

    exit_code = 6


class OutOfResourcesError(PatchrecError):
    """Disk or memory ran out."""

    exit_code = 7


class PluginError(PatchrecError):
    """A plugin broke its contract."""

    exit_code = 8


class InterruptedRunError(PatchrecError):
    """A run stopped on a signal after saving its state."""

    exit_code = 130

    def __init__(self, message: str, exit_code: int = 130) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def not_found(kind: str, name: str, choices: Iterable[str], next_step: str = "") -> NotFoundError:
    """Build the one-line error for an unknown name: the thing, a guess, the choices, the next step.

    Args:
        kind: What was looked for, such as "strategy".
        name: What the user wrote.
        choices: The names that exist: two dozen are shown whole, of more the first ten.
        next_step: What ends the line, such as "list them with `patchrec runs ls`"
    """
    return NotFoundError(unknown(kind, name, choices, next_step))


def unknown(kind: str, name: str, choices: Iterable[str], next_step: str = "") -> str:
    """Word an unknown name with did-you-mean and the choices (see `not_found`)."""
    known = sorted(choices)
    parts = [f"no {kind} {name!r}"]
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        parts.append(f"did you mean {close[0]!r}?")
    if known:
        first = known if len(known) <= _ALL_SHOWN else known[:10]
        shown = ", ".join(first) + (f" and {len(known) - len(first)} more" if len(first) < len(known) else "")
        parts.append(f"choices: {shown}")
    else:
        parts.append("there is none yet")
    if next_step:
        parts.append(next_step)
    return "; ".join(parts)


def flag_of(field: str) -> str:
    """A field as the command line writes it: "min_length" is "--min-length"."""
    return "--" + field.replace("_", "-")


def wrong_values(error: "ValidationError") -> str:
    """Word all faults of a configuration or of a strategy's options, each under its option."""
    parts = []
    for fault in error.errors():
        option = flag_of(".".join(str(part) for part in fault["loc"])) if fault["loc"] else ""
        message = fault["msg"].removeprefix("Value error, ")
        if not option:
            parts.append(message)
        elif fault["type"] == "missing":
            parts.append(f"{option} is required")
        else:
            parts.append(f"{option}={fault['input']!r}: {message[:1].lower()}{message[1:]}")
    return "; ".join(parts)
