"""A model to begin with where none can be had: a configuration, and a tokenizer made of the catalog's words.

Its folder has no weights: whatever is made from it draws them at random.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from patchrec.model.tokenizer import quiet

_MOST_WORDS = 32_000  # as many as T5 and BERT have
_PAD, _END, _UNKNOWN, _FIRST, _LAST, _MASK = "<pad>", "</s>", "<unk>", "[CLS]", "[SEP]", "[MASK]"


def make_scratch(folder: Path, texts: Sequence[str], model_type: str = "t5", **shape: Any) -> None:
    """Write `config.json` and a tokenizer of the words of some texts.

    Words are lower-case runs of letters and digits, or of other signs; the most frequent are tokens, others unknown.

    Args:
        folder: Must be there.
        texts: Such as the titles of a catalog.
        model_type: As transformers names it, such as "t5" or "bert"; what `shape` leaves open is that type's default.
        shape: Of the model, in the words of its configuration, such as `d_model=64`.
    """
    from transformers import AutoConfig

    quiet()
    tokenizer = word_tokenizer(texts, is_bert=model_type == "bert")
    names = {"pad_token_id": tokenizer.pad_token_id}
    if tokenizer.eos_token_id is not None:
        names["eos_token_id"] = tokenizer.eos_token_id
    AutoConfig.for_model(model_type, vocab_size=len(tokenizer), **names, **shape).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def word_tokenizer(texts: Sequence[str], *, is_bert: bool = False) -> Any:
    """A tokenizer whose tokens are the words of some texts; equal texts in equal order give an equal one.

    Args:
        texts: What it reads.
        is_bert: Put a sequence between two marks, as BERT has it; else an end after it, as T5 has it.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    lower, split = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()]), pre_tokenizers.Whitespace()
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(word for word, _ in split.pre_tokenize_str(lower.normalize_str(text)))
    marks = [_PAD, _END, _UNKNOWN, *([_FIRST, _LAST, _MASK] if is_bert else [])]
    words = [word for word, _ in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])) if word not in marks]
    places = {word: place for place, word in enumerate([*marks, *words[: _MOST_WORDS - len(marks)]])}
    own = Tokenizer(models.WordLevel(places, unk_token=_UNKNOWN))
    own.normalizer, own.pre_tokenizer = lower, split
    form, ends = (f"{_FIRST} $A {_LAST}", (_FIRST, _LAST)) if is_bert else (f"$A {_END}", (_END,))
    own.post_processor = processors.TemplateProcessing(
        single=form, special_tokens=[(mark, places[mark]) for mark in ends]
    )
    named = {"pad_token": _PAD, "unk_token": _UNKNOWN}
    named |= {"cls_token": _FIRST, "sep_token": _LAST, "mask_token": _MASK} if is_bert else {"eos_token": _END}
    return PreTrainedTokenizerFast(tokenizer_object=own, **named)
