"""Weighing recommenders equals mixing them one weighting at a time."""

import numpy as np
import pytest

from patchrec.config import HistoryConfig
from patchrec.errors import UsageError
from patchrec.evaluation.metrics import rank_metrics
from patchrec.evaluation.weighting import weigh, weightings
from patchrec.ranking.blend import BlendRecommender
from patchrec.ranking.counts import ItemKNN, Markov, Popularity
from patchrec.ranking.dense import DenseRecommender
from patchrec.ranking.items import precedence
from patchrec.recommender import Part, Query, rank
from patchrec.recommenders.counts import ItemKNNOptions, MarkovOptions
from patchrec.testing import make_dataset


@pytest.mark.parametrize(("number", "count"), [(2, 9), (3, 45), (4, 165), (5, 495)])
def test_all_ways_to_share_in_eighths(number, count):
    found = weightings(number)
    assert found.shape == (count, number)
    assert len(np.unique(found, axis=0)) == count
    assert (found >= 0).all()
    assert np.array_equal(found.sum(axis=1), np.ones(count))


@pytest.fixture(scope="module")
def case():
    dataset = make_dataset()
    models = Popularity(None), Markov(MarkovOptions(strength=1.0)), ItemKNN(ItemKNNOptions())
    place, own = precedence(dataset.popularity), []
    for model in models:
        model.fit(dataset)
        own.append(DenseRecommender("counts", model, place, dataset.catalog.titles))
    examples = dataset.examples("validation", 8)

    def mixed(weights):
        parts = [Part(one, weight, HistoryConfig(K=8)) for one, weight in zip(own, weights, strict=True)]
        return BlendRecommender(parts, dataset.catalog, place)

    return dataset, examples, mixed


def test_ranks_and_log_probabilities_are_those_of_each_blend(case):
    dataset, examples, mixed = case
    weighed = weigh(dataset, examples, mixed([1.0] * 3))
    queries = [Query.of(dataset, example) for example in examples]
    targets, titles = [dataset.target(example) for example in examples], dataset.catalog.title_of_item
    for weights, ranks, likely in zip(weighed.weightings, weighed.ranks, weighed.log_probs, strict=True):
        one = mixed(weights.tolist())
        scores = dict(one.score_each(queries))
        expected = [
            np.logaddexp.reduce(scores[number].log_probs[titles == titles[target]])
            for number, target in enumerate(targets)
        ]
        np.testing.assert_allclose(likely, expected, rtol=1e-9)
        for ranking, target, found in zip(rank(one, queries, 20), targets, ranks, strict=True):
            own = [line.rank for line in ranking.recommendations if line.item == target]
            assert own == ([] if np.isnan(found) else [found])


def test_the_best_weighting_has_the_best_mean_and_few_parts(case):
    dataset, examples, mixed = case
    weighed = weigh(dataset, examples, mixed([1.0] * 3))
    for metric in ("ndcg@2", "hr@1", "mrr", "log_prob"):
        means = weighed.values(metric).mean(axis=1)
        equal = np.flatnonzero(means == means.max())
        best = weighed.best(metric)
        assert best in equal
        parts = np.count_nonzero(weighed.weightings, axis=1)
        assert parts[best] == parts[equal].min()
    alone = weighed.weightings[weighed.alone(1)]
    assert alone.tolist() == [0, 1, 0]
    assert np.array_equal(weighed.values("ndcg@2")[3], rank_metrics(weighed.ranks[3], (2,))["ndcg@2"])


@pytest.mark.parametrize("metric", ["ndcg", "ndcg@0", "ndcg@x", "recall@20", "", "mrr@"])
def test_an_unknown_metric_names_the_choices(case, metric):
    dataset, examples, mixed = case
    weighed = weigh(dataset, examples[:1], mixed([1.0] * 3))
    with pytest.raises(UsageError, match="choices: ndcg@20"):
        weighed.values(metric)
