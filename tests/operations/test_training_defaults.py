"""What a run says that it picked: no more than it picked, and no likeness to the paper where there is none."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from patchrec.config import TrainingConfig
from patchrec.data.histories import Dataset
from patchrec.errors import UsageError
from patchrec.operations.training.defaults import PAPER, shape_defaults, training_defaults
from patchrec.operations.training.train import baseline
from patchrec.plugins import find_kind
from patchrec.reporting import SILENT
from patchrec.store import Store

TITLE = find_kind("title")


class Lines:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def picked(self, what: str, value: str, why: str) -> None:
        self.lines.append(f"{what}: {value} ({why})")

    note = SILENT.note
    task = SILENT.task


@pytest.fixture
def walkers(home: Path) -> Dataset:
    with Store.open(home) as store:
        return store.datasets.load("walkers")


def said(dataset: Dataset, backbone: str, **given: object) -> tuple[str, TrainingConfig]:
    report = Lines()
    config = training_defaults("finetune", dataset, backbone, TITLE, given, report)  # type: ignore[arg-type]
    return " / ".join(report.lines), config


def test_only_what_was_picked_is_told(walkers: Dataset) -> None:
    line, config = said(walkers, "llama-3.2-1b", batch_size=32, dtype="float32", tree_targets=1)
    assert line == "training: learning rate 1e-05, 1 epoch (the paper's for MovieLens-100K)"
    assert config.batch_size == 32
    everything = {"batch_size": 32, "learning_rate": 1e-3, "epochs": 2, "dtype": "float32"}
    assert said(walkers, "llama-3.2-1b", **everything)[0] == ""


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"tree_targets": 1, "dtype": "bfloat16"}, "as in the paper"),
        ({"dtype": "bfloat16"}, "as in the paper but for targets that share a prefix"),
        ({"tree_targets": 1, "dtype": "float32"}, "as in the paper but for float32"),
        ({"dtype": "float32"}, "as in the paper but for targets that share a prefix and float32"),
    ],
)
def test_what_differs_from_the_paper_is_named(
    walkers: Dataset, monkeypatch: pytest.MonkeyPatch, given: dict[str, object], why: str
) -> None:
    monkeypatch.setitem(PAPER, "walkers", (64, 1e-5))
    assert said(walkers, "llama-3.2-1b", **given)[0].endswith(f"({why})")


def test_a_prompt_is_told_without_what_was_given(walkers: Dataset) -> None:
    report = Lines()
    shape_defaults(walkers, "llama-3.2-1b", TITLE, None, {"form": "continuation", "windows": None, "K": 50}, report)  # type: ignore[arg-type]
    assert report.lines == ["prompt: sliding windows (as in the paper)"]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("sasrec", "measured for sasrec"),
        ("s3rec", "SASRec's, and more epochs for its pre-training"),
        ("lite-llm4rec", "after its paper, little of it measured"),
        ("lightlm", "a guess, not measured"),
    ],
)
def test_a_kind_says_where_its_defaults_come_from(walkers: Dataset, name: str, why: str) -> None:
    report = Lines()
    training_defaults("baseline", walkers, None, find_kind(name), {}, report)  # type: ignore[arg-type]
    assert report.lines[0].endswith(f"({why})")


def test_an_item_head_on_random_weights_learns_as_models_of_identifiers_do(walkers: Dataset) -> None:
    report = Lines()
    item, sasrec = find_kind("item"), find_kind("sasrec")
    made = training_defaults("finetune", walkers, "small", item, {}, report, made=True)  # type: ignore[arg-type]
    assert (made.batch_size, made.dropout, made.validate_metric) == (1024, 0.2, "ndcg@20")
    assert sasrec.training is not None
    assert made.batch_size == sasrec.training["batch_size"]
    given = {"epochs": 1, "dropout": 0.0}
    assert training_defaults("finetune", walkers, "small", item, given, report, made=True).dropout == 0  # type: ignore[arg-type]
    other = training_defaults("finetune", walkers, "smollm2-135m", item, {}, report)  # type: ignore[arg-type]
    assert (other.batch_size, other.dropout, other.validate_every) == (256, 0, None)


@pytest.mark.parametrize(
    ("given", "targets"),
    [
        ({"epochs": 1}, 108),
        ({"epochs": 7}, 7 * 108),
        ({"epochs": 10_000}, 10_000 * 108),
        ({"epochs": 7, "user_targets": 1}, None),
        ({"epochs": 7, "max_steps": 5, "batch_size": 8}, 40),
        ({"epochs": 7, "lora_rank": 2}, 7 * 108),  # adapters have ten times the rate, vectors of items have not
    ],
)
def test_item_vectors_beside_random_weights_learn_faster_the_less_often_an_item_comes(
    walkers: Dataset, given: dict[str, Any], targets: int | None
) -> None:
    report, item = Lines(), find_kind("item")
    config = training_defaults("finetune", walkers, "small", item, given, report, made=True)  # type: ignore[arg-type]
    if targets is None:
        targets = 7 * sum(
            len(walkers.sequences.items_of(user)[:1]) for user in range(len(walkers.sequences.train_stop))
        )
    chosen = {int(one) for example in walkers.examples("train", 100) for one in [walkers.target(example)]}
    chosen |= {int(one) for example in walkers.examples("train", 100) for one in walkers.history(example).items}
    rate = min(1e-2, max(config.learning_rate, len(chosen) / targets))
    assert config.head_learning_rate == pytest.approx(rate, rel=0.05)
    assert f"item vectors at {config.head_learning_rate:g}" in report.lines[0]


def test_a_rate_of_item_vectors_that_is_given_is_taken(walkers: Dataset) -> None:
    report, item = Lines(), find_kind("item")
    given = {"head_learning_rate": 0.5}
    config = training_defaults("finetune", walkers, "small", item, given, report, made=True)  # type: ignore[arg-type]
    assert config.head_learning_rate == 0.5
    assert "item vectors" not in report.lines[0]
    pretrained = training_defaults("finetune", walkers, "smollm2-135m", item, {}, report)  # type: ignore[arg-type]
    assert pretrained.head_learning_rate == 1e-3


@pytest.mark.parametrize("given", [{"patience": 2}, {"validation_targets": 9}, {"validate_metric": "hr@10"}])
def test_how_to_measure_may_be_said_where_a_default_says_how_often(walkers: Dataset, given: dict[str, Any]) -> None:
    item = find_kind("item")
    config = training_defaults("finetune", walkers, "small", item, given, Lines(), made=True)  # type: ignore[arg-type]
    assert config.validate_every is not None
    assert given.items() <= config.model_dump().items()
    with pytest.raises(UsageError, match="add --validate-every N"):
        training_defaults("finetune", walkers, "smollm2-135m", item, given, Lines())  # type: ignore[arg-type]


def test_a_decay_that_the_rate_of_item_vectors_is_too_fast_for_is_refused(walkers: Dataset) -> None:
    given = {"weight_decay": 300.0, "epochs": 1}
    with pytest.raises(UsageError, match="takes more than all of a weight away"):
        training_defaults("finetune", walkers, "small", find_kind("item"), given, Lines(), made=True)  # type: ignore[arg-type]


def test_a_kind_that_says_nothing_claims_nothing(walkers: Dataset) -> None:
    report = Lines()
    silent = replace(find_kind("sasrec"), defaults_from="")
    training_defaults("baseline", walkers, None, silent, {}, report)  # type: ignore[arg-type]
    assert report.lines[0].endswith("(the defaults of sasrec)")


@pytest.mark.parametrize(
    ("dataset", "backbone", "kind", "why"),
    [
        ("ml-100k", "meta-llama/Llama-3.2-1B-Instruct", "title", "as in the paper but for targets that share a prefix"),
        ("ml-100k", "llama-3.2-1b", "llamarec", "the paper's for titles"),
        ("own", "llama-3.2-1b", "llamarec", "the paper's for titles of MovieLens-100K"),
        ("ml-100k", "/models/large", "title", "the paper's for Llama-3.2-1B"),
        ("own", "/models/large", "llamarec", "the paper's for titles of MovieLens-100K with Llama-3.2-1B"),
    ],
)
def test_settings_of_the_paper_for_something_else_are_told_as_such(
    walkers: Dataset, dataset: str, backbone: str, kind: str, why: str
) -> None:
    report = Lines()
    training_defaults(
        "finetune", replace(walkers, name=dataset), backbone, find_kind(kind), {"dtype": "bfloat16"}, report
    )  # type: ignore[arg-type]
    assert report.lines[0].endswith(f"({why})")


@pytest.mark.parametrize(
    ("name", "given", "every"),
    [
        ("sasrec", {}, 50),  # the log is small: fewer steps an epoch than lie between its measurements
        ("sasrec", {"batch_size": 1}, 108),
        ("sasrec", {"batch_size": 1, "user_targets": 1}, 50),
        ("sasrec", {"batch_size": 1, "validate_every": 3}, 3),
        ("lite-llm4rec", {}, 100),
    ],
)
def test_a_kind_measures_once_an_epoch_where_that_is_rarer(
    walkers: Dataset, name: str, given: dict[str, object], every: int
) -> None:
    config = training_defaults("baseline", walkers, None, find_kind(name), given, Lines())  # type: ignore[arg-type]
    assert config.validate_every == every


def test_patience_of_an_item_head_on_a_made_backbone_is_of_epochs_on_a_large_log(walkers: Dataset) -> None:
    def every(**given: object) -> int | None:
        return training_defaults(
            "finetune",
            walkers,
            "small",
            find_kind("item"),
            given,
            Lines(),
            made=True,  # type: ignore[arg-type]
        ).validate_every

    assert every() == 94
    assert every(batch_size=1) == walkers.num_targets("train") > 94


@pytest.mark.parametrize(
    ("name", "given", "epochs"),
    [
        ("sasrec", {}, 30 * 46),  # 108 targets are one step; ml-100k has 46 whole ones
        ("sasrec", {"batch_size": 27}, 30 * 46 // 4),
        ("sasrec", {"batch_size": 1}, 30),
        ("sasrec", {"epochs": 3}, 3),
        ("lite-llm4rec", {}, 10 * 186),
        ("title", {}, 2),  # nothing says when it has learned enough
    ],
)
def test_a_small_log_is_gone_through_for_as_many_steps_where_validation_ends_a_run(
    walkers: Dataset, name: str, given: dict[str, object], epochs: int
) -> None:
    report = Lines()
    backbone = "smollm2-135m" if name == "title" else None
    config = training_defaults("finetune", walkers, backbone, find_kind(name), given, report)  # type: ignore[arg-type]
    assert config.epochs == epochs
    assert (f"up to {epochs:,} epochs since the log is small" in report.lines[0]) == (epochs > 30)


def test_what_was_picked_is_told_of_a_run_that_is_made_and_not_of_one_that_is_used_again(home: Path) -> None:
    asked = {"data": "walkers", "max_steps": 1, "reuse": True, "home": home}
    made, again, alone = Lines(), Lines(), Lines()
    run = baseline("sasrec", report=made, **asked).run  # type: ignore[arg-type]
    assert baseline("sasrec", report=again, **asked).run == run  # type: ignore[arg-type]
    assert baseline("sasrec", report=alone, **asked | {"reuse": False}).run != run  # type: ignore[arg-type]
    assert any(line.startswith("training: ") for line in made.lines)
    assert again.lines == []
    assert alone.lines == made.lines


def test_a_log_without_validation_targets_keeps_the_usual_epochs(walkers: Dataset) -> None:
    ends = np.diff(walkers.sequences.offsets)
    whole = replace(walkers, sequences=replace(walkers.sequences, train_stop=ends, validation_stop=ends))
    config = training_defaults("baseline", whole, None, find_kind("sasrec"), {}, Lines())  # type: ignore[arg-type]
    assert (config.epochs, config.validate_every, config.patience) == (30, None, None)


def test_a_kind_that_names_no_epochs_has_the_usual_ones(walkers: Dataset) -> None:
    kind = replace(find_kind("sasrec"), training={"validate_every": 50})
    config = training_defaults("baseline", walkers, None, kind, {}, Lines())  # type: ignore[arg-type]
    # an epoch has two steps here
    assert (config.epochs, config.validate_every) == (47_749 // 64 // 2, 50)


def test_epochs_of_a_target_of_each_user_stay_and_no_default_is_out_of_range(walkers: Dataset) -> None:
    base = dict(find_kind("sasrec").training or {})
    for more, epochs in (({"user_targets": 1, "epochs": 600}, 600), ({"epochs": 5_000, "batch_size": 16}, 10_000)):
        kind = replace(find_kind("sasrec"), training=base | more)
        assert training_defaults("baseline", walkers, None, kind, {}, Lines()).epochs == epochs  # type: ignore[arg-type]
