"""Small tokenizers of the kinds that models have, each with a chat template and the special tokens of a family."""

from pathlib import Path

LLAMA_3 = [
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|eot_id|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|reserved_special_token_0|>",
]
CHATML = ["<|endoftext|>", "<|im_end|>", "<|im_start|>", "<|fim_prefix|>", "<repo_name>"]
SENTENCEPIECE = ["<s>", "</s>", "<pad>", "<start_of_turn>", "<end_of_turn>", "[INST]", "[/INST]"]
NOT_SPECIAL = ["<think>", "</think>", "<tool_call>"]
WORDS = ["movies", "movie", "a", "user", "has", "one", "title", "line", "the", "alien", "heat"]
LETTERS = sorted({*"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,:;!?<>|[]/_-{}()'\"\u2581"})


def _byte_level():
    """As Llama-3, SmolLM2 and Qwen: byte-level BPE."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    vocabulary = {token: number for number, token in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = decoders.ByteLevel()
    return made, LLAMA_3, None


def _unigram():
    """As SentencePiece models: pieces, special tokens and bytes in one list, and NFKC."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

    pieces = [("<unk>", 0.0), *((token, -2.0) for token in SENTENCEPIECE)]
    pieces += [(f"<0x{byte:02X}>", -9.0) for byte in range(256)]
    pieces += [(word, -3.0) for word in WORDS] + [(letter, -6.0) for letter in LETTERS]
    made = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=True))
    made.normalizer = normalizers.NFKC()
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never", split=False)
    made.decoder = decoders.Sequence(
        [decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="never"), decoders.Fuse()]
    )
    return made, SENTENCEPIECE, "<unk>"


def _words():
    """As old models of words: special tokens are words of the list."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    words = ["[UNK]", *CHATML, "\n", *WORDS]
    made = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(" ", "removed"), pre_tokenizers.Split(Regex("\n"), "isolated")]
    )
    return made, CHATML, "[UNK]"


KINDS = {"byte-level": _byte_level, "unigram": _unigram, "words": _words}


def make_tokenizer(kind: str, folder: Path) -> Path:
    from transformers import PreTrainedTokenizerFast

    made, special, unknown = KINDS[kind]()
    names = {"bos_token": special[0], "eos_token": special[1], **({"unk_token": unknown} if unknown else {})}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, additional_special_tokens=special[2:], **names)
    tokenizer.add_tokens(NOT_SPECIAL)
    tokenizer.chat_template = (
        "{{ bos_token }}{% for m in messages %}"
        + special[2]
        + "{{ m.role }}\n{{ m.content }}"
        + special[1]
        + "{% endfor %}"
        "{% if add_generation_prompt %}" + special[2] + "assistant\n{% endif %}"
    )
    tokenizer.save_pretrained(folder)
    return folder
