"""A training run before it begins: what was asked for becomes a configuration, with its data set and its start."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict, cast

from patchrec.config import RunConfig, StrategyConfig, TrainingConfig
from patchrec.data.histories import Dataset, Example
from patchrec.errors import UsageError
from patchrec.evaluation.evaluate import sample_examples
from patchrec.model.backbones import DEFAULT_BACKBONE
from patchrec.model.lora import peft_version
from patchrec.model.patching import PathEncoder
from patchrec.model.tokenizer import make_encoder, vocab_size
from patchrec.operations.backbones import find_backbone
from patchrec.operations.datasets import pick_dataset
from patchrec.operations.defaults import prompt_defaults, training_defaults
from patchrec.operations.ready import fingerprints, model_folder, plain_options
from patchrec.plugins import plan_for
from patchrec.reporting import Reporter
from patchrec.store import Store
from patchrec.store.runs import Run

# Patch pre-training sees every example twice: raw, and with each item compressed with probability p (paper, section 3).
RAW, COMPRESSED = "vanilla", "patch-pretraining"


class RunSettings(TypedDict, total=False):
    """What a new run of either stage can be told. What is absent or None is left to the defaults.

    Keys:
        data, backbone: By name.
        prompt: Form of the prompt.
        windows, K: How histories are cut.
        seed: Fixes all random draws; default 0.
        others: See `TrainingConfig`.
    """

    data: str | None
    backbone: str | None
    prompt: str | None
    windows: str | None
    K: int | None
    seed: int | None
    epochs: int | None
    max_steps: int | None
    batch_size: int | None
    learning_rate: float | None
    lora_rank: int | None
    dtype: str | None
    max_nodes: int | None
    gradient_checkpointing: bool | None
    shard: bool | None
    checkpoint_every: int | None
    validate_every: int | None
    validation_targets: int | None


@dataclass(frozen=True, slots=True, eq=False)
class NewRun:
    """A run that could begin: nothing of it is stored yet.

    Attributes:
        folder: Of the weights that it starts from.
        encoder: Of its prompt and titles.
        fingerprints: What the store keeps of data, prompt and tokenizer.
    """

    config: RunConfig
    dataset: Dataset
    folder: Path
    encoder: PathEncoder
    fingerprints: dict[str, str]

    @property
    def label(self) -> str:
        """The strategy with its options, in words."""
        return plan_for(self.config.strategies[-1]).label


def new_pretraining(store: Store, options: dict[str, Any] | None, settings: RunSettings, report: Reporter) -> NewRun:
    """Settle a pre-training run.

    Args:
        options: Of the strategy that compresses.

    Raises:
        NotFoundError: No such data set or backbone. UsageError: Settings that do not fit.
    """
    compressed = StrategyConfig(name=COMPRESSED, options=plain_options(options))
    plan_for(compressed)  # so that a slip is told before anything is made
    return _settle(store, "pretrain", (StrategyConfig(name=RAW), compressed), None, settings, report)


def new_finetuning(
    store: Store,
    strategy: str | None,
    options: dict[str, Any] | None,
    start: str | None,
    settings: RunSettings,
    report: Reporter,
) -> NewRun:
    """Settle a fine-tuning run.

    Raises:
        NotFoundError: No such strategy, data set, run or backbone. UsageError: Settings that do not fit.
    """
    if strategy is None:
        raise UsageError(
            "which strategy? give --strategy, such as --strategy pft-s --L 5; see `patchrec strategies ls`"
        )
    planner = plan_for(StrategyConfig(name=strategy, options=plain_options(options)))
    chosen = (StrategyConfig(name=strategy, options=planner.values),)
    settings = cast(RunSettings, {**settings, "data": pick_dataset(store, settings.get("data"), report)})
    return _settle(store, "finetune", chosen, _parent(store, start, settings, report), settings, report)


def validation_sample(config: RunConfig, dataset: Dataset) -> list[Example]:
    """The validation targets that a run measures, sampled as an evaluation does; none where it does not validate.

    Raises:
        UsageError: The data set has none.
    """
    training = config.training
    if training is None or training.validate_every is None:
        return []
    examples = dataset.examples("validation", config.prompt.K, config.prompt.windows)
    if not examples:
        raise UsageError(
            f"{dataset.name} has no validation target; add it again with --validation 0.1, or drop --validate-every"
        )
    return sample_examples(examples, training.validation_targets)


def _parent(store: Store, start: str | None, settings: RunSettings, report: Reporter) -> Run | None:
    """The run whose weights a fine-tuning starts from."""
    backbone = settings.get("backbone")
    if start == "none":
        return None
    if start is not None:
        parent = store.runs.get(start)
        if backbone is not None and backbone != parent.config.backbone:
            raise UsageError(
                f"run {parent.name} has backbone {parent.config.backbone!r}, not {backbone!r}; drop one of the two"
            )
        return parent
    newest = store.runs.newest(stage="pretrain", dataset=settings.get("data"), backbone=backbone)
    if newest is None:
        report.note("no pre-training run for this: starting from the backbone (`patchrec pretrain` makes one)")
        return None
    report.picked("start", newest.name, "the newest pre-training run")
    return newest


def _settle(
    store: Store,
    stage: Literal["pretrain", "finetune"],
    strategies: tuple[StrategyConfig, ...],
    parent: Run | None,
    settings: RunSettings,
    report: Reporter,
) -> NewRun:
    """Fill in what was not said, and tell what was picked."""
    if settings.get("validation_targets") is not None and settings.get("validate_every") is None:
        raise UsageError("--validation-targets says how many --validate-every measures; add --validate-every N")
    if settings.get("lora_rank") is not None:
        if settings.get("shard"):
            raise UsageError("--shard splits weights that are trained, and --lora-rank trains none; drop one of them")
        peft_version()  # said before anything is fetched
    dataset = store.datasets.load(pick_dataset(store, settings.get("data"), report))
    name = (parent.config.backbone if parent else None) or settings.get("backbone")
    if name is None:
        name = DEFAULT_BACKBONE
        report.picked("backbone", name, "the default; it trains on a CPU")
    if parent:
        folder = model_folder(store, parent, report)
    else:
        pulled = find_backbone(store, name, report)
        name, folder = pulled.name, pulled.folder  # a path is kept whole, whatever folder it was typed in
    shape = {"form": settings.get("prompt"), "windows": settings.get("windows"), "K": settings.get("K")}
    training = {key: value for key, value in settings.items() if key in TrainingConfig.model_fields}
    config = RunConfig(
        stage=stage,
        dataset=dataset.name,
        backbone=name,
        parent=parent.name if parent else None,
        strategies=strategies,
        prompt=prompt_defaults(dataset, name, parent.config.prompt if parent else None, shape, report),
        training=training_defaults(stage, dataset, name, training, report),
        seed=settings.get("seed") or 0,
    )
    validation_sample(config, dataset)  # so that its absence is told before anything is made
    encoder = make_encoder(folder, dataset.catalog.titles, config.prompt, vocab_size(folder))
    return NewRun(config, dataset, folder, encoder, fingerprints(dataset, encoder.prompt, folder))
