"""Columns of a block of lines, left where they lie: their whole numbers, or numbers of their texts, at array speed.

To everyone else a column is a sequence of texts.
"""

from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np

from patchrec.history import IntArray

WORD = 8
Words = np.ndarray[tuple[int], np.dtype[np.uint64]]

MASKS = np.array([(1 << (8 * size)) - 1 for size in range(WORD + 1)], dtype=np.uint64)
"""By number of bytes: what is left of a word that begins with so many."""
MIX = np.uint64(0x9E3779B97F4A7C15)
LONGEST = 64
MOST_DIGITS = 18


class Fields(Sequence[str]):
    """One field of every line of a block."""

    def __init__(self, block: bytes, starts: IntArray, stops: IntArray) -> None:
        """Look at a block.

        Args:
            block: UTF-8 without zero bytes, and `WORD` zero bytes after it.
            starts, stops: (n,) places in it where the fields begin and end.
        """
        self._block = block
        self._starts = starts
        self._stops = stops

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[str]: ...
    def __getitem__(self, place: int | slice) -> str | Sequence[str]:
        if isinstance(place, slice):
            return Fields(self._block, self._starts[place], self._stops[place])
        return self._block[self._starts[place] : self._stops[place]].decode("utf-8")

    def __iter__(self) -> Iterator[str]:
        block = self._block
        for start, stop in zip(self._starts.tolist(), self._stops.tolist(), strict=True):
            yield block[start:stop].decode("utf-8")

    def whole_numbers(self) -> IntArray | None:
        """(n,) the numbers, where all fields are one to eighteen digits; else None."""
        lengths = self._stops - self._starts
        longest = int(lengths.max(initial=0))
        if not len(self) or longest > MOST_DIGITS or not lengths.all():
            return None
        found = np.zeros(len(self), dtype=np.int64)
        letters = np.frombuffer(self._block, dtype=np.uint8)
        even = int(lengths.min()) == longest
        for place in range(longest):
            there = self._starts + place
            digits = letters[np.minimum(there, len(letters) - 1)].astype(np.int64) - ord("0")
            inside = True if even else place < lengths
            if (((digits < 0) | (digits > 9)) & inside).any():
                return None
            found = found * 10 + digits if even else np.where(inside, found * 10 + digits, found)
        return found

    def words(self) -> "list[Words] | None":
        """The bytes of each field, eight to a word, with zeros after its end; None where some are too long for it."""
        lengths = self._stops - self._starts
        number = max(1, -(-int(lengths.max(initial=0)) // WORD))
        if number * WORD > LONGEST:
            return None
        size = len(self._block) - WORD + 1
        every = np.ndarray((size,), dtype="<u8", buffer=self._block, strides=(1,))
        found = []
        for word in range(number):
            left = np.clip(lengths - word * WORD, 0, WORD)
            found.append(every[np.minimum(self._starts + word * WORD, size - 1)] & MASKS[left])
        return found


class Numbered:
    """Texts, numbered as they first come, column by column: each is looked at once, however often it stands there.

    Attributes:
        texts: By number.
    """

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._keys: Words = np.empty(0, dtype=np.uint64)  # sorted
        self._number_of_key: IntArray = np.empty(0, dtype=np.int64)
        self._words: list[Words] = []  # by number
        self._by_text: dict[str, int] | None = None  # where keys do not tell texts apart

    def numbers(self, fields: Fields) -> IntArray:
        """(n,) the number of each field."""
        words = None if self._by_text is not None else fields.words()
        found = None if words is None else self._by_key(fields, words)
        if found is not None:
            return found
        if self._by_text is None:
            self._by_text = {text: number for number, text in enumerate(self.texts)}
        known = self._by_text
        numbers = np.array([known.setdefault(text, len(known)) for text in fields], dtype=np.int64)
        self.texts = list(known)
        return numbers

    def _by_key(self, fields: Fields, words: "list[Words]") -> IntArray | None:
        """The same by one word of each text; None where two texts share one."""
        keys, first, inverse = _different(_mixed(words))
        place = np.searchsorted(self._keys, keys)
        known = np.zeros(len(keys), dtype=np.bool_)
        inside = place < len(self._keys)
        known[inside] = self._keys[place[inside]] == keys[inside]
        number = np.empty(len(keys), dtype=np.int64)
        number[known] = self._number_of_key[place[known]]
        new = np.flatnonzero(~known)
        new = new[np.argsort(first[new])]  # in the order in which they first stand
        number[new] = len(self.texts) + np.arange(len(new))
        found = number[inverse]
        self._words = _grown(self._words, [word[first[new]] for word in words], len(self.texts))
        alike = all((one[found] == word).all() for one, word in zip(self._words, words, strict=False))
        if not alike or any(one[found].any() for one in self._words[len(words) :]):
            return None
        self.texts += [fields[at] for at in first[new].tolist()]
        new = np.sort(new)
        self._keys = np.insert(self._keys, place[new], keys[new])
        self._number_of_key = np.insert(self._number_of_key, place[new], number[new])
        return found


def _different(keys: "Words") -> tuple["Words", IntArray, IntArray]:
    """Different keys ascending, the first place of each, and (n,) which of them each is: `np.unique`, faster."""
    order = np.argsort(keys)
    ascending = keys[order]
    begins = np.ones(len(keys), dtype=np.bool_)
    begins[1:] = ascending[1:] != ascending[:-1]
    starts = np.flatnonzero(begins)
    inverse = np.empty(len(keys), dtype=np.int64)
    inverse[order] = np.cumsum(begins) - 1
    return ascending[starts], np.minimum.reduceat(order, starts), inverse


def _mixed(words: "list[Words]") -> "Words":
    """One word of each text, which depends on all its bytes and not on how long others are."""
    key = words[0]
    for word in words[1:]:
        key = np.where(word == 0, key, (key * MIX) ^ word ^ (key >> np.uint64(29)))
    return key


def _grown(known: "list[Words]", new: "list[Words]", size: int) -> "list[Words]":
    """Words by number, with those of new numbers after the first `size`."""
    count = len(new[0])
    if not count:
        return known
    zeros = np.zeros
    return [
        np.concatenate(
            [
                known[place][:size] if place < len(known) else zeros(size, dtype=np.uint64),
                new[place] if place < len(new) else zeros(count, dtype=np.uint64),
            ]
        )
        for place in range(max(len(known), len(new)))
    ]


def split_fields(content: bytes, separator: str, width: int, used: Sequence[int]) -> list[Fields] | None:
    """The fields of lines that have one for each column; None where a line has more or fewer.

    Args:
        content: Lines in UTF-8, a line break between them.
        separator: One ASCII character.
        width: Number of columns.
        used: Columns that are wanted.
    """
    letters = np.frombuffer(content, dtype=np.uint8)
    ends = np.append(np.flatnonzero(letters == ord("\n")), len(letters))
    marks = np.flatnonzero(letters == ord(separator))
    if not (np.searchsorted(marks, ends) == (width - 1) * np.arange(1, len(ends) + 1)).all():
        return None
    begins = np.concatenate([[0], ends[:-1] + 1])
    inside = marks.reshape(len(ends), width - 1)
    starts = [begins, *(inside[:, place] + 1 for place in range(width - 1))]
    stops = [*(inside[:, place] for place in range(width - 1)), ends]
    padded = content + bytes(WORD)
    return [Fields(padded, starts[place], stops[place]) for place in used]
