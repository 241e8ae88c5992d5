"""Weighing recommenders equals mixing them one weighting at a time."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from patchrec.config import HistoryConfig
from patchrec.errors import UsageError
from patchrec.evaluation.metrics import rank_metrics
from patchrec.evaluation.weighting import learn_new, learn_odds, learn_temperatures, title_log_probs, weigh, weightings
from patchrec.ranking.blend import BlendRecommender, NewItems
from patchrec.ranking.counts import ItemKNN, Markov, Popularity
from patchrec.ranking.dense import DenseRecommender
from patchrec.ranking.items import precedence
from patchrec.recommender import Cost, Part, Query, Scores, rank
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


@pytest.mark.parametrize("new", [None, NewItems(np.arange(12) % 3 == 0, 2, 3.0)], ids=["", "who speaks of new items"])
def test_ranks_and_log_probabilities_are_those_of_each_blend(case, new):
    dataset, examples, mixed = case
    weighed = weigh(dataset, examples, replace(mixed([1.0] * 3), new=new))
    queries = [Query.of(dataset, example) for example in examples]
    targets, titles = [dataset.target(example) for example in examples], dataset.catalog.title_of_item
    for weights, ranks, likely in zip(weighed.weightings, weighed.ranks, weighed.log_probs, strict=True):
        # one recommender alone stays as it is
        one = replace(mixed(weights.tolist()), new=new if np.count_nonzero(weights) > 1 else None)
        scores = dict(one.score_each(queries))
        expected = [
            np.logaddexp.reduce(scores[number].log_probs[titles == titles[target]])
            for number, target in enumerate(targets)
        ]
        np.testing.assert_allclose(likely, expected, rtol=1e-9)
        for ranking, target, found in zip(rank(one, queries, 20), targets, ranks, strict=True):
            own = [line.rank for line in ranking.recommendations if line.item == target]
            assert own == ([] if np.isnan(found) else [found])


@dataclass
class Always:
    """Gives the same answer to everyone."""

    shares: np.ndarray
    level: str = "item"
    device: str = "cpu"

    def score_each(self, queries):
        for number in range(len(queries)):
            yield number, Scores(np.log(self.shares / self.shares.sum()), Cost())


@pytest.fixture(scope="module")
def with_new_items():
    """A data set in which nobody chose the first three items until the validation split, and then the second most."""
    dataset = make_dataset(60)
    own = dataset.sequences
    place = np.arange(len(own.items)) - np.repeat(own.offsets[:-1], np.diff(own.offsets))
    learned = place < np.repeat(own.train_stop, np.diff(own.offsets))
    items = np.where(learned & (own.items < 3), own.items + 5, own.items)
    items = np.where(~learned & (own.items == 0), 1, items)
    return replace(dataset, sequences=replace(own, items=items))


def blend_of(dataset, *rows):
    parts = [Part(Always(np.array(row)), 1.0, HistoryConfig(K=8)) for row in rows]
    return BlendRecommender(parts, dataset.catalog, precedence(dataset.popularity))


def test_who_finds_new_targets_likeliest_among_new_items_speaks_of_them(with_new_items):
    dataset, old = with_new_items, [1.0] * 9
    examples = dataset.examples("validation", 8)
    targets = np.array([dataset.target(example) for example in examples])
    happened = targets < 3
    true = np.bincount(targets[happened], minlength=3) + 1e-9
    rows = [1, 1, 1, *old], [3, 2, 1, *old], [*(1e-9 * true), *old], [100, 100, 90, *old]
    found = learn_new(dataset, examples, blend_of(dataset, *rows))
    assert found.items.tolist() == [True] * 3 + [False] * 9
    assert found.speaker == 2  # however little it gives to all of them together
    share = np.full(len(examples), np.log(1e-9 * true.sum() / (9 + 1e-9 * true.sum())))
    assert found.factor == pytest.approx(learn_odds(share, happened))


def test_nobody_speaks_of_new_items_where_none_was_chosen_or_nobody_knows_them(with_new_items, case):
    dataset, examples, mixed = case
    assert learn_new(dataset, examples, mixed([1.0] * 3)) is None
    others = [1.0] * 9
    blend = blend_of(with_new_items, [1, 1, 1, *others], [5, 1, 3, *others])
    assert learn_new(with_new_items, with_new_items.examples("validation", 8), blend) is None


def test_targets_that_stand_for_many_count_so_often():
    share, happened, times = np.log([0.2, 0.4, 0.3]), np.array([True, False, False]), np.array([3, 1, 5])
    once = learn_odds(np.repeat(share, times), np.repeat(happened, times))
    assert learn_odds(share, happened, times) == pytest.approx(once)


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
    found = learn_odds(np.log(share), repeated)

    def likelihood(factor):
        of_all = np.append(share, [0.5, 0.5])
        chance = factor * of_all / (1 - of_all + factor * of_all)
        return np.log(np.where(np.append(repeated, [True, False]), chance, 1 - chance)).sum()

    assert likelihood(found) > max(likelihood(found * 0.99), likelihood(found * 1.01))
    assert 0.1 < found < 0.4


def test_where_nobody_repeats_the_odds_become_small_and_stay_above_none():
    found = learn_odds(np.log(np.full(1000, 0.3)), np.zeros(1000, dtype=np.bool_))
    assert 1e-4 < found < 0.01
    assert learn_odds(np.array([0.0, -np.inf]), np.array([True, False])) == pytest.approx(1)


@pytest.mark.parametrize("power", [0.25, 0.5, 1.0, 2.0])
def test_a_temperature_is_learned_that_undoes_what_a_mixture_is_unsure_of(power):
    dataset = make_dataset(300)
    examples = dataset.examples("validation", 2)
    blend = blend_of(dataset, np.ones(12))
    true = np.array([40.0, 25, 12, 8, 5, 3, 2, 2, 1, 1, 1, 1])
    random = np.random.default_rng(0)
    left = [np.flatnonzero(blend.groups(Query.of(dataset, one))[1][0]) for one in examples]
    drawn = [int(random.choice(items, p=true[items] / true[items].sum())) for items in left]
    told = dict(zip(map(id, examples), drawn, strict=True))
    changed = Drawn(dataset, told)
    found, of_new = learn_temperatures(changed, examples, blend_of(dataset, true**power))
    assert found == pytest.approx(power, rel=0.2)
    assert of_new == 1


@dataclass
class Drawn:
    """A data set whose targets are others."""

    dataset: object
    targets: dict

    def target(self, example):
        return self.targets[id(example)]

    def __getattr__(self, name):
        return getattr(self.dataset, name)


def test_no_temperature_is_learned_from_what_is_chance(case):
    dataset, examples, mixed = case
    assert learn_temperatures(dataset, examples[:1], mixed([0.5, 0.25, 0.25])) == (1, 1)
    assert learn_temperatures(dataset, [], mixed([0.5, 0.25, 0.25])) == (1, 1)
    few, _ = learn_temperatures(dataset, examples[:3], mixed([0.5, 0.25, 0.25]))
    assert 1 / 8 <= few <= 8


def test_a_speaker_has_a_temperature_of_its_own(with_new_items):
    dataset = with_new_items
    examples = dataset.examples("validation", 2)
    targets = np.array([dataset.target(example) for example in examples])
    true = np.bincount(targets[targets < 3], minlength=3) + 0.01
    unsure = blend_of(dataset, [*true**0.25, *[1.0] * 9], [1.0] * 12)
    speaking = replace(unsure, new=NewItems(dataset.popularity == 0, 0, 1.0))
    of_all, of_new = learn_temperatures(dataset, examples, speaking)
    assert of_new < 1
    assert learn_temperatures(dataset, examples, unsure)[1] == 1
    colder = replace(speaking, temperature=of_all, new=replace(speaking.new, temperature=of_new))
    likely, before = (title_log_probs(dataset, examples, one).mean() for one in (colder, speaking))
    assert likely > before
