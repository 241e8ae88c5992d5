"""Groups of seeds in the store: runs that differ in their seed alone, under one name.

The group `pft-s-4` of the seeds 0 and 1 has the runs `pft-s-4-s0` and `pft-s-4-s1`, also once it is called otherwise.
All of them are there from the beginning, and wait for their turn.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from patchrec.config import RunConfig
from patchrec.errors import UsageError, not_found
from patchrec.store.marks import NO_MARKS, Marks, put
from patchrec.store.run_plugins import RunPlugin
from patchrec.store.runs import LIST_THEM, WAITS, Run

if TYPE_CHECKING:
    from patchrec.config import RunConfig
    from patchrec.store.connection import Store


@dataclass(frozen=True, slots=True)
class Planned:
    """A run that is to be made; see `Runs.create`."""

    config: "RunConfig"
    label: str
    versions: Mapping[str, str]
    fingerprints: Mapping[str, str]
    plugins: Sequence[RunPlugin] = ()


@dataclass(frozen=True, slots=True)
class SeedGroup:
    """Runs that differ in their seed alone, in the order in which their seeds were given."""

    name: str
    runs: tuple[Run, ...]

    @property
    def seeds(self) -> list[int]:
        """The seeds."""
        return [run.seed for run in self.runs]

    @property
    def label(self) -> str:
        """What all its runs are, in words."""
        return self.runs[0].label

    @property
    def command(self) -> str:
        """The command that makes such runs."""
        return self.runs[0].command

    def of_seed(self, seed: int) -> Run | None:
        """The run of a seed."""
        return next((run for run in self.runs if run.seed == seed), None)


def member_name(group: str, seed: int) -> str:
    """The name of a group's run."""
    return f"{group}-s{seed}"


class SeedGroups:
    """The groups of a store. One whose runs are all removed is gone."""

    def __init__(self, store: "Store") -> None:
        self._store = store

    def create(self, planned: Sequence[Planned], marks: Marks = NO_MARKS) -> SeedGroup:
        """Make a group of runs that wait, all of them or none.

        Args:
            planned: Equal but for seed (and the parent, where that is of the same seed); no seed twice.
            marks: Name of the group, note and tags of all its runs.

        Raises:
            NotFoundError: Their data set or a parent does not exist.
            UsageError: A run has or had the name, or that of one of these runs.
        """
        with self._store.write():
            name = self._new_name(planned) if marks.name is None else self._store.runs.claim_name(marks.name)
            for run in planned:
                self.plan(run, name, marks)
            return self.all()[name]

    def extend(self, name: str, planned: Sequence[Planned]) -> SeedGroup:
        """Add runs that wait to a group, all of them or none; they get the note and the tags that all its runs have.

        Args:
            name: Which.
            planned: Equal to its runs but for seed and parent.

        Raises:
            NotFoundError: No such group. UsageError: It has a run of such a seed, or had one.
        """
        with self._store.write():
            group = self.find(name)
            if group is None:
                raise not_found("group of seeds", name, self.all(), LIST_THEM)
            there = [run.config.seed for run in planned if group.of_seed(run.config.seed) is not None]
            if there:
                raise UsageError(
                    f"group {group.name} has seed {there[0]} already (it has {', '.join(map(str, group.seeds))}); name "
                    "new ones alone"
                )
            notes = {run.note for run in group.runs}
            tags = set.intersection(*(set(run.tags) for run in group.runs))
            marks = Marks(note=notes.pop() if len(notes) == 1 else None, tags=tuple(sorted(tags)))
            for run in planned:
                self.plan(run, group.name, marks)
            return self.all()[group.name]

    def mark(self, name: str, marks: Marks, *, without: Collection[str] = ()) -> SeedGroup:
        """Call a group otherwise, and note and tag all its runs, which keep their names.

        Args:
            name: Which.
            marks: A name in place of the old one, which no other run or group gets; note and tags as `Runs.mark` has.
            without: Tags to take away; each has to be at one of the runs.

        Raises:
            NotFoundError: No such group or tag. UsageError: A run or another group has or had the name.
        """
        with self._store.write() as db:
            group = self.find(name)
            if group is None:
                raise not_found("group of seeds", name, self.all(), LIST_THEM)
            tags = sorted({tag for run in group.runs for tag in run.tags})
            if unknown := [tag for tag in without if tag not in tags]:
                raise not_found(f"tag of group {group.name!r}", unknown[0], tags)
            called = group.name
            if marks.name not in (None, group.name):
                called = self._store.runs.claim_name(str(marks.name))
                db.execute("UPDATE runs SET seed_group = ? WHERE seed_group = ?", [called, group.name])
            for run in group.runs:
                put(db, run.name, marks.note, marks.tags, without)
            return self.all()[called]

    def _new_name(self, planned: Sequence[Planned]) -> str:
        """A counted name; one whose runs would have names that users gave to others is passed over."""
        while True:
            name = self._store.runs.new_name(planned[0].config)
            if all(self._store.runs.is_free(member_name(name, run.config.seed)) for run in planned):
                return name

    def plan(self, planned: Planned, group: str | None = None, marks: Marks = NO_MARKS) -> Run:
        """Make a run that waits, of a group or alone.

        Raises:
            NotFoundError: Its data set or its parent does not exist.
            UsageError: A run has or had its name.
        """
        with self._store.write() as db:
            made = self._store.runs.create(
                planned.config,
                label=planned.label,
                versions=planned.versions,
                fingerprints=planned.fingerprints,
                plugins=planned.plugins,
                marks=replace(marks, name=None if group is None else member_name(group, planned.config.seed)),
            )
            db.execute(
                "UPDATE runs SET seed_group = ?, status = 'interrupted', error = ?, pid = NULL, process = NULL,"
                " host = NULL WHERE id = ?",
                [group, WAITS, made.id],
            )
            return self._store.runs.get(made.name)

    def all(self) -> dict[str, SeedGroup]:
        """Every group by name, oldest first."""
        found: dict[str, list[Run]] = {}
        for run in self._store.runs.all():
            if run.group is not None:
                found.setdefault(run.group, []).append(run)
        return {name: SeedGroup(name, tuple(runs)) for name, runs in found.items()}

    def named(self, names: Sequence[str]) -> dict[str, list[str]]:
        """The names of the runs of those groups that are named whole. No configuration is read."""
        rows = self._store.rows("SELECT seed_group, name FROM runs WHERE seed_group IS NOT NULL ORDER BY id")
        trashed = set(self._store.trash.names())
        found: dict[str, list[str]] = {}
        for group, run in rows:
            if group in names and run not in trashed:
                found.setdefault(group, []).append(run)
        return found

    def find(self, name: str) -> SeedGroup | None:
        """The group of this name, or the one that all runs whose names begin so are of; None where a run is named."""
        names = self._store.runs.names()
        begin_so = {known for known in names if name and known.startswith(name)}
        if name in names:
            return None
        groups = self.all()
        if len(begin_so) < 2:
            return groups.get(name)
        whole = (group for group in groups.values() if begin_so == {run.name for run in group.runs})
        return groups.get(name) or next(whole, None)
