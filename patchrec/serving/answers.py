"""Rankings that were given: an answer depends on the query alone, so who asks the same again gets the same."""

import threading
from collections import OrderedDict
from collections.abc import Sequence

from patchrec.history import BoolArray, IntArray
from patchrec.recommender import Query, Ranking, Recommender

Key = tuple[object, ...]


class Answers:
    """The rankings asked for last, up to a number of lines.

    Attributes:
        max_lines: Of all rankings kept; 0 keeps none.
        asked, found: Rankings looked up, and those of them that were there.
    """

    def __init__(self, max_lines: int) -> None:
        self.max_lines = max_lines
        self.asked, self.found = 0, 0
        self._lock = threading.Lock()
        self._num_lines = 0
        # what a key names by its id is kept beside the ranking: no other object gets that id meanwhile
        self._kept: OrderedDict[Key, tuple[Ranking, object]] = OrderedDict()

    def __len__(self) -> int:
        """Rankings kept."""
        return len(self._kept)

    def find(self, recommender: Recommender, query: Query, k: int, allowed: BoolArray | None) -> Ranking | None:
        """The ranking that was given to this question; None where it is not kept."""
        key = _key(recommender, query, k, allowed)
        with self._lock:
            self.asked += 1
            if key not in self._kept:
                return None
            self.found += 1
            self._kept.move_to_end(key)
            return self._kept[key][0]

    def add(self, recommender: Recommender, query: Query, k: int, allowed: BoolArray | None, ranking: Ranking) -> None:
        """Keep a ranking."""
        key = _key(recommender, query, k, allowed)
        with self._lock:
            if key in self._kept:
                return
            self._kept[key] = ranking, (recommender, allowed)
            self._num_lines += _lines(ranking)
            while self._num_lines > self.max_lines and self._kept:
                _, (gone, _) = self._kept.popitem(last=False)
                self._num_lines -= _lines(gone)


def _key(recommender: Recommender, query: Query, k: int, allowed: BoolArray | None) -> Key:
    history = query.history
    arrays: Sequence[IntArray | None] = (history.items, history.timestamps, history.sessions, query.seen)
    parts = (None if one is None else one.tobytes() for one in arrays)
    return id(recommender), k, id(allowed), history.start, history.anchored, *parts


def _lines(ranking: Ranking) -> int:
    return 1 + len(ranking.recommendations)
