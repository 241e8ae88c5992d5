"""Verbs of the trash: what would go, take back, empty. Runs are put into it by `operations.runs.remove_run`."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from patchrec.errors import not_found
from patchrec.store import Store


def removal(names: Sequence[str], *, home: Path | None = None) -> list[dict[str, Any]]:
    """What removing runs would take along: each with its size in bytes, its evaluations and the blends that ask it.

    Args:
        names: Whole, of runs, or of groups of seeds for all their runs.
        home: Folder of the store.

    Raises:
        NotFoundError: No such run. UsageError: One is running, or another run started from it and would stay.
    """
    with Store.open(home) as store:
        groups = store.seed_groups.named(names)
        runs = [run for name in dict.fromkeys(names) for run in groups.get(name, [name])]
        store.trash.check(runs)
        return [asdict(found) for found in store.trash.about(list(dict.fromkeys(runs)))]


def trashed(names: Sequence[str] = (), *, home: Path | None = None) -> list[dict[str, Any]]:
    """Runs in the trash, each with its size in bytes and when it was removed: all, or those named.

    Raises:
        NotFoundError: One is not in it.
    """
    with Store.open(home) as store:
        there = store.trash.names()
        for name in names:
            if name not in there:
                raise not_found("run in the trash", name, there)
        return [asdict(found) for found in store.trash.about(list(dict.fromkeys(names)) or there)]


def restore_runs(names: Sequence[str], *, home: Path | None = None) -> None:
    """Take runs back out of the trash, all or none.

    Raises:
        NotFoundError: One is not in it. UsageError: What one started from would stay there, or it is being deleted.
    """
    with Store.open(home) as store:
        store.trash.take_back(names)


def empty_trash(names: Sequence[str], *, home: Path | None = None) -> None:
    """Delete runs of the trash for good, with their losses, evaluations and checkpoints.

    Args:
        names: Which of those that are in it; others are left alone.
        home: Folder of the store.

    Raises:
        OSError: A folder cannot be deleted; the runs stay in the trash until this is called again.
    """
    with Store.open(home) as store:
        store.trash.empty(names)
