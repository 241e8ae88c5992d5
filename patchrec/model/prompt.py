"""The prompt: everything around the history, as token ids, rendered once and fixed.

A prompt path is `head + (unit + separator) for every unit of the layout + tail`; an answer is `title + end`. Where only
titles have separators (`PromptConfig.separators`), a patch stands alone: it is one position and needs no end. Three
forms exist (see `PromptConfig.form`). In `continuation` the tail is empty and `end` is the separator, so an answer is
already the next example's history and a user's targets merge into one path without a rule of its own.

A lettered prompt goes on after its tail with a list of candidates, a line each, and then with `rest`: what is asked for
is the letter of one (`patchrec.model.letters`).

The chat template is rendered around a placeholder with a pinned date (Llama-3.2's inserts today's), and begins with one
BOS where the model has one.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from patchrec.config import PromptConfig
from patchrec.data.characters import steering
from patchrec.errors import UsageError
from patchrec.history import IntArray
from patchrec.model.markup import markup_of

PINNED_DATE = "26 Jul 2024"  # the date Llama-3.2's own template falls back to
ITEM_MARKER = "<|item_patch|>"
SESSION_MARKER = "<|session_patch|>"
# Private-use characters: no template holds them.
_HISTORY, _LIST, _ANSWER = "\ue000HISTORY\ue000", "\ue000LIST\ue000", "\ue000ANSWER\ue000"


@dataclass(frozen=True, eq=False)
class Prompt:
    """Token ids around a history.

    Attributes:
        head: (n,) ids before the first unit.
        tail: (m,) ids after the last separator.
        separator: The id after every title, and after every patch where `after_patches`.
        end: The id that ends an answer; trained and scored for every title.
        after_patches: Whether a separator follows patches too.
        rest: Ids after the list of candidates that follows the tail; None where no list follows.
    """

    head: IntArray
    tail: IntArray
    separator: int
    end: int
    after_patches: bool = True
    rest: IntArray | None = None

    @property
    def fingerprint(self) -> str:
        """sha256 over all ids (hex, 16 digits)."""
        parts = (self.head.tolist(), self.tail.tolist(), self.separator, self.end)
        more = [] if self.after_patches else ["titles"]
        more += [] if self.rest is None else [self.rest.tolist()]
        text = repr((*parts, *more))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def build_prompt(tokenizer: Any, config: PromptConfig, *, lettered: bool = False) -> Prompt:
    """Render a prompt form with a tokenizer.

    Args:
        tokenizer: Of the model.
        config: Which prompt.
        lettered: A list of candidates follows the history, and a letter is asked for in place of a title.

    Raises:
        UsageError: The tokenizer has no end token for the form, or noun or verb would be more than words.
    """
    separator, after_patches = _separator(tokenizer), config.separators == "all"
    if config.form == "continuation":
        text = f"{_plural(config.noun).capitalize()} a user has {config.verb}, oldest first, one title a line:\n"
        _refuse_markup(tokenizer, config, text)
        head, tail = _ids(tokenizer, text, add_bos=True), np.empty(0, dtype=np.int64)
        if not lettered:
            return Prompt(head, tail, separator, separator, after_patches)
        tail = _ids(tokenizer, f"{_candidates(config)}:\n", add_bos=False)
        rest = _ids(tokenizer, f"The letter of the {config.noun} to recommend next:\n", add_bos=False)
        return Prompt(head, tail, separator, separator, after_patches, rest)
    system = f"You recommend {_plural(config.noun)}."
    listing = f"the {_plural(config.noun)} a user has {config.verb}, oldest first, one title a line"
    request = f"Name the one {config.noun} to recommend next, by its {'letter' if lettered else 'title'} alone."
    followed = f"{_candidates(config)}:\n{_LIST}" if lettered else ""
    if config.form == "paper":
        user = f"Here are {listing}:\n{_HISTORY}{followed}{request}"
    else:
        user = f"{request} Here are {listing}:\n{_HISTORY}{followed}"
    _refuse_markup(tokenizer, config, system + user)
    text = _chat(tokenizer, system, user)
    before, after = text.split(_HISTORY)
    generation, ending = after.split(_ANSWER)
    tail, *after_list = (_ids(tokenizer, part, add_bos=False) for part in generation.split(_LIST))
    return Prompt(
        _ids(tokenizer, before, add_bos=True),
        tail,
        separator,
        _end(tokenizer, ending),
        after_patches,
        after_list[0] if after_list else None,
    )


def _candidates(config: PromptConfig) -> str:
    return f"Candidates for the next {config.noun}, one a line, each after its letter"


def _refuse_markup(tokenizer: Any, config: PromptConfig, text: str) -> None:
    """Refuse words that put a special token or a control character into what we write around a history.

    Raises:
        UsageError: The message names it.
    """
    found = [token for token in sorted(markup_of(tokenizer)) if token in text]
    held = [repr(token) for token in found] or [code for word in (config.noun, config.verb) if (code := steering(word))]
    if held:
        raise UsageError(
            f"the words of the prompt, --noun {config.noun!r} and --verb {config.verb!r}, hold {held[0]}, which is "
            'markup to this model; add the data set again with words such as "movie" and "watched"'
        )


def _plural(noun: str) -> str:
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("s", "x", "z", "ch", "sh")) else "s")


def _chat(tokenizer: Any, system: str, user: str) -> str:
    """Render the conversation up to the end of its answer; plain lines where the model has no chat template."""
    if not getattr(tokenizer, "chat_template", None):
        return f"{system}\n{user}\n{_ANSWER}"
    from jinja2 import TemplateError

    options = {"tokenize": False, "date_string": PINNED_DATE}
    turns = [{"role": "system", "content": system}, {"role": "user", "content": user}]
    try:
        start = str(tokenizer.apply_chat_template(turns, add_generation_prompt=True, **options))
    except TemplateError:  # a template without a system turn, such as Gemma's
        turns = [{"role": "user", "content": f"{system}\n{user}"}]
        try:
            start = str(tokenizer.apply_chat_template(turns, add_generation_prompt=True, **options))
        except TemplateError as error:
            raise UsageError(f"this model's chat template fails ({error}); take --prompt continuation") from error
    answered = [*turns, {"role": "assistant", "content": _ANSWER}]
    whole = str(tokenizer.apply_chat_template(answered, **options))
    # the generation prompt is the authority for what stands before an answer, the full turn for what ends it
    return start + _ANSWER + whole.split(_ANSWER)[1]


def _ids(tokenizer: Any, text: str, *, add_bos: bool) -> IntArray:
    ids = list(tokenizer(text, add_special_tokens=False).input_ids)
    bos = tokenizer.bos_token_id
    wants_bos = bos is not None and bos in tokenizer("a").input_ids[:1]
    if add_bos and wants_bos and ids[:1] != [bos]:
        ids = [bos, *ids]
    return np.asarray(ids, dtype=np.int64)


def _separator(tokenizer: Any) -> int:
    """The one token of a line break (the last of several, where a tokenizer puts a blank before it)."""
    ids = tokenizer("\n", add_special_tokens=False).input_ids
    if not ids or "\n" not in tokenizer.decode([ids[-1]]):
        raise UsageError("this model's tokenizer has no token for a line break, which separates titles in a prompt")
    return int(ids[-1])


def _end(tokenizer: Any, ending: str) -> int:
    """The end-of-turn token: the first after an answer in the chat template, else the end-of-text token."""
    ids = tokenizer(ending.lstrip(), add_special_tokens=False).input_ids if ending.strip() else []
    if ids and int(ids[0]) in tokenizer.all_special_ids:
        return int(ids[0])
    if tokenizer.eos_token_id is None:
        raise UsageError("this model's tokenizer has no end-of-text token, so no title could be ended")
    return int(tokenizer.eos_token_id)
