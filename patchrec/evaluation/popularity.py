"""The popularity baseline: the same log-probabilities for every user, from counts of the train split."""

import numpy as np

from patchrec.history import FloatArray, IntArray


def popularity_log_probs(popularity: IntArray, title_of_item: IntArray) -> FloatArray:
    """(num_titles,) log-probability of every title: its share of the train interactions, add-one smoothed.

    A title's count is the sum over its items. Smoothing keeps titles that training never saw above zero, so that the
    log-probability of any target is finite: (count + 1) / (interactions + num_titles).

    Args:
        popularity: (I,) train interactions of every item.
        title_of_item: (I,) title of every item; every title has an item.
    """
    counts = np.bincount(title_of_item, weights=popularity)
    log_probs: FloatArray = np.log(counts + 1) - np.log(counts.sum() + len(counts))
    return log_probs


def titles_by_text(titles: tuple[str, ...]) -> IntArray:
    """(I,) a number for every distinct title text, for rankings that need no tokenizer; numbered as they appear."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(title, len(numbers)) for title in titles], dtype=np.int64)
