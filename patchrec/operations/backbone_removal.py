"""Verbs: what removing backbones would take along and leave undone, and remove them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from patchrec.errors import CorruptError, PatchrecError, UsageError, not_found
from patchrec.store import Store
from patchrec.store.naming import PLAIN
from patchrec.store.runs import Run
from patchrec.store.trash import size_of


@dataclass(frozen=True, slots=True)
class BackboneUse:
    """A run that began with a backbone.

    Attributes:
        without: What becomes of it once the backbone is gone, in words.
        lost: Whether there is something that it then cannot do for good.
    """

    run: str
    status: str
    without: str
    lost: bool


@dataclass(frozen=True, slots=True)
class BackboneRemoval:
    """What goes with a backbone.

    Attributes:
        folder: What is deleted; None where only the note of it is left.
        size: Of that folder, bytes.
        runs: Those that began with it, oldest first, without those in the trash.
    """

    name: str
    source: str
    folder: str | None
    size: int
    runs: tuple[BackboneUse, ...]


def backbone_removal(names: Sequence[str], *, home: Path | None = None) -> list[dict[str, Any]]:
    """What removing backbones would take along: each with its size, and the runs that began with it.

    Args:
        names: As `backbones ls` shows them, or hub ids.
        home: Folder of the store.

    Raises:
        NotFoundError: No such backbone in the store. UsageError: A run that began with one is running.
    """
    with Store.open(home) as store:
        return [asdict(found) for found in _removals(store, names)]


def remove_backbones(
    names: Sequence[str], *, even_if_lost: bool = False, home: Path | None = None
) -> list[dict[str, Any]]:
    """Remove backbones: their notes and their folders in the store, all or none. No other folder is touched.

    Args:
        names: See `backbone_removal`.
        even_if_lost: Also where runs lose something by it.
        home: Folder of the store.

    Returns:
        What `backbone_removal` gives.

    Raises:
        NotFoundError, UsageError: See `backbone_removal`; or a run loses something.
        OSError: A folder cannot be deleted.
    """
    with Store.open(home) as store:
        with store.write():
            found = _removals(store, names)
            if not even_if_lost:
                _refuse_lost(found)
            store.backbones.forget([one.name for one in found])
        for one in found:
            if one.folder is not None:
                _delete(Path(one.folder))
        return [asdict(one) for one in found]


def _removals(store: Store, names: Sequence[str]) -> list[BackboneRemoval]:
    from patchrec.model.pulled_files import folder_name

    sources = _sources(store)
    chosen = list(dict.fromkeys(map(folder_name, names)))
    for name in names:
        if folder_name(name) not in sources:
            raise not_found("backbone in the store", name, sources, "list them with `patchrec backbones ls`")
    runs = store.runs.listed()
    begun = {run.name: _begins_with(store, run, {one.name: one for one in runs}) for run in runs}
    found = []
    for name in chosen:
        folder = store.backbones.folder(name)
        users = [run for run in runs if begun[run.name] & {name, str(folder), str(folder.resolve())}]
        if running := [run.name for run in users if run.status == "running"]:
            raise UsageError(f"backbone {name!r} is in use: run {running[0]} is still running; stop it or wait for it")
        there = folder.is_symlink() or folder.exists()
        uses = tuple(_use(run, name, sources[name]) for run in users)
        found.append(BackboneRemoval(name, sources[name], str(folder) if there else None, size_of(folder), uses))
    return found


def _sources(store: Store) -> dict[str, str]:
    """Where the backbones of a store came from, by name: those noted, and those that lie there without a note."""
    from patchrec.model.pulled_files import FACTS, read_facts

    found = {one.name: one.source for one in store.backbones.all() if PLAIN.fullmatch(one.name)}
    for facts in store.backbones.home.glob(f"*/{FACTS}"):
        name = facts.parent.name
        if name not in found and PLAIN.fullmatch(name):
            try:
                found[name] = str(read_facts(facts.parent)["source"])
            except CorruptError:
                found[name] = "not known: damaged"
    return found


def _begins_with(store: Store, run: Run, runs: Mapping[str, Run]) -> set[str]:
    """The backbones whose files a run begins with, as their folders are called; paths are whole.

    One that starts from another run begins with that one's weights, which are a backbone's where it learned nothing.
    """
    from patchrec.model.pulled_files import folder_name

    origin = run
    while origin.parent is not None and not store.runs.checkpoints(origin.parent) and origin.parent in runs:
        origin = runs[origin.parent]
    named = [origin.backbone] if origin.parent is None and origin.backbone is not None else []
    if run.stage == "baseline":
        named += _options_of(run, "backbones", {}).values()
    return {name if Path(name).is_absolute() else folder_name(name) for name in named}


def _use(run: Run, name: str, source: str) -> BackboneUse:
    """What becomes of a run without its backbone: one that was made is gone for good, another is fetched again."""
    from patchrec.model.pull import MADE

    for_good = source.startswith(MADE)
    trained = run.settings.get("training") is not None
    if run.status != "done":
        needed = "begin" if run.status == "waiting" else "go on"
    elif not trained:
        needed = "rank"
    elif _options_of(run, "reads_start", False):
        return BackboneUse(run.name, run.status, f"cannot rank new items until {name} is back", lost=for_good)
    else:
        return BackboneUse(run.name, run.status, "ranks as before", lost=False)
    without = f"cannot {needed}" if for_good else f"fetches it again to {needed}"
    return BackboneUse(run.name, run.status, without, lost=for_good)


def _options_of(run: Run, what: str, otherwise: Any) -> Any:
    """What the options of a run's kind say of it; of a run that is damaged, or whose plugin is gone, nothing."""
    from patchrec.plugins import bind_kind

    try:
        return getattr(bind_kind(run.config.kind).options, what)
    except PatchrecError:
        return otherwise


def _refuse_lost(found: Sequence[BackboneRemoval]) -> None:
    for one in found:
        if lost := [use for use in one.runs if use.lost]:
            more = f" (and {len(lost) - 1:,} more runs)" if len(lost) > 1 else ""
            raise UsageError(
                f"without backbone {one.name!r} run {lost[0].run} {lost[0].without}{more}; remove it all the same with "
                "--yes, or those runs first with `patchrec runs rm`"
            )


def _delete(folder: Path) -> None:
    """Delete a folder: it is out of the way at once, and what a link leads to stays."""
    with TemporaryDirectory(dir=folder.parent, prefix=".gone-") as temporary:
        folder.rename(Path(temporary) / folder.name)
