"""Best-first search of the title trie: the exact k best candidates, with a proof, without scoring the rest.

A log-probability only falls along a path, so the score of a node bounds every title below it. A search holds titles
found, with their scores, and open nodes, with their bounds. A round expands the best open nodes; when no bound reaches
the k-th score found, nothing open can displace a title found, and the k best are exact. All users of a batch take a
round together: one forward pass, with each one's nodes hung under its own prompt.

A node with one child is never expanded alone. Under `catalog` the child is certain, so a chain is run only to reach the
branching at its end, and a chain that ends a title is not run at all; under `joint` a chain runs in one pass.

Filters act inside: a node without a candidate below is never opened, and titles count by the candidates they stand for.

Shapes: E entries expanded, n parents, C children, B prompts.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

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
class Candidates:
    """How many items may be ranked, by title.

    Attributes:
        before: (T + 1,) allowed items of all titles before title t.
        left_out: Titles, ascending, of allowed items that are left out all the same (one entry an item).
    """

    before: IntArray
    left_out: IntArray

    def count(self, first: IntArray, stop: IntArray) -> IntArray:
        """(n,) candidates of the titles in half-open ranges."""
        gone = np.searchsorted(self.left_out, stop) - np.searchsorted(self.left_out, first)
        counts: IntArray = self.before[stop] - self.before[first] - gone
        return counts


@dataclass(frozen=True, slots=True, eq=False)
class Entries:
    """Open nodes: each the first of a chain that has not been run.

    Attributes:
        nodes: (E,) trie nodes.
        bounds: (E,) log-probability of the path down to the node, itself included.
        under: (E,) position of the node's parent in the context.
        counts: (E,) candidates below.
    """

    nodes: IntArray
    bounds: FloatArray
    under: IntArray
    counts: IntArray

    def __len__(self) -> int:
        return len(self.nodes)

    def __getitem__(self, chosen: BoolArray) -> "Entries":
        return Entries(self.nodes[chosen], self.bounds[chosen], self.under[chosen], self.counts[chosen])

    def __add__(self, other: "Entries") -> "Entries":
        return Entries(*(np.concatenate([getattr(self, name), getattr(other, name)]) for name in self.__slots__))


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What a search ends with.

    Attributes:
        titles: Titles with a candidate whose score is known.
        scores: Their scores.
        kth_score: Score of the title that completes k candidates; None where all candidates are fewer.
        best_open_bound: The best bound left; None where nothing is open.
        num_expanded: Nodes whose children were scored. num_tokens: Positions run. num_rounds: Passes they took.
    """

    titles: IntArray
    scores: FloatArray
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
    searches = [_Search(scorer, context, own, k) for context, own in zip(contexts, candidates, strict=True)]
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
    active: Sequence[tuple["_Search", Entries]], max_nodes: int
) -> Iterator[list[tuple["_Search", Entries, Forest]]]:
    """Put searches together while their nodes fit one pass."""
    part: list[tuple[_Search, Entries, Forest]] = []
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


def _expand(scorer: TitleScorer, part: Sequence[tuple["_Search", Entries, Forest]]) -> None:
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


class _Search:
    """One prompt's search between two rounds."""

    def __init__(self, scorer: TitleScorer, context: Context, candidates: Candidates, k: int) -> None:
        self.trie: TitleTrie = scorer.trie
        self.joint = scorer.score == "joint"
        self.max_nodes = scorer.max_nodes
        self.context = context
        self.candidates = candidates
        self.k = k
        nothing = np.empty(0, dtype=np.int64)
        self.open = Entries(nothing, np.empty(0), nothing, nothing)
        self.titles, self.scores, self.counts = nothing, np.empty(0), nothing
        self.num_expanded, self.num_tokens, self.num_rounds = 1, 0, 0

    def take(self, children: IntArray, scores: FloatArray, under: IntArray) -> None:
        """Sort new nodes with their scores into titles found and open nodes; those without a candidate go."""
        first, stop = self.trie.title_range(children)
        counts = self.candidates.count(first, stop)
        ends = children if self.joint else self.trie.chain_end(children)
        done = self.trie.is_leaf(ends) & (counts > 0)
        self.titles = np.concatenate([self.titles, first[done]])
        self.scores = np.concatenate([self.scores, scores[done]])
        self.counts = np.concatenate([self.counts, counts[done]])
        still = ~done & (counts > 0)
        self.open += Entries(children[still], scores[still], under[still], counts[still])

    def choose(self) -> Entries:
        """Take the open nodes to expand next; none when the titles found are proven to be the best."""
        kth_score = self._kth_score()
        # a bound equal to the k-th score counts: a title below it may come before by popularity
        live = self.open.bounds >= (-np.inf if kth_score is None else kth_score)
        if not live.any():
            return self.open[live]
        best = _largest(np.concatenate([self.open.bounds, self.scores]), self._width() * self.k)
        chosen = np.zeros(len(self.open), dtype=np.bool_)
        chosen[best[best < len(self.open)]] = True
        chosen[self.open.bounds.argmax()] = True
        chosen &= live
        chosen[chosen] = self._fitting(self.open[chosen])
        taken = self.open[chosen]
        self.open = self.open[~chosen]
        return taken

    def _width(self) -> int:
        doublings = max(0, self.num_rounds - _PATIENCE + 1)
        return min(_WIDTH << min(doublings, 8), _MOST)

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
        scores = (chosen.bounds + gained)[owner[final]] + log_probs[final]
        under = len(self.context) + last[owner[final]]
        self.context = context
        self.num_expanded += len(parents)
        self.num_tokens += len(forest)
        self.num_rounds += 1
        self.take(children[final], scores, under)

    def _kth_score(self) -> float | None:
        """Score of the title found that completes k candidates; None while they are fewer."""
        order = np.argsort(-self.scores, kind="stable")
        enough = np.searchsorted(np.cumsum(self.counts[order]), self.k)
        return float(self.scores[order[enough]]) if enough < len(order) else None

    def found(self) -> Found:
        """The outcome."""
        order = np.argsort(-self.scores, kind="stable")
        return Found(
            titles=self.titles[order],
            scores=self.scores[order],
            kth_score=self._kth_score(),
            best_open_bound=float(self.open.bounds.max()) if len(self.open) else None,
            num_expanded=self.num_expanded,
            num_tokens=self.num_tokens,
            num_rounds=self.num_rounds,
        )


def _largest(values: FloatArray, k: int) -> IntArray:
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
