"""Targets whose item no training has seen are reported apart."""

from dataclasses import replace

import numpy as np
import pytest

from patchrec.evaluation.evaluate import cold_targets, evaluate
from patchrec.evaluation.rows import VIEWS, metric_rows
from patchrec.options import Options
from patchrec.ranking.counts import Popularity
from patchrec.ranking.dense import DenseRecommender
from patchrec.ranking.items import precedence


def with_train(movies, length):
    """The same users, with their first items train and the rest test."""
    stop = np.full(len(movies.sequences), length)
    return replace(movies, sequences=replace(movies.sequences, train_stop=stop, validation_stop=stop))


def run(movies, **options):
    model = Popularity(Options())
    model.fit(movies)
    popular = DenseRecommender("popularity", model, precedence(movies.popularity), movies.catalog.titles)
    return evaluate(movies, movies.examples("test", 8), popular, ks=(3,), **options)


def never_seen(movies):
    """The same question, asked slowly: which targets are of an item that is in nobody's train part?"""
    train = {
        item
        for user in range(len(movies.sequences))
        for item in movies.sequences.items_of(user)[: movies.sequences.train_stop[user]].tolist()
    }
    return [movies.target(example) not in train for example in movies.examples("test", 8)]


def by_slice(result, name):
    """Everything of one slice but its name."""
    return [replace(row, slice="all") for row in result.metrics if row.slice == name]


def test_a_target_is_cold_where_nobody_had_its_item_in_train(movies):
    few = with_train(movies, 1)
    found = cold_targets(few, few.examples("test", 8)).tolist()
    assert found == never_seen(few)
    assert 0 < sum(found) < len(found)


def test_the_slice_has_the_metrics_of_its_targets_alone(movies):
    few = with_train(movies, 1)
    result = run(few)
    alone = [row for row, cold in zip(result.rankings, never_seen(few), strict=True) if cold]
    assert by_slice(result, "cold") == metric_rows(alone, (3,))
    assert by_slice(result, "all") == metric_rows(result.rankings, (3,))
    assert result.cost["cold_targets"] == len(alone)
    assert result.cost["cold_users"] == len({row.user for row in alone})
    assert {(row.level, row.seen) for row in result.metrics if row.slice == "cold"} == set(VIEWS)


def test_a_metric_of_all_targets_comes_first(movies):
    slices = [row.slice for row in run(with_train(movies, 1)).metrics]
    assert slices == sorted(slices)


def test_without_such_targets_there_is_no_slice(movies):
    result = run(movies)
    assert "cold" not in {row.slice for row in result.metrics}
    assert (result.cost["cold_targets"], result.cost["cold_users"]) == (0, 0)


def test_where_every_target_is_cold_both_slices_are_given(movies):
    none = with_train(movies, 0)
    result = run(none)
    assert by_slice(result, "cold") == by_slice(result, "all")
    assert (result.cost["cold_targets"], result.cost["cold_users"]) == (
        result.cost["num_targets"],
        result.cost["num_users"],
    )


@pytest.mark.parametrize("limit", [1, 5, 20])
def test_a_sample_has_the_slice_of_its_own_targets(movies, limit):
    few = with_train(movies, 1)
    cost = run(few, limit=limit).cost
    assert 0 <= cost["cold_users"] <= cost["cold_targets"] <= limit


def test_a_new_item_is_cold_and_ranks_last_by_popularity(movies):
    new = type(movies.catalog)(("new",), ("Zed",))
    grown = replace(movies, catalog=movies.catalog.followed_by(new))
    assert grown.popularity[-1] == 0
    assert grown.popularity[:-1].tolist() == movies.popularity.tolist()
    kept = {row.item_rank_kept for row in run(grown).rankings}
    assert kept == {row.item_rank_kept for row in run(movies).rankings}
