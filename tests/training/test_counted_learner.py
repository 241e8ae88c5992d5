"""A model of counts is a run like any other: one step, a checkpoint of its arrays, nothing to do again."""

from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from tiny_training import Heard, make_dataset, make_kind_config, make_kind_learner

from patchrec.data.histories import Dataset
from patchrec.errors import UsageError
from patchrec.plugins import find_kind
from patchrec.recommender import Query, Saved, log_probs
from patchrec.training import loop
from patchrec.training.checkpoint import list_checkpoints, read_manifest
from patchrec.training.state import read_run

COUNTED = ("popularity", "recent", "markov", "item-knn")


class CrashError(Exception):
    """Stands for a lost machine."""


def run(name: str, folder: Path, dataset: Dataset, *, crash: bool = False, resume: bool = False) -> tuple:
    """A training, with what its log heard."""
    heard: list[tuple[str, Any]] = []

    def step(row: Any) -> None:
        heard.append(("step", row))
        if crash:
            raise CrashError

    def saved(checkpoint: Any) -> None:
        heard.append(("saved", checkpoint.step))

    log = Heard(lambda *told: heard.append(("begun", told)), step, lambda row: heard.append(("validated", row)), saved)
    config = make_kind_config(name)
    learner: Any = make_kind_learner(config, dataset, folder)
    return loop.train(config, dataset, learner, folder=folder, log=log, resume=resume), learner, heard


def arrays(path: Path) -> dict[str, np.ndarray]:
    return load_file(path / "counts.safetensors")


def assert_same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        assert one[name].dtype == other[name].dtype, name
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


@pytest.mark.parametrize("name", COUNTED)
def test_fitting_is_one_step_over_all_train_targets(name: str, tmp_path: Path) -> None:
    dataset = make_dataset()
    result, learner, heard = run(name, tmp_path / "run", dataset)
    assert [what for what, _ in heard] == ["begun", "step", "saved"]
    assert heard[0][1] == (1, 0)
    row = heard[1][1]
    targets = len(dataset.examples("train", 8))
    assert (row.step, row.tokens, row.targets, row.learning_rate) == (1, 0, targets, 0.0)
    assert isnan(row.loss)
    assert row.seconds >= 0
    assert (learner.num_steps, learner.num_targets) == (1, targets)
    assert (result.progress.step, result.progress.targets, result.progress.best_step) == (1, targets, None)


@pytest.mark.parametrize("name", COUNTED)
def test_the_checkpoint_holds_the_arrays_and_nothing_of_an_optimizer(name: str, tmp_path: Path) -> None:
    dataset = make_dataset()
    result, learner, _ = run(name, tmp_path / "run", dataset)
    (only,) = list_checkpoints(tmp_path / "run")
    assert result.checkpoint.path == only
    assert sorted(path.name for path in only.iterdir()) == ["counts.safetensors", "manifest.json", "training.json"]
    assert read_manifest(only).step == 1
    assert read_run(only).complete
    assert_same(arrays(only), learner.model.arrays())
    np.testing.assert_array_equal(arrays(only)["popularity"].shape, (len(dataset.catalog),))


@pytest.mark.parametrize("name", COUNTED)
def test_a_finished_run_takes_no_step_and_knows_what_it_counted(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = make_dataset()
    result, first, _ = run(name, tmp_path / "run", dataset)
    kind = type(first.model)

    def refuse(*_: Any) -> None:
        raise AssertionError("counted again")

    monkeypatch.setattr(kind, "fit", refuse)
    again, second, heard = run(name, tmp_path / "run", dataset, resume=True)
    assert heard == []
    assert again.checkpoint == result.checkpoint
    assert (again.progress.step, again.progress.targets) == (1, result.progress.targets)
    assert_same(second.model.arrays(), first.model.arrays())


@pytest.mark.parametrize("name", COUNTED)
def test_a_run_that_crashed_counts_the_same_again(name: str, tmp_path: Path) -> None:
    dataset = make_dataset()
    whole, _, _ = run(name, tmp_path / "whole", dataset)
    with pytest.raises(CrashError):
        run(name, tmp_path / "broken", dataset, crash=True)
    assert list_checkpoints(tmp_path / "broken") == []
    again, _, heard = run(name, tmp_path / "broken", dataset, resume=True)
    assert [what for what, _ in heard] == ["begun", "step", "saved"]
    assert_same(arrays(again.checkpoint.path), arrays(whole.checkpoint.path))


@pytest.mark.parametrize("name", COUNTED)
def test_a_loaded_run_answers_as_what_was_fitted(name: str, tmp_path: Path) -> None:
    dataset = make_dataset()
    result, learner, _ = run(name, tmp_path / "run", dataset)
    queries = [Query.of(dataset, example) for example in dataset.examples("validation", 8)]
    recommender = find_kind(name).load(Saved(make_kind_config(name), dataset, folder=result.checkpoint.path))
    np.testing.assert_array_equal(log_probs(recommender, queries), learner.model.log_probs(queries))


def test_other_data_is_another_run(tmp_path: Path) -> None:
    run("markov", tmp_path / "run", make_dataset())
    with pytest.raises(UsageError, match=r"cannot resume: data\.sequences"):
        run("markov", tmp_path / "run", make_dataset(seed=1), resume=True)
    with pytest.raises(UsageError, match="already holds checkpoints"):
        run("markov", tmp_path / "run", make_dataset())
