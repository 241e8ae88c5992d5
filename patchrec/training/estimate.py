"""What a run costs, before it begins: tokens counted on some of its steps, memory by formula, time measured briefly.

Shapes: N nodes of a forest, n nodes with logits, V vocabulary.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from patchrec.config import TrainingConfig
from patchrec.model.attention import mask_bytes
from patchrec.model.backbone import Backbone
from patchrec.model.loss import Labels, nodes_of_a_chunk
from patchrec.model.patching import PathEncoder
from patchrec.model.shape import head_size
from patchrec.training.objective import LabelledForest

if TYPE_CHECKING:
    from patchrec.training.language_learner import LanguageLearner

COUNTED_STEPS = 16
LONGEST_MEASUREMENT = 8.0  # seconds that one measured forest may take
ALLOCATOR = 150_000_000
"""Bytes that glibc's allocator holds beside what is used, over steps of unequal forests: 110 to 180 million on each of
six shapes, whatever their size."""
COMPILED = 50_000_000
"""Bytes of the products that a CPU keeps compiled in bfloat16, of as many shapes as `patchrec` lets it keep."""
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
    """Bytes that training holds at its peak, by what for. Python and its libraries come on top (about 0.5 GB).

    Attributes:
        masks: Of the largest forest, and of the one that is compiled beside it.
        logits: With the gradients of heads that are held beside them.
        allocator: What is held and not used, and products that are compiled. With adapters as much as activations take
            beyond the logits: what adapters keep of each product is small, lands where a large block was freed, and
            leaves it too short for the next.
    """

    weights: int
    gradients: int
    moments: int
    activations: int
    masks: int
    logits: int
    allocator: int

    @property
    def total(self) -> int:
        """All of it."""
        of_the_model = self.weights + self.gradients + self.moments
        return of_the_model + self.activations + self.masks + self.logits + self.allocator


def count_steps(learner: "LanguageLearner", *, limit: int = COUNTED_STEPS) -> CountedSteps:
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


def logits_bytes(labelled: LabelledForest, backbone: Backbone) -> int:
    """What the heads of a forest hold at their peak: logits and log-probabilities of a chunk, gradients of the heads.

    A head of choices alone is taken out of the whole one, and its gradient is spread to the whole one's size.
    """
    hidden, device = int(backbone.embedding.shape[1]), backbone.device.type
    head = backbone.model.get_output_embeddings().weight
    chunk = held = 0
    if labelled.titles is not None:
        classes = len(head)
        if labelled.titles.choices is not None:
            classes = len(np.unique(labelled.titles.choices.classes))
            held += 2 * classes * hidden * _FLOAT32
        held += len(head) * hidden * _FLOAT32 * int(head.requires_grad)
        chunk = _chunk_bytes(labelled.titles, classes, device)
    if labelled.items is not None and backbone.items is not None:
        items = backbone.items.num_items
        held += (4 if backbone.items.reads_patches else 1) * items * hidden * _FLOAT32
        chunk = max(chunk, _chunk_bytes(labelled.items, items, device))
    return chunk + held


def _chunk_bytes(labels: Labels, classes: int, device: str) -> int:
    return 2 * min(len(labels.nodes), nodes_of_a_chunk(classes, device)) * classes * _FLOAT32


def memory_of(learner: "LanguageLearner", forests: Sequence[LabelledForest]) -> Memory:
    """Memory of training at the forests of some steps."""
    backbone = learner.backbone
    return estimate_memory(
        ModelShape.of(backbone),
        learner.training,
        parameters=sum(parameter.numel() for parameter in backbone.parameters()),
        trained=sum(parameter.numel() for parameter in learner.parameters),
        nodes=max(len(labelled.forest) for labelled in forests),
        masks=max(mask_bytes(labelled.forest, backbone.device) for labelled in forests),
        logits=max(logits_bytes(labelled, backbone) for labelled in forests),
        allocator=_beside(learner.training) if backbone.device.type == "cpu" else 0,
    )


def _beside(training: TrainingConfig) -> int:
    """What a CPU holds beside tensors where all weights learn."""
    return ALLOCATOR + (COMPILED if training.dtype == "bfloat16" else 0)


def estimate_memory(
    shape: ModelShape,
    training: TrainingConfig,
    *,
    parameters: int,
    trained: int,
    nodes: int,
    masks: int = 0,
    logits: int = 0,
    allocator: int = 0,
) -> Memory:
    """Memory of training.

    Args:
        shape: Of the model.
        training: Its number format, and whether layers are checkpointed.
        parameters: Weights in all.
        trained: Those that training updates; they alone have a gradient and AdamW's two moments.
        nodes: N of the largest forest.
        masks: Bytes of one forest's at most. logits: What the heads hold. allocator: What it holds beside where all
            weights learn.
    """
    activations = nodes * bytes_per_node(shape, training)
    torn = 0
    if allocator and training.lora_rank is not None:  # checkpointed layers run again once the logits are gone
        torn = activations if training.gradient_checkpointing else max(0, activations - logits)
    cast = _BFLOAT16 if training.dtype == "bfloat16" else 0  # the backward pass needs the weights as they were used
    return Memory(
        weights=parameters * (_FLOAT32 + cast),
        gradients=trained * _FLOAT32,
        moments=trained * 2 * _FLOAT32,
        activations=activations,
        masks=2 * masks,
        logits=logits,
        allocator=allocator + torn,
    )


def seconds_per_token(learner: "LanguageLearner", forests: Sequence[tuple[PathEncoder, LabelledForest]]) -> float:
    """Time of forward and backward pass for each node, measured on one forest.

    The smallest runs first: it warms up, and its rate says how large a forest can be measured. That rate is too slow a
    guess for larger ones, since a pass has a price of its own.
    """
    ordered = sorted(forests, key=lambda pair: len(pair[1].forest))
    rate = _measure(learner, *ordered[0])
    half = ordered[: len(ordered) // 2 + 1]
    fitting = [pair for pair in half if rate * len(pair[1].forest) <= LONGEST_MEASUREMENT]
    return _measure(learner, *fitting[-1]) if fitting else rate


def _measure(learner: "LanguageLearner", encoder: PathEncoder, labelled: LabelledForest) -> float:
    learner.backbone.train()
    batch = learner.batch(encoder, labelled)
    begun = time.perf_counter()
    total = sum(labels.total for labels in (labelled.titles, labelled.items) if labels is not None)
    loss = learner.summed_losses(batch, labelled).sum() / total
    loss.backward()  # type: ignore[no-untyped-call]
    float(loss.detach())  # waits for a GPU
    learner.optimizer.zero_grad(set_to_none=True)
    return (time.perf_counter() - begun) / len(labelled.forest)
