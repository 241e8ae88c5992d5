"""Scores against a plain forward pass of prompt + title for every title alone."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_up_catalogs import END

from patchrec.errors import CheckFailedError
from patchrec.history import History
from patchrec.layout import Grain, Layout
from patchrec.model.forest import grow
from patchrec.ranking.scorer import TitleScorer

TEXT_OF_TWO = Layout.of([(0, 2, Grain.TEXT)])
PREFIXES = [[30], [30, 31], [30, 31, 32], [30, 33], [40, 41], [40, 41], [50]]

tokens = st.integers(30, 33)
titles_of_a_catalog = st.lists(
    st.one_of(st.lists(tokens, min_size=1, max_size=4), st.lists(tokens, min_size=20, max_size=40)),
    min_size=1,
    max_size=8,
)


@torch.no_grad()
def slow_steps(backbone, encoder, prompt, title):
    """(tokens of title + end, V) logits that predict each, from the path alone."""
    embeddings = []
    for key in [*prompt.tolist(), *title]:
        items = encoder.items_of(key)
        if len(items):
            means = [backbone.embedding[encoder.titles.of(item)].mean(0) for item in items.tolist()]
            embeddings.append(torch.stack(means).mean(0))
        else:
            embeddings.append(backbone.embedding[key])
    logits = backbone.model(inputs_embeds=torch.stack(embeddings)[None], use_cache=False).logits[0]
    return logits[len(prompt) - 1 :].double().numpy()


def slow_score(backbone, encoder, prompt, title, titles, score):
    """Log-probability of a title: the whole vocabulary, or the tokens with which some title goes on."""
    path = [*title, END]
    total = 0.0
    for step, logits in enumerate(slow_steps(backbone, encoder, prompt, title)):
        allowed = range(len(logits))
        if score == "catalog":
            allowed = {(*other, END)[step] for other in titles if [*other, END][:step] == path[:step]}
        total += logits[path[step]] - np.logaddexp.reduce([logits[token] for token in allowed])
    return total


def check_against_slow(backbone, encoder, titles, score, *, layout=TEXT_OF_TWO, max_nodes=1024):
    items = np.array([index % len(titles) for index in range(len(layout))])
    prompt = encoder.prompt_path(History(items), layout)
    scorer = TitleScorer.of(backbone, encoder, score)
    scorer = TitleScorer(backbone, encoder, scorer.trie, score, max_nodes)
    found = scorer.score_prompt(prompt)
    expected = [slow_score(backbone, encoder, prompt, title, titles, score) for title in titles]
    np.testing.assert_allclose(found[scorer.trie.title_of_item], expected, atol=2e-4, rtol=1e-5)
    return found


@pytest.mark.parametrize("score", ["catalog", "joint"])
@pytest.mark.parametrize("max_nodes", [1, 3, 1024])
def test_scores_equal_plain_forward_passes_however_the_trie_is_cut(tiny, make_encoder, score, max_nodes):
    check_against_slow(tiny, make_encoder(PREFIXES), PREFIXES, score, max_nodes=max_nodes)


@pytest.mark.parametrize("score", ["catalog", "joint"])
def test_scores_follow_a_prompt_of_patches(tiny, make_encoder, score):
    layout = Layout.of([(0, 3, Grain.SESSION), (3, 5, Grain.ITEM), (5, 6, Grain.TEXT)])
    check_against_slow(tiny, make_encoder(PREFIXES), PREFIXES, score, layout=layout)


@pytest.mark.parametrize("score", ["catalog", "joint"])
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(titles=titles_of_a_catalog, max_nodes=st.sampled_from([2, 1024]))
def test_scores_equal_plain_forward_passes(tiny, make_encoder, score, titles, max_nodes):
    check_against_slow(tiny, make_encoder(titles), titles, score, max_nodes=max_nodes)


@pytest.mark.slow
@pytest.mark.parametrize("score", ["catalog", "joint"])
@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(titles=titles_of_a_catalog, max_nodes=st.sampled_from([2, 1024]))
def test_scores_equal_plain_forward_passes_on_1000_catalogs(tiny, make_encoder, score, titles, max_nodes):
    check_against_slow(tiny, make_encoder(titles), titles, score, max_nodes=max_nodes)


@pytest.mark.slow
@pytest.mark.parametrize("score", ["catalog", "joint"])
def test_titles_of_5000_tokens_are_scored(tiny, make_encoder, score):
    stem = [30 + index * index % 7 for index in range(4_990)]
    titles = [[*stem, *range(40, 50)], [*stem, *range(41, 51)], stem[:2_000], [30], [60, 61]]
    check_against_slow(tiny, make_encoder(titles), titles, score, layout=Layout(()))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(titles=titles_of_a_catalog)
def test_catalog_probabilities_sum_to_one_over_distinct_titles(tiny, make_encoder, titles):
    encoder = make_encoder(titles)
    found = TitleScorer.of(tiny, encoder).score_prompt(encoder.prompt.head)
    assert len(found) == len({tuple(title) for title in titles})
    assert np.exp(found).sum() == pytest.approx(1, abs=1e-9)


def test_joint_never_exceeds_catalog(tiny, make_encoder):
    encoder = make_encoder(PREFIXES)
    joint, catalog = (TitleScorer.of(tiny, encoder, s).score_prompt(encoder.prompt.head) for s in ("joint", "catalog"))
    assert (joint < catalog).all()


def test_the_only_title_is_certain_and_free(tiny, make_encoder):
    scorer = TitleScorer.of(tiny, make_encoder([[30, 31, 32]]))
    assert scorer.score_prompt(np.array([0, 20])).tolist() == [0.0]
    assert scorer.tokens == 0


def test_a_prompt_in_a_forest_scores_as_alone(tiny, make_encoder):
    encoder = make_encoder(PREFIXES)
    scorer = TitleScorer.of(tiny, encoder)
    prompts = [np.array(path) for path in ([0, 20, 30, 2], [0, 20, 30, 2, 31, 2], [0, 20, 40, 2], [0, 20])]
    forest, nodes = grow(prompts)
    hidden, context = tiny.prefill(encoder, forest)
    for prompt, own in zip(prompts, nodes, strict=True):
        found = scorer.score_titles(context, int(own[-1]), hidden[own[-1]])
        np.testing.assert_allclose(found, scorer.score_prompt(prompt), atol=1e-5)


def test_scoring_leaves_the_prompt_as_it_was(tiny, make_encoder):
    encoder = make_encoder(PREFIXES)
    scorer = TitleScorer.of(tiny, encoder, "joint")
    forest, nodes = grow([np.array([0, 20, 30, 2])])
    hidden, context = tiny.prefill(encoder, forest)
    last = int(nodes[0][-1])
    first, second = (scorer.score_titles(context, last, hidden[last]) for _ in range(2))
    assert first.tolist() == second.tolist()


def test_tokens_count_what_runs_beside_the_prompt(tiny, make_encoder):
    encoder = make_encoder(PREFIXES)  # branchings: root, 30, 30-31
    assert TitleScorer.of(tiny, encoder, "catalog").tokens == len([(30,), (30, 31)])
    inner = {tuple(title[:stop]) for title in PREFIXES for stop in range(1, len(title) + 1)}
    assert TitleScorer.of(tiny, encoder, "joint").tokens == len(inner)


def test_scores_that_are_not_numbers_are_an_error(tiny, make_encoder, monkeypatch):
    encoder = make_encoder(PREFIXES)
    monkeypatch.setattr(type(tiny), "logits", lambda self, hidden, tokens=None: torch.full((len(hidden), 300), np.nan))
    with pytest.raises(CheckFailedError, match="not numbers"):
        TitleScorer.of(tiny, encoder).score_prompt(encoder.prompt.head)


def test_longer_titles_never_gain_by_their_prefix(tiny, make_encoder):
    """Log-probabilities only fall along a path: a chain of titles, each the beginning of the next."""
    chain = [[30, 31, 32, 33][:stop] for stop in range(1, 5)]
    encoder = make_encoder(chain)
    scorer = TitleScorer.of(tiny, encoder, "joint")
    found = scorer.score_prompt(encoder.prompt.head)
    remaining = [1 - np.exp(found[:stop]).sum() for stop in range(len(found) + 1)]
    assert all(after < before for before, after in pairwise(remaining))
    assert remaining[-1] > 0
