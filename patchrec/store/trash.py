"""The trash: removed runs, out of every listing and whole until the trash is emptied.

A run in it keeps its rows, its folder and its name; only a row of `trash` says that it was removed. So removing and
taking back are one transaction each, and nothing is moved that could get lost on the way.
"""

import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from patchrec.errors import NotFoundError, UsageError, not_found, unknown
from patchrec.store.naming import PLAIN, now
from patchrec.store.process import is_alive

if TYPE_CHECKING:
    from sqlite_utils import Database

    from patchrec.store.connection import Store

OUT = "name NOT IN (SELECT run FROM trash)"
"""Holds for the runs that are not in the trash."""
_MIXING = """
SELECT DISTINCT runs.name FROM runs, json_each(runs.config, '$.parts') AS part
WHERE CASE part.type WHEN 'object' THEN part.value ->> '$.run' END = ? AND runs.name NOT IN (SELECT run FROM trash)
ORDER BY runs.id
"""


@dataclass(frozen=True, slots=True)
class Removal:
    """What goes with a run.

    Attributes:
        status: As it is stored.
        size: Of its folder, bytes.
        evaluations: How many it has.
        starts: Runs that began with its weights.
        mixed_by: Blends, and runs that read it: they ask it.
        removed_at: When it was put into the trash; None where it is not there.
        emptying: Emptying has begun: it cannot be taken back.
    """

    run: str
    status: str
    size: int
    evaluations: int
    starts: tuple[str, ...] = ()
    mixed_by: tuple[str, ...] = ()
    removed_at: str | None = None
    emptying: bool = False


class Trash:
    """The removed runs of a store."""

    def __init__(self, store: "Store") -> None:
        self._store = store

    def names(self) -> list[str]:
        """Names of the runs in it, those first that were made first."""
        return [name for (name,) in self._store.rows(f"SELECT name FROM runs WHERE NOT {OUT} ORDER BY id")]  # noqa: S608

    def about(self, names: Sequence[str]) -> list[Removal]:
        """What goes with some runs, in the trash or not. No configuration is read that could be damaged.

        Raises:
            NotFoundError: No such run.
        """
        with self._store.read() as db:
            return [self._about(db, name) for name in names]

    def _about(self, db: "Database", name: str) -> Removal:
        row = db.execute(
            "SELECT status, (SELECT count(*) FROM evaluations WHERE run = name), removed_at, coalesce(emptying, 0)"
            " FROM runs LEFT JOIN trash ON run = name WHERE name = ?",
            [name],
        ).fetchone()
        if row is None:
            raise self._unknown(name)
        status, evaluations, removed_at, emptying = row
        return Removal(
            name,
            status,
            size_of(self._folder(name)),
            evaluations,
            _begun_with(db, name),
            tuple(blend for (blend,) in db.execute(_MIXING, [name])),
            removed_at,
            bool(emptying),
        )

    def check(self, names: Sequence[str]) -> None:
        """Refuse to remove what cannot be removed.

        Raises:
            NotFoundError: No such run: the whole name is needed here, so that a slip removes nothing.
            UsageError: One is still running, or another run began with its weights and would stay.
        """
        with self._store.read() as db:
            self._check(db, names)

    def put(self, names: Sequence[str]) -> None:
        """Put runs into the trash, all of them or none.

        Raises:
            NotFoundError, UsageError: See `check`.
        """
        with self._store.write() as db:
            self._check(db, names)
            db.conn.executemany(
                "INSERT INTO trash (run, removed_at) VALUES (?, ?)", [(name, now()) for name in dict.fromkeys(names)]
            )

    def take_back(self, names: Sequence[str]) -> None:
        """Make runs of the trash runs like any other again, all of them or none.

        Raises:
            NotFoundError: One is not in the trash.
            UsageError: What one started from would stay there, or it is being emptied.
        """
        with self._store.write() as db:
            there = dict(db.execute("SELECT run, emptying FROM trash").fetchall())
            for name in names:
                if name not in there:
                    raise not_found(
                        "run in the trash", name, there, "`patchrec runs gc --dry-run` shows what is there."
                    )
                if there[name]:
                    raise UsageError(f"run {name!r} is being deleted; end that with `patchrec runs gc`")
                [(parent,)] = db.execute("SELECT parent FROM runs WHERE name = ?", [name])
                if parent in there and parent not in names:
                    raise UsageError(
                        f"run {name!r} started from {parent!r}, which is in the trash too; take both back: "
                        f"`patchrec runs restore {parent} {' '.join(dict.fromkeys(names))}`"
                    )
            db.conn.executemany("DELETE FROM trash WHERE run = ?", [(name,) for name in names])

    def empty(self, names: Collection[str] | None = None) -> None:
        """Delete runs of the trash for good, with losses, evaluations and folders; what fails is done by the next call.

        Args:
            names: Which; None: all that are in it now.

        Raises:
            UsageError: A run in the trash started from one that is to go.
            OSError: A folder cannot be deleted; the runs stay in the trash.
        """
        with self._store.write() as db:
            # From here on nothing is taken back: a run whose folder is half deleted is none.
            chosen = [name for (name,) in db.execute("SELECT run FROM trash") if names is None or name in names]
            rest = db.execute("SELECT name, parent FROM runs JOIN trash ON run = name").fetchall()
            for name, parent in rest:
                if parent in chosen and name not in chosen:
                    raise UsageError(f"run {name!r} in the trash started from {parent!r}; delete it too, or first")
            db.conn.executemany("UPDATE trash SET emptying = 1 WHERE run = ?", [(name,) for name in chosen])
        for name in chosen:
            folder = self._folder(name)
            if folder is not None and folder.is_symlink():
                folder.unlink()  # what it leads to was put there by somebody else
            elif folder is not None and folder.exists():
                shutil.rmtree(folder)
        with self._store.write() as db:
            marks = ", ".join("?" * len(chosen))
            # In one statement, since what started from one of them is among them.
            db.execute(f"DELETE FROM runs WHERE name IN ({marks})", chosen)  # noqa: S608

    def _check(self, db: "Database", names: Sequence[str]) -> None:
        known = self._store.runs.names()
        for name in names:
            if name not in known:
                raise self._unknown(name)
            [(status, *process)] = db.execute("SELECT status, host, pid, process FROM runs WHERE name = ?", [name])
            if status == "running" and is_alive(*process):
                raise UsageError(f"run {name!r} is still running; stop it first")
            if staying := [child for child in _begun_with(db, name) if child not in names]:
                raise UsageError(f"run {name!r} is the start of {', '.join(staying)}; remove those first, or with it")

    def _unknown(self, name: str) -> NotFoundError:
        known = self._store.runs.names()
        if name in self.names():
            return NotFoundError(f"run {name!r} is in the trash already; `patchrec runs gc` empties it")
        begin_so = [other for other in known if name and other.startswith(name)]
        why = "only a whole name removes a run" if begin_so else "list them with `patchrec runs ls`"
        return NotFoundError(unknown("run", name, begin_so or known, why))

    def _folder(self, name: str) -> Path | None:
        """The folder of a run; None for a name that would lead out of the store."""
        return self._store.run_folder(name) if PLAIN.fullmatch(name) else None


def _begun_with(db: "Database", name: str) -> tuple[str, ...]:
    """Runs that began with the weights of a run."""
    rows = db.execute(f"SELECT name FROM runs WHERE parent = ? AND {OUT} ORDER BY id", [name])  # noqa: S608
    return tuple(child for (child,) in rows)


def size_of(folder: Path | None) -> int:
    """Bytes of the files in a folder; what is deleted meanwhile counts as nothing, and links as themselves."""
    if folder is None or folder.is_symlink() or not folder.is_dir():
        return 0
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.lstat().st_size if not path.is_dir() or path.is_symlink() else 0
        except OSError:  # gone meanwhile
            continue
    return total
