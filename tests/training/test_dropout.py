"""Dropout and rates by layer: settings of a language model's training alone."""

from pathlib import Path

import pytest
import torch
from tiny_training import Heard, make_dataset, make_kind_config, make_kind_learner

from patchrec.config import TrainingConfig
from patchrec.model.backbone import Backbone
from patchrec.training.language_learner import LanguageLearner
from patchrec.training.loop import train


def learner_of(folder: Path, kind: str = "title", **training) -> LanguageLearner:
    config = make_kind_config(kind, TrainingConfig(batch_size=8, learning_rate=1e-2, **training))
    learner = make_kind_learner(config, make_dataset(), folder)
    learner.begin()
    return learner


def one_forest(learner):
    encoder = learner.encoder.fresh()
    forest = learner.forests(next(learner.batches.steps()), encoder)[0]
    return learner.batch(encoder, forest), forest


def losses(learner, seed=0):
    torch.manual_seed(seed)
    with torch.no_grad():
        return learner.summed_losses(*one_forest(learner))


def test_training_leaves_out_a_share_by_its_seed_and_measuring_nothing(tiny_folder):
    plain, dropping = learner_of(tiny_folder), learner_of(tiny_folder, dropout=0.3)
    dropping.backbone.train()
    assert torch.equal(losses(dropping, 1), losses(dropping, 1))
    assert not torch.equal(losses(dropping, 1), losses(dropping, 2))
    dropping.backbone.eval()
    plain.backbone.eval()
    assert torch.equal(losses(dropping), losses(plain))


def first_layer(folder, share):
    """A model's width, and what dropout makes of what went into its first layer and came out of it."""
    backbone = Backbone.load(folder, name="tiny-random", device="cpu")
    backbone.drop(share)
    backbone.train()
    (hook,) = backbone.layers[0]._forward_hooks.values()
    return int(backbone.embedding.shape[1]), lambda given, states: hook(backbone.layers[0], (given,), states)


def test_a_layer_gives_what_it_got_where_all_of_its_own_is_left_out(tiny_folder):
    """With a share near 1 hardly anything of a layer is left; what went in is there still."""
    width, dropped = first_layer(tiny_folder, 0.999999)
    given = torch.randn(5, width)
    for states in (given + 1, (given + 1, "cache")):
        found = dropped(given, states)
        assert torch.equal(found[0] if isinstance(states, tuple) else found, given)


def test_a_share_is_dropped_and_the_rest_makes_up_for_it(tiny_folder):
    width, dropped = first_layer(tiny_folder, 0.25)
    given = torch.zeros(1000, width)
    torch.manual_seed(0)
    found = dropped(given, given + 3)
    assert set(found.unique().tolist()) == {0.0, 4.0}
    assert float((found == 0).float().mean()) == pytest.approx(0.25, abs=0.01)


def test_a_killed_run_with_dropout_and_layer_decay_goes_on_with_the_same_bits(tiny_folder, tmp_path, dataset):
    training = TrainingConfig(batch_size=8, epochs=2, dropout=0.2, layer_decay=0.7, checkpoint_every=2)
    config = make_kind_config("item", training)

    class StoppedError(Exception):
        pass

    def run(folder, stop_at=None, **more):
        rows = []

        def log(row):
            rows.append((row.step, row.loss, row.learning_rate))
            if row.step == stop_at:
                raise StoppedError

        learner = make_kind_learner(config, dataset, tiny_folder)
        train(config, dataset, learner, folder=folder, log=Heard(step=log), **more)
        return rows, {name: tensor.clone() for name, tensor in learner.backbone.state_dict().items()}

    rows, weights = run(tmp_path / "whole")
    with pytest.raises(StoppedError):
        run(tmp_path / "stopped", stop_at=3)
    again, others = run(tmp_path / "stopped", resume=True)
    assert again == rows[2:]
    assert all(torch.equal(others[name], tensor) for name, tensor in weights.items())


def test_checkpointed_layers_drop_the_same_twice(tiny_folder):
    rows = []
    for checkpointing in (False, True):
        learner = learner_of(tiny_folder, dropout=0.3, gradient_checkpointing=checkpointing)
        rows.append([row.loss for row in learner.take([next(learner.batches.steps())] * 3)])
    assert rows[0] == pytest.approx(rows[1], rel=1e-6)


def test_rates_fall_layer_by_layer_to_the_embeddings(tiny_folder):
    learner = learner_of(tiny_folder, "item", layer_decay=0.5, head_learning_rate=0.2)
    backbone = learner.backbone
    rate_of = {id(own): group["lr"] for group in learner.optimizer.param_groups for own in group["params"]}
    assert len(rate_of) == sum(len(group["params"]) for group in learner.optimizer.param_groups)
    assert len(rate_of) == len(list(backbone.parameters()))
    depth = len(backbone.layers)
    for number, layer in enumerate(backbone.layers):
        assert {rate_of[id(own)] for own in layer.parameters()} == {1e-2 * 0.5 ** (depth - 1 - number)}
    assert rate_of[id(backbone.embedding)] == 1e-2 * 0.5**depth
    assert {rate_of[id(own)] for own in backbone.items.parameters()} == {0.2}
    assert rate_of[id(backbone.model.base_model.norm.weight)] == 1e-2


def test_without_decay_all_weights_of_the_model_are_one_group(tiny_folder):
    assert len(learner_of(tiny_folder).optimizer.param_groups) == 1
    assert len(learner_of(tiny_folder, "item").optimizer.param_groups) == 2


def test_adapters_have_the_rates_of_their_layers(tiny_folder):
    pytest.importorskip("peft")
    learner = learner_of(tiny_folder, layer_decay=0.5, lora_rank=2)
    rates = sorted({group["lr"] for group in learner.optimizer.param_groups})
    depth = len(learner.backbone.layers)
    assert rates == [1e-2 * 0.5**above for above in reversed(range(depth))]
