"""Lines of a sweep whose runs are known: settled from the file, found in the store, or made there to wait."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from patchrec.config import RunConfig
from patchrec.errors import PatchrecError, UsageError
from patchrec.operations.run_plugins import has_the_same_plugins
from patchrec.operations.sweeping.file import OF_PART, Line, is_part
from patchrec.operations.training.asked import Asked, draws, numbers
from patchrec.operations.training.new_run import RunSettings
from patchrec.operations.training.seeds import planned
from patchrec.reporting import SILENT, Reporter
from patchrec.store import Store
from patchrec.store.seed_groups import Planned


@dataclass(frozen=True, slots=True)
class Settled:
    """A line whose runs are known: settled, and in the store where they are made.

    Attributes:
        planned: A run for each seed; none where that cannot be said before its parts are done.
        begun: Runs of a group that has no other seeds, but not all of these: the rest will join them.
        waits: Parts that it needs and that are not done. What is planned is then a trial alone.
    """

    line: Line
    planned: list[Planned]
    group: str | None = None
    runs: tuple[str, ...] = ()
    begun: tuple[str, ...] = ()
    waits: tuple[str, ...] = ()

    @property
    def seeds(self) -> list[int]:
        """Of its runs."""
        return [run.config.seed for run in self.planned] or list(self.line.seeds)

    @property
    def called(self) -> str | None:
        """What it is called in the store: its group of several seeds, or its only run."""
        return self.runs[0] if len(self.runs) == 1 else self.group

    def is_fitted(self, store: Store) -> bool:
        """Whether all its runs are done."""
        return bool(self.runs) and all(store.runs.get(name).status == "done" for name in self.runs)

    def of_seed(self, seed: int) -> str:
        """The run that a run of this seed starts from or reads: its only one, or the one of the same seed.

        Raises:
            UsageError: It has none.
        """
        if len(self.runs) == 1:
            return self.runs[0]
        if seed not in self.seeds:
            raise UsageError(f"part {self.line.name!r} has no seed {seed} (it has {numbers(self.seeds)}); add it there")
        return self.runs[self.seeds.index(seed)]


def settle(store: Store, line: Line, parts: Mapping[str, Settled], report: Reporter) -> Settled:
    """The runs of a line, before they begin: one for each seed, or one where nothing is drawn.

    Args:
        store: Where its runs and those of the parts are.
        line: What is asked for.
        parts: Those of the sweep that come before it, by name.
        report: Where picks go.

    Raises:
        UsageError: Settings that do not fit; the message names the line.
    """
    waits = tuple(name for name in line.parts if not parts[name].is_fitted(store))
    try:
        if waits:
            return Settled(line, _tried(store, line, parts), waits=waits)
        first = with_parts(line.asked, line.seeds[0], parts).settle(store, line.seeds[0], report)
        seeds = line.seeds if draws(first) else line.seeds[:1]
        grouped = line.asked.start not in (None, "none") and store.seed_groups.find(str(line.asked.start)) is not None
        new = [planned(first)]
        for seed in seeds[1:]:
            if grouped or line.parts:  # every seed starts from the run of its own
                new.append(planned(with_parts(line.asked, seed, parts).settle(store, seed, SILENT)))
            else:
                new.append(replace(new[0], config=first.config.model_copy(update={"seed": seed})))
    except PatchrecError as error:
        raise type(error)(f"{line.shown}: {error}") from error
    return Settled(line, new)


def with_parts(asked: Asked, seed: int, parts: Mapping[str, Settled]) -> Asked:
    """What is asked for, with runs in place of the names of parts."""

    def run_of(value: Any) -> Any:
        return parts[value.removeprefix(OF_PART)].of_seed(seed) if is_part(value) else value

    return replace(
        asked,
        start=run_of(asked.start),
        options={key: run_of(value) for key, value in (asked.options or {}).items()},
        head_options={key: run_of(value) for key, value in (asked.head_options or {}).items()},
    )


def _tried(store: Store, line: Line, parts: Mapping[str, Settled]) -> list[Planned]:
    """A line settled as if it began where its pre-training does, so that a slip is told before that is fitted.

    None where it reads a part, which has to be there.
    """
    start = parts[str(line.asked.start).removeprefix(OF_PART)].line.asked if is_part(line.asked.start) else None
    if start is None or start.command != "pretrain" or len(line.parts) > 1:
        return []
    given = {key: value for key, value in start.settings.items() if key in ("backbone", "layers")}
    trial = replace(line.asked, start="none", settings=cast(RunSettings, {**given, **line.asked.settings}))
    return [planned(trial.settle(store, seed, SILENT)) for seed in line.seeds]


def find(store: Store, one: Settled) -> Settled:
    """A line with its runs, where they are made already: of a group that has all of them, or one such run."""
    if one.waits:
        return one
    wanted = [_identity(run.config, run.fingerprints) for run in one.planned]
    if len(wanted) == 1:
        same = [
            run
            for run in store.runs.all()
            if _identity(run.config, run.fingerprints) == wanted[0] and has_the_same_plugins(store, run)
        ]
        best = max(same, key=lambda run: (run.status == "done", run.id), default=None)
        return one if best is None else replace(one, group=best.group, runs=(best.name,))
    begun = one
    for group in reversed(store.seed_groups.all().values()):
        there = {_identity(run.config, run.fingerprints): run for run in group.runs}
        shared = [there[identity] for identity in wanted if identity in there]
        if len(shared) < min(len(wanted), len(there)) or not all(has_the_same_plugins(store, run) for run in shared):
            continue
        names = tuple(run.name for run in shared)
        if len(shared) == len(wanted):
            return replace(one, group=group.name, runs=names)
        if not begun.begun:
            begun = replace(one, group=group.name, begun=names)
    return begun


def _identity(config: RunConfig, fingerprints: Mapping[str, str]) -> str:
    return json.dumps([config.model_dump_json(), dict(fingerprints)], sort_keys=True)


def make(store: Store, one: Settled) -> Settled:
    """Make the runs of a line, waiting, unless another process did so meanwhile."""
    with store.write():
        found = find(store, one)
        if found.runs:
            return found
        if len(one.planned) == 1:
            return replace(one, runs=(store.seed_groups.plan(one.planned[0]).name,))
        if found.begun:
            known = {store.runs.get(name).seed for name in found.begun}
            store.seed_groups.extend(str(found.group), [run for run in one.planned if run.config.seed not in known])
            return find(store, one)
        group = store.seed_groups.create(one.planned)
        return replace(one, group=group.name, runs=tuple(run.name for run in group.runs))
