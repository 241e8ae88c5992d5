"""Texts of items through a language model: one vector for each item, the mean of its states over the item's tokens.

T5's encoder, BERT and its kin, or a causal model such as SmolLM2: whatever transformers makes of a folder. Texts are
data: their tokens come without special tokens, and the marks that the model puts around a text are added as ids.

Shapes: n texts, T tokens of the longest, I items of the catalog, F items that weights were fitted with, E width of the
encoder.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from patchrec.errors import InputError
from patchrec.history import IntArray
from patchrec.model.backbone import best_device, refuse_unsafe
from patchrec.model.pulled_files import refuse_damaged
from patchrec.model.start_files import has_weights, start_files
from patchrec.model.titles import TitleTokens
from patchrec.model.tokenizer import load_tokenizer, quiet, read_config, refuse_code

_ROWS = 256  # texts of one pass without gradients


def load_encoder(folder: Path) -> Any:
    """The model in a folder that turns tokens into states, in float32; without weights there, of random ones.

    Weights are drawn from torch's global generator. On torch's device for shapes alone none are read.

    Raises:
        NotFoundError: No such folder. InputError: It cannot be read, is no such model, or wants to run code of its own.
    """
    from transformers import AutoConfig, AutoModel, AutoModelForTextEncoding
    from transformers.models.auto.modeling_auto import MODEL_FOR_TEXT_ENCODING_MAPPING

    quiet()
    read_config(folder)
    refuse_code(folder)
    if any(folder.glob("*.bin")):
        refuse_unsafe(folder)
    refuse_damaged(folder)
    is_shape = torch.get_default_device().type == "meta"
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        made = AutoModelForTextEncoding if type(config) in MODEL_FOR_TEXT_ENCODING_MAPPING else AutoModel
        if is_shape or not has_weights(folder):
            model = made.from_config(config, dtype=torch.float32, trust_remote_code=False)
            missing: set[str] = set()
        else:
            model, found = made.from_pretrained(
                folder, config=config, dtype=torch.float32, local_files_only=True, trust_remote_code=False,
                use_safetensors=True, output_loading_info=True,
            )  # fmt: skip
            missing = {name for name in found["missing_keys"] if not name.startswith("pooler.")}
    except Exception as error:  # whatever a configuration leads to
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{folder} cannot be read as a text encoder: {first}") from error
    if missing:
        raise InputError(f"{folder} lacks weights of a text encoder, such as {min(missing)}; take another folder")
    if getattr(model, "pooler", None) is not None:
        model.pooler = None  # made for pairs of sentences; the mean needs none
    if hasattr(model, "shared") and hasattr(model, "encoder"):
        model = model.encoder  # T5's, whose token table goes by two names
    model.config.use_cache = False
    return model


def text_tokens(folder: Path, texts: Sequence[str], most: int) -> tuple[IntArray, IntArray]:
    """(n, T) token ids of texts, with the model's own marks around them, and (n,) how many each has.

    Args:
        folder: Whose tokenizer.
        texts: As data: special tokens in them are text.
        most: Tokens of a text at most, its first ones; the marks come on top.

    Raises:
        InputError: A text has no tokens.
    """
    tokenizer = load_tokenizer(folder)
    before, after = _marks(tokenizer)
    tokens = TitleTokens.encode(tokenizer, texts).cut(most)
    lengths = tokens.lengths + len(before) + len(after)
    padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
    ids = np.full((len(texts), int(lengths.max(initial=1))), padding, dtype=np.int64)
    for row in range(len(texts)):
        ids[row, : lengths[row]] = [*before, *tokens.of(row).tolist(), *after]
    return ids, lengths


def _marks(tokenizer: Any) -> tuple[list[int], list[int]]:
    """Ids that a tokenizer puts before a text, and after it."""
    bare: list[int] = tokenizer("a", add_special_tokens=False).input_ids
    whole: list[int] = tokenizer("a").input_ids
    for start in range(len(whole) - len(bare) + 1):
        if whole[start : start + len(bare)] == bare:
            return whole[:start], whole[start + len(bare) :]
    return [], []


class TextEncoder(nn.Module):
    """Vectors of items from their texts. Frozen, they are computed once and kept; trained, they are those of the model.

    A text of an item that the weights were not fitted with (from F on) is read when it is first asked for.
    """

    states: Tensor
    tokens: Tensor
    lengths: Tensor

    def __init__(
        self,
        folder: Path,
        texts: Sequence[str],
        num_items: int,
        *,
        trained: bool,
        is_new: bool,
        max_tokens: int = 64,
    ) -> None:
        """Read model and tokenizer, and where that is wanted all texts.

        Args:
            folder: Model folder; without weights there they are random.
            texts: (I,) text of every item, the new ones at the end.
            num_items: F.
            trained: Whether the model learns; else its states are kept (with it, for the texts of new items).
            is_new: Whether it is about to learn; else weights and states come from a checkpoint.
            max_tokens: Tokens of a text that are read.
        """
        super().__init__()
        self.files = start_files(folder)
        self.is_trained, self.num_items = trained, num_items
        self.model = load_encoder(folder)
        ids, lengths = text_tokens(folder, texts, max_tokens)
        self.register_buffer("tokens", torch.tensor(ids), persistent=False)
        self.register_buffer("lengths", torch.tensor(lengths), persistent=False)
        self._new: Tensor | None = None
        if trained:
            return
        self.model.requires_grad_(False).eval()
        self.register_buffer("states", torch.zeros(num_items, self.width))
        if is_new and not self.states.is_meta:
            device = best_device()
            self.to(device)
            self.states.copy_(self._all(slice(0, num_items)))
            self.to("cpu")

    @property
    def width(self) -> int:
        """E."""
        return int(self.model.config.hidden_size)

    def train(self, mode: bool = True) -> "TextEncoder":
        """A model that is frozen drops nothing out."""
        super().train(mode)
        if not self.is_trained:
            self.model.eval()
        return self

    def forward(self, items: Tensor) -> Tensor:
        """(n, E) vectors of (n,) items: those kept, or by the model, each different item once."""
        if not self.is_trained and bool((items < self.num_items).all()):
            return self.states[items]
        if not self.is_trained:
            return self.all()[items]
        different, back = torch.unique(items, return_inverse=True)
        return self._encode(different)[back]

    def all(self) -> Tensor:
        """(I, E) vectors of all items."""
        if self.is_trained:
            return self._all(slice(None))
        if len(self.tokens) == self.num_items:
            return self.states
        if self._new is None or self._new.device != self.states.device:
            self._new = self._all(slice(self.num_items, None))
        return torch.cat([self.states, self._new])

    @torch.no_grad()
    def _all(self, which: slice) -> Tensor:
        items = torch.arange(len(self.tokens), device=self.tokens.device)[which]
        order = self.lengths[items].argsort(stable=True)
        found = torch.empty(len(items), self.width, device=self.tokens.device)
        for rows in torch.split(order, _ROWS):
            found[rows] = self._encode(items[rows])
        return found

    def _encode(self, items: Tensor) -> Tensor:
        """(n, E) mean states of (n,) items."""
        lengths = self.lengths[items]
        longest = int(lengths.max())
        ids = self.tokens[items, :longest]  # (n, T)
        there = torch.arange(longest, device=ids.device) < lengths[:, None]  # (n, T)
        states = self.model(input_ids=ids, attention_mask=there.long()).last_hidden_state  # (n, T, E)
        mean: Tensor = (states * there[..., None]).sum(dim=1) / lengths[:, None]
        return mean
