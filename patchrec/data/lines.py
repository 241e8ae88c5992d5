"""Lines of files nobody vouches for: numbered, of bounded length, and the list of those that cannot be used."""

import gzip
import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from patchrec.errors import InputError

try:
    from lzma import LZMAError
except ImportError:  # a Python built without it cannot unpack such archives either
    LZMAError = zlib.error  # type: ignore[misc, assignment]

MAX_LINE_BYTES = 1 << 20
MAX_FILE_BYTES = 8 << 30
"""Of one file after decompression; far above any data set that fits in memory, far below what fills a disk."""

DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, gzip.BadGzipFile, LZMAError, UnicodeDecodeError)
"""What unpacking raises on bytes that are not what was packed; the last one for file names in an archive."""


class Rejects:
    """Lines that cannot be used: the first one ends the reading, unless they are to be skipped and listed.

    Attributes:
        messages: `file:line: reason` of each skipped line, in order.
        notices: What a user should know of lines that were used.
    """

    def __init__(self, *, skip: bool = False) -> None:
        self.skip = skip
        self.messages: list[str] = []
        self.notices: list[str] = []

    def notice(self, message: str) -> None:
        """Note what a user should know of lines that were used, once."""
        if message not in self.notices:
            self.notices.append(message)

    def add(
        self, file: str, line: int, reason: str, hint: str = "fix the line, or leave it out with --skip-bad"
    ) -> None:
        """Note a line that cannot be used.

        Raises:
            InputError: Lines are not to be skipped.
        """
        if not self.skip:
            raise InputError(f"{file}:{line}: {reason}; {hint}")
        self.messages.append(f"{file}:{line}: {reason}")


@contextmanager
def reading(file: str) -> Iterator[None]:
    """Turn what a damaged or unreadable file raises into an `InputError` that names it."""
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"no file {file!r}; check the path") from error
    except DAMAGED as error:
        raise InputError(f"{file!r} is damaged ({error}); get it again") from error
    except (RuntimeError, NotImplementedError) as error:  # zipfile: encrypted, or an unknown compression
        raise InputError(
            f"{file!r} cannot be unpacked ({error}); pack it without a password as an ordinary zip"
        ) from error
    except OSError as error:
        raise InputError(
            f"cannot read {file!r} ({error.strerror or error}); check the path and its permissions"
        ) from error


def open_bytes(path: Path) -> BinaryIO:
    """Open a file for reading, unpacking it where its name ends in `.gz`."""
    return cast(BinaryIO, gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def numbered_lines(stream: BinaryIO, file: str, rejects: Rejects) -> Iterator[tuple[int, bytes]]:
    """Lines with their numbers from 1, line ends included. A line that is too long is rejected.

    Raises:
        InputError: The stream is damaged or longer than any data set.
    """
    buffered = io.BufferedReader(cast(io.RawIOBase, stream), 1 << 20) if not hasattr(stream, "peek") else stream
    number = total = 0
    with reading(file):
        while line := buffered.readline(MAX_LINE_BYTES + 1):
            number += 1
            total += len(line)
            if len(line) > MAX_LINE_BYTES:
                while line and not line.endswith(b"\n"):
                    line = buffered.readline(MAX_LINE_BYTES)
                    total += len(line)
                rejects.add(file, number, f"longer than {MAX_LINE_BYTES >> 20} MiB", "is this the right file?")
                continue
            if total > MAX_FILE_BYTES:
                raise InputError(
                    f"{file!r} is larger than {MAX_FILE_BYTES >> 30} GiB unpacked; is this the right file?"
                )
            yield number, line
