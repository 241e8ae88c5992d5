"""Charts as a file: SVG or PNG, by its ending, whole or absent."""

import os
from collections.abc import Sequence
from pathlib import Path

from patchrec.data.whole_files import write_whole
from patchrec.drawing.chart import Chart
from patchrec.drawing.colours import file_style
from patchrec.drawing.png import png
from patchrec.drawing.svg import document
from patchrec.errors import UsageError

ENDINGS = (".svg", ".png")


def write_charts(charts: Sequence[Chart], out: Path, *, overwrite: bool = False) -> Path:
    """Write charts below one another into one file.

    Raises:
        UsageError: Another ending than `.svg` and `.png`, a file that is there already, or PNG without its package.
    """
    check_file(out, ENDINGS, overwrite=overwrite)
    drawn = document(charts, file_style())
    write_file(out, drawn.encode() if out.suffix.lower() == ".svg" else png(drawn))
    return out


def check_file(out: Path, endings: Sequence[str], *, overwrite: bool) -> None:
    """Refuse a file that cannot or must not be written.

    Raises:
        UsageError: The ending is none of these, the folder is not there, or the file is, without `overwrite`.
    """
    if out.suffix.lower() not in endings:
        raise UsageError(f"--out {str(out)!r}: end it in {' or '.join(endings)}")
    if not out.parent.is_dir():
        raise UsageError(f"--out {str(out)!r}: there is no folder {str(out.parent)!r}; make it first")
    if out.is_dir():
        raise UsageError(f"--out {str(out)!r} is a folder; name a file in it")
    if out.exists() and not overwrite:
        raise UsageError(f"{str(out)!r} is there already; write over it with --overwrite, or name another --out")


def write_file(out: Path, content: bytes) -> None:
    """Write a picture or a page, readable as other files are: it is made to be shown.

    Raises:
        UsageError: The folder refuses it.
    """
    try:
        write_whole(out, content)
        out.chmod(0o666 & ~_umask())
    except PermissionError as error:
        raise UsageError(f"--out {str(out)!r}: {error.strerror}; choose another place") from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
