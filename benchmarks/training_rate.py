"""Section `utilisation`: how near a training step comes to the rate at which the machine multiplies matrices.

Counted are the products that a step has to do: each linear layer's forward and its two backward, those of the output
head at labelled nodes alone, and those of attention for the pairs of positions that it really computes. All else counts
as time lost: embeddings, norms, activations, softmax, planning, clipping, AdamW. The machine's rate is what torch
reaches on the products of the linear layers and the head alone, with outputs that are there already.
"""

from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

import torch

from benchmarks.learning import FORMS, KINDS, Bench, Pass, compare, forest_passes, make_side
from benchmarks.prefill_rate import attention_flops, linear_flops, linear_layers
from benchmarks.prompts import tell
from benchmarks.tables import Column, Section, Target
from patchrec.config import PromptForm, StrategyConfig
from patchrec.model.attention import Visibility

SHARE = {"cpu": 0.6, "cuda": 0.5}
BACKWARD = 3  # a product's forward and two backward, in units of its forward
COLUMNS = (
    Column("strategy", "kind"),
    Column("prompt", "form"),
    Column("nodes", "nodes", ",.0f"),
    Column("labelled", "labelled", ",.0f"),
    Column("GFLOP", "gflop", ",.0f"),
    Column("GF/s", "rate", ",.1f"),
    Column("alone", "machine_rate", ",.1f"),
    Column("passes", "passes_share", ".0%"),
    Column("step", "share", ".0%"),
)


def utilisation(bench: Bench) -> Iterator[Section]:
    """Sampled passes of a step of each strategy and prompt, against the products alone."""
    rows = []
    for kind, strategy in KINDS.items():
        for form in FORMS:
            tell(f"  {kind}, {form}")
            rows.append({"kind": kind, "form": form, **_measure(bench, form, strategy)})
    bar = SHARE.get(bench.backbone.device.type, SHARE["cuda"])
    bars = [Target(f"{row['kind']}, {row['form']}: share", bar, row["share"], at_most=False) for row in rows]
    notes = (
        "Alone: the products of the linear layers and the head, forward and both backward, and nothing else. Passes: "
        "share of that rate in forward and backward passes; step: with planning, clipping and AdamW.",
    )
    yield Section("Training against the matrix products of its shapes", COLUMNS, rows, bars, notes)


def _measure(bench: Bench, form: PromptForm, strategy: StrategyConfig) -> dict[str, Any]:
    side, sample = make_side(bench, form, strategy, forest_passes)
    nodes, labelled = [each.tokens for each in sample], [len(each.labels.nodes) for each in sample]
    linear = product_flops(bench, sample)
    flops = linear + BACKWARD * sum(
        attention_flops(bench.backbone, Visibility.of(each.extensions, bench.backbone.device)) for each in sample
    )
    products = Products(bench, nodes, labelled)
    times = compare(bench, {"passes": side}, others={"products": products.run})
    passes, update = median(times["passes"]), median(times["update"])
    whole = side.seconds(passes, update, bench.step.num_targets) * side.share
    machine_rate = linear / median(times["products"])
    return {
        "nodes": sum(nodes),
        "labelled": sum(labelled),
        "gflop": flops / 1e9,
        "rate": flops / whole / 1e9,
        "machine_rate": machine_rate / 1e9,
        "passes_share": flops / passes / machine_rate,
        "share": flops / whole / machine_rate,
        "linear_gflop": linear / 1e9,
        "seconds": times,
    }


def product_flops(bench: Bench, passes: Sequence[Pass]) -> int:
    """Operations of the linear layers at all nodes and of the head at labelled ones, forward and backward."""
    head = bench.backbone.model.get_output_embeddings().weight.numel()
    layers = sum(linear_flops(bench.backbone, each.tokens) for each in passes)
    return BACKWARD * (layers + 2 * head * sum(len(each.labels.nodes) for each in passes))


class Products:
    """The matrix products of a model's linear layers and head for passes of some sizes, forward and backward."""

    def __init__(self, bench: Bench, nodes: Sequence[int], labelled: Sequence[int]) -> None:
        dtype = getattr(torch, bench.learner.training.dtype)
        self.weights = [layer.weight.detach().to(dtype) for layer in linear_layers(bench.backbone)]
        self.head = bench.backbone.model.get_output_embeddings().weight.detach().to(dtype)
        self.nodes, self.labelled = list(nodes), list(labelled)
        self._made: dict[tuple[int, int, str], torch.Tensor] = {}

    @torch.no_grad()
    def run(self) -> None:
        """Multiply, pass after pass and layer after layer."""
        for nodes, labelled in zip(self.nodes, self.labelled, strict=True):
            for weight in self.weights:
                self._three(weight, nodes)
            self._three(self.head, labelled)

    def _three(self, weight: torch.Tensor, positions: int) -> None:
        """What comes out, its gradient's way back to what went in, and to the weight."""
        rows, columns = weight.shape
        inputs, outputs = self._tensor(positions, columns, "inputs"), self._tensor(positions, rows, "outputs")
        torch.mm(inputs, weight.t(), out=self._tensor(positions, rows, "result"))
        torch.mm(outputs, weight, out=self._tensor(positions, columns, "result"))
        torch.mm(outputs.t(), inputs, out=self._tensor(rows, columns, "result"))

    def _tensor(self, rows: int, columns: int, role: str) -> torch.Tensor:
        key = (rows, columns, role)
        if key not in self._made:
            self._made[key] = self.head.new_empty(rows, columns).normal_()
        return self._made[key]
