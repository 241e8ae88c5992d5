"""The options of commands that fit: the settings of a new run, declared once."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import typer

from patchrec_cli.declared import takes
from patchrec_cli.parameters import PROMPT, Backbone, Data, HistoryLength, PromptForm, SeparatorsAfter, Windows

TRAINING = "Training"  # sections of options
VALIDATION = "Validation"


def training_option(kind: Any, flag: str, text: str, panel: str | None = TRAINING, **more: Any) -> Any:
    """The annotation of an optional setting."""
    return Annotated[kind | None, typer.Option(flag, help=text, rich_help_panel=panel, **more)]


# name of the setting (see `RunSettings`) -> how the command line asks for it
SETTINGS: dict[str, Any] = {
    "data": Data,
    "backbone": Backbone,
    "layers": training_option(int, "--layers", "Keep the first N layers of the backbone.", metavar="N", min=1),
    "epochs": training_option(int, "--epochs", "Passes over the targets.", metavar="N", min=1),
    "max_steps": training_option(int, "--max-steps", "Stop after N steps.", metavar="N", min=1),
    "batch_size": training_option(int, "--batch-size", "Targets per step.", metavar="N", min=1),
    "tree_targets": training_option(
        int,
        "--tree-targets",
        "Most targets that share a prefix: fewer mix more users into a step, for more tokens; default: all of a step.",
        metavar="N",
        min=1,
    ),
    "user_targets": training_option(
        int, "--user-targets", "Targets of each user in an epoch, drawn anew each; default: all.", metavar="N", min=1
    ),
    "learning_rate": training_option(float, "--learning-rate", "Peak of the cosine schedule."),
    "head_learning_rate": training_option(
        float, "--head-learning-rate", "The same for an item head and item vectors, which begin from nothing."
    ),
    "warmup": training_option(float, "--warmup", "Share of the steps that the rate rises in; default: 0.05."),
    "weight_decay": training_option(float, "--weight-decay", "Of AdamW; default: 0."),
    "clip_norm": training_option(float, "--clip-norm", "Longest gradient of a step; default: 1."),
    "dropout": training_option(
        float, "--dropout", "Share of inputs, and of what each layer adds, that a step leaves out; default: 0."
    ),
    "layer_decay": training_option(
        float, "--layer-decay", "Rate of a layer over that of the one above it; default: 1."
    ),
    "lora_rank": training_option(
        int,
        "--lora-rank",
        "Train LoRA adapters of this rank, not all weights; needs patchrec[peft].",
        metavar="R",
        min=1,
    ),
    "dtype": training_option(
        Literal["float32", "bfloat16"],
        "--dtype",
        "Of forward and backward passes; default: bfloat16 where the hardware computes in it.",
    ),
    "max_nodes": training_option(
        int,
        "--max-nodes",
        "Tokens of one forward pass: memory and speed, not what is learned; default: 2048.",
        metavar="N",
        min=16,
    ),
    "gradient_checkpointing": training_option(
        bool, "--gradient-checkpointing", "Compute activations twice instead of keeping them: less memory, more time."
    ),
    "shard": training_option(
        bool, "--shard", "Split the model over the processes of torchrun, where it does not fit on one GPU."
    ),
    "checkpoint_every": training_option(
        int, "--checkpoint-every", "Save every N steps; default: about every 5 minutes.", metavar="N", min=1
    ),
    "validate_every": training_option(
        int,
        "--validate-every",
        "Measure validation targets every N steps, and keep the weights that were best.",
        VALIDATION,
        metavar="N",
        min=1,
    ),
    "validate_metric": training_option(
        Literal["loss", "hr@10", "hr@20", "ndcg@10", "ndcg@20"],
        "--validate-metric",
        "What is measured: the loss, or how items rank, seen ones dropped; default: loss.",
        VALIDATION,
    ),
    "patience": training_option(
        int, "--patience", "Stop after N measurements without a better one.", VALIDATION, metavar="N", min=1
    ),
    "validation_targets": training_option(
        int, "--validation-targets", "A sample of N of them; default: 200.", VALIDATION, metavar="N", min=1
    ),
    "prompt": PromptForm,
    "separators": SeparatorsAfter,
    "max_title_tokens": training_option(
        int, "--max-title-tokens", "Tokens of a title that the model sees; default: 64.", PROMPT, metavar="N", min=1
    ),
    "long_titles": training_option(
        Literal["cut", "refuse"], "--long-titles", "What becomes of titles with more; default: cut.", PROMPT
    ),
    "windows": Windows,
    "K": HistoryLength,
    "seed": training_option(
        int, "--seed", "Decides order, compression and starting weights of new parts; default: 0.", None
    ),
}


OF_LANGUAGE_MODELS = (
    "backbone", "layers", "head_learning_rate", "lora_rank", "dtype", "max_nodes", "gradient_checkpointing", "shard",
    "prompt", "separators", "max_title_tokens", "long_titles", "dropout", "layer_decay",
)  # fmt: skip
BASELINE_SETTINGS = {
    name: kind for name, kind in SETTINGS.items() if name == "backbone" or name not in OF_LANGUAGE_MODELS
}


FIRST = ("ctx", "name", "strategy", "head", "start")  # what a reader of the help wants to see before the settings


def takes_settings(settings: dict[str, Any] = SETTINGS) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Let Typer see an option for each setting where a command takes `**settings`, after its own first parameters."""
    return takes(settings, FIRST)
