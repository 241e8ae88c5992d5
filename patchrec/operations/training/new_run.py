"""A training run before it begins: what was asked for becomes a configuration, with its data set and its start."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypedDict, cast

from patchrec.config import HistoryConfig, KindConfig, RunConfig, StrategyConfig, TrainingConfig
from patchrec.data.histories import Dataset, Example
from patchrec.errors import NotFoundError, UsageError, flag_of, not_found
from patchrec.evaluation.evaluate import sample_examples
from patchrec.model.made import is_made_at
from patchrec.model.pull import DEFAULT_BACKBONE, Pulled
from patchrec.model.tokenizer import is_causal
from patchrec.operations.backbones import find_backbone
from patchrec.operations.datasets import pick_dataset
from patchrec.operations.load import fingerprints, further_starts, plain_options, weights_folder
from patchrec.operations.training.defaults import refuse_values, shape_defaults, told_values, training_defaults
from patchrec.operations.training.read_runs import read_runs
from patchrec.plugins import bind_kind, find_kind, plan_for, recommenders
from patchrec.recommender import BoundKind, Fitting, Saved
from patchrec.reporting import Reporter
from patchrec.store import Store
from patchrec.store.runs import Run

# Patch pre-training sees every example twice: raw, and with each item compressed with probability p (paper, section 3).
RAW, COMPRESSED = "vanilla", "patch-pretraining"


class RunSettings(TypedDict, total=False):
    """What a new run can be told. What is absent or None is left to the defaults.

    Keys:
        data, backbone: By name.
        layers: Keep the first so many of the backbone.
        prompt: Form of the prompt.
        separators: What a line break follows in it.
        max_title_tokens, long_titles: How much of a title it takes, and what becomes of longer ones.
        windows, K: How histories are cut.
        seed: Fixes all random draws; default 0.
        others: See `TrainingConfig`.
    """

    data: str | None
    backbone: str | None
    layers: int | None
    prompt: str | None
    separators: str | None
    max_title_tokens: int | None
    long_titles: str | None
    windows: str | None
    K: int | None
    seed: int | None
    epochs: int | None
    max_steps: int | None
    batch_size: int | None
    tree_targets: int | None
    user_targets: int | None
    learning_rate: float | None
    head_learning_rate: float | None
    warmup: float | None
    weight_decay: float | None
    clip_norm: float | None
    dropout: float | None
    layer_decay: float | None
    lora_rank: int | None
    dtype: str | None
    max_nodes: int | None
    gradient_checkpointing: bool | None
    shard: bool | None
    checkpoint_every: int | None
    validate_every: int | None
    validate_metric: str | None
    patience: int | None
    validation_targets: int | None


_OF_SHAPE = ("separators", "max_title_tokens", "long_titles", "windows", "K")  # of the prompt, and of histories

OF_LANGUAGE_MODELS = (
    "backbone", "layers", "prompt", "separators", "max_title_tokens", "long_titles", "lora_rank", "dtype", "max_nodes",
    "gradient_checkpointing", "shard", "head_learning_rate", "dropout", "layer_decay",
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class NewRun:
    """A run that could begin: nothing of it is stored yet.

    Attributes:
        start: Folder of the weights that it starts from; None where it starts from none.
        fingerprints: What the store keeps of data, prompt and tokenizer.
        label: In words.
        starts: Of further models that it starts from, by role.
    """

    config: RunConfig
    dataset: Dataset
    start: Path | None
    fingerprints: dict[str, str]
    label: str
    starts: Mapping[str, Path] = field(default_factory=dict)

    @property
    def fitting(self) -> Fitting:
        """What its learner is made of."""
        validation = validation_sample(self.config, self.dataset)
        return Fitting(self.config, self.dataset, self.start, validation, starts=self.starts)


def label_of(config: RunConfig) -> str:
    """A run in words: its strategy where it has one, and its kind of recommender where that is not plain titles."""
    kind = bind_kind(config.kind)
    parts = [plan_for(config.strategies[-1]).label] if config.strategies else []
    if not parts or kind.label != "title":  # such as "title loss=catalog"
        parts.append(kind.label)
    return ", ".join(parts)


def new_pretraining(store: Store, options: dict[str, Any] | None, settings: RunSettings, report: Reporter) -> NewRun:
    """Settle a pre-training run.

    Args:
        options: Of the strategy that compresses.

    Raises:
        NotFoundError: No such data set or backbone. UsageError: Settings that do not fit.
    """
    compressed = StrategyConfig(name=COMPRESSED, options=plain_options(options))
    plan_for(compressed)  # so that a slip is told before anything is made
    refuse_values("pretrain", settings)
    title = find_kind("title").bind()
    return _settle(store, "pretrain", title, (StrategyConfig(name=RAW), compressed), None, settings, report)


def new_finetuning(
    store: Store,
    strategy: str | None,
    options: dict[str, Any] | None,
    start: str | None,
    settings: RunSettings,
    report: Reporter,
    *,
    head: str | None = None,
    head_options: dict[str, Any] | None = None,
) -> NewRun:
    """Settle a fine-tuning run.

    Args:
        strategy: By name. options: Its values.
        start: Run to start from; "none": the backbone.
        head: What answers: `title`, `item` or `both`. head_options: Values of that kind's options.

    Raises:
        NotFoundError: No such strategy, data set, run or backbone. UsageError: Settings that do not fit.
    """
    if strategy is None:
        raise UsageError(
            "which strategy? give --strategy, such as --strategy pft-s --L 5; see `patchrec strategies ls`"
        )
    heads = [name for name, kind in recommenders().items() if kind.is_head]
    if head is not None and head not in heads:
        raise not_found("head", head, heads, "other kinds are fitted with `patchrec baseline NAME`")
    kind = find_kind(head or "title").bind(plain_options(head_options))
    planner = plan_for(StrategyConfig(name=strategy, options=plain_options(options)))
    chosen = (StrategyConfig(name=strategy, options=planner.values),)
    refuse_values("finetune", settings)
    data = settings.get("data") or _data_of(store, start, report)
    settings = cast(RunSettings, {**settings, "data": pick_dataset(store, data, report)})
    return _settle(store, "finetune", kind, chosen, _parent(store, start, settings, report), settings, report)


def new_baseline(
    store: Store, name: str, options: dict[str, Any] | None, settings: RunSettings, report: Reporter
) -> NewRun:
    """Settle a run of a kind of recommender that is asked without a prompt.

    Args:
        name: Of the kind. options: Values of its options.

    Raises:
        NotFoundError: No such kind, data set or backbone. UsageError: Settings that do not fit.
    """
    known = recommenders()
    if name in known and known[name].is_head:
        raise UsageError(f"{name!r} is a head of a language model; train it with `patchrec finetune --head {name}`")
    if name in known and known[name].mixes:
        raise UsageError(f"{name!r} mixes other runs; make one with `patchrec {name} RUN RUN`")
    if name not in known or not known[name].is_baseline:
        raise not_found("baseline", name, [other for other, kind in known.items() if kind.is_baseline])
    bound = find_kind(name).bind(plain_options(options))
    given = {key: value for key, value in settings.items() if value is not None}
    why = "has no language model" if bound.kind.backbone == "none" else "takes of a language model --backbone alone"
    _refuse(name, why, given, tuple(setting for setting in OF_LANGUAGE_MODELS if setting != "backbone"))
    if bound.kind.training is None:
        _refuse(name, "learns nothing by gradient", given, tuple(TrainingConfig.model_fields))
    refuse_values("baseline", settings)
    dataset = store.datasets.load(pick_dataset(store, settings.get("data"), report))
    bound, parts = read_runs(store, bound, dataset.name)
    bound = bound.settled(dataset, report)
    pulled = _backbone_of(store, bound, settings.get("backbone"), report)
    shape = dict(bound.kind.shape) | {key: given[key] for key in ("K", "windows") if key in given}
    training = {key: value for key, value in given.items() if key in TrainingConfig.model_fields}
    learned = None
    if bound.kind.training is not None:
        kind = replace(bound.kind, training=bound.training)
        learned = training_defaults("baseline", dataset, None, kind, training, report)
    with told_values(f"; see `patchrec baseline {name} --help`"):
        config = RunConfig(
            stage="baseline",
            dataset=dataset.name,
            kind=KindConfig(name=name, options=bound.options.values),
            backbone=None if pulled is None else pulled.name,
            parts=parts,
            history=HistoryConfig(**{key: value for key, value in shape.items() if key in ("K", "windows")}),
            prompt=None,
            training=learned,
            score=bound.kind.scores[0],
            seed=settings.get("seed") or 0,
        )
    validation_sample(config, dataset)  # so that its absence is told before anything is made
    folder = None if pulled is None else pulled.folder
    starts = further_starts(store, config, report)
    prints = fingerprints(Saved(config, dataset, start=folder, starts=starts))
    return NewRun(config, dataset, folder, prints, bound.label, starts)


def _backbone_of(store: Store, bound: BoundKind, name: str | None, report: Reporter) -> Pulled | None:
    """The backbone that a baseline begins with: the one named, or its default; None where it begins with none.

    Raises:
        NotFoundError: No such backbone, or nowhere to be had. UsageError: It has no use for one, or wants one.
    """
    kind = bound.kind
    if kind.backbone == "none" or bound.is_scratch:
        if name is not None:
            why = "takes random weights with --scratch" if bound.is_scratch else "has no language model"
            raise UsageError(f"{kind.name} {why}; drop --backbone")
        return None
    if name is None and kind.backbone == "optional":
        return None
    instead = "; or take random weights of the same shapes: --scratch" if "scratch" in kind.options.model_fields else ""
    if name is None and kind.start is None:
        raise UsageError(f"{kind.name} begins with the weights of a model; name one with --backbone{instead}")
    if name is None:
        report.picked("backbone", str(kind.start), f"the default of {kind.name}")
    try:
        return find_backbone(store, name or str(kind.start), report)
    except NotFoundError as error:
        raise NotFoundError(f"{error}{instead}") from error


def _refuse(name: str, why: str, given: Mapping[str, Any], settings: tuple[str, ...]) -> None:
    """Refuse settings that a kind has no use for."""
    useless = [flag_of(key) for key in settings if key in given]
    if useless:
        raise UsageError(f"{name} {why}; drop {', '.join(useless)}")


def validation_sample(config: RunConfig, dataset: Dataset) -> list[Example]:
    """The validation targets that a run measures, sampled as an evaluation does; none where it does not validate.

    Raises:
        UsageError: The data set has none.
    """
    training = config.training
    if training is None or training.validate_every is None:
        return []
    examples = dataset.examples("validation", config.history.K, config.history.windows)
    if not examples:
        raise UsageError(
            f"{dataset.name} has no validation target; add it again with --validation 0.1, or drop --validate-every"
        )
    return sample_examples(examples, training.validation_targets)


def _data_of(store: Store, start: str | None, report: Reporter) -> str | None:
    """The data set of the run that a fine-tuning goes on with; None where there is none, or one is in use."""
    if start in (None, "none") or store.datasets.current() is not None:
        return None
    parent = store.runs.get(str(start))
    report.picked("data", parent.dataset, f"that of run {parent.name}")
    return parent.dataset


def _parent(store: Store, start: str | None, settings: RunSettings, report: Reporter) -> Run | None:
    """The run whose weights a fine-tuning starts from."""
    backbone = settings.get("backbone")
    if start == "none":
        return None
    if start is not None:
        parent = store.runs.get(start)
        weights_folder(store, parent, report)  # which refuses one without a language model
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
    kind: BoundKind,
    strategies: tuple[StrategyConfig, ...],
    parent: Run | None,
    settings: RunSettings,
    report: Reporter,
) -> NewRun:
    """Fill in what was not said, and tell what was picked."""
    if settings.get("head_learning_rate") is not None and "item" not in kind.kind.scores:
        raise UsageError(
            f"--head-learning-rate is of an item head, and {kind.kind.name!r} has none; drop it, or take "
            "`patchrec finetune --head item`"
        )
    if settings.get("lora_rank") is not None:
        if settings.get("shard"):
            raise UsageError("--shard splits weights that are trained, and --lora-rank trains none; drop one of them")
        from patchrec.model.lora import peft_version

        peft_version()  # said before anything is fetched
    dataset = store.datasets.load(pick_dataset(store, settings.get("data"), report))
    kind, parts = read_runs(store, kind, dataset.name)
    kind = kind.settled(dataset, report)
    name = (parent.config.backbone if parent else None) or settings.get("backbone")
    if name is None:
        name = DEFAULT_BACKBONE
        report.picked("backbone", name, "the default; it trains on a CPU")
    if parent:
        folder = weights_folder(store, parent, report)
    else:
        pulled = find_backbone(store, name, report)
        if not is_causal(pulled.folder):
            raise UsageError(
                f"backbone {pulled.name!r} encodes texts and writes none; take a causal language model from `patchrec "
                "backbones ls`"
            )
        name, folder = pulled.name, pulled.folder  # a path is kept whole, whatever folder it was typed in
    shape = {"form": settings.get("prompt")} | {key: settings.get(key) for key in _OF_SHAPE}
    made, inherited = is_made_at(folder), parent.config if parent else None
    prompt, history = shape_defaults(dataset, name, kind.kind, inherited, shape, report, made=made)
    training = {key: value for key, value in settings.items() if key in TrainingConfig.model_fields}
    if parts and settings.get("K") is None:  # so that each run which is read is asked after all that it reads
        history = history.model_copy(update={"K": max(history.K, *(part.history.K for part in parts))})
    learned = training_defaults(stage, dataset, name, kind.kind, training, report, made=made)
    with told_values(f"; see `patchrec {stage} --help`"):
        config = RunConfig(
            stage=stage,
            dataset=dataset.name,
            kind=KindConfig(name=kind.kind.name, options=kind.options.values),
            backbone=name,
            layers=settings.get("layers"),
            parent=parent.name if parent else None,
            parts=parts,
            strategies=strategies,
            history=history,
            prompt=prompt,
            training=learned,
            score=kind.kind.scores[0],
            seed=settings.get("seed") or 0,
        )
    validation_sample(config, dataset)  # so that its absence is told before anything is made
    prints = fingerprints(Saved(config, dataset, start=folder))
    return NewRun(config, dataset, folder, prints, label_of(config))
