"""Closed configurations: what a run is made of. An unknown key is an error."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from patchrec.bounds import held

Stage = Literal["pretrain", "finetune", "baseline", "blend", "predictions"]
STAGES: tuple[Stage, ...] = (
    "pretrain",
    "finetune",
    "baseline",
    "blend",
    "predictions",
)  # its order decides batches: new ones go at the end
PromptForm = Literal["paper", "instruction-first", "continuation"]
Separators = Literal["all", "titles"]
LongTitles = Literal["cut", "refuse"]
Windows = Literal["sliding", "anchored", "blocks"]
ScoreName = Literal["catalog", "joint", "item", "mixture", "letters", "list"]
NORMALISED: frozenset[ScoreName] = frozenset(
    {"catalog", "item", "mixture", "letters"}
)  # over titles: their log-probabilities compare
ValidateMetric = Literal["loss", "hr@10", "hr@20", "ndcg@10", "ndcg@20"]
SplitName = Literal["train", "validation", "test"]
MOST_EPOCHS = 10_000
MOST_ITEMS = 2**31 - 1  # of a history, and of a catalog: indices of tables
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")


class Closed(BaseModel):
    """A frozen model without room for unknown keys, or for numbers that are none or that nothing holds."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    _held = field_validator("*")(held)


class StrategyConfig(Closed):
    """A strategy by name with its option values."""

    name: str
    options: dict[str, Any] = {}


class KindConfig(Closed):
    """A kind of recommender by name with its option values."""

    name: str = "title"
    options: dict[str, Any] = {}


class HistoryConfig(Closed):
    """How histories are cut.

    Attributes:
        K: History length: the newest K items are kept.
        windows: `sliding` keeps exactly the newest K; `anchored` starts windows on multiples of K/2, so that the
            targets of a user share prefixes (K/2 to K - 1 items of history); `blocks` trains on consecutive blocks of
            K items, each item in one window alone (0 to K - 1 items of history), and asks after anchored windows.
    """

    K: int = Field(100, ge=1, le=MOST_ITEMS)
    windows: Windows = "sliding"


class PromptConfig(Closed):
    """Everything of a prompt that is not the history itself.

    Attributes:
        form: `paper` (chat, instruction after the history), `instruction-first` (chat, short suffix) or
            `continuation` (one title a line; the list goes on into the answer).
        separators: What a line break follows: every unit of a history (`all`), or `titles` alone: a patch then is one
            position.
        noun: What an item is called, such as "movie".
        verb: What a user did with it, such as "watched".
        max_title_tokens: Tokens of a title that the model sees, in histories and as an answer; None: all.
        long_titles: What becomes of longer ones: `cut` after so many, or `refuse` the catalog.
    """

    form: PromptForm = "paper"
    separators: Separators = "all"
    noun: str = "item"
    verb: str = "chosen"
    max_title_tokens: int | None = Field(None, ge=1)
    long_titles: LongTitles = "cut"


class TrainingConfig(Closed):
    """How weights are updated.

    Attributes:
        batch_size: Targets per optimizer step.
        tree_targets: Largest number of targets of a tree: those of one user that share a prefix, and what is drawn at
            random. 1 makes every target independent, as in the paper; None makes trees as large as a step.
        user_targets: How many targets of each user an epoch takes, drawn anew in each; None takes all.
        learning_rate: Peak of the cosine schedule; a step moves a weight by about as much, so nothing learns above 1.
        max_nodes: Forest nodes of one forward pass; a step is split into passes of at most this many (or of
            twice the longest prompt, where that is more).
        gradient_checkpointing: Keep only each layer's input for the backward pass and compute the rest again: less
            memory, more time, the same numbers.
        validate_every: Measure validation targets after so many steps, and end with the weights that were best; None
            never does.
        validate_metric: What is measured: the loss, or a ranking metric over items, seen ones dropped.
        patience: Stop after so many measurements without a better one; None goes on to the end.
        validation_targets: How many of them, a sample.
        head_learning_rate: Peak for the parts of an item head and item vectors, which begin from nothing.
        dropout: Share of the inputs, and of what each layer adds to its own, that is left out in training.
        layer_decay: Peak of a layer over that of the layer above it, in a language model; embeddings are the lowest.
        lora_rank: R of adapters that are trained in place of the weights; None trains all weights.
        shard: Split weights, gradients and moments over the processes, for a backbone that does not fit on one.
    """

    epochs: int = Field(1, ge=1, le=MOST_EPOCHS)
    max_steps: int | None = Field(None, ge=1)
    batch_size: int = Field(64, ge=1)
    tree_targets: int | None = Field(None, ge=1)
    user_targets: int | None = Field(None, ge=1)
    learning_rate: float = Field(5e-5, gt=0, le=1)
    warmup: float = Field(0.05, ge=0, le=1)
    weight_decay: float = Field(0.0, ge=0)
    clip_norm: float = Field(1.0, gt=0)
    max_nodes: int = Field(2048, ge=16)
    dtype: Literal["float32", "bfloat16"] = "float32"
    checkpoint_every: int | None = Field(None, ge=1)
    gradient_checkpointing: bool = False
    validate_every: int | None = Field(None, ge=1)
    validate_metric: ValidateMetric = "loss"
    patience: int | None = Field(None, ge=1)
    head_learning_rate: float | None = Field(None, gt=0, le=1)
    validation_targets: int = Field(200, ge=1)
    dropout: float = Field(0.0, ge=0, lt=1)
    layer_decay: float = Field(1.0, gt=0, le=1)
    lora_rank: int | None = Field(None, ge=1)
    shard: bool = False

    @model_validator(mode="after")
    def _decay_leaves_something(self) -> "TrainingConfig":
        fastest = max(self.learning_rate, self.head_learning_rate or 0.0)
        if fastest * self.weight_decay > 1:
            raise ValueError(
                f"--weight-decay {self.weight_decay:g} at the rate {fastest:g} takes more than all of a weight away in "
                f"a step; take {1 / fastest:g} at most"
            )
        return self


class PartConfig(Closed):
    """A run whose answers a blend mixes, or another run reads.

    Attributes:
        run: Its name.
        weight: Of its log-probability; those of a blend add up to 1. 0: it speaks of new items alone.
        history: How it wants histories cut.
        stamp: What it was then; another one is another run.
    """

    run: str
    weight: float = Field(ge=0, le=1)
    history: HistoryConfig = HistoryConfig()
    stamp: str = ""


class RunConfig(Closed):
    """One run: a stage that fits a kind of recommender on a data set.

    Attributes:
        stage: `pretrain` and `finetune` train a language model; `baseline` is fitted on its own, or not at all;
            `blend` mixes other runs; `predictions` holds another system's lists.
        kind: What ranks.
        backbone: The model whose weights are the start, by name; None for kinds without one.
        layers: The first so many layers of the backbone are kept; None keeps all.
        strategies: Every example is planned once by each (pre-training: raw and compressed); none without a prompt.
        parent: The run whose weights are the start; None starts from the backbone.
        parts: The runs that a blend mixes, or whose answers the kind reads.
        history: How histories are cut.
        prompt: What stands around them; None for kinds without a prompt.
        training: How weights are updated; None where nothing is learned by gradient.
        score: What the run ranks by, unless another is chosen on validation.
    """

    stage: Stage
    dataset: str
    kind: KindConfig = KindConfig()
    backbone: str | None
    layers: int | None = Field(None, ge=1)
    parent: str | None = None
    parts: tuple[PartConfig, ...] = ()
    strategies: tuple[StrategyConfig, ...] = ()
    history: HistoryConfig = HistoryConfig()
    prompt: PromptConfig | None = PromptConfig()
    training: TrainingConfig | None = None
    score: ScoreName = "catalog"
    seed: int = 0

    @property
    def language_model(self) -> str | None:
        """The backbone of a run that is asked by a prompt, and that others may start from; None for any other run."""
        return None if self.prompt is None else self.backbone

    @property
    def command(self) -> str:
        """The command that makes such a run."""
        return f"baseline {self.kind.name}" if self.stage == "baseline" else self.stage

    @model_validator(mode="before")
    @classmethod
    def _lift(cls, values: Any) -> Any:
        """Read configurations of earlier versions: K and windows stood in the prompt, two stages were kinds."""
        if not isinstance(values, dict):
            return values
        values = dict(values)
        prompt = values.get("prompt")
        if isinstance(prompt, dict) and {"K", "windows"} & prompt.keys():
            values["prompt"] = {key: value for key, value in prompt.items() if key not in ("K", "windows")}
            history = {key: prompt[key] for key in ("K", "windows") if key in prompt}
            values["history"] = {**history, **(values.get("history") or {})}
        if values.get("stage") in ("untrained", "popularity"):
            if values["stage"] == "popularity":
                values |= {"kind": {"name": "popularity"}, "prompt": None, "score": "item"}
            values["stage"] = "baseline"
        return values
