"""Text from data as documents can hold it."""

import re

# What XML and HTML have no place for: controls but tab and line feed, lone surrogates, two non-characters.
IMPOSSIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def possible(text: object) -> str:
    """Text with a replacement character for each character that no document may hold."""
    return IMPOSSIBLE.sub("\ufffd", str(text))
