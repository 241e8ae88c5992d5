"""P5, POD and LightLM as kinds of recommender: items are paths of tokens, and a T5 spells the next one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from patchrec.errors import UsageError, flag_of
from patchrec.recommenders.factories import Ground, item_model_kind
from patchrec.recommenders.sasrec import TRAINING as SASREC_TRAINING
from patchrec.recommenders.sasrec import TransformerOptions

if TYPE_CHECKING:
    from torch import nn

    from patchrec.model.item_index import Path

# Before a history, and after it. Noun and verb are the data set's.
TEXTS = (
    ("a user has {verb} :", "; next {noun} ?"),
    ("{noun}s in order :", ", then"),
    ("which {noun} comes after", "?"),
)


class LightLMOptions(TransformerOptions):
    """Size of the transformer, what items are called, and how the list is found."""

    width: int = Field(64, ge=1, le=2**48, description="size of token vectors and states")
    inner: int = Field(16, ge=1, le=2**48, description="size of the feed-forward networks: narrow")
    layers: int = Field(4, ge=1, le=1_024, description="layers of the encoder, and of the decoder: deep")
    heads: int = Field(2, ge=1, description="attention heads, a divisor of the width")
    dropout: float = Field(0.1, ge=0, lt=1, description="share of activations dropped in training")
    index: Literal["sequential", "collaborative", "random"] = Field(
        "collaborative",
        description="how items get their paths: numbered as histories bring them, by clusters of items that share "
        "users, or by chance",
    )
    branches: int = Field(64, ge=2, le=65_536, description="most tokens that a place in a path chooses among")
    encoder: Literal["whole", "past"] = Field(
        "whole",
        description="what a token of a history sees: all of the history, or what came before it, so that all targets "
        "of a history are learned in one pass",
    )
    search: Literal["exact", "beam"] = Field(
        "exact", description="rank by the probability of every path, or by what a beam search finds"
    )
    beam: int = Field(20, ge=1, le=65_536, description="width of a beam search")


class P5Options(LightLMOptions):
    """The same, with a decoder or without, and items as paths or as titles."""

    inner: int = Field(256, ge=1, le=2**48, description="size of the feed-forward networks")
    layers: int = Field(2, ge=1, le=1_024, description="layers of the encoder, and of the decoder")
    index: Literal["sequential", "collaborative", "random"] = Field(
        "sequential",
        description="how items get their paths: numbered as histories bring them, by clusters of items that share "
        "users, or by chance",
    )
    decoder: Literal["t5", "none"] = Field(
        "t5", description="a decoder spells the answer; without one a layer over all items gives it"
    )
    items: Literal["ids", "titles"] = Field("ids", description="items as paths, or as the words of their titles")

    @model_validator(mode="after")
    def _what_needs_a_decoder(self) -> P5Options:
        if self.decoder == "none":
            if self.search == "beam":
                raise ValueError("--search beam needs --decoder t5: without a decoder all items are scored at once")
            if self.encoder == "past":
                raise ValueError("--encoder past needs --decoder t5: a mean of states does not tell the newest item")
        return self


class PODOptions(P5Options):
    """The same, with prompt vectors."""

    prompts: int = Field(3, ge=1, le=1_024, description="trained vectors in place of a text")


def make_lightlm(ground: Ground, options: LightLMOptions) -> nn.Module:
    """A new deep and narrow model.

    Source: Mei and Zhang, "LightLM: A Lightweight Deep and Narrow Language Model for Generative Recommendation", 2023:
    T5 with feed-forward networks of 16, items as paths through spectral clusters, answers held to the trie of paths.
    Departures: those of `patchrec.model.generative.GenerativeItems` and `patchrec.model.item_index`; it is smaller than
    a T5-small of six layers of width 512; their other paths, of quantised graph embeddings, are left out.
    """
    return _make(ground, P5Options.model_validate(options.values))


def make_p5(ground: Ground, options: P5Options) -> nn.Module:
    """A new model that is asked in words; source and departures: `patchrec.model.generative.GenerativeItems`.

    Sentences are ours, three where the paper has more for each task; one is drawn for each text in training, and the
    first asks.
    """
    return _make(ground, options)


def make_pod(ground: Ground, options: PODOptions) -> nn.Module:
    """A new model that learns with words around a history and is asked with prompt vectors alone.

    Source: Li, Zhang and Chen, "Prompt Distillation for Efficient LLM-based Recommendation", CIKM 2023: vectors before
    the text; in training a sentence stands around the history, or none, by chance. Departures: P5's (`make_p5`); one
    task, so one set of vectors, and training does not take turns among tasks.
    """
    return _make(ground, options, num_prompts=options.prompts)


def _make(ground: Ground, options: P5Options, *, num_prompts: int = 0) -> nn.Module:
    from patchrec.model.generative import Frames, GenerativeItems
    from patchrec.model.item_index import first_word, table_of, words_of
    from patchrec.model.t5_body import Size, new_body, speller, started_body

    dataset, first = ground.dataset, first_word(options.branches)
    titles = dataset.catalog.titles[: ground.num_items]
    texts = [[text.format(noun=dataset.noun, verb=dataset.verb) for text in pair] for pair in TEXTS]
    if num_prompts:
        texts.append(["", ""])
    if options.encoder == "past":  # nothing can stand after a history that goes on
        texts = [[" ".join(pair).strip(), ""] for pair in texts]
    has_decoder = options.decoder == "t5"
    if ground.start is not None:
        _refuse_size(options)
        spell, body = speller(ground.start, first), started_body(ground.start, first, decoder=has_decoder)
    else:
        read = [*(text for pair in texts for text in pair), *(titles if options.items == "titles" else ())]
        words = dict.fromkeys(word for text in read for word in words_of(text))
        numbers = {word: first + place for place, word in enumerate(words)}

        def spell(text: str) -> tuple[int, ...]:
            return tuple(numbers[word] for word in words_of(text))

        size = Size(options.width, options.inner, options.layers, options.heads, options.dropout)
        body = new_body(size, first + len(numbers), decoder=has_decoder)
    return GenerativeItems(
        body,
        table_of(_paths(ground, options, spell)),
        ground.max_items,
        Frames(
            tuple((spell(before), spell(after)) for before, after in texts),
            answering=len(texts) - 1 if num_prompts else 0,
            num_prompts=num_prompts,
        ),
        past=options.encoder == "past",
        beam=options.beam if options.search == "beam" else None,
    )


def _refuse_size(options: P5Options) -> None:
    """Refuse a size beside weights that have one.

    Raises:
        UsageError: The message names the option.
    """
    for name in ("width", "inner", "layers", "heads", "dropout"):
        if getattr(options, name) != P5Options.model_fields[name].default:
            raise UsageError(f"{flag_of(name)} is of random weights, and --backbone has its own; drop one of the two")


def _paths(ground: Ground, options: P5Options, spell: Callable[[str], tuple[int, ...]]) -> list[Path]:
    """The path of every item. Those of a trained model are in its checkpoint, and any stand for them until then."""
    import torch

    from patchrec.model import item_index

    num_items = ground.num_items
    if options.items == "titles":
        return item_index.paths_of_titles(ground.dataset.catalog.titles[:num_items], spell, options.branches)
    by_chance = torch.randperm(num_items, device="cpu").numpy()
    if options.index == "random" or not ground.is_new:
        return item_index.paths_of_numbers(by_chance, options.branches)
    if options.index == "collaborative":
        return item_index.collaborative_paths(ground.dataset, num_items, options.branches)
    return item_index.paths_of_numbers(item_index.order_of_histories(ground.dataset, num_items), options.branches)


# From a few short trials on the validation targets of ml-100k; none was trained to its end (docs/results.md).
TRAINING = SASREC_TRAINING | {"epochs": 20, "batch_size": 128, "learning_rate": 1e-3, "validate_every": 373}
SHAPE = {"K": 20, "windows": "blocks"}
KINDS = (
    item_model_kind(
        "p5",
        "a T5 reads item paths in a sentence and spells the next one",
        make_p5,
        options=P5Options,
        training=TRAINING,
        shape=SHAPE,
        defaults_from="a guess, not measured",
        source="Geng et al., Recommendation as Language Processing (P5), RecSys 2022",
        on_ground=True,
        backbone="optional",
    ),
    item_model_kind(
        "pod",
        "the same, asked with trained vectors in place of a sentence",
        make_pod,
        options=PODOptions,
        training=TRAINING,
        shape=SHAPE,
        defaults_from="a guess, not measured",
        source="Li, Zhang and Chen, Prompt Distillation for Efficient LLM-based Recommendation (POD), CIKM 2023",
        on_ground=True,
        backbone="optional",
    ),
    item_model_kind(
        "lightlm",
        "a deep and narrow T5 that spells paths through clusters of items",
        make_lightlm,
        options=LightLMOptions,
        training=TRAINING,
        shape=SHAPE,
        defaults_from="a guess, not measured",
        source="Mei and Zhang, LightLM, 2023",
        on_ground=True,
    ),
)
