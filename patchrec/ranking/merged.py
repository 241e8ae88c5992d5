"""Titles that a tokenizer merges: different texts with the same tokens, which no model tells apart.

They share the probability of their path evenly (see `patchrec.ranking.trie`).
"""

from collections.abc import Sequence

import numpy as np

from patchrec.ranking.trie import TitleTrie


def num_merged(trie: TitleTrie) -> int:
    """How many texts share their tokens with another text."""
    return int(trie.num_texts[trie.num_texts > 1].sum())


def merged_examples(trie: TitleTrie, titles: Sequence[str], limit: int = 3) -> list[tuple[str, ...]]:
    """The first groups of texts that share their tokens, the largest groups first.

    Args:
        trie: Of the titles.
        titles: (I,) title texts.
        limit: How many groups.
    """
    order = np.argsort(-trie.num_texts, kind="stable")[:limit]
    groups = order[trie.num_texts[order] > 1].tolist()
    return [tuple(dict.fromkeys(titles[item] for item in trie.items_of(group).tolist())) for group in groups]


def merged_note(trie: TitleTrie, titles: Sequence[str]) -> str | None:
    """A sentence on the titles that are merged; None where none are."""
    count = num_merged(trie)
    if not count:
        return None
    first = merged_examples(trie, titles, 1)[0]
    return (
        f"{count:,} titles have the same tokens as another, such as {first[0]!r} and {first[1]!r}: the model cannot "
        "tell them apart, and they share its probability evenly; a backbone with another tokenizer may"
    )
