"""The title trie: every distinct title of a catalog as a path of tokens, in flat arrays.

A title's path is its tokens and the end token, so a title that is a token prefix of another ends in a branch of its
own. A title here is a distinct *path*: two title texts with the same tokens (which no model could tell apart) are one
title, as are equal texts of several items.

Shapes: N nodes, I items.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from patchrec.config import ScoreName
from patchrec.history import IntArray
from patchrec.model.forest import Forest, grow
from patchrec.model.titles import TitleTokens

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
        title_of_item: (I,) title of every item; titles are numbered as they first appear among items.
        path_nodes: (total,) nodes of title after title.
        path_starts: (num_titles,) where each title's nodes begin.
    """

    forest: Forest
    title_of_item: IntArray
    path_nodes: IntArray
    path_starts: IntArray
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
        numbers: dict[bytes, int] = {}
        paths: list[IntArray] = []
        title_of_item = np.empty(len(titles), dtype=np.int64)
        for item in range(len(titles)):
            path = np.append(titles.of(item), np.int64(end))
            number = numbers.setdefault(path.tobytes(), len(paths))
            if number == len(paths):
                paths.append(path)
            title_of_item[item] = number
        forest, nodes = grow(paths)
        lengths = np.fromiter((len(path) for path in nodes), dtype=np.int64, count=len(nodes))
        return cls(forest, title_of_item, np.concatenate(nodes), np.cumsum(lengths) - lengths)

    def __len__(self) -> int:
        """T, the number of distinct titles."""
        return len(self.path_starts)

    def items_of(self, title: int) -> IntArray:
        """Items that share a title, ascending."""
        return np.flatnonzero(self.title_of_item == title)

    @cached_property
    def _children(self) -> tuple[IntArray, IntArray]:
        """All nodes sorted by parent, and (N + 2,) where the children of ROOT, node 0, node 1, ... begin."""
        counts = np.bincount(self.forest.parent + 1, minlength=len(self.forest) + 1)
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return np.argsort(self.forest.parent, kind="stable").astype(np.int64), starts

    def children(self, parents: IntArray) -> tuple[IntArray, IntArray]:
        """Children of some nodes (ROOT among them or not).

        Returns:
            (C,) child nodes, those of one parent together, and (n,) how many each parent has.
        """
        by_parent, starts = self._children
        first, counts = starts[parents + 1], starts[parents + 2] - starts[parents + 1]
        within = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
        return by_parent[np.repeat(first, counts) + within], counts

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
        wanted = np.zeros(len(self.forest) + 1, dtype=np.int64)
        wanted[parents[parents != ROOT] + 1] = 1
        before = np.cumsum(wanted)  # before[i] parents among nodes < i
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
            above = nodes[:start][self.forest.end[nodes[:start]] > own[0]]
            chosen = np.concatenate([above, own])
            wanted = own[np.isin(own, parents)]
            yield Piece(self._part(chosen), np.searchsorted(chosen, wanted), wanted)

    def _part(self, nodes: IntArray) -> Forest:
        """The forest of ascending `nodes`, with whom all their ancestors are."""
        parent = self.forest.parent[nodes]
        return Forest(
            keys=self.forest.keys[nodes],
            parent=np.where(parent == ROOT, ROOT, np.searchsorted(nodes, parent)),
            depth=self.forest.depth[nodes],
            end=np.searchsorted(nodes, self.forest.end[nodes]),
        )
