"""Times as files write them: numbers since 1970, compact dates, ISO 8601, other usual forms, or one that is named.

A column has one kind of them; that is decided over all its rows, never row by row, and what fits two kinds that are
equally likely is refused with the way on. Times without a zone are UTC.
"""

import re
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import parsedate_to_datetime
from math import floor

import numpy as np

from patchrec.data.fields import Fields
from patchrec.data.interactions import count
from patchrec.errors import InputError, UsageError
from patchrec.history import BoolArray, IntArray

WHOLE = re.compile(r"[+-]?\d{1,18}", re.ASCII)
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
WHOLE_FLOAT = re.compile(r"([+-]?\d{1,19})(?:\.0*)?", re.ASCII)
"""Whole numbers, also those that a data frame made floats of."""

UNITS = {
    "seconds": Decimal(1000),
    "milliseconds": Decimal(1),
    "microseconds": Decimal("1e-3"),
    "nanoseconds": Decimal("1e-6"),
}
"""Milliseconds in one of each."""
UNIT_NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
NEXT_UNIT_FROM = 10**11
"""As seconds this is the year 5138, as milliseconds 1973: no log lies on both sides; and so on for each thousand."""

COMPACT = "dates such as 20240131"
COMPACT_CLOCK = "times such as 20240131103000"
MOMENT = "typed moments"
ISO = "ISO 8601"
PARTS = "days and months such as 1/31/2024"
NAMED_MONTH = "dates with a month's name"
EXCEL_DAY_ZERO = -2_209_161_600_000
"""1899-12-30 in milliseconds: Excel's day 0."""
DAY = 86_400_000
FIRST, LAST = -62_135_596_800_000, 253_402_300_799_999
"""The years 1 to 9999 in milliseconds: what a calendar knows."""

KINDS = (*UNITS, COMPACT, COMPACT_CLOCK, ISO, PARTS, NAMED_MONTH, MOMENT, "excel days", "the given form")
CODE = {kind: code for code, kind in enumerate(KINDS)}
CODE_PARTS = CODE[PARTS]

_COMPACT = re.compile(r"(?P<y>(?:19|20)\d\d)(?P<m>\d\d)(?P<d>\d\d)(?:(?P<H>\d\d)(?P<M>\d\d)(?P<S>\d\d)?)?", re.ASCII)
_CLOCK = r"(?:[T ,]\s*(?P<H>\d{1,2}):(?P<M>\d\d)(?::(?P<S>\d\d)(?:\.(?P<f>\d{1,9}))?)?(?:\s*(?P<p>[AaPp])\.?[Mm]\.?)?)?"
_ZONE = r"(?P<z>\s*(?:Z|UTC|GMT))?"
_PARTS = re.compile(rf"(?P<a>\d{{1,2}})(?P<s>[/.-])(?P<b>\d{{1,2}})(?P=s)(?P<y>\d{{4}}){_CLOCK}{_ZONE}", re.ASCII)
_YEAR_FIRST = re.compile(rf"(?P<y>\d{{4}})(?P<s>[/.-])(?P<m>\d{{1,2}})(?P=s)(?P<d>\d{{1,2}}){_CLOCK}{_ZONE}", re.ASCII)
_MONTH_DATES = ("%b %d, %Y", "%B %d, %Y", "%d %b %Y", "%d %B %Y", "%d-%b-%Y")
_CLOCKS = ("%H:%M:%S", "%H:%M", "%I:%M:%S %p", "%I:%M %p")
_CTIME = tuple(f"%a %b %d %H:%M:%S {zone}%Y" for zone in ("", "%z ", "UTC ", "GMT "))
_DAYS_WITH_CLOCKS = (day + between + at for day in _MONTH_DATES for between in (" ", ", ") for at in _CLOCKS)
_NAMED = (*_CTIME, *_MONTH_DATES, *_DAYS_WITH_CLOCKS)
_RFC_2822 = re.compile(
    r"(?:[A-Za-z]{3},\s*)?\d{1,2} [A-Za-z]{3} \d{4} \d{1,2}:\d\d(?::\d\d)?"
    r"(?: ?(?:[+-](?:0\d|1[0-4])[0-5]\d(?: \([A-Z]+\))?|Z|UTC?|GMT|[ECMP][SD]T))?"
)
NO_TIME = "is no time that is known"
TIME_HINT = "name its form with --time-format, such as '%d.%m.%Y %H:%M'"


@dataclass(frozen=True, slots=True, order=True)
class Moment:
    """A time that a file holds as a time, exactly.

    Attributes:
        milliseconds: Since 1970.
    """

    milliseconds: int

    def __str__(self) -> str:
        """ISO 8601, of a midnight the date alone."""
        if not FIRST <= self.milliseconds <= LAST:
            return f"{self.milliseconds} ms after 1970"
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=self.milliseconds)
        form = "%Y-%m-%d" if self.milliseconds % DAY == 0 else "%Y-%m-%dT%H:%M:%S"
        rest = f".{self.milliseconds % 1000:03d}" if self.milliseconds % 1000 else ""
        return moment.strftime(form) + rest


def parse_time(text: str) -> tuple[str, int]:
    """The kind of a written time, and its value in milliseconds under that kind.

    Of `PARTS`, whose order of day and month the column decides, the value is `packed`.

    Raises:
        ValueError: It is none, with the reason.
    """
    if whole := WHOLE_FLOAT.fullmatch(text):
        digits = whole[1]
        found = _compact(digits) if _COMPACT.fullmatch(digits) else None
        if found is None:
            return _since_1970(Decimal(digits))
        return (COMPACT if len(digits) == 8 else COMPACT_CLOCK), found
    if NUMBER.fullmatch(text):
        return _since_1970(Decimal(text))
    if match := _PARTS.fullmatch(text):
        return PARTS, _packed(match)
    return _calendar(text)


def _calendar(text: str) -> tuple[str, int]:
    """A date with the year first, or with the name of its month."""
    if match := _YEAR_FIRST.fullmatch(text):
        try:
            day = datetime(int(match["y"]), int(match["m"]), int(match["d"]), tzinfo=UTC)
        except ValueError:
            raise ValueError("is no day of a calendar") from None
        return ISO, _milliseconds(day) + _of_day(match)
    try:
        return ISO, _milliseconds(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        return NAMED_MONTH, _with_month(text)


def named_form(written: str) -> Callable[[str], tuple[str, int]]:
    """What reads times of a form that is named: strptime's, or `s`, `ms`, `us`, `ns`, `excel`.

    Raises:
        UsageError: It is no form.
    """
    if written in UNIT_NAMES or written == "excel":
        unit = UNIT_NAMES.get(written)

        def number(text: str) -> tuple[str, int]:
            if not NUMBER.fullmatch(text):
                raise ValueError(f"is no number, as --time-format {written} wants")
            if unit is None:
                return "excel days", _bounded(EXCEL_DAY_ZERO + floor(Decimal(text) * DAY))
            return unit, _in_milliseconds(Decimal(text), unit)

        return number
    if "%" not in written:
        raise UsageError(
            f"--time-format {written!r} is none; give strptime's such as '%d.%m.%Y %H:%M', or one of "
            f"{', '.join(UNIT_NAMES)} (numbers since 1970), excel"
        )

    # What %Z reads depends on the zone of the machine; these are the names that do not.
    forms = [written.replace("%Z", zone) for zone in ("UTC", "GMT", "Z")] if "%Z" in written else [written]

    def by_form(text: str) -> tuple[str, int]:
        for form in forms:
            try:
                return "the given form", _milliseconds(datetime.strptime(text, form))
            except (ValueError, OverflowError):
                continue
        raise ValueError(f"is not of the form {written!r}")

    try:
        by_form(datetime(2024, 12, 31, 23, 59, 58, tzinfo=UTC).strftime(forms[0]))
    except (ValueError, re.error) as error:
        raise UsageError(
            f"--time-format {written!r} is no form of strptime; write one such as '%d.%m.%Y %H:%M'"
        ) from error
    return by_form


class Clock:
    """The times of a column, batch by batch, until all are there and their kind is known."""

    def __init__(self, form: str | None = None) -> None:
        self._parse = parse_time if form is None else named_form(form)
        self._named = form is not None

    def read(
        self, values: Sequence[object], faults: dict[int, str], name: str, skip: Container[int] = ()
    ) -> tuple[IntArray, IntArray]:
        """(n,) kinds (`CODE`) and values of some rows; `faults` gets the reason where one is none.

        Args:
            values: As the file has them.
            faults: Place -> reason; places that are there already are not looked at.
            name: Of the column.
            skip: Places that are not looked at either.
        """
        quick = None if self._named else _plain_epochs(values)
        if quick is not None:
            return quick
        kinds, found = np.zeros(len(values), dtype=np.int64), np.zeros(len(values), dtype=np.int64)
        for place, value in enumerate(values):
            if place in faults or place in skip:
                continue
            if isinstance(value, Moment):
                kinds[place], found[place] = CODE[MOMENT], value.milliseconds
                continue
            if not isinstance(value, str | float) or value != value:  # noqa: PLR0124 - NaN
                missing = value is None or isinstance(value, float)
                faults[place] = f"{name} is missing" if missing else f"{name} {str(value)[:40]!r} is no time"
                continue
            text = (value if isinstance(value, str) else repr(value)).strip()
            try:
                kind, number = self._parse(text)
            except ValueError as error:
                faults[place] = f"{name} {text[:40]!r} {error}" if text else f"{name} is blank, which is no time"
                continue
            kinds[place], found[place] = CODE[kind], number
        return kinds, found

    def finish(self, file: str, kinds: IntArray, values: IntArray) -> tuple[IntArray, str, BoolArray]:
        """(n,) milliseconds, the kind that most rows have, and (n,) which rows are on no day of a calendar after all.

        Rows of another kind are wrong.

        Args:
            file: Name for messages.
            kinds, values: Of all rows, as `read` gave them, usable ones.

        Raises:
            InputError: They fit several kinds, and nothing tells which it is.
        """
        counts = count(kinds, len(KINDS))
        first, second = np.argsort(-counts, kind="stable")[:2].tolist()
        if counts[first] == counts[second]:
            raise InputError(
                f"{file}: as many times are {KINDS[first]} as {KINDS[second]} ({counts[first]:,} each); say how they "
                "are written with --time-format, such as s for seconds since 1970"
            )
        most = KINDS[first]
        wrong = np.zeros(len(kinds), dtype=np.bool_)
        if most == "seconds" and not self._named:
            _refuse_years_and_excel(file, values if counts[first] == len(kinds) else values[kinds == first])
        if most == PARTS:
            values, wrong = _days_and_months(file, kinds, values)
        return values, most, wrong


def implausible(milliseconds: IntArray, now: datetime) -> list[tuple[str, int]]:
    """What is odd about moments, each in words and with the first place that shows it."""
    begin, end = _milliseconds(datetime(1990, 1, 1, tzinfo=UTC)), _milliseconds(now + timedelta(days=1))
    found = []
    for words, odd in (("before 1990", milliseconds < begin), ("later than tomorrow", milliseconds > end)):
        if odd.any():
            number = int(odd.sum())
            found.append((f"{number:,} {'time is' if number == 1 else 'times are'} {words}", int(odd.argmax())))
    if len(milliseconds) > 1 and milliseconds.max() // 1000 == milliseconds.min() // 1000:
        found.append((f"all {len(milliseconds):,} times are in one second", 0))
    return found


def is_likely(text: str, now: datetime) -> bool:
    """Whether a text reads as a time of a log: a written date, or a number that is one since 1990."""
    try:
        kind, value = parse_time(text)
    except ValueError:
        return False
    return kind not in UNITS or not implausible(np.array([value]), now)


def _plain_epochs(values: Sequence[object]) -> tuple[IntArray, IntArray] | None:
    """Kinds and values where all are whole numbers of one unit, none of which could be a date; else None."""
    numbers = values.whole_numbers() if isinstance(values, Fields) else None
    if numbers is None:
        return None
    low, high = int(numbers.min()), int(numbers.max())
    for unit, (start, stop) in _RANGES.items():
        if start <= low and high < stop:
            maybe_dates = (unit == "seconds" and low < 21_010_000 and high >= 19_000_000) or (
                unit == "milliseconds" and not (low >= 10**12 and high < 10**13)
            )
            return None if maybe_dates else (np.full(len(numbers), CODE[unit]), _scaled(numbers, unit))
    return None


_RANGES = {
    "seconds": (0, NEXT_UNIT_FROM),
    "milliseconds": (NEXT_UNIT_FROM, NEXT_UNIT_FROM * 10**3),
    "microseconds": (10**15, NEXT_UNIT_FROM * 10**6),
    "nanoseconds": (NEXT_UNIT_FROM * 10**6, 1 << 63),
}


def _scaled(numbers: IntArray, unit: str) -> IntArray:
    return {
        "seconds": numbers * 1000,
        "milliseconds": numbers,
        "microseconds": numbers // 1000,
        "nanoseconds": numbers // 10**6,
    }[unit]


def _since_1970(value: Decimal) -> tuple[str, int]:
    for thousand, unit in enumerate(UNITS):
        if abs(value) < NEXT_UNIT_FROM * 10 ** (3 * thousand):
            return unit, _in_milliseconds(value, unit)
    raise ValueError("is neither seconds nor milliseconds, microseconds or nanoseconds since 1970")


def _in_milliseconds(value: Decimal, unit: str) -> int:
    return _bounded(floor(value * UNITS[unit]))


def _bounded(milliseconds: int) -> int:
    if not FIRST <= milliseconds <= LAST:
        raise ValueError("is in no year of a calendar")
    return milliseconds


def _milliseconds(moment: datetime) -> int:
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def _compact(text: str) -> int | None:
    """Milliseconds of digits such as 20240131, 202401311030 or 20240131103000; None where they are no date."""
    parts = ((0, 4), (4, 6), (6, 8), (8, 10), (10, 12), (12, 14))
    year, month, day, hour, minute, second = (int(text[start:stop] or 0) for start, stop in parts)
    try:
        return _milliseconds(datetime(year, month, day, hour, minute, second, tzinfo=UTC))
    except ValueError:
        return None


def _of_day(match: re.Match[str]) -> int:
    """Milliseconds since midnight of the clock in a match."""
    if match["H"] is None:
        return 0
    hour, minute, second = int(match["H"]), int(match["M"]), int(match["S"] or 0)
    if match["p"]:
        if not 1 <= hour <= 12:
            raise ValueError("is no time of day")
        hour = hour % 12 + (12 if match["p"] in "Pp" else 0)
    if hour > 23 or minute > 59 or second > 59:
        raise ValueError("is no time of day")
    return ((hour * 60 + minute) * 60 + second) * 1000 + int((match["f"] or "0")[:3].ljust(3, "0"))


def _packed(match: re.Match[str]) -> int:
    """A date of parts whose order is not known: `((year * 100 + first) * 100 + second) * DAY + milliseconds`."""
    first, second = int(match["a"]), int(match["b"])
    if not int(match["y"]):
        raise ValueError("is no day of a calendar")
    if not (1 <= first <= 31 and 1 <= second <= 31 and min(first, second) <= 12):
        raise ValueError("is no day of a calendar")
    return ((int(match["y"]) * 100 + first) * 100 + second) * DAY + _of_day(match)


def _days_and_months(file: str, kinds: IntArray, values: IntArray) -> tuple[IntArray, BoolArray]:
    """Milliseconds of packed dates, in the order of day and month that all of them allow, and which are no days."""
    chosen = kinds == CODE_PARTS
    days, clock = np.divmod(values[chosen], DAY)
    years, first, second = days // 10_000, days // 100 % 100, days % 100
    day_first, month_first = bool((first > 12).any()), bool((second > 12).any())
    if day_first == month_first:
        example = f"{first[0]}/{second[0]}/{years[0]}"
        why = "some have the day first and some the month" if day_first else f"{example} may be either"
        raise InputError(
            f"{file}: which is first in the times, day or month? {why}; say it with --time-format, such as "
            "'%d/%m/%Y %H:%M' or '%m/%d/%Y %H:%M'"
        )
    day, month = (first, second) if day_first else (second, first)
    months = ((years - 1970) * 12 + month - 1).astype("datetime64[M]")
    dates = months.astype("datetime64[D]").astype(np.int64) + day - 1
    found, wrong = values.copy(), np.zeros(len(values), dtype=np.bool_)
    found[chosen] = dates * DAY + clock
    wrong[chosen] = dates.astype("datetime64[D]").astype("datetime64[M]") != months
    return found, wrong


class _NamedMonths:
    """Forms of dates that name their month, the one that fitted last first."""

    def __init__(self) -> None:
        self._forms = list(_NAMED)

    def __call__(self, text: str) -> int:
        """Milliseconds of a date: RFC 2822, ctime and the like.

        Raises:
            ValueError: It has none of the forms.
        """
        if _RFC_2822.fullmatch(text):
            try:
                return _milliseconds(parsedate_to_datetime(text))
            except (ValueError, TypeError, IndexError, OverflowError):
                raise ValueError(NO_TIME) from None
        for place, form in enumerate(self._forms):
            try:
                found = _milliseconds(datetime.strptime(text, form))
            except (ValueError, OverflowError):
                continue
            self._forms.insert(0, self._forms.pop(place))
            return found
        raise ValueError(NO_TIME)


_with_month = _NamedMonths()


def _refuse_years_and_excel(file: str, milliseconds: IntArray) -> None:
    """Refuse what would pass for seconds in January 1970 and is another thing in all likelihood."""
    for words, low, high, whole, way in (
        ("years", 1900, 2100, True, "%Y"),
        ("days of Excel", 30_000, 60_000, False, "excel"),
    ):
        inside = (milliseconds >= low * 1000) & (milliseconds <= high * 1000)
        if whole:
            inside &= milliseconds % 1000 == 0
        if inside.sum() * 2 > len(milliseconds):
            example = int(milliseconds[inside][0]) / 1000
            raise InputError(
                f"{file}: the times look like {words} ({example:g}); say what they are: --time-format {way}, or "
                "--time-format s for seconds since 1970"
            )
