"""Values of a row: what an id, a title and a further column of an item may be."""

import json
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from string import Formatter
from typing import Any

from patchrec.data.batches import Row
from patchrec.data.characters import is_blank
from patchrec.data.timestamps import Moment
from patchrec.errors import UsageError

UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
"""Control characters and lone surrogates: no id or title has them, and a title is one line of a prompt."""

SURROGATE = re.compile(r"[\ud800-\udfff]")
BRACKETS = {"(": ")", "[": "]", "{": "}"}
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


def title_of(value: object, name: str) -> str:
    """A title, as it is: a text that is seen.

    Raises:
        ValueError: It is none (`text_of`), or of invisible characters alone.
    """
    title = text_of(value, name)
    if is_blank(title):
        raise ValueError(f"{name} is blank")
    return title


def is_missing(value: object, missing: Collection[str]) -> bool:
    """Whether a value is a text that means that there is none."""
    return isinstance(value, str) and value in missing


def further_columns(row: Mapping[str, Any], used: Collection[str], missing: Collection[str] = ()) -> Row:
    """The columns of an item that become its metadata. NaN and infinite values are missing: JSON has neither.

    Raises:
        ValueError: Text is no Unicode, which no store keeps.
    """
    found: Row = {}
    for key, value in row.items():
        if key in used:
            continue
        if is_missing(value, missing) or (isinstance(value, float) and not math.isfinite(value)):
            found[key] = None
        else:
            found[key] = str(value) if isinstance(value, Moment) else value
    if SURROGATE.search(json.dumps(found, ensure_ascii=False)):
        raise ValueError("a further column holds half a character (a lone surrogate)")
    return found


class Template:
    """A title of several columns, such as "{name}, {colour}".

    A column that is missing or blank in a row takes along the text that stands between it and the one before (at the
    beginning, the one after), and brackets that would be empty.
    """

    def __init__(self, template: str, columns: Collection[str], option: str = "--title") -> None:
        """Read a template.

        Raises:
            UsageError: No field at all, one that is no column, or braces that do not close.
        """
        try:
            parts = [(before, name) for before, name, _, _ in Formatter().parse(template)]
        except ValueError as error:
            raise UsageError(f"{option} {template!r}: {error}; write columns as in '{{name}}, {{colour}}'") from error
        self.fields = tuple(name for _, name in parts if name is not None)
        if not self.fields:
            raise UsageError(f"{option} {template!r} names no column; write it as in '{{name}}, {{colour}}'")
        for name in self.fields:
            if name not in columns:
                some = ", ".join(list(columns)[:20])
                raise UsageError(f"{option} {template!r}: no column {name!r}; columns: {some}")
        self._text = _grouped(parts)

    def fill(self, row: Mapping[str, Any], missing: Collection[str] = ()) -> str | None:
        """The text of a row; None where all its columns are missing."""
        shown = {name: "" if is_missing(row.get(name), missing) else _shown(row.get(name)) for name in self.fields}
        return self._text.fill(shown).strip() or None


@dataclass(slots=True)
class _Group:
    """Fields and groups in brackets, each with the text before it, between brackets (of the whole, between none)."""

    opened: str = ""
    closed: str = ""
    parts: list[tuple[str, "str | _Group"]] = field(default_factory=list)
    rest: str = ""

    def fill(self, values: Mapping[str, str]) -> str:
        """Its text; none where none of its fields has a value."""
        text, value = "", ""
        for place, (before, part) in enumerate(self.parts):
            value = values[part] if isinstance(part, str) else part.fill(values)
            if value:
                text += (before if text or place == 0 else "") + value
        return f"{self.opened}{text}{self.rest if value else ''}{self.closed}" if text else ""


def _grouped(parts: Sequence[tuple[str, str | None]]) -> _Group:
    """The fields of a template with the text before each. Brackets that do not pair are text."""
    pieces = [piece for before, name in parts for piece in (*((one, False) for one in before), (name, True))]
    pairs = _paired([piece for piece, is_field in pieces if piece is not None and not is_field])
    open_groups = [_Group()]
    for piece, is_field in pieces:
        group = open_groups[-1]
        if piece is None:
            continue
        if is_field:
            group.parts.append((group.rest, piece))
            group.rest = ""
        elif pairs and piece in BRACKETS:
            open_groups.append(_Group(piece, BRACKETS[piece]))
        elif pairs and piece in BRACKETS.values():
            open_groups.pop()
            outer = open_groups[-1]
            if group.parts:
                outer.parts.append((outer.rest, group))
                outer.rest = ""
            else:
                outer.rest += group.opened + group.rest + group.closed
        else:
            group.rest += piece
    return open_groups[0]


def _paired(signs: Sequence[str]) -> bool:
    """Whether each bracket is closed by its own."""
    awaited: list[str] = []
    for sign in signs:
        if sign in BRACKETS:
            awaited.append(BRACKETS[sign])
        elif sign in BRACKETS.values() and (not awaited or awaited.pop() != sign):
            return False
    return not awaited


def _shown(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < EXACT:
        return str(int(value))
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value).strip()
