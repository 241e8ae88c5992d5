"""What a dry run says against what a run does."""

import numpy as np
import pytest
from tiny_training import STRATEGIES, make_config, make_dataset, make_learner, make_planners, train

from patchrec.config import TrainingConfig
from patchrec.model.backbone import Backbone
from patchrec.model.tokenizer import make_encoder
from patchrec.training.estimate import ModelShape, bytes_per_node, count_steps, estimate_memory

TRAINING = TrainingConfig(batch_size=8, epochs=2, learning_rate=3e-3, max_nodes=200)
SHAPE = ModelShape(layers=3, hidden=10, inner=40, queries=12, keys=4, vocabulary=1000)


def count(config, folder, dataset, limit):
    backbone = Backbone.load(folder, name="tiny-random", device="cpu")
    learner = make_learner(config, dataset, backbone, make_planners(config))
    return learner.batches, count_steps(learner, limit=limit)


@pytest.mark.parametrize("strategies", [(STRATEGIES[0], STRATEGIES[-1]), (("pft-s", {"L": 2}),)])
def test_tokens_are_those_that_training_runs(tiny_folder, tmp_path, strategies):
    config, dataset, rows = make_config(*strategies, training=TRAINING), make_dataset(), []
    backbone = Backbone.load(tiny_folder, name="tiny-random", device="cpu")
    result = train(config, dataset, backbone, make_planners(config), folder=tmp_path / "run", log=rows.append)
    batches, counted = count(config, tiny_folder, dataset, limit=1000)
    assert (counted.steps, counted.targets) == (len(rows), result.progress.targets)
    assert counted.tokens_of(batches.num_targets) == result.progress.tokens
    _, two = count(config, tiny_folder, dataset, limit=2)
    assert (two.steps, two.tokens) == (2, rows[0].tokens + rows[-1].tokens)  # the first and the last


def test_a_sample_of_steps_is_scaled_to_all_targets(tiny_folder):
    config = make_config(("vanilla", {}), ("patch-pretraining", {}), training=TRAINING, stage="pretrain")
    dataset = make_dataset(num_users=60, seed=3)
    batches, everything = count(config, tiny_folder, dataset, limit=10_000)
    _, sample = count(config, tiny_folder, dataset, limit=16)
    assert sample.steps == 16 < everything.steps == batches.num_steps
    assert sample.tokens_of(batches.num_targets) == round(sample.tokens * batches.num_targets / sample.targets)
    assert sample.tokens_of(batches.num_targets) == pytest.approx(everything.tokens, rel=0.1)


def test_a_node_keeps_what_the_formula_says():
    # hidden 10: 6 of it; queries 12: 4; keys 4: 2; inner 40: 4. 4 bytes each, three layers
    assert bytes_per_node(SHAPE, TRAINING) == 3 * 4 * (6 * 10 + 4 * 12 + 2 * 4 + 4 * 40)


def test_bfloat16_halves_all_but_the_norms():
    low = TRAINING.model_copy(update={"dtype": "bfloat16"})
    assert bytes_per_node(SHAPE, low) == 3 * (4 * 4 * 10 + 2 * (2 * 10 + 4 * 12 + 2 * 4 + 4 * 40))


def test_checkpointing_keeps_the_inputs_of_layers_and_one_layer():
    frugal = TRAINING.model_copy(update={"gradient_checkpointing": True})
    assert bytes_per_node(SHAPE, frugal) == 3 * 4 * 10 + bytes_per_node(SHAPE, TRAINING) // 3


def test_memory_adds_up():
    memory = estimate_memory(
        SHAPE, TRAINING, parameters=5000, trained=5000, nodes=100, masks=300, logits=7000, allocator=11
    )
    assert (memory.weights, memory.gradients, memory.moments) == (4 * 5000, 4 * 5000, 8 * 5000)
    assert memory.activations == 100 * bytes_per_node(SHAPE, TRAINING)
    assert memory.total == 16 * 5000 + memory.activations + 2 * 300 + 7000 + 11


def test_only_trained_weights_have_a_gradient_and_moments():
    low = TRAINING.model_copy(update={"dtype": "bfloat16"})
    memory = estimate_memory(SHAPE, low, parameters=5000, trained=100, nodes=1)
    assert (memory.weights, memory.gradients, memory.moments) == (6 * 5000, 4 * 100, 8 * 100)


def test_with_adapters_the_allocator_holds_what_activations_take_beyond_the_logits():
    adapted = TRAINING.model_copy(update={"lora_rank": 2})
    said = estimate_memory(SHAPE, adapted, parameters=5000, trained=100, nodes=100, logits=7000, allocator=11)
    assert said.allocator == 11 + said.activations - 7000
    frugal = adapted.model_copy(update={"gradient_checkpointing": True})
    said = estimate_memory(SHAPE, frugal, parameters=5000, trained=100, nodes=100, logits=7000, allocator=11)
    assert said.allocator == 11 + said.activations
    elsewhere = estimate_memory(SHAPE, adapted, parameters=5000, trained=100, nodes=100, logits=7000)  # no glibc
    assert elsewhere.allocator == 0


def test_the_shape_is_read_from_the_model(tiny_folder):
    backbone = Backbone.load(tiny_folder, name="tiny-random", device="cpu")
    shape = ModelShape.of(backbone)
    layer = backbone.model.base_model.layers[0]
    assert shape.layers == len(backbone.model.base_model.layers)
    assert (shape.hidden, shape.vocabulary) == (layer.self_attn.q_proj.in_features, backbone.vocab_size)
    assert (shape.queries, shape.keys) == (layer.self_attn.q_proj.out_features, layer.self_attn.k_proj.out_features)
    assert shape.inner == layer.mlp.up_proj.out_features


def test_the_formula_holds_for_what_autograd_really_keeps(tiny_folder):
    """Within a third for one long path, logits aside: a bound from the real graph on the arithmetic above."""
    import torch

    from patchrec.model.attention import Extension
    from patchrec.model.forest import grow

    backbone = Backbone.load(tiny_folder, name="tiny-random", device="cpu").train()
    config = make_config(("vanilla", {}), training=TRAINING)
    dataset = make_dataset()
    encoder = make_encoder(tiny_folder, dataset.catalog.titles, config.prompt, backbone.vocab_size)
    forest, _ = grow([np.arange(5, 405) % 200])
    batch = backbone.batch(encoder, [Extension(forest)])
    kept = {}
    weights = {parameter.untyped_storage().data_ptr() for parameter in backbone.parameters()}

    def remember(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor):
        hidden = backbone.hidden(batch)
    assert hidden.requires_grad
    mask = 400 * 400 * 4
    estimate = len(forest) * bytes_per_node(ModelShape.of(backbone), TRAINING)
    assert sum(kept.values()) - mask == pytest.approx(estimate, rel=1 / 3)


@pytest.mark.parametrize(("rate", "measured"), [(0.01, [20, 300]), (0.05, [20, 100]), (1.0, [20])])
def test_time_is_measured_on_a_middling_forest_or_the_largest_that_is_quick_enough(monkeypatch, rate, measured):
    """At 8 seconds at most, by the rate of the smallest: 0.05 s a node leaves 160 nodes, 1 s leaves none."""
    from types import SimpleNamespace

    from patchrec.training import estimate

    sizes = []

    def measure(learner, encoder, labelled):
        sizes.append(len(labelled.forest))
        return rate

    monkeypatch.setattr(estimate, "_measure", measure)
    forests = [(None, SimpleNamespace(forest=range(size))) for size in (400, 20, 300, 100, 500)]
    assert estimate.seconds_per_token(None, forests) == rate
    assert sizes == measured
