"""What users call a run and say of it: a name of their own, a note, tags."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from patchrec.errors import UsageError
from patchrec.store.naming import check_name

if TYPE_CHECKING:
    from sqlite_utils import Database

MOST_LETTERS = 10_000  # of a note
NUMBERED = re.compile(r"(.+)-([1-9][0-9]{0,17})")  # what a run is called that nobody named
RESERVED = ("none",)  # `--from none` is the backbone


@dataclass(frozen=True, slots=True)
class Marks:
    """What a user says of a run, whatever it is.

    Attributes:
        name: Its name; None counts up: `pft-s-1`, `pft-s-2`.
        note: A text. None: nothing is said of it; an empty one takes a note away.
        tags: Words to find it by.
    """

    name: str | None = None
    note: str | None = None
    tags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot be kept.

        Raises:
            UsageError: A name or tag that is none, a note that is too long or no text.
        """
        if self.name is not None and check_name("run", self.name).casefold() in RESERVED:
            raise UsageError(f"{self.name!r} cannot name a run, for `--from {self.name}` means none; choose another")
        for tag in self.tags:
            check_name("tag", tag)
        check_note(self.note)

    @property
    def given(self) -> dict[str, object]:
        """What was said, as options are named."""
        said = {"name": self.name, "note": self.note, "tag": self.tags or None}
        return {key: value for key, value in said.items() if value is not None}


def check_note(note: str | None) -> None:
    """Refuse a note that the store cannot keep.

    Raises:
        UsageError: It is too long, or holds what is no text.
    """
    if note is None:
        return
    if len(note) > MOST_LETTERS:
        raise UsageError(f"a note has at most {MOST_LETTERS:,} letters, got {len(note):,}; keep the rest elsewhere")
    try:
        note.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"a note is text in UTF-8, and letter {error.start + 1} of this one is none") from error


NO_MARKS = Marks()


def put(db: "Database", run: str, note: str | None, tags: Collection[str], without: Collection[str] = ()) -> None:
    """Set a run's note, where one is given, and add and take away tags. Inside a transaction."""
    if note is not None:
        db.execute("DELETE FROM notes WHERE run = ?", [run])
        if note:
            db.execute("INSERT INTO notes VALUES (?, ?)", [run, note])
    db.conn.executemany("DELETE FROM tags WHERE run = ? AND tag = ?", [(run, tag) for tag in without])
    db.conn.executemany("INSERT OR IGNORE INTO tags VALUES (?, ?)", [(run, tag) for tag in tags])


def claim(db: "Database", name: str) -> str:
    """Take a name for a run, for good: a name is never given twice. Inside a transaction.

    Raises:
        UsageError: A run has it, or had it.
    """
    if is_taken(db, name):
        row = db.execute("SELECT name FROM runs WHERE name = ? COLLATE NOCASE", [name]).fetchone()
        there = "a run had it before, and no name is given twice"
        if row is not None:
            trashed = db.execute("SELECT 1 FROM trash WHERE run = ?", [row[0]]).fetchone()
            there = f"run {row[0]!r} " + ("in the trash has it" if trashed else "has it")
        raise UsageError(f"--name {name}: {there}; choose another, or see `patchrec runs ls`")
    db.execute("INSERT INTO settings VALUES ('named.' || lower(?), '1')", [name])
    return name


def is_taken(db: "Database", name: str) -> bool:
    """Whether a run has or had this name, in whatever case: folders of some systems do not tell cases apart."""
    known = (
        "SELECT EXISTS (SELECT 1 FROM runs WHERE name = ?1 COLLATE NOCASE)"
        " OR EXISTS (SELECT 1 FROM settings WHERE key = 'named.' || lower(?1))"
    )
    if db.execute(known, [name]).fetchone()[0]:
        return True
    counted = NUMBERED.fullmatch(name)
    if counted is None:
        return False
    given = "SELECT max(CAST(value AS INTEGER)) FROM settings WHERE key = 'runs.' || ? COLLATE NOCASE"
    return int(counted[2]) <= (db.execute(given, [counted[1]]).fetchone()[0] or 0)
