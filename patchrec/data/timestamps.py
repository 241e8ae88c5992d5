"""Times as files write them: seconds or milliseconds since 1970, or ISO 8601.

A file has one kind of them; that is decided over all its lines, never line by line.
"""

import re
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

from patchrec.errors import InputError

Kind = Literal["seconds", "milliseconds", "ISO 8601"]

WHOLE = re.compile(r"[+-]?\d{1,18}", re.ASCII)
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
MILLISECONDS_FROM = 10**11
"""As seconds this is the year 5138, as milliseconds 1973: no log lies on both sides."""
TOO_LARGE_FROM = 10**14


def parse_time(text: str) -> tuple[Kind, int]:
    """The kind of a written time, and its value in milliseconds under that kind. ISO times without a zone are UTC.

    Raises:
        ValueError: It is none, with the reason.
    """
    if WHOLE.fullmatch(text):
        return _of_number(int(text), int(text) * 1000)
    if NUMBER.fullmatch(text):
        value = float(text)
        if abs(value) < TOO_LARGE_FROM:
            return _of_number(value, round(value * 1000))
        raise ValueError("is neither seconds nor milliseconds since 1970")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("is no time: write seconds or milliseconds since 1970, or ISO 8601") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return "ISO 8601", round(moment.timestamp() * 1000)


def common_kind(kinds: Sequence[Kind]) -> Kind:
    """The kind that most lines have; the others are then wrong."""
    return Counter(kinds).most_common(1)[0][0]


def refuse_written_dates(file: str, kind: Kind, milliseconds: Sequence[int]) -> None:
    """Refuse dates such as 20240131, which would pass for seconds in August 1970.

    Raises:
        InputError: All values look like such dates.
    """
    if kind == "seconds" and all(_is_written_date(value // 1000) for value in milliseconds):
        raise InputError(
            f"{file}: the times look like dates without dashes ({milliseconds[0] // 1000}); write 2024-01-31"
        )


def _of_number(value: float, as_seconds: int) -> tuple[Kind, int]:
    if abs(value) < MILLISECONDS_FROM:
        return "seconds", as_seconds
    if abs(value) < TOO_LARGE_FROM:
        return "milliseconds", round(value)
    raise ValueError("is neither seconds nor milliseconds since 1970")


def _is_written_date(value: int) -> bool:
    year, month, day = value // 10_000, value // 100 % 100, value % 100
    return 1900 <= year <= 2100 and 1 <= month <= 12 and 1 <= day <= 31
