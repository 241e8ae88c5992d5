"""Which parts of a history carried a recommendation: each part is left out and the same items are ranked again.

Works for any recommender: a part is what it says that it sees as one (`patchrec.recommender.Grouping`), such as a
session, else an item. The rest of the history is laid out anew. It is an attribution, not a cause: parts that say the
same stand in for each other, and what a user would have done otherwise nobody asked.

Shapes: I items of the catalog, n items of the ranking.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from patchrec.data.catalog import Catalog
from patchrec.history import BoolArray, IntArray
from patchrec.recommender import Query, Ranking, Recommender, nothing, rank, units

ABOUT = (
    "how much lower each item's score is (nats) when a part of the history is left out and the rest is ranked again; "
    "an attribution to parts of this history, not a cause"
)
TOO_SHORT = "the history has fewer than two parts, so none can be left out"
_WHOEVER = -1  # neighbours are run together, whoever's history it is


@dataclass(frozen=True, slots=True)
class Carrier:
    """A part of a history.

    Attributes:
        items: Ids of what it holds, oldest first. titles: Their titles.
        changes: (n,) score of each recommended item minus its score without this part, nats: above 0, the part carried
            it.
    """

    items: list[str]
    titles: list[str]
    changes: list[float]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What each part of a history did for each recommended item.

    Attributes:
        about: What the numbers are, in words.
        parts: Oldest first.
    """

    about: str
    parts: list[Carrier]


@dataclass(frozen=True, slots=True, eq=False)
class LeftOut:
    """The questions that tell what carried a ranking.

    Attributes:
        recommender: Who answers them.
        items: (n,) catalog indices of the ranking.
        scores: Of each.
        parts: Catalog indices of each part of the history.
        queries: The history without each part.
        allowed: (I,) the items of the ranking alone: a score does not depend on what else may be ranked.
    """

    recommender: Recommender
    items: list[int]
    scores: list[float]
    parts: list[IntArray]
    queries: list[Query]
    allowed: BoolArray

    @classmethod
    def of(cls, recommender: Recommender, query: Query, found: Ranking, num_items: int) -> "LeftOut":
        """Those of a ranking of a catalog of so many items."""
        lines = found.recommendations
        items = [line.item for line in lines]
        spans = units(recommender, query) if items else []
        if len(spans) < 2:
            spans = []
        same = replace(query, seen=nothing(), user=_WHOEVER)
        allowed = np.zeros(num_items, dtype=np.bool_)
        allowed[items] = True
        return cls(
            recommender,
            items,
            [line.score for line in lines],
            [query.history.items[span] for span in spans],
            [replace(same, history=query.history.without(span)) for span in spans],
            allowed,
        )

    def rank(self) -> list[Ranking]:
        """The answers, all asked in one batch: they share what comes before the part that is left out."""
        return rank(self.recommender, self.queries, len(self.items), allowed=self.allowed) if self.queries else []

    def explained(self, catalog: Catalog, answers: Sequence[Ranking]) -> Explanation:
        """What the answers say."""
        parts = []
        for items, answer in zip(self.parts, answers, strict=True):
            without = {line.item: line.score for line in answer.recommendations}
            changes = [score - without[item] for item, score in zip(self.items, self.scores, strict=True)]
            held = items.tolist()
            parts.append(Carrier([catalog.item_ids[i] for i in held], [catalog.titles[i] for i in held], changes))
        return Explanation(ABOUT if parts else TOO_SHORT, parts)
