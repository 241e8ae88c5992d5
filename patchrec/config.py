"""Closed configurations: what a run is made of. An unknown key is an error."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Stage = Literal["pretrain", "finetune", "untrained", "popularity"]
STAGES: tuple[Stage, ...] = ("pretrain", "finetune", "untrained", "popularity")
PromptForm = Literal["paper", "instruction-first", "continuation"]
Windows = Literal["sliding", "anchored"]
ScoreName = Literal["catalog", "joint"]
SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")


class Closed(BaseModel):
    """A frozen model without room for unknown keys, or for numbers that are none."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class StrategyConfig(Closed):
    """A strategy by name with its option values."""

    name: str
    options: dict[str, Any] = {}


class PromptConfig(Closed):
    """Everything of a prompt that is not the history itself.

    Attributes:
        form: `paper` (chat, instruction after the history), `instruction-first` (chat, short suffix) or
            `continuation` (one title a line; the list goes on into the answer).
        noun: What an item is called, such as "movie".
        verb: What a user did with it, such as "watched".
        K: History length: the newest K items are kept.
        windows: `sliding` keeps exactly the newest K; `anchored` starts windows on multiples of K/2, so that the
            targets of a user share prefixes (K/2 to K - 1 items of history).
    """

    form: PromptForm = "paper"
    noun: str = "item"
    verb: str = "chosen"
    K: int = Field(100, ge=1)
    windows: Windows = "sliding"


class TrainingConfig(Closed):
    """How weights are updated.

    Attributes:
        batch_size: Targets per optimizer step.
        learning_rate: Peak of the cosine schedule.
        max_nodes: Forest nodes of one forward pass; a step is split into passes of at most this many (or of
            twice the longest prompt, where that is more).
        gradient_checkpointing: Keep only each layer's input for the backward pass and compute the rest again: less
            memory, more time, the same numbers.
        validate_every: Measure the loss on validation targets after so many steps, and end with the weights that were
            best; None never does.
        validation_targets: How many of them, a sample.
        lora_rank: R of adapters that are trained in place of the weights; None trains all weights.
        shard: Split weights, gradients and moments over the processes, for a backbone that does not fit on one.
    """

    epochs: int = Field(1, ge=1)
    max_steps: int | None = Field(None, ge=1)
    batch_size: int = Field(64, ge=1)
    learning_rate: float = Field(5e-5, gt=0)
    warmup: float = Field(0.05, ge=0, le=1)
    weight_decay: float = Field(0.0, ge=0)
    clip_norm: float = Field(1.0, gt=0)
    max_nodes: int = Field(2048, ge=16)
    dtype: Literal["float32", "bfloat16"] = "float32"
    checkpoint_every: int | None = Field(None, ge=1)
    gradient_checkpointing: bool = False
    validate_every: int | None = Field(None, ge=1)
    validation_targets: int = Field(200, ge=1)
    lora_rank: int | None = Field(None, ge=1)
    shard: bool = False


class RunConfig(Closed):
    """One run: a stage on a data set with a backbone.

    Attributes:
        strategies: Every example is planned once by each (pre-training: raw and compressed).
        parent: The run whose weights are the start; None starts from the backbone.
    """

    stage: Stage
    dataset: str
    backbone: str | None
    parent: str | None = None
    strategies: tuple[StrategyConfig, ...] = ()
    prompt: PromptConfig = PromptConfig()
    training: TrainingConfig | None = None
    score: ScoreName = "catalog"
    seed: int = 0
