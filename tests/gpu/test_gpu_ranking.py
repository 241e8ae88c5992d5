"""Ranking on a GPU: the search is as exact there, and finds what it finds on the CPU."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from tiny_training import TITLES, make_dataset

from patchrec.config import PromptConfig, ScoreName, StrategyConfig
from patchrec.model.backbone import Backbone
from patchrec.model.tokenizer import make_encoder
from patchrec.plugins import plan_for
from patchrec.ranking.language import LanguageRecommender
from patchrec.ranking.scorer import TitleScorer
from patchrec.recommender import Query, Ranking, rank

pytestmark = pytest.mark.gpu
Load = Callable[[torch.device | str], Backbone]


def ranked(backbone: Backbone, score: ScoreName) -> tuple[LanguageRecommender, list[Query], list[Ranking]]:
    dataset = make_dataset()
    prompt = PromptConfig(form="paper", noun="movie", verb="watched")
    encoder = make_encoder(backbone.folder, dataset.catalog.titles, prompt, backbone.vocab_size)
    backbone.remember_items(encoder)
    planner = plan_for(StrategyConfig(name="pft-s", options={"L": 2}))
    ranker = LanguageRecommender.of(TitleScorer.of(backbone, encoder, score), planner, dataset)
    queries = [Query.of(dataset, example, keep_seen=True) for example in dataset.examples("test", 20)]
    return ranker, queries, rank(ranker, queries, 5)


@pytest.mark.parametrize("score", ["catalog", "joint"])
def test_rankings_are_those_of_the_cpu(device: torch.device, load: Load, score: ScoreName):
    *_, expected = ranked(load("cpu"), score)
    *_, found = ranked(load(device), score)
    for one, other in zip(found, expected, strict=True):
        assert [line.item for line in one.recommendations] == [line.item for line in other.recommendations]
        scores = [[line.score for line in ranking.recommendations] for ranking in (one, other)]
        assert scores[0] == pytest.approx(scores[1], abs=1e-3)


@pytest.mark.parametrize("score", ["catalog", "joint"])
def test_the_search_finds_the_best_of_all_titles(device: torch.device, load: Load, score: ScoreName):
    ranker, queries, found = ranked(load(device), score)
    for query, ranking in zip(queries, found, strict=True):
        scorer = ranker.scorer.for_encoder(ranker.scorer.encoder.fresh())
        path = scorer.encoder.prompt_path(query.history, ranker.planner.plan(query.history))
        scores = scorer.score_prompt(path)[scorer.trie.title_of_item]
        best = np.sort(scores)[::-1][:5]
        assert [line.score for line in ranking.recommendations] == pytest.approx(best.tolist(), abs=1e-3)
        assert {line.item for line in ranking.recommendations} <= set(range(len(TITLES)))
