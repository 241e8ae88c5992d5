"""The ranking metric of validation, compared with a slow loop over full rankings of every kind of recommender."""

from math import log2
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from tiny_training import make_dataset, make_kind_config, make_kind_learner

from patchrec.config import HistoryConfig, TrainingConfig, ValidateMetric
from patchrec.data.catalog import Catalog
from patchrec.data.histories import Dataset, Example, Sequences
from patchrec.plugins import find_kind
from patchrec.recommender import Query, Recommender, Saved, log_probs
from patchrec.training.processes import Process
from patchrec.training.validation import ranking_metric

METRICS = [metric for metric in get_args(ValidateMetric) if metric != "loss"]
WORDS = ("Alien", "Heat", "Up", "Ran", "Big", "Jaws", "It", "Ronin")


def large_dataset() -> Dataset:
    """More items than any k, each fifth with the title of another; users who had more than a window holds."""
    titles = [f"{one} {other}" for one in WORDS for other in WORDS[:7]]
    titles[4::5] = titles[3:-1:5]
    random = np.random.default_rng(3)
    lengths = random.integers(9, 20, 12)
    popular = random.permutation(len(titles))
    # A user has most items once; a few come back, and a target that was seen cannot be found.
    items = [popular[np.minimum(random.geometric(0.06, n) - 1, len(titles) - 1)] for n in lengths]
    sequences = Sequences(
        tuple(f"u{user}" for user in range(len(lengths))),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.concatenate(items).astype(np.int64),
        None,
        (lengths - 4).astype(np.int64),
        (lengths - 1).astype(np.int64),
    )
    catalog = Catalog(tuple(f"i{item}" for item in range(len(titles))), tuple(titles))
    return Dataset("large", catalog, sequences, min_history=2, noun="movie", verb="watched")


def slow_metric(recommender: Recommender, dataset: Dataset, examples: list[Example], metric: str) -> float:
    """All items of a catalog in order, the user's own struck out; then the place of one."""
    name, k = metric.split("@")
    total = 0.0
    for example in examples:
        (scores,) = log_probs(recommender, [Query.of(dataset, example)])
        had = {int(item) for item in dataset.sequences.items_of(example.user)[: example.position]}
        candidates = [item for item in range(len(scores)) if item not in had]
        ranking = sorted(candidates, key=lambda item: (-scores[item], -dataset.popularity[item], item))
        target = dataset.target(example)
        if target in ranking[: int(k)]:
            rank = 1 + ranking.index(target)
            total += 1.0 if name == "hr" else 1 / log2(1 + rank)
    return total / len(examples)


def shaken(learner: Any) -> Any:
    """A learner whose weights are far from where they begin, so that scores differ."""
    learner.begin()
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in learner.updater.parameters:
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=random).to(parameter.device))
    return learner


DATASET = large_dataset()
EXAMPLES = DATASET.examples("validation", 5)
TRAINING = TrainingConfig(batch_size=8, validate_every=2, validate_metric="ndcg@20")


@pytest.fixture(scope="module", params=["title", "item", "both", "sasrec", "markov", "popularity"])
def recommender(request: pytest.FixtureRequest, tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    config = make_kind_config(request.param, TRAINING, history=HistoryConfig(K=5))
    learner: Any = make_kind_learner(config, DATASET, tiny_folder, EXAMPLES)
    if find_kind(request.param).training is None:  # counts, which are not measured on the way
        (_,) = learner.learn(0)
        folder = tmp_path_factory.mktemp("counts")
        learner.save(complete=True)(folder)
        return find_kind(request.param).load(Saved(config, DATASET, folder=folder))
    return shaken(learner).recommender()


@pytest.mark.parametrize("metric", METRICS)
def test_it_equals_a_slow_loop_over_full_rankings(recommender: Recommender, metric: Any) -> None:
    expected = slow_metric(recommender, DATASET, EXAMPLES, metric)
    assert 0 < expected < 1
    assert ranking_metric(recommender, DATASET, EXAMPLES, metric) == pytest.approx(expected, rel=1e-9)


def test_the_data_asks_for_all_of_it() -> None:
    """Ties, targets that were seen, and items that were seen before the window."""
    assert len(set(DATASET.catalog.titles)) < len(DATASET.catalog)
    seen = [set(DATASET.seen(example).tolist()) for example in EXAMPLES]
    shown = [set(DATASET.history(example).items.tolist()) for example in EXAMPLES]
    assert any(len(had) > len(window) for had, window in zip(seen, shown, strict=True))
    missed = [DATASET.target(example) in had for example, had in zip(EXAMPLES, seen, strict=True)]
    assert any(missed)
    assert not all(missed)
    assert all(len(DATASET.catalog) - len(had) > 20 for had in seen)


@pytest.mark.parametrize("kind", ["title", "item", "both", "sasrec"])
@pytest.mark.parametrize("metric", ["hr@10", "ndcg@20", "loss"])
def test_a_learner_measures_it_beside_the_loss(kind: str, metric: Any, tiny_folder: Path) -> None:
    training = TRAINING.model_copy(update={"validate_metric": metric})
    config = make_kind_config(kind, training, history=HistoryConfig(K=5))
    learner = shaken(make_kind_learner(config, DATASET, tiny_folder, EXAMPLES))
    found = learner.measure()
    assert found.targets == len(EXAMPLES)
    assert found.tokens > 0
    blind = TRAINING.model_copy(update={"validate_metric": "loss"})
    config = make_kind_config(kind, blind, history=HistoryConfig(K=5))
    other = shaken(make_kind_learner(config, DATASET, tiny_folder, EXAMPLES)).measure()
    assert found.loss == other.loss
    if metric == "loss":
        assert found.metric is None
    else:
        assert found.metric == pytest.approx(slow_metric(learner.recommender(), DATASET, EXAMPLES, metric), rel=1e-9)


def test_the_loss_is_no_ranking_metric(tiny_folder: Path) -> None:
    dataset = make_dataset()
    learner: Any = make_kind_learner(make_kind_config("sasrec", TRAINING), dataset, tiny_folder, EXAMPLES[:1])
    learner.begin()
    assert ranking_metric(learner.recommender(), dataset, dataset.examples("validation", 8), "loss") is None


@pytest.mark.parametrize("count", [2, 3, 50])
def test_processes_rank_a_share_each_and_together_all(recommender: Recommender, count: int) -> None:
    """50 processes are more than there are targets: some have nothing to rank."""
    whole = ranking_metric(recommender, DATASET, EXAMPLES, "ndcg@20")
    parts: list[torch.Tensor] = []

    class Peer(Process):
        def add(self, tensor: torch.Tensor) -> None:
            parts.append(tensor.clone())

    for rank in range(count):
        ranking_metric(recommender, DATASET, EXAMPLES, "ndcg@20", Peer(rank, count, rank))
    shares = torch.stack(parts)
    assert float(shares.sum(dim=0).mean()) == pytest.approx(whole)
    assert int((shares != 0).sum(dim=0).max()) == 1  # no target is ranked twice
