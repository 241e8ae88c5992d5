"""Runs: list, show, mark, remove. Reads stored rows; no model runs here."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from patchrec.errors import UsageError
from patchrec.operations.run_faults import faults_of
from patchrec.operations.run_fields import chosen as chosen_runs
from patchrec.store import Store
from patchrec.store.marks import Marks
from patchrec.store.runs import as_json

if TYPE_CHECKING:
    from patchrec.operations.comparison import compare_runs

__all__ = ["compare_runs", "edit_run", "list_runs", "remove_run", "show_run"]

QUICKLY_READ = 100_000  # items of a catalog that a listing looks at; `doctor` looks at all


def __getattr__(name: str) -> Any:
    """`compare_runs` when it is asked for: a listing need not wait for the statistics."""
    if name == "compare_runs":
        from patchrec.operations.comparison import compare_runs

        return compare_runs
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def list_runs(
    *, where: str | None = None, tags: Sequence[str] = (), limit: int | None = None, home: Path | None = None
) -> list[dict[str, Any]]:
    """Runs, newest first, with what a listing shows, and their `faults` (`what` is wrong, `fix`).

    Args:
        where: A condition on their fields and settings, in SQL (`docs/store.md`); None takes all.
        tags: Which they all have.
        limit: The newest so many of these; a group of seeds counts as one.
        home: Folder of the store.

    Raises:
        UsageError: `where` is no condition on runs.
    """
    keys = (
        "name",
        "stage",
        "kind",
        "command",
        "label",
        "status",
        "dataset",
        "backbone",
        "parent",
        "seed",
        "group",
        "created_at",
        "finished_at",
        "note",
        "tags",
    )
    with Store.open(home) as store:
        runs = chosen_runs(store.runs.listed() if where is None else store.runs.all(), where, tags)
        newest = list(dict.fromkeys(run.group or run.name for run in reversed(runs)))[:limit]
        runs = [run for run in runs if (run.group or run.name) in newest]
        faults = faults_of(store, runs, most_items=QUICKLY_READ)
        return [
            {key: getattr(run, key) for key in keys} | {"faults": [asdict(one) for one in faults.get(run.name, ())]}
            for run in reversed(runs)
        ]


def show_run(name: str, *, home: Path | None = None) -> dict[str, Any]:
    """All that is kept of a run: configuration, losses, validations, checkpoints, evaluations, progress, faults.

    Raises:
        NotFoundError: No such run.
    """
    from patchrec.evaluation.protocols import PROTOCOLS
    from patchrec.operations.run_plugins import shown_plugins
    from patchrec.operations.training.run_progress import run_progress

    with Store.open(home) as store:
        run = store.runs.get(name)
        evaluations = [
            asdict(evaluation) | {"metrics": [asdict(row) for row in store.evaluations.metrics(evaluation.id)]}
            for evaluation in store.evaluations.all(run.name)
        ]
        losses = store.runs.losses(run.name)
        return as_json(run) | {
            "plugins": shown_plugins(store, run),
            "progress": asdict(run_progress(run, losses)) if losses else None,
            "losses": [asdict(row) for row in losses],
            "validations": [asdict(row) for row in store.runs.validations(run.name)],
            "protocols": [
                asdict(found) | {"metrics": [asdict(row) for row in store.evaluations.metrics(found.id)]}
                for protocol in PROTOCOLS
                for found in store.evaluations.all(run.name, protocol=protocol)
            ],
            "checkpoints": [
                {"step": saved.step, "path": str(saved.path)}
                for saved in store.runs.checkpoints(run.name)
                if saved.path.exists()  # a running process prunes folders first, its notes at the end
            ],
            "evaluations": evaluations,
            "faults": [asdict(fault) for fault in faults_of(store, [run]).get(run.name, ())],
        }


def edit_run(
    run: str,
    *,
    name: str | None = None,
    note: str | None = None,
    tags: Sequence[str] = (),
    without: Sequence[str] = (),
    home: Path | None = None,
) -> dict[str, Any]:
    """Note and tag a run that is there, or all runs of a group of seeds, which may get another name.

    Args:
        run: Name of the run or group, or the unique beginning of one.
        name: What a group is called from now on; its runs keep their names.
        note: In place of the old one; an empty one takes it away, None leaves it.
        tags: To add.
        without: Tags to take away.
        home: Folder of the store.

    Returns:
        Its `name`, `note` and `tags` now; of a group those of any of its `runs`.

    Raises:
        NotFoundError: No such run, or it has no such tag. UsageError: Nothing to change; a name, tag or note that is
            none; a name for a run, or one that is taken.
    """
    marks = Marks(name, note, tuple(tags))
    if not marks.given and not without:
        raise UsageError("nothing to change; give --note TEXT, --tag WORD or --untag WORD, or --name NAME of a group")
    if both := sorted(set(tags) & set(without)):
        raise UsageError(f"tag {both[0]!r} is to be added and taken away; choose one")
    with Store.open(home) as store:
        group = store.seed_groups.find(run)
        if group is None:
            found = store.runs.mark(run, marks, without=without)
            return {"name": found.name, "note": found.note, "tags": list(found.tags)}
        group = store.seed_groups.mark(group.name, marks, without=without)
    return {
        "name": group.name,
        "note": " / ".join(dict.fromkeys(one.note for one in group.runs if one.note)) or None,
        "tags": sorted({tag for one in group.runs for tag in one.tags}),
        "runs": [one.name for one in group.runs],
    }


def remove_run(*names: str, home: Path | None = None) -> None:
    """Put runs into the trash, all or none: `patchrec.operations.trash` takes back what is there, or empties it.

    Args:
        names: Whole: the beginning of a name finds a run, and removes none.
        home: Folder of the store.

    Raises:
        NotFoundError: No such run.
        UsageError: One is running, or another run started from it and would stay.
    """
    with Store.open(home) as store:
        store.trash.put(names)
