"""Verb: what a training run would cost. Nothing of it is stored; a backbone that is not there yet is fetched."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, Unpack

from patchrec.config import TrainingConfig
from patchrec.model.memory import free_memory
from patchrec.operations.load import load_parts
from patchrec.operations.training.asked import Asked
from patchrec.operations.training.new_run import NewRun, RunSettings
from patchrec.operations.training.read_runs import lent_vectors
from patchrec.operations.training.train import make_learner, refuse_unknown
from patchrec.recommender import Fitting
from patchrec.reporting import SILENT, Reporter
from patchrec.store import Store
from patchrec.store.marks import NO_MARKS, Marks
from patchrec.training.estimate import (
    count_steps,
    memory_of,
    seconds_per_token,
)
from patchrec.training.language_learner import LanguageLearner


@dataclass(frozen=True, slots=True)
class DryRun:
    """What a run would take.

    Attributes:
        parent: Run whose weights it would begin with.
        tokens: Forest nodes to run forward and backward, over all steps; exact where all steps were counted.
        counted_steps: Steps whose tokens were counted.
        validations: How often validation targets would be measured.
        validation_tokens: Forest nodes of each of these times.
        parameters, trained_parameters: Weights of the model, and those that would be updated.
        memory: Bytes at the peak, by what for, with their `total`; the process itself comes on top.
        free_memory: Bytes that are free where it would run, its weights among them.
        seconds: About how long it takes here; None where it does not fit in memory.
        config: Everything that determines the run.
    """

    stage: str
    label: str
    dataset: str
    backbone: str
    parent: str | None
    steps: int
    targets: int
    tokens: int
    counted_steps: int
    validations: int
    validation_tokens: int
    parameters: int
    trained_parameters: int
    memory: dict[str, int]
    free_memory: int
    seconds: float | None
    config: dict[str, Any]


def dry_run(
    stage: Literal["pretrain", "finetune"],
    *,
    strategy: str | None = None,
    options: dict[str, Any] | None = None,
    head: str | None = None,
    head_options: dict[str, Any] | None = None,
    start: str | None = None,
    marks: Marks = NO_MARKS,
    home: Path | None = None,
    report: Reporter = SILENT,
    **settings: Unpack[RunSettings],
) -> DryRun:
    """Settle a run as `pretrain` or `finetune` would, and estimate what it takes.

    Args:
        stage: Which of the two.
        strategy: Of a fine-tuning.
        options: Of the strategy; of a pre-training's own, `patch-pretraining`.
        head, head_options: What answers, and its options, as `finetune` has them.
        start: Run to start from, as `finetune` has it.
        marks: Name, note and tags that it would get: the name has to be free.
        home: Folder of the store.
        report: Where picks are told.
        settings: See `RunSettings`.

    Raises:
        NotFoundError: No such data set, backbone, run or strategy. UsageError: Settings that do not fit.
        OutOfResourcesError: Not even one forest fits in memory.
    """
    refuse_unknown(settings)
    asked = Asked(
        command=stage,
        strategy=strategy,
        options=options,
        head=head,
        head_options=head_options,
        start=start,
        settings=settings,
    )
    with Store.open(home) as store:
        store.runs.check_free(marks)
        new = asked.settle(store, settings.get("seed") or 0, report)
        parts = load_parts(store, "to be made", new.config, report)
        vectors = lent_vectors(store, new.config, new.dataset, report)
    return _estimate(new, replace(new.fitting, parts=parts, vectors=vectors, report=report), report)


def _estimate(new: NewRun, fitting: Fitting, report: Reporter) -> DryRun:
    config, training = new.config, new.config.training or TrainingConfig()
    learner = make_learner(fitting)
    assert isinstance(learner, LanguageLearner)  # both stages train one
    learner.begin()
    backbone, batches = learner.backbone, learner.batches
    free = free_memory(backbone.device)
    parameters = sum(parameter.numel() for parameter in backbone.parameters())
    counted = count_steps(learner)
    validation_tokens = 0
    if learner.validation:
        validation_tokens = sum(len(labelled.forest) for labelled in learner.validation_forests[1])
    validations = -(-batches.num_steps // training.validate_every) if training.validate_every else 0
    trained = sum(parameter.numel() for parameter in learner.parameters)
    memory = memory_of(learner, [labelled for _, labelled in counted.forests])
    held = sum(parameter.nbytes for parameter in backbone.parameters())
    tokens = counted.tokens_of(batches.num_targets)
    seconds = None
    if training.shard:
        report.note(
            "memory is what one process alone would take; --shard splits weights, gradient and moments over all"
        )
    if memory.total <= free + held:
        # a forward pass alone is about a third of forward and backward
        work = tokens + validations * validation_tokens / 3
        planning = counted.seconds * batches.num_steps / counted.steps
        seconds = work * seconds_per_token(learner, counted.forests) + planning
    else:
        report.note(
            f"this needs more memory than is free; {learner.longest_prompt(batches.longest_of_trees)}; take a lower "
            "--max-nodes, --K or --max-title-tokens, --gradient-checkpointing, --lora-rank or a smaller backbone"
        )
    return DryRun(
        stage=config.stage,
        label=new.label,
        dataset=config.dataset,
        backbone=str(config.backbone),
        parent=config.parent,
        steps=batches.num_steps,
        targets=batches.num_targets,
        tokens=tokens,
        counted_steps=counted.steps,
        validations=validations,
        validation_tokens=validation_tokens,
        parameters=parameters,
        trained_parameters=trained,
        memory={**asdict(memory), "total": memory.total},
        free_memory=free + held,
        seconds=seconds,
        config=config.model_dump(mode="json"),
    )
