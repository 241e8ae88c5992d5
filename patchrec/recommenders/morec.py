"""MoRec as a kind of recommender: its options, and how they become a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from patchrec.recommenders.factories import item_model_kind
from patchrec.recommenders.sasrec import SHAPE, TransformerOptions
from patchrec.recommenders.sasrec import TRAINING as SASREC_TRAINING
from patchrec.recommenders.starts import ScratchOptions

if TYPE_CHECKING:
    from torch import nn

    from patchrec.recommenders.factories import Ground


class MoRecOptions(ScratchOptions, TransformerOptions):
    """Size of the transformer, what texts are, and whether their encoder learns."""

    mlp: int = Field(2, ge=1, le=16, description="linear maps from the encoder's states to item vectors")
    trained: bool = Field(False, description="Train the text encoder too; else its states are computed once.")
    item_text: str = Field("{title}", description='Text of an item, such as "{title} ({year}), {genres}".')
    text_tokens: int | None = Field(None, ge=1, le=4096, description="tokens of a text that are read; default: 64")

    @model_validator(mode="after")
    def _scratch_learns(self) -> MoRecOptions:
        if self.scratch and not self.trained:
            raise ValueError("--scratch knows nothing that could stay as it is; add --trained")
        return self


def make_morec(ground: Ground, options: MoRecOptions) -> nn.Module:
    """A new model for a catalog; weights come from torch's generator, those of the encoder from its start."""
    from patchrec.data.item_texts import item_texts
    from patchrec.model.morec import MoRec
    from patchrec.model.scratch import make_scratch
    from patchrec.model.start_files import start_folder
    from patchrec.model.text_encoder import TextEncoder

    texts = item_texts(ground.dataset.catalog, options.item_text)
    with start_folder(ground.start, lambda folder: make_scratch(folder, texts, **options.t5_shape)) as folder:
        encoder = TextEncoder(
            folder,
            texts,
            ground.num_items,
            trained=options.trained,
            is_new=ground.is_new,
            max_tokens=options.text_tokens or 64,
        )
    return MoRec(encoder, ground.max_items, **options.size, mlp=options.mlp)


# Of two rates on the validation targets of ml-100k (docs/results.md).
TRAINING = SASREC_TRAINING | {"learning_rate": 3e-3}
KIND = item_model_kind(
    "morec",
    "SASRec over vectors of the items' texts, which answers for new items too",
    make_morec,
    options=MoRecOptions,
    training=TRAINING,
    shape=SHAPE,
    defaults_from="measured for morec",
    source="Yuan et al., Where to Go Next for Recommender Systems?, SIGIR 2023",
    on_ground=True,
    backbone="required",
    start="smollm2-135m",
    knows_new_items=True,
)
