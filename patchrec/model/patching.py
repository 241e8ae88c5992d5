"""Patching: a history and its layout become a path of keys, and keys become weighted bags of tokens.

Every input position is a weighted bag of tokens. A text token is a bag of one; an item patch is its title's tokens, or
those of another text about it, at 1/n each; a session patch is the mean of its items' patches. A key names a bag: below
V it is a token, then come the item patches, then the session patches met so far.

Source: PatchRec (SIGIR 2025), equations (3) and (7).

Shapes: P positions of a path, N keys, V vocabulary, I items.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from patchrec.history import FloatArray, History, IntArray, Lengths
from patchrec.layout import Grain, Layout
from patchrec.model.prompt import Prompt
from patchrec.model.titles import TitleTokens
from patchrec.strategy import Planner


@dataclass(frozen=True, slots=True, eq=False)
class Bags:
    """Weighted bags in three flat arrays, as `torch.nn.functional.embedding_bag` takes them.

    Attributes:
        rows: (total,) rows of a table, bag after bag: token ids, and items where they have rows.
        offsets: (N,) where each bag begins.
        weights: (total,) weights; those of a bag sum to 1, or to 0 where it is empty.
    """

    rows: IntArray
    offsets: IntArray
    weights: FloatArray


class PathEncoder:
    """Turns histories, layouts and answers into paths of keys, and keys into bags.

    Session patches are numbered as they appear, so an encoder remembers every session it has seen. `fresh()` gives one
    that has forgotten them, at no cost; keys of two encoders do not mix.
    """

    def __init__(self, prompt: Prompt, titles: TitleTokens, vocab_size: int, texts: TitleTokens | None = None) -> None:
        """Take everything together.

        Args:
            prompt: What stands around a history.
            titles: What an item is as text, and as an answer.
            vocab_size: V.
            texts: What item patches are means of, for the same items; None: the titles.
        """
        self.prompt = prompt
        self.titles = titles
        self.texts = titles if texts is None else texts
        assert len(self.texts) == len(titles)
        self.vocab_size = vocab_size
        self._sessions: dict[bytes, int] = {}
        self._session_items: list[IntArray] = []

    def fresh(self) -> "PathEncoder":
        """The same encoder without remembered sessions."""
        return PathEncoder(self.prompt, self.titles, self.vocab_size, self.texts)

    def prompt_path(self, history: History, layout: Layout) -> IntArray:
        """(P,) keys of a whole prompt: head, units with their separators, tail."""
        separator = np.array([self.prompt.separator], dtype=np.int64)
        after_patch = separator[: self._per_patch - 1]
        pieces = [self.prompt.head]
        for span in layout.spans:
            items = history.items[span.start : span.stop]
            if span.grain is Grain.TEXT:
                for item in items:
                    pieces += [self.titles.of(item), separator]
            elif span.grain is Grain.ITEM:
                keys = np.full(self._per_patch * len(items), self.prompt.separator, dtype=np.int64)
                keys[:: self._per_patch] = self.vocab_size + items
                pieces.append(keys)
            elif span.grain is Grain.SESSION:
                pieces += [np.array([self._session_key(items)], dtype=np.int64), after_patch]
        pieces.append(self.prompt.tail)
        return np.concatenate(pieces)

    def num_positions(self, history: History, layout: Layout) -> int:
        """P, the length of a prompt's path, without making it (a session is one position however many items it has)."""
        around = len(self.prompt.head) + len(self.prompt.tail)
        return around + layout.num_positions(self.lengths.text[history.items], self.lengths.patch)

    @cached_property
    def lengths(self) -> Lengths:
        """What every item, and a patch, takes of a prompt."""
        return Lengths(self.titles.lengths + 1, self._per_patch)

    def measured(self, planner: Planner) -> Planner:
        """A planner whose strategy sees how long items are in these prompts."""
        return replace(planner, measure=lambda: self.lengths)

    @property
    def _per_patch(self) -> int:
        """Positions of a patch: itself, and its separator where it has one."""
        return 1 + self.prompt.after_patches

    def answer_path(self, item: int) -> IntArray:
        """Keys of an answer: the title's tokens and the end token."""
        return np.append(self.titles.of(item), np.int64(self.prompt.end))

    def _session_key(self, items: IntArray) -> int:
        name = items.tobytes()
        if name not in self._sessions:
            self._sessions[name] = len(self._session_items)
            self._session_items.append(items)
        return self.vocab_size + len(self.titles) + self._sessions[name]

    def items_of(self, key: int) -> IntArray:
        """Catalog indices behind a key: none for a token, one for an item patch, several for a session patch."""
        if key < self.vocab_size:
            return np.empty(0, dtype=np.int64)
        if key < self.vocab_size + len(self.titles):
            return np.array([key - self.vocab_size], dtype=np.int64)
        return self._session_items[key - self.vocab_size - len(self.titles)]

    def bags(self, keys: IntArray, *, item_rows: bool = False) -> Bags:
        """Expand (N,) keys into their bags of tokens.

        Args:
            keys: Keys of this encoder.
            item_rows: Whether the table of embeddings goes on with a row for each item's patch, after the V of tokens:
                then a bag names items where it would name the tokens of their texts.
        """
        is_token = keys < self.vocab_size
        owners, items, weights = self._members(keys)
        rows = self.vocab_size + items
        if not item_rows:
            lengths = self.texts.lengths[items]
            first = np.repeat(self.texts.offsets[items] - (np.cumsum(lengths) - lengths), lengths)
            rows = self.texts.ids[first + np.arange(int(lengths.sum()))]
            owners, weights = np.repeat(owners, lengths), np.repeat(weights / lengths, lengths)
        return _gathered(
            np.concatenate([np.flatnonzero(is_token), owners]),
            np.concatenate([keys[is_token], rows]),
            np.concatenate([np.ones(int(is_token.sum())), weights]),
            len(keys),
        )

    def item_bags(self, keys: IntArray) -> Bags:
        """Expand (N,) keys into their bags of items: one for an item patch, several for a session patch, else none."""
        return _gathered(*self._members(keys), len(keys))

    def _members(self, keys: IntArray) -> tuple[IntArray, IntArray, FloatArray]:
        """Node, item and weight of every item behind a patch."""
        nodes = np.arange(len(keys))
        is_session = keys >= self.vocab_size + len(self.titles)
        is_item = (keys >= self.vocab_size) & ~is_session
        members = [self.items_of(int(key)) for key in keys[is_session]]
        sizes = np.fromiter((len(items) for items in members), dtype=np.int64, count=len(members))
        return (
            np.concatenate([nodes[is_item], np.repeat(nodes[is_session], sizes)]),
            np.concatenate([keys[is_item] - self.vocab_size, *members]).astype(np.int64),
            np.concatenate([np.ones(int(is_item.sum())), np.repeat(1 / np.maximum(sizes, 1), sizes)]),
        )


def _gathered(owners: IntArray, rows: IntArray, weights: FloatArray, num_bags: int) -> Bags:
    """Bags of entries in any order; those of a bag keep theirs."""
    order = np.argsort(owners, kind="stable")
    counts = np.bincount(owners, minlength=num_bags)
    return Bags(rows[order], np.cumsum(counts) - counts, weights[order])
