"""A search that ends as soon as it is known where a target stands, up to a limit: what `hr@k` and its like need.

The target's own path is walked first, so that its score is known. From then on only what could stand before the target
matters, and only until as many titles are known to be there as the limit: mostly at once, since nodes with one child
cost nothing. Beside it the best items that were not seen are found as in any search. One search serves both rules for
seen items: they compete, and what is not seen is counted apart.

An item stands before the target where its score is higher, or equal with an earlier place. Whatever scores as high as
the target is known when the search ends, unless the target stands beyond the limit, so ties are settled as among all.

Shapes: E open nodes, n items found, I items, T titles of the trie; a text is one of the catalog's titles.
"""

from dataclasses import dataclass

import numpy as np

from patchrec.history import BoolArray, FloatArray, IntArray
from patchrec.ranking.search import Candidates, Search, kth_score, leading, width

# Nodes that could hold what stands before the target: so many in the first round, twice as many in each after it. One
# may hold many titles, so taking as many as the limit at once runs what is not needed.
_FIRST = 8


@dataclass(frozen=True, slots=True, eq=False)
class Standing:
    """Where a target stands up to a limit, under both rules for seen items, and the best that were not seen.

    Attributes:
        target: Catalog index.
        limit: Ranks up to this are exact.
        top: How many of the best unseen items are wanted; 0: where the target stands is all.
        unseen: Counts the items that were not seen.
        is_unseen: (I,) which these are.
        text_of_item: (I,) title text of every item.
    """

    target: int
    limit: int
    top: int
    unseen: Candidates
    is_unseen: BoolArray
    text_of_item: IntArray

    def wanted(self, search: Search) -> BoolArray:
        """See `Goal.wanted`."""
        first, stop = search.trie.title_range(search.open.nodes)
        some_unseen = self.unseen.count(first, stop) > 0
        bounds = search.open.bounds
        items, scores = found_items(search)
        own, kth = self.is_unseen[items], self.kth_score(search)
        live = some_unseen & (bounds >= (-np.inf if kth is None else kth))
        chosen = np.zeros(len(bounds), dtype=np.bool_)
        if self.top:
            chosen = leading(bounds, live, scores[own], width(search.num_rounds) * self.top)
        alike = self.text_of_item[items] == self.text_of_item[self.target]
        if not alike.any():  # items of one text have one path: all of them are known, or none
            title = search.trie.title_of_item[self.target]
            return np.asarray(chosen | ((first <= title) & (title < stop)), dtype=np.bool_)
        ahead = scores > scores[alike].max()
        counts = [len(np.unique(self.text_of_item[items[which]])) for which in (ahead & own, ahead)]
        if counts[0] < self.limit:
            rivals = some_unseen | (counts[1] < self.limit)
            live = rivals & (bounds >= scores[alike].min())
            chosen |= leading(bounds, live, scores[:0], min(_FIRST << search.num_rounds, self.limit - counts[0]))
        return chosen

    def kth_score(self, search: Search) -> float | None:
        """See `Goal.kth_score`; of the items that were not seen."""
        if not self.top:
            return None
        items, scores = found_items(search)
        own = self.is_unseen[items]
        return kth_score(scores[own], np.ones(np.count_nonzero(own), dtype=np.int64), self.top)

    def bounds(self, search: Search) -> FloatArray:
        """See `Goal.bounds`; of nodes above an item that was not seen."""
        if not self.top:
            return search.open.bounds[:0]
        return search.open.bounds[self.unseen.count(*search.trie.title_range(search.open.nodes)) > 0]


def found_items(search: Search) -> tuple[IntArray, FloatArray]:
    """(n,) items whose score a search knows, and (n,) scores; a title that was found stands for all its items."""
    if search.candidates.addends is not None:
        return search.lines, search.scores
    return items_of_titles(search.trie.items_by_title, search.lines, search.scores)


def items_of_titles(
    by_title: tuple[IntArray, IntArray], titles: IntArray, scores: FloatArray
) -> tuple[IntArray, FloatArray]:
    """(n,) items of some titles, title after title, and (n,) scores of their titles.

    Args:
        by_title: (I,) items title after title, and (T + 1,) where each title's begin.
        titles: Whose items.
        scores: Of each title.
    """
    order, starts = by_title
    counts = starts[titles + 1] - starts[titles]
    within = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    return order[np.repeat(starts[titles], counts) + within], np.repeat(scores, counts)
