"""A new folder that is there whole or not at all."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from patchrec.errors import UsageError
from patchrec.model.disk import disk_errors


def refuse_used(folder: Path) -> Path:
    """The whole path of a folder that may be written.

    Raises:
        UsageError: Something is there.
    """
    folder = folder.expanduser().resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{str(folder)!r} is not empty; name a new folder")
    return folder


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Give a folder to write into, which takes its place once the block ends well.

    Raises:
        OutOfResourcesError: The disk is full. PatchrecError: The system refuses anything else.
    """
    with disk_errors(f"writing {str(folder)!r}", "nothing was left there", "try again or name another folder"):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".export-") as temporary:
            work = Path(temporary) / "folder"
            work.mkdir()
            yield work
            if folder.exists():
                folder.rmdir()
            shutil.move(work, folder)
