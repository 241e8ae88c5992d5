"""How validation targets rank under the weights as they are: one measure for every recommender."""

from collections.abc import Sequence
from math import nan

import numpy as np

from patchrec.config import ValidateMetric
from patchrec.data.histories import Dataset, Example
from patchrec.evaluation.metrics import rank_metrics
from patchrec.recommender import Query, Recommender


def ranking_metric(
    recommender: Recommender, dataset: Dataset, examples: Sequence[Example], metric: ValidateMetric
) -> float | None:
    """Mean of a ranking metric such as `ndcg@20` over targets, seen items dropped; None for the loss.

    Args:
        recommender: What ranks: its exact best k are asked for, no more.
        dataset: Where the targets are from.
        examples: The targets.
        metric: Its name.
    """
    if metric == "loss":
        return None
    k = int(metric.partition("@")[2])
    ranks = np.full(len(examples), nan)
    queries = [Query.of(dataset, example) for example in examples]
    for number, ranking in recommender.rank_each(queries, k):
        target = dataset.target(examples[number])
        ranks[number] = next((line.rank for line in ranking.recommendations if line.item == target), nan)
    return float(rank_metrics(ranks, (k,))[metric].mean())
