"""Best-first search of the title trie: the exact k best candidates, with a proof, without scoring the rest.

A log-probability only falls along a path, so the score of a node bounds every title below it. A search holds titles
found, with their scores, and open nodes, with their bounds. A round expands the best open nodes; when no bound reaches
the k-th score found, nothing open can displace a title found, and the k best are exact. All users of a batch take a
round together: one forward pass, with each one's nodes hung under its own prompt.

A node with one child is never expanded alone. Under `catalog` the child is certain, so a chain is run only to reach the
branching at its end, and a chain that ends a title is not run at all; under `joint` a chain runs in one pass.

Filters act inside: a node without a candidate below is never opened, and titles count by the candidates they stand for.

Items may have a score of their own that adds to their title's, such as an item head's. A search then finds items, not
titles, and a node's bound is its path's plus the best that any candidate below adds. Both are one floating-point sum of
terms that are no smaller than an item's, and rounding keeps order: no item's score is above a bound over it. Nor does
what a text takes of a title that several share: it only lowers a score (see `trie`).

Shapes: E entries expanded, n parents, C children, B prompts, I items, T titles.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from patchrec.history import BoolArray, FloatArray, IntArray
from patchrec.model.attention import Context, Extension
from patchrec.model.forest import Forest
from patchrec.ranking.scorer import TitleScorer
from patchrec.ranking.trie import TitleTrie

# A round takes the open nodes among the best WIDTH * k of titles and nodes: the best k are those that are needed if
# nothing better turns up. A search that is not done after PATIENCE rounds doubles its width every round, up to MOST: a
# round has a price of its own (reading all weights), that of some tens of nodes.
_WIDTH = 2
_PATIENCE = 2
_MOST = 8


@dataclass(frozen=True, slots=True, eq=False)
class Addends:
    """What each candidate item adds to the score of its title, for one prompt.

    Attributes:
        items: (I,) items, title after title.
        starts: (T + 1,) where each title's items begin.
        values: (I + 1,) what they add, in the same order; -inf for items that are no candidates, and at the end, where
            the slice of the last title closes.
    """

    items: IntArray
    starts: IntArray
    values: FloatArray

    def best(self, first: IntArray, stop: IntArray) -> FloatArray:
        """(n,) the largest value of the titles in half-open ranges, none of them empty."""
        largest = np.empty(len(first))
        if len(first):
            order = np.argsort(first, kind="stable")  # out of order, what lies between ranges is read again and again
            edges = np.stack([self.starts[first[order]], self.starts[stop[order]]], axis=1)
            largest[order] = np.maximum.reduceat(self.values, edges.reshape(-1))[::2]  # the others lie between ranges
        return largest

    def candidates(self, titles: IntArray) -> tuple[IntArray, IntArray, FloatArray]:
        """Candidates of some titles: (m,) their positions in `titles`, (m,) items, (m,) values."""
        first, counts = self.starts[titles], self.starts[titles + 1] - self.starts[titles]
        within = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
        owner, places = np.repeat(np.arange(len(titles)), counts), np.repeat(first, counts) + within
        kept = self.values[places] > -np.inf
        return owner[kept], self.items[places[kept]], self.values[places[kept]]


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Which items may be ranked: how many, by title, and what each adds to its title's score.

    Attributes:
        before: (T + 1,) allowed items of all titles before title t.
        left_out: Titles, ascending, of allowed items that are left out all the same (one entry an item).
        addends: What each adds; None where items have the score of their title.
    """

    before: IntArray
    left_out: IntArray
    addends: Addends | None = None

    @classmethod
    def with_addends(cls, trie: TitleTrie, addends: FloatArray, kept: BoolArray) -> "Candidates":
        """Candidates whose score is their title's plus one of their own.

        Args:
            trie: The catalog's titles.
            addends: (I,) what each item adds.
            kept: (I,) the candidates.

        Raises:
            ValueError: What a candidate adds is not a number, or infinite: no bound would hold.
        """
        unsound = np.count_nonzero(~np.isfinite(addends[kept]))
        if unsound:
            raise ValueError(f"what {unsound:,} items add to their titles' scores is not a finite number")
        items, starts = trie.items_by_title
        values = np.append(np.where(kept, addends, -np.inf)[items], -np.inf)
        before = np.concatenate([[0], np.cumsum(kept[items])])[starts]
        return cls(before, np.empty(0, dtype=np.int64), Addends(items, starts, values))

    def count(self, first: IntArray, stop: IntArray) -> IntArray:
        """(n,) candidates of the titles in half-open ranges."""
        gone = np.searchsorted(self.left_out, stop) - np.searchsorted(self.left_out, first)
        counts: IntArray = self.before[stop] - self.before[first] - gone
        return counts

    def bounds(self, paths: FloatArray, first: IntArray, stop: IntArray) -> FloatArray:
        """(n,) what no candidate below some nodes can score above.

        Args:
            paths: (n,) log-probabilities of the paths down to the nodes.
            first: (n,) first titles below, each with a candidate in its range.
            stop: (n,) one past the last ones.
        """
        return paths if self.addends is None else paths + self.addends.best(first, stop)


@dataclass(frozen=True, slots=True, eq=False)
class Entries:
    """Open nodes: each the first of a chain that has not been run.

    Attributes:
        nodes: (E,) trie nodes.
        paths: (E,) log-probability of the path down to the node, itself included.
        bounds: (E,) what no candidate below can score above.
        under: (E,) position of the node's parent in the context.
    """

    nodes: IntArray
    paths: FloatArray
    bounds: FloatArray
    under: IntArray

    def __len__(self) -> int:
        return len(self.nodes)

    def __getitem__(self, chosen: BoolArray) -> "Entries":
        return Entries(*(getattr(self, name)[chosen] for name in self.__slots__))

    def __add__(self, other: "Entries") -> "Entries":
        return Entries(*(np.concatenate([getattr(self, name), getattr(other, name)]) for name in self.__slots__))


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What a search ends with: a line for each title with a candidate, or for each candidate where items add something.

    Attributes:
        titles: (n,) title of each line, whose score is known.
        scores: (n,) score of each line, best first.
        items: (n,) item of each line; None where items add nothing, and a line stands for all candidates of its title.
        kth_score: Score of the line that completes k candidates; None where all candidates are fewer.
        best_open_bound: The best bound left; None where nothing is open.
        num_expanded: Nodes whose children were scored. num_tokens: Positions run. num_rounds: Passes they took.
    """

    titles: IntArray
    scores: FloatArray
    items: IntArray | None
    kth_score: float | None
    best_open_bound: float | None
    num_expanded: int
    num_tokens: int
    num_rounds: int


def best_first(
    scorer: TitleScorer, contexts: Sequence[Context], hidden: Tensor, candidates: Sequence[Candidates], k: int
) -> list[Found]:
    """Search for the best k candidates after each of several prompts.

    Args:
        scorer: The model, trie and score.
        contexts: (B) the prompts; a prompt ends at its context's last position.
        hidden: (B, D) last hidden states there.
        candidates: (B) what may be ranked.
        k: How many items.

    Raises:
        CheckFailedError: The model's logits are not numbers.
    """
    return search_each(scorer, contexts, hidden, candidates, [BestOf(k)] * len(contexts))


def search_each(
    scorer: TitleScorer,
    contexts: Sequence[Context],
    hidden: Tensor,
    candidates: Sequence[Candidates],
    goals: "Sequence[Goal]",
) -> list[Found]:
    """Search after each of several prompts until its goal is reached (see `best_first`).

    Args:
        scorer, contexts, hidden, candidates: As there.
        goals: (B) what each search is for.

    Raises:
        CheckFailedError: The model's logits are not numbers.
    """
    searches = [
        Search(scorer, context, own, goal) for context, own, goal in zip(contexts, candidates, goals, strict=True)
    ]
    children, log_probs = scorer.root_log_probs(hidden)
    for search, own in zip(searches, log_probs, strict=True):
        search.take(children, own, np.full(len(children), len(search.context) - 1))
    active = searches
    while pairs := [(search, chosen) for search in active if len(chosen := search.choose())]:
        for part in _parts(pairs, scorer.max_nodes):
            _expand(scorer, part)
        active = [search for search, _ in pairs]
    return [search.found() for search in searches]


def _parts(
    active: Sequence[tuple["Search", Entries]], max_nodes: int
) -> Iterator[list[tuple["Search", Entries, Forest]]]:
    """Put searches together while their nodes fit one pass."""
    part: list[tuple[Search, Entries, Forest]] = []
    size = 0
    for search, chosen in active:
        forest = search.chains(chosen)
        if part and size + len(forest) > max_nodes:
            yield part
            part, size = [], 0
        part.append((search, chosen, forest))
        size += len(forest)
    if part:
        yield part


def _expand(scorer: TitleScorer, part: Sequence[tuple["Search", Entries, Forest]]) -> None:
    """Run the chosen entries of several searches in one pass, and give each search the children of its own."""
    extensions = [
        Extension(forest, search.context, np.repeat(chosen.under, _lengths(forest))) for search, chosen, forest in part
    ]
    hidden, contexts = scorer.backbone.extend(scorer.encoder, extensions)
    wanted, parents, sizes, start = [], [], [], 0
    for _, chosen, forest in part:
        rows = np.arange(len(forest)) if scorer.score == "joint" else _last_rows(forest)
        nodes = np.repeat(chosen.nodes, _lengths(forest)) + forest.depth
        wanted.append(start + rows)
        parents.append(nodes[rows])
        sizes.append(len(rows))
        start += len(forest)
    rows_of_all = torch.from_numpy(np.concatenate(wanted)).to(hidden.device)
    children, counts, log_probs = scorer.child_log_probs(np.concatenate(parents), hidden[rows_of_all])
    first_parent, first_child = 0, 0
    for (search, chosen, forest), context, size in zip(part, contexts, sizes, strict=True):
        own_counts = counts[first_parent : first_parent + size]
        own = slice(first_child, first_child + int(own_counts.sum()))
        search.learn(chosen, forest, context, children[own], own_counts, log_probs[own])
        first_parent, first_child = first_parent + size, own.stop


class Goal(Protocol):
    """What a search is for."""

    def wanted(self, search: "Search") -> BoolArray:
        """(E,) the open nodes to expand next; none when the goal is reached."""
        ...

    def kth_score(self, search: "Search") -> float | None:
        """Score of the line that completes the best k candidates; None while they are fewer."""
        ...

    def bounds(self, search: "Search") -> FloatArray:
        """Bounds of the open nodes with a candidate below that the best k could need."""
        ...


@dataclass(frozen=True, slots=True)
class BestOf:
    """The exact best k candidates.

    Attributes:
        k: How many.
    """

    k: int

    def wanted(self, search: "Search") -> BoolArray:
        """See `Goal.wanted`."""
        bounds, kth_score = search.open.bounds, self.kth_score(search)
        # a bound equal to the k-th score counts: an item below it may come before by popularity
        live = bounds >= (-np.inf if kth_score is None else kth_score)
        return leading(bounds, live, search.scores, width(search.num_rounds) * self.k)

    def kth_score(self, search: "Search") -> float | None:
        """See `Goal.kth_score`."""
        return kth_score(search.scores, search.counts, self.k)

    def bounds(self, search: "Search") -> FloatArray:
        """See `Goal.bounds`."""
        return search.open.bounds


def width(num_rounds: int) -> int:
    """How many times k of titles and nodes a round looks at, after so many rounds."""
    doublings = max(0, num_rounds - _PATIENCE + 1)
    return min(_WIDTH << min(doublings, 8), _MOST)


def leading(bounds: FloatArray, live: BoolArray, scores: FloatArray, count: int) -> BoolArray:
    """(E,) the live nodes among the best `count` of live nodes and lines, the best one at least.

    Args:
        bounds: (E,) of the open nodes.
        live: (E,) those that could still matter.
        scores: (n,) of the lines found.
        count: How many are looked at.
    """
    chosen = np.zeros(len(bounds), dtype=np.bool_)
    own = np.flatnonzero(live)
    if len(own):
        best = largest(np.concatenate([bounds[own], scores]), count)
        chosen[own[best[best < len(own)]]] = True
        chosen[own[bounds[own].argmax()]] = True
    return chosen


def kth_score(scores: FloatArray, counts: IntArray, k: int) -> float | None:
    """Score of the line that completes k candidates; None while they are fewer.

    Args:
        scores: (n,) of lines.
        counts: (n,) candidates of each, one at least.
        k: How many.
    """
    order = largest(scores, k)
    enough = np.searchsorted(np.cumsum(counts[order]), k)
    return float(scores[order[enough]]) if enough < len(order) else None


class Search:
    """One prompt's search between two rounds."""

    def __init__(self, scorer: TitleScorer, context: Context, candidates: Candidates, goal: Goal) -> None:
        self.trie: TitleTrie = scorer.trie
        self.joint = scorer.score == "joint"
        self.max_nodes = scorer.max_nodes
        self.context = context
        self.candidates = candidates
        self.goal = goal
        nothing = np.empty(0, dtype=np.int64)
        self.open = Entries(nothing, np.empty(0), np.empty(0), nothing)
        # a line each: titles with their numbers of candidates, or items (of 1 each) where those add something
        self.lines, self.scores, self.counts = nothing, np.empty(0), nothing
        self.num_expanded, self.num_tokens, self.num_rounds = 1, 0, 0

    def take(self, children: IntArray, paths: FloatArray, under: IntArray) -> None:
        """Sort new nodes, with the scores of their paths, into lines found and open nodes; without a candidate they go.

        Args:
            children: (C,) new nodes.
            paths: (C,) log-probabilities of the paths down to them.
            under: (C,) positions of their parents in the context.
        """
        first, stop = self.trie.title_range(children)
        counts = self.candidates.count(first, stop)
        ends = children if self.joint else self.trie.chain_end(children)
        wanted, leaf = counts > 0, self.trie.is_leaf(ends)
        done, still = wanted & leaf, wanted & ~leaf
        self._add(first[done], paths[done] + self.trie.log_shares[first[done]], counts[done])
        bounds = self.candidates.bounds(paths[still], first[still], stop[still])
        self.open += Entries(children[still], paths[still], bounds, under[still])

    def _add(self, titles: IntArray, scores: FloatArray, counts: IntArray) -> None:
        """Add lines for titles whose scores are now known."""
        lines = titles
        if self.candidates.addends is not None:
            owner, lines, values = self.candidates.addends.candidates(titles)
            scores, counts = scores[owner] + values, np.ones(len(lines), dtype=np.int64)
        self.lines = np.concatenate([self.lines, lines])
        self.scores = np.concatenate([self.scores, scores])
        self.counts = np.concatenate([self.counts, counts])

    def choose(self) -> Entries:
        """Take the open nodes to expand next; none when what was found is proven to be enough."""
        chosen = self.goal.wanted(self)
        if not chosen.any():
            return self.open[chosen]
        chosen[chosen] = self._fitting(self.open[chosen])
        taken = self.open[chosen]
        self.open = self.open[~chosen]
        return taken

    def _fitting(self, chosen: Entries) -> BoolArray:
        """(E,) the best of some entries whose chains fit one pass, one at least."""
        order = np.argsort(-chosen.bounds, kind="stable")
        sizes = np.cumsum((self.trie.chain_end(chosen.nodes) - chosen.nodes + 1)[order])
        fitting = np.zeros(len(chosen), dtype=np.bool_)
        fitting[order[: max(1, int(np.searchsorted(sizes, self.max_nodes, side="right")))]] = True
        return fitting

    def chains(self, chosen: Entries) -> Forest:
        """The nodes to run: from each entry to the end of its chain (a title's end token is never run)."""
        ends = self.trie.chain_end(chosen.nodes)
        lengths = ends - chosen.nodes + 1 - self.trie.is_leaf(ends)
        stops = np.cumsum(lengths)
        depth = np.arange(int(lengths.sum())) - np.repeat(stops - lengths, lengths)
        nodes = np.repeat(chosen.nodes, lengths) + depth
        parent = np.where(depth > 0, np.arange(len(nodes)) - 1, -1)
        keys = self.trie.forest.keys[nodes].astype(np.int64)
        return Forest(keys, parent, depth, np.repeat(stops, lengths))

    def learn(
        self,
        chosen: Entries,
        forest: Forest,
        context: Context,
        children: IntArray,
        counts: IntArray,
        log_probs: FloatArray,
    ) -> None:
        """Take the children of expanded entries.

        Args:
            chosen: (E,) the entries.
            forest: What `chains` gave for them.
            context: The prompt's, with the forest's nodes.
            children: (C,) children of the parents: all nodes of the chains under `joint`, else their last ones.
            counts: (n,) children of each parent.
            log_probs: (C,) given their parents.
        """
        last = _last_rows(forest)
        lengths = _lengths(forest)
        entries = np.arange(len(chosen))
        parents = np.repeat(entries, lengths) if self.joint else entries
        is_last = np.zeros(len(parents), dtype=np.bool_)
        is_last[last if self.joint else entries] = True
        owner, final = np.repeat(parents, counts), np.repeat(is_last, counts)
        gained = np.bincount(owner[~final], weights=log_probs[~final], minlength=len(chosen))
        paths = (chosen.paths + gained)[owner[final]] + log_probs[final]
        under = len(self.context) + last[owner[final]]
        self.context = context
        self.num_expanded += len(parents)
        self.num_tokens += len(forest)
        self.num_rounds += 1
        self.take(children[final], paths, under)

    def found(self) -> Found:
        """The outcome."""
        order = np.argsort(-self.scores, kind="stable")
        lines = self.lines[order]
        by_item = self.candidates.addends is not None
        bounds = self.goal.bounds(self)
        return Found(
            titles=self.trie.title_of_item[lines] if by_item else lines,
            scores=self.scores[order],
            items=lines if by_item else None,
            kth_score=self.goal.kth_score(self),
            best_open_bound=float(bounds.max()) if len(bounds) else None,
            num_expanded=self.num_expanded,
            num_tokens=self.num_tokens,
            num_rounds=self.num_rounds,
        )


def largest(values: FloatArray, k: int) -> IntArray:
    """Indices of the k largest values, largest first."""
    if len(values) > k:
        chosen = np.argpartition(-values, k - 1)[:k]
        return chosen[np.argsort(-values[chosen], kind="stable")]
    return np.argsort(-values, kind="stable")


def _last_rows(forest: Forest) -> IntArray:
    """The last node of each chain."""
    return np.flatnonzero(np.append(forest.depth[1:], 0) == 0)


def _lengths(forest: Forest) -> IntArray:
    """Nodes of each chain."""
    return np.diff(_last_rows(forest), prepend=-1)
