"""A language model as a recommender: by its titles, by its item head, or by both, over one forward pass of the prompts.

A strategy lays a query's history out, the prompt runs once, and at its last position the answers begin: the title trie
hangs there, and the item head reads the state there. Exact in each case. Prompts run in batches of like length without
padding; what all of them begin with is run once; scoring all items, prompts of one user share what they share.

Shapes: I items, P positions of a prompt, B prompts of a batch, D hidden size.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import groupby
from math import ceil
from statistics import fmean
from time import perf_counter
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from patchrec.config import ScoreName
from patchrec.data.catalog import numbered
from patchrec.data.histories import Dataset
from patchrec.errors import CheckFailedError, OutOfResourcesError, UsageError
from patchrec.history import BoolArray, FloatArray, IntArray
from patchrec.layout import Grain
from patchrec.model.attention import Context, Extension
from patchrec.model.backbone import Backbone
from patchrec.model.forest import Forest, grow, shared_prefix
from patchrec.model.memory import is_out_of_memory, tokens_that_fit
from patchrec.model.patching import PathEncoder
from patchrec.model.prefixes import PrefixCache, names_of
from patchrec.ranking.compression import all_text
from patchrec.ranking.dense import dense_ranking, with_probabilities
from patchrec.ranking.items import precedence, rank_items, shortfall
from patchrec.ranking.scorer import MAX_NODES, TitleScorer
from patchrec.ranking.search import Candidates, Found, best_first, search_each
from patchrec.ranking.standing import Standing, items_of_titles
from patchrec.recommender import Certificate, Cost, Level, Located, Query, Ranking, Scores, Search
from patchrec.reporting import SILENT, Reporter
from patchrec.strategy import Planner

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class _Group:
    """Queries whose prompts run together.

    Attributes:
        encoder: Knows the session patches of these prompts.
        numbers: Of the queries.
        paths: For each the keys of its prompt.
        forest: The prompts, merged.
        nodes: For each the nodes of its prompt.
    """

    encoder: PathEncoder
    numbers: list[int]
    paths: list[IntArray]
    forest: Forest
    nodes: list[IntArray]

    @classmethod
    def of(cls, encoder: PathEncoder, numbers: list[int], paths: list[IntArray]) -> "_Group":
        """Merge some prompts."""
        return cls(encoder, numbers, paths, *grow(paths))


@dataclass(eq=False)
class LanguageRecommender:
    """A model with a catalog: ranks its items. The model's weights stay as they are for as long as it ranks.

    Attributes:
        backbone: The model.
        encoder: Prompt and titles.
        planner: The strategy that lays histories out.
        place: (I,) order among equal scores (`precedence`).
        titles: (I,) the catalog's titles.
        scorer: Scores titles; None ranks by the item head alone.
        item_weight: Of the item head's log-probability beside the title's; None ranks by titles alone.
        search: `best-first` stops with a proof; `whole` scores every title.
        retrieve: The item head proposes so many allowed items, and the best k among them are found; None: among all.
        max_tokens: Positions of one batch, prompts with what their searches run; chosen from free memory where not
            given. A prompt that is longer is a batch of its own. Halved, and reported, when memory runs out.
        max_nodes: Positions of prompts of one user that are scored together.
        paper_ratio: Analytic compression ratio of the strategy on the data set; None where it has none.
        report: Where notes go.
        prefixes: Keeps what prompts begin with between rankings, so that a user's next one runs what is new; None: off.
    """

    backbone: Backbone
    encoder: PathEncoder
    planner: Planner
    place: IntArray
    titles: Sequence[str]
    scorer: TitleScorer | None
    item_weight: float | None = None
    search: Search = "best-first"
    retrieve: int | None = None
    max_tokens: int | None = None
    max_nodes: int = MAX_NODES
    paper_ratio: float | None = None
    report: Reporter = field(default=SILENT, repr=False)
    prefixes: PrefixCache | None = field(default=None, repr=False)

    @property
    def score(self) -> ScoreName:
        """Name of what ranks."""
        if self.scorer is None:
            return "item"
        return self.scorer.score if self.item_weight is None else "mixture"

    @property
    def level(self) -> Level:
        """An item head tells items of one title apart."""
        return "title" if self.item_weight is None and self.scorer is not None else "item"

    @property
    def device(self) -> str:
        """Where the model is."""
        return self.backbone.device.type

    @classmethod
    def of(cls, scorer: TitleScorer, planner: Planner, dataset: Dataset, **more: Any) -> "LanguageRecommender":
        """A recommender by titles of a data set's items.

        Args:
            scorer: The model with prompt, titles and score.
            planner: Lays histories out.
            dataset: Whose items are ranked.
            more: Further attributes.
        """
        place, titles = precedence(dataset.popularity), dataset.catalog.titles
        given = {"max_nodes": scorer.max_nodes, **more}
        return cls(scorer.backbone, scorer.encoder, planner, place, titles, scorer, **given)

    # All items

    def score_each(self, queries: Sequence[Query]) -> Iterator[tuple[int, Scores]]:
        """See `Recommender.score_each`; neighbouring queries run as one forest, in the queries' order.

        Raises:
            CheckFailedError: The model's scores are not numbers.
        """
        for group in self._groups(queries):
            begun = perf_counter()
            hidden, context = self.backbone.prefill(group.encoder, group.forest)
            share = (perf_counter() - begun) / len(group.numbers)
            answers: dict[int, FloatArray] = {}  # by last position: equal prompts are scored once
            ran = np.zeros(len(group.forest), dtype=np.bool_)
            for number, nodes in zip(group.numbers, group.nodes, strict=True):
                begun, leaf, beside, products = perf_counter(), int(nodes[-1]), 0, self.backbone.products
                if leaf not in answers:
                    answers[leaf] = self._score_all(group.encoder, context, leaf, hidden[leaf])
                    beside = 0 if self.scorer is None else self.scorer.tokens
                fresh = int(np.count_nonzero(~ran[nodes]))
                ran[nodes] = True
                seconds, products = share + perf_counter() - begun, self.backbone.products - products
                cost = self._cost(queries[number], len(nodes), fresh, beside, products, seconds)
                yield number, Scores(answers[leaf], cost)

    def _score_all(self, encoder: PathEncoder, context: Context, position: int, hidden: Tensor) -> FloatArray:
        """(I,) log-probabilities after a prompt already run."""
        if self.scorer is None:
            return np.asarray(self._item_log_probs(encoder, hidden[None])[0], dtype=np.float64)
        titles = self.scorer.for_encoder(encoder).score_titles(context, position, hidden)
        own = titles[self.scorer.trie.title_of_item]
        if self.item_weight is None:
            return np.asarray(own, dtype=np.float64)
        fused = own + self.item_weight * self._item_log_probs(encoder, hidden[None])[0]
        return np.asarray(fused - np.logaddexp.reduce(fused), dtype=np.float64)

    @torch.no_grad()
    def _item_log_probs(self, encoder: PathEncoder, hidden: Tensor) -> FloatArray:
        """(B, I) log-probability of every item by the item head.

        Raises:
            CheckFailedError: They are not numbers.
        """
        logits = self.backbone.item_logits(hidden, encoder)
        log_probs: FloatArray = logits.double().log_softmax(dim=1).cpu().numpy()
        unsound = np.count_nonzero(~np.isfinite(log_probs))
        if unsound:
            raise CheckFailedError(
                f"{self.backbone.name}: the item head's scores of {unsound:,} items are not numbers; its weights are "
                "damaged or training diverged: rank with an earlier checkpoint or another run"
            )
        return log_probs

    def _groups(self, queries: Sequence[Query]) -> Iterator[_Group]:
        """Put neighbouring queries together while their merged prompts fit one forward pass.

        Titles hang under the prompts of one user alone; an item head reads nothing but their ends, whoever's they are.
        """
        alone = (-1 - number for number in range(len(queries)))
        users = [next(alone) if query.user is None else query.user for query in queries]
        for _, run in groupby(range(len(queries)), key=lambda number: self.scorer and users[number]):
            encoder = self.encoder.fresh()
            group: _Group | None = None
            for number in run:
                path = self._path(encoder, queries[number])
                if group is not None:
                    grown = _Group.of(encoder, [*group.numbers, number], [*group.paths, path])
                    if len(grown.forest) <= self.max_nodes:
                        group = grown
                        continue
                    yield group
                group = _Group.of(encoder, [number], [path])
            if group is not None:
                yield group

    def _path(self, encoder: PathEncoder, query: Query) -> IntArray:
        """(P,) keys of a query's prompt."""
        return encoder.prompt_path(query.history, self.planner.plan(query.history))

    def _cost(self, query: Query, length: int, fresh: int, beside: int, products: float, seconds: float) -> Cost:
        """What a query took, of whose prompt so many positions are `fresh`: no earlier one ran them."""
        return Cost(
            positions=fresh + beside,
            beside=beside,
            flops=(fresh + beside) * self._flops_per_position + 2 * products,
            seconds=seconds,
            length=length,
            text_length=self.encoder.num_positions(query.history, all_text(len(query.history))),
            around=len(self.encoder.prompt.head) + len(self.encoder.prompt.tail),
        )

    @cached_property
    def _flops_per_position(self) -> float:
        """Two for each weight that a position passes through; embeddings are looked up, not multiplied."""
        model = self.backbone.model.base_model
        tables = {id(self.backbone.embedding)}
        return 2.0 * sum(int(weight.numel()) for weight in model.parameters() if id(weight) not in tables)

    # The best k

    def rank_each(
        self, queries: Sequence[Query], k: int, *, allowed: BoolArray | None = None
    ) -> Iterator[tuple[int, Ranking]]:
        """See `Recommender.rank_each`; each ranking as soon as its batch is done, long prompts first.

        Raises:
            UsageError: k is below 1.
            CheckFailedError: The model's scores are not numbers.
            OutOfResourcesError: One prompt alone does not fit in memory.
        """
        if k < 1:
            raise UsageError(f"k must be at least 1, got {k!r}")
        if self.retrieve is not None and self.retrieve < k:
            raise UsageError(
                f"--retrieve {self.retrieve:,} is below --k {k:,}; take at least as many, better ten times"
            )
        if self.scorer is None and self.prefixes is None:
            for number, scores in self.score_each(queries):
                seen = queries[number].seen
                yield number, dense_ranking(scores.log_probs, seen, k, allowed, self.place, self.titles)
            return
        mask = np.ones(len(self.titles), dtype=np.bool_) if allowed is None else allowed
        if self.max_tokens is None:
            self.max_tokens = tokens_that_fit(self.backbone)
        lengths = self.lengths(queries).tolist()
        order = sorted(range(len(queries)), key=lambda number: -lengths[number])
        done = 0
        beside = 4 * k  # positions that a search runs beside its prompt: a guess, then what the last batch took
        while done < len(order):
            batch = _fitting(order, done, lengths, beside, self.max_tokens)
            own = [queries[number] for number in batch]
            rankings, error = _tried(partial(self._rank_batch, own, k, mask))
            if rankings is None:
                self._halve([lengths[number] + beside for number in batch], f"for the best {k:,}", error)
                continue
            done += len(batch)
            beside = max(_tokens_beside(ranking) for ranking in rankings)
            yield from zip(batch, rankings, strict=True)

    def lengths(self, queries: Sequence[Query]) -> IntArray:
        """(B,) positions of each query's prompt."""
        layouts = (self.planner.plan(query.history) for query in queries)
        found = [
            self.encoder.num_positions(query.history, layout) for query, layout in zip(queries, layouts, strict=True)
        ]
        return np.array(found, dtype=np.int64)

    def keeping(self, prefixes: PrefixCache | None) -> "LanguageRecommender":
        """The same with a cache of what prompts begin with, or without one."""
        return replace(self, prefixes=prefixes)

    def units(self, query: Query) -> list[slice]:
        """See `Grouping.units`: sessions that are one patch, and each other item that the layout shows."""
        found: list[slice] = []
        for span in self.planner.plan(query.history).spans:
            if span.grain is Grain.SESSION:
                found.append(slice(span.start, span.stop))
            elif span.grain is not Grain.DROPPED:
                found += [slice(item, item + 1) for item in range(span.start, span.stop)]
        return found

    def facts(self) -> dict[str, float | None]:
        """The analytic compression ratio of the strategy."""
        return {"compression_paper": self.paper_ratio}

    def _halve(self, sizes: Sequence[int], what: str, error: BaseException | None) -> None:
        """Take half of what ran out of memory from now on."""
        if len(sizes) == 1:
            raise OutOfResourcesError(
                f"out of memory on one prompt with its search {what}, about {sizes[0]:,} positions; take a "
                "strategy that compresses more, a smaller k, K or backbone, the score catalog, or close other programs"
            ) from error
        self.max_tokens = sum(sizes) // 2
        self.report.note(f"out of memory on {sum(sizes):,} positions: going on with {self.max_tokens:,} in a batch")
        if self.device == "cuda":
            torch.cuda.empty_cache()

    def _rank_batch(self, queries: Sequence[Query], k: int, allowed: BoolArray) -> list[Ranking]:
        encoder = self.encoder.fresh()  # which forgets the sessions of other batches
        contexts, hidden = self._prefill(encoder, queries)
        if self.scorer is None:
            mask = None if allowed.all() else allowed
            scores = self._item_log_probs(encoder, hidden)
            return [
                dense_ranking(own, query.seen, k, mask, self.place, self.titles)
                for own, query in zip(scores, queries, strict=True)
            ]
        scorer = self.scorer.for_encoder(encoder)
        items = None
        if self.item_weight is not None or self.retrieve is not None:
            items = self._item_log_probs(encoder, hidden)
        masks = [allowed] * len(queries)
        if items is not None and self.retrieve is not None:
            masks = [self._proposed(own, query, allowed) for own, query in zip(items, queries, strict=True)]
        if self.search == "whole":
            return [
                self._from_whole(scorer, context, state, query, k, mask)
                for query, context, state, mask in zip(queries, contexts, hidden, masks, strict=True)
            ]
        before = self._allowed_before(allowed)
        candidates = [
            self._candidates(before, query, mask, None if items is None else items[number])
            for number, (query, mask) in enumerate(zip(queries, masks, strict=True))
        ]
        found = best_first(scorer, contexts, hidden, candidates, k)
        return [self._from_found(one, query, k, allowed) for one, query in zip(found, queries, strict=True)]

    def _proposed(self, items: FloatArray, query: Query, allowed: BoolArray) -> BoolArray:
        """(I,) the best items of those allowed and not seen, by the item head alone."""
        own = np.where(allowed, items, -np.inf)
        own[query.seen] = -np.inf
        best = np.lexsort((self.place, -own))[: self.retrieve]
        mask = np.zeros(len(own), dtype=np.bool_)
        mask[best[own[best] > -np.inf]] = True
        return mask

    def _from_whole(
        self, scorer: TitleScorer, context: Context, state: Tensor, query: Query, k: int, allowed: BoolArray
    ) -> Ranking:
        """The ranking of a prompt after which everything has its score."""
        if self.item_weight is None:
            return self._from_all(scorer.score_titles(context, len(context) - 1, state), query, k, allowed)
        scores = self._score_all(scorer.encoder, context, len(context) - 1, state)
        return dense_ranking(scores, query.seen, k, allowed, self.place, self.titles)

    # Where a target stands

    def locate_each(
        self, queries: Sequence[Query], targets: Sequence[int], limit: int, *, top: int
    ) -> Iterator[tuple[int, Located]]:
        """See `Locator.locate_each`; in the queries' order, with neighbouring prompts that begin alike run as one.

        Raises:
            CheckFailedError: The model's scores are not numbers.
            OutOfResourcesError: One prompt alone does not fit in memory.
        """
        if self.scorer is None or self.search == "whole":
            for number, scores in self.score_each(queries):
                yield number, Located.among_all(scores)
            return
        if self.max_tokens is None:
            self.max_tokens = tokens_that_fit(self.backbone)
        done, beside = 0, limit  # positions that a search runs beside its prompt: a guess, then the last batch's mean
        while done < len(queries):
            group, sizes = self._sharing(queries, done, beside, self.max_tokens)
            own = slice(done, done + len(group.paths))
            found, error = _tried(partial(self._locate_batch, group, queries[own], targets[own], limit, top))
            if found is None:
                self._halve(sizes, f"for ranks up to {limit:,}", error)
                continue
            yield from enumerate(found, done)
            done, beside = own.stop, ceil(fmean(located.cost.beside for located in found))

    def _sharing(self, queries: Sequence[Query], start: int, beside: int, max_tokens: int) -> tuple[_Group, list[int]]:
        """The queries from `start` on that fit a batch, one at least, and what each adds to it, in positions."""
        encoder = self.encoder.fresh()
        paths: list[IntArray] = []
        sizes: list[int] = []
        for number in range(start, len(queries)):
            path = self._path(encoder, queries[number])
            size = len(path) - (shared_prefix(paths[-1], path) if paths else 0) + beside
            if paths and sum(sizes) + size > max_tokens:
                break
            paths.append(path)
            sizes.append(size)
        return _Group.of(encoder, list(range(start, start + len(paths))), paths), sizes

    def _locate_batch(
        self, group: _Group, queries: Sequence[Query], targets: Sequence[int], limit: int, top: int
    ) -> list[Located]:
        assert self.scorer is not None
        begun, before_all = perf_counter(), self.backbone.products
        scorer = self.scorer.for_encoder(group.encoder)
        hidden, context = self.backbone.prefill(group.encoder, group.forest)
        leaves = np.array([nodes[-1] for nodes in group.nodes])
        contexts = [context.path(leaf, hidden.device) for leaf in leaves.tolist()]
        hidden = hidden[torch.from_numpy(leaves).to(hidden.device)]
        items = None if self.item_weight is None else self._item_log_probs(group.encoder, hidden)
        everything = np.ones(len(self.titles), dtype=np.bool_)
        before = self._allowed_before(everything)
        candidates, goals = [], []
        for number, (query, target) in enumerate(zip(queries, targets, strict=True)):
            own = None if items is None else items[number]
            candidates.append(self._candidates(before, Query(query.history), everything, own))
            is_unseen = everything.copy()
            is_unseen[query.seen] = False
            unseen = Candidates(before, self._left_out(query.seen, everything))
            goals.append(Standing(int(target), limit, min(top, limit), unseen, is_unseen, self._text_of_item))
        found = search_each(scorer, contexts, hidden, candidates, goals)
        seconds = (perf_counter() - begun) / len(queries)
        products = (self.backbone.products - before_all) / len(queries)
        located, ran = [], np.zeros(len(group.forest), dtype=np.bool_)
        for one, query, nodes, target in zip(found, queries, group.nodes, targets, strict=True):
            fresh = int(np.count_nonzero(~ran[nodes]))
            ran[nodes] = True
            cost = self._cost(query, len(nodes), fresh, one.num_tokens, products, seconds)
            located.append(self._located(one, int(target), cost))
        return located

    def _located(self, found: Found, target: int, cost: Cost) -> Located:
        """What a search found, with the probability of the target's title where the score is one of titles."""
        assert self.scorer is not None
        items, scores = found.items, found.scores
        if items is None:
            items, scores = items_of_titles(self.scorer.trie.items_by_title, found.titles, scores)
        own = float(scores[items == target][0]) if self.level == "title" else None
        return Located(items, scores, own, cost=cost, certificate=self._certificate(found))

    @cached_property
    def _text_of_item(self) -> IntArray:
        """(I,) a number for every distinct title text."""
        return numbered(self.titles)

    def prefill(self, queries: Sequence[Query]) -> tuple[list[Context], Tensor]:
        """Run some prompts and search nothing: their contexts and (B, D) last hidden states. For measuring."""
        return self._prefill(self.encoder.fresh(), queries)

    def _prefill(self, encoder: PathEncoder, queries: Sequence[Query]) -> tuple[list[Context], Tensor]:
        """Contexts of some prompts, each ending with its prompt's last position, and (B, D) hidden states there.

        Prompts of one user run what they share once; so does one that begins as an earlier one did, where that is kept.
        """
        head = self._head
        start = 0 if head is None else len(head)
        paths = [self._path(encoder, query)[start:] for query in queries]
        if not all(len(path) for path in paths):
            raise ValueError("a prompt needs a position to end with")
        extensions, nodes, names = [], [], {}
        groups = _of_one_user(queries)
        for group in groups:
            base, found = head, 0
            if self.prefixes is not None and len(group) == 1:
                names[group[0]] = names_of(encoder, paths[group[0]])
                base, found = self.prefixes.find(head, names[group[0]][:-1])
            forest, own = grow([paths[number][found:] for number in group])
            nodes.append(own)
            extensions.append(Extension(forest) if base is None else Extension.at(forest, base, len(base) - 1))
        hidden, grown = self.backbone.extend(encoder, extensions)
        contexts: list[Context] = list(grown[:1]) * len(queries)
        last = np.zeros(len(queries), dtype=np.int64)
        first = 0
        for group, extension, own, context in zip(groups, extensions, nodes, grown, strict=True):
            before = 0 if extension.context is None else len(extension.context)
            for number, path in zip(group, own, strict=True):
                last[number] = first + path[-1]
                whole = len(group) == 1
                contexts[number] = context if whole else context.path(before + int(path[-1]), hidden.device)
                if self.prefixes is not None and whole:
                    self.prefixes.add(names[number], context, start)
            first += len(extension.forest)
        return contexts, hidden[torch.from_numpy(last).to(hidden.device)]

    @cached_property
    def _head(self) -> Context | None:
        """What every prompt begins with, but for its last position: a prompt of nothing more has to end somewhere."""
        head = self.encoder.prompt.head[:-1]
        if not len(head):
            return None
        forest, _ = grow([head])
        return self.backbone.prefill(self.encoder, forest)[1]

    def _allowed_before(self, allowed: BoolArray) -> IntArray:
        """(T + 1,) allowed items of all titles before each title."""
        assert self.scorer is not None
        trie = self.scorer.trie
        counts = np.bincount(trie.title_of_item[allowed], minlength=len(trie))
        return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    def _left_out(self, seen: IntArray, allowed: BoolArray) -> IntArray:
        """Titles of allowed items that were seen, ascending."""
        assert self.scorer is not None
        distinct = np.unique(seen)
        return np.sort(self.scorer.trie.title_of_item[distinct[allowed[distinct]]]).astype(np.int64)

    def _candidates(self, before: IntArray, query: Query, allowed: BoolArray, items: FloatArray | None) -> Candidates:
        """What a search may find after a query, with what the item head adds to each item's score."""
        if items is None:
            return Candidates(before, self._left_out(query.seen, allowed))
        assert self.scorer is not None
        kept = allowed.copy()
        kept[query.seen] = False
        return Candidates.with_addends(self.scorer.trie, (self.item_weight or 0.0) * items, kept)

    def _from_all(self, scores: FloatArray, query: Query, k: int, allowed: BoolArray) -> Ranking:
        """The ranking of a prompt after which every title has its score."""
        assert self.scorer is not None
        scorer = self.scorer
        own = scores[scorer.trie.title_of_item]
        found = dense_ranking(own, query.seen, k, allowed, self.place, self.titles, normalised=False)
        total = 0.0 if scorer.score == "catalog" else float(np.logaddexp.reduce(scores - scorer.trie.log_shares))
        certificate = Certificate(
            search="whole",
            kth_score=found.recommendations[-1].score if found.shortfall is None else None,
            best_open_bound=None,
            num_expanded=len(scorer.trie.parents(scorer.score)),
            num_titles=len(scores),
            num_tokens=scorer.tokens,
            num_rounds=len(scorer.trie.pieces(scorer.score, scorer.max_nodes)),
            retrieved=self.retrieve,
        )
        return Ranking(with_probabilities(found.recommendations, total), found.shortfall, certificate)

    def _from_found(self, found: Found, query: Query, k: int, allowed: BoolArray) -> Ranking:
        """The ranking of a prompt from the titles, or the items, that a search found."""
        enough = len(found.titles) if found.kth_score is None else int((found.scores >= found.kth_score).sum())
        items, values = self._items_of(found, enough)
        kept = allowed[items] & ~np.isin(items, query.seen)
        best = rank_items(items[kept], values[kept], self.place, self.titles, k=k)
        left = int(allowed.sum()) - int(allowed[np.unique(query.seen)].sum())
        if self.score == "catalog":
            best = with_probabilities(best)
        return Ranking(best, shortfall(k, len(allowed), int(allowed.sum()), left), self._certificate(found))

    def _certificate(self, found: Found) -> Certificate:
        """The proof that a search ended with."""
        return Certificate(
            search="best-first",
            kth_score=found.kth_score,
            best_open_bound=found.best_open_bound,
            num_expanded=found.num_expanded,
            num_titles=len(np.unique(found.titles)),
            num_tokens=found.num_tokens,
            num_rounds=found.num_rounds,
            retrieved=self.retrieve,
        )

    def _items_of(self, found: Found, enough: int) -> tuple[IntArray, FloatArray]:
        """The items of the first lines that a search found, with their scores; a title stands for all that have it."""
        if found.items is not None:
            return found.items[:enough], found.scores[:enough]
        assert self.scorer is not None
        return items_of_titles(self.scorer.trie.items_by_title, found.titles[:enough], found.scores[:enough])


def _of_one_user(queries: Sequence[Query]) -> list[list[int]]:
    """Numbers of the queries, those of one user together, in order of first appearance."""
    found: dict[int, list[int]] = {}
    for number, query in enumerate(queries):
        found.setdefault(-1 - number if query.user is None else query.user, []).append(number)
    return list(found.values())


def _tried(run: Callable[[], list[T]]) -> tuple[list[T] | None, BaseException | None]:
    """What a batch gives, or the error where memory ran out."""
    try:
        return run(), None
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return None, error.with_traceback(None)  # which would keep the tensors of the batch


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
