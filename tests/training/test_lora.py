"""LoRA: adapters learn, weights stay, and what is saved is a plain model with the adapters merged."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_training import make_config, make_dataset, make_learner, make_planners, model_of, run_training, train

from patchrec.config import TrainingConfig
from patchrec.errors import PatchrecError, UsageError
from patchrec.model.attention import Extension
from patchrec.model.backbone import Backbone
from patchrec.model.forest import grow
from patchrec.model.lora import ALPHA, adapter_weights, add_adapters, merged_weights
from patchrec.model.tokenizer import make_encoder
from patchrec.training.language_learner import LanguageLearner
from patchrec.training.learner import Measured

pytest.importorskip("peft", reason="LoRA is the extra patchrec[peft]")

RANK = 4
TRAINING = TrainingConfig(batch_size=8, epochs=2, learning_rate=1e-2, checkpoint_every=2, lora_rank=RANK)
CONFIG = make_config(("vanilla", {}), ("pft-s", {"L": 2}), training=TRAINING)
LAYERS = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


def learn_steps(backbone, num_steps):
    """Losses of the first steps of a run."""
    learner = make_learner(CONFIG, make_dataset(), backbone, make_planners(CONFIG))
    learner.begin()
    return [row.loss for row in learner.take(list(learner.batches.steps())[:num_steps])]


def logits(backbone):
    """(n, V) of one title's path through the forest code that ranking uses."""
    dataset = make_dataset()
    encoder = make_encoder(backbone.folder, dataset.catalog.titles, CONFIG.prompt, backbone.vocab_size)
    forest, _ = grow([encoder.answer_path(0)])
    with torch.no_grad():
        return backbone.logits(backbone.hidden(backbone.batch(encoder, [Extension(forest)])))


def test_new_adapters_change_nothing(tiny, tiny_folder):
    before = logits(tiny)
    add_adapters(tiny, RANK, seed=0)
    assert torch.equal(logits(tiny), before)


def test_adapters_stand_on_every_attention_and_mlp_layer_and_nowhere_else(tiny):
    add_adapters(tiny, RANK, seed=0)
    trained = {name for name, parameter in tiny.named_parameters() if parameter.requires_grad}
    layers = {name.split(".")[-4] for name in trained}
    assert layers == LAYERS
    assert len(trained) == 2 * len(LAYERS) * tiny.model.config.num_hidden_layers
    assert all(".lora_" in name for name in trained)


def test_the_seed_fixes_the_adapters_and_no_other_random_number_moves(tiny_folder):
    def drawn(seed):
        backbone = Backbone.load(tiny_folder, name="tiny-random", device="cpu")
        torch.manual_seed(7)
        add_adapters(backbone, RANK, seed)
        return adapter_weights(backbone), float(torch.rand(()))

    (first, after), (second, again), (other, _) = drawn(1), drawn(1), drawn(2)
    assert after == again
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_steps_move_the_adapters_alone_and_lower_the_loss(tiny):
    before = {name: tensor.clone() for name, tensor in tiny.model.state_dict().items()}
    losses = learn_steps(tiny, 6)
    now = {name.replace(".base_layer.", "."): tensor for name, tensor in tiny.model.state_dict().items()}
    assert all(torch.equal(now[name], before[name]) for name in before)
    assert losses[-1] < losses[0]


def test_merged_weights_are_w_plus_scaled_b_a(tiny):
    learn_steps(tiny, 2)
    merged, adapters = merged_weights(tiny), adapter_weights(tiny)
    name = "model.layers.1.mlp.up_proj"
    weight = tiny.model.state_dict()[f"{name}.base_layer.weight"]
    a, b = (adapters[f"{name}.lora_{side}.default.weight"] for side in "AB")
    assert torch.allclose(merged[f"{name}.weight"], weight + ALPHA / RANK * b @ a, atol=1e-6)
    assert not any("lora" in key or "base_layer" in key for key in merged)


def test_the_saved_model_is_a_plain_one_that_computes_the_same(tiny, tiny_folder, tmp_path):
    result = train(CONFIG, make_dataset(), tiny, make_planners(CONFIG), folder=tmp_path / "run")
    saved = Backbone.load(model_of(result), name="tiny-random", device="cpu")
    plain = Backbone.load(tiny_folder, name="tiny-random", device="cpu")
    assert saved.model.state_dict().keys() == plain.model.state_dict().keys()
    assert torch.allclose(logits(saved), logits(tiny), atol=1e-4)
    assert not torch.allclose(logits(saved), logits(plain), atol=1e-2)


def test_checkpoints_hold_the_adapters_and_only_their_optimizer_state(tiny, tmp_path):
    def fail_late(row):
        if row.step == 3:
            raise PatchrecError("stop here")

    with pytest.raises(PatchrecError):
        train(CONFIG, make_dataset(), tiny, make_planners(CONFIG), folder=tmp_path / "run", log=fail_late)
    (checkpoint,) = (tmp_path / "run").glob("step-*")
    adapters = load_file(checkpoint / "adapters.safetensors")
    assert {name.rpartition("/")[0] for name in load_file(checkpoint / "optimizer.safetensors")} == set(adapters)
    assert Backbone.load(checkpoint / "model", name="tiny-random", device="cpu")


def broken_then_resumed(tiny_folder: Path, work: Path, at: int) -> tuple[bytes, list[str]]:
    """Stop a training while it logs step `at`, go on, and give the final weights and the distinct loss rows."""
    work.mkdir()

    def stop(row):
        if row.step == at:
            raise PatchrecError("stop here")

    backbone = Backbone.load(tiny_folder, name="tiny-random", device="cpu")
    with pytest.raises(PatchrecError):
        train(CONFIG, make_dataset(), backbone, make_planners(CONFIG), folder=work / "run", log=stop)
    result = run_training(CONFIG, tiny_folder, work / "run", work / "losses.jsonl", resume=True)
    return (model_of(result) / "model.safetensors").read_bytes(), (work / "losses.jsonl").read_text().splitlines()


@pytest.mark.parametrize("at", [2, 3, 5])
def test_a_broken_run_resumes_bitwise_equal(tiny_folder, tmp_path, at):
    whole = run_training(CONFIG, tiny_folder, tmp_path / "run", tmp_path / "losses.jsonl", resume=False)
    rows = (tmp_path / "losses.jsonl").read_text().splitlines()
    weights, resumed = broken_then_resumed(tiny_folder, tmp_path / "again", at)
    assert weights == (model_of(whole) / "model.safetensors").read_bytes()
    assert resumed == rows[-len(resumed) :]


def test_a_run_that_had_ended_gives_its_model_again(tiny_folder, tmp_path):
    first = run_training(CONFIG, tiny_folder, tmp_path / "run", tmp_path / "losses.jsonl", resume=False)
    again = run_training(CONFIG, tiny_folder, tmp_path / "run", tmp_path / "losses.jsonl", resume=True)
    assert (model_of(again), again.progress) == (model_of(first), first.progress)


def test_adapters_are_refused_over_other_weights(tiny_folder, tmp_path):
    def stop(row):
        if row.step == 3:
            raise PatchrecError("stop here")

    folder = tmp_path / "run"
    backbone = Backbone.load(tiny_folder, name="tiny-random", device="cpu")
    with pytest.raises(PatchrecError):
        train(CONFIG, make_dataset(), backbone, make_planners(CONFIG), folder=folder, log=stop)
    other = Backbone.load(tiny_folder, name="tiny-random", device="cpu")
    with torch.no_grad():
        other.model.get_input_embeddings().weight[5] += 0.01
    with pytest.raises(UsageError, match="not those that the run began with"):
        train(CONFIG, make_dataset(), other, make_planners(CONFIG), folder=folder, resume=True)


def test_a_checkpoint_says_which_peft_made_it(tiny_folder, tmp_path):
    import peft

    result = run_training(CONFIG, tiny_folder, tmp_path / "run", tmp_path / "losses.jsonl", resume=False)
    record = json.loads((result.checkpoint.path / "training.json").read_text())
    assert record["identity"]["versions"]["peft"] == peft.__version__


def test_the_best_adapters_by_validation_are_those_merged_at_the_end(tiny, tmp_path, monkeypatch):
    """Every validation here is worse than the one before, so the first step's weights are the best."""
    monkeypatch.setattr(LanguageLearner, "measure", lambda self: Measured(float(next(losses)), 1, 1))
    losses = iter(range(100))
    training = TRAINING.model_copy(update={"validate_every": 1, "checkpoint_every": None})
    config = CONFIG.model_copy(update={"training": training})
    dataset, kept = make_dataset(), {}

    def keep(checkpoint):
        kept[checkpoint.step] = load_file(checkpoint.path / "model" / "model.safetensors")

    result = train(
        config,
        dataset,
        tiny,
        make_planners(config),
        folder=tmp_path / "run",
        validation=dataset.examples("validation", config.history.K),
        saved=keep,
    )
    final = load_file(model_of(result) / "model.safetensors")
    assert result.progress.step > 2
    assert all(torch.equal(final[name], tensor) for name, tensor in kept[1].items())
