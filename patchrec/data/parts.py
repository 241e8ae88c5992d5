"""A long job's work in parts, so that a killed job goes on where it was and every row comes out exactly once.

    recs.parquet.parts/plan.json             what the job is: another one never takes these parts for its own
                       part-000003.jsonl     users, their items, scores and probabilities, and a digest of it all
                       merged.json           digest of the output, written just before that appears

Every file is whole or absent, and a part is used only if its digest and its plan are right. This file knows files and
numbers: no model, no format of the output.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

from patchrec.data.sealed import read_sealed, seal
from patchrec.data.whole_files import flush, sha256, write_whole
from patchrec.errors import CorruptError, UsageError

_PLAN = "plan.json"
_MERGED = "merged.json"
_OURS = (_PLAN, _MERGED, "part-*.jsonl", ".*.unfinished", "process-*.lock")


@dataclass(frozen=True, slots=True)
class UserRanking:
    """One user's ranking.

    Attributes:
        place: Of the user in the output, from 0.
        items: Catalog indices, best first.
        scores: Of the items.
        probabilities: Of the items; None where they are not known.
    """

    place: int
    items: list[int]
    scores: list[float]
    probabilities: list[float | None]


@dataclass(eq=False)
class Parts:
    """The folder of a job's parts.

    Attributes:
        folder: Where they are.
        plan: Everything that decides what the parts hold, as plain JSON data.
    """

    folder: Path
    plan: Mapping[str, Any]
    _lock: BinaryIO | None = field(default=None, repr=False)

    @cached_property
    def digest(self) -> str:
        """sha256 of the plan (hex, 16 digits)."""
        return hashlib.sha256(_dump(self.plan)).hexdigest()[:16]

    @property
    def is_begun(self) -> bool:
        """Whether there is a plan of some job."""
        return (self.folder / _PLAN).exists()

    def saved_plan(self) -> dict[str, Any] | None:
        """The plan of the job whose parts are there; None where there is none.

        Raises:
            CorruptError: It is not what was written.
        """
        return _read(self.folder / _PLAN, "--restart")

    def claim(self, process: int) -> None:
        """Make the folder where it is missing, and be the only one at it as this process of the job until `release`.

        Raises:
            UsageError: It holds what is not ours, or another one is at it.
        """
        strangers = self._strangers()
        if strangers:
            raise UsageError(
                f"{str(self.folder)!r} holds {strangers[0]!r}, which is of no job of patchrec; "
                "move it away, or name another --output"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            import fcntl
        except ImportError:  # Windows: two at once do the work twice, and nothing worse
            return
        self._lock = (self.folder / f"process-{process}.lock").open(
            "ab"
        )  # which the system gives back when a process ends
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                f"another process is at {str(self.folder)!r}; wait for it, stop it, or name another --output"
            ) from error
        except OSError:  # a file system without locks
            return

    def release(self) -> None:
        """Let others be at it."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def begin(self) -> None:
        """Note the plan. Parts of the same plan stay, those of another one are never read."""
        if self.saved_plan() != self.plan:
            write_whole(self.folder / _PLAN, seal({_PLAN: self.plan}))

    def write(self, number: int, rankings: Sequence[UserRanking]) -> None:
        """Write a part; it is there whole when this returns."""
        head = {"plan": self.digest, "part": number}
        lines = [head, *([each.place, each.items, each.scores, each.probabilities] for each in rankings)]
        content = b"".join(_dump(line) + b"\n" for line in lines)
        seal = hashlib.sha256(content).hexdigest().encode() + b"\n"
        write_whole(self._path(number), content + seal)

    def read(self, number: int, places: Sequence[int]) -> list[UserRanking] | None:
        """Read a part; None where it is absent, torn, or not this part of this plan.

        Args:
            places: The users that it must hold, in this order.
        """
        try:
            content = self._path(number).read_bytes()
        except FileNotFoundError:
            return None
        body, seal = content[:-65], content[-65:]
        if seal != hashlib.sha256(body).hexdigest().encode() + b"\n":
            return None
        head, *lines = (json.loads(line) for line in body.splitlines())
        if head != {"plan": self.digest, "part": number} or [line[0] for line in lines] != list(places):
            return None
        return [UserRanking(*line) for line in lines]

    def has(self, number: int) -> bool:
        """Whether a part has appeared; `read` tells whether it is right."""
        return self._path(number).exists()

    def publish(self, output: Path, fill: Callable[[Path], None], facts: Callable[[], Mapping[str, Any]]) -> None:
        """Let `fill` write the output beside the parts, and make it appear in its place at once, whole.

        Args:
            facts: What `published` tells of it, as plain JSON data; asked for once it is filled.
        """
        merged = self.folder / ".merged.unfinished"
        fill(merged)
        flush(merged)
        record = {"plan": self.digest, "output": sha256(merged), "facts": facts()}
        write_whole(self.folder / _MERGED, seal({_MERGED: record}))
        merged.replace(output)
        flush(output.parent)

    def published(self, output: Path) -> dict[str, Any] | None:
        """The facts of the output where it is what this job wrote and only clearing up is left; else None.

        Raises:
            CorruptError: The note of it is not what was written.
        """
        record = _read(self.folder / _MERGED, "--restart --overwrite") if output.exists() else None
        if record is None or record["plan"] != self.digest or record["output"] != sha256(output):
            return None
        facts: dict[str, Any] = record["facts"]
        return facts

    def clear(self) -> None:
        """Throw away what is done: parts before the plan that tells whose they are, the note of the output last."""
        last = (_PLAN, _MERGED)
        for path in sorted(self._own(), key=lambda path: last.index(path.name) if path.name in last else -1):
            if path.suffix != ".lock":
                path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Throw everything away, and the folder unless somebody put files of their own there."""
        self.clear()
        for path in list(self._own()):
            path.unlink(missing_ok=True)
        with suppress(OSError):
            self.folder.rmdir()

    def _own(self) -> Iterator[Path]:
        for pattern in _OURS:
            yield from self.folder.glob(pattern)

    def _strangers(self) -> list[str]:
        if not self.folder.exists():
            return []
        own = {path.name for path in self._own()}
        return sorted(path.name for path in self.folder.iterdir() if path.name not in own)

    def _path(self, number: int) -> Path:
        return self.folder / f"part-{number:06d}.jsonl"


def parts_folder(output: Path) -> Path:
    """Where the parts of an output are kept while it is made: beside it."""
    return output.with_name(f"{output.name}.parts")


def _read(path: Path, again: str) -> dict[str, Any] | None:
    """What a file of a job holds; None where there is none."""
    if not path.exists():
        return None
    record: dict[str, Any] | None = (read_sealed(path) or {}).get(path.name)  # which one cannot take for the other
    if record is None:
        raise CorruptError(f"{str(path)!r} is damaged; the same command with {again} makes everything anew")
    return record


def _dump(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
