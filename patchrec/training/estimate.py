"""What a run costs, before it begins: tokens counted on some of its steps, memory by formula, time measured briefly.

Shapes: N nodes of a forest, n nodes with logits, V vocabulary.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from patchrec.config import TrainingConfig
from patchrec.model.backbone import Backbone
from patchrec.model.patching import PathEncoder
from patchrec.model.shape import head_size
from patchrec.training.language_learner import LanguageLearner
from patchrec.training.objective import LabelledForest

COUNTED_STEPS = 16
LONGEST_MEASUREMENT = 8.0  # seconds that one measured forest may take
_FLOAT32, _BFLOAT16 = 4, 2


@dataclass(frozen=True, slots=True, eq=False)
class CountedSteps:
    """Steps of a run, planned and grown as training would.

    Attributes:
        steps, targets, tokens: Of these steps.
        seconds: Time that planning and growing them took.
        forests: Theirs, each with the encoder that made its keys.
    """

    steps: int
    targets: int
    tokens: int
    seconds: float
    forests: list[tuple[PathEncoder, LabelledForest]]

    def tokens_of(self, targets: int) -> int:
        """Tokens of so many targets at the same rate: exact where these steps are all of the run's."""
        return round(self.tokens * targets / self.targets)


@dataclass(frozen=True, slots=True)
class ModelShape:
    """The sizes of a transformer that memory depends on.

    Attributes:
        layers: How many.
        hidden: Width of the states between layers.
        inner: Width inside the feed-forward part.
        queries, keys: Widths of all query heads together, and of all key heads.
        vocabulary: Rows of the embeddings.
    """

    layers: int
    hidden: int
    inner: int
    queries: int
    keys: int
    vocabulary: int

    @classmethod
    def of(cls, backbone: Backbone) -> "ModelShape":
        """Read them from a model's configuration."""
        config = backbone.model.config.get_text_config()
        heads = config.num_attention_heads
        return cls(
            layers=config.num_hidden_layers,
            hidden=config.hidden_size,
            inner=getattr(config, "intermediate_size", None) or 4 * config.hidden_size,
            queries=heads * head_size(config),
            keys=(getattr(config, "num_key_value_heads", None) or heads) * head_size(config),
            vocabulary=backbone.vocab_size,
        )


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes that training holds at its peak, by what for. Python and its libraries come on top (about 0.5 GB)."""

    weights: int
    gradients: int
    moments: int
    activations: int
    logits: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.gradients + self.moments + self.activations + self.logits


def count_steps(learner: LanguageLearner, *, limit: int = COUNTED_STEPS) -> CountedSteps:
    """Count the tokens of evenly spaced steps, the first and the last among them; of all where there are few."""
    batches = learner.batches
    last = batches.num_steps - 1
    chosen = {round(number) for number in np.linspace(0, last, min(limit, batches.num_steps)).tolist()}
    forests: list[tuple[PathEncoder, LabelledForest]] = []
    targets, begun = 0, time.perf_counter()
    for step in batches.steps():
        if step.number in chosen:
            own = learner.encoder.fresh()
            forests += [(own, labelled) for labelled in learner.forests(step, own)]
            targets += step.num_targets
    tokens = sum(len(labelled.forest) for _, labelled in forests)
    return CountedSteps(len(chosen), targets, tokens, time.perf_counter() - begun, forests)


def bytes_per_node(shape: ModelShape, training: TrainingConfig) -> int:
    """Activations that the backward pass needs, for each node of a forest.

    A layer keeps the input, the normalised states and the output of both norms (6 hidden), queries, attended values,
    the same joined and as the output projection's input (4 queries), keys and values (2 keys), and gate, its
    activation, the other factor and their product (4 inner). Norms compute in float32 whatever the rest does, of which
    the output alone is cast. With gradient checkpointing each layer keeps its input, and one layer at a time the rest.
    """
    width = _BFLOAT16 if training.dtype == "bfloat16" else _FLOAT32
    layer = 4 * shape.hidden * _FLOAT32
    layer += (2 * shape.hidden + 4 * shape.queries + 2 * shape.keys + 4 * shape.inner) * width
    if training.gradient_checkpointing:
        return shape.layers * shape.hidden * _FLOAT32 + layer
    return shape.layers * layer


def estimate_memory(
    shape: ModelShape, training: TrainingConfig, *, parameters: int, trained: int, nodes: int, labelled: int
) -> Memory:
    """Memory of training.

    Args:
        shape: Of the model.
        training: Its number format, and whether layers are checkpointed.
        parameters: Weights in all.
        trained: Those that training updates; they alone have a gradient and AdamW's two moments.
        nodes: N of the largest forest.
        labelled: n, of how many nodes there are logits at once.
    """
    cast = _BFLOAT16 if training.dtype == "bfloat16" else 0  # the backward pass needs the weights as they were used
    return Memory(
        weights=parameters * (_FLOAT32 + cast),
        gradients=trained * _FLOAT32,
        moments=trained * 2 * _FLOAT32,
        activations=nodes * bytes_per_node(shape, training),
        # logits and their log-probabilities; the head's gradient, before it joins that of the embeddings
        logits=(2 * labelled + (shape.hidden if trained == parameters else 0)) * shape.vocabulary * _FLOAT32,
    )


def seconds_per_token(learner: LanguageLearner, forests: Sequence[tuple[PathEncoder, LabelledForest]]) -> float:
    """Time of forward and backward pass for each node, measured on one forest.

    The smallest runs first: it warms up, and its rate says how large a forest can be measured. That rate is too slow a
    guess for larger ones, since a pass has a price of its own.
    """
    ordered = sorted(forests, key=lambda pair: len(pair[1].forest))
    rate = _measure(learner, *ordered[0])
    half = ordered[: len(ordered) // 2 + 1]
    fitting = [pair for pair in half if rate * len(pair[1].forest) <= LONGEST_MEASUREMENT]
    return _measure(learner, *fitting[-1]) if fitting else rate


def _measure(learner: LanguageLearner, encoder: PathEncoder, labelled: LabelledForest) -> float:
    learner.backbone.train()
    batch = learner.batch(encoder, labelled)
    begun = time.perf_counter()
    total = sum(labels.total for labels in (labelled.titles, labelled.items) if labels is not None)
    loss = learner.summed_losses(batch, labelled).sum() / total
    loss.backward()  # type: ignore[no-untyped-call]
    float(loss.detach())  # waits for a GPU
    learner.optimizer.zero_grad(set_to_none=True)
    return (time.perf_counter() - begun) / len(labelled.forest)
