"""One optimizer step against AdamW written out by hand.

Source: Loshchilov and Hutter, Decoupled Weight Decay Regularization (2019), algorithm 2, with torch's defaults:
decay rates 0.9 and 0.999, epsilon 1e-8, the decay scaled by the learning rate.
"""

import pytest
import torch
from tiny_training import make_config, make_dataset, make_learner, make_planners

from patchrec.config import TrainingConfig
from patchrec.model.attention import Extension
from patchrec.model.backbone import Backbone
from patchrec.training.objective import label_step
from patchrec.training.schedule import learning_rate_factor


class Setting:
    """A learner of the tiny backbone and the steps it is to take."""

    def __init__(self, tiny_folder, training):
        self.config = make_config(("vanilla", {}), ("pft-s", {"L": 2}), training=training)
        self.dataset = make_dataset()
        self.backbone = Backbone.load(tiny_folder, name="tiny-random", device="cpu")
        self.planners = make_planners(self.config)
        self.learner = make_learner(self.config, self.dataset, self.backbone, self.planners)
        self.learner.begin()
        self.encoder = self.learner.encoder
        self.steps, self.num_steps = list(self.learner.batches.steps()), self.learner.num_steps

    def weights(self):
        return [parameter.detach().clone() for parameter in self.backbone.parameters()]


def slow_adamw(setting, training, num_steps):
    """Take steps on a fresh backbone with loops over parameters; one forest for a whole step."""
    backbone = setting.backbone
    parameters = list(backbone.parameters())
    first = [torch.zeros_like(parameter, dtype=torch.float64) for parameter in parameters]
    second = [torch.zeros_like(parameter, dtype=torch.float64) for parameter in parameters]
    losses = []
    for step in setting.steps[:num_steps]:
        (labelled,) = label_step(step, setting.dataset, setting.encoder, setting.planners, seed=0, max_nodes=10**6)
        batch = backbone.batch(setting.encoder, [Extension(labelled.forest)])
        loss = backbone(batch, labelled.titles)[0] / labelled.titles.total
        gradients = [gradient.double() for gradient in torch.autograd.grad(loss, parameters)]
        losses.append(loss.item())
        norm = torch.stack([gradient.norm() for gradient in gradients]).norm()
        scale = min(1.0, training.clip_norm / float(norm))
        rate = training.learning_rate * learning_rate_factor(step.number, setting.num_steps, training.warmup)
        count = step.number + 1
        with torch.no_grad():
            for index, parameter in enumerate(parameters):
                gradient = gradients[index] * scale
                first[index] = 0.9 * first[index] + 0.1 * gradient
                second[index] = 0.999 * second[index] + 0.001 * gradient**2
                mean, variance = first[index] / (1 - 0.9**count), second[index] / (1 - 0.999**count)
                decayed = parameter.double() * (1 - rate * training.weight_decay)
                parameter.copy_(decayed - rate * mean / (variance.sqrt() + 1e-8))
    return losses


@pytest.mark.parametrize("max_nodes", [10**6, 60], ids=["one forest", "many forests"])
@pytest.mark.parametrize(("clip_norm", "weight_decay"), [(100.0, 0.0), (0.5, 0.3)])
def test_steps_are_clipped_adamw_on_the_mean_loss_per_supervised_token(tiny_folder, max_nodes, clip_norm, weight_decay):
    training = TrainingConfig(
        batch_size=8, learning_rate=1e-3, max_nodes=max_nodes, clip_norm=clip_norm, weight_decay=weight_decay
    )
    setting, slow = Setting(tiny_folder, training), Setting(tiny_folder, training)
    start = setting.weights()
    losses = [row.loss for row in setting.learner.take(setting.steps[:3])]

    assert losses == pytest.approx(slow_adamw(slow, training, 3), rel=1e-5)
    moved = torch.cat([(now - then).flatten() for now, then in zip(setting.weights(), start, strict=True)])
    wanted = torch.cat([(now - then).flatten() for now, then in zip(slow.weights(), start, strict=True)])
    assert float((moved - wanted).norm() / wanted.norm()) < 1e-3


def test_a_step_remembers_no_sessions_of_the_step_before(tiny_folder):
    """Session patches are numbered per step; a long run would otherwise keep every session it ever saw."""
    setting = Setting(tiny_folder, TrainingConfig(batch_size=8))
    next(setting.learner.take(setting.steps[:1]))
    first_session = setting.encoder.vocab_size + len(setting.encoder.titles)
    with pytest.raises(IndexError):
        setting.encoder.items_of(first_session)
