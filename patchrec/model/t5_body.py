"""The T5 of a generative model: new, or with the weights of a folder, over a vocabulary with paths of items in it.

Tokens: 0 fills and starts, then come the digits of paths, then words: those of a template, or all of a tokenizer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from patchrec.errors import InputError
from patchrec.model.backbone import refuse_unsafe
from patchrec.model.item_index import NOTHING
from patchrec.model.pulled_files import refuse_damaged
from patchrec.model.start_files import has_weights
from patchrec.model.titles import TitleTokens
from patchrec.model.tokenizer import load_tokenizer, quiet, read_config, refuse_code

_INIT_STD = 0.1  # of vectors of tokens: first scores are small


@dataclass(frozen=True, slots=True)
class Size:
    """Of a transformer.

    Attributes:
        inner: Of the feed-forward networks.
        layers: Of the encoder, and of the decoder where there is one.
    """

    width: int
    inner: int
    layers: int
    heads: int
    dropout: float


def new_body(size: Size, num_tokens: int, *, decoder: bool) -> Any:
    """A T5 of random weights, or its encoder alone."""
    from transformers import T5Config, T5EncoderModel, T5Model

    config = T5Config(
        vocab_size=num_tokens,
        d_model=size.width,
        d_kv=size.width // size.heads,
        d_ff=size.inner,
        num_layers=size.layers,
        num_heads=size.heads,
        dropout_rate=size.dropout,
        pad_token_id=NOTHING,
        eos_token_id=None,
        use_cache=False,
        tie_word_embeddings=False,  # as T5 v1.1 says that scores are not scaled down
    )
    body = T5Model(config) if decoder else T5EncoderModel(config)
    nn.init.normal_(body.shared.weight, std=_INIT_STD)
    return body


def started_body(folder: Path, first_word: int, *, decoder: bool) -> Any:
    """The T5 of a folder with vectors for digits before those of its own tokens; without weights there, random.

    Args:
        folder: Configuration, tokenizer and weights.
        first_word: Its own tokens begin here.
        decoder: Whether its decoder is wanted, too.

    Raises:
        NotFoundError: No such folder. InputError: It is no T5, cannot be read, or wants to run code of its own.
    """
    from transformers import T5Config, T5EncoderModel, T5Model

    quiet()
    found = read_config(folder).get("model_type")
    if found != "t5":
        raise InputError(f"{folder} is a model of type {found!r}; take a T5, such as t5-small")
    refuse_code(folder)
    if any(folder.glob("*.bin")):
        refuse_unsafe(folder)
    refuse_damaged(folder)
    made = T5Model if decoder else T5EncoderModel
    try:
        config = T5Config.from_pretrained(folder, local_files_only=True)
        if torch.get_default_device().type == "meta" or not has_weights(folder):
            body, missing = made(config), set()
        else:
            body, told = made.from_pretrained(
                folder, config=config, dtype=torch.float32, local_files_only=True, use_safetensors=True,
                output_loading_info=True,
            )  # fmt: skip
            missing = set(told["missing_keys"])
    except Exception as error:  # whatever a configuration leads to
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{folder} cannot be read as a T5: {first}") from error
    if missing:
        raise InputError(f"{folder} lacks weights of a T5, such as {min(missing)}; take another folder")
    old = body.shared.weight.detach()
    table = nn.Embedding(first_word + len(old), old.shape[1])
    with torch.no_grad():
        table.weight.normal_().mul_(old.std())  # as large as those of its words
        table.weight[NOTHING] = old[config.pad_token_id or 0]  # T5 begins an answer with it
        table.weight[first_word:] = old
    body.set_input_embeddings(table)
    body.config.use_cache = False
    return body


def speller(folder: Path, first_word: int) -> Callable[[str], tuple[int, ...]]:
    """What turns a text into tokens by a folder's tokenizer; special tokens in it are text."""
    tokenizer = load_tokenizer(folder)

    def spell(text: str) -> tuple[int, ...]:
        return tuple((first_word + TitleTokens.encode(tokenizer, [text]).ids).tolist()) if text else ()

    return spell
