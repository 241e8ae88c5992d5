"""Gradient checkpointing keeps less for the backward pass and changes no number."""

import pytest
import torch
from tiny_training import make_config, make_dataset, make_learner, make_planners

from patchrec.config import TrainingConfig
from patchrec.errors import UsageError
from patchrec.model.backbone import Backbone

CONFIG = make_config(
    ("vanilla", {}), ("pft-s", {"L": 2}), training=TrainingConfig(batch_size=8, max_nodes=100), stage="pretrain"
)


def learner_of(folder, **training):
    config = CONFIG.model_copy(update={"training": CONFIG.training.model_copy(update=training)})
    backbone = Backbone.load(folder, name="tiny-random", device="cpu")
    learner = make_learner(config, make_dataset(), backbone, make_planners(config))
    learner.begin()
    return learner, next(learner.batches.steps())


def loss_and_gradients(folder, **training):
    learner, step = learner_of(folder, **training)
    encoder = learner.encoder.fresh()
    forests = learner.forests(step, encoder)
    assert len(forests) > 1
    learner.backbone.train()
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.nbytes) or tensor, lambda it: it):
        losses = [learner.summed_losses(learner.batch(encoder, labelled), labelled)[0] for labelled in forests]
    for loss in losses:
        loss.backward()
    gradients = {name: parameter.grad for name, parameter in learner.backbone.named_parameters()}
    return torch.stack(losses).detach(), gradients, sum(kept)


def test_loss_and_gradients_are_the_same_and_less_is_kept(tiny_folder):
    loss, gradients, kept = loss_and_gradients(tiny_folder)
    again, recomputed, fewer = loss_and_gradients(tiny_folder, gradient_checkpointing=True)
    torch.testing.assert_close(again, loss, rtol=1e-6, atol=1e-6)
    for name in gradients:
        torch.testing.assert_close(recomputed[name], gradients[name], rtol=1e-6, atol=1e-6)
    assert fewer < 0.7 * kept


def test_steps_are_the_same(tiny_folder):
    rows = []
    for checkpointing in (False, True):
        learner, step = learner_of(tiny_folder, gradient_checkpointing=checkpointing)
        rows.append([row.loss for row in learner.take([step] * 3)])
    assert rows[0] == pytest.approx(rows[1], rel=1e-6)


def test_measuring_without_gradients_works_too(tiny_folder):
    learner, step = learner_of(tiny_folder, gradient_checkpointing=True)
    encoder = learner.encoder.fresh()
    forests = learner.forests(step, encoder)
    measured = learner.measure_forests(encoder, forests)
    assert measured == pytest.approx(next(learner.take([step])).loss, rel=1e-5)


def test_a_model_that_cannot_is_refused(tiny_folder, monkeypatch):
    from transformers import LlamaForCausalLM

    monkeypatch.setattr(LlamaForCausalLM, "supports_gradient_checkpointing", False)
    with pytest.raises(UsageError, match=r"tiny-random has no gradient checkpointing .* drop that setting"):
        learner_of(tiny_folder, gradient_checkpointing=True)
