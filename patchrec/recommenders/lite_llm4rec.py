"""LITE-LLM4Rec as a kind of recommender: its options, and how they become a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from patchrec.recommenders.factories import item_model_kind
from patchrec.recommenders.starts import ScratchOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from patchrec.recommenders.factories import Ground

ITEM_BACKBONES = {"bert": "bert-base-uncased", "sentence": "all-minilm-l6-v2"}
_ITEMS = "item_backbone"  # role of the model that reads texts, where it is another


class LiteLLM4RecOptions(ScratchOptions):
    """What it learns from, what stays as it is, and what reads the items."""

    training: Literal["sampling", "all"] = Field(
        "all", description="Targets of an epoch: one of each user, drawn anew, or all."
    )
    freeze: Literal["none", "backbone", "head"] = Field(
        "none", description="What does not learn: nothing, both language models, or the head."
    )
    items: Literal["t5", "bert", "sentence", "ids"] = Field(
        "t5",
        description="Item vectors from texts by the backbone, BERT or a sentence encoder, or from a table.",
    )
    item_backbone: str | None = Field(
        None, description="Model that reads texts with --items bert or sentence; default: the known one of that name."
    )
    item_text: str = Field("{title}", description='Text of an item, such as "{title} ({year}), {genres}".')
    text_tokens: int | None = Field(None, ge=1, le=4096, description="tokens of a text that are read; default: 64")
    dropout: float = Field(0.7, ge=0, lt=1, description="share of a history's vector dropped in training")

    @model_validator(mode="after")
    def _fits(self) -> LiteLLM4RecOptions:
        if self.item_backbone is not None and self.items not in ITEM_BACKBONES:
            raise ValueError(f"--item-backbone is for --items bert or sentence, not {self.items}; drop it")
        if self.scratch and self.items in ITEM_BACKBONES:
            raise ValueError(f"--scratch has no {self.items} encoder; take --items t5 or ids")
        if self.scratch and self.freeze == "backbone":
            raise ValueError("--scratch knows nothing that could stay as it is; drop --freeze backbone")
        return self

    @property
    def backbones(self) -> Mapping[str, str]:
        """The item model, where it is another than the backbone."""
        known = ITEM_BACKBONES.get(self.items)
        return {} if known is None else {_ITEMS: self.item_backbone or known}

    @property
    def settings(self) -> Mapping[str, Any]:
        """One target of each user makes short epochs; random weights learn at a higher rate."""
        return (SAMPLING if self.training == "sampling" else {}) | (SCRATCH if self.scratch else {})


def make_lite_llm4rec(ground: Ground, options: LiteLLM4RecOptions) -> nn.Module:
    """A new model for a catalog; weights come from torch's generator, those of language models from their starts."""
    from patchrec.data.item_texts import item_texts
    from patchrec.model.lite_llm4rec import Identifiers, LiteLLM4Rec, SequenceModel
    from patchrec.model.scratch import make_scratch
    from patchrec.model.start_files import start_folder
    from patchrec.model.text_encoder import TextEncoder
    from patchrec.model.text_items import TextItems

    texts = item_texts(ground.dataset.catalog, options.item_text)[: ground.num_items]
    items: TextItems | Identifiers
    with start_folder(ground.start, lambda folder: make_scratch(folder, texts, **options.t5_shape)) as folder:
        sequence = SequenceModel(folder)
        if options.items == "ids":
            items = Identifiers(ground.num_items, sequence.width)
        else:
            encoder = TextEncoder(
                ground.starts.get(_ITEMS, folder),
                texts,
                ground.num_items,
                trained=options.freeze != "backbone",
                is_new=ground.is_new,
                max_tokens=options.text_tokens or 64,
            )
            items = TextItems(encoder, sequence.width, 1)
    return LiteLLM4Rec(items, sequence, ground.num_items, dropout=options.dropout, freeze=options.freeze)


# Meant to be the paper's (segments of 21 items, rate, batch, dropout, early stopping), and not checked against it.
TRAINING = {
    "epochs": 10,
    "batch_size": 256,
    "tree_targets": 1,
    "learning_rate": 5e-4,
    "validate_every": 100,
    "validate_metric": "hr@10",
    "validation_targets": 1000,
    "patience": 20,
}
SAMPLING = {"user_targets": 1, "epochs": 600}
SCRATCH = {"learning_rate": 2e-3}  # of 64 units and one layer, on the validation targets of ml-100k (docs/results.md)
KIND = item_model_kind(
    "lite-llm4rec",
    "a language model reads each item, another the items' vectors, with a linear head",
    make_lite_llm4rec,
    options=LiteLLM4RecOptions,
    training=TRAINING,
    shape={"K": 20, "windows": "sliding"},
    defaults_from="after its paper, little of it measured",
    source="Wang et al., Rethinking Large Language Model Architectures for Sequential Recommendations, 2024",
    on_ground=True,
    backbone="required",
    start="t5-small",
)
