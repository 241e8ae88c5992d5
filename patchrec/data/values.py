"""Values of a row: what an id, a title and a further column of an item may be."""

import json
import math
import re
from collections.abc import Collection, Mapping
from string import Formatter
from typing import Any

from patchrec.data.batches import Row
from patchrec.data.timestamps import Moment
from patchrec.errors import UsageError

UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
"""Control characters and lone surrogates: no id or title has them, and a title is one line of a prompt."""

SURROGATE = re.compile(r"[\ud800-\udfff]")
_LEFT_BEHIND = (re.compile(r"\s*[(\[{]\s*\0\s*[)\]}]"), re.compile(r"[\s,;:/|·–-]*\0"), re.compile(r"^[\s,;:/|·–-]+"))
EXACT = 1 << 53  # whole floats below are what they read as


class LeftOutError(Exception):
    """A value that an option leaves out, with the reason."""


def text_of(value: object, name: str) -> str:
    """An id or a title, as it is.

    Raises:
        ValueError: It is missing, blank, no text, or has control characters.
    """
    if not isinstance(value, str):
        if value is None or (isinstance(value, float) and math.isnan(value)):
            raise ValueError(f"{name} is missing")
        mend = "write ids as whole numbers or text" if isinstance(value, float) else "write it in quotes"
        raise ValueError(f"{name} is no text: {mend}")
    if not value.strip():
        raise ValueError(f"{name} is blank")
    if unprintable := UNPRINTABLE.search(value):
        raise ValueError(f"{name} holds the control character U+{ord(unprintable[0]):04X}")
    return value


def is_missing(value: object, missing: Collection[str]) -> bool:
    """Whether a value is a text that means that there is none."""
    return isinstance(value, str) and value in missing


def further_columns(row: Mapping[str, Any], used: Collection[str]) -> Row:
    """The columns of an item that become its metadata. NaN and infinite values are missing: JSON has neither.

    Raises:
        ValueError: Text is no Unicode, which no store keeps.
    """
    found: Row = {}
    for key, value in row.items():
        if key in used:
            continue
        if isinstance(value, float) and not math.isfinite(value):
            found[key] = None
        else:
            found[key] = str(value) if isinstance(value, Moment) else value
    if SURROGATE.search(json.dumps(found, ensure_ascii=False)):
        raise ValueError("a further column holds half a character (a lone surrogate)")
    return found


class Template:
    """A title of several columns, such as "{name}, {colour}".

    A column that is missing or blank in a row takes along what would be left behind: empty brackets, and punctuation
    before it (at the beginning, after it).
    """

    def __init__(self, template: str, columns: Collection[str], option: str = "--title") -> None:
        """Read a template.

        Raises:
            UsageError: No field at all, one that is no column, or braces that do not close.
        """
        try:
            self._parts = [(before, field) for before, field, _, _ in Formatter().parse(template)]
        except ValueError as error:
            raise UsageError(f"{option} {template!r}: {error}; write columns as in '{{name}}, {{colour}}'") from error
        self.fields = tuple(field for _, field in self._parts if field is not None)
        if not self.fields:
            raise UsageError(f"{option} {template!r} names no column; write it as in '{{name}}, {{colour}}'")
        for field in self.fields:
            if field not in columns:
                some = ", ".join(list(columns)[:20])
                raise UsageError(f"{option} {template!r}: no column {field!r}; columns: {some}")

    def fill(self, row: Mapping[str, Any]) -> str | None:
        """The text of a row; None where all its columns are missing."""
        shown = {field: _shown(row.get(field)) for field in self.fields}
        if not any(shown.values()):
            return None
        text = "".join(before + ("" if field is None else shown[field] or "\0") for before, field in self._parts)
        if "\0" in text:
            brackets, before, start = _LEFT_BEHIND
            text = start.sub("", before.sub("", brackets.sub("", text)))
        return text


def _shown(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < EXACT:
        return str(int(value))
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value).replace("\0", "").strip()
