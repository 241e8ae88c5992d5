"""The run in service with its data set: what it is asked, and how another takes its place without a request lost.

Whoever asks takes what is in service once and keeps to it. What changes is made beside it and put in its place whole.
"""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from patchrec.errors import UsageError
from patchrec.operations.datasets import add_items
from patchrec.operations.filters import FILE_MARK, Filtered, Filters
from patchrec.operations.growing import append_events
from patchrec.operations.load import LoadedRun, load, pick_run
from patchrec.operations.recommend import Question, question, refuse_nobody
from patchrec.operations.unknown_users import Unknown
from patchrec.recommender import Recommender
from patchrec.reporting import SILENT, Reporter
from patchrec.serving.answers import Answers
from patchrec.store import Store

if TYPE_CHECKING:
    from patchrec.model.prefixes import PrefixCache

_FILTERS_KEPT = 64
MAX_LINES = 200_000
"""Lines of rankings that are kept: about 50 MB."""


@dataclass(frozen=True, eq=False)
class InService:
    """A run that answers, with what it was asked before.

    Attributes:
        answers: Its rankings.
    """

    loaded: LoadedRun
    answers: Answers = field(default_factory=lambda: Answers(0))
    _filtered: "OrderedDict[Filters, Filtered]" = field(default_factory=OrderedDict)
    _lock: Any = field(default_factory=threading.Lock)

    def question(
        self, *, user: str | None, history: Sequence[str] | None, filters: Filters, unknown: Unknown
    ) -> Question:
        """What is asked (see `patchrec.operations.recommend.recommend`).

        Raises:
            UsageError: A filter names a file: those are read by the command line alone.
        """
        refuse_nobody(user, history)
        for name in (*filters.allow, *filters.deny):
            if name.startswith(FILE_MARK):
                raise UsageError(
                    f"{name!r}: no file is read here; name items, or write {'title:' + name!r} for a title"
                )
        filtered = self._filters(filters)
        asked = question(
            self.loaded, filtered, user=user, history=history, keep_seen=filters.keep_seen, unknown=unknown
        )
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
    """What is in service, and how that changes. Changes wait for each other; answers wait for none.

    Attributes:
        now: What answers.
        reloads: How often a run took the place of another.
    """

    def __init__(
        self, run: str | None, *, data: str | None = None, home: Path | None = None, cache_bytes: int = 0,
        report: Reporter = SILENT,
    ) -> None:  # fmt: skip
        """Load a run.

        Args:
            run: Its name; None picks as the command line does.
            data: Of this data set, where a run is picked.
            home: Folder of the store.
            cache_bytes: Budget of the prefixes that are kept; 0 keeps none, and no answers either.
            report: Where picks and notes go.
        """
        self._home, self._cache_bytes, self._report = home, cache_bytes, report
        self._changing = threading.Lock()
        self.reloads = 0
        self.now = self._in_service(self._load(run, data))

    def reload(self, run: str | None = None) -> LoadedRun:
        """Load the run again, or another one in its place, from what the store holds by now.

        Raises:
            NotFoundError: No such run. UsageError: It cannot rank. What is in service stays there.
        """
        with self._changing:
            loaded = self._load(run or self.now.loaded.run.name, None)
            self.now = self._in_service(loaded)
            self.reloads += 1
        return loaded

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

    def _catch_up(self) -> None:
        """Take the data set as the store has it. The recommender stays where nothing that it is made of changed."""
        old = self.now.loaded
        with Store.open(self._home) as store, store.read():
            dataset = store.datasets.load(old.dataset.name)
        same = dataset.catalog.fingerprint == old.dataset.catalog.fingerprint
        if same and np.array_equal(dataset.popularity, old.dataset.popularity):
            self.now = InService(LoadedRun(old.run, dataset, old.recommender), self.now.answers)
        else:
            self.now = self._in_service(self._load(old.run.name, None))

    def _in_service(self, loaded: LoadedRun) -> InService:
        return InService(loaded, Answers(MAX_LINES if self._cache_bytes else 0))

    def _load(self, run: str | None, data: str | None) -> LoadedRun:
        with Store.open(self._home) as store:
            loaded = load(store, pick_run(store, run, data, self._report), report=self._report)
        return replace(loaded, recommender=with_prefixes(loaded.recommender, self._cache_bytes))


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
