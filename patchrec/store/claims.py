"""Which process is at which work, so that several share it: one takes a piece, and the others leave it alone."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from patchrec.store.process import is_alive, this_process

if TYPE_CHECKING:
    from patchrec.store.connection import Store


class Claims:
    """The claims of a store. They stand among its settings, and hold as long as their process lives.

    On another machine nobody can tell whether a process lives; its claims hold until it gives them back.
    """

    def __init__(self, store: "Store") -> None:
        self._store = store

    @contextmanager
    def held(self, work: str) -> Iterator[bool]:
        """Hold a piece of work, and give it back at the end; what is given is whether this process has it."""
        mine = self.take(work)
        try:
            yield mine
        finally:
            if mine:
                self.give_back(work)

    def take(self, work: str) -> bool:
        """Take a piece of work unless another living process has it; that of a dead one is taken over."""
        me = this_process()
        with self._store.write() as db:
            found = db.execute("SELECT value FROM settings WHERE key = ?", [_key(work)]).fetchone()
            if found is not None:
                owner = json.loads(found[0])
                if owner != list(me) and is_alive(*owner):
                    return False
            db.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", [_key(work), json.dumps(me)])
        return True

    def give_back(self, work: str) -> None:
        """Let others have a piece of work that this process took."""
        with self._store.write() as db:
            db.execute("DELETE FROM settings WHERE key = ? AND value = ?", [_key(work), json.dumps(this_process())])


def _key(work: str) -> str:
    return f"claim.{work}"
