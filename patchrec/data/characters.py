"""Characters that nobody sees: texts of them alone, those that steer what is shown, and words that may enter a prompt.

Nothing is changed here: ids and titles are kept byte for byte.
"""

import re
import unicodedata

# White space, control characters, and what Unicode calls default ignorable (joiners, soft hyphen, fillers, variation
# selectors, tags), with interlinear marks and the blank of Braille.
_UNSEEN = (
    "\\s\x00-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_SEEN = re.compile(f"[^{_UNSEEN}]")

# Control characters (C0, DEL, C1), line and paragraph separators, bidirectional embeddings, overrides and isolates.
_STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")

MAX_WORD = 60
"""Letters of a word of the prompt."""
_IN_WORDS = frozenset(" -_'\u2019.,&/+\u200c\u200d")  # with letters, marks and digits of any script


def is_blank(text: str) -> bool:
    """Whether a text has no visible character."""
    return _SEEN.search(text) is None


def steering(text: str) -> str | None:
    """The first character that steers a terminal or the direction of writing, as `U+009B`; None where there is none."""
    found = _STEERING.search(text)
    return None if found is None else f"U+{ord(found[0]):04X}"


def checked_word(word: str) -> str:
    """A word for the prompt, or a few, such as "board game".

    Raises:
        ValueError: It could be read as something else than a word: as a special token of a model, or a line.
    """
    odd = next((char for char in word if unicodedata.category(char)[0] not in "LMN" and char not in _IN_WORDS), None)
    if odd is not None or is_blank(word) or word != word.strip() or len(word) > MAX_WORD:
        what = f"holds {odd!r}" if odd is not None else "is too long" if len(word) > MAX_WORD else "is no word"
        raise ValueError(
            f'it {what}; write a word such as "movie", or a few, of letters, digits and blanks, at most {MAX_WORD} '
            "characters long"
        )
    return word
