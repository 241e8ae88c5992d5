"""A data set and a run small enough to train in a second: shared by the tests here and the processes they kill."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from patchrec.config import HistoryConfig, KindConfig, PromptConfig, RunConfig, StrategyConfig, TrainingConfig
from patchrec.data.catalog import Catalog
from patchrec.data.histories import Dataset, Example, Sequences
from patchrec.model.backbone import Backbone
from patchrec.model.tokenizer import make_encoder
from patchrec.plugins import find_kind
from patchrec.recommender import Fitting
from patchrec.strategy import Planner
from patchrec.training import loop
from patchrec.training.batches import all_batches
from patchrec.training.language_learner import LanguageLearner
from patchrec.training.learner import Learner
from patchrec.training.loop import TrainingResult
from patchrec_strategies import patchrec_strategies

# Titles that share beginnings, one inside another, and two items of one title.
TITLES = ("Alien", "Aliens", "Alien 3", "Heat", "Heat", "Up", "Ran", "Ronin", "Big", "Big Fish", "It", "Jaws")

STRATEGIES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("vanilla", {}),
    ("item-mean", {}),
    ("session-by-count", {"L": 2}),
    ("session-by-time-window", {"window": "1d"}),
    ("pft-i", {"M": 2}),
    ("pft-s", {"L": 2}),
    ("dropout", {"M": 2}),
    ("patch-pretraining", {}),
)

# Options of kinds that would be large else.
SMALL: dict[str, dict[str, Any]] = {
    "sasrec": {"width": 8, "layers": 1, "heads": 1, "dropout": 0.2},
    "esasrec": {"width": 8, "layers": 1, "heads": 1, "dropout": 0.2},
}


def make_dataset(num_users: int = 5, shortest: int = 5, longest: int = 14, seed: int = 0) -> Dataset:
    random = np.random.default_rng(seed)
    lengths = random.integers(shortest, longest + 1, num_users)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    total = int(offsets[-1])
    sequences = Sequences(
        tuple(f"u{user}" for user in range(num_users)),
        offsets,
        random.integers(0, len(TITLES), total).astype(np.int64),
        (1_000_000_000 + np.cumsum(random.integers(0, 60_000, total))).astype(np.int64),
        (lengths - 1).astype(np.int64),
        lengths.astype(np.int64),
    )
    catalog = Catalog(tuple(f"i{item}" for item in range(len(TITLES))), TITLES)
    return Dataset("tiny", catalog, sequences, min_history=2, noun="movie", verb="watched")


def make_config(
    *strategies: tuple[str, dict[str, Any]],
    prompt: PromptConfig | None = None,
    history: HistoryConfig | None = None,
    training: TrainingConfig | None = None,
    stage: str = "finetune",
    seed: int = 0,
) -> RunConfig:
    return RunConfig.model_validate(
        {
            "stage": stage,
            "dataset": "tiny",
            "backbone": "tiny-random",
            "strategies": [StrategyConfig(name=name, options=options) for name, options in strategies],
            "history": history or HistoryConfig(K=8),
            "prompt": prompt or PromptConfig(form="continuation", noun="movie", verb="watched"),
            "training": training or TrainingConfig(batch_size=8, epochs=2, learning_rate=3e-3),
            "seed": seed,
        }
    )


def make_kind_config(
    kind: str,
    training: TrainingConfig | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    history: HistoryConfig | None = None,
    seed: int = 0,
) -> RunConfig:
    """A run of any kind; those of a language model begin with the tiny random one."""
    found = find_kind(kind)
    return RunConfig(
        stage="finetune" if found.is_head else "baseline",
        dataset="tiny",
        kind=KindConfig(name=kind, options=dict(found.bind({**SMALL.get(kind, {}), **(options or {})}).options.values)),
        backbone="tiny-random" if found.is_head else None,
        strategies=(StrategyConfig(name="item-mean"),) if found.is_head else (),
        history=history or HistoryConfig(K=8, windows="blocks"),
        prompt=PromptConfig(form="continuation", noun="movie", verb="watched") if found.is_head else None,
        training=training,
        score=found.scores[0],
        seed=seed,
    )


def make_kind_learner(
    config: RunConfig, dataset: Dataset, backbone: Path, validation: Sequence[Example] = ()
) -> Learner:
    """What learns in a run of any kind, not begun."""
    start = backbone if config.backbone else None
    return find_kind(config.kind.name).learner(Fitting(config, dataset, start, validation=validation))


def make_planners(config: RunConfig) -> list[Planner]:
    known = {strategy.name: strategy for strategy in patchrec_strategies()}
    return [known[entry.name].bind(entry.options) for entry in config.strategies]


def make_learner(
    config: RunConfig,
    dataset: Dataset,
    backbone: Backbone,
    planners: Sequence[Planner],
    validation: Sequence[Example] = (),
) -> LanguageLearner:
    """What learns in a run, not begun."""
    encoder = make_encoder(backbone.folder, dataset.catalog.titles, config.prompt, backbone.vocab_size)
    batches = all_batches(config, dataset)
    return LanguageLearner(
        config, dataset, backbone, encoder=encoder, planners=planners, batches=batches, validation=validation
    )


def nothing(*_: object) -> None:
    """Hear and forget."""


@dataclass
class Heard:
    """A log made of functions."""

    begun: Callable[..., None] = nothing
    step: Callable[..., None] = nothing
    validated: Callable[..., None] = nothing
    saved: Callable[..., None] = nothing


def train(
    config: RunConfig,
    dataset: Dataset,
    backbone: Backbone,
    planners: Sequence[Planner],
    *,
    folder: Path,
    validation: Sequence[Example] = (),
    begun: Callable[..., None] = nothing,
    log: Callable[..., None] = nothing,
    validated: Callable[..., None] = nothing,
    saved: Callable[..., None] = nothing,
    **options: Any,
) -> TrainingResult:
    """Train a backbone in place with the one loop."""
    learner = make_learner(config, dataset, backbone, planners, validation)
    result = loop.train(config, dataset, learner, folder=folder, log=Heard(begun, log, validated, saved), **options)
    backbone.eval()
    return result


def model_of(result: TrainingResult) -> Path:
    """The model folder of a finished training."""
    return result.checkpoint.path / "model"


def run_training(config: RunConfig, backbone: Path, folder: Path, losses: Path, *, resume: bool) -> TrainingResult:
    """Train and append every loss row to a file of JSON lines."""

    def log(row: Any) -> None:
        with losses.open("a") as stream:
            stream.write(json.dumps({key: value for key, value in asdict(row).items() if key != "seconds"}) + "\n")

    dataset = make_dataset()
    validation = dataset.examples("validation", config.history.K, config.history.windows)
    if config.kind.name != "title" or config.kind.options:
        learner = make_kind_learner(config, dataset, backbone, validation)
        return loop.train(config, dataset, learner, folder=folder, log=Heard(step=log), resume=resume)
    return train(
        config,
        dataset,
        Backbone.load(backbone, name="tiny-random", device="cpu"),
        make_planners(config),
        folder=folder,
        validation=validation,
        log=log,
        resume=resume,
    )
