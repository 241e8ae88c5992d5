"""Tokenizers of model folders, and the encoder of a catalog built with them. No weights."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from patchrec.config import PromptConfig
from patchrec.errors import InputError
from patchrec.model.patching import PathEncoder
from patchrec.model.prompt import build_prompt
from patchrec.model.titles import TitleTokens


def quiet() -> None:
    """Keep transformers' own progress bars and advice off the terminal; progress is told by the caller."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()


def load_tokenizer(folder: Path) -> Any:
    """Read the tokenizer of a model folder.

    Raises:
        InputError: There is none we can read.
    """
    from transformers import AutoTokenizer

    quiet()
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{folder} has no tokenizer we can read: {first}") from error


def tokenizer_fingerprint(folder: Path) -> str:
    """sha256 of the tokenizer's files (hex, 16 digits)."""
    digest = hashlib.sha256()
    for name in ("tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt", "chat_template.jinja"):
        path = folder / name
        if path.exists():
            digest.update(name.encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def make_encoder(folder: Path, titles: Sequence[str], prompt: PromptConfig, vocab_size: int) -> PathEncoder:
    """Build the encoder of a catalog: the prompt and all title tokens of a model folder's tokenizer.

    Args:
        folder: A model folder.
        titles: (I,) titles of the catalog.
        prompt: Which prompt.
        vocab_size: V, rows of the model's embedding.
    """
    built = build_prompt(load_tokenizer(folder), prompt)
    tokens = TitleTokens.encode(load_tokenizer(folder), titles, reserved=(built.separator, built.end))
    return PathEncoder(built, tokens, vocab_size)
