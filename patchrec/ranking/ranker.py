"""The ranker: many users' prompts in, one exact ranking each out. What recommending, alone or in bulk, calls.

Prompts run in batches of like length without padding; what all of them begin with is run once. Shapes: I items,
P positions of a prompt, B prompts of a batch, D hidden size.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from patchrec.errors import OutOfResourcesError, UsageError
from patchrec.history import BoolArray, FloatArray, History, IntArray
from patchrec.layout import Layout
from patchrec.model.attention import Context, Extension
from patchrec.model.forest import grow
from patchrec.model.memory import is_out_of_memory, tokens_that_fit
from patchrec.model.patching import PathEncoder
from patchrec.ranking.items import Certificate, Ranking, Recommendation, rank_items, shortfall
from patchrec.ranking.scorer import TitleScorer
from patchrec.ranking.search import Candidates, Found, best_first
from patchrec.reporting import SILENT, Reporter

Search = Literal["best-first", "whole"]


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


@dataclass(eq=False)
class Ranker:
    """A model with a catalog: ranks its items. The model's weights stay as they are for as long as it lives.

    Attributes:
        scorer: The model, prompt and title trie.
        place: (I,) order among equal scores (`precedence`).
        titles: (I,) the catalog's titles.
        max_tokens: Positions of one batch, prompts with what their searches run; chosen from free memory where not
            given. A prompt that is longer is a batch of its own. Halved, and told, when memory runs out.
        report: Where that is told.
    """

    scorer: TitleScorer
    place: IntArray
    titles: Sequence[str]
    max_tokens: int | None = None
    report: Reporter = field(default=SILENT, repr=False)

    def rank(
        self, queries: Sequence[Query], k: int, *, allowed: BoolArray | None = None, search: Search = "best-first"
    ) -> list[Ranking]:
        """Rank for each query, in their order.

        Args:
            queries: What is asked.
            k: How many items each.
            allowed: (I,) items that may be ranked at all; None allows the whole catalog.
            search: `best-first` stops with a proof; `whole` scores every title.

        Raises:
            UsageError: k is below 1.
            CheckFailedError: The model's scores are not numbers.
            OutOfResourcesError: One prompt alone does not fit in memory.
        """
        each = self.rank_each(queries, k, allowed=allowed, search=search)
        return [ranking for _, ranking in sorted(each, key=lambda pair: pair[0])]

    def rank_each(
        self, queries: Sequence[Query], k: int, *, allowed: BoolArray | None = None, search: Search = "best-first"
    ) -> Iterator[tuple[int, Ranking]]:
        """As `rank`, each ranking as soon as its batch is done, with the number of its query; long prompts first."""
        if k < 1:
            raise UsageError(f"k must be at least 1, got {k!r}")
        mask = np.ones(len(self.titles), dtype=np.bool_) if allowed is None else allowed
        if self.max_tokens is None:
            self.max_tokens = tokens_that_fit(self.scorer.backbone)
        lengths = [self.scorer.encoder.num_positions(query.history, query.layout) for query in queries]
        order = sorted(range(len(queries)), key=lambda number: -lengths[number])
        done = 0
        beside = 4 * k  # positions that a search runs beside its prompt: a guess, then what the last batch took
        while done < len(order):
            batch = _fitting(order, done, lengths, beside, self.max_tokens)
            rankings, error = self._tried([queries[number] for number in batch], k, mask, search)
            if rankings is None:
                self._halve([lengths[number] + beside for number in batch], k, error)
                continue
            done += len(batch)
            beside = max(_tokens_beside(ranking) for ranking in rankings)
            yield from zip(batch, rankings, strict=True)

    def _tried(
        self, queries: Sequence[Query], k: int, allowed: BoolArray, search: Search
    ) -> tuple[list[Ranking] | None, BaseException | None]:
        """The rankings of a batch, or the error where memory ran out."""
        try:
            return self._rank_batch(queries, k, allowed, search), None
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            return None, error.with_traceback(None)  # which would keep the tensors of the batch

    def _halve(self, sizes: Sequence[int], k: int, error: BaseException | None) -> None:
        """Take half of what ran out of memory from now on."""
        if len(sizes) == 1:
            raise OutOfResourcesError(
                f"out of memory on one prompt with its search for the best {k:,}, about {sizes[0]:,} positions; take a "
                "strategy that compresses more, a smaller k, K or backbone, the score catalog, or close other programs"
            ) from error
        self.max_tokens = sum(sizes) // 2
        self.report.note(f"out of memory on {sum(sizes):,} positions: going on with {self.max_tokens:,} in a batch")
        if self.scorer.backbone.device.type == "cuda":
            torch.cuda.empty_cache()

    def _rank_batch(self, queries: Sequence[Query], k: int, allowed: BoolArray, search: Search) -> list[Ranking]:
        scorer = self.scorer.for_encoder(self.scorer.encoder.fresh())  # which forgets the sessions of other batches
        contexts, hidden = self._prefill(scorer.encoder, queries)
        if search == "whole":
            return [
                self._from_all(scorer.score_titles(context, len(context) - 1, state), query, k, allowed)
                for query, context, state in zip(queries, contexts, hidden, strict=True)
            ]
        before = self._allowed_before(allowed)
        candidates = [Candidates(before, self._left_out(query.seen, allowed)) for query in queries]
        found = best_first(scorer, contexts, hidden, candidates, k)
        return [self._from_found(one, query, k, allowed) for one, query in zip(found, queries, strict=True)]

    def prefill(self, queries: Sequence[Query]) -> tuple[list[Context], Tensor]:
        """Run some prompts and search nothing: their contexts and (B, D) last hidden states. For measuring."""
        return self._prefill(self.scorer.encoder.fresh(), queries)

    def _prefill(self, encoder: PathEncoder, queries: Sequence[Query]) -> tuple[list[Context], Tensor]:
        """Contexts of some prompts, each ending with its prompt's last position, and (B, D) hidden states there."""
        head = self._head
        start = 0 if head is None else len(head)
        extensions = []
        for query in queries:
            path = encoder.prompt_path(query.history, query.layout)[start:]
            if not len(path):
                raise ValueError("a prompt needs a position to end with")
            forest, _ = grow([path])
            extensions.append(Extension(forest) if head is None else Extension.at(forest, head, start - 1))
        hidden, contexts = self.scorer.backbone.extend(encoder, extensions)
        last = np.cumsum([len(extension.forest) for extension in extensions]) - 1
        return contexts, hidden[torch.from_numpy(last).to(hidden.device)]

    @cached_property
    def _head(self) -> Context | None:
        """What every prompt begins with, but for its last position: a prompt of nothing more has to end somewhere."""
        head = self.scorer.encoder.prompt.head[:-1]
        if not len(head):
            return None
        forest, _ = grow([head])
        return self.scorer.backbone.prefill(self.scorer.encoder, forest)[1]

    def _allowed_before(self, allowed: BoolArray) -> IntArray:
        """(T + 1,) allowed items of all titles before each title."""
        trie = self.scorer.trie
        counts = np.bincount(trie.title_of_item[allowed], minlength=len(trie))
        return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    def _left_out(self, seen: IntArray, allowed: BoolArray) -> IntArray:
        """Titles of allowed items that were seen, ascending."""
        distinct = np.unique(seen)
        return np.sort(self.scorer.trie.title_of_item[distinct[allowed[distinct]]]).astype(np.int64)

    def _from_all(self, scores: FloatArray, query: Query, k: int, allowed: BoolArray) -> Ranking:
        """The ranking of a prompt after which every title has its score."""
        items = np.flatnonzero(allowed & ~np.isin(np.arange(len(allowed)), query.seen))
        values = scores[self.scorer.trie.title_of_item[items]]
        best = rank_items(items, values, self.place, self.titles, k=k)
        reason = shortfall(k, len(allowed), int(allowed.sum()), len(items))
        total = 0.0 if self.scorer.score == "catalog" else float(np.logaddexp.reduce(scores))
        certificate = Certificate(
            search="whole",
            kth_score=best[-1].score if reason is None else None,
            best_open_bound=None,
            num_expanded=len(self.scorer.trie.parents(self.scorer.score)),
            num_titles=len(scores),
            num_tokens=self.scorer.tokens,
            num_rounds=len(self.scorer.trie.pieces(self.scorer.score, self.scorer.max_nodes)),
        )
        return Ranking(_with_probabilities(best, total), reason, certificate)

    def _from_found(self, found: Found, query: Query, k: int, allowed: BoolArray) -> Ranking:
        """The ranking of a prompt from the titles that a search found."""
        enough = len(found.titles) if found.kth_score is None else int((found.scores >= found.kth_score).sum())
        order, starts = self.scorer.trie.items_by_title
        groups = [order[starts[title] : starts[title + 1]] for title in found.titles[:enough].tolist()]
        items = np.concatenate([np.empty(0, dtype=np.int64), *groups]).astype(np.int64)
        values = np.repeat(found.scores[:enough], [len(group) for group in groups])
        kept = allowed[items] & ~np.isin(items, query.seen)
        best = rank_items(items[kept], values[kept], self.place, self.titles, k=k)
        left = int(allowed.sum()) - int(allowed[np.unique(query.seen)].sum())
        certificate = Certificate(
            search="best-first",
            kth_score=found.kth_score,
            best_open_bound=found.best_open_bound,
            num_expanded=found.num_expanded,
            num_titles=len(found.titles),
            num_tokens=found.num_tokens,
            num_rounds=found.num_rounds,
        )
        if self.scorer.score == "catalog":
            best = _with_probabilities(best, 0.0)
        return Ranking(best, shortfall(k, len(allowed), int(allowed.sum()), left), certificate)


def _fitting(order: Sequence[int], start: int, lengths: Sequence[int], beside: int, max_tokens: int) -> Sequence[int]:
    """The queries from `start` on that fit a batch: one at least."""
    stop, room = start, max_tokens
    while stop < len(order) and (stop == start or lengths[order[stop]] + beside <= room):
        room -= lengths[order[stop]] + beside
        stop += 1
    return order[start:stop]


def _tokens_beside(ranking: Ranking) -> int:
    """Positions whose keys and values a ranking kept beside its prompt's."""
    found = ranking.certificate
    return 0 if found is None or found.search == "whole" else found.num_tokens


def _with_probabilities(best: Sequence[Recommendation], total: float) -> tuple[Recommendation, ...]:
    """Recommendations with the probability of their titles, where `total` is the log of all titles' exp(score)."""
    return tuple(replace(line, probability=float(np.exp(line.score - total))) for line in best)
