"""Lists of names that a user gives: one id or title a line, from a file or from stdin."""

import sys
from pathlib import Path

from patchrec.data.lines import Lines, Rejects, open_bytes, reading
from patchrec.errors import InputError

STDIN = "-"


def read_names(source: str) -> list[str]:
    """Names in their order, without blanks around them; blank lines are skipped.

    Args:
        source: A file, or "-" for stdin.

    Raises:
        InputError: The file is missing, unreadable or not UTF-8 (with the line), or it holds no name.
    """
    shown = "stdin" if source == STDIN else source
    path = Path(source).expanduser()
    with reading(shown):
        if source != STDIN and path.is_dir():
            raise InputError(f"{source!r} is a folder; give a file with one name a line")
        stream = sys.stdin.buffer if source == STDIN else open_bytes(path)
    with stream:
        rejects = Rejects()
        names = [name for line in Lines(stream, shown, rejects, encodings=False) if (name := line.strip())]
        rejects.settle()
    if not names:
        raise InputError(f"{shown!r} holds no name; give one a line")
    return names
