"""`dry_run`: what it says is what a run does, and it leaves nothing."""

from pathlib import Path

import pytest

from patchrec.errors import NotFoundError, UsageError
from patchrec.operations.training import dry_run as module
from patchrec.operations.training.dry_run import DryRun, dry_run
from patchrec.operations.training.train import finetune, pretrain
from patchrec.store import Store

TINY = {"data": "walkers", "backbone": "tiny-random", "batch_size": 20}


def contents(home: Path) -> tuple[list[tuple], list[str]]:
    """Rows that a run would add, and all files of the store but those of backbones and of SQLite."""
    with Store.open(home) as store:
        tables = ("runs", "losses", "checkpoints", "settings")
        rows = [row for table in tables for row in store.rows(f"SELECT * FROM {table}")]
    return rows, sorted(str(path) for path in home.rglob("*") if not {"backbones"} & set(path.parts) and path.is_dir())


def test_tokens_steps_and_targets_are_those_of_the_run(home: Path) -> None:
    said = dry_run("finetune", strategy="pft-s", options={"L": 3}, **TINY, epochs=2, home=home)
    done = finetune(strategy="pft-s", options={"L": 3}, **TINY, epochs=2, home=home)
    assert said.counted_steps == said.steps
    assert (said.steps, said.targets, said.tokens) == (done.steps, done.targets, done.tokens)
    with Store.open(home) as store:
        run = store.runs.get(done.run)
        assert said.config == run.config.model_dump(mode="json")
        assert said.label == run.label


def test_pre_training_counts_both_layouts(home: Path) -> None:
    said = dry_run("pretrain", **TINY, home=home)
    assert said.label == "patch-pretraining"
    assert said.tokens == pretrain(**TINY, home=home).tokens


def test_nothing_is_stored(home: Path) -> None:
    before = contents(home)
    dry_run("pretrain", **TINY, home=home)
    dry_run("finetune", strategy="vanilla", **TINY, home=home)
    assert contents(home) == before


def test_memory_and_time_are_told(home: Path) -> None:
    said = dry_run("finetune", strategy="vanilla", **TINY, home=home)
    assert said.seconds is not None
    assert said.seconds > 0
    assert said.trained_parameters == said.parameters
    parts = {"weights", "gradients", "moments", "activations", "masks", "logits", "allocator"}
    assert parts | {"total"} == said.memory.keys()
    assert said.memory["total"] == sum(said.memory.values()) - said.memory["total"]
    width = 6 if said.config["training"]["dtype"] == "bfloat16" else 4
    assert said.memory["weights"] == width * said.parameters
    frugal = dry_run("finetune", strategy="vanilla", **TINY, gradient_checkpointing=True, home=home)
    assert frugal.memory["activations"] < said.memory["activations"]


def test_adapters_and_gradient_checkpointing_add_up(home: Path) -> None:
    def said(**settings: object) -> DryRun:
        return dry_run("finetune", strategy="vanilla", **TINY, dtype="float32", home=home, **settings)

    both, adapters, frugal = (
        said(lora_rank=2, gradient_checkpointing=True), said(lora_rank=2), said(gradient_checkpointing=True),
    )  # fmt: skip
    assert both.seconds is not None
    assert both.trained_parameters == adapters.trained_parameters < both.parameters == adapters.parameters
    assert both.memory["activations"] == frugal.memory["activations"] < adapters.memory["activations"]
    assert both.memory["moments"] == adapters.memory["moments"] == 8 * both.trained_parameters
    assert both.tokens == frugal.tokens


def test_fewer_nodes_of_a_pass_take_less_memory(home: Path) -> None:
    few, many = (dry_run("pretrain", **TINY, max_nodes=nodes, home=home) for nodes in (16, 10_000))
    assert few.memory["activations"] < many.memory["activations"]
    assert few.config["training"]["max_nodes"] == 16


def test_a_pre_training_has_options_too(home: Path) -> None:
    said = [dry_run("pretrain", options=options, **TINY, home=home) for options in ({"schedule": "none"}, None)]
    assert [each.label for each in said] == ["patch-pretraining schedule=none", "patch-pretraining"]
    with pytest.raises(UsageError, match="--schedule"):
        dry_run("pretrain", options={"schedule": "sometimes"}, **TINY, home=home)


def test_what_does_not_fit_is_not_tried(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "free_memory", lambda device: 1000)
    monkeypatch.setattr(module, "seconds_per_token", lambda *_: pytest.fail("tried"))
    assert dry_run("finetune", strategy="vanilla", **TINY, home=home).seconds is None


def test_validation_is_in_the_bill(home: Path) -> None:
    said = dry_run("finetune", strategy="vanilla", **TINY, validate_every=2, validation_targets=5, home=home)
    assert said.validations == -(-said.steps // 2)
    assert 0 < said.validation_tokens < said.tokens


def test_slips_are_told_as_by_the_run_itself(home: Path) -> None:
    with pytest.raises(NotFoundError, match="no data set 'walker'"):
        dry_run("pretrain", data="walker", home=home)
    with pytest.raises(UsageError, match="which strategy"):
        dry_run("finetune", **TINY, home=home)
    with pytest.raises(TypeError, match="no such setting of a run: epoch"):
        dry_run("pretrain", **TINY, epoch=3, home=home)


def test_a_loss_of_its_own_is_in_the_label(home: Path) -> None:
    own = {"strategy": "pft-s", "options": {"L": 3}, **TINY, "home": home}
    assert dry_run("finetune", **own).label == "pft-s L=3"
    assert dry_run("finetune", head_options={"loss": "catalog"}, **own).label == "pft-s L=3, title loss=catalog"
