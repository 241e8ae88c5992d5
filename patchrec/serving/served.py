"""The runs in service with their data set: what they are asked, and how another takes a place without a request lost.

Whoever asks takes what is in service once and keeps to it. What changes is made beside it and put in its place whole.
"""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from patchrec.data.histories import Dataset
from patchrec.errors import PatchrecError, UsageError, not_found
from patchrec.operations.datasets import add_items
from patchrec.operations.filters import FILE_MARK, Filtered, Filters
from patchrec.operations.growing import append_events
from patchrec.operations.load import LoadedRun, load, pick_run
from patchrec.operations.recommend import Asked, Question
from patchrec.operations.unknown_users import Unknown
from patchrec.recommender import Recommender
from patchrec.reporting import SILENT, Reporter
from patchrec.serving.answers import Answers
from patchrec.store import Store
from patchrec.store.naming import now
from patchrec.store.runs import Run

if TYPE_CHECKING:
    from patchrec.model.prefixes import PrefixCache

_FILTERS_KEPT = 64
MAX_LINES = 200_000
"""Lines of rankings that are kept, of all runs together: about 50 MB."""


@dataclass(frozen=True, eq=False)
class InService:
    """A run that answers, with what it was asked before.

    Attributes:
        answers: Its rankings.
        loaded_at: When its recommender was, UTC.
    """

    loaded: LoadedRun
    answers: Answers = field(default_factory=lambda: Answers(0))
    loaded_at: str = field(default_factory=now)
    _filtered: "OrderedDict[Filters, Filtered]" = field(default_factory=OrderedDict)
    _lock: Any = field(default_factory=threading.Lock)

    def question(self, *, user: str | None, history: Sequence[str] | None, filters: Filters, unknown: Unknown) -> Asked:
        """What is asked (see `patchrec.operations.recommend.recommend`).

        Raises:
            UsageError: A filter names a file: those are read by the command line alone.
        """
        for name in (*filters.allow, *filters.deny):
            if name.startswith(FILE_MARK):
                raise UsageError(
                    f"{name!r}: no file is read here; name items, or write {'title:' + name!r} for a title"
                )
        filtered = self._filters(filters)
        question = Question.of(self.loaded.dataset, user, history, filters, filtered, unknown=unknown)
        asked = question.asked(self.loaded)
        # one query may run beside another of the same user that is asked after another version of the data
        return replace(asked, query=replace(asked.query, user=None))

    def _filters(self, filters: Filters) -> Filtered:
        """The same object for the same filters, so that requests with them are run together."""
        key = replace(filters, keep_seen=False)  # which is the query's alone
        with self._lock:
            found = self._filtered.get(key)
            if found is not None:
                self._filtered.move_to_end(key)
                return found
        found = Filtered.of(self.loaded.dataset.catalog, key)
        with self._lock:
            found = self._filtered.setdefault(key, found)
            while len(self._filtered) > _FILTERS_KEPT:
                self._filtered.popitem(last=False)
        return found


class Served:
    """The runs in service, of one data set, and how that changes. Changes wait for each other; answers wait for none.

    Attributes:
        runs: What answers, in the order given; replaced whole, so all of them are over one version of the data.
        reloads: How often a run took the place of another.
    """

    def __init__(
        self, *runs: str, data: str | None = None, home: Path | None = None, cache_bytes: int = 0,
        report: Reporter = SILENT,
    ) -> None:  # fmt: skip
        """Load runs.

        Args:
            runs: Their names; none picks one as the command line does.
            data: Of this data set, where a run is picked.
            home: Folder of the store.
            cache_bytes: Budget of the prefixes that are kept, in equal parts for each run: their keys and values are of
                different models, so none is of use to another. 0 keeps none, and no answers either.
            report: Where picks and notes go.

        Raises:
            NotFoundError: No such run. UsageError: One cannot rank, is named twice, or is of another data set.
        """
        self._home, self._report = home, report
        self._cache_bytes, self._max_lines = (total // max(1, len(runs)) for total in (cache_bytes, MAX_LINES))
        self._changing = threading.Lock()
        self.reloads = 0
        with Store.open(home) as store:
            chosen = [pick_run(store, name, data, report) for name in runs or (None,)]
            for place, run in enumerate(chosen):
                _refuse_beside(run, chosen[:place])
            dataset = store.datasets.load(chosen[0].dataset)
            self.runs = tuple(self._loaded(store, run, dataset) for run in chosen)

    @property
    def now(self) -> InService:
        """The first run in service, which answers where none is named."""
        return self.runs[0]

    @now.setter
    def now(self, first: InService) -> None:
        self.runs = (first, *self.runs[1:])

    def of(self, name: str | None) -> InService:
        """The run in service of this name; None: the first.

        Raises:
            NotFoundError: It is not served.
        """
        runs = self.runs  # once: another may be in the place by the next look
        return runs[0] if name is None else runs[_place(runs, name)]

    def reload(self, run: str | None = None, replaces: str | None = None) -> InService:
        """Load a run from what the store holds by now, in the place of one in service; the others take up the data.

        Args:
            run: Its name; None: that of the one that it replaces.
            replaces: Which of those in service; None: itself where it is one of them, or the only one.

        Raises:
            NotFoundError: No such run. UsageError: It cannot rank, is of another data set than the others, is served
                in another place, or nothing says which it replaces. What is in service stays there.
        """
        with self._changing, Store.open(self._home) as store:
            chosen = None if run is None else store.runs.get(run)
            place = self._place_of(chosen, replaces)
            chosen = chosen or store.runs.get(self.runs[place].loaded.run.name)
            _refuse_beside(chosen, [one.loaded.run for number, one in enumerate(self.runs) if number != place])
            dataset = store.datasets.load(chosen.dataset)
            fresh = self._loaded(store, chosen, dataset)
            self.runs = tuple(
                fresh if number == place else self._caught_up(store, old, dataset)
                for number, old in enumerate(self.runs)
            )
            self.reloads += 1
        return fresh

    def append(self, events: Sequence[tuple[str, str, float | None]]) -> dict[str, Any]:
        """Append interactions to the store; the next question finds them (see `append_events`)."""
        with self._changing:
            found = append_events(self.now.loaded.dataset.name, events, home=self._home, report=self._report)
            self._catch_up()
        return found

    def add_item(self, item_id: str, title: str, metadata: Mapping[str, str]) -> dict[str, Any]:
        """Put an item at the end of the catalog; the next question can rank it (see `add_items`)."""
        with self._changing:
            name = self.now.loaded.dataset.name
            found = add_items(
                name, item_id=item_id, title=title, metadata=metadata or None, home=self._home, report=self._report
            )
            self._catch_up()
        return found

    def _place_of(self, run: Run | None, replaces: str | None) -> int:
        """Which place a run takes."""
        if replaces is not None:
            return _place(self.runs, replaces)
        names = [one.loaded.run.name for one in self.runs]
        if len(names) == 1:
            return 0
        if run is not None and run.name in names:
            return names.index(run.name)
        raise UsageError(f'which served run is replaced? name it as "replaces": one of {", ".join(names)}')

    def _catch_up(self) -> None:
        """Take the data set as the store has it, in all runs at once."""
        with Store.open(self._home) as store:
            dataset = store.datasets.load(self.now.loaded.dataset.name)
            self.runs = tuple(self._caught_up(store, old, dataset) for old in self.runs)

    def _caught_up(self, store: Store, old: InService, dataset: Dataset) -> InService:
        """A run over the data set as it is now. The recommender stays where nothing that it is made of changed.

        One that can't be loaded again, since somebody removed it, goes on as it is: what was added is stored already.
        """
        before = old.loaded.dataset
        same = dataset.catalog.fingerprint == before.catalog.fingerprint
        if same and np.array_equal(dataset.popularity, before.popularity):
            return InService(LoadedRun(old.loaded.run, dataset, old.loaded.recommender), old.answers, old.loaded_at)
        name = old.loaded.run.name
        try:
            return self._loaded(store, store.runs.get(name), dataset)
        except PatchrecError as error:
            self._report.note(f"run {name} goes on over the data as it was: {error}")
            return old

    def _loaded(self, store: Store, run: Run, dataset: Dataset) -> InService:
        loaded = load(store, run, report=self._report, dataset=dataset)
        kept = replace(loaded, recommender=with_prefixes(loaded.recommender, self._cache_bytes))
        return InService(kept, Answers(self._max_lines if self._cache_bytes else 0))


def _place(runs: Sequence[InService], name: str) -> int:
    names = [one.loaded.run.name for one in runs]
    if name not in names:
        raise not_found("run", name, names, "only these are served here, see GET /runs")
    return names.index(name)


def _refuse_beside(run: Run, others: Sequence[Run]) -> None:
    """Refuse a run that cannot be served beside others.

    Raises:
        UsageError: It is one of them, or of another data set.
    """
    if run.name in [other.name for other in others]:
        raise UsageError(f"run {run.name} is served already; name another, or leave it out")
    if others and run.dataset != others[0].dataset:
        raise UsageError(
            f"run {run.name} is on data set {run.dataset!r}, and {others[0].name} on {others[0].dataset!r}; one server "
            f"has one data set: serve it by another with --port"
        )


@runtime_checkable
class KeepsPrefixes(Protocol):
    """A recommender that can keep what prompts begin with."""

    def keeping(self, prefixes: "PrefixCache | None") -> Recommender:
        """The same with a cache, or without one."""
        ...


def with_prefixes(recommender: Recommender, max_bytes: int) -> Recommender:
    """A language model with a cache of prompts' prefixes; any other recommender as it is.

    Args:
        recommender: Any.
        max_bytes: Budget of the cache; 0: none.
    """
    if not max_bytes or not isinstance(recommender, KeepsPrefixes):
        return recommender
    from patchrec.model.prefixes import PrefixCache  # which imports torch: tables of counts need none

    return recommender.keeping(PrefixCache(max_bytes))
