"""A catalog's titles in the order of their tokens, with what neighbours share: all that a trie is laid out from.

Token after token, titles that agree so far are split by their next one (a radix sort from the first token on). Only
titles that still agree with another are looked at again, so the cost is that of the prefixes shared, not of the longest
title. A title ends with the end token, which none holds within.

Shapes: I items; places are positions in the order.
"""

from dataclasses import dataclass

import numpy as np

from patchrec.history import BoolArray, IntArray
from patchrec.model.titles import TitleTokens


@dataclass(frozen=True, slots=True, eq=False)
class SharedPrefixes:
    """Every prefix that several items share, as the places of those items.

    Attributes:
        first: (G,) the first place.
        stop: (G,) one past the last.
        depth: (G,) position of the prefix's last token: 0 for a prefix of one token.
    """

    first: IntArray
    stop: IntArray
    depth: IntArray


@dataclass(frozen=True, slots=True, eq=False)
class SortedTitles:
    """Titles in lexicographic order of their tokens and the end token.

    Attributes:
        order: (I,) items; those of one title ascending.
        distinct: (I,) whether the title at a place differs from the one before.
        shared: (I,) tokens shared with the place before, where distinct.
        owner: (I,) the first of all places that share those tokens, where distinct.
        several: Prefixes that several items share.
    """

    order: IntArray
    distinct: BoolArray
    shared: IntArray
    owner: IntArray
    several: SharedPrefixes


def sort_titles(titles: TitleTokens, end: int) -> SortedTitles:
    """Sort the titles of a catalog by their tokens.

    Args:
        titles: Title tokens of every item; none holds `end`.
        end: The token that ends an answer.
    """
    order = np.arange(len(titles), dtype=np.int64)
    distinct = np.ones(len(titles), dtype=np.bool_)
    shared = np.zeros(len(titles), dtype=np.int64)
    owner = np.zeros(len(titles), dtype=np.int64)
    several = []
    width = max(int(titles.ids.max(initial=0)), end) + 1
    places, group = order.copy(), np.zeros(len(titles), dtype=np.int64)  # a group is named by its first place
    depth = 0
    while len(places):
        tokens = _tokens_at(titles, order[places], depth, end)
        by_token = np.argsort(group * width + tokens, kind="stable")
        order[places] = order[places[by_token]]
        tokens = tokens[by_token]
        opens = np.ones(len(places), dtype=np.bool_)
        opens[1:] = (group[1:] != group[:-1]) | (tokens[1:] != tokens[:-1])
        split = opens & (places != group)
        shared[places[split]] = depth
        owner[places[split]] = group[split]
        distinct[places[~opens & (tokens == end)]] = False
        runs = np.flatnonzero(opens)
        sizes = np.diff(runs, append=len(places))
        first = places[runs]
        more = sizes > 1
        several.append((first[more], first[more] + sizes[more], np.full(np.count_nonzero(more), depth)))
        goes_on = np.repeat(more & (tokens[runs] != end), sizes)
        places, group = places[goes_on], np.repeat(first, sizes)[goes_on]
        depth += 1
    return SortedTitles(
        order, distinct, shared, owner, SharedPrefixes(*map(np.concatenate, zip(*several, strict=True)))
    )


def _tokens_at(titles: TitleTokens, items: IntArray, depth: int, end: int) -> IntArray:
    """The token of each item's path at one depth, which no path has passed."""
    at = titles.offsets[items] + depth
    inside = at < titles.offsets[items + 1]
    tokens = np.full(len(items), end, dtype=np.int64)
    tokens[inside] = titles.ids[at[inside]]
    return tokens
