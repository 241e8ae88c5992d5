"""Which plugins a run was made with, in the store. Runs of before this was noted have none."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from sqlite_utils import Database

    from patchrec.store.connection import Store

Role = Literal["strategy", "recommender"]


@dataclass(frozen=True, slots=True)
class RunPlugin:
    """What a run took from a plugin.

    Attributes:
        role: What it brought.
        name: Of the strategy or the kind of recommender.
        package, version: Its distribution; None where it did not say.
        layouts: Fingerprint of a strategy's layouts with the run's options; None where they are not certain, and for
            kinds.
    """

    role: Role
    name: str
    package: str | None = None
    version: str | None = None
    layouts: str | None = None


def insert_plugins(db: "Database", run: str, plugins: Sequence[RunPlugin]) -> None:
    """Note the plugins of a new run, in the order of its configuration. Call it inside a write."""
    db.conn.executemany(
        "INSERT INTO plugins VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(run, number, *astuple(plugin)) for number, plugin in enumerate(plugins)],
    )


def read_plugins(store: "Store", run: str) -> list[RunPlugin]:
    """The plugins noted of a run, in the order of its configuration."""
    rows = store.rows("SELECT role, name, package, version, layouts FROM plugins WHERE run = ? ORDER BY number", [run])
    return [RunPlugin(*row) for row in rows]
