"""Two stages: another run retrieves candidates, and a language model ranks them by a letter each.

Source: Yue et al., "LlamaRec: Two-Stage Recommendation using Large Language Models for Ranking", 2023. Departures: any
run retrieves, not LRURec alone; any strategy lays the history out; the loss is a softmax over the candidates' letters,
which is what ranks (`--loss vocabulary` is the paper's, though the end token after the letter is not trained); the
wording of the prompt is ours; all weights learn unless `--lora-rank` says otherwise; all targets are evaluated, not
those alone that the retriever finds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from patchrec.options import Options
from patchrec.recommender import Fitting, Kind, Recommender, Saved
from patchrec.reporting import SILENT

if TYPE_CHECKING:
    from pathlib import Path

    from patchrec.config import RunConfig
    from patchrec.data.histories import Dataset
    from patchrec.model.letters import Letters
    from patchrec.model.patching import PathEncoder
    from patchrec.ranking.lettered import Retriever
    from patchrec.recommender import Part
    from patchrec.reporting import Reporter
    from patchrec.training.learner import Learner


class LlamaRecOptions(Options):
    """Who retrieves, how much is read, and what is learned."""

    retriever: str | None = Field(None, description="Run that chooses the candidates, of any kind.")
    candidates: int = Field(20, ge=2, le=26, description="Items that the language model ranks, a letter each.")
    recent: int = Field(20, ge=1, le=1_000_000, description="Newest items of a history that the prompt shows.")
    others: Literal["drawn", "retrieved"] = Field(
        "drawn",
        description="What stands beside a target in training: items drawn at random, in random order, or the "
        "retriever's best in its order, where the target is among them.",
    )
    loss: Literal["letters", "vocabulary"] = Field(
        "letters", description="Softmax over the candidates' letters, or over the whole vocabulary."
    )


def _learner(fitting: Fitting) -> Learner:
    from patchrec.model.backbone import Backbone
    from patchrec.plugins import planners_of
    from patchrec.ranking.lettered import LetteredRecommender
    from patchrec.training.batches import all_batches
    from patchrec.training.candidates import LetteredQuestions
    from patchrec.training.language_learner import LanguageLearner
    from patchrec.training.longest import refuse_longer

    config, dataset = fitting.config, fitting.dataset
    assert fitting.start is not None
    options = _options(config)
    encoder, letters = _encoder(config, dataset, fitting.start, fitting.report)
    retriever = _retriever(options, fitting.parts, dataset)
    sharded = config.training is not None and config.training.shard
    backbone = Backbone.load(fitting.start, name=str(config.backbone), device="cpu" if sharded else None)
    if config.layers is not None:
        backbone.keep_layers(config.layers)
    planners = [encoder.measured(planner) for planner in planners_of(config)]
    questions = LetteredQuestions(
        dataset, encoder, letters, retriever, options.others == "drawn", options.loss == "letters"
    )
    if options.others == "retrieved":
        fitting.report.note(f"asking run {options.retriever} after every training target")
    batches = all_batches(config, dataset, questions.learnable)
    refuse_longer(
        backbone.positions, backbone.name, config.history.K, batches.longest_of_trees, dataset, encoder,
        planners, fitting.report, answers=False, asked=letters.longest(encoder.prompt, encoder.titles),
    )  # fmt: skip
    return LanguageLearner(
        config,
        dataset,
        backbone,
        encoder=encoder,
        planners=planners,
        batches=batches,
        questions=questions,
        ranker=lambda: LetteredRecommender(backbone, encoder, planners[-1], letters, retriever),
        validation=fitting.validation,
    )


def _load(saved: Saved) -> Recommender:
    from patchrec.model.backbone import Backbone
    from patchrec.plugins import planners_of
    from patchrec.ranking.lettered import LetteredRecommender

    config, options, folder = saved.config, _options(saved.config), _model_folder(saved)
    backbone = Backbone.load(folder, name=str(config.backbone))
    if saved.folder is None and config.layers is not None:
        backbone.keep_layers(config.layers)
    encoder, letters = _encoder(config, saved.dataset, folder)
    backbone.remember_items(encoder)
    return LetteredRecommender(
        backbone,
        encoder,
        encoder.measured(planners_of(config)[-1]),
        letters,
        _retriever(options, saved.parts, saved.dataset),
    )


def _export(saved: Saved, folder: Path) -> Mapping[str, Any]:
    """Write the plain model with its tokenizer; what it needs of the run that retrieves is that run's to export."""
    from patchrec.model.backbone import Backbone
    from patchrec.model.prompt import ITEM_MARKER, SESSION_MARKER

    source = _model_folder(saved)
    Backbone.load(source, name=str(saved.config.backbone), device="cpu").save(folder)
    encoder, letters = _encoder(saved.config, saved.dataset, source)
    prompt = encoder.prompt
    assert prompt.rest is not None
    return {
        "prompt": {
            "head": prompt.head.tolist(),
            "separator": prompt.separator,
            "after_patches": prompt.after_patches,
            "tail": prompt.tail.tolist(),
            "mark": letters.mark.tolist(),
            "rest": prompt.rest.tolist(),
            "letters": letters.tokens.tolist(),
            "max_title_tokens": None if saved.config.prompt is None else saved.config.prompt.max_title_tokens,
        },
        "markers": {"item": ITEM_MARKER, "session": SESSION_MARKER},
        "retriever": _options(saved.config).retriever,
    }


def _fingerprints(saved: Saved) -> Mapping[str, str]:
    from patchrec.config import PromptConfig
    from patchrec.model.letters import Letters
    from patchrec.model.prompt import build_prompt
    from patchrec.model.tokenizer import load_tokenizer, tokenizer_fingerprint

    tokenizer = load_tokenizer(_model_folder(saved))
    prompt = build_prompt(tokenizer, saved.config.prompt or PromptConfig(), lettered=True)
    letters = Letters.of(tokenizer, _options(saved.config).candidates)
    return {"prompt": prompt.fingerprint + letters.fingerprint, "tokenizer": tokenizer_fingerprint(tokenizer)}


def _encoder(
    config: RunConfig, dataset: Dataset, folder: Path, report: Reporter = SILENT
) -> tuple[PathEncoder, Letters]:
    """Prompt, titles and letters of a run by the tokenizer of a model folder."""
    from patchrec.config import PromptConfig
    from patchrec.model.letters import Letters
    from patchrec.model.patching import PathEncoder
    from patchrec.model.prompt import build_prompt
    from patchrec.model.tokenizer import encode_titles, load_tokenizer, shortened, vocab_size

    words, titles, tokenizer = config.prompt or PromptConfig(), dataset.catalog.titles, load_tokenizer(folder)
    prompt = build_prompt(tokenizer, words, lettered=True)
    tokens = shortened(encode_titles(folder, titles, prompt), titles, words, report)
    return PathEncoder(prompt, tokens, vocab_size(folder)), Letters.of(tokenizer, _options(config).candidates)


def _retriever(options: LlamaRecOptions, parts: tuple[Part, ...], dataset: Dataset) -> Retriever:
    from patchrec.ranking.items import precedence
    from patchrec.ranking.lettered import Retriever

    (part,) = parts
    return Retriever(part, dataset.catalog, precedence(dataset.popularity), options.candidates)


def _model_folder(saved: Saved) -> Path:
    """Of a run's checkpoint, or of what it began with where it learned nothing."""
    if saved.folder is not None:
        return saved.folder / "model"
    assert saved.start is not None
    return saved.start


def _options(config: RunConfig) -> LlamaRecOptions:
    return LlamaRecOptions.model_validate(config.kind.options)


KIND = Kind(
    "llamarec",
    "a language model ranks the best items of another run by a letter each",
    _learner,
    _load,
    _export,
    _fingerprints,
    options=LlamaRecOptions,
    scores=("letters",),
    training={},
    shape={"windows": "sliding"},
    defaults_from="windows as in its paper",
    is_head=True,
    reads=("retriever",),
    shows="recent",
    source="Yue et al., LlamaRec, 2023",
)
