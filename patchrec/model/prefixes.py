"""A cache of contexts by the keys of their paths: what a prompt begins with, as an earlier one did, is not run again.

A radix tree: each node holds the keys and values of a stretch of positions, and a path from the root spells the prompts
that were run. The longest prefix that is there is found by walking down. What was not used for longest goes first when
the tree is larger than its budget; that is always a leaf, because whoever uses a node uses what is above it.

Keys of two encoders do not mix (each numbers the sessions that it meets), so positions have names that last: a token or
an item patch its key, a session patch a digest of its items.

Shapes: P positions of a path, H heads, d head size.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np

from patchrec.history import IntArray
from patchrec.model.attention import Context, KeysValues
from patchrec.model.patching import PathEncoder

Name = tuple[int, int]


def names_of(encoder: PathEncoder, keys: IntArray) -> IntArray:
    """(P, 2) what each of (P,) keys stands for, the same whichever encoder made them."""
    names = np.stack([keys, np.zeros_like(keys)], axis=1)
    for place in np.flatnonzero(keys >= encoder.vocab_size + len(encoder.titles)).tolist():
        digest = blake2b(encoder.items_of(int(keys[place])).astype("<i8").tobytes(), digest_size=16).digest()
        names[place] = np.frombuffer(digest, dtype="<i8")
        names[place, 0] |= np.iinfo(np.int64).min  # below 0, where no key is
    return names


@dataclass(eq=False)
class _Node:
    """Positions in a row; `parent` is None for the root alone, which has none."""

    names: IntArray
    kept: KeysValues
    parent: "_Node | None"
    children: "dict[Name, _Node]" = field(default_factory=dict)

    @property
    def num_bytes(self) -> int:
        return self.names.nbytes + sum(keys.nbytes + values.nbytes for keys, values in self.kept.layers)

    def cut(self, start: int, stop: int) -> KeysValues:
        """Copies of some of its rows: views would keep all of them in memory."""
        return KeysValues(
            [(keys[:, :, start:stop].clone(), values[:, :, start:stop].clone()) for keys, values in self.kept.layers]
        )


class PrefixCache:
    """Contexts of what prompts begin with, up to a budget. Used by one thread at a time.

    Attributes:
        max_bytes: Of keys and values.
        num_bytes: Held now.
        asked, found: Positions that prompts had, and those of them that did not have to be run.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.num_bytes = 0
        self.asked, self.found = 0, 0
        self._root = self._new_root()
        self._by_use: OrderedDict[int, _Node] = OrderedDict()  # by id, the one used longest ago first

    def __len__(self) -> int:
        """Stretches held."""
        return len(self._by_use)

    def clear(self) -> None:
        """Forget everything, as one has to when weights change."""
        self.num_bytes = 0
        self._root = self._new_root()
        self._by_use.clear()

    def find(self, base: Context | None, names: IntArray) -> tuple[Context | None, int]:
        """The longest known prefix of a path below a base.

        Args:
            base: What every path begins with, itself not kept here; None where there is nothing.
            names: (P, 2) of the positions below it (`names_of`).

        Returns:
            The base with the prefix (the base itself where nothing is known), and how many positions the prefix has.
        """
        path, matched = self._walk(names)
        self.asked += len(names) + 1  # with the last position, which is always run
        self.found += matched
        self._use(path)
        if not matched:
            return base, 0
        segments = () if base is None else base.segments
        before = 0 if base is None else len(base)
        left = matched
        for node in path:
            size = min(left, len(node.names))
            segments += ((node.kept, slice(0, size)),)
            left -= size
        positions = np.arange(before + matched)
        return Context(segments, positions - 1, positions), matched

    def add(self, names: IntArray, context: Context, before: int) -> None:
        """Keep a path that was run.

        Args:
            names: (P, 2) of its positions.
            context: Of the base and these positions, one below the other.
            before: Positions of the base.
        """
        path, matched = self._walk(names)
        parent = self._root
        if path:
            parent = path[-1]
            within = matched - sum(len(node.names) for node in path[:-1])
            if within < len(parent.names) and matched < len(names):
                parent = self._split(parent, within)
                path[-1:] = [parent]
        if matched < len(names):
            fresh = _Node(names[matched:].copy(), context.copied(before + matched, before + len(names)), parent)
            self._link(fresh)
            path.append(fresh)
        self._use(path)
        while self.num_bytes > self.max_bytes and self._by_use:
            self._drop(next(iter(self._by_use.values())))

    @staticmethod
    def _new_root() -> _Node:
        return _Node(np.empty((0, 2), dtype=np.int64), KeysValues(), None)

    def _walk(self, names: IntArray) -> tuple[list[_Node], int]:
        """The nodes that a path goes through, the last one perhaps in part, and the positions that agree."""
        path: list[_Node] = []
        node, matched = self._root, 0
        while matched < len(names):
            child = node.children.get(_name(names[matched]))
            if child is None:
                break
            rest = names[matched : matched + len(child.names)]
            differs = (rest != child.names[: len(rest)]).any(axis=1)
            shared = int(differs.argmax()) if differs.any() else len(rest)
            path.append(child)
            matched += shared
            if shared < len(child.names):
                break
            node = child
        return path, matched

    def _use(self, path: list[_Node]) -> None:
        for node in reversed(path):
            self._by_use.move_to_end(id(node))

    def _split(self, node: _Node, at: int) -> _Node:
        """Cut a node in two, and return the upper part."""
        assert node.parent is not None
        upper = _Node(node.names[:at].copy(), node.cut(0, at), node.parent)
        lower = _Node(node.names[at:].copy(), node.cut(at, len(node.names)), upper, node.children)
        for child in lower.children.values():
            child.parent = lower
        node.children = {}
        self._drop(node)
        self._link(upper)
        self._link(lower)
        return upper

    def _link(self, node: _Node) -> None:
        assert node.parent is not None
        node.parent.children[_name(node.names[0])] = node
        self._by_use[id(node)] = node
        self.num_bytes += node.num_bytes

    def _drop(self, node: _Node) -> None:
        assert node.parent is not None
        del node.parent.children[_name(node.names[0])]
        del self._by_use[id(node)]
        self.num_bytes -= node.num_bytes


def _name(row: IntArray) -> Name:
    return int(row[0]), int(row[1])
