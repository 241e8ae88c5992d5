"""Baselines that read texts learn what is planted, see nothing of the future, resume bitwise, and load as saved."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from text_models import make_encoder_folder

from patchrec.config import HistoryConfig, KindConfig, RunConfig, TrainingConfig
from patchrec.data.catalog import Catalog
from patchrec.data.histories import Dataset, Sequences
from patchrec.history import History
from patchrec.model.item_batch import ItemBatch
from patchrec.plugins import find_kind
from patchrec.recommender import Fitting, Query, Recommender, Saved, log_probs
from patchrec.testing import RecommenderContract
from patchrec.training import loop

WORDS = ("red", "green", "blue", "grey", "white", "black")
TITLES = tuple(f"{word} {number}" for word in WORDS for number in ("one", "two"))  # item 2 g + j is of word g
SMALL = {"width": 16, "layers": 1, "heads": 1, "dropout": 0.0}
SCRATCH = {"scratch": True, "scratch_width": 16, "scratch_layers": 1}


@dataclass(frozen=True)
class Case:
    """A kind with options, and what it begins with: names among the folders of the tests."""

    kind: str
    options: dict[str, Any]
    start: str | None = None
    starts: dict[str, str] = field(default_factory=dict)
    steps: int = 4
    rate: float = 1e-2


CASES = {
    "morec frozen": Case("morec", SMALL, "t5", steps=100, rate=2e-2),
    "morec trained": Case("morec", {**SMALL, "trained": True}, "bert", steps=120, rate=5e-3),
    "morec scratch": Case("morec", {**SMALL, **SCRATCH, "trained": True}),
    "lite scratch": Case("lite-llm4rec", {**SCRATCH, "dropout": 0.1}, steps=160),
    "lite ids sampling": Case(
        "lite-llm4rec", {**SCRATCH, "dropout": 0.1, "items": "ids", "training": "sampling"}, steps=240
    ),
    "lite bert": Case("lite-llm4rec", {"dropout": 0.1, "items": "bert"}, "t5", {"item_backbone": "bert"}),
    "lite frozen": Case("lite-llm4rec", {"dropout": 0.0, "freeze": "backbone"}, "t5"),
    "lite fixed head": Case("lite-llm4rec", {"dropout": 0.1, "freeze": "head"}, "t5"),
}
everyone = pytest.mark.parametrize("name", CASES)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("encoders")
    return {name: make_encoder_folder(base / name, name, TITLES) for name in ("t5", "bert")}


def make_colours(num_users: int = 40, length: int = 12) -> Dataset:
    """Each user goes through the words in order, with one of a word's items each time, and one step in ten astray."""
    draws = np.random.default_rng(0)
    words = (draws.integers(0, len(WORDS), (num_users, 1)) + np.arange(length)) % len(WORDS)
    astray = draws.random(words.shape) < 0.1
    items = np.where(astray, draws.integers(0, len(TITLES), words.shape), 2 * words + (draws.random(words.shape) < 0.5))
    sizes = np.full(num_users, length)
    sequences = Sequences(
        tuple(f"u{user}" for user in range(num_users)),
        np.arange(num_users + 1) * length,
        items.reshape(-1).astype(np.int64),
        np.arange(num_users * length, dtype=np.int64) * 60,
        sizes - 2,
        sizes - 1,
    )
    catalog = Catalog(tuple(f"i{item}" for item in range(len(TITLES))), TITLES)
    return Dataset("colours", catalog, sequences, min_history=1, noun="thing", verb="taken")


COLOURS = make_colours()


def config_of(case: Case, **training: Any) -> RunConfig:
    bound = find_kind(case.kind).bind(case.options)
    values = {**(bound.training or {}), "batch_size": 64, "learning_rate": case.rate, "epochs": 200, **training}
    values["validate_every"] = values["patience"] = None
    return RunConfig(
        stage="baseline",
        dataset="colours",
        kind=KindConfig(name=case.kind, options=dict(bound.options.values)),
        backbone=case.start,
        history=HistoryConfig(K=6),
        prompt=None,
        training=TrainingConfig.model_validate({**values, "validate_metric": "loss"}),
        score="item",
    )


def learner_of(case: Case, config: RunConfig, folders: dict[str, Path]) -> Any:
    starts = {role: folders[name] for role, name in case.starts.items()}
    start = None if case.start is None else folders[case.start]
    return find_kind(case.kind).learner(Fitting(config, COLOURS, start, starts=starts))


def fit(case: Case, folders: dict[str, Path], folder: Path, *, resume: bool = False, log: Any = None, **training: Any):
    config = config_of(case, **training)
    return loop.train(config, COLOURS, learner_of(case, config, folders), folder=folder, resume=resume, log=log)


def load(case: Case, folder: Path, dataset: Dataset = COLOURS) -> Recommender:
    return find_kind(case.kind).load(Saved(config_of(case), dataset, folder=folder))


@pytest.fixture(scope="module")
def fitted(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Checkpoint of a case, fitted once."""
    made: dict[str, Path] = {}

    def checkpoint(name: str) -> Path:
        if name not in made:
            folder = tmp_path_factory.mktemp("run")
            made[name] = fit(CASES[name], folders, folder, max_steps=CASES[name].steps).checkpoint.path
        return made[name]

    return checkpoint


def after(*items: int) -> Query:
    return Query(History(np.array(items, dtype=np.int64), np.arange(len(items), dtype=np.int64)))


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.steps > 4])
def test_the_planted_order_is_learned(fitted: Callable[[str], Path], name: str) -> None:
    """Popularity gives two items of twelve a sixth of the probability."""
    recommender = load(CASES[name], fitted(name))
    queries = [after(2 * word, 2 * ((word + 1) % 6) + 1, 2 * ((word + 2) % 6)) for word in range(6)]
    found = np.exp(log_probs(recommender, queries))
    for word, row in enumerate(found):
        following = 2 * ((word + 3) % 6)
        assert row[following : following + 2].sum() > 0.4, (word, row)


@everyone
def test_no_later_item_changes_an_earlier_score(folders: dict[str, Path], name: str) -> None:
    """A row asked at each of its positions learns what rows that end there learn."""
    case = CASES[name]
    model = learner_of(case, config_of(case), folders).model.eval()
    history = np.array([3, 8, 1, 6], dtype=np.int64)
    targets = np.array([3, 8, 1, 6, 0], dtype=np.int64)
    with torch.no_grad():
        whole = model.loss(ItemBatch.of([history], len(TITLES), "cpu", [targets]))
        alone = torch.zeros(())
        for length, target in enumerate(targets.tolist()):
            asked = np.full(length + 1, -1, dtype=np.int64)
            asked[-1] = target
            alone += model.loss(ItemBatch.of([history[:length]], len(TITLES), "cpu", [asked]))
            if not (name.startswith("morec") and case.options.get("trained")):  # its loss is among the batch's items
                scores = model.log_probs(ItemBatch.of([history[:length]], len(TITLES), "cpu"))
                assert float(-scores[0, target]) == pytest.approx(
                    float(model.loss(ItemBatch.of([history[:length]], len(TITLES), "cpu", [asked]))), rel=1e-4
                )
    if not (name.startswith("morec") and case.options.get("trained")):
        assert float(whole) == pytest.approx(float(alone), rel=1e-4)


class StoppedError(Exception):
    """Stands for a lost machine."""


class StopAfter:
    """A log that ends the training after a step."""

    def __init__(self, step: int) -> None:
        self.last = step

    def begun(self, num_steps: int, after: int) -> None: ...

    def validated(self, row: Any) -> None: ...

    def saved(self, checkpoint: Any) -> None: ...

    def step(self, row: Any) -> None:
        if row.step == self.last:
            raise StoppedError


@everyone
def test_a_run_that_was_stopped_resumes_bitwise(folders: dict[str, Path], tmp_path: Path, name: str) -> None:
    case, few = CASES[name], {"max_steps": 4, "checkpoint_every": 2}
    whole = fit(case, folders, tmp_path / "whole", **few).checkpoint.path
    with pytest.raises(StoppedError):
        fit(case, folders, tmp_path / "stopped", log=StopAfter(3), **few)
    again = fit(case, folders, tmp_path / "stopped", resume=True, **few).checkpoint.path
    one, other = (load_file(path / "model.safetensors") for path in (whole, again))
    assert one.keys() == other.keys()
    assert [key for key in one if not torch.equal(one[key], other[key])] == []


@everyone
def test_a_checkpoint_answers_without_what_it_began_with(
    fitted: Callable[[str], Path], folders: dict[str, Path], name: str
) -> None:
    case = CASES[name]
    learner = learner_of(case, config_of(case), folders)
    learner.load(fitted(name), optimizer=False)
    queries = [after(), after(4), after(1, 3, 5, 7)]
    np.testing.assert_allclose(
        log_probs(load(case, fitted(name)), queries), log_probs(learner.recommender(), queries), atol=1e-6
    )
    assert (fitted(name) / "start" / "config.json").is_file()
    assert {path.name for path in (fitted(name) / "start").iterdir() if path.is_dir()} == set(case.starts)


@pytest.mark.parametrize("name", ["morec frozen", "morec trained"])
def test_a_title_tells_what_follows_an_item_that_came_later(fitted: Callable[[str], Path], name: str) -> None:
    """No user had it; its word says what it is."""
    titles = (*TITLES, "blue one")
    catalog = Catalog(tuple(f"i{item}" for item in range(len(titles))), titles)
    grown = Dataset("colours", catalog, COLOURS.sequences, min_history=1, noun="thing", verb="taken")
    recommender = load(CASES[name], fitted(name), grown)
    after_it, before_it = np.exp(log_probs(recommender, [after(0, 3, 12), after(0, 3)]))
    assert after_it.shape == (13,)
    assert after_it[6:8].sum() > 0.4  # grey follows blue
    assert before_it[12] == pytest.approx(before_it[4])  # the title of another: it is ranked beside it


def test_item_vectors_are_made_once_after_loading(fitted: Callable[[str], Path]) -> None:
    recommender: Any = load(CASES["lite scratch"], fitted("lite scratch"))
    model = recommender.scorer.model
    read: list[int] = []
    passes: list[tuple[int, ...]] = []
    model.items.encoder.model.register_forward_hook(lambda *_: read.append(1))
    model.sequence.register_forward_hook(lambda _, given, __: passes.append(tuple(given[0].shape[:2])))
    log_probs(recommender, [after(item % 12, 3, 5) for item in range(32)])
    assert (len(read), passes) == (1, [(32, 4)])
    log_probs(recommender, [after(1)])
    assert len(read) == 1


@pytest.mark.parametrize(("freeze", "still"), [("backbone", ("items.encoder", "sequence")), ("head", ("head",))])
def test_what_is_frozen_does_not_move(
    folders: dict[str, Path], tmp_path: Path, freeze: str, still: tuple[str, ...]
) -> None:
    case = CASES["lite frozen" if freeze == "backbone" else "lite fixed head"]
    config = config_of(case, max_steps=2)
    learner = learner_of(case, config, folders)
    before = {name: own.clone() for name, own in learner.model.state_dict().items()}
    loop.train(config, COLOURS, learner, folder=tmp_path)
    moved = {name for name, own in learner.model.state_dict().items() if not torch.equal(own, before[name])}
    assert moved
    assert not [name for name in moved if name.startswith(still)]


class TestLiteWithTwoModelsKeepsTheContract(RecommenderContract):
    kind = find_kind("lite-llm4rec")
    options = {"items": "bert", "training": "sampling"}
    training = {"epochs": 5, "validate_every": None, "patience": None}

    @pytest.fixture(autouse=True)
    def _begin(self, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(type(self), "backbone", folders["t5"])
        monkeypatch.setattr(type(self), "starts", {"item_backbone": folders["bert"]})
