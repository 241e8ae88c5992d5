"""What stands in the way of using a run, each with its mend: its plugins, its data set, its checkpoint, its process."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from patchrec import __version__
from patchrec.operations.asked_runs import asking_words, stamp
from patchrec.store import Store
from patchrec.store.audit import Fault
from patchrec.store.fingerprints import catalog_fingerprint
from patchrec.store.runs import Run


@dataclass(slots=True)
class RunFaults:
    """Finds the faults of runs; what it reads of a data set, and plans of a strategy, it does once.

    Attributes:
        most_items: Catalogs of more items are believed to be what the store says they are, and strategies and kinds of
            this very patchrec to be what they were; None: nothing is believed.
    """

    store: Store
    most_items: int | None = None
    _data: dict[str, dict[str, set[str]] | None] = field(default_factory=dict)
    _layouts: dict[str, str | None] = field(default_factory=dict)
    _there: dict[str, Run] | None = None

    def of(self, run: Run) -> list[Fault]:
        """Everything that is wrong with a run; empty where it can be used, or goes on."""
        faults = [*self._changed_plugins(run), *self._other_data(run), *self._other_parts(run)]
        faults += self._missing_checkpoint(run)
        if run.status == "lost":
            fix = f"{run.to_be_done}, or `patchrec runs rm {run.name}`"
            faults.append(Fault("its process ended without a word", fix))
        return faults

    def _changed_plugins(self, run: Run) -> list[Fault]:
        """That a plugin of it is gone or lays histories out in another way; another version is none."""
        if self.most_items is not None and self._of_this_patchrec(run):
            return []
        from patchrec.operations.run_plugins import plugin_faults

        found = plugin_faults(self.store, run, self._layouts)
        return [Fault(f"it {one.found}", one.mend) for one in found if one.what != "version"]

    def _of_this_patchrec(self, run: Run) -> bool:
        """Whether all that a run takes from plugins was, when it was made, built into this version of patchrec."""
        noted = self.store.runs.plugins(run.name)
        wanted = [*(("strategy", name) for name in run.strategies), ("recommender", run.kind)]
        return [(plugin.role, plugin.name) for plugin in noted] == wanted and all(
            (plugin.package, plugin.version) == ("patchrec", __version__) for plugin in noted
        )

    def _other_data(self, run: Run) -> list[Fault]:
        """That its data set is gone, or is another than it learned from."""
        if run.dataset not in self._data:
            self._data[run.dataset] = self._prints(run.dataset)
        known = self._data[run.dataset]
        if known is None:
            fix = f"add it again from the same files, restore a copy of the store, or `patchrec runs rm {run.name}`"
            return [Fault(f"its data set {run.dataset!r} is gone", fix)]
        other = [part for part, prints in known.items() if run.fingerprints.get(part, "") not in {"", *prints}]
        if not other:
            return []
        fix = f"restore a copy of the store, or train again and `patchrec runs rm {run.name}`"
        return [Fault(f"its data set {run.dataset!r} has another {' and '.join(other)} than it learned from", fix)]

    def _prints(self, dataset: str) -> dict[str, set[str]] | None:
        """Fingerprints that runs of a data set may have; None where there is no such data set."""
        if dataset not in self.store.datasets.names():
            return None
        about = self.store.datasets.show(dataset)
        catalogs = {version["fingerprint"]: version["num_items"] for version in about["versions"]}
        num_items = about["summary"]["items"]
        if self.most_items is None or num_items <= self.most_items:
            catalogs = {mark: n for mark, n in catalogs.items() if catalog_fingerprint(self.store, dataset, n) == mark}
        today, versions = about["fingerprints"]["sequences"], [one["fingerprint"] for one in about["data_versions"]]
        return {"catalog": set(catalogs), "split": set(versions) if today == versions[-1] else {today}}

    def _other_parts(self, run: Run) -> list[Fault]:
        """That a run which it mixes or reads is gone, or answers otherwise than it did then."""
        if not run.parts:
            return []
        if self._there is None:
            self._there = {one.name: one for one in self.store.runs.listed()}
        there = self._there
        gone = [name for name, _ in run.parts if name not in there]
        other = [name for name, then in run.parts if name in there and stamp(self.store, there[name]) != then]
        does, again = asking_words(run)
        fix = f"{again}, or `patchrec runs rm {run.name}`"
        trashed = set(gone).intersection(self.store.trash.names())
        found = [
            Fault(f"it {does} run {name!r}, which is gone to the trash", f"`patchrec runs restore {name}`, or {fix}")
            if name in trashed
            else Fault(f"it {does} run {name!r}, which is gone", fix)
            for name in gone
        ]
        return found + [
            Fault(f"it {does} run {name!r}, which has other weights or another score now", fix) for name in other
        ]

    def _missing_checkpoint(self, run: Run) -> list[Fault]:
        """That a finished run has no weights any more."""
        if run.status != "done":
            return []
        saved = self.store.runs.checkpoints(run.name)
        if saved[-1].path.is_dir() if saved else run.settings.get("training") is None:
            return []
        fix = f"restore its folder, or make it anew with {run.resume}"
        return [Fault("its checkpoint is gone", fix)]


def faults_of(store: Store, runs: Sequence[Run], *, most_items: int | None = None) -> dict[str, list[Fault]]:
    """The faults of those runs that have any, by name."""
    found = RunFaults(store, most_items)
    return {run.name: faults for run in runs if (faults := found.of(run))}
