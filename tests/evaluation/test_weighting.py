"""Weighing recommenders equals mixing them one weighting at a time."""

from dataclasses import replace

import numpy as np
import pytest

from patchrec.config import HistoryConfig
from patchrec.errors import UsageError
from patchrec.evaluation.metrics import rank_metrics
from patchrec.evaluation.weighting import learn_repeats, weigh, weightings
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


@pytest.mark.parametrize("repeats", [1.0, 0.01, 30.0])
def test_log_probabilities_with_other_odds_of_repeats_are_those_of_such_a_blend(case, repeats):
    dataset, examples, mixed = case
    weighed = weigh(dataset, examples, mixed([1.0] * 3))
    queries, titles = [Query.of(dataset, example) for example in examples], dataset.catalog.title_of_item
    for number in (0, 7, len(weighed.weightings) - 1):
        blend = replace(mixed(weighed.weightings[number].tolist()), repeats=repeats)
        scores = dict(blend.score_each(queries))
        expected = [
            np.logaddexp.reduce(scores[place].log_probs[titles == titles[dataset.target(example)]])
            for place, example in enumerate(examples)
        ]
        np.testing.assert_allclose(weighed.log_probs_by(number, repeats), expected, rtol=1e-9)
    had = [dataset.target(example) in dataset.history(example).items for example in examples]
    assert weighed.repeated.tolist() == had


def test_the_learned_odds_of_repeats_are_the_likeliest():
    random = np.random.default_rng(0)
    share = random.uniform(0.05, 0.9, size=400)
    odds = 0.2 * share / (1 - share)
    repeated = random.random(400) < odds / (1 + odds)
    found = learn_repeats(np.log(share), repeated)

    def likelihood(factor):
        of_all = np.append(share, [0.5, 0.5])
        chance = factor * of_all / (1 - of_all + factor * of_all)
        return np.log(np.where(np.append(repeated, [True, False]), chance, 1 - chance)).sum()

    assert likelihood(found) > max(likelihood(found * 0.99), likelihood(found * 1.01))
    assert 0.1 < found < 0.4


def test_where_nobody_repeats_the_odds_become_small_and_stay_above_none():
    found = learn_repeats(np.log(np.full(1000, 0.3)), np.zeros(1000, dtype=np.bool_))
    assert 1e-4 < found < 0.01
    assert learn_repeats(np.array([0.0, -np.inf]), np.array([True, False])) == pytest.approx(1)
