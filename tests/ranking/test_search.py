"""Best-first search against scores of every title, and its certificate against what it claims."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from patchrec.errors import OutOfResourcesError, UsageError
from patchrec.history import History
from patchrec.layout import Grain, Layout
from patchrec.model.backbone import Backbone
from patchrec.ranking.items import precedence
from patchrec.ranking.language import LanguageRecommender
from patchrec.ranking.scorer import TitleScorer
from patchrec.recommender import Query, rank

PREFIXES = [[30], [30, 31], [30, 31, 32], [30, 33], [40, 41], [40, 41], [50]]
NOBODY = np.empty(0, dtype=np.int64)

tokens = st.integers(30, 33)
titles_of_a_catalog = st.lists(
    st.one_of(
        st.lists(tokens, min_size=1, max_size=1),  # one token
        st.lists(tokens, min_size=1, max_size=4),  # prefixes and equals of each other
        st.lists(tokens, min_size=20, max_size=40),  # very long
    ),
    min_size=1,
    max_size=25,
)


def ranker_of(tiny, make_encoder, titles, score="catalog", **options):
    encoder = make_encoder(titles)
    popularity = np.arange(len(titles)) % 3
    names = [f"title {title}" for title in titles]
    scorer = TitleScorer.of(tiny, encoder, score)
    return LanguageRecommender(tiny, encoder, HalfAndHalf(), precedence(popularity), names, scorer, **options)


class HalfAndHalf:
    """The older half as item patches, the rest as text."""

    def plan(self, history):
        old = len(history) // 2
        return Layout.of([(0, old, Grain.ITEM), (old, len(history), Grain.TEXT)])


def query(items, seen=NOBODY):
    return Query(History(np.asarray(items, dtype=np.int64)), np.asarray(seen, dtype=np.int64))


def whole_of(ranker):
    """The same recommender, scoring every title."""
    return replace(ranker, search="whole")


def scores_of(ranker, asked):
    scorer = ranker.scorer.for_encoder(ranker.scorer.encoder.fresh())
    path = scorer.encoder.prompt_path(asked.history, ranker.planner.plan(asked.history))
    return scorer.score_prompt(path)[scorer.trie.title_of_item]


def check(ranker, queries, k, allowed=None):
    """Each ranking is the best k candidates by the scores of all, and no other candidate beats its certificate."""
    mask = np.ones(len(ranker.titles), dtype=bool) if allowed is None else allowed
    for asked, found in zip(queries, rank(ranker, queries, k, allowed=allowed), strict=True):
        scores = scores_of(ranker, asked)
        left = [item for item in np.flatnonzero(mask).tolist() if item not in asked.seen]
        items = [line.item for line in found.recommendations]
        assert len(items) == min(k, len(left))
        assert set(items) <= set(left)
        assert len(set(items)) == len(items)
        assert (found.shortfall is None) == (len(items) == k)
        best = sorted((scores[item] for item in left), reverse=True)[:k]
        np.testing.assert_allclose([line.score for line in found.recommendations], best, atol=1e-4)
        np.testing.assert_allclose([line.score for line in found.recommendations], scores[items], atol=1e-4)
        title_of_item, place = ranker.scorer.trie.title_of_item, ranker.place
        for item in items:  # of equal titles the more popular ones are taken, and come first
            before = [
                other for other in left if title_of_item[other] == title_of_item[item] and place[other] < place[item]
            ]
            assert set(before) <= set(items[: items.index(item)])
        check_certificate(found, scores, left, items, k)


def check_certificate(found, scores, left, items, k):
    proof = found.certificate
    assert proof.holds
    others = [scores[item] for item in left if item not in items]
    if len(items) < k:
        assert proof.kth_score is None
        assert proof.best_open_bound is None
        assert not others
        return
    assert proof.kth_score == found.recommendations[-1].score
    assert max(others, default=-np.inf) <= proof.kth_score + 1e-4
    if proof.best_open_bound is None:
        assert proof.num_titles >= len({scores[item] for item in left})


@st.composite
def cases(draw):
    titles = draw(titles_of_a_catalog)
    item = st.integers(0, len(titles) - 1)
    histories = draw(st.lists(st.lists(item, max_size=6), min_size=1, max_size=4))
    queries = [query(items, draw(st.sampled_from([(), items]))) for items in histories]
    allowed = draw(st.none() | st.lists(st.booleans(), min_size=len(titles), max_size=len(titles)))
    k = draw(st.integers(1, len(titles) + 2))
    return titles, queries, k, None if allowed is None else np.array(allowed)


@pytest.mark.parametrize("score", ["catalog", "joint"])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=cases())
def test_best_first_equals_brute_force_with_filters(tiny, make_encoder, score, case):
    titles, queries, k, allowed = case
    check(ranker_of(tiny, make_encoder, titles, score), queries, k, allowed)


@pytest.mark.slow
@pytest.mark.parametrize("score", ["catalog", "joint"])
@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=cases())
def test_best_first_equals_brute_force_with_filters_on_1000_catalogs(tiny, make_encoder, score, case):
    titles, queries, k, allowed = case
    check(ranker_of(tiny, make_encoder, titles, score), queries, k, allowed)


@pytest.mark.parametrize("score", ["catalog", "joint"])
def test_searching_a_batch_gives_what_searching_alone_gives(tiny, make_encoder, score):
    ranker = ranker_of(tiny, make_encoder, PREFIXES, score, max_tokens=40)
    queries = [query([0, 1, 2]), query([]), query([6, 6, 6, 6, 6, 5]), query([4])]
    for asked, together in zip(queries, rank(ranker, queries, 3), strict=True):
        (alone,) = rank(ranker, [asked], 3)
        assert [line.item for line in alone.recommendations] == [line.item for line in together.recommendations]
        scores = [[line.score for line in found.recommendations] for found in (alone, together)]
        np.testing.assert_allclose(*scores, atol=1e-5)


@pytest.mark.parametrize("score", ["catalog", "joint"])
def test_both_searches_give_the_same_ranking_and_say_which_they_are(tiny, make_encoder, score):
    ranker = ranker_of(tiny, make_encoder, PREFIXES, score)
    asked = [query([0, 3], seen=[1])]
    (bounded,), (whole,) = rank(ranker, asked, 4), rank(whole_of(ranker), asked, 4)
    assert [line.item for line in bounded.recommendations] == [line.item for line in whole.recommendations]
    assert (bounded.certificate.search, whole.certificate.search) == ("best-first", "whole")
    assert whole.certificate.best_open_bound is None


def test_a_search_for_the_best_leaves_nodes_unexpanded(tiny, make_encoder):
    titles = [[30 + first, 30 + second, 30 + third] for first in range(6) for second in range(6) for third in range(6)]
    ranker = ranker_of(tiny, make_encoder, titles)
    (bounded,), (whole,) = rank(ranker, [query([0])], 1), rank(whole_of(ranker), [query([0])], 1)
    assert bounded.certificate.num_expanded < whole.certificate.num_expanded == 1 + 6 + 36
    assert bounded.certificate.best_open_bound <= bounded.certificate.kth_score


@pytest.mark.parametrize("search", ["best-first", "whole"])
def test_catalog_probabilities_sum_to_one_over_titles(tiny, make_encoder, search):
    ranker = ranker_of(tiny, make_encoder, [[30], [30, 31], [40, 41], [50]], search=search)
    (found,) = rank(ranker, [query([0])], 4)
    assert sum(line.probability for line in found.recommendations) == pytest.approx(1, abs=1e-6)


def test_joint_probabilities_need_every_title(tiny, make_encoder):
    ranker = ranker_of(tiny, make_encoder, [[30], [30, 31], [40, 41], [50]], "joint")
    (bounded,), (whole,) = rank(ranker, [query([0])], 4), rank(whole_of(ranker), [query([0])], 4)
    assert [line.probability for line in bounded.recommendations] == [None] * 4
    assert sum(line.probability for line in whole.recommendations) == pytest.approx(1, abs=1e-6)


def test_a_filter_that_leaves_nothing_gives_nothing_with_the_reason(tiny, make_encoder):
    (found,) = rank(ranker_of(tiny, make_encoder, PREFIXES), [query([0])], 2, allowed=np.zeros(7, dtype=bool))
    assert found.recommendations == ()
    assert found.shortfall == "asked for 2, but 0 of 7 items can be ranked: the filters allow 0"


def test_items_of_equal_titles_come_by_popularity(tiny, make_encoder):
    ranker = ranker_of(tiny, make_encoder, [[40, 41]] * 3)  # popularity 0, 1, 2
    (found,) = rank(ranker, [query([0])], 2)
    assert [line.item for line in found.recommendations] == [2, 1]


def test_k_below_one_is_refused(tiny, make_encoder):
    with pytest.raises(UsageError, match="at least 1"):
        rank(ranker_of(tiny, make_encoder, PREFIXES), [query([0])], 0)


class Heard:
    def __init__(self):
        self.notes = []

    def note(self, message):
        self.notes.append(message)


def short_of_memory(monkeypatch, most):
    """Let a pass of more than `most` nodes run out of memory, as torch says it on a CPU."""
    real = Backbone.hidden

    def hidden(self, batch):
        if len(batch) > most:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")
        return real(self, batch)

    monkeypatch.setattr(Backbone, "hidden", hidden)


def test_out_of_memory_halves_the_batch_and_says_so(tiny, make_encoder, monkeypatch):
    heard = Heard()
    ranker = ranker_of(tiny, make_encoder, PREFIXES, report=heard)
    queries = [query([0, 1, 2, 3]) for _ in range(8)]
    expected = [[line.item for line in found.recommendations] for found in rank(ranker, queries, 2)]
    length = int(ranker.lengths(queries)[0])
    short_of_memory(monkeypatch, 3 * length)
    assert [[line.item for line in found.recommendations] for found in rank(ranker, queries, 2)] == expected
    size = length + 4 * 2  # what a search for the best 2 runs beside the prompt is taken for 8 positions at first
    assert heard.notes == [
        f"out of memory on {8 * size} positions: going on with {4 * size} in a batch",
        f"out of memory on {4 * size} positions: going on with {2 * size} in a batch",
    ]


def test_one_prompt_that_does_not_fit_is_an_error_with_the_ways_out(tiny, make_encoder, monkeypatch):
    short_of_memory(monkeypatch, 3)
    with pytest.raises(OutOfResourcesError, match=r"the best 2, about \d+ positions; take a strategy"):
        rank(ranker_of(tiny, make_encoder, PREFIXES), [query([0])], 2)


def test_other_errors_of_a_batch_are_not_taken_for_lack_of_memory(tiny, make_encoder, monkeypatch):
    def broken(self, batch):
        raise RuntimeError("something else")

    monkeypatch.setattr(Backbone, "hidden", broken)
    with pytest.raises(RuntimeError, match="something else"):
        rank(ranker_of(tiny, make_encoder, PREFIXES), [query([0])], 2)


@torch.no_grad()
def test_a_prompt_of_the_head_alone_is_ranked(tiny, make_encoder):
    ranker = ranker_of(tiny, make_encoder, PREFIXES)
    (found,) = rank(ranker, [Query(History(NOBODY), NOBODY)], 7)
    np.testing.assert_allclose(
        [line.score for line in found.recommendations],
        np.sort(scores_of(ranker, Query(History(NOBODY), NOBODY)))[::-1],
        atol=1e-5,
    )
