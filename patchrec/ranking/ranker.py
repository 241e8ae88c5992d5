"""The ranker: many users' prompts in, one exact ranking each out. What recommending, alone or in bulk, calls."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from patchrec.history import BoolArray, History, IntArray
from patchrec.layout import Layout
from patchrec.ranking.items import Ranking, rank_items
from patchrec.ranking.search import TitleScorer


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """What one ranking is asked after.

    Attributes:
        history: What the user did.
        layout: How the prompt shows it.
        seen: Items left out of this ranking; empty keeps all.
    """

    history: History
    layout: Layout
    seen: IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Ranker:
    """A model with a catalog: ranks its items.

    Attributes:
        scorer: The model, prompt and title trie.
        place: (I,) order among equal scores (`precedence`).
        titles: (I,) the catalog's titles.
    """

    scorer: TitleScorer
    place: IntArray
    titles: Sequence[str]

    def rank(self, queries: Sequence[Query], k: int, *, allowed: BoolArray | None = None) -> list[Ranking]:
        """Rank for each query, in their order.

        Args:
            queries: What is asked.
            k: How many items each.
            allowed: (I,) items that may be ranked at all; None allows the whole catalog.
        """
        return [ranking for _, ranking in sorted(self.rank_each(queries, k, allowed=allowed), key=lambda pair: pair[0])]

    def rank_each(
        self, queries: Sequence[Query], k: int, *, allowed: BoolArray | None = None
    ) -> Iterator[tuple[int, Ranking]]:
        """As `rank`, each ranking as soon as it is there, with the number of its query."""
        for number, query in enumerate(queries):
            path = self.scorer.encoder.prompt_path(query.history, query.layout)
            scores = self.scorer.score_prompt(path)
            yield (
                number,
                rank_items(scores, self.scorer.trie.title_of_item, self.place, self.titles, k=k, seen=query.seen),
            )
