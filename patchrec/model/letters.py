"""Candidates by letters: a list of titles after a history, and the one token that names one of them.

After the tail of a lettered prompt (`patchrec.model.prompt`) stands a line for each candidate: its letter, a colon, its
title. A model that is asked for the letter says in one forward pass what it thinks of all candidates: the logits of
their letters at the last position.

Source: Yue et al., "LlamaRec: Two-Stage Recommendation using Large Language Models for Ranking", 2023. There a line
begins with the letter in brackets; here with the very token that a model answers with.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from patchrec.errors import UsageError
from patchrec.history import IntArray
from patchrec.model.prompt import Prompt
from patchrec.model.titles import TitleTokens

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, eq=False)
class Letters:
    """The letters that a model can answer with.

    Attributes:
        tokens: (L,) the token of each.
        mark: Ids between a letter and its title.
    """

    tokens: IntArray
    mark: IntArray

    @classmethod
    def of(cls, tokenizer: Any, count: int) -> "Letters":
        """The first letters of a tokenizer.

        Args:
            tokenizer: Of the model.
            count: How many, at most 26.

        Raises:
            UsageError: One of them is not a token of its own.
        """
        before = _ids(tokenizer, "\n")
        tokens: list[int] = []
        for letter in LETTERS[:count]:
            found = _ids(tokenizer, f"\n{letter}")  # as at the begin of a line
            alone = found[:-1] == before and tokenizer.decode(found[-1:]).strip() == letter
            if not alone or found[-1] in tokens:
                raise UsageError(
                    f"this model's tokenizer has no token of its own for the letter {letter!r}, which names a "
                    "candidate; take another backbone, or fewer --candidates"
                )
            tokens.append(found[-1])
        return cls(np.array(tokens, dtype=np.int64), np.array(_ids(tokenizer, ":"), dtype=np.int64))

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over all ids (hex, 16 digits)."""
        return hashlib.sha256(repr((self.tokens.tolist(), self.mark.tolist())).encode()).hexdigest()[:16]

    def listed(self, prompt: Prompt, titles: TitleTokens, items: IntArray) -> IntArray:
        """Keys that go on after the tail of a lettered prompt; the letter of a candidate is asked for after the last.

        Args:
            prompt: Which.
            titles: Of all items.
            items: (n,) candidates in the order of their letters, at most L.
        """
        assert prompt.rest is not None
        separator = np.array([prompt.separator], dtype=np.int64)
        lines = [
            np.concatenate([[token], self.mark, titles.of(item), separator])
            for token, item in zip(self.tokens.tolist(), items.tolist(), strict=False)
        ]
        return np.concatenate([*lines, prompt.rest])

    def longest(self, prompt: Prompt, titles: TitleTokens) -> int:
        """Keys of the longest list that there could be."""
        assert prompt.rest is not None
        most = np.sort(titles.lengths)[::-1][: len(self.tokens)]
        return int(most.sum()) + len(most) * (len(self.mark) + 2) + len(prompt.rest)


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False).input_ids)
