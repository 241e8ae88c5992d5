"""The token forest: many paths of keys merged into trees, in depth-first order, with one mask rule.

Node i attends to node j exactly when j is an ancestor of i or i itself: `j <= i < end[j]`. A node's output therefore
equals that of its root-to-node path alone. This file knows keys as opaque integers: no tokens, no torch.

Shapes: N nodes, P positions of a path.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from patchrec.history import IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Forest:
    """Trees in depth-first order.

    Attributes:
        keys: (N,) what stands at each node.
        parent: (N,) index of the parent, -1 for a root; always smaller than the node's own index.
        depth: (N,) distance from the root: the position id.
        end: (N,) one past the last node of the subtree.
    """

    keys: IntArray
    parent: IntArray
    depth: IntArray
    end: IntArray

    def __len__(self) -> int:
        return len(self.keys)

    def ancestors(self, node: int) -> npt.NDArray[np.bool_]:
        """(N,) True at `node` and its ancestors: what `node` attends to."""
        nodes = np.arange(len(self))
        return (nodes <= node) & (node < self.end)


def grow(paths: Sequence[IntArray]) -> tuple[Forest, list[IntArray]]:
    """Merge paths that begin alike into trees.

    In lexicographic order the longest prefix that a path shares with any earlier one is the prefix it shares with its
    neighbour, so one comparison of neighbours finds every node.

    Args:
        paths: (P_i,) keys from the root, each not negative. Equal paths share all their nodes.

    Returns:
        The forest, and for each path, in the order given, the (P_i,) nodes of its positions.
    """
    order = sorted(range(len(paths)), key=lambda index: paths[index].astype(">u8").tobytes())
    nodes: list[IntArray] = [np.empty(0, dtype=np.int64)] * len(paths)
    keys, parents, depths = [], [], []
    ends: list[tuple[IntArray, int]] = []  # nodes whose subtree closed, and where
    size = 0
    before = current = np.empty(0, dtype=np.int64)
    for index in order:
        path = paths[index]
        shared = shared_prefix(before, path)
        ends.append((current[shared:], size))
        fresh = np.arange(size, size + len(path) - shared, dtype=np.int64)
        current = np.concatenate([current[:shared], fresh])
        keys.append(path[shared:])
        parents.append(np.concatenate([[-1], current[:-1]])[shared:] if len(current) else fresh)
        depths.append(np.arange(shared, len(path), dtype=np.int64))
        nodes[index] = current
        before = path
        size += len(fresh)
    ends.append((current, size))
    end = np.zeros(size, dtype=np.int64)
    for closed, where in ends:
        end[closed] = where
    return Forest(_flat(keys), _flat(parents), _flat(depths), end), nodes


def shared_prefix(a: IntArray, b: IntArray) -> int:
    """Number of leading positions in which two paths agree."""
    length = min(len(a), len(b))
    differs = a[:length] != b[:length]
    return int(differs.argmax()) if differs.any() else length


def _flat(pieces: list[IntArray]) -> IntArray:
    return np.concatenate(pieces).astype(np.int64) if pieces else np.empty(0, dtype=np.int64)
