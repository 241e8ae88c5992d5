"""Best-first search over made-up steps that are multiples of 1/8, so that ties abound and sums are exact."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_catalogs import END, make_titles

from patchrec.history import History
from patchrec.model.attention import Context, KeysValues
from patchrec.ranking.items import precedence
from patchrec.ranking.language import LanguageRecommender
from patchrec.ranking.search import Candidates, best_first
from patchrec.ranking.trie import ROOT, TitleTrie
from patchrec.recommender import Query

POSITIONS = 4  # of a made-up prompt


class MadeUp:
    """A scorer whose steps are given, with a backbone that runs nothing."""

    def __init__(self, trie, score, steps, max_nodes):
        self.trie, self.score, self.steps, self.max_nodes = trie, score, steps, max_nodes
        self.encoder = None
        self.backbone = SimpleNamespace(extend=self.extend)

    def extend(self, encoder, extensions, *, keep=True):
        size = sum(len(extension.forest) for extension in extensions)
        assert len(extensions) == 1 or size <= self.max_nodes
        grown = [e.context.extended(KeysValues(), slice(0), e.forest, e.under) for e in extensions]
        return torch.zeros(size, 1), grown

    def root_log_probs(self, hidden):
        children, _ = self.trie.children(np.array([ROOT]))
        return children, np.tile(self.steps[children], (len(hidden), 1))

    def child_log_probs(self, parents, hidden):
        children, counts = self.trie.children(parents)
        return children, counts, self.steps[children]


@st.composite
def cases(draw):
    token = st.integers(30, 32)
    titles = draw(st.lists(st.lists(token, min_size=1, max_size=5) | st.just([30] * 30), min_size=1, max_size=20))
    trie = TitleTrie.build(make_titles(titles), END)
    score = draw(st.sampled_from(["catalog", "joint"]))
    eighths = st.integers(0, draw(st.sampled_from([0, 2, 40])))
    steps = np.array(draw(st.lists(eighths, min_size=len(trie.forest), max_size=len(trie.forest)))) / -8.0
    if score == "catalog":
        steps[trie.num_children(trie.forest.parent.astype(np.int64)) == 1] = 0.0
    items = st.integers(0, len(titles) - 1)
    return SimpleNamespace(
        trie=trie,
        scorer=MadeUp(trie, score, steps, draw(st.sampled_from([1, 3, 1024]))),
        place=precedence(np.array(draw(st.lists(st.integers(0, 2), min_size=len(titles), max_size=len(titles))))),
        allowed=np.array(draw(st.lists(st.booleans(), min_size=len(titles), max_size=len(titles)))),
        seen=[np.array(draw(st.lists(items, max_size=9)), dtype=np.int64) for _ in range(draw(st.integers(1, 3)))],
        k=draw(st.integers(1, len(titles) + 2)),
    )


def check(case):
    trie, scorer = case.trie, case.scorer
    totals = np.array([scorer.steps[trie.path_to(int(leaf))].sum() for leaf in trie.leaves])[trie.title_of_item]
    names = [str(item) for item in range(len(case.place))]
    ranker = LanguageRecommender(scorer.backbone, None, None, case.place, names, scorer)
    before = ranker._allowed_before(case.allowed)
    candidates = [Candidates(before, ranker._left_out(seen, case.allowed)) for seen in case.seen]
    parents, depth = np.arange(-1, POSITIONS - 1), np.arange(POSITIONS)
    contexts = [Context(((KeysValues(), slice(POSITIONS)),), parents, depth) for _ in case.seen]
    found = best_first(scorer, contexts, torch.zeros(len(contexts), 1), candidates, case.k)
    for one, seen in zip(found, case.seen, strict=True):
        ranking = ranker._from_found(one, Query(History(seen), seen), case.k, case.allowed)
        left = [item for item in np.flatnonzero(case.allowed).tolist() if item not in seen]
        best = sorted(left, key=lambda item: (-totals[item], case.place[item]))[: case.k]
        assert [line.item for line in ranking.recommendations] == best
        proof = ranking.certificate
        assert proof.holds
        assert proof.kth_score == (totals[best[-1]] if len(best) == case.k else None)
        unknown = [totals[item] for item in left if trie.title_of_item[item] not in one.titles]
        assert not unknown or max(unknown) <= proof.best_open_bound < proof.kth_score


@settings(max_examples=300, deadline=None)
@given(cases())
def test_ties_go_by_popularity_and_the_certificate_is_true(case):
    check(case)


@pytest.mark.slow
@settings(max_examples=10_000, deadline=None)
@given(cases())
def test_ties_go_by_popularity_and_the_certificate_is_true_on_10000_catalogs(case):
    check(case)
