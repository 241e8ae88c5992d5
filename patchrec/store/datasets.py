"""Data sets in the store: users and interactions, which one is current, and its loading into memory.

Its items are in `catalogs.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any

from patchrec.errors import CorruptError, NotFoundError, UsageError, not_found
from patchrec.store.naming import check_name, json_object, now

if TYPE_CHECKING:  # NumPy takes a tenth of a second that a listing must not wait for
    from patchrec.data.histories import Dataset, Sequences
    from patchrec.history import FloatArray, IntArray
    from patchrec.store.connection import Store

ROWS_AT_ONCE = 100_000
CHOSEN = "FROM users WHERE dataset = ? AND (? IS NULL OR user_id LIKE '%' || ? || '%' ESCAPE '\\')"
LIST_THEM = "list them with `patchrec data ls`"


@dataclass(frozen=True, slots=True)
class StoredUser:
    """One user of a data set.

    Attributes:
        interactions: How many.
        first, last: Timestamps, unix seconds; None without times.
    """

    user_id: str
    interactions: int
    first: int | None
    last: int | None


class Datasets:
    """The data sets of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(
        self,
        dataset: Dataset,
        *,
        source: str,
        licence: str,
        split: dict[str, Any],
        ratings: FloatArray | None = None,
        replace: bool = False,
    ) -> None:
        """Store a data set, all of it or nothing.

        Args:
            dataset: What to store, under `dataset.name`.
            source: Where it came from, in words.
            licence: What its owner allows, in words.
            split: The rule that made the splits, as plain JSON.
            ratings: (n,) ratings aligned with the interactions, NaN where there is none; None takes the sequences'.
            replace: Take the place of a data set of this name, which no run was made with.

        Raises:
            UsageError: The name is taken or not a name.
        """
        name = check_name("data set", dataset.name)
        sequences, catalog = dataset.sequences, dataset.catalog
        with self._store.write() as db:
            in_use = self.current() == name
            if replace and name in self.names():
                self.remove(name)
            if name in self.names():
                raise UsageError(
                    f"a data set {name!r} is there already; remove it with `patchrec data rm {name}` or choose a name"
                )
            db.table("datasets").insert(
                {
                    "name": name,
                    "source": source,
                    "licence": licence,
                    "noun": dataset.noun,
                    "verb": dataset.verb,
                    "split": json.dumps(split),
                    "min_history": dataset.min_history,
                    "catalog_fingerprint": catalog.fingerprint,
                    "sequences_fingerprint": sequences.fingerprint,
                    "summary": json.dumps(summarize(dataset)),
                    "created_at": now(),
                }
            )
            self._store.catalogs.insert(name, catalog)
            # executemany rather than insert_all: half a million rows in one second instead of ten.
            db.conn.executemany(
                "INSERT INTO users VALUES (?, ?, ?, ?, ?)",
                zip(
                    repeat(name),
                    range(len(sequences)),
                    sequences.user_ids,
                    sequences.train_stop.tolist(),
                    sequences.validation_stop.tolist(),
                    strict=False,
                ),
            )
            db.conn.executemany(
                "INSERT INTO interactions VALUES (?, ?, ?, ?, ?, ?, ?, 1)",
                _interaction_rows(name, sequences, sequences.ratings if ratings is None else ratings),
            )
            self._store.versions.note(name, 1, sequences, {})
            if in_use:
                self.use(name)

    def names(self) -> list[str]:
        """Names of all data sets, sorted."""
        return [name for (name,) in self._store.rows("SELECT name FROM datasets ORDER BY name")]

    def load(self, name: str) -> Dataset:
        """Read a data set into memory.

        Raises:
            NotFoundError: No such data set.
            CorruptError: What is stored is not what was added.
        """
        from patchrec.data.histories import Dataset

        with self._store.read():
            about = self.show(name)
            dataset = Dataset(
                name=name,
                catalog=self._store.catalogs.load(name),
                sequences=self._sequences(name),
                min_history=about["min_history"],
                noun=about["noun"],
                verb=about["verb"],
            )
        refuse_changed(name, dataset.fingerprints, about["fingerprints"])
        return dataset

    def load_as(self, name: str, fingerprint: str) -> Dataset:
        """Read a data set with today's catalog and the interactions of a version.

        Args:
            fingerprint: `Sequences.fingerprint` of that version; one that no version has gives today's.

        Raises:
            NotFoundError: No such data set. CorruptError: What is stored is not what was added.
        """
        with self._store.read():
            today = self.load(name)
            known = self._store.versions.find(name, fingerprint)
            if known is None or today.sequences.fingerprint == fingerprint:
                return today
            return replace(today, sequences=self._store.versions.sequences(name, known, today.sequences)[0])

    def show(self, name: str) -> dict[str, Any]:
        """What is known about a data set, without its rows.

        Raises:
            NotFoundError: No such data set.
        """
        rows = self._store.records("SELECT * FROM datasets WHERE name = ?", [name])
        if not rows:
            raise self._unknown(name)
        row = rows[0]
        return {
            "name": row["name"],
            "source": row["source"],
            "licence": row["licence"],
            "noun": row["noun"],
            "verb": row["verb"],
            "split": json_object(row["split"]),
            "min_history": row["min_history"],
            "fingerprints": {"catalog": row["catalog_fingerprint"], "sequences": row["sequences_fingerprint"]},
            "versions": [asdict(version) for version in self._store.catalogs.versions(name)],
            "data_versions": [asdict(version) for version in self._store.versions.all(name)],
            "summary": json_object(row["summary"]),
            "created_at": row["created_at"],
        }

    def users(self, name: str, match: str | None = None, limit: int | None = None) -> tuple[int, list[StoredUser]]:
        """How many users of a data set there are, and those, in order of first appearance.

        Args:
            name: Of the data set; an unknown one has none.
            match: Only ids that hold this text; A to Z in any case.
            limit: At most so many; None gives all.
        """
        pattern = None if match is None else "".join(f"\\{one}" if one in "\\%_" else one for one in match)
        with self._store.read() as db:
            number = db.execute(f"SELECT count(*) {CHOSEN}", [name, pattern, pattern]).fetchone()[0]
            rows = db.execute(
                "SELECT user_id, count(position), min(timestamp), max(timestamp)"  # noqa: S608 - our own words
                f" FROM (SELECT * {CHOSEN} ORDER BY user LIMIT coalesce(?, -1)) AS chosen"
                " LEFT JOIN interactions USING (dataset, user) GROUP BY user ORDER BY user",
                [name, pattern, pattern, limit],
            ).fetchall()
        return number, [StoredUser(*row) for row in rows]

    def refuse_used(self, name: str) -> None:
        """Refuse to take away a data set that runs were made with.

        Raises:
            UsageError: Names the runs, and the groups of seeds that they are of.
        """
        made = [row[0] for row in self._store.rows("SELECT name FROM runs WHERE dataset = ? ORDER BY id", [name])]
        removed = self._store.trash.names()
        runs = [run for run in made if run not in removed]
        if made and not runs:
            raise UsageError(
                f"data set {name!r} has {len(made)} runs in the trash, which could not be taken back without it; "
                f"delete them first: `patchrec runs gc {' '.join(made)}`"
            )
        if runs:
            shown = ", ".join(runs[:5]) + (f" and {len(runs) - 5} more" if len(runs) > 5 else "")
            groups = self._store.rows(
                "SELECT DISTINCT seed_group FROM runs WHERE dataset = ? AND seed_group IS NOT NULL"
                " AND name NOT IN (SELECT run FROM trash) ORDER BY id",
                [name],
            )
            of_groups = f", of groups of seeds {', '.join(group for (group,) in groups)}" if groups else ""
            raise UsageError(
                f"data set {name!r} has runs ({shown}){of_groups}; remove them first: `patchrec runs rm "
                f"{' '.join(reversed(runs))}`"
            )

    def remove(self, name: str) -> None:
        """Delete a data set.

        Raises:
            NotFoundError: No such data set.
            UsageError: Runs were made with it.
        """
        with self._store.write() as db:
            if name not in self.names():
                raise self._unknown(name)
            self.refuse_used(name)
            db.execute("DELETE FROM datasets WHERE name = ?", [name])
            db.execute("DELETE FROM settings WHERE key = 'dataset' AND value = ?", [name])

    def use(self, name: str) -> None:
        """Make a data set the current one.

        Raises:
            NotFoundError: No such data set.
        """
        with self._store.write() as db:
            if name not in self.names():
                raise self._unknown(name)
            db.execute("INSERT OR REPLACE INTO settings VALUES ('dataset', ?)", [name])

    def current(self) -> str | None:
        """Name of the current data set, if one was chosen."""
        rows = self._store.rows("SELECT value FROM settings WHERE key = 'dataset'")
        return rows[0][0] if rows else None

    def resolve(self, name: str | None) -> tuple[str, bool]:
        """The data set to work on: the named one, else the current one, else the only one.

        Returns:
            Its name, and whether it was picked rather than named (then tell the user).

        Raises:
            NotFoundError: No such data set, or none at all.
            UsageError: None is named and there are several.
        """
        names = self.names()
        if name is not None:
            if name not in names:
                raise self._unknown(name)
            return name, False
        picked = self.current() or (names[0] if len(names) == 1 else None)
        if picked is not None:
            return picked, True
        if not names:
            raise NotFoundError("there is no data set yet; add one: `patchrec data add ml-100k`")
        raise UsageError(
            f"which data set? choices: {', '.join(names)}; name one with --data, "
            f"or choose for good with `patchrec data use {names[0]}`"
        )

    def _unknown(self, name: str) -> Exception:
        return not_found("data set", name, self.names(), LIST_THEM)

    def _sequences(self, name: str) -> Sequences:
        import numpy as np

        from patchrec.data.histories import Sequences

        users = self._store.rows(
            "SELECT user_id, train_stop, validation_stop FROM users WHERE dataset = ? ORDER BY user", [name]
        )
        user_ids, train_stop, validation_stop = zip(*users, strict=True) if users else ((), (), ())
        # One flat iterator over all three columns: the fastest way from tuples into NumPy.
        flat = self._numbers("user, item, coalesce(timestamp, 0)", name, 3).reshape(-1, 3)
        offsets = np.zeros(len(users) + 1, dtype=np.int64)
        np.cumsum(np.bincount(flat[:, 0], minlength=len(users)), out=offsets[1:])
        timed = "SELECT 1 FROM interactions WHERE dataset = ? AND timestamp IS NOT NULL LIMIT 1"
        return Sequences(
            user_ids=user_ids,
            offsets=offsets,
            items=np.ascontiguousarray(flat[:, 1]),
            timestamps=np.ascontiguousarray(flat[:, 2]) if self._store.rows(timed, [name]) else None,
            train_stop=np.array(train_stop, dtype=np.int64),
            validation_stop=np.array(validation_stop, dtype=np.int64),
            sessions=self._sessions(name),
            ratings=self._ratings(name),
        )

    def _sessions(self, name: str) -> IntArray | None:
        """(n,) numbers of sessions; None where the data set names none."""
        some = "SELECT 1 FROM interactions WHERE dataset = ? AND session IS NOT NULL LIMIT 1"
        if not self._store.rows(some, [name]):
            return None
        found: IntArray = self._numbers("session", name, 1)
        return found

    def _ratings(self, name: str) -> FloatArray | None:
        """(n,) ratings, NaN where there is none; None where the data set has none."""
        import numpy as np

        some = "SELECT 1 FROM interactions WHERE dataset = ? AND rating IS NOT NULL LIMIT 1"
        if not self._store.rows(some, [name]):
            return None
        found: FloatArray = self._numbers("coalesce(rating, 9e999)", name, 1, "f8")  # SQLite knows infinity, and no NaN
        found[np.isinf(found)] = np.nan
        return found

    def _numbers(self, columns: str, name: str, width: int, kind: str = "i8") -> Any:
        """(n * width,) columns of all interactions of a data set, row by row."""
        import numpy as np

        ((count,),) = self._store.rows("SELECT count(*) FROM interactions WHERE dataset = ?", [name])
        with self._store.read() as db:
            found = db.execute(
                f"SELECT {columns} FROM interactions WHERE dataset = ? ORDER BY user, position",  # noqa: S608
                [name],
            )
            return np.fromiter(chain.from_iterable(found), dtype=kind, count=count * width)


def refuse_changed(name: str, found: dict[str, str], stored: dict[str, str]) -> None:
    """Refuse a data set whose fingerprints are not those that were stored with it.

    Raises:
        CorruptError: They differ.
    """
    if found != stored:
        raise CorruptError(
            f"data set {name!r} is not what was stored ({found} instead of {stored}); "
            f"remove it with `patchrec data rm {name}` and add it again"
        )


def summarize(dataset: Dataset) -> dict[str, Any]:
    """Counts of a data set: users, items (used, and those of the test split alone), interactions, and of each split."""
    import numpy as np

    from patchrec.config import SPLITS

    sequences = dataset.sequences
    lengths = np.diff(sequences.offsets)
    times = sequences.timestamps
    per_split, known = {}, np.zeros(len(dataset.catalog), dtype=np.bool_)
    for split in ("train", "validation"):
        known[sequences.items[sequences.places_of(split)]] = True
    for split in SPLITS:
        first, stop = sequences.all_bounds(split)
        targets = dataset.targets_per_user(split)
        per_split[split] = {
            "interactions": int((stop - first).sum()),
            "targets": int(targets.sum()),
            "users": int((targets > 0).sum()),
        }
    return {
        "users": len(sequences),
        "items": len(dataset.catalog),
        "items_used": len(np.unique(sequences.items)),
        "items_test_only": int((~known[np.unique(sequences.items)]).sum()),
        "titles": len(set(dataset.catalog.titles)),
        "interactions": len(sequences.items),
        "longest": int(lengths.max(initial=0)),
        "shortest": int(lengths.min()) if len(lengths) else 0,
        "first_timestamp": int(times.min()) if times is not None and len(times) else None,
        "last_timestamp": int(times.max()) if times is not None and len(times) else None,
        "splits": per_split,
    }


def _interaction_rows(
    name: str, sequences: Sequences, ratings: FloatArray | None
) -> Iterator[tuple[str, int, int, int, int | None, float | None, int | None]]:
    import numpy as np

    n = len(sequences.items)
    for start in range(0, n, ROWS_AT_ONCE):  # as Python objects they take many times the room
        block = slice(start, min(start + ROWS_AT_ONCE, n))
        places = np.arange(block.start, block.stop)
        users = np.searchsorted(sequences.offsets, places, side="right") - 1
        columns = (sequences.timestamps, ratings, sequences.sessions)
        times, scores, sessions = (repeat(None) if one is None else one[block].tolist() for one in columns)
        positions = (places - sequences.offsets[users]).tolist()
        items = sequences.items[block].tolist()
        yield from zip(repeat(name), users.tolist(), positions, items, times, scores, sessions, strict=False)
