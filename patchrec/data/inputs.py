"""From what a user names to the files that are read: a file, a folder of parts, a pattern, an archive, or `-`.

The order is stated: as named; within a folder, a pattern or an archive by path. Archives are read member by member,
never extracted.
"""

import fnmatch
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath, PurePosixPath
from typing import BinaryIO, cast

from patchrec.data.lines import DAMAGED, reading, unpacked
from patchrec.data.lines import member as opened_member
from patchrec.errors import InputError, UsageError

PACKINGS = (".gz", ".bz2", ".xz", ".zst")
WORKBOOKS = (".xlsx", ".xls", ".xlsm", ".xlsb", ".ods")
STDIN = "-"
_IN_MEMORY = 64 << 20  # bytes of standard input that stay there


@dataclass(slots=True)
class Part:
    """One file of a table.

    Attributes:
        name: In messages.
        path: Of the file, or of the archive that it lies in; None for standard input.
        member: Its name in the archive.
        size: Bytes, packed as they are; 0 where nobody knows.
    """

    name: str
    path: Path | None
    _packed: Callable[[], BinaryIO]
    size: int = 0
    member: str | None = None
    _opened: BinaryIO | None = None

    def open(self) -> BinaryIO:
        """Open it, unpacked."""
        self._opened = self._packed()
        return unpacked(self._opened, self.name)

    def position(self) -> int:
        """Bytes of `size` that were read since it was opened last."""
        return 0 if self._opened is None or self._opened.closed else self._opened.tell()

    def is_empty(self) -> bool:
        """Whether nothing is in it once it is unpacked; what cannot be unpacked is something."""
        try:
            with self.open() as stream:
                return not stream.read(1)
        except (OSError, EOFError, InputError, *DAMAGED):
            return False

    @property
    def ending(self) -> str:
        """Of its name (see `ending_of`)."""
        return ending_of(self.name)


def ending_of(name: str) -> str:
    """The ending of a file's name, in lower case, that of a packing left out."""
    path = PurePath(name)
    return PurePath(path.stem if path.suffix.lower() in PACKINGS else path.name).suffix.lower()


def find_parts(
    named: Sequence[str], known: Mapping[str, str], stack: ExitStack, *, any_ending: bool = False
) -> list[Part]:
    """The files that are meant, in the order in which they are read.

    Args:
        named: Files, folders, patterns (`logs/*.csv`), archives (`log.zip`, `log.zip/2024/*.csv`), or `-`.
        known: Endings of files that are tables, with their formats, for folders and archives.
        stack: Closes archives.
        any_ending: Folders and archives are read whole, because the format is named.

    Raises:
        InputError: There is no such file, a folder or an archive holds none, or of several formats.
        UsageError: A file is there twice.
    """
    found: list[Part] = []
    for one in named:
        found += _parts_of(one, known, stack, any_ending)
    seen: set[object] = set()
    for part in found:
        place = (part.path.resolve(), part.member) if part.path is not None else part.name
        if place in seen:
            raise UsageError(f"{part.name!r}: --interactions or --items names a file twice; give each once")
        seen.add(place)
    return _told_apart(found)


def _told_apart(parts: list[Part]) -> list[Part]:
    """Parts whose names tell them apart: where two files of different folders have one name, with their paths."""
    names = [part.name for part in parts]
    for part in parts:
        if names.count(part.name) > 1 and part.path is not None:
            part.name = part.path.as_posix() + (f"/{part.member}" if part.member else "")
    return parts


def below(root: Path, patterns: Sequence[str]) -> list[str]:
    """What patterns name below a folder or an archive, or beside a file, packed or not.

    Args:
        root: The folder, the archive, or one of the files.
        patterns: Names or patterns; `a|b` takes the first that is there, and what lies deeper is taken where nothing
            lies in place.

    Raises:
        InputError: One is not there.
    """
    with reading(str(root)):
        if not root.exists():
            raise InputError(f"no file or folder {str(root)!r}; check the path")
        archive = root.is_file() and zipfile.is_zipfile(root)
        if archive:
            with zipfile.ZipFile(root) as opened:
                names = _members(opened)
        else:
            folder = root if root.is_dir() else root.parent
            names = _in_folder(folder)
    found: list[str] = []
    for pattern in patterns:
        if pattern == STDIN or Path(pattern).is_absolute() or (not archive and (folder / pattern).exists()):
            found.append(pattern if pattern == STDIN else str(folder / pattern) if not archive else pattern)
            continue
        matches: list[str] = []
        for alternative in pattern.split("|"):
            matches = [name for name in names if _is(name, alternative)]
            in_place = [name for name in matches if name.count("/") == alternative.count("/")]
            matches = in_place or matches
            if matches:
                break
        if not matches:
            raise InputError(f"{str(root)!r} does not hold {pattern.replace('|', ' or ')}; give the folder that does")
        found += [f"{root}/{name}" if archive else str(folder / name) for name in matches]
    return found


def _is(name: str, pattern: str) -> bool:
    """Whether a path ends in a pattern, packed or not, wherever it begins."""
    deep = pattern.count("/") + 1
    last = "/".join(PurePosixPath(name).parts[-deep:])
    return any(fnmatch.fnmatchcase(last, pattern + packing) for packing in ("", *PACKINGS, ".zip"))


def _parts_of(named: str, known: Mapping[str, str], stack: ExitStack, any_ending: bool) -> list[Part]:
    if named == STDIN:
        return [_standard_input(stack)]
    path = Path(named)
    with reading(named):
        if path.is_dir():
            parts = [_file(path / name, (PurePath(path.name) / name).as_posix()) for name in _in_folder(path)]
            return _tables(f"folder {named!r}", parts, known, any_ending)
        if path.is_file():
            if path.suffix.lower() in WORKBOOKS:
                kind = "a workbook" if path.suffix.lower() == ".ods" else "an Excel workbook"
                raise InputError(f"{named!r} is {kind}; save its sheet as CSV and give that")
            if path.stat().st_size == 0:
                raise InputError(f"{named!r} is empty; give a file with a header and rows")
            if path.suffix.lower() == ".zip":
                return _in_archive(path, "", known, stack, any_ending)
            return [_file(path, path.name)]
        above = next((parent for parent in path.parents if parent.suffix.lower() == ".zip" and parent.is_file()), None)
        if above is not None:
            return _in_archive(above, path.relative_to(above).as_posix(), known, stack, any_ending)
        if any(sign in named for sign in "*?["):
            return _matching(path, named, known, stack, any_ending)
    raise InputError(f"no file {named!r}; check the path")


def _matching(path: Path, named: str, known: Mapping[str, str], stack: ExitStack, any_ending: bool) -> list[Part]:
    """The files of a pattern, by path."""
    anchor = Path(path.anchor or ".")
    pattern = path.relative_to(anchor).as_posix() if path.anchor else path.as_posix()
    hidden = [match.relative_to(anchor) for match in anchor.glob(pattern) if match.is_file() and match.stat().st_size]
    found = [anchor / match for match in sorted(hidden) if not _is_hidden(match.parts, Path(pattern).parts)]
    if not found:
        raise InputError(f"no file matches {named!r}; check the pattern")
    parts = []
    for match in found:
        archive = match.suffix.lower() == ".zip"
        parts += _in_archive(match, "", known, stack, any_ending) if archive else [_file(match, match.name)]
    return parts


def _is_hidden(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether a path goes through a hidden name that its pattern does not spell out, as shells have it."""
    return any(part.startswith(".") and part not in pattern for part in parts)


def _in_folder(folder: Path) -> list[str]:
    """Files of a folder and those below, by path, without hidden ones and a writer's marks (`_SUCCESS`)."""
    found = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
    return [name.as_posix() for name in found if not any(part[0] in "._" for part in name.parts)]


def _members(archive: zipfile.ZipFile) -> list[str]:
    names = sorted(info.filename for info in archive.infolist() if not info.is_dir())
    return [name for name in names if not any(part[0] in "._" for part in PurePosixPath(name).parts)]


def _in_archive(path: Path, pattern: str, known: Mapping[str, str], stack: ExitStack, any_ending: bool) -> list[Part]:
    archive = stack.enter_context(zipfile.ZipFile(path))
    inside = (pattern.rstrip("/"), f"{pattern.rstrip('/')}/*")
    names = [name for name in _members(archive) if not pattern or any(map(partial(fnmatch.fnmatchcase, name), inside))]
    if not names:
        some = ", ".join(_members(archive)[:5]) or "nothing"
        raise InputError(f"{str(path)!r} has no member {pattern!r}; it holds {some}")

    def member(name: str) -> Part:
        def open_member() -> BinaryIO:
            return opened_member(archive, name)

        return Part(f"{path.name}/{name}", path, open_member, archive.getinfo(name).file_size, name)

    parts = [member(name) for name in names]
    return parts if pattern and len(parts) == 1 else _tables(repr(str(path)), parts, known, any_ending)


def _tables(where: str, parts: list[Part], known: Mapping[str, str], any_ending: bool) -> list[Part]:
    """The files of a folder or an archive that are tables, all of one format."""
    parts = [part for part in parts if not part.is_empty()]
    tables = parts if any_ending or len(parts) == 1 else [part for part in parts if part.ending in known]
    endings = sorted({part.ending for part in tables})
    formats = {known.get(ending, ending) for ending in endings}
    if not tables:
        some = ", ".join(part.name for part in parts[:5]) or "nothing"
        raise InputError(f"{where} holds no file that reads as a table ({some}); name one, or say --format")
    if len(formats) > 1 and not any_ending:
        raise InputError(
            f"{where} holds files of several formats ({', '.join(endings)}); name those that are meant, such as "
            f"{Path(tables[0].name).name!r} or '*{tables[0].ending}'"
        )
    return tables


def _file(path: Path, name: str) -> Part:
    return Part(name, path, partial(_opened, path), path.stat().st_size)


def _opened(path: Path) -> BinaryIO:
    return path.open("rb")


def _standard_input(stack: ExitStack) -> Part:
    """Standard input, kept while it is needed, since some formats are read twice."""
    kept = cast(BinaryIO, stack.enter_context(tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)))  # noqa: SIM115 - whoever reads it closes it
    filled = False

    def open_again() -> BinaryIO:
        nonlocal filled
        if not filled:
            while chunk := sys.stdin.buffer.read(1 << 20):
                kept.write(chunk)
            filled = True
        kept.seek(0)
        return kept

    return Part(STDIN, None, open_again)
