"""P5, POD and LightLM through the one training loop: a cycle is learned, resumed bitwise, saved and loaded."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_item_learner import BY_RANKS, CrashError, Sitting, assert_same_bits
from tiny_training import make_kind_config

from patchrec import testing
from patchrec.config import HistoryConfig, TrainingConfig
from patchrec.plugins import find_kind
from patchrec.recommender import Fitting, Query, Recommender, Saved, log_probs, rank
from patchrec.training import loop

SMALL: dict[str, Any] = {"width": 16, "inner": 16, "layers": 1, "heads": 2, "dropout": 0.0, "branches": 4}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "p5": ("p5", {}),
    "titles without decoder": ("p5", {"items": "titles", "decoder": "none"}),
    "pod": ("pod", {"encoder": "past"}),
    "lightlm": ("lightlm", {"encoder": "past"}),
}


def config_of(case: str, training: TrainingConfig, **more: Any) -> Any:
    kind, options = CASES[case]
    return make_kind_config(
        kind, training, options={**SMALL, **options, **more}, history=HistoryConfig(K=8, windows="blocks")
    )


@pytest.fixture(scope="module")
def walkers() -> Any:
    """Eighty users who go through twelve items in order, with one step in ten twice as long."""
    return testing.make_dataset(80)


def fit(case: str, walkers: Any, folder: Path, **more: Any) -> tuple[Any, Path]:
    epochs = 20 if case == "lightlm" else 12  # its clusters say nothing of the order
    training = TrainingConfig(epochs=epochs, batch_size=64, learning_rate=1e-2, warmup=0, validate_every=None)
    config = config_of(case, training, dropout=0.1, **more)
    learner = find_kind(config.kind.name).learner(Fitting(config, walkers))
    return config, loop.train(config, walkers, learner, folder=folder).checkpoint.path


def load(config: Any, walkers: Any, folder: Path) -> Recommender:
    return find_kind(config.kind.name).load(Saved(config, walkers, folder=folder))


@pytest.mark.parametrize("case", CASES)
def test_a_cycle_with_noise_is_learned(case: str, walkers: Any, tmp_path: Path) -> None:
    """Popularity finds one item of twelve, as all are about as popular."""
    config, folder = fit(case, walkers, tmp_path / "run")
    fitted = load(config, walkers, folder)
    examples = [example for split in ("validation", "test") for example in walkers.examples(split, 8, "blocks")]
    queries = [Query.of(walkers, example, keep_seen=True) for example in examples]
    targets = [walkers.target(example) for example in examples]
    best = [found.recommendations[0].item for found in rank(fitted, queries, 1)]
    popular = int(walkers.popularity.argmax())
    hits = np.mean([one == target for one, target in zip(best, targets, strict=True)])
    assert hits > 0.5  # nine of ten steps are certain
    assert np.mean([popular == target for target in targets]) < 0.25
    scores = log_probs(fitted, queries)
    assert np.mean(scores[np.arange(len(targets)), targets]) > -1.3  # by chance -2.5


@pytest.mark.parametrize("case", CASES)
def test_a_run_that_crashed_resumes_bitwise(case: str, tmp_path: Path) -> None:
    training = BY_RANKS.model_copy(update={"epochs": 2})
    config = config_of(case, training, dropout=0.2)
    whole = Sitting(config, tmp_path, tmp_path / "whole")
    whole.run()
    broken = Sitting(config, tmp_path, tmp_path / "broken")
    with pytest.raises(CrashError):
        broken.run(crash_after=3)
    broken.run(resume=True)
    assert (broken.rows, broken.measured) == (whole.rows, whole.measured)
    assert_same_bits(broken.weights(), whole.weights())


def test_a_beam_as_wide_as_the_catalog_is_exact(walkers: Any, tmp_path: Path) -> None:
    config, folder = fit("pod", walkers, tmp_path / "run")
    queries = [Query.of(walkers, example) for example in walkers.examples("test", 8, "blocks")[:10]]
    exact = log_probs(load(config, walkers, folder), queries)
    options = {**config.kind.options, "search": "beam", "beam": 12}
    beam = config.model_copy(update={"kind": config.kind.model_copy(update={"options": options})})
    np.testing.assert_allclose(log_probs(load(beam, walkers, folder), queries), exact, atol=1e-5)


def test_words_of_titles_tell_of_items_that_no_history_had() -> None:
    """After a red one comes a blue one and the other way round; one title of each is never trained, its words are."""
    from patchrec.model.item_batch import ItemBatch
    from patchrec.recommenders.factories import Ground
    from patchrec.recommenders.generative import P5Options, make_p5

    catalog = testing.Catalog(tuple("abcdefgh"), tuple(f"{'red' if i < 4 else 'blue'} w{i % 4}" for i in range(8)))
    dataset = testing.Dataset("colours", catalog, testing.make_dataset().sequences, min_history=1)
    torch.manual_seed(0)
    options = P5Options(**{**SMALL, "items": "titles", "encoder": "past"})
    model: Any = make_p5(Ground(dataset, 8, 4), options)
    random = np.random.default_rng(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(60):
        first = random.integers(0, 2, 32)
        colours = (first[:, None] + np.arange(5)) % 2
        rows = colours * 5 + random.integers(0, 3, colours.shape)  # items 3 and 4 never
        targets = np.concatenate([np.full((32, 1), -1), rows[:, 1:]], axis=1)
        optimizer.zero_grad()
        (model.loss(ItemBatch.of(list(rows[:, :4]), 8, "cpu", list(targets))) / 128).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        asked = ItemBatch.of([np.array([3]), np.array([4])], 8, "cpu")
        after_red, after_blue = model.log_probs(asked).exp()
    assert after_red[4:].sum() > 0.8
    assert after_blue[:4].sum() > 0.8
