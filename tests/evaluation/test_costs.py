"""What a target cost is told alike for every recommender."""

import numpy as np
import pytest
import torch
from test_evaluate import K, popular, run

from patchrec.evaluation.evaluate import evaluate
from patchrec.evaluation.peak_memory import PeakMemory
from patchrec.ranking.dense import DenseRecommender
from patchrec.ranking.items import precedence

ALIKE = {
    "tokens_per_target",
    "prompt_tokens_per_target",
    "catalog_tokens_per_target",
    "flops_per_target",
    "seconds_per_target",
    "peak_memory_bytes",
    "peak_memory_growth_bytes",
}


def test_every_recommender_tells_the_same_costs(movies, scorer):
    for result in (
        run(movies, scorer),
        run(movies, scorer, exact_to=20),
        evaluate(movies, movies.examples("test", K), popular(movies)),
    ):
        cost = result.cost
        assert set(cost) >= ALIKE
        assert cost["tokens_per_target"] == pytest.approx(
            cost["prompt_tokens_per_target"] + cost["catalog_tokens_per_target"]
        )
        assert cost["peak_memory_bytes"] >= cost["peak_memory_growth_bytes"] >= 0


def test_flops_of_titles_are_of_positions_and_of_the_tokens_that_they_choose_among(movies, scorer):
    result = run(movies, scorer, limit=1)
    model = scorer.backbone.model.base_model
    weights = sum(own.numel() for own in model.parameters()) - scorer.backbone.embedding.numel()
    positions = 2 * weights * result.cost["tokens_per_target"]
    chosen = result.cost["flops_per_target"] - positions
    least = sum(len(scorer.trie.children(np.array([parent]))[0]) for parent in scorer.trie.parents("catalog"))
    assert chosen >= 2 * least * scorer.backbone.embedding.shape[1]


def test_a_dense_model_multiplies_each_item_once(movies):
    class Even:
        def log_probs(self, queries):
            return np.full((len(queries), 12), -np.log(12))

    own = DenseRecommender(
        "even", Even(), precedence(movies.popularity), movies.catalog.titles, positions=1, flops=100.0, head_flops=7.0
    )
    result = evaluate(movies, movies.examples("test", K)[:1], own)
    assert result.cost["flops_per_target"] == 100 * result.cost["prompt_tokens_per_target"] + 7


def test_peak_memory_grows_with_what_is_held():
    memory = PeakMemory.since_now("cpu")
    held = torch.ones(16 << 20)  # 64 MiB
    assert memory.growth >= held.numel() * held.element_size() // 2
    assert memory.peak >= memory.growth
