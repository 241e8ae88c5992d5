"""Piece `throughput`: what training, prefill and ranking reach, with FlexAttention and in tiles.

Training is that of `patchrec`: real targets planned, grown and compiled while the card computes, weights in float32,
passes in bfloat16, clipping and AdamW's update included. A row warms up on steps of its own, then takes others.
"""

import gc
import traceback
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Literal

import torch

from benchmarks.gpu_shapes import peak_rate, product_rate, training_flops
from benchmarks.machine import in_turn
from patchrec.config import HistoryConfig, PromptConfig, RunConfig, StrategyConfig, TrainingConfig
from patchrec.data.histories import Dataset
from patchrec.errors import OutOfResourcesError
from patchrec.evaluation.evaluate import sample_examples
from patchrec.model.attention import Extension
from patchrec.model.backbone import Backbone, fast_dtype
from patchrec.model.flex import forced, serves
from patchrec.model.forest import grow
from patchrec.model.memory import is_out_of_memory
from patchrec.model.tokenizer import make_encoder
from patchrec.plugins import plan_for
from patchrec.ranking.language import LanguageRecommender
from patchrec.ranking.scorer import TitleScorer
from patchrec.recommender import Query, rank
from patchrec.training.batches import Batches, all_batches
from patchrec.training.language_learner import LanguageLearner

WARM_UP = 2  # steps: kernels are compiled, AdamW's moments allocated
Form = Literal["paper", "continuation"]


@dataclass(frozen=True, slots=True)
class Workload:
    """What is trained on: a strategy, a prompt, and targets of a step enough for more than one forest."""

    name: str
    strategy: StrategyConfig
    form: Form
    windows: Literal["sliding", "anchored"]
    batch_size: int


PFT_S = StrategyConfig(name="pft-s", options={"L": 20})
WORKLOADS = (
    Workload("vanilla, paper's prompt", StrategyConfig(name="vanilla"), "paper", "sliding", 256),
    Workload("vanilla, continuation", StrategyConfig(name="vanilla"), "continuation", "anchored", 2048),
    Workload("PFT-S L=20, continuation", PFT_S, "continuation", "anchored", 2048),
)
AS_IS = "as it is"
VARIANTS: dict[str, dict[str, bool]] = {
    AS_IS: {},
    "tiles": {"tiles": True},  # where FlexAttention would run
    "checkpointing": {"checkpointing": True},
    "compiled": {"compiled": True},
}


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured.

    Attributes:
        steps: That a training row times.
        max_nodes: Sizes of a forest.
        batch_size: Targets of a step, in place of the workload's; None leaves that.
        users: Prompts of prefill and ranking.
    """

    steps: int = 4
    max_nodes: tuple[int, ...] = (4096, 8192, 16384)
    batch_size: int | None = None
    users: int = 64


def plan(models: Sequence[str], scale: Scale) -> list[dict[str, Any]]:
    """The rows of the table, in the order in which they are measured."""
    training = [
        {"kind": "training", "model": model, "workload": workload.name, "variant": variant, "max_nodes": size}
        for size in scale.max_nodes
        for model in models
        for workload in WORKLOADS
        for variant in (VARIANTS if workload is WORKLOADS[0] else (AS_IS,))
    ]
    ranking = [
        {"kind": "ranking", "model": model, "dtype": dtype} for model in models for dtype in ("float32", "bfloat16")
    ]
    return training + ranking


def measure(row: dict[str, Any], folder: Path, dataset: Dataset, scale: Scale, device: torch.device) -> dict[str, Any]:
    """One row's numbers, or what went wrong with it: the others are measured all the same."""
    try:
        if row["kind"] == "ranking":
            return _ranking(row, folder, dataset, scale, device)
        return _training(row, folder, dataset, scale, device)
    except Exception as error:  # a kernel that a card cannot have fails in many ways
        if isinstance(error, OutOfResourcesError) or is_out_of_memory(error):
            return {"error": "out of memory"}
        traceback.print_exc()
        return {"error": type(error).__name__, "message": str(error)}
    finally:
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.compiler.reset()  # past eight variants of a kernel torch would compile no more


def rates(device: torch.device) -> dict[str, float | None]:
    """The card's products a second: measured, and of its data sheet."""
    return {"measured": product_rate(device, fast_dtype()), "data_sheet": peak_rate(device)}


def _training(
    row: dict[str, Any], folder: Path, dataset: Dataset, scale: Scale, device: torch.device
) -> dict[str, Any]:
    workload = next(workload for workload in WORKLOADS if workload.name == row["workload"])
    variant = VARIANTS[row["variant"]]
    learner, batches = _learner(workload, row, folder, dataset, scale, device)
    if variant.get("compiled"):
        compile_layers(learner.backbone)
    steps = list(islice(batches.steps(), WARM_UP + scale.steps))
    forests = [learner.forests(step, learner.encoder.fresh()) for step in steps[WARM_UP:]]
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with forced("tiles") if variant.get("tiles") else nullcontext():
        kernels = [_kernel(learner.backbone, len(labelled.forest)) for one in forests for labelled in one]
        done = _timed(learner, steps)
    took = sum(second for second, _ in done[WARM_UP:])
    rows = [found for _, found in done[WARM_UP:]]
    flops = sum(training_flops(learner.backbone, one) for one in forests)
    return {
        "seconds": took,
        "step_seconds": [second for second, _ in done],
        "steps": len(rows),
        "passes": len(kernels),
        "attention": " and ".join(sorted(set(kernels))),
        "tokens": sum(found.tokens for found in rows),
        "targets": sum(found.targets for found in rows),
        "tokens_per_second": sum(found.tokens for found in rows) / took,
        "targets_per_second": sum(found.targets for found in rows) / took,
        "flops": flops,
        "flops_per_second": flops / took,
        "loss": rows[-1].loss,
        "peak_gb": torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else None,
    }


def _kernel(backbone: Backbone, num_nodes: int) -> str:
    """What attends in a pass of that length."""
    return "flex" if serves(backbone.model.config, backbone.device, num_nodes, context=False) else "tiles"


def _timed(learner: LanguageLearner, steps: list[Any]) -> list[tuple[float, Any]]:
    """Seconds of each step, with its row; the loss that a row holds waits for the card."""
    found = []
    begun = perf_counter()
    for row in learner.take(steps):
        if learner.backbone.device.type == "cuda":
            torch.cuda.synchronize()
        found.append((perf_counter() - begun, row))
        begun = perf_counter()
    return found


def _learner(
    workload: Workload, row: dict[str, Any], folder: Path, dataset: Dataset, scale: Scale, device: torch.device
) -> tuple[LanguageLearner, Batches]:
    backbone = Backbone.load(folder, name=row["model"], device=str(device))
    prompt = PromptConfig(form=workload.form, noun=dataset.noun, verb=dataset.verb)
    history = HistoryConfig(windows=workload.windows)
    training = TrainingConfig(
        batch_size=scale.batch_size or workload.batch_size,
        learning_rate=1e-5,
        max_nodes=row["max_nodes"],
        dtype=str(fast_dtype()).removeprefix("torch."),
        gradient_checkpointing=VARIANTS[row["variant"]].get("checkpointing", False),
    )
    config = RunConfig(
        stage="finetune", dataset=dataset.name, backbone=row["model"], strategies=(workload.strategy,), history=history,
        prompt=prompt, training=training,
    )  # fmt: skip
    batches = all_batches(config, dataset)
    encoder = make_encoder(folder, dataset.catalog.titles, prompt, backbone.vocab_size)
    planners = [plan_for(workload.strategy)]
    learner = LanguageLearner(config, dataset, backbone, encoder=encoder, planners=planners, batches=batches)
    learner.begin()
    return learner, batches


def compile_layers(backbone: Backbone) -> None:
    """Have torch fuse what surrounds the products: feed-forward parts and norms, which know nothing of forests."""
    for layer in backbone.model.base_model.layers:
        for part in (layer.mlp, layer.input_layernorm, layer.post_attention_layernorm):
            part.compile(dynamic=True)


@torch.no_grad()
def _ranking(row: dict[str, Any], folder: Path, dataset: Dataset, scale: Scale, device: torch.device) -> dict[str, Any]:
    """Prefill, and exact ranking of the whole catalog, for prompts of test targets run together."""
    backbone = Backbone.load(folder, name=row["model"], dtype=getattr(torch, row["dtype"]), device=str(device))
    prompt = PromptConfig(form="paper", noun=dataset.noun, verb=dataset.verb)
    encoder = make_encoder(folder, dataset.catalog.titles, prompt, backbone.vocab_size)
    backbone.remember_items(encoder)
    scorer = TitleScorer.of(backbone, encoder)
    examples = sample_examples(dataset.examples("test", HistoryConfig().K), scale.users)
    found: dict[str, Any] = {"users": len(examples)}
    for name, strategy in (("vanilla", StrategyConfig(name="vanilla")), ("pft-s", PFT_S)):
        queries = [Query.of(dataset, example, keep_seen=True) for example in examples]
        planner = plan_for(strategy)
        ranker = LanguageRecommender.of(scorer, planner, dataset)
        fresh = encoder.fresh()
        layouts = [planner.plan(query.history) for query in queries]
        paths = [fresh.prompt_path(query.history, own) for query, own in zip(queries, layouts, strict=True)]
        prompts = [Extension(grow([path])[0]) for path in paths]
        times = in_turn(
            {
                "prefill": lambda fresh=fresh, prompts=prompts: backbone.extend(fresh, prompts, keep=False),
                "ranking": lambda queries=queries, ranker=ranker: rank(ranker, queries, 10),
            },
            3,
        )
        found[name] = {
            "prompt_tokens": sum(len(one.forest) for one in prompts) / len(prompts),
            **{f"{what}_seconds_per_user": median(each) / len(examples) for what, each in times.items()},
        }
    return found


def shares(row: dict[str, Any], rate: dict[str, float | None]) -> Iterator[tuple[str, float | None]]:
    """Model flops utilisation of a training row, against the measured product rate and the data sheet."""
    for name, reference in rate.items():
        reached = row.get("flops_per_second")
        yield f"mfu_{name}", reached / reference if reached and reference else None
