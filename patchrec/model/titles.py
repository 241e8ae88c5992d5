"""Title tokens: every title of a catalog as token ids, in one flat array.

Titles are data, never markup: special tokens in a title are encoded as the plain text they are, and line breaks, which
separate titles in a prompt, become a space (in the model's view only; the store keeps titles byte for byte). Where a
tokenizer's model has special tokens among its words (word lists, unigrams), a title with one is read letter by letter.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np

from patchrec.data.catalog import numbered
from patchrec.errors import InputError
from patchrec.history import IntArray
from patchrec.model.markup import markup_of

BLOCK = 20_000
_LINE_BREAKS = re.compile(r"[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]+")


@dataclass(frozen=True, eq=False)
class TitleTokens:
    """Token ids of all titles.

    Attributes:
        ids: (total,) token ids of title after title.
        offsets: (I + 1,) item i owns ids[offsets[i]:offsets[i + 1]].
        texts: (I,) a number for every distinct text, from 0: a tokenizer may give several the same tokens (unknown
            words, lower-casing). None: a text for every distinct sequence of tokens.
    """

    ids: IntArray
    offsets: IntArray
    texts: IntArray | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> IntArray:
        """(I,) tokens of each title."""
        return np.diff(self.offsets)

    def of(self, item: int) -> IntArray:
        """Token ids of one item's title."""
        return self.ids[self.offsets[item] : self.offsets[item + 1]]

    def cut(self, most: int) -> "TitleTokens":
        """The same titles, none with more than `most` tokens; those that begin alike so far become alike."""
        lengths = self.lengths
        if not (lengths > most).any():
            return self
        place = np.arange(len(self.ids)) - np.repeat(self.offsets[:-1], lengths)
        stops = np.cumsum(np.minimum(lengths, most))
        return replace(self, ids=self.ids[place < most], offsets=np.concatenate([[0], stops]).astype(np.int64))

    @classmethod
    def encode(
        cls, tokenizer: Any, titles: Sequence[str], reserved: Sequence[int] = (), *, block: int = BLOCK
    ) -> "TitleTokens":
        """Encode titles without special tokens.

        Args:
            tokenizer: A tokenizer object used for nothing else: its `split_special_tokens` flag is sticky.
            titles: (I,) titles.
            reserved: Token ids that structure a prompt (separator, end) and may not occur in a title, as special tokens
                may not.
            block: Titles held as Python lists at a time, which bounds memory.

        Raises:
            InputError: A title has no tokens, or holds a reserved one.
        """
        pieces, sizes = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
        markup = np.array(sorted({*markup_of(tokenizer).values(), *reserved}), dtype=np.int64)
        for start in range(0, len(titles), block):
            texts = [_LINE_BREAKS.sub(" ", title) for title in titles[start : start + block]]
            encoded = _encode(tokenizer, texts)
            lengths, ids = _flat(encoded)
            held = np.flatnonzero(np.isin(ids, markup))
            for title in np.unique(np.searchsorted(np.cumsum(lengths), held, side="right")).tolist():
                encoded[title] = list(chain.from_iterable(_encode(tokenizer, list(texts[title]))))
            if len(held):
                lengths, ids = _flat(encoded)
            sizes.append(lengths)
            pieces.append(ids)
        ids, lengths = np.concatenate(pieces), np.concatenate(sizes)
        if not lengths.all():
            blank = int(np.flatnonzero(lengths == 0)[0])
            raise InputError(f"title {titles[blank]!r} has no tokens; every item needs a title with visible text")
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        clash = np.flatnonzero(np.isin(ids, markup))
        if len(clash):
            item = int(np.searchsorted(offsets, clash[0], side="right")) - 1
            raise InputError(f"title {titles[item]!r} holds token {int(ids[clash[0]])}, which the prompt reserves")
        return cls(ids, offsets, numbered(titles))


def _encode(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    """Token ids of some texts."""
    found: list[list[int]] = tokenizer(
        texts, add_special_tokens=False, split_special_tokens=True, return_attention_mask=False
    ).input_ids
    return found


def _flat(encoded: list[list[int]]) -> tuple[IntArray, IntArray]:
    """(n,) lengths and (total,) ids of some lists."""
    lengths = np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded))
    return lengths, np.fromiter(chain.from_iterable(encoded), dtype=np.int64, count=int(lengths.sum()))
