"""Numbers as people read them: counts, durations, values with their intervals. No terminal, no data."""

from collections.abc import Sequence
from math import ceil, fsum, isfinite

UNITS = ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s"))


def count(number: float | None) -> str:
    """1682 -> "1,682"; None -> "-"."""
    return "-" if number is None else f"{number:,.0f}"


def several(number: int, things: str) -> str:
    """So many things: "1 user", "12 users"."""
    return f"{count(number)} {things if number != 1 else things.removesuffix('s')}"


def value(
    number: float | None, low: float | None = None, high: float | None = None, deviation: float | None = None
) -> str:
    """A value with three decimals, its deviation over seeds and its interval: "0.104 ± 0.006 [0.061, 0.150]"."""
    if number is None:
        return "-"
    spread = "" if deviation is None else f" ± {deviation:.3f}"
    if low is None or high is None or not (isfinite(low) and isfinite(high)):  # of one user there is none
        return f"{number:.3f}{spread}"
    return f"{number:.3f}{spread} [{low:.3f}, {high:.3f}]"


def duration(seconds: float | None) -> str:
    """Seconds in the two units that matter: "840 ms", "4.2 s", "3 min 05 s", "2 h 10 min"."""
    if seconds is None:
        return "-"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    size, name, part, part_name = next(unit for unit in UNITS if seconds >= unit[0] - unit[2] / 2)
    whole, rest = divmod(round(seconds / part) * part, size)
    return f"{whole:.0f} {name} {rest // part:02.0f} {part_name}"


def gigabytes(size: float) -> str:
    """Bytes in the unit that suits: "540 MB", "2.2 GB"."""
    return f"{size / 1e9:,.1f} GB" if size >= 0.9995e9 else f"{size / 1e6:,.0f} MB"


def moment(timestamp: str | None) -> str:
    """An ISO time in UTC down to the minute: "2026-11-21 12:35"."""
    return "-" if timestamp is None else timestamp[:16].replace("T", " ")


def rate(amount: float, seconds: float) -> str:
    """How much a second: "412", "4.2"; "-" before any time has passed."""
    if seconds <= 0:
        return "-"
    speed = amount / seconds
    return f"{speed:,.0f}" if speed >= 10 else f"{speed:.1f}"


def sparkline(numbers: Sequence[float | None], width: int = 48) -> str:
    """A curve in one line, low to high as ▁ to █; means where there are more than `width` numbers."""
    known = [number for number in numbers if number is not None and isfinite(number)]
    size = max(1, ceil(len(known) / width))
    pieces = [known[start : start + size] for start in range(0, len(known), size)]
    if not pieces:
        return ""
    means = [fsum(piece) / len(piece) for piece in pieces]
    low, high = min(means), max(means)
    step = (high - low) / 7 or 1
    return "".join("▁▂▃▄▅▆▇█"[round((mean - low) / step)] for mean in means)
