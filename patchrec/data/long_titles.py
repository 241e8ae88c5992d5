"""Titles that are long in letters, told before any tokenizer has read them: what they are in tokens it alone knows."""

from collections.abc import Sequence

MOST_LETTERS = 256
"""From here on a title is told: about four letters a token in European languages, and 64 tokens are what models see."""
_SHOWN = 40


def excerpt(title: str) -> str:
    """A title in a message, the begin of it where it is long."""
    return repr(title if len(title) <= _SHOWN else title[: _SHOWN - 1] + "…")


def long_titles_note(titles: Sequence[str]) -> str | None:
    """A sentence on titles that are long; None where there is none."""
    lengths = [len(title) for title in titles]
    count = sum(length > MOST_LETTERS for length in lengths)
    if not count:
        return None
    longest = max(range(len(titles)), key=lengths.__getitem__)
    return (
        f"{count:,} {'title has' if count == 1 else 'titles have'} more than {MOST_LETTERS} letters; the longest, "
        f"{excerpt(titles[longest])}, has {lengths[longest]:,}: a language model sees the first tokens alone "
        "(--max-title-tokens, 64 unless given), or refuses them (--long-titles refuse)"
    )
