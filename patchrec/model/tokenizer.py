"""Tokenizers of model folders, with the patch markers, and the encoder of a catalog built with them. No weights.

A marker stands where a patch goes when a prompt is shown as text. It is never an input: there the input is the patch.
Every tokenizer has the markers from the start, so that a run, its checkpoints and its export share one vocabulary.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from patchrec.config import PromptConfig
from patchrec.data.long_titles import excerpt
from patchrec.errors import InputError, NotFoundError
from patchrec.model.patching import PathEncoder
from patchrec.model.prompt import ITEM_MARKER, SESSION_MARKER, Prompt, build_prompt
from patchrec.model.titles import TitleTokens
from patchrec.reporting import SILENT, Reporter


def quiet() -> None:
    """Keep transformers' own progress bars and advice off the terminal; progress is told by the caller."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()


def load_tokenizer(folder: Path) -> Any:
    """Read the tokenizer of a model folder, a new object at each call (its flags are sticky), and add the markers.

    Raises:
        InputError: There is none we can read, or it wants to run code of its own.
    """
    from transformers import AutoTokenizer

    quiet()
    refuse_code(folder)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # tokenizers raises no other class
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{folder} has no tokenizer we can read: {first}") from error
    missing = [marker for marker in (ITEM_MARKER, SESSION_MARKER) if marker not in tokenizer.get_added_vocab()]
    tokenizer.add_tokens(missing, special_tokens=True)
    return tokenizer


def refuse_code(folder: Path) -> None:
    """Refuse a model folder whose model or tokenizer is made by code of its own.

    Raises:
        InputError: It is, or a configuration is not JSON.
    """
    for name in ("config.json", "tokenizer_config.json"):
        path = folder / name
        if path.is_file() and "auto_map" in _read_object(path):
            raise InputError(
                f"{path} wants to run code of its own (auto_map), which patchrec never does; take a model that comes "
                "without"
            )


def tokenizer_fingerprint(tokenizer: Any) -> str:
    """sha256 over what a tokenizer does, however its files are written (hex, 16 digits)."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    rules = backend.to_str() if backend is not None else json.dumps(sorted(tokenizer.get_vocab().items()))
    return hashlib.sha256(f"{rules}{tokenizer.chat_template}".encode()).hexdigest()[:16]


def read_config(folder: Path) -> dict[str, Any]:
    """The configuration of a model folder.

    Raises:
        NotFoundError: There is none. InputError: It cannot be read.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise NotFoundError(f"no model in {str(folder)!r}: no config.json; list models with `patchrec backbones ls`")
    return _read_object(path)


def is_causal(folder: Path) -> bool:
    """Whether a model folder says that it holds a causal language model, or says nothing; no encoder such as BERT."""
    made_for = read_config(folder).get("architectures")
    if not isinstance(made_for, list) or not made_for:
        return True
    return any(str(name).endswith(("ForCausalLM", "LMHeadModel")) for name in made_for)


def _read_object(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        InputError: The file holds none.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON ({error}); is this a model folder?") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} is not a model's configuration")
    return found


def vocab_size(folder: Path) -> int:
    """V of a model folder once it has the markers, from its configuration and tokenizer alone.

    Raises:
        InputError: Its configuration does not say.
    """
    config = read_config(folder)
    size = config.get("vocab_size") or config.get("text_config", {}).get("vocab_size")
    if not isinstance(size, int):
        raise InputError(f"{folder / 'config.json'} names no vocab_size; is this a causal language model?")
    return max(size, len(load_tokenizer(folder)))


def make_encoder(folder: Path, titles: Sequence[str], prompt: PromptConfig, vocab_size: int) -> PathEncoder:
    """Build the encoder of a catalog: the prompt and all title tokens of a model folder's tokenizer.

    Args:
        folder: A model folder.
        titles: (I,) titles of the catalog.
        prompt: Which prompt.
        vocab_size: V, rows of the model's embedding.
    """
    built = build_prompt(load_tokenizer(folder), prompt)
    return PathEncoder(built, shortened(encode_titles(folder, titles, built), titles, prompt), vocab_size)


def encode_titles(folder: Path, titles: Sequence[str], prompt: Prompt) -> TitleTokens:
    """Title tokens of a catalog by a model folder's tokenizer.

    Raises:
        InputError: A title has no tokens, or holds one that structures the prompt.
    """
    return TitleTokens.encode(load_tokenizer(folder), titles, reserved=(prompt.separator, prompt.end))


def shortened(
    tokens: TitleTokens, titles: Sequence[str], config: PromptConfig, report: Reporter = SILENT
) -> TitleTokens:
    """Title tokens as a prompt takes them: those beyond `max_title_tokens` cut, and told, or refused.

    Args:
        tokens: Of all titles.
        titles: (I,) the same as text.
        config: Of the prompt.
        report: Where it is told.

    Raises:
        InputError: There are longer ones, which the configuration refuses.
    """
    most, lengths = config.max_title_tokens, tokens.lengths
    if most is None or not (lengths > most).any():
        return tokens
    longest, count = int(lengths.argmax()), int((lengths > most).sum())
    told = (
        f"{count:,} {'title has' if count == 1 else 'titles have'} more than --max-title-tokens {most}: the longest, "
        f"{excerpt(titles[longest])}, has {int(lengths[longest]):,}"
    )
    if config.long_titles == "refuse":
        raise InputError(f"{told}; shorten them, take --long-titles cut, or allow more tokens")
    report.note(f"{told}; the model sees the first {most} tokens of such a title, here and as an answer")
    return tokens.cut(most)
