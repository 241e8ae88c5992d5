"""Tokens that mean something else to a model than their text: what no title and no word of ours may turn into."""

import re
from typing import Any

_IN_BRACKETS = re.compile(r"[<\[{(|].*[>\]})|]", re.DOTALL)


def markup_of(tokenizer: Any) -> dict[str, int]:
    """Text and id of a tokenizer's special tokens, and of added ones in brackets, such as `<think>`.

    The token of unknown words is none: it is how a tokenizer reads many a title.
    """
    found = {
        str(token): int(number)
        for number, token in tokenizer.added_tokens_decoder.items()
        if token.special or _IN_BRACKETS.fullmatch(str(token))
    }
    found |= dict(zip(map(str, tokenizer.all_special_tokens), tokenizer.all_special_ids, strict=False))
    found.pop(str(tokenizer.unk_token), None)
    return found
