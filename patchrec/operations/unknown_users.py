"""Users whom the data set does not have: refused, left out, or given what a run makes of no history at all."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal
from weakref import WeakKeyDictionary

import numpy as np

from patchrec.data.histories import Dataset, list_users
from patchrec.data.whole_files import write_whole
from patchrec.errors import NotFoundError, UsageError
from patchrec.history import IntArray
from patchrec.model.disk import disk_errors
from patchrec.operations.load import LoadedRun
from patchrec.plugins import find_kind
from patchrec.recommender import Recommender

Unknown = Literal["error", "skip", "popular"]
Source = Literal["model", "empty history", "popularity"]
MODEL: Source = "model"
NOBODY = -1
"""Index of a user whom the data set does not have."""
_STAND_INS: "WeakKeyDictionary[LoadedRun, tuple[Source, Recommender]]" = WeakKeyDictionary()


def stand_in(loaded: LoadedRun) -> tuple[Source, Recommender]:
    """Who answers where there is no history, and what that is called.

    The run itself where its kind says something then (`Kind.empty_history`). Others have never learned from an empty
    history; for them it is what is popular in the train split, add-one smoothed (`patchrec.ranking.counts.Popularity`).
    """
    if loaded not in _STAND_INS:
        _STAND_INS[loaded] = _new_stand_in(loaded)
    return _STAND_INS[loaded]


def _new_stand_in(loaded: LoadedRun) -> tuple[Source, Recommender]:
    if find_kind(loaded.run.kind).empty_history:
        return "empty history", loaded.recommender
    from patchrec.options import Options
    from patchrec.ranking.counts import Popularity
    from patchrec.ranking.dense import DenseRecommender
    from patchrec.ranking.items import precedence

    popularity, dataset = Popularity(Options()), loaded.dataset
    popularity.fit(dataset)
    place = precedence(dataset.popularity)
    return "popularity", DenseRecommender("popularity", popularity, place, dataset.catalog.titles)


def indices(dataset: Dataset, names: Sequence[str], unknown: Unknown) -> tuple[tuple[str, ...], IntArray]:
    """The users that are answered, in order, and (U,) their indices, `NOBODY` for those the data set does not have.

    Args:
        dataset: Whose users.
        names: Ids, each once.
        unknown: What becomes of others.

    Raises:
        NotFoundError: Some are not there, and are to be refused, or none is there and others are to be left out.
    """
    there = dataset.sequences.index
    missing = [name for name in names if name not in there]
    if missing and unknown == "error":
        raise _refused(dataset, missing, len(names))
    if unknown == "skip":
        if len(missing) == len(names):
            raise NotFoundError(
                f"none of {len(names):,} users is in data set {dataset.name!r}; the users that there are: "
                f"{list_users(dataset.name)}; or give them what is popular: --unknown popular"
            )
        names = [name for name in names if name in there]
    return tuple(names), np.array([there.get(name, NOBODY) for name in names], dtype=np.int64)


def _refused(dataset: Dataset, missing: Sequence[str], number: int) -> NotFoundError:
    otherwise = "--unknown skip leaves such out, --unknown popular gives them what is popular"
    if len(missing) == 1:
        try:
            dataset.user(missing[0])  # raises with a guess
        except NotFoundError as error:
            return NotFoundError(f"{error}; {otherwise}")
    shown = ", ".join(repr(name) for name in missing[:5]) + (" and others" if len(missing) > 5 else "")
    return NotFoundError(
        f"{len(missing):,} of {number:,} users are not in data set {dataset.name!r}: {shown}; "
        f"take them out; the users that there are: {list_users(dataset.name)}; {otherwise}"
    )


def write_rejects(path: Path, dataset: Dataset, names: Sequence[str], *, overwrite: bool) -> int:
    """Write the ids that the data set does not have, one a line, and count them.

    Args:
        path: A new file; one with the same content may be there.
        dataset: Whose users.
        names: Ids, each once.
        overwrite: Take the place of what is there.

    Raises:
        UsageError: There is another file. OutOfResourcesError: The disk is full.
    """
    missing = [name for name in names if name not in dataset.sequences.index]
    content = "".join(f"{name}\n" for name in missing).encode("utf-8", "surrogatepass")
    if path.exists():
        if path.is_file() and path.read_bytes() == content:
            return len(missing)
        if not overwrite or not path.is_file():
            raise UsageError(
                f"--rejects {str(path)!r} is there already; write over it with --overwrite, or name another"
            )
    with disk_errors(f"writing {path}", "nothing was recommended", "try again, or name another file"):
        write_whole(path, content)
    return len(missing)
