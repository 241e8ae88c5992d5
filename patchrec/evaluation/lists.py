"""What was recommended, whether right or not: how much of the catalog, how popular, how evenly.

From the best k of every target, seen items dropped; the catalog is all of it.

Shapes: I items, B targets.
"""

from collections.abc import Sequence

import numpy as np

from patchrec.history import FloatArray, IntArray


def list_measures(tops: Sequence[Sequence[int]], popularity: IntArray, ks: Sequence[int]) -> dict[str, float]:
    """`coverage@k`, `novelty@k` and `gini@k` for each k.

    Args:
        tops: (B) items recommended for each target, best first.
        popularity: (I,) interactions of each item in the train split.
        ks: Cut-offs, none above what the lists were made for.
    """
    found: dict[str, float] = {}
    for k in ks:
        chosen = np.array([item for top in tops for item in top[:k]], dtype=np.int64)
        times = np.bincount(chosen, minlength=len(popularity))
        found[f"coverage@{k}"] = coverage(times)
        found[f"novelty@{k}"] = float(information(popularity)[chosen].mean()) if len(chosen) else float("nan")
        found[f"gini@{k}"] = gini(times)
    return found


def coverage(times: IntArray) -> float:
    """Share of the catalog that was recommended at least once, of (I,) how often each item was.

    Source: Ge, Delgado-Battenfeld and Jannach, "Beyond accuracy", RecSys 2010 (catalog coverage).
    """
    return float(np.count_nonzero(times) / len(times))


def information(popularity: IntArray) -> FloatArray:
    """(I,) -log2 of each item's share of the train interactions, add-one smoothed: bits, more for what few know.

    Source: Zhou et al., "Solving the apparent diversity-accuracy dilemma of recommender systems", PNAS 2010, of whom
    we depart by the smoothing, without which an item nobody had is infinitely novel.
    """
    return np.asarray(-np.log2((popularity + 1) / (popularity.sum() + len(popularity))), dtype=np.float64)


def gini(times: IntArray) -> float:
    """0 where all items were recommended equally often, 1 where one item was alone; nan without two items.

    Source: Shani and Gunawardana, "Evaluating recommendation systems", 2011.
    """
    size, total = len(times), times.sum()
    if size < 2 or not total:
        return float("nan")
    places = 2 * np.arange(1, size + 1) - size - 1
    return float((places * np.sort(times)).sum() / ((size - 1) * total))
