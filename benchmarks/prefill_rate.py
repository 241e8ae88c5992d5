"""Section `prefill`: how near running a batch of prompts comes to the rate at which the machine multiplies matrices.

Counted are the products that a prefill has to do: those of the linear layers, and those of attention for the pairs of
positions that it really computes. All else that it does (embeddings, norms, activations, softmax) counts as time lost.
The machine's rate is what torch reaches on the same linear layers alone, with as many positions and outputs that are
there already.
"""

from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

import torch
from torch import nn

from benchmarks.machine import in_turn
from benchmarks.prompts import KINDS, Bench, tell
from benchmarks.tables import Column, Section, Target
from patchrec.model.attention import Extension, Visibility
from patchrec.model.backbone import Backbone
from patchrec.model.forest import grow
from patchrec.model.shape import head_size
from patchrec.recommender import Query

SHARE = 0.8
COLUMNS = (
    Column("prompts", "kind"),
    Column("positions", "positions", ",.0f"),
    Column("linear GF", "linear_gflop", ",.1f"),
    Column("attn GF", "attention_gflop", ",.1f"),
    Column("s", "prefill_seconds", ",.3f"),
    Column("GF/s", "rate", ",.1f"),
    Column("alone GF/s", "machine_rate", ",.1f"),
    Column("share", "share", ".0%"),
)


def prefill(bench: Bench) -> Iterator[Section]:
    """The longest batch of each kind of prompt, without a shared head."""
    rows = []
    for kind in KINDS:
        tell(f"  {kind}")
        rows.append({"kind": kind, **_measure(bench, bench.batches(kind)[0])})
    targets = [
        Target(f"{row['kind']}: share of the products' rate", SHARE, row["share"], at_most=False) for row in rows
    ]
    title = f"Prefill against the matrix products of its shapes (batch {bench.settings.batch})"
    note = "Alone: the linear layers' products and nothing else, on positions and outputs that are in memory already."
    yield Section(title, COLUMNS, rows, targets, (note,))


@torch.no_grad()
def _measure(bench: Bench, queries: Sequence[Query]) -> dict[str, Any]:
    encoder, backbone = bench.scorer.encoder.fresh(), bench.scorer.backbone
    forests = [grow([encoder.prompt_path(query.history, query.history.layout)])[0] for query in queries]
    extensions = [Extension(forest) for forest in forests]
    positions = sum(map(len, forests))
    linear = linear_flops(backbone, positions)
    attention = attention_flops(backbone, Visibility.of(extensions, backbone.device))
    products = Products(backbone, positions)
    seconds = in_turn(
        {"prefill": lambda: backbone.extend(encoder, extensions), "products": products.run}, bench.settings.repeats
    )
    pairs = zip(seconds["prefill"], seconds["products"], strict=True)
    return {
        "positions": positions,
        "linear_gflop": linear / 1e9,
        "attention_gflop": attention / 1e9,
        "prefill_seconds": median(seconds["prefill"]),
        "rate": (linear + attention) / median(seconds["prefill"]) / 1e9,
        "machine_rate": linear / median(seconds["products"]) / 1e9,
        "share": median(((linear + attention) / own) / (linear / alone) for own, alone in pairs),
        "seconds": seconds,
    }


class Products:
    """The matrix products of a model's linear layers for some positions, and nothing else."""

    def __init__(self, backbone: Backbone, positions: int) -> None:
        self.weights = [layer.weight.detach() for layer in linear_layers(backbone)]
        likewise = self.weights[0].new_empty
        widths = {width for weight in self.weights for width in weight.shape}
        self.inputs = {width: likewise(positions, width).normal_() for width in widths}
        self.outputs = {width: likewise(positions, width) for width in widths}

    @torch.no_grad()
    def run(self) -> None:
        """Multiply, layer after layer."""
        for weight in self.weights:
            torch.mm(self.inputs[weight.shape[1]], weight.t(), out=self.outputs[weight.shape[0]])


def linear_layers(backbone: Backbone) -> list[nn.Linear]:
    """The linear layers below the output head."""
    return [layer for layer in backbone.model.base_model.modules() if isinstance(layer, nn.Linear)]


def linear_flops(backbone: Backbone, positions: int) -> int:
    """Operations of the linear layers: two for each weight and position."""
    return 2 * positions * sum(layer.weight.numel() for layer in linear_layers(backbone))


def attention_flops(backbone: Backbone, visibility: Visibility) -> int:
    """Operations of attention: for each pair, head and layer d products for the score and d for the value."""
    config = backbone.model.config.get_text_config()
    return int(4 * visibility.num_pairs * config.num_attention_heads * head_size(config) * config.num_hidden_layers)
