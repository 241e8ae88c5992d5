"""How validation targets rank under the weights as they are: one measure for every recommender."""

from collections.abc import Sequence
from math import nan

import numpy as np
import torch

from patchrec.config import ValidateMetric
from patchrec.data.histories import Dataset, Example
from patchrec.evaluation.metrics import rank_metrics
from patchrec.recommender import Query, Recommender
from patchrec.training.processes import Process

ALONE = Process()


def ranking_metric(
    recommender: Recommender,
    dataset: Dataset,
    examples: Sequence[Example],
    metric: ValidateMetric,
    process: Process = ALONE,
) -> float | None:
    """Mean of a ranking metric such as `ndcg@20` over targets, seen items dropped; None for the loss.

    Args:
        recommender: What ranks: its exact best k are asked for, no more.
        dataset: Where the targets are from.
        examples: The targets.
        metric: Its name.
        process: Which of several this is; each ranks its share, neighbours together, and all learn the mean.
    """
    if metric == "loss":
        return None
    k = int(metric.partition("@")[2])
    own = np.array_split(np.arange(len(examples)), process.count)[process.rank].tolist()
    ranks = np.full(len(examples), nan)
    queries = [Query.of(dataset, examples[number]) for number in own]
    for place, ranking in recommender.rank_each(queries, k):
        target = dataset.target(examples[own[place]])
        ranks[own[place]] = next((line.rank for line in ranking.recommendations if line.item == target), nan)
    values = torch.from_numpy(rank_metrics(ranks, (k,))[metric])  # 0 at the targets of others
    process.add(values)
    return float(values.mean())
