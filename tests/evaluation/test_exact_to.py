"""Ranks up to a limit are those of an evaluation of the whole catalog, and so is every metric that needs no more."""

from dataclasses import replace

import numpy as np
import pytest
from test_evaluate import K, popular, recommender, run

from patchrec.config import PromptConfig
from patchrec.data.catalog import Catalog
from patchrec.data.histories import Dataset, Sequences
from patchrec.errors import UsageError
from patchrec.evaluation.evaluate import evaluate
from patchrec.evaluation.metrics import mrr
from patchrec.evaluation.rows import ranks_of
from patchrec.model.backbone import Backbone
from patchrec.model.tokenizer import make_encoder
from patchrec.ranking.scorer import TitleScorer

PROMPT = PromptConfig(form="continuation", noun="movie", verb="watched")
RANKS = ("item_rank_dropped", "item_rank_kept", "title_rank_dropped", "title_rank_kept")


def ranks(row, limit):
    return [None if (rank := getattr(row, name)) is None else min(rank, limit + 1) for name in RANKS]


def check_same(whole, short, limit):
    """Whatever an evaluation up to a limit tells is what the other tells, to the last digit."""
    for one, other in zip(whole.rankings, short.rankings, strict=True):
        assert (one.user, one.position, one.item_id) == (other.user, other.position, other.item_id)
        assert ranks(one, limit) == [getattr(other, name) for name in RANKS]
        assert [item for item, _ in other.top] == [item for item, _ in one.top[: min(20, limit)]]
        if other.log_prob is not None:
            assert other.log_prob == pytest.approx(one.log_prob, abs=1e-4)
    known = {(row.name, row.level, row.seen, row.slice): row for row in whole.metrics}
    for row in short.metrics:
        if row.name != "log_prob":
            assert row == known[row.name, row.level, row.seen, row.slice]
    missing = {key[0] for key in known} - {row.name for row in short.metrics}
    assert missing <= {"mrr", "log_prob"}
    assert "mrr" in missing


@pytest.mark.parametrize("strategy", ["vanilla", "pft-s"])
@pytest.mark.parametrize("score", ["catalog", "joint"])
@pytest.mark.parametrize("limit", [3, 12, 50])
def test_ranks_up_to_a_limit_are_those_among_all_items(movies, scorer, strategy, score, limit):
    """Two items share a title, users have items again, and some targets stand beyond 3."""
    chosen = replace(scorer, score=score)
    whole = run(movies, chosen, strategy, "anchored", ks=(1, 3))
    short = run(movies, chosen, strategy, "anchored", ks=(1, 3), exact_to=limit)
    check_same(whole, short, limit)
    assert short.cost["proven_targets"] == short.cost["num_targets"] == len(short.rankings)
    assert {row.name for row in short.metrics} == {"hr@1", "ndcg@1", "mrr@1", "hr@3", "ndcg@3", "mrr@3", "log_prob"}


def test_it_takes_fewer_tokens(movies, scorer):
    whole, short = run(movies, scorer), run(movies, scorer, exact_to=3, ks=(3,))
    assert short.cost["catalog_tokens_per_target"] < whole.cost["catalog_tokens_per_target"]
    assert short.cost["prompt_tokens_per_target"] <= whole.cost["prompt_tokens_per_target"]
    assert short.cost["prompt_length"] == whole.cost["prompt_length"]
    assert short.cost["flops_per_target"] < whole.cost["flops_per_target"]


def test_a_rank_beyond_the_limit_is_stored_as_one_more(movies, scorer):
    """So that a cutoff up to the limit comes out right from the numbers as they are."""
    rows = run(movies, scorer, exact_to=2, ks=(2,)).rankings
    assert {row.item_rank_kept for row in rows} == {1, 2, 3}
    assert {row.item_rank_dropped for row in rows} == {1, 3, None}
    assert all(len(row.top) <= 2 for row in rows)
    values = mrr(ranks_of(rows, "item", "kept"), 2)
    assert set(values.tolist()) == {0, 1 / 2, 1}


@pytest.mark.parametrize("score", ["catalog", "joint"])
@pytest.mark.parametrize("limit", [1, 3, 50])
def test_without_lists_ranks_are_the_same_for_less(movies, scorer, score, limit):
    chosen = replace(scorer, score=score)
    whole, listed = run(movies, chosen, ks=(1,)), run(movies, chosen, ks=(1,), exact_to=limit)
    short = run(movies, chosen, ks=(1,), exact_to=limit, top=0)
    for one, other in zip(whole.rankings, short.rankings, strict=True):
        assert ranks(one, limit) == [getattr(other, name) for name in RANKS]
        assert other.top == ()
    assert [row for row in short.metrics if row.name != "log_prob"] == [
        row for row in listed.metrics if row.name != "log_prob"
    ]
    assert short.cost["catalog_tokens_per_target"] <= whole.cost["catalog_tokens_per_target"]
    assert not [name for name in short.cost if name.startswith(("coverage@", "novelty@", "gini@"))]


@pytest.mark.parametrize("top", [0, 2, 50])
def test_of_each_target_as_many_items_are_kept_as_asked_for(movies, scorer, top):
    default, found = run(movies, scorer, ks=(1,)), run(movies, scorer, ks=(1,), top=top)
    for one, other in zip(default.rankings, found.rankings, strict=True):
        assert other.top[:20] == one.top[:top]
    assert ("coverage@1" in found.cost) == (top > 0)
    with pytest.raises(UsageError, match="top must be at least 0"):
        run(movies, scorer, ks=(1,), top=-1)


def test_a_recommender_that_scores_all_items_gives_the_same(movies):
    whole = evaluate(movies, movies.examples("test", K), popular(movies), ks=(3,))
    short = evaluate(movies, movies.examples("test", K), popular(movies), ks=(3,), exact_to=5)
    check_same(whole, short, 5)
    assert [row.log_prob for row in short.rankings] == [row.log_prob for row in whole.rankings]


def test_without_a_log_probability_of_some_target_there_is_no_such_metric(movies, scorer, monkeypatch):
    """A mixture of two heads is normalised over all items, which a search does not score."""
    own = recommender(movies, scorer)
    weights = np.random.default_rng(0).normal(size=len(movies.catalog))
    monkeypatch.setattr(type(own), "level", property(lambda self: "item"))
    monkeypatch.setattr(own, "item_weight", 1.0)
    monkeypatch.setattr(own, "_item_log_probs", lambda encoder, hidden: np.tile(weights, (len(hidden), 1)))
    examples = movies.examples("test", K)
    whole, short = (evaluate(movies, examples, own, ks=(3,), exact_to=limit) for limit in (None, 4))
    check_same(whole, short, 4)
    assert {row.log_prob for row in short.rankings} == {None}
    assert "log_prob" not in {row.name for row in short.metrics}
    assert "log_prob" in {row.name for row in whole.metrics}


@pytest.mark.parametrize(("limit", "ks", "what"), [(0, (1,), "at least 1"), (10, (10, 20), "--exact-to 20")])
def test_a_limit_that_does_not_fit_is_refused(movies, scorer, limit, ks, what):
    with pytest.raises(UsageError, match=what):
        run(movies, scorer, exact_to=limit, ks=ks)


def generated(seed):
    """A catalog of titles that begin alike, are equal, or are told apart by what a tokenizer drops; users repeat."""
    draws = np.random.default_rng(seed)
    words = ("Up", "Up ", "Heat", "Heat 2", "Heat 2 b", "Fargo", "F", "Big", "Bigger", "Jaws", "Jaw")
    titles = tuple(str(word) for word in draws.choice(words, draws.integers(4, 30)))
    lengths = draws.integers(2, 9, 3)
    items = draws.integers(0, len(titles), lengths.sum())
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    sequences = Sequences(("a", "b", "c"), offsets, items, None, lengths // 2, lengths // 2)
    return Dataset("made-up", Catalog(tuple(map(str, range(len(titles)))), titles), sequences)


def check_catalog(folder, backbone, seed):
    dataset = generated(seed)
    draws = np.random.default_rng([seed, 1])
    encoder = make_encoder(folder, dataset.catalog.titles, PROMPT, backbone.vocab_size)
    scorer = TitleScorer.of(backbone, encoder, draws.choice(["catalog", "joint"]))
    own = recommender(dataset, scorer, draws.choice(["vanilla", "pft-i", "pft-s"]))
    limit = int(draws.integers(1, len(dataset.catalog) + 2))
    examples = dataset.examples("test", K, "anchored")
    check_same(*(evaluate(dataset, examples, own, ks=(limit,), exact_to=found) for found in (None, limit)), limit)


@pytest.fixture(scope="session")
def tiny(tiny_folder):
    return Backbone.load(tiny_folder, name="tiny-random", device="cpu")


def test_any_catalog_gives_the_same_metrics(tiny_folder, tiny):
    for seed in range(8):
        check_catalog(tiny_folder, tiny, seed)


@pytest.mark.slow
def test_300_catalogs_give_the_same_metrics(tiny_folder, tiny):
    for seed in range(300):
        check_catalog(tiny_folder, tiny, seed)
