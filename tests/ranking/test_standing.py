"""Where a target stands up to a limit, by a search, against the order of all items: ties, equal and merged titles."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_catalogs import END, make_titles
from test_search import HalfAndHalf, query
from test_ties import POSITIONS, MadeUp

from patchrec.errors import OutOfResourcesError
from patchrec.evaluation.ranks import target_ranks
from patchrec.model.attention import Context, KeysValues
from patchrec.model.patching import PathEncoder
from patchrec.model.prompt import Prompt
from patchrec.model.titles import TitleTokens
from patchrec.ranking.items import item_order, precedence, unseen
from patchrec.ranking.language import LanguageRecommender
from patchrec.ranking.scorer import TitleScorer
from patchrec.ranking.search import Candidates, search_each
from patchrec.ranking.standing import Standing, items_of_titles
from patchrec.ranking.trie import TitleTrie
from patchrec.recommender import log_probs

VIEWS = ("item_dropped", "item_kept", "title_dropped", "title_kept")


@st.composite
def cases(draw):
    """A catalog whose steps are multiples of 1/8, so that ties abound and sums are exact, with a target and a limit."""
    token = st.integers(30, 32)
    titles = draw(st.lists(st.lists(token, min_size=1, max_size=5) | st.just([30] * 30), min_size=1, max_size=20))
    count = len(titles)
    copies = draw(st.lists(st.integers(0, 1), min_size=count, max_size=count))  # texts that a tokenizer merges
    texts = np.unique([f"{title} {copy}" for title, copy in zip(titles, copies, strict=True)], return_inverse=True)[1]
    tokens = make_titles(titles)
    trie = TitleTrie.build(TitleTokens(tokens.ids, tokens.offsets, texts.astype(np.int64)), END)
    score = draw(st.sampled_from(["catalog", "joint"]))
    eighths = st.integers(0, draw(st.sampled_from([0, 2, 40])))
    steps = np.array(draw(st.lists(eighths, min_size=len(trie.forest), max_size=len(trie.forest)))) / -8.0
    if score == "catalog":
        steps[trie.num_children(trie.forest.parent.astype(np.int64)) == 1] = 0.0
    added = st.integers(-8, draw(st.sampled_from([0, 8])))
    with_items = draw(st.booleans())
    return SimpleNamespace(
        trie=trie,
        scorer=MadeUp(trie, score, steps, draw(st.sampled_from([1, 3, 1024]))),
        texts=texts,
        place=precedence(np.array(draw(st.lists(st.integers(0, 2), min_size=count, max_size=count)))),
        addends=np.array(draw(st.lists(added, min_size=count, max_size=count))) / 8.0 if with_items else None,
        seen=np.unique(np.array(draw(st.lists(st.integers(0, count - 1), max_size=9)), dtype=np.int64)),
        target=draw(st.integers(0, count - 1)),
        limit=draw(st.integers(1, count + 2)),
        top=draw(st.integers(1, 5)),
    )


def up_to(ranks, limit):
    return [min(getattr(ranks, view), limit + 1) if np.isfinite(getattr(ranks, view)) else None for view in VIEWS]


def check(case):
    trie, scorer, count = case.trie, case.scorer, len(case.place)
    per_title = np.array([scorer.steps[trie.path_to(int(leaf))].sum() for leaf in trie.leaves]) + trie.log_shares
    totals = per_title[trie.title_of_item] + (0 if case.addends is None else case.addends)
    order = item_order(totals, case.place)
    everything, is_unseen = np.ones(count, dtype=np.bool_), ~np.isin(np.arange(count), case.seen)
    before = np.append(0, np.bincount(trie.title_of_item, minlength=len(trie)).cumsum()).astype(np.int64)
    kept = Candidates(before, np.empty(0, dtype=np.int64))
    if case.addends is not None:
        kept = Candidates.with_addends(trie, case.addends, everything)
    dropped = Candidates(before, np.sort(trie.title_of_item[case.seen]))
    top = min(case.top, case.limit)
    goal = Standing(case.target, case.limit, top, dropped, is_unseen, case.texts)
    context = Context(((KeysValues(), slice(POSITIONS)),), np.arange(-1, POSITIONS - 1), np.arange(POSITIONS))
    (found,) = search_each(scorer, [context], torch.zeros(1, 1), [kept], [goal])
    items, scores = found.items, found.scores
    if items is None:
        items, scores = items_of_titles(trie.items_by_title, found.titles, scores)
    assert len(np.unique(items)) == len(items)
    np.testing.assert_array_equal(scores, totals[items])
    known = items[item_order(scores, case.place[items])]
    ranks, expected = (target_ranks(one, case.texts, case.target, case.seen) for one in (known, order))
    assert up_to(ranks, case.limit) == up_to(expected, case.limit)
    assert unseen(known, case.seen)[:top].tolist() == unseen(order, case.seen)[:top].tolist()
    left = np.setdiff1d(np.flatnonzero(is_unseen), items)
    if found.best_open_bound is None:
        assert not len(left)
    else:
        assert found.best_open_bound < found.kth_score
        assert not len(left) or totals[left].max() <= found.best_open_bound


@settings(max_examples=300)
@given(cases())
def test_a_target_stands_where_it_stands_among_all_items(case):
    check(case)


@pytest.mark.slow
@settings(max_examples=10_000)
@given(cases())
def test_a_target_stands_where_it_stands_among_all_items_of_10000_catalogs(case):
    check(case)


def ranker(tiny, draws, score, **options):
    """A model over a generated catalog with prefix titles, equal titles and merged titles."""
    titles = [[int(t) for t in draws.integers(30, 34, draws.integers(1, 6))] for _ in range(draws.integers(5, 60))]
    texts = [f"{title} {draws.integers(2)}" for title in titles]
    numbers = np.unique(texts, return_inverse=True)[1].astype(np.int64)
    offsets = np.cumsum([0, *map(len, titles)])
    tokens = TitleTokens(np.concatenate(titles).astype(np.int64), offsets, numbers)
    prompt = Prompt(np.array([0, 20, 21]), np.array([22, 23]), separator=2, end=END)
    encoder = PathEncoder(prompt, tokens, tiny.vocab_size)
    place = precedence(draws.integers(0, 3, len(titles)))
    scorer = TitleScorer.of(tiny, encoder, score)
    return LanguageRecommender(tiny, encoder, HalfAndHalf(), place, texts, scorer, **options)


def check_model(tiny, seed, score):
    draws = np.random.default_rng(seed)
    own = ranker(tiny, draws, score, max_tokens=int(draws.choice([1, 60, 4096])))
    count = len(own.titles)
    histories = [draws.integers(0, count, size) for size in draws.integers(1, 8, 2)]
    asked = [query(items[:stop], items[:stop]) for items in histories for stop in range(1, len(items) + 1)]
    targets = draws.integers(0, count, len(asked)).tolist()
    limit = int(draws.integers(1, count + 2))
    everything = log_probs(own, asked)
    located = list(own.locate_each(asked, targets, limit, top=min(3, limit)))
    assert [number for number, _ in located] == list(range(len(asked)))
    texts = own._text_of_item
    for (number, found), scores, target in zip(located, everything, targets, strict=True):
        seen = asked[number].seen
        assert found.certificate.holds
        assert found.log_prob == pytest.approx(scores[target], abs=1e-4)
        np.testing.assert_allclose(found.log_probs, scores[found.items], atol=1e-4)
        # scores of a title apart by rounding alone are one score, in both orders
        rounded = scores.round(3)
        known = found.items[item_order(rounded[found.items], own.place[found.items])]
        ranks = [target_ranks(one, texts, target, seen) for one in (known, item_order(rounded, own.place))]
        assert up_to(ranks[0], limit) == up_to(ranks[1], limit)


@pytest.mark.parametrize("score", ["catalog", "joint"])
def test_a_model_locates_targets_as_it_ranks_them(tiny, score):
    for seed in range(6):
        check_model(tiny, seed, score)


@pytest.mark.slow
@pytest.mark.parametrize("score", ["catalog", "joint"])
def test_a_model_locates_targets_as_it_ranks_them_in_500_catalogs(tiny, score):
    for seed in range(500):
        check_model(tiny, seed, score)


def test_prompts_that_begin_alike_are_run_once(tiny):
    own = ranker(tiny, np.random.default_rng(1), "catalog", max_tokens=4096)
    asked = [query([0, 1, 2]), query([0, 1, 2])]
    first, second = (found for _, found in own.locate_each(asked, [3, 4], 5, top=3))
    assert first.cost.positions - first.cost.beside == first.cost.length
    assert second.cost.positions == second.cost.beside
    assert first.cost.flops > 0


def test_a_search_that_scores_everything_is_the_same_answer(tiny):
    own = ranker(tiny, np.random.default_rng(1), "catalog", search="whole")
    ((_, found),) = own.locate_each([query([0])], [1], 5, top=3)
    assert found.is_whole
    assert len(found.items) == len(own.titles)


def test_out_of_memory_goes_on_with_less_and_then_says_so(tiny, monkeypatch):
    own = ranker(tiny, np.random.default_rng(1), "catalog", max_tokens=4096)
    asked, whole = [query([0, 1]), query([1, 2])], own._locate_batch
    expected = dict(own.locate_each(asked, [3, 4], 5, top=3))

    def small(group, queries, *rest):
        if len(queries) > 1:
            raise MemoryError
        return whole(group, queries, *rest)

    monkeypatch.setattr(own, "_locate_batch", small)
    found = dict(own.locate_each(asked, [3, 4], 5, top=3))
    assert [found[number].log_prob for number in (0, 1)] == pytest.approx([expected[n].log_prob for n in (0, 1)])
    monkeypatch.setattr(own, "_locate_batch", lambda *_: small(None, [0, 1]))
    with pytest.raises(OutOfResourcesError, match="ranks up to 5"):
        list(own.locate_each(asked, [3, 4], 5, top=3))
