"""Defaults of a run by backbone and data set: the paper's where the backbone is of its kind, measured ones for a CPU.

Source of the paper's: PatchRec (SIGIR 2025) and its published training script: learning rate and batch by data set,
K = 100, one epoch.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
from pydantic import ValidationError

from patchrec.config import MOST_EPOCHS, HistoryConfig, PromptConfig, RunConfig, Stage, TrainingConfig
from patchrec.data.histories import Dataset
from patchrec.errors import UsageError, flag_of, wrong_values
from patchrec.recommender import Kind
from patchrec.reporting import Reporter

# data set -> (batch size, learning rate) of the paper
PAPER = {"ml-1m": (64, 8e-6), "goodreads": (32, 5e-5), "ml-100k": (64, 1e-5)}
_OTHER_DATA = (64, 1e-5)
_PAPERS = "as in the paper"
MEASURED_ON = 47_749  # train targets of ml-100k
LORA_RATE = 10  # learning rate of adapters over that of all weights
_OF_PROMPT = {"form", "separators", "max_title_tokens", "long_titles"}
MAX_TITLE_TOKENS = 64  # none of ml-100k or ml-1m has more with SmolLM2's tokenizer
# Backbones small enough for a CPU: prompts whose targets share nearly everything, and the rate that suits their size.
_SMALL_SHAPE: dict[str, Any] = {"form": "continuation", "windows": "anchored"}
Scale = Literal["paper", "small", "made", "other"]
_SCALES: dict[str, Scale] = {
    "llama-3.2-1b": "paper",
    "meta-llama/Llama-3.2-1B-Instruct": "paper",
    "smollm2-135m": "small",
    "tiny-random": "small",
}
_TRAINING: dict[Scale, dict[str, Any]] = {
    "small": {"batch_size": 128, "learning_rate": 3e-4},
    "made": {"batch_size": 128, "learning_rate": 3e-3},
}
# Of fine-tuning: after one a pretrained model ranks below SASRec, after two near it; random weights take longer
# (docs/results.md).
_EPOCHS: dict[Scale, int] = {"small": 2, "made": 4}
# Of fine-tuning a made backbone with such a head, over those of the kind: it knows nothing and learns the log as models
# of identifiers do, until validation says that it has. An item head has their steps and dropout too, and is chosen by
# how it ranks; titles, which take longer to rank, by the loss.
_UNTIL_LEARNED = {"validate_every": 94, "patience": 5}
_OF_MADE: dict[str, dict[str, Any]] = {
    "title": _UNTIL_LEARNED,
    "both": _UNTIL_LEARNED,
    "item": {
        "epochs": 12,
        "batch_size": 1024,
        "dropout": 0.2,
        "validate_metric": "ndcg@20",
        "validation_targets": 1000,
    }
    | _UNTIL_LEARNED,
}
# Of the item vectors of such a head, which learn as fast as the rest, or faster where a run comes to an item rarely: a
# visit moves its vector by the rate at most, and all of them must by about 1 (docs/results.md). More was not tried.
_FASTEST = 1e-2
# what is told of training settings that were picked
_TOLD: dict[str, Callable[[TrainingConfig], str]] = {
    "batch_size": lambda config: f"{config.batch_size} targets a step",
    "learning_rate": lambda config: f"learning rate {config.learning_rate:g}",
    "epochs": lambda config: f"{config.epochs} epoch{'s' if config.epochs > 1 else ''}",
}


@contextmanager
def told_values(step: str = "") -> Iterator[None]:
    """Turn a value that cannot be into our error.

    Args:
        step: Ends the line.

    Raises:
        UsageError: The message names the options.
    """
    try:
        yield
    except ValidationError as error:
        raise UsageError(wrong_values(error).replace("--form=", "--prompt=") + step) from error


def refuse_values(stage: Stage, given: Mapping[str, Any]) -> None:
    """Refuse settings that no run can have, before anything is fetched or picked for it.

    Raises:
        UsageError: A value that cannot be.
    """
    values = {key: value for key, value in given.items() if value is not None}
    of_prompt = {"form": values.get("prompt")} | {key: values.get(key) for key in _OF_PROMPT - {"form"}}
    with told_values(f"; see `patchrec {stage} --help`"):
        PromptConfig(**{key: value for key, value in of_prompt.items() if value is not None})
        HistoryConfig(**{key: values[key] for key in ("K", "windows") if key in values})
        slow = {"learning_rate": _OTHER_DATA[1]}  # the default may be another: what follows from it is told later
        TrainingConfig(**(slow | {key: value for key, value in values.items() if key in TrainingConfig.model_fields}))


def shape_defaults(
    dataset: Dataset,
    backbone: str,
    kind: Kind,
    inherited: RunConfig | None,
    given: Mapping[str, Any],
    report: Reporter,
    *,
    made: bool = False,
) -> tuple[PromptConfig, HistoryConfig]:
    """Prompt and histories of a new run: what was given, else the parent run's, else the defaults, which are told.

    Args:
        dataset: Whose words the prompt has.
        backbone: By name.
        kind: What ranks; some ask for windows of their own.
        inherited: The parent's configuration.
        given: `form`, `separators`, `max_title_tokens`, `long_titles`, `windows` and `K`; None where not given.
        report: Where the choice is told.
        made: Whether the backbone has the random weights that it was made with.

    Raises:
        UsageError: A value that cannot be.
    """
    chosen = {key: value for key, value in given.items() if value is not None}
    small = _scale(backbone, made) in _TRAINING
    base: dict[str, Any] = {"max_title_tokens": MAX_TITLE_TOKENS} | (_SMALL_SHAPE if small else {})
    if inherited is not None:
        base = inherited.history.model_dump() | (inherited.prompt or PromptConfig()).model_dump(include=_OF_PROMPT)
    base |= {
        key: value for key, value in kind.shape.items() if inherited is None or key not in base or key == "windows"
    }
    values = base | chosen
    prompt = {key: values[key] for key in _OF_PROMPT if key in values}
    history = {key: values[key] for key in ("K", "windows") if key in values}
    with told_values():
        found = PromptConfig(noun=dataset.noun, verb=dataset.verb, **prompt), HistoryConfig(**history)
    said = {"form": found[0].form, "windows": f"{found[1].windows} windows", "K": f"K={found[1].K}"}
    if found[0].separators != "all":
        said["separators"] = "patches without separators"
    picked = [text for key, text in said.items() if key not in chosen]
    if inherited is None and picked:
        why = "made for a CPU" if small else _told_of(kind) if kind.shape else _PAPERS
        report.picked("prompt", ", ".join(picked), why)
    return found


def training_defaults(
    stage: Stage,
    dataset: Dataset,
    backbone: str | None,
    kind: Kind,
    given: Mapping[str, Any],
    report: Reporter,
    *,
    made: bool = False,
) -> TrainingConfig:
    """Training settings of a new run: what was given, else the defaults of kind, backbone and data set, which are told.

    Weights are float32 always; forward and backward passes of a language model are bfloat16 where the hardware computes
    in it. Adapters learn at ten times the rate of weights (Schulman et al., "LoRA Without Regret", 2025).

    Raises:
        UsageError: A value that cannot be, or that says how to measure what is not measured.
    """
    chosen = {key: value for key, value in given.items() if value is not None}
    scale = None if backbone is None else _scale(backbone, made)
    base, why = _base(dataset, scale, kind)
    if stage == "finetune" and scale is not None and scale in _EPOCHS:
        base = base | {"epochs": _EPOCHS[scale]}
    base = base | dict(kind.training or {})
    if stage == "finetune" and scale == "made":
        base = base | _OF_MADE.get(kind.name, {})
    if _TOLD.keys() & (kind.training or {}).keys():
        why = _told_of(kind)
    if "lora_rank" in chosen:
        base = base | {"learning_rate": LORA_RATE * base["learning_rate"]}
        why += "" if "learning_rate" in chosen else ", ten times the rate for LoRA"
    if not dataset.num_targets("validation") and "validate_every" not in chosen:
        base = {key: value for key, value in base.items() if key not in ("validate_every", "patience")}
    with told_values(f"; see `patchrec {stage} --help`"):
        usual = config = TrainingConfig(**(base | chosen))
    if base.get("validate_every"):
        fitted = _fitted_to(dataset, TrainingConfig(**base), config)
        config = config.model_copy(update={key: value for key, value in fitted.items() if key not in chosen})
    _refuse_unmeasured(chosen, config)
    said = {key: text(config) for key, text in _TOLD.items()}
    if config.epochs > usual.epochs:
        said["epochs"] = f"up to {config.epochs:,} epochs since the log is small"
    if stage == "finetune" and scale == "made" and kind.name == "item" and "head_learning_rate" not in chosen:
        rate = _item_rate(dataset, config)
        with told_values(f"; see `patchrec {stage} --help`"):
            config = TrainingConfig(**config.model_dump() | {"head_learning_rate": rate})
        said["head_learning_rate"] = f"item vectors at {rate:g}"
    if scale is not None and "dtype" not in base:
        if "dtype" not in chosen:  # torch is asked last: what is wrong is told before it is imported
            from patchrec.model.backbone import fast_dtype

            config = config.model_copy(update={"dtype": str(fast_dtype()).removeprefix("torch.")})
        said["dtype"] = config.dtype
    picked = [text for key, text in said.items() if key not in chosen]
    if base and picked:
        report.picked("training", ", ".join(picked), why + _unlike_the_paper(config) if why == _PAPERS else why)
    return config


def _refuse_unmeasured(chosen: Mapping[str, Any], config: TrainingConfig) -> None:
    """Refuse settings that say how to measure where nothing is measured."""
    for setting in ("validation_targets", "validate_metric", "patience"):
        if setting in chosen and config.validate_every is None:
            raise UsageError(f"{flag_of(setting)} says how --validate-every measures; add --validate-every N")


def _item_rate(dataset: Dataset, config: TrainingConfig) -> float:
    """Rate of item vectors that begin beside random weights: more where a run visits an item less often."""
    targets = config.epochs * _targets(dataset, config)
    if config.max_steps is not None:
        targets = min(targets, config.max_steps * config.batch_size)
    visits = targets / max(1, int(np.count_nonzero(dataset.popularity)))
    return min(_FASTEST, max(config.learning_rate, float(f"{1 / max(1.0, visits):.2g}")))


def _targets(dataset: Dataset, config: TrainingConfig) -> int:
    """Train targets of an epoch."""
    by_user = dataset.targets_per_user("train")
    return int((by_user if config.user_targets is None else by_user.clip(max=config.user_targets)).sum())


def _fitted_to(dataset: Dataset, defaults: TrainingConfig, config: TrainingConfig) -> dict[str, int]:
    """Defaults that ended by validation on `MEASURED_ON`, for a log of another size: `epochs` and `validate_every`.

    A smaller log is gone through more often, for as many steps at most. A larger one is measured once an epoch at most:
    patience would else end the run before it has seen everything. Epochs of so many targets of each user stay.

    Args:
        dataset: The log.
        defaults: What was measured.
        config: The same with what was given.
    """
    targets = _targets(dataset, config)
    epochs = defaults.epochs
    if config.user_targets is None:
        measured = defaults.epochs * (MEASURED_ON // defaults.batch_size)
        own = -(-max(1, targets) // config.batch_size)
        epochs = max(epochs, min(-(-measured // own), MOST_EPOCHS))
    return {"epochs": epochs, "validate_every": max(defaults.validate_every or 1, targets // config.batch_size)}


def _told_of(kind: Kind) -> str:
    """Where a kind says that its defaults come from."""
    return kind.defaults_from or f"the defaults of {kind.name}"


def _unlike_the_paper(config: TrainingConfig) -> str:
    """What differs from the paper's training although its numbers were taken."""
    differs = [] if config.tree_targets == 1 else ["targets that share a prefix"]
    differs += ["float32"] if config.dtype == "float32" else []
    return f" but for {' and '.join(differs)}" if differs else ""


def _scale(backbone: str, made: bool) -> Scale:
    return _SCALES.get(backbone, "made" if made else "other")


def _base(dataset: Dataset, scale: Scale | None, kind: Kind) -> tuple[dict[str, Any], str]:
    """Defaults of a backbone on a data set, and why; none without a backbone."""
    if scale is None:
        return {}, ""
    if scale in _TRAINING:
        return _TRAINING[scale], "made for a CPU"
    batch_size, learning_rate = PAPER.get(dataset.name, _OTHER_DATA)
    # what the paper's are for, where that is another than this
    what = ["titles"] if kind.name != "title" else []
    what += ["MovieLens-100K"] if dataset.name not in PAPER else []
    whose = [" of ".join(what)] if what else []
    whose += ["Llama-3.2-1B"] if scale != "paper" else []
    why = f"the paper's for {' with '.join(whose)}" if whose else _PAPERS
    return {"batch_size": batch_size, "learning_rate": learning_rate}, why
