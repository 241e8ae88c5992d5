"""The title trie: every distinct title of a catalog as a path of tokens, in flat arrays.

A title's path is its tokens and the end token, so a title that is a token prefix of another ends in a branch of its
own. A title here is a distinct *path*: title texts with the same tokens (which no model could tell apart) are one
title, as are equal texts of several items. Texts that are merged so share the probability of their path evenly: a text
is chosen with 1/n after the path, one more step that costs log n. So what is given of titles is of their texts.

Nodes are in depth-first order and titles are numbered in the order of their leaves (lexicographic by token). Hence the
titles below a node are a range, and the only child of node i is i + 1.

Shapes: N nodes, I items, T titles, n nodes asked about. Arrays over all nodes are int32; what methods give is int64.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from patchrec.config import ScoreName
from patchrec.history import BoolArray, FloatArray, IntArray
from patchrec.model.forest import Forest
from patchrec.model.titles import TitleTokens
from patchrec.ranking.sorted_titles import sort_titles

ROOT = -1  # the prompt's last position: parent of every first token


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Some nodes of the trie with all their ancestors: small enough to run at once.

    Attributes:
        forest: The nodes as a forest of their own.
        rows: Which of its nodes are parents whose children want a score.
        parents: The same as nodes of the trie.
    """

    forest: Forest
    rows: IntArray
    parents: IntArray


@dataclass(frozen=True, eq=False)
class TitleTrie:
    """Distinct titles as one forest of tokens.

    Attributes:
        forest: N nodes; leaves are end tokens, one for each title.
        title_of_item: (I,) title of every item.
        num_texts: (T,) distinct texts of every title.
    """

    forest: Forest
    title_of_item: IntArray
    num_texts: IntArray
    _pieces: dict[tuple[ScoreName, int], tuple[Piece, ...]] = field(default_factory=dict, repr=False)

    @classmethod
    def build(cls, titles: TitleTokens, end: int) -> "TitleTrie":
        """Merge the titles of a catalog.

        Args:
            titles: Title tokens of every item.
            end: The token that ends an answer.

        Raises:
            ValueError: The catalog is empty, or a title holds the end token (`TitleTokens.encode` refuses those).
        """
        if len(titles) == 0:
            raise ValueError("a title trie needs at least one title")
        if (titles.ids == end).any():
            raise ValueError(f"a title holds the end token {end}")
        found = sort_titles(titles, end)
        number_at = np.cumsum(found.distinct) - 1  # (I,) title at each place of the order
        title_of_item = np.empty(len(titles), dtype=np.int64)
        title_of_item[found.order] = number_at
        example = found.order[found.distinct]  # (T,) an item of each title
        shared = found.shared[found.distinct]
        above = number_at[found.owner[found.distinct]]
        fresh = titles.lengths[example] + 1 - shared  # (T,) nodes that no earlier title has
        starts = np.concatenate([[0], np.cumsum(fresh)])
        size = int(starts[-1])

        depth = np.arange(size) - np.repeat(starts[:-1] - shared, fresh)
        inner = np.ones(size, dtype=np.bool_)
        inner[starts[1:] - 1] = False
        keys = np.full(size, end, dtype=np.int32)
        keys[inner] = titles.ids[(depth + np.repeat(titles.offsets[example], fresh))[inner]]
        parent = np.arange(-1, size - 1, dtype=np.int32)
        parent[starts[:-1]] = np.where(shared == 0, ROOT, starts[above] + shared - 1 - shared[above])
        stop = np.repeat(starts[1:], fresh).astype(np.int32)
        # a node with several items below ends where the title after the last of them begins
        opens = number_at[found.several.first]
        closes = np.append(number_at, len(shared))[found.several.stop]
        stop[starts[opens] + found.several.depth - shared[opens]] = starts[closes]
        forest = Forest(_narrow(keys), _narrow(parent), _narrow(depth), _narrow(stop))
        return cls(forest, title_of_item, _texts_of(title_of_item, len(shared), titles.texts))

    def __len__(self) -> int:
        """T, the number of distinct titles."""
        return len(self.leaves)

    @cached_property
    def leaves(self) -> IntArray:
        """(T,) leaf of every title, ascending."""
        return np.flatnonzero(self.forest.end == np.arange(1, len(self.forest) + 1)).astype(np.int64)

    @cached_property
    def log_shares(self) -> FloatArray:
        """(T,) log-probability of one text of each title, given the title: -log of how many there are."""
        shares: FloatArray = 0.0 - np.log(self.num_texts)
        return shares

    def inner_titles(self) -> IntArray:
        """(n,) titles whose tokens another title begins with, ascending."""
        above = self.forest.parent[self.leaves]
        return np.flatnonzero((above != ROOT) & (self.num_children(above) > 1)).astype(np.int64)

    def is_leaf(self, nodes: IntArray) -> BoolArray:
        """(n,) whether a title ends at each node; never at ROOT."""
        ends: BoolArray = self.forest.end[nodes] == nodes + 1
        return ends

    @cached_property
    def _titles_before(self) -> IntArray:
        """(N + 1,) titles whose leaf comes before each node."""
        before = np.zeros(len(self.forest) + 1, dtype=np.int32)
        before[self.leaves + 1] = 1
        return _narrow(np.cumsum(before, dtype=np.int32))

    def title_range(self, nodes: IntArray) -> tuple[IntArray, IntArray]:
        """Titles below some nodes: (n,) the first, and (n,) one past the last. Below ROOT are all."""
        # end[ROOT] is end[-1]: the last node is a leaf and ends where the trie does
        first, stop = self._titles_before[np.maximum(nodes, 0)], self._titles_before[self.forest.end[nodes]]
        return first.astype(np.int64), stop.astype(np.int64)

    @cached_property
    def items_by_title(self) -> tuple[IntArray, IntArray]:
        """(I,) items title after title, ascending within one, and (T + 1,) where each title's begin."""
        starts = np.concatenate([[0], np.cumsum(np.bincount(self.title_of_item))]).astype(np.int64)
        return np.argsort(self.title_of_item, kind="stable").astype(np.int64), starts

    def items_of(self, title: int) -> IntArray:
        """Items that share a title, ascending."""
        by_title, starts = self.items_by_title
        return by_title[starts[title] : starts[title + 1]]

    @cached_property
    def _children(self) -> tuple[IntArray, IntArray]:
        """All nodes sorted by parent, and (N + 2,) where the children of ROOT, node 0, node 1, ... begin."""
        counts = np.bincount(self.forest.parent + 1, minlength=len(self.forest) + 1)
        starts = np.concatenate([[0], np.cumsum(counts)])
        return _narrow(np.argsort(self.forest.parent, kind="stable")), _narrow(starts)

    def num_children(self, nodes: IntArray) -> IntArray:
        """(n,) how many children each node has (ROOT among them or not)."""
        _, starts = self._children
        return (starts[nodes + 2] - starts[nodes + 1]).astype(np.int64)

    def children(self, parents: IntArray) -> tuple[IntArray, IntArray]:
        """Children of some nodes (ROOT among them or not).

        Returns:
            (C,) child nodes, those of one parent together and ascending (by token too), and (n,) how many each has.
        """
        by_parent, starts = self._children
        first, counts = starts[parents + 1].astype(np.int64), self.num_children(parents)
        within = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
        return by_parent[np.repeat(first, counts) + within].astype(np.int64), counts

    @cached_property
    def _chain_ends(self) -> IntArray:
        """(N,) the first node at or after each that has not exactly one child."""
        size = len(self.forest)
        _, starts = self._children
        nodes = np.arange(size, dtype=np.int32)
        ends = np.where(np.diff(starts)[1:] != 1, nodes, np.int32(size))
        return _narrow(np.minimum.accumulate(ends[::-1])[::-1])

    def chain_end(self, nodes: IntArray) -> IntArray:
        """(n,) for each node the first one at or below it that is a leaf or has several children.

        The chain from node i to its end e is i, i + 1, ..., e. ROOT may be among the nodes.
        """
        root = ROOT if self.num_children(np.array([ROOT]))[0] > 1 else self._chain_ends[0]
        return np.where(nodes == ROOT, root, self._chain_ends[nodes]).astype(np.int64)

    def path_to(self, node: int) -> IntArray:
        """(depth + 1,) nodes from the first token down to `node`; none for ROOT."""
        path = []
        while node != ROOT:
            path.append(node)
            node = int(self.forest.parent[node])
        return np.array(path[::-1], dtype=np.int64)

    def branching(self, item: int) -> tuple[IntArray, IntArray]:
        """Nodes on the way of an item's title that have several children (ROOT among them or not).

        Returns:
            (b,) nodes, and (b,) how many tokens of the title stand before each, ascending.
        """
        title = self.title_of_item[item]
        first = self.path_starts[title]
        path = self.path_nodes[first : first + self.forest.depth[self.leaves[title]] + 1]
        parents = np.concatenate([[ROOT], path[:-1]])
        places = np.flatnonzero(self.num_children(parents) > 1)
        return parents[places], places

    def choices(self, nodes: IntArray) -> tuple[IntArray, IntArray]:
        """(C,) tokens of the children of some nodes, node after node, and (n,) how many each has."""
        children, counts = self.children(nodes)
        return self.forest.keys[children].astype(np.int64), counts

    @cached_property
    def path_starts(self) -> IntArray:
        """(T,) where each title's nodes begin in `path_nodes`."""
        lengths = self.forest.depth[self.leaves].astype(np.int64) + 1
        return np.cumsum(lengths) - lengths

    @cached_property
    def path_nodes(self) -> IntArray:
        """(total,) nodes of title after title, each from its first token to its leaf; for whole-catalog scoring."""
        nodes, at = self.leaves, self.path_starts + self.forest.depth[self.leaves]
        paths = np.empty(int(at[-1]) + 1, dtype=np.int64)
        while len(nodes):
            paths[at] = nodes
            nodes, at = self.forest.parent[nodes].astype(np.int64), at - 1
            below = nodes != ROOT
            nodes, at = nodes[below], at[below]
        return paths

    def parents(self, score: ScoreName) -> IntArray:
        """Nodes (and ROOT) whose next-token distribution a score needs, ascending.

        `joint` needs every node that has a child; `catalog` only those with two or more, since the only child of a
        node has probability 1.
        """
        _, starts = self._children
        return np.flatnonzero(np.diff(starts) >= (1 if score == "joint" else 2)).astype(np.int64) - 1

    def forwarded(self, score: ScoreName) -> IntArray:
        """Nodes that must run through the model: the parents a score needs and what leads to them, ascending."""
        parents = self.parents(score)
        wanted = np.zeros(len(self.forest) + 1, dtype=np.int32)
        wanted[parents[parents != ROOT] + 1] = 1
        before = np.cumsum(wanted, dtype=np.int32)  # before[i] parents among nodes < i
        return np.flatnonzero(before[self.forest.end] > before[:-1]).astype(np.int64)

    def pieces(self, score: ScoreName, max_nodes: int) -> tuple[Piece, ...]:
        """Cut the forwarded nodes into pieces of at most `max_nodes` nodes, plus the path that leads to the first.

        In depth-first order a node's parent is in its own piece or above the piece's first node, so that one path
        makes a piece whole.
        """
        if (score, max_nodes) not in self._pieces:
            self._pieces[score, max_nodes] = tuple(self._cut(score, max_nodes))
        return self._pieces[score, max_nodes]

    def _cut(self, score: ScoreName, max_nodes: int) -> Iterator[Piece]:
        nodes = self.forwarded(score)
        parents = self.parents(score)
        for start in range(0, len(nodes), max_nodes):
            own = nodes[start : start + max_nodes]
            chosen = np.concatenate([self.path_to(int(own[0]))[:-1], own])
            wanted = parents[np.searchsorted(parents, own[0]) : np.searchsorted(parents, own[-1], side="right")]
            yield Piece(self._part(chosen), np.searchsorted(chosen, wanted), wanted)

    def _part(self, nodes: IntArray) -> Forest:
        """The forest of ascending `nodes`, with whom all their ancestors are."""
        parent = self.forest.parent[nodes]
        return Forest(
            keys=self.forest.keys[nodes].astype(np.int64),
            parent=np.where(parent == ROOT, ROOT, np.searchsorted(nodes, parent)),
            depth=self.forest.depth[nodes].astype(np.int64),
            end=np.searchsorted(nodes, self.forest.end[nodes]),
        )


def _texts_of(title_of_item: IntArray, num_titles: int, texts: IntArray | None) -> IntArray:
    """(T,) distinct texts of every title."""
    if texts is None:
        return np.ones(num_titles, dtype=np.int64)
    items = np.unique(texts, return_index=True)[1]  # one of each text: equal texts have equal tokens
    return np.bincount(title_of_item[items], minlength=num_titles).astype(np.int64)


def _narrow(values: npt.NDArray[Any]) -> IntArray:
    """The values in half the memory (no trie has 2^31 nodes); for the type checker they stay integers as all others."""
    return cast(IntArray, values.astype(np.int32, copy=False))
