"""Data sets that grow: their interactions are appended, and every version can be read again as it was.

An interaction knows the version that it came with. Its split changes with a new split of the whole data set alone, and
then the former one is kept if somebody needs it. So a version follows from today's rows, and its fingerprint proves it.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from patchrec.errors import CorruptError
from patchrec.store.naming import json_object, now

if TYPE_CHECKING:  # a listing tells versions, and doesn't wait for NumPy
    from sqlite_utils import Database

    from patchrec.data.catalog import Catalog
    from patchrec.data.growth import Growth
    from patchrec.data.histories import Dataset, Sequences
    from patchrec.history import IntArray
    from patchrec.store.connection import Store


@dataclass(frozen=True, slots=True)
class DataVersion:
    """The interactions of a data set until the next were appended, or it got a new split.

    Attributes:
        version: From 1.
        num_users: The first so many users. num_interactions: Of them.
        fingerprint: `Sequences.fingerprint` of these.
        account: What came with it: counts of `patchrec.data.growth.Growth.account`, and `resplit` where all splits are
            new; empty for the first.
        added_at: When.
    """

    version: int
    num_users: int
    num_interactions: int
    fingerprint: str
    account: dict[str, Any]
    added_at: str


class DataVersions:
    """The versions of a store's data sets, by name. Unknown names have none."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def all(self, dataset: str) -> list[DataVersion]:
        """Every version, the first one first; the last one is today's."""
        rows = self._store.rows(
            "SELECT version, num_users, num_interactions, fingerprint, account, added_at FROM data_versions"
            " WHERE dataset = ? ORDER BY version",
            [dataset],
        )
        return [
            DataVersion(version, users, interactions, fingerprint, json_object(account), added_at)
            for version, users, interactions, fingerprint, account, added_at in rows
        ]

    def find(self, dataset: str, fingerprint: str) -> DataVersion | None:
        """The newest version of a fingerprint, as the table has it; None where there is none."""
        return next((one for one in reversed(self.all(dataset)) if one.fingerprint == fingerprint), None)

    def note(self, dataset: str, version: int, sequences: Sequences, account: dict[str, Any]) -> None:
        """Note a version. Call it inside a write."""
        with self._store.write() as db:
            db.execute(
                "INSERT INTO data_versions VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    dataset,
                    version,
                    len(sequences),
                    len(sequences.items),
                    sequences.fingerprint,
                    json.dumps(account),
                    now(),
                ],
            )

    def sequences(self, dataset: str, version: DataVersion, today: Sequences) -> tuple[Sequences, IntArray]:
        """The interactions of a version, and (n,) where each of them stands among today's.

        Args:
            dataset: By name.
            version: Which.
            today: What is stored now, of the same snapshot.

        Raises:
            CorruptError: They are not those of its fingerprint.
        """
        import numpy as np

        from patchrec.data.growth import first_rows

        with self._store.read() as db:
            marks = np.fromiter(
                (mark for (mark,) in db.execute(_MARKS, [dataset])), dtype=np.int64, count=len(today.items)
            )
            later = db.execute(
                "SELECT min(version) FROM former_splits WHERE dataset = ? AND version >= ?", [dataset, version.version]
            ).fetchone()[0]
            stops = [today.train_stop, today.validation_stop]
            if later is not None:
                rows = db.execute(
                    "SELECT train_stop, validation_stop FROM former_splits WHERE dataset = ? AND version = ?"
                    " ORDER BY user",
                    [dataset, later],
                ).fetchall()
                stops = [np.array(column, dtype=np.int64) for column in zip(*rows, strict=True)]
        # stops count the interactions of the version that the split is of: today's, or the last one before another
        known = marks <= (later or marks.max(initial=1))
        place = np.concatenate([[0], np.cumsum(known)])[today.offsets]  # where each user begins among those
        mask = marks <= version.version
        counted = np.concatenate([[0], np.cumsum(mask[known])])
        starts = place[: version.num_users]
        own = [counted[starts + stop[: version.num_users]] - counted[starts] for stop in stops]
        found = first_rows(today, mask, version.num_users, own[0].astype(np.int64), own[1].astype(np.int64))
        if found.fingerprint != version.fingerprint:
            raise CorruptError(
                f"version {version.version} of data set {dataset!r} cannot be read as it was ({found.fingerprint} "
                f"instead of {version.fingerprint}); restore a copy of the store"
            )
        return found, np.flatnonzero(mask)

    def append(
        self, dataset: Dataset, growth: Growth, catalog: Catalog, *, split: dict[str, Any], min_history: int
    ) -> None:
        """Write the next version of a data set, all of it or nothing. Call it inside a write that checked `dataset`.

        Args:
            dataset: As it is stored.
            growth: What comes.
            catalog: The whole one from now on; it begins with the stored one.
            split: What the data set says of its split from now on; where its rule or cuts are others than those that
                are stored, the former splits are kept.
        """
        import numpy as np

        from patchrec.store.datasets import summarize

        name, old, new = dataset.name, dataset.sequences, growth.sequences
        grown = replace(dataset, catalog=catalog, sequences=new, min_history=min_history)
        with self._store.write() as db:
            version = self.all(name)[-1].version
            if len(catalog) > len(dataset.catalog):
                self._store.catalogs.insert(name, catalog, start=len(dataset.catalog))
            is_new_split = bool((_stops(growth, old) != np.stack([old.train_stop, old.validation_stop])).any())
            if is_new_split and self._is_in_use(db, name):
                db.execute(
                    "INSERT INTO former_splits SELECT dataset, ?, user, train_stop, validation_stop FROM users"
                    " WHERE dataset = ?",
                    [version, name],
                )
            self._insert(db, name, old, growth, version + 1)
            _write_users(db, name, old, new)
            account = {**growth.account, **({"resplit": True} if is_new_split else {})}
            self.note(name, version + 1, new, account)
            db.execute(
                "UPDATE datasets SET split = ?, min_history = ?, catalog_fingerprint = ?, sequences_fingerprint = ?,"
                " summary = ? WHERE name = ?",
                [
                    json.dumps(split),
                    min_history,
                    catalog.fingerprint,
                    new.fingerprint,
                    json.dumps(summarize(grown)),
                    name,
                ],
            )

    def _is_in_use(self, db: Database, name: str) -> bool:
        """Whether a run or an evaluation is of a version since the last new split."""
        last = "SELECT coalesce(max(version), 0) FROM former_splits WHERE dataset = ?"
        since = int(db.execute(last, [name]).fetchone()[0])
        prints = {version.fingerprint for version in self.all(name) if version.version > since}
        used = {mark for statement in _USES for (mark,) in db.execute(statement, [name])}
        return None in used or not used.isdisjoint(prints)

    def _insert(self, db: Database, name: str, old: Sequences, growth: Growth, version: int) -> None:
        """Write the new interactions; stored ones that late ones stand before move on."""
        import numpy as np

        lengths = np.append(np.diff(old.offsets), np.zeros(len(growth.sequences) - len(old), dtype=np.int64))
        late = np.flatnonzero(growth.before < lengths[growth.users]).tolist()
        for user, places in groupby(late, key=lambda place: int(growth.users[place])):
            befores = [int(growth.before[place]) for place in places]
            after = [name, user, befores[0]]
            stored = db.execute(f"SELECT * {_AFTER} ORDER BY position", after).fetchall()
            db.execute(f"DELETE {_AFTER}", after)
            db.conn.executemany(
                _NEW_ROW,
                [(*row[:2], row[2] + bisect_right(befores, row[2]), *row[3:]) for row in stored],
            )
        db.conn.executemany(_NEW_ROW, _rows(name, growth, version))


_USES = (
    "SELECT fingerprints ->> 'split' FROM runs WHERE dataset = ?",
    "SELECT DISTINCT evaluations.config ->> 'data' FROM evaluations JOIN runs ON name = run WHERE dataset = ?",
)
"""Fingerprints that runs and evaluations have; NULL of those from before data sets could grow."""
_NEW_ROW = "INSERT INTO interactions VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_AFTER = "FROM interactions WHERE dataset = ? AND user = ? AND position >= ?"
_MARKS = "SELECT version FROM interactions WHERE dataset = ? ORDER BY user, position"


def _stops(growth: Growth, old: Sequences) -> Any:
    """(2, U) how many stored interactions of each stored user are train, and train or validation, from now on."""
    import numpy as np

    new = growth.sequences
    stored = np.ones(len(new.items), dtype=np.bool_)
    stored[new.offsets[growth.users] + growth.positions] = False
    counted = np.concatenate([[0], np.cumsum(stored)])
    starts = new.offsets[: len(old)]
    return np.stack(
        [counted[starts + stop[: len(old)]] - counted[starts] for stop in (new.train_stop, new.validation_stop)]
    )


def _write_users(db: Database, name: str, old: Sequences, new: Sequences) -> None:
    """Write new users, and the ends of splits that are others than before."""
    ends = list(zip(new.train_stop.tolist(), new.validation_stop.tolist(), strict=True))
    before = zip(old.train_stop.tolist(), old.validation_stop.tolist(), strict=True)
    db.conn.executemany(
        "UPDATE users SET train_stop = ?, validation_stop = ? WHERE dataset = ? AND user = ?",
        ((*ends[user], name, user) for user, end in enumerate(before) if end != ends[user]),
    )
    db.conn.executemany(
        "INSERT INTO users VALUES (?, ?, ?, ?, ?)",
        ((name, user, new.user_ids[user], *ends[user]) for user in range(len(old), len(new))),
    )


def _rows(name: str, growth: Growth, version: int) -> Iterator[tuple[Any, ...]]:
    sequences = growth.sequences
    for number, place in enumerate((sequences.offsets[growth.users] + growth.positions).tolist()):
        rating = None if growth.ratings is None else float(growth.ratings[number])
        yield (
            name,
            int(growth.users[number]),
            int(growth.positions[number]),
            int(sequences.items[place]),
            None if sequences.timestamps is None else int(sequences.timestamps[place]),
            rating,  # SQLite keeps no NaN: it is NULL
            None if sequences.sessions is None else int(sequences.sessions[place]),
            version,
        )
