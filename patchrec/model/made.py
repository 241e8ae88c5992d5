"""Language models of random weights, small enough to be trained whole in minutes, whose words are those of a catalog.

A Llama of a few layers with a byte-level BPE tokenizer: learned from titles it spells most of them in two to four
tokens, and a text it has never seen in more of them, down to bytes, so that none is refused and a new item has its
tokens at once.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from patchrec.errors import UsageError
from patchrec.model.tokenizer import quiet

_SPECIAL = ("<|bos|>", "<|eos|>", "<|eot|>", "<|user|>", "<|assistant|>")
_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'assistant' %}<|assistant|>{% else %}<|user|>{% endif %}"
    "{{ m.content }}<|eot|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
FEWEST_TOKENS = len(_SPECIAL) + 256  # every byte is a token
_POSITIONS = 16384
_MADE = {"made_by": "patchrec"}  # in the configuration, and so in every checkpoint


@dataclass(frozen=True, slots=True)
class Shape:
    """How large a model is made.

    Attributes:
        width: D, a multiple of `heads`. inner: Of a layer's network; None: 4 D.
        layers: How many.
        heads: Of attention. key_heads: Of keys and values; None: as many.
        tokens: Size of the vocabulary at most, `FEWEST_TOKENS` at least.
        spread: Standard deviation of the first weights.
    """

    width: int = 64
    layers: int = 2
    heads: int = 4
    tokens: int = 4_000
    inner: int | None = None
    key_heads: int | None = None
    spread: float = 0.02

    @property
    def num_bytes(self) -> int:
        """Size of its files at most: weights of 4 bytes, and 100 bytes for each token."""
        D, inner = self.width, self.inner or 4 * self.width
        of_layer = (2 + 2 * (self.key_heads or self.heads) / self.heads) * D * D + 3 * D * inner + 2 * D
        return int(4 * (self.tokens * D + self.layers * of_layer + D)) + 100 * self.tokens

    def check(self) -> None:
        """Refuse a shape that cannot be.

        Raises:
            UsageError: The message says what can.
        """
        if self.width % (2 * self.heads):
            raise UsageError(
                f"--width {self.width} must be a multiple of twice --heads {self.heads}, since positions turn pairs of "
                f"numbers; take {2 * self.heads * max(1, round(self.width / (2 * self.heads)))}"
            )
        if self.tokens < FEWEST_TOKENS:
            raise UsageError(f"--tokens {self.tokens}: at least {FEWEST_TOKENS}, for every byte is a token")


TINY = Shape(width=32, heads=4, inner=64, key_heads=2, tokens=FEWEST_TOKENS, spread=0.2)


def is_made(config: object) -> bool:
    """Whether a model's configuration is of one that was made here, not pretrained."""
    return all(getattr(config, key, None) == value for key, value in _MADE.items())


def is_made_at(folder: Path) -> bool:
    """Whether a folder of weights, of a backbone or of a run that began with one, is of a model that was made here."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return all(config.get(key) == value for key, value in _MADE.items())


def make_tiny(folder: Path, seed: int = 0) -> None:
    """Write `tiny-random`: a Llama of two small layers with random weights and a byte tokenizer."""
    make_model(folder, TINY, seed=seed)


def make_model(folder: Path, shape: Shape, texts: Iterable[str] = (), *, seed: int = 0) -> None:
    """Write a Llama of random weights with its tokenizer.

    Args:
        folder: Where it is written.
        shape: How large.
        texts: What the tokenizer learns its words from; without any each byte is a token.
        seed: Of the weights. The tokenizer has no chance in it.

    Raises:
        UsageError: A shape that cannot be.
    """
    shape.check()
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*_SPECIAL, *alphabet])}
    words = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    learned = list(texts)
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=bool(learned))
    words.decoder = decoders.ByteLevel()
    if learned:
        words.train_from_iterator(
            learned,
            trainers.BpeTrainer(
                vocab_size=shape.tokens, special_tokens=list(_SPECIAL), initial_alphabet=alphabet, show_progress=False
            ),
        )
    words.post_processor = processors.TemplateProcessing(single="<|bos|> $A", special_tokens=[("<|bos|>", 0)])
    names = dict(zip(("bos_token", "eos_token"), _SPECIAL, strict=False))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, additional_special_tokens=list(_SPECIAL[2:]), **names)
    tokenizer.chat_template = _TEMPLATE
    config = LlamaConfig(
        vocab_size=words.get_vocab_size(), hidden_size=shape.width, intermediate_size=shape.inner or 4 * shape.width,
        num_hidden_layers=shape.layers, num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_heads or shape.heads, max_position_embeddings=_POSITIONS, bos_token_id=0,
        eos_token_id=1, tie_word_embeddings=True, initializer_range=shape.spread, **_MADE,
    )  # fmt: skip
    quiet()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
