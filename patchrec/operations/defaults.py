"""Defaults of a run by backbone and data set: the paper's where the backbone is of its kind, measured ones for a CPU.

Source of the paper's: PatchRec (SIGIR 2025) and its published training script: learning rate and batch by data set,
K = 100, one epoch.
"""

from typing import Any

from pydantic import ValidationError

from patchrec.config import PromptConfig, Stage, TrainingConfig
from patchrec.data.histories import Dataset
from patchrec.errors import UsageError, wrong_values
from patchrec.reporting import Reporter

# data set -> (batch size, learning rate) of the paper
PAPER = {"ml-1m": (64, 8e-6), "goodreads": (32, 5e-5), "ml-100k": (64, 1e-5)}
_OTHER_DATA = (64, 1e-5)
# Backbones small enough for a CPU: prompts whose targets share nearly everything, and the rate that suits their size.
SMALL = ("smollm2-135m", "tiny-random")
LORA_RATE = 10  # learning rate of adapters over that of all weights
_SMALL_PROMPT: dict[str, Any] = {"form": "continuation", "windows": "anchored"}
_SMALL_TRAINING: dict[str, Any] = {"batch_size": 128, "learning_rate": 3e-4}


def prompt_defaults(
    dataset: Dataset, backbone: str, inherited: PromptConfig | None, given: dict[str, Any], report: Reporter
) -> PromptConfig:
    """Prompt of a new run: what was given, else the parent run's, else the backbone's default, which is told."""
    words = {"noun": dataset.noun, "verb": dataset.verb}
    chosen = {key: value for key, value in given.items() if value is not None}
    if inherited is not None:
        return PromptConfig(**(inherited.model_dump() | words | chosen))
    base = _SMALL_PROMPT if backbone in SMALL else {}
    config = PromptConfig(**(base | words | chosen))
    if len(chosen) < len(given):
        why = "made for a CPU" if base else "as in the paper"
        report.picked("prompt", f"{config.form}, {config.windows} windows, K={config.K}", why)
    return config


def training_defaults(
    stage: Stage, dataset: Dataset, backbone: str, given: dict[str, Any], report: Reporter
) -> TrainingConfig:
    """Training settings of a new run: what was given, else the defaults for backbone and data set, which are told.

    Weights are float32 always; forward and backward passes are bfloat16 where the hardware computes in it. Adapters
    learn at ten times the rate of weights (Schulman et al., "LoRA Without Regret", 2025).

    Raises:
        UsageError: A value that cannot be.
    """
    from patchrec.model.backbone import fast_dtype

    chosen = {key: value for key, value in given.items() if value is not None}
    if backbone in SMALL:
        base, why = _SMALL_TRAINING, "made for a CPU"
    else:
        batch_size, learning_rate = PAPER.get(dataset.name, _OTHER_DATA)
        base = {"batch_size": batch_size, "learning_rate": learning_rate}
        why = "as in the paper" if dataset.name in PAPER else "the paper's for MovieLens-100K"
    if "lora_rank" in chosen:
        base = base | {"learning_rate": LORA_RATE * base["learning_rate"]}
        why += "" if "learning_rate" in chosen else ", ten times the rate for LoRA"
    values = {"dtype": str(fast_dtype()).removeprefix("torch.")} | base | chosen
    try:
        config = TrainingConfig(**values)
    except ValidationError as error:
        raise UsageError(f"{wrong_values(error)}; see `patchrec {stage} --help`") from error
    if not base.keys() <= chosen.keys():
        size = f"{config.batch_size} targets a step, learning rate {config.learning_rate:g}, {config.dtype}"
        report.picked("training", f"{size}, {config.epochs} epoch{'s' if config.epochs > 1 else ''}", why)
    return config
