"""Language models as recommenders: by titles, by an item head where an answer begins, or by both.

Source: PatchRec (SIGIR 2025) for `title`; LITE-LLM4Rec (2024) for `item` with `--table free`, on a causal model, with
every position of a history supervised; Li et al., "E4SRec", 2023, for `--vectors` (`patchrec.model.item_head` says what
differs).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from patchrec.errors import NotFoundError
from patchrec.options import Options
from patchrec.recommender import Fitting, Kind, Recommender, Saved
from patchrec.reporting import SILENT

if TYPE_CHECKING:
    from pathlib import Path

    from patchrec.config import RunConfig
    from patchrec.data.histories import Dataset
    from patchrec.history import FloatArray
    from patchrec.model.backbone import Backbone
    from patchrec.model.patching import PathEncoder
    from patchrec.model.prompt import Prompt
    from patchrec.model.titles import TitleTokens
    from patchrec.ranking.trie import TitleTrie
    from patchrec.reporting import Reporter
    from patchrec.training.learner import Learner


class TitleOptions(Options):
    """Options of titles."""

    loss: Literal["vocabulary", "catalog"] = Field(
        "vocabulary",
        description="Softmax of titles over the whole vocabulary, or over what the catalog's titles leave to choose.",
    )


class ItemHeadOptions(Options):
    """Options of an item head."""

    table: Literal["tied", "patch", "text", "free"] | None = Field(
        None,
        description="Rows of the head: projected item patches plus the items' input vectors, or plus others, or alone "
        "(all with a prior), or free vectors; default: tied, patch where input vectors are not free.",
    )
    item_vectors: bool = Field(True, description="Add a free vector of each item to its patch in the input.")
    vectors: str | None = Field(
        None,
        description="Run, such as one of sasrec, whose item vectors are added to patches through a trained projection, "
        "in place of free ones; they stay fixed.",
    )
    item_text: str = Field("{title}", description='What patches are made of, such as "{title} ({year}), {genres}".')
    item_encoder: Literal["tokens", "llm"] = Field(
        "tokens",
        description="Rows of the table from mean token embeddings, or from mean states of the model, read once.",
    )

    @property
    def rows(self) -> Literal["tied", "patch", "text", "free"]:
        """The table, chosen or not."""
        return self.table or ("tied" if self.item_vectors and self.vectors is None else "patch")

    @property
    def reads_start(self) -> bool:
        """Texts of new items are read as those of the others were."""
        return self.item_encoder == "llm"

    @model_validator(mode="after")
    def _encoder_of_a_table(self) -> ItemHeadOptions:
        if self.item_encoder == "llm" and self.table == "free":
            raise ValueError("--item-encoder llm goes with --table tied, patch or text, not with --table free")
        if self.vectors is not None and not self.item_vectors:
            raise ValueError("--vectors names what --no-item-vectors leaves out; drop one of the two")
        if self.table == "tied" and (self.vectors is not None or not self.item_vectors):
            other = "--vectors" if self.vectors is not None else "--no-item-vectors"
            raise ValueError(
                f"--table tied has one vector for input and row, {other} has none to tie; drop one of the two"
            )
        return self


class TwoHeadsOptions(ItemHeadOptions, TitleOptions):
    """Options of titles and an item head together."""

    item_loss: float = Field(
        1.0, gt=0, le=1e6, description="Weight of the item loss beside the title loss in training."
    )
    item_weight: float = Field(
        1.0, gt=0, le=1e6, description="Weight of the item head in the score, until one is chosen."
    )


def _learner(fitting: Fitting) -> Learner:
    from patchrec.model.backbone import Backbone
    from patchrec.plugins import plan_for
    from patchrec.ranking.trie import TitleTrie
    from patchrec.training.batches import all_batches
    from patchrec.training.language_learner import HeadWeights, LanguageLearner
    from patchrec.training.longest import refuse_longer

    config, dataset = fitting.config, fitting.dataset
    assert fitting.start is not None
    sharded = config.training is not None and config.training.shard  # what is to be split may fit on no GPU
    backbone = Backbone.load(fitting.start, name=str(config.backbone), device="cpu" if sharded else None)
    if config.layers is not None:
        backbone.keep_layers(config.layers)
    options = _options(config)
    encoder = _encoder(config, dataset, fitting.start, report=fitting.report)
    lent = fitting.vectors.get("vectors")
    _add_items(backbone, dataset, config, fitting.start.parent, fitting.start, encoder, lent=lent, trained=True)
    weights = HeadWeights()
    if options is not None:
        weights = HeadWeights(1.0, options.item_loss) if isinstance(options, TwoHeadsOptions) else HeadWeights(0.0, 1.0)
    branches = None
    if config.kind.options.get("loss") == "catalog":
        branches = TitleTrie.build(encoder.titles, encoder.prompt.end)
    planners = [encoder.measured(plan_for(strategy)) for strategy in config.strategies]
    batches = all_batches(config, dataset)
    refuse_longer(
        backbone.positions, backbone.name, config.history.K, batches.longest_of_trees, dataset, encoder,
        planners, fitting.report, answers=weights.title > 0,
    )  # fmt: skip
    return LanguageLearner(
        config,
        dataset,
        backbone,
        encoder=encoder,
        planners=planners,
        batches=batches,
        weights=weights,
        branches=branches,
        validation=fitting.validation,
    )


def _load(saved: Saved) -> Recommender:
    from patchrec.model.backbone import Backbone
    from patchrec.plugins import plan_for
    from patchrec.ranking.compression import dataset_paper_ratio
    from patchrec.ranking.items import precedence
    from patchrec.ranking.language import LanguageRecommender
    from patchrec.ranking.merged import merged_note
    from patchrec.ranking.scorer import TitleScorer

    config, dataset = saved.config, saved.dataset
    folder = _weights(saved)
    backbone = Backbone.load(folder, name=str(config.backbone))
    if saved.folder is None and config.layers is not None:
        backbone.keep_layers(config.layers)
    options = _options(config)
    score = saved.score or config.score
    prompt = _prompt(config, folder)
    titles, trie = _kept(saved, prompt)
    if score != "item" and (note := merged_note(trie, dataset.catalog.titles)):
        saved.report.note(note)
    encoder = _encoder(config, dataset, folder, titles)
    _add_items(backbone, dataset, config, folder.parent, saved.start, encoder)
    backbone.remember_items(encoder)
    planner = encoder.measured(plan_for(config.strategies[-1]))
    scorer, item_weight = None, None
    if score != "item":
        scorer = TitleScorer(backbone, encoder, trie, "catalog" if score == "mixture" else score)
    if score == "mixture":
        assert isinstance(options, TwoHeadsOptions)
        item_weight = options.item_weight if saved.item_weight is None else saved.item_weight
    history, length = config.history, float(encoder.titles.lengths.mean())
    ratio = dataset_paper_ratio(dataset, planner, length, history.K, history.windows)
    return LanguageRecommender(
        backbone,
        encoder,
        planner,
        precedence(dataset.popularity),
        dataset.catalog.titles,
        scorer,
        item_weight=item_weight,
        search=saved.search,
        retrieve=saved.retrieve,
        max_tokens=saved.max_tokens,
        paper_ratio=ratio if ratio == ratio else None,  # noqa: PLR0124 (nan: it has none)
        report=saved.report,
    )


def _export(saved: Saved, folder: Path) -> Mapping[str, Any]:
    """Write the plain model with its tokenizer, and the item head beside it where there is one."""
    import shutil

    from patchrec.model.backbone import Backbone
    from patchrec.model.prompt import ITEM_MARKER, SESSION_MARKER
    from patchrec.training.weights import ITEMS

    source = _weights(saved)
    backbone = Backbone.load(source, name=str(saved.config.backbone), device="cpu")
    prompt = _prompt(saved.config, source)
    backbone.end_with(prompt.end)
    backbone.save(folder)
    facts: dict[str, Any] = {
        "prompt": {
            "head": prompt.head.tolist(),
            "separator": prompt.separator,
            "after_patches": prompt.after_patches,
            "tail": prompt.tail.tolist(),
            "end": prompt.end,
            "max_title_tokens": None if saved.config.prompt is None else saved.config.prompt.max_title_tokens,
        },
        "markers": {"item": ITEM_MARKER, "session": SESSION_MARKER},
    }
    if saved.folder is not None and (saved.folder / ITEMS).is_file():
        shutil.copyfile(saved.folder / ITEMS, folder / ITEMS)
        facts["item_ids"] = list(saved.dataset.catalog.item_ids)
    return facts


def _fingerprints(saved: Saved) -> Mapping[str, str]:
    from patchrec.model.tokenizer import shared_tokenizer, tokenizer_fingerprint

    folder = _weights(saved)
    prompt = _prompt(saved.config, folder)
    return {"prompt": prompt.fingerprint, "tokenizer": tokenizer_fingerprint(shared_tokenizer(folder))}


def _prompt(config: RunConfig, folder: Path) -> Prompt:
    from patchrec.config import PromptConfig
    from patchrec.model.prompt import build_prompt
    from patchrec.model.tokenizer import shared_tokenizer

    return build_prompt(shared_tokenizer(folder), config.prompt or PromptConfig())


def _weights(saved: Saved) -> Path:
    """The model folder of a run: its checkpoint's, or what it began with where it learned nothing."""
    if saved.folder is not None:
        return saved.folder / "model"
    assert saved.start is not None
    return saved.start


def _options(config: RunConfig) -> ItemHeadOptions | None:
    """The options of a run's item head; None where it has none."""
    model = {"item": ItemHeadOptions, "both": TwoHeadsOptions}.get(config.kind.name)
    return None if model is None else model.model_validate(config.kind.options)


def _encoder(
    config: RunConfig,
    dataset: Dataset,
    folder: Path,
    titles: TitleTokens | None = None,
    report: Reporter = SILENT,
) -> PathEncoder:
    """Prompt and titles, and the texts that patches are made of where those are not the titles.

    Args:
        config: Of the run.
        dataset: Whose titles.
        folder: A model folder.
        titles: Title tokens, where they are there already.
        report: Where titles that are cut are told.
    """
    from patchrec.data.item_texts import TITLE, item_texts
    from patchrec.model.patching import PathEncoder
    from patchrec.model.tokenizer import encode_titles, vocab_size

    prompt, options = _prompt(config, folder), _options(config)
    if titles is None:
        titles = _titles(config, dataset, folder, prompt, report)
    texts = None
    if options is not None and options.item_text != TITLE:
        texts = encode_titles(folder, item_texts(dataset.catalog, options.item_text), prompt)
    return PathEncoder(prompt, titles, vocab_size(folder), texts)


def _titles(
    config: RunConfig, dataset: Dataset, folder: Path, prompt: Prompt, report: Reporter = SILENT
) -> TitleTokens:
    """Tokens of a catalog's titles as a run's prompt takes them."""
    from patchrec.config import PromptConfig
    from patchrec.model.tokenizer import encode_titles, shortened

    titles = dataset.catalog.titles
    return shortened(encode_titles(folder, titles, prompt), titles, config.prompt or PromptConfig(), report)


def _kept(saved: Saved, prompt: Prompt) -> tuple[TitleTokens, TitleTrie]:
    """Title tokens and trie of a fitted run, kept beside it."""
    from patchrec.ranking.kept import FILE_NAME, recall_or_build
    from patchrec.ranking.trie import TitleTrie

    def encode() -> TitleTokens:
        return _titles(saved.config, saved.dataset, _weights(saved), prompt)

    if saved.cache is None:
        titles = encode()
        return titles, TitleTrie.build(titles, prompt.end)
    return recall_or_build(saved.cache / FILE_NAME, saved.stamp, encode, prompt.end)


def _add_items(
    backbone: Backbone,
    dataset: Dataset,
    config: RunConfig,
    folder: Path | None,
    start: Path | None,
    encoder: PathEncoder,
    *,
    lent: FloatArray | None = None,
    trained: bool = False,
) -> None:
    """Give a backbone an item head and item vectors, where a run has them: those in a checkpoint, or new ones.

    Args:
        backbone: Changed in place.
        dataset: Whose items.
        config: Of the run.
        folder: Of the checkpoint; None, or one without items: new ones.
        start: The model that the run began with, which reads the texts of items that the checkpoint does not have.
        encoder: Knows the texts.
        lent: (I, W) vectors of another run's items, where new ones begin with them.
        trained: Whether they will learn, which takes more memory.

    Raises:
        UsageError: The checkpoint has other tables. NotFoundError: New items, and the start is gone.
        OutOfResourcesError: They could not be held.
    """
    import torch

    from patchrec.model.backbone import Backbone
    from patchrec.model.item_head import ItemSide, ItemSideConfig, read_metadata, spread_beside
    from patchrec.model.made import is_made
    from patchrec.training.weights import ITEMS

    options = _options(config)
    if options is None:
        return
    num_items, width = len(dataset.catalog), int(backbone.embedding.shape[1])
    _refuse_too_large(num_items, width, 1 + (options.item_vectors and options.rows != "tied"), trained=trained)
    kept = folder / ITEMS if folder is not None and (folder / ITEMS).is_file() else None
    said = {} if kept is None else read_metadata(kept)
    known = int(said.get("num_items", 0))
    size = lent.shape[1] if lent is not None else int(said["lent"]) if "lent" in said else None
    size = None if options.vectors is None else size
    shape = ItemSideConfig(options.rows, options.item_vectors, options.item_encoder, size)
    # what a checkpoint holds is drawn no second time: of a million items that would take seconds
    spread = spread_beside(backbone.embedding, made=is_made(backbone.model.config)) if kept is None else 0.0
    items = ItemSide(num_items, width, shape, dataset.popularity, spread=spread, seed=config.seed)
    if items.texts is not None and known < num_items:
        reader = backbone
        if kept is not None:
            if start is None:
                raise NotFoundError(
                    f"{num_items - known:,} items are new to this run, whose texts backbone {config.backbone!r} is to "
                    f"read, and that is gone; `patchrec backbones pull {config.backbone}`, or make it again, or train "
                    "a run anew"
                )
            reader = Backbone.load(start, name=str(config.backbone))
            if config.layers is not None:
                reader.keep_layers(config.layers)
        items.texts.copy_(reader.text_states(encoder))
    if kept is not None:
        items.load(kept)
    if lent is not None and items.lent is not None:
        items.take(torch.from_numpy(lent).float())
    backbone.items = items.to(backbone.device)


def _refuse_too_large(num_items: int, width: int, num_tables: int, *, trained: bool) -> None:
    """Refuse item tables that could not be held: weights in float32, and gradient and two moments in training.

    Raises:
        OutOfResourcesError: In one line, with what to do.
    """
    import torch

    from patchrec.model.backbone import best_device
    from patchrec.model.memory import refuse_larger

    refuse_larger(
        f"an item head of {num_items:,} items x {width:,} takes" + " in training" * trained,
        (16 if trained else 4) * num_items * width * num_tables,
        torch.device(best_device()),
        "take --no-item-vectors, a smaller backbone, or --head title" if trained else "close other programs",
    )


KINDS = (
    Kind(
        "title",
        "a language model ranks titles by their tokens",
        _learner,
        _load,
        _export,
        _fingerprints,
        options=TitleOptions,
        scores=("catalog", "joint"),
        training={},
        is_head=True,
        source="PatchRec, SIGIR 2025",
    ),
    Kind(
        "item",
        "a language model ranks items by one product where an answer begins",
        _learner,
        _load,
        _export,
        _fingerprints,
        options=ItemHeadOptions,
        scores=("item",),
        training={"head_learning_rate": 1e-3, "epochs": 4, "batch_size": 256},
        shape={"windows": "blocks", "separators": "titles"},
        defaults_from="measured for item",
        is_head=True,
        vectors_of=("vectors",),
        source="LITE-LLM4Rec, 2024",
    ),
    Kind(
        "both",
        "a language model ranks by titles and an item head together",
        _learner,
        _load,
        _export,
        _fingerprints,
        options=TwoHeadsOptions,
        scores=("mixture", "catalog", "joint", "item"),
        training={"head_learning_rate": 1e-3},
        is_head=True,
        vectors_of=("vectors",),
    ),
)
