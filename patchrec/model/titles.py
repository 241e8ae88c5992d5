"""Title tokens: every title of a catalog as token ids, in one flat array.

Titles are data, never markup: special tokens in a title are encoded as the plain text they are, and line breaks, which
separate titles in a prompt, become a space (in the model's view only; the store keeps titles byte for byte).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np

from patchrec.errors import InputError
from patchrec.history import IntArray

BLOCK = 20_000
_LINE_BREAKS = re.compile(r"[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]+")


@dataclass(frozen=True, eq=False)
class TitleTokens:
    """Token ids of all titles.

    Attributes:
        ids: (total,) token ids of title after title.
        offsets: (I + 1,) item i owns ids[offsets[i]:offsets[i + 1]].
    """

    ids: IntArray
    offsets: IntArray

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
            reserved: Token ids that structure a prompt (separator, end) and may not occur in a title.
            block: Titles held as Python lists at a time, which bounds memory.

        Raises:
            InputError: A title has no tokens, or holds a reserved one.
        """
        pieces, sizes = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
        for start in range(0, len(titles), block):
            encoded = tokenizer(
                [_LINE_BREAKS.sub(" ", title) for title in titles[start : start + block]],
                add_special_tokens=False,
                split_special_tokens=True,
                return_attention_mask=False,
            ).input_ids
            sizes.append(np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded)))
            pieces.append(np.fromiter(chain.from_iterable(encoded), dtype=np.int64, count=int(sizes[-1].sum())))
        ids, lengths = np.concatenate(pieces), np.concatenate(sizes)
        if not lengths.all():
            blank = int(np.flatnonzero(lengths == 0)[0])
            raise InputError(f"title {titles[blank]!r} has no tokens; every item needs a title with visible text")
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        clash = np.flatnonzero(np.isin(ids, np.asarray(reserved, dtype=np.int64)))
        if len(clash):
            item = int(np.searchsorted(offsets, clash[0], side="right")) - 1
            raise InputError(f"title {titles[item]!r} holds token {int(ids[clash[0]])}, which the prompt reserves")
        return cls(ids, offsets)
