"""Best-first search where items add a score of their own to their title's, against the sums over every item."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_up_catalogs import END, make_titles

from patchrec.model.attention import Context, KeysValues
from patchrec.model.forest import grow
from patchrec.ranking.items import precedence, rank_items
from patchrec.ranking.scorer import TitleScorer
from patchrec.ranking.search import Addends, Candidates, best_first
from patchrec.ranking.trie import ROOT, TitleTrie

POSITIONS = 4  # of a made-up prompt


class MadeUp:
    """A scorer whose steps are given, with a backbone that runs nothing."""

    def __init__(self, trie, score, steps, max_nodes):
        self.trie, self.score, self.steps, self.max_nodes = trie, score, steps, max_nodes
        self.encoder = None
        self.backbone = SimpleNamespace(extend=self.extend)

    def extend(self, encoder, extensions, *, keep=True):
        grown = [e.context.extended(KeysValues(), slice(0), e.forest, e.under) for e in extensions]
        return torch.zeros(sum(len(extension.forest) for extension in extensions), 1), grown

    def root_log_probs(self, hidden):
        children, _ = self.trie.children(np.array([ROOT]))
        return children, np.tile(self.steps[children], (len(hidden), 1))

    def child_log_probs(self, parents, hidden):
        children, counts = self.trie.children(parents)
        return children, counts, self.steps[children]

    def search(self, candidates, k):
        context = Context(((KeysValues(), slice(POSITIONS)),), np.arange(-1, POSITIONS - 1), np.arange(POSITIONS))
        return best_first(self, [context] * len(candidates), torch.zeros(len(candidates), 1), candidates, k)


tokens = st.integers(30, 32)
titles_of_a_catalog = st.lists(
    st.one_of(
        st.lists(tokens, min_size=1, max_size=1),  # one token
        st.lists(tokens, min_size=1, max_size=4),  # prefixes and equals of each other
        st.just([30] * 30),  # very long
    ),
    min_size=1,
    max_size=20,
)


def per_item(draw, values, count):
    return np.array(draw(st.lists(values, min_size=count, max_size=count)))


@st.composite
def cases(draw):
    """A catalog with two prompts: what each item adds is a multiple of 1/8, so that ties abound and sums are exact."""
    titles = draw(titles_of_a_catalog)
    count = len(titles)
    added = st.integers(-draw(st.sampled_from([0, 2, 40])), draw(st.sampled_from([0, 3, 40])))
    seen = st.lists(st.integers(0, count - 1), max_size=9)
    allowed = per_item(draw, st.booleans(), count) | draw(st.booleans())
    return SimpleNamespace(
        titles=titles,
        place=precedence(per_item(draw, st.integers(0, 2), count)),
        addends=[per_item(draw, added, count) / 8.0 for _ in range(2)],
        kept=[allowed & ~np.isin(np.arange(count), draw(seen)) for _ in range(2)],
        k=draw(st.integers(1, count + 2)),
    )


@st.composite
def made_up_cases(draw):
    """The same with a scorer whose steps are multiples of 1/8 too."""
    case = draw(cases())
    trie = TitleTrie.build(make_titles(case.titles), END)
    score = draw(st.sampled_from(["catalog", "joint"]))
    steps = -per_item(draw, st.integers(0, draw(st.sampled_from([0, 2, 40]))), len(trie.forest)) / 8.0
    if score == "catalog":
        steps[trie.num_children(trie.forest.parent.astype(np.int64)) == 1] = 0.0
    case.scorer = MadeUp(trie, score, steps, draw(st.sampled_from([1, 3, 1024])))
    case.scores = np.array([steps[trie.path_to(int(leaf))].sum() for leaf in trie.leaves])[trie.title_of_item]
    return case


def fused(case, trie):
    return [Candidates.with_addends(trie, addends, kept) for addends, kept in zip(case.addends, case.kept, strict=True)]


def ranked(items, scores, case):
    lines = rank_items(items, scores, case.place, [""] * len(case.place), k=case.k)
    return [line.item for line in lines], [line.score for line in lines]


def ranked_found(found, case):
    enough = found.scores >= (-np.inf if found.kth_score is None else found.kth_score)
    return ranked(found.items[enough], found.scores[enough], case)


def check_proof(found, kept, totals, k, tolerance=0.0):
    """The certificate is true: nothing that was not found can be among the best k."""
    lost = np.setdiff1d(np.flatnonzero(kept), found.items)
    assert len(np.unique(found.items)) == len(found.items)
    assert kept[found.items].all()
    if kept.sum() < k:
        assert found.kth_score is None
        assert found.best_open_bound is None
        assert not len(lost)
    else:
        assert found.kth_score == np.sort(found.scores)[-k]
    if found.best_open_bound is None:
        assert not len(lost)
    else:
        assert found.best_open_bound < found.kth_score
        assert not len(lost) or totals[lost].max() <= found.best_open_bound + tolerance


def check_made_up(case):
    trie = case.scorer.trie
    for number, found in enumerate(case.scorer.search(fused(case, trie), case.k)):
        totals = case.scores + case.addends[number]
        left = np.flatnonzero(case.kept[number])
        assert ranked_found(found, case) == ranked(left, totals[left], case)
        np.testing.assert_array_equal(found.scores, totals[found.items])
        np.testing.assert_array_equal(found.titles, trie.title_of_item[found.items])
        check_proof(found, case.kept[number], totals, case.k)


def check_nothing_added(case):
    """Addends of zero change no ranking."""
    trie = case.scorer.trie
    left_out = np.empty(0, dtype=np.int64)
    before = [np.bincount(trie.title_of_item[kept], minlength=len(trie)).cumsum() for kept in case.kept]
    plain = [Candidates(np.append(0, counts).astype(np.int64), left_out) for counts in before]
    case.addends = [np.zeros(len(case.place))] * 2
    alike = zip(case.scorer.search(plain, case.k), case.scorer.search(fused(case, trie), case.k), strict=True)
    for kept, (by_title, by_item) in zip(case.kept, alike, strict=True):
        assert by_title.items is None
        assert by_title.kth_score == by_item.kth_score
        known = np.full(len(trie), -np.inf)
        known[by_title.titles] = by_title.scores
        items = np.flatnonzero(kept & (known > -np.inf)[trie.title_of_item])
        assert ranked(items, known[trie.title_of_item[items]], case) == ranked_found(by_item, case)


@torch.no_grad()
def check_model(case, tiny, make_encoder, score):
    """With a model, whose sums come out a hair apart in another order."""
    encoder = make_encoder(case.titles)
    scorer = TitleScorer.of(tiny, encoder, score)
    contexts, hidden, scores = [], [], []
    for length in range(len(case.kept)):
        forest, _ = grow([np.array([*encoder.prompt.head, *range(40, 40 + length), *encoder.prompt.tail])])
        states, context = tiny.prefill(encoder, forest)
        contexts.append(context)
        hidden.append(states[-1])
        scores.append(scorer.score_titles(context, len(context) - 1, states[-1])[scorer.trie.title_of_item])
    outcome = best_first(scorer, contexts, torch.stack(hidden), fused(case, scorer.trie), case.k)
    for found, own, addends, kept in zip(outcome, scores, case.addends, case.kept, strict=True):
        totals = own + addends
        items, best = ranked_found(found, case)
        np.testing.assert_allclose(best, np.sort(totals[kept])[::-1][: case.k], atol=1e-4)
        np.testing.assert_allclose(best, totals[items], atol=1e-4)
        check_proof(found, kept, totals, case.k, tolerance=1e-4)


@settings(max_examples=50, deadline=None)
@given(made_up_cases())
def test_the_best_k_are_those_of_all_items_with_ties_by_popularity(case):
    check_made_up(case)


@pytest.mark.slow
@settings(max_examples=1_000, deadline=None)
@given(made_up_cases())
def test_the_best_k_are_those_of_all_items_with_ties_by_popularity_on_1000_catalogs(case):
    check_made_up(case)


@settings(max_examples=50, deadline=None)
@given(made_up_cases())
def test_adding_nothing_changes_nothing(case):
    check_nothing_added(case)


@pytest.mark.slow
@settings(max_examples=1_000, deadline=None)
@given(made_up_cases())
def test_adding_nothing_changes_nothing_on_1000_catalogs(case):
    check_nothing_added(case)


@pytest.mark.parametrize("score", ["catalog", "joint"])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=cases())
def test_a_model_with_addends_equals_brute_force(tiny, make_encoder, score, case):
    check_model(case, tiny, make_encoder, score)


@pytest.mark.slow
@pytest.mark.parametrize("score", ["catalog", "joint"])
@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=cases())
def test_a_model_with_addends_equals_brute_force_on_1000_catalogs(tiny, make_encoder, score, case):
    check_model(case, tiny, make_encoder, score)


def test_the_best_addends_of_ranges_in_any_order():
    values = np.array([3.0, 1.0, 4.0, -np.inf, 5.0, 2.0, -np.inf])
    addends = Addends(np.arange(6), np.array([0, 2, 3, 4, 6]), values)
    first, stop = np.array([3, 0, 2, 1, 0]), np.array([4, 1, 3, 3, 4])
    assert addends.best(first, stop).tolist() == [5, 3, -np.inf, 4, 5]
    assert addends.best(first[:0], stop[:0]).tolist() == []


def test_items_of_one_title_are_found_apart():
    trie = TitleTrie.build(make_titles([[30], [30], [30], [31]]), END)
    candidates = Candidates.with_addends(trie, np.array([0.0, 2.0, 1.0, -4.0]), np.array([True, True, False, True]))
    (found,) = MadeUp(trie, "catalog", np.array([-1.0, 0.0, -1.0, 0.0]), 1024).search([candidates], 2)
    assert found.items.tolist() == [1, 0, 3]
    assert found.titles.tolist() == [0, 0, 1]
    assert found.scores.tolist() == [1, -1, -5]
    assert (found.kth_score, found.best_open_bound) == (-1, None)


@pytest.mark.parametrize(
    ("addends", "kept", "items", "bound"),
    [
        ([0, 0, 0, 0], [True] * 4, [0, 1], -2),
        ([0, 0, 0, 4], [True] * 4, [3, 2], -1),  # the worse path is opened first, and proves the other needless
        ([-5, -6, 0, 9], [True] * 3 + [False], [2], -6),  # an item that is no candidate adds nothing
    ],
)
def test_a_bound_is_the_path_and_the_best_addend_of_a_candidate_below(addends, kept, items, bound):
    trie = TitleTrie.build(make_titles([[30, 30], [30, 31], [31, 30], [31, 31]]), END)
    steps = np.array([-1, -0.5, 0, -1, 0, -2, -0.5, 0, -1, 0])
    candidates = Candidates.with_addends(trie, np.array(addends, dtype=np.float64), np.array(kept))
    (found,) = MadeUp(trie, "catalog", steps, 1).search([candidates], 1)
    assert found.items.tolist() == items
    assert (found.best_open_bound, found.num_rounds) == (bound, 1)


def test_a_node_without_a_candidate_is_never_opened():
    trie = TitleTrie.build(make_titles([[30, 30], [30, 31], [31, 30], [31, 31]]), END)
    candidates = Candidates.with_addends(trie, np.zeros(4), np.array([True, True, False, False]))
    (found,) = MadeUp(trie, "catalog", np.where(trie.forest.depth == 1, -1.0, 0.0), 1024).search([candidates], 3)
    assert found.items.tolist() == [0, 1]
    assert found.num_expanded == 2


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_addend_that_is_no_number_is_refused_where_the_item_is_a_candidate(value):
    trie = TitleTrie.build(make_titles([[30], [31]]), END)
    addends = np.array([0.0, value])
    Candidates.with_addends(trie, addends, np.array([True, False]))
    with pytest.raises(ValueError, match="what 1 items add"):
        Candidates.with_addends(trie, addends, np.array([True, True]))
