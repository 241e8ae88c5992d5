"""Options that depend on the data are filled in, told and stored before a run is made; when a model is measured."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import Field
from torch import nn
from torch.nn import functional

from patchrec import plugins
from patchrec.config import HistoryConfig, KindConfig, RunConfig, TrainingConfig
from patchrec.errors import UsageError
from patchrec.operations.training.train import baseline
from patchrec.options import Options
from patchrec.recommender import Fitting
from patchrec.recommenders.factories import item_model_kind
from patchrec.reporting import Silent
from patchrec.store import Store
from patchrec.testing import make_dataset
from patchrec.training.loop import NoLog, train
from patchrec.training.schedule import learning_rate_factor


class SizeOptions(Options):
    size: int | None = Field(None, ge=1, description="how many; default: as many as there are items")


class Later(nn.Module):
    """Learns to rank from the second half of its steps on."""

    ranks_from = 0.5

    def __init__(self, num_items, max_items, options):
        super().__init__()
        self.worth = nn.Parameter(torch.zeros(num_items))

    def loss(self, batch):
        logits = self.worth.expand(*batch.items.shape, -1)
        asked = batch.targets >= 0
        return functional.cross_entropy(logits[asked], batch.targets[asked], reduction="sum")

    def log_probs(self, batch):
        return functional.log_softmax(self.worth, dim=-1).expand(len(batch.items), -1)


def settle(options, dataset, report):
    if options.size is None:
        report.picked("size", str(len(dataset.catalog)), "items of the catalog")
        return options.model_copy(update={"size": len(dataset.catalog)})
    if options.size > len(dataset.catalog):
        raise UsageError(f"--size {options.size}: there are {len(dataset.catalog)} items")
    return options


KIND = item_model_kind(
    "later", "by worth", Later, options=SizeOptions, settle=settle, training={"batch_size": 16, "learning_rate": 1e-2}
)


class Told(Silent):
    def __init__(self):
        self.picks = []

    def picked(self, what, value, why):
        self.picks.append((what, value, why))


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("PATCHREC_PLUGINS", "")
    plugins.load()
    monkeypatch.setitem(plugins._registry().recommenders, KIND.name, KIND)
    with Store.open(tmp_path / "home") as store:
        store.datasets.add(make_dataset(), source="made up", licence="none", split={"rule": "leave-one-out"})
    return tmp_path / "home"


def test_what_was_picked_is_told_and_stored(home):
    report = Told()
    made = baseline("later", data="made-up", home=home, report=report)
    assert ("size", "12", "items of the catalog") in report.picks
    with Store.open(home) as store:
        assert store.runs.get(made.run).config.kind.options == {"size": 12}


def test_what_was_given_stands_or_is_refused_before_a_run_is_made(home):
    report = Told()
    made = baseline("later", options={"size": "5"}, data="made-up", home=home, report=report)
    assert "size" not in [what for what, *_ in report.picks]
    with Store.open(home) as store:
        assert store.runs.get(made.run).config.kind.options == {"size": 5}
    with pytest.raises(UsageError, match="--size 13: there are 12 items"):
        baseline("later", options={"size": 13}, data="made-up", home=home)
    with Store.open(home) as store:
        assert [run.name for run in store.runs.all()] == ["later-1"]


class Log(NoLog):
    def __init__(self):
        self.rates, self.measured = [], []

    def step(self, row):
        self.rates.append(row.learning_rate)

    def validated(self, row):
        self.measured.append(row.step)


def trained(folder, **settings):
    """What the training of `Later` logged, its result, and the number of its first step that ranks."""
    dataset, log = make_dataset(), Log()
    config = RunConfig(
        stage="baseline",
        dataset="made-up",
        kind=KindConfig(name="later"),
        backbone=None,
        history=HistoryConfig(K=8),
        prompt=None,
        training=TrainingConfig(batch_size=16, epochs=4, learning_rate=1e-12, **settings),
        score="item",
    )
    learner = KIND.learner(Fitting(config, dataset, validation=dataset.examples("validation", 8)))
    result = train(config, dataset, learner, folder=folder, log=log)
    return log, result, int(np.ceil((learner.num_steps - 1) / 2)), learner


def test_a_model_is_not_measured_before_it_learns_to_rank(tmp_path):
    log, result, turn, _ = trained(tmp_path / "run", validate_every=1, validate_metric="ndcg@20", patience=2)
    assert log.measured == [turn + 1, turn + 2, turn + 3]  # nothing moves: the first stays the best, and patience is 2
    assert (result.progress.best_step, result.progress.step) == (turn + 1, turn + 3)


def test_what_it_learns_then_has_a_schedule_and_a_memory_of_its_own(tmp_path):
    log, _, turn, learner = trained(tmp_path / "run", warmup=0)
    steps = learner.num_steps
    assert log.rates[:turn] == [1e-12 * learning_rate_factor(step, turn, 0) for step in range(turn)]
    assert log.rates[turn:] == [1e-12 * learning_rate_factor(step, steps - turn, 0) for step in range(steps - turn)]
    (memory,) = learner.updater.optimizer.state.values()
    assert int(memory["step"]) == steps - turn


@pytest.mark.parametrize("kind", ["fdsa", "s3rec"])
def test_fields_of_items_are_settled_and_the_reason_is_told(kind):
    dataset, report = make_dataset(), Told()
    plain = plugins.find_kind(kind).bind()
    assert plain.settled(dataset, report).options.values["fields"] == "title"
    moods = tuple({"mood": ["light", "dark"][item % 2], "id": f"x{item}"} for item in range(len(dataset.catalog)))
    with_moods = replace(dataset, catalog=replace(dataset.catalog, metadata=moods))
    settled = plain.settled(with_moods, report)
    assert "fields=mood" in settled.label
    assert settled.settled(with_moods, report) == settled  # a run that is made again says nothing new
    assert report.picks == [
        ("fields", "title", "words of titles: the catalog has no field that suits"),
        ("fields", "mood", "all that suit"),
    ]
    with pytest.raises(UsageError, match="no field 'moods'; did you mean 'mood'"):
        plugins.find_kind(kind).bind({"fields": "moods"}).settled(with_moods, report)
