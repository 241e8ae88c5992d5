"""Metrics of one relevant item per target, from 1-based ranks.

Every function gives the value of each target; the metric is their mean. A rank of inf or nan says that the target was
not among the candidates: a miss, never left out of the mean.
"""

from collections.abc import Sequence

import numpy as np

from patchrec.errors import UsageError
from patchrec.history import FloatArray


def hr(ranks: FloatArray, k: int) -> FloatArray:
    """Hit ratio: 1 where the target is among the first k, else 0.

    Source: Deshpande and Karypis, "Item-based top-N recommendation algorithms", TOIS 2004.
    """
    return (ranks <= k).astype(np.float64)


def ndcg(ranks: FloatArray, k: int) -> FloatArray:
    """Normalised discounted cumulative gain: 1 / log2(1 + rank) where the rank is at most k, else 0.

    With one relevant item the ideal gain is 1, so nothing is left to normalise.

    Source: Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR techniques", TOIS 2002; in the form with
    log2(1 + rank) of Burges et al., ICML 2005.
    """
    hit = ranks <= k
    return np.where(hit, 1 / np.log2(1 + np.where(hit, ranks, 1.0)), 0.0)


def mrr(ranks: FloatArray, k: int | None = None) -> FloatArray:
    """Reciprocal rank: 1 / rank, and 0 beyond k where a k is given.

    Source: Voorhees, "The TREC-8 question answering track report", 1999.
    """
    hit = ranks <= (np.finfo(np.float64).max if k is None else k)
    return np.where(hit, 1 / np.where(hit, ranks, 1.0), 0.0)


def rank_metrics(ranks: FloatArray, ks: Sequence[int]) -> dict[str, FloatArray]:
    """Every metric of every target, by its written name: `hr@10`, `ndcg@10`, `mrr@10` for each k, and `mrr`.

    Raises:
        UsageError: A k is below 1.
    """
    values: dict[str, FloatArray] = {}
    for k in ks:
        if k < 1:
            raise UsageError(f"k must be at least 1, got {k!r}")
        values |= {f"hr@{k}": hr(ranks, k), f"ndcg@{k}": ndcg(ranks, k), f"mrr@{k}": mrr(ranks, k)}
    return values | {"mrr": mrr(ranks)}
