"""Titles that a tokenizer merges share one probability evenly: every way to rank against a slow, obvious version."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from merging_backbone import make_merging

from patchrec.config import PromptConfig
from patchrec.history import History
from patchrec.layout import Grain, Layout
from patchrec.model.backbone import Backbone
from patchrec.model.forest import grow
from patchrec.model.item_head import ItemSide, ItemSideConfig
from patchrec.model.tokenizer import make_encoder
from patchrec.ranking.items import precedence
from patchrec.ranking.kept import recall_or_build
from patchrec.ranking.language import LanguageRecommender
from patchrec.ranking.merged import merged_examples, merged_note, num_merged
from patchrec.ranking.scorer import TitleScorer
from patchrec.ranking.trie import TitleTrie
from patchrec.recommender import Query, log_probs, rank

WEIGHT = 0.7
NOBODY = np.empty(0, dtype=np.int64)
# "Alien" and "ALIEN" are one word to the tokenizer, "zorro" and "xanadu" are both unknown
WORDS = st.sampled_from(["Alien", "ALIEN", "alien", "heat", "zorro", "xanadu", "2", "the"])
TITLES = st.lists(st.lists(WORDS, min_size=1, max_size=3).map(" ".join), min_size=2, max_size=14)


@pytest.fixture(scope="module")
def merging(tmp_path_factory):
    folder = make_merging(tmp_path_factory.mktemp("merging"))
    return Backbone.load(folder, name="merging", device="cpu")


class AllText:
    def plan(self, history):
        return Layout.of([(0, len(history), Grain.TEXT)])


def ranker_of(backbone, titles, score, tmp=None, **more):
    encoder = make_encoder(backbone.folder, titles, PromptConfig(), backbone.vocab_size)
    popularity = np.arange(len(titles)) % 3
    trie = TitleTrie.build(encoder.titles, encoder.prompt.end)
    if tmp is not None:  # kept once, then recalled
        path = tmp / "titles.safetensors"
        for _ in range(2):
            _, trie = recall_or_build(path, {"key": repr(titles)}, lambda: encoder.titles, encoder.prompt.end)
    if "item_weight" in more:
        backbone.items = ItemSide(
            len(titles), backbone.embedding.shape[1], ItemSideConfig("patch", True, "tokens"), popularity, seed=0
        )
    scorer = TitleScorer(backbone, encoder, trie, score)
    return LanguageRecommender(backbone, encoder, AllText(), precedence(popularity), titles, scorer, **more)


@torch.no_grad()
def slow_log_probs(ranker, titles, query):
    """(I,) of each item's title: each alone after the prompt, token by token, shared among texts of its tokens."""
    tokens = [tuple(ranker.encoder.titles.of(item).tolist()) for item in range(len(titles))]
    paths = [(*own, ranker.encoder.prompt.end) for own in tokens]
    texts = {path: {titles[item] for item in range(len(titles)) if paths[item] == path} for path in paths}
    prompt = ranker.encoder.prompt_path(query.history, ranker.planner.plan(query.history))
    found = []
    for path in paths:
        total = -np.log(len(texts[path]))
        for depth, token in enumerate(path):
            forest, nodes = grow([np.array([*prompt, *path[:depth]])])
            hidden, _ = ranker.backbone.prefill(ranker.encoder, forest)
            logits = ranker.backbone.logits(hidden[nodes[0][-1:]])[0].double().numpy()
            choices = sorted({other[depth] for other in texts if other[:depth] == path[:depth]})
            among = logits if ranker.scorer.score == "joint" else logits[choices]
            total += logits[token] - np.logaddexp.reduce(among)
        found.append(total)
    return np.array(found)


def expected_of(ranker, titles, query):
    found = slow_log_probs(ranker, titles, query)
    if ranker.item_weight is None:
        return found
    _, hidden = ranker.prefill([query])
    own = ranker.backbone.item_logits(hidden, ranker.encoder).double().log_softmax(dim=1)[0].detach().numpy()
    return found + ranker.item_weight * own


def check(backbone, titles, score, k, tmp=None, **more):
    queries = [Query(History(np.arange(min(2, len(titles)))), NOBODY), Query(History(NOBODY), np.array([0, 1]))]
    ranker = ranker_of(backbone, titles, score, tmp, **more)
    try:
        for query, scores, ranking in zip(queries, log_probs(ranker, queries), rank(ranker, queries, k), strict=True):
            expected = expected_of(ranker, titles, query)
            summed = np.logaddexp.reduce(expected) if "item_weight" in more else 0.0
            np.testing.assert_allclose(scores, expected - summed, atol=2e-4)
            left = np.setdiff1d(np.arange(len(titles)), query.seen)
            items = [line.item for line in ranking.recommendations]
            given_scores = [line.score for line in ranking.recommendations]
            assert set(items) <= set(left.tolist())
            assert len(set(items)) == len(items) == min(k, len(left))
            whole = summed if ranker.search == "whole" and "item_weight" in more else 0.0
            if ranker.retrieve is None:
                np.testing.assert_allclose(given_scores, np.sort(expected[left] - whole)[::-1][:k], atol=4e-4)
            np.testing.assert_allclose(given_scores, (expected - whole)[items], atol=4e-4)
            if ranking.certificate is not None:
                assert ranking.certificate.holds
    finally:
        backbone.items = None


MODES = [*product(["catalog", "joint"], ["best-first", "whole"])]


@pytest.mark.parametrize(("score", "search"), MODES)
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(titles=TITLES, k=st.integers(1, 15))
def test_texts_share_the_probability_of_their_tokens(merging, score, search, titles, k):
    check(merging, titles, score, k, search=search)


@pytest.mark.parametrize("search", ["best-first", "whole"])
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(titles=TITLES, k=st.integers(1, 15))
def test_a_mixture_adds_the_item_head_to_the_share(merging, search, titles, k):
    check(merging, titles, "catalog", k, search=search, item_weight=WEIGHT)


@pytest.mark.slow
@pytest.mark.parametrize(("score", "search"), MODES)
@pytest.mark.parametrize("more", [{}, {"item_weight": WEIGHT}, {"item_weight": WEIGHT, "retrieve": 15}])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(titles=TITLES, k=st.integers(1, 15))
def test_every_way_to_rank_on_300_catalogs(merging, score, search, more, titles, k):
    if score == "joint" and more:
        return  # a mixture is with the catalog score alone
    check(merging, titles, score, k, search=search, **more)


FILMS = ["Alien 2", "ALIEN 2", "Alien 2", "alien 2", "zorro", "xanadu", "heat", "the heat", "Up"]


@pytest.mark.parametrize(
    "more", [{}, {"search": "whole"}, {"item_weight": WEIGHT}, {"item_weight": WEIGHT, "retrieve": 9}]
)
def test_a_recalled_trie_shares_as_the_one_made(merging, tmp_path, more):
    check(merging, FILMS, "catalog", 5, tmp_path, **more)


def test_probabilities_of_texts_sum_to_one(merging):
    ranker = ranker_of(merging, FILMS, "catalog")
    scores = log_probs(ranker, [Query(History(np.array([4])))])[0]
    distinct = [FILMS.index(title) for title in dict.fromkeys(FILMS)]
    assert np.exp(scores[distinct]).sum() == pytest.approx(1, abs=1e-6)
    assert scores[0] == scores[1] == scores[2] == scores[3]  # three texts, one of two items


def test_probabilities_of_a_whole_joint_ranking_sum_to_one_over_texts(merging):
    ranker = ranker_of(merging, FILMS, "joint", search="whole")
    (found,) = rank(ranker, [Query(History(np.array([4])))], len(FILMS))
    shown = {line.title: line.probability for line in found.recommendations}
    assert sum(shown.values()) == pytest.approx(1, abs=1e-6)


def test_retrieval_among_few_items_ranks_them_by_their_share(merging):
    check(merging, FILMS, "catalog", 3, item_weight=WEIGHT, retrieve=4)


def test_what_is_merged_is_counted_and_named(merging):
    trie = ranker_of(merging, FILMS, "catalog").scorer.trie
    assert num_merged(trie) == 3 + 2
    assert merged_examples(trie, FILMS) == [("Alien 2", "ALIEN 2", "alien 2"), ("zorro", "xanadu")]
    assert merged_note(trie, FILMS).startswith(
        "5 titles have the same tokens as another, such as 'Alien 2' and 'ALIEN 2'"
    )
    assert merged_note(ranker_of(merging, ["Up", "Up", "heat"], "catalog").scorer.trie, ["Up", "Up", "heat"]) is None


def test_titles_inside_others_are_found(merging):
    trie = ranker_of(merging, FILMS, "catalog").scorer.trie
    assert trie.inner_titles().tolist() == []
    trie = ranker_of(merging, ["alien", "alien 2", "alien 3", "up", "up the heat"], "catalog").scorer.trie
    assert sorted(int(trie.items_of(title)[0]) for title in trie.inner_titles().tolist()) == [0, 3]
