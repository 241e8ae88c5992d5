"""The files of a source, in a folder or inside a zip archive. Archives are read member by member, never extracted."""

import gzip
import zipfile
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Self, cast

from patchrec.data.lines import member, open_bytes, reading
from patchrec.errors import InputError

MAX_SOURCE_BYTES = 256 << 20
"""Of one file, unpacked: ten times the largest that we know by name."""
MAX_SOURCE_LINES = 1 << 24
"""Of one file: sixteen times the most that we know."""


class SourceFiles:
    """Files by their last name, wherever in the folder (or one folder below) or archive they lie.

    A path to a file that is no archive stands for the folder it lies in.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stack = ExitStack()
        self._archive: zipfile.ZipFile | None = None
        with reading(str(path)):
            if path.is_dir():
                self._names = _in_folder(path)
            elif zipfile.is_zipfile(path):
                self._archive = self._stack.enter_context(zipfile.ZipFile(path))
                self._names = _by_last_name(self._archive.namelist())
            elif path.is_file():
                self._names = _in_folder(path.parent)
            else:
                raise InputError(f"no file or folder {str(path)!r}; check the path")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def first_of(self, *names: str) -> str | None:
        """The first of these file names that is there."""
        return next((name for name in names if name in self._names), None)

    def lines(self, name: str) -> list[bytes]:
        """Lines of a file without their ends, unpacked where its name ends in `.gz`.

        Raises:
            InputError: The file is not there, there twice, damaged or far too large.
        """
        with reading(name), self._open(name) as stream:
            content = stream.read(MAX_SOURCE_BYTES + 1)
        if len(content) > MAX_SOURCE_BYTES:
            raise InputError(f"{name!r} is larger than {MAX_SOURCE_BYTES >> 20} MiB unpacked; is this the right file?")
        if content.count(b"\n") > MAX_SOURCE_LINES:
            raise InputError(f"{name!r} has more than {MAX_SOURCE_LINES:,} lines; is this the right file?")
        return content.splitlines()

    def _open(self, name: str) -> BinaryIO:
        places = self._names.get(name, [])
        if len(places) != 1:
            found = f"{len(places)} times ({', '.join(places[:3])})" if places else "not there"
            raise InputError(f"{str(self.path)!r} should hold {name!r} once, but it is {found}")
        with reading(name):
            if self._archive is None:
                return open_bytes(Path(places[0]))
            stream = member(self._archive, places[0])
            return cast(BinaryIO, gzip.open(stream)) if name.endswith(".gz") else stream


def _by_last_name(paths: list[str]) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for path in paths:
        if not path.endswith("/"):
            names.setdefault(PurePosixPath(path).name, []).append(path)
    return names


def _in_folder(folder: Path) -> dict[str, list[str]]:
    """Files of a folder; where it holds none but folders, the files of those."""
    here = [str(path) for path in sorted(folder.iterdir()) if path.is_file()]
    below = [str(path) for path in sorted(folder.glob("*/*")) if path.is_file()]
    return _by_last_name(here or below)
