"""Groups of consecutive items, by count or by time: what every strategy with sessions shares.

A grouping is a list of bounds: group g is `bounds[g] <= position < bounds[g + 1]`, oldest first, never empty.
"""

import re
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import AfterValidator

from patchrec.errors import UsageError
from patchrec.history import History
from patchrec.layout import Grain

Groups = Literal["newest", "anchored"]
Sessions = Literal["column"]
SESSIONS_HELP = "group by the sessions that the data set names (`data add --session-col`)"
GROUPS_HELP = "count groups back from the newest item, or on from the oldest; default: as the windows are cut"
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def seconds(duration: str) -> int:
    """Seconds of a duration such as "30m", "12h" or "7d".

    Raises:
        ValueError: It is not a whole number above 0 with one of the units.
    """
    match = re.fullmatch(r"([0-9]{1,9})([smhdw])", duration)
    if not match or int(match[1]) == 0:
        raise ValueError("write a whole number and a unit of s, m, h, d or w, such as 30m, 12h or 7d")
    return int(match[1]) * UNITS[match[2]]


def _checked(duration: str) -> str:
    seconds(duration)
    return duration


Duration = Annotated[str, AfterValidator(_checked)]


def counted_from(history: History, groups: Groups | None) -> Groups:
    """Where groups are counted from: as told, else from the end of the history that stays for the next target."""
    return groups or ("anchored" if history.anchored else "newest")


def by_count(num_items: int, L: int, groups: Groups) -> list[int]:
    """Bounds of groups of L items.

    Counted from the newest item the oldest group may be shorter; anchored at the oldest item, the newest may be.

    Source: the paper counts from the newest item. Anchored groups are ours: they stay put while a history grows, so
    the histories of one user share their beginning.
    """
    first = num_items % L if groups == "newest" else 0
    return sorted({0, *range(first, num_items, L), num_items})


def by_time(history: History, window: str | None, gap: str | None, groups: Groups | None) -> list[int]:
    """Bounds of groups by time: windows of a fixed length or, with `gap`, a new group after each longer pause.

    Windows are counted back from the newest item, or anchored at the oldest; a window without items is no group.
    Pauses are the same from either end.

    Raises:
        UsageError: The history has no timestamps.
    """
    times = history.timestamps
    if times is None:
        raise UsageError(
            "--window and --gap need timestamps, and this history has none; count items instead, such as "
            "--strategy pft-s --L 5"
        )
    if len(times) == 0:
        return [0]
    if gap is not None:
        cuts = times[1:] - times[:-1] > seconds(gap)
    elif window is not None:
        number = abs(times - times[-1 if counted_from(history, groups) == "newest" else 0]) // seconds(window)
        cuts = number[1:] != number[:-1]
    else:
        raise ValueError("give a window or a gap")
    return [0, *(cuts.nonzero()[0] + 1).tolist(), len(times)]


def by_column(history: History) -> list[int]:
    """Bounds of the sessions that the data set names: a group ends where the next item is of another.

    Raises:
        UsageError: The history has no sessions.
    """
    sessions = history.sessions
    if sessions is None:
        raise UsageError(
            "--sessions column needs a column of sessions, and this history has none; add the data set again with "
            "--session-col C, or group by time: --gap 30m"
        )
    if len(sessions) == 0:
        return [0]
    return [0, *((sessions[1:] != sessions[:-1]).nonzero()[0] + 1).tolist(), len(sessions)]


def session_spans(bounds: list[int]) -> list[tuple[int, int, Grain]]:
    """One session span for each group."""
    return [(start, stop, Grain.SESSION) for start, stop in pairwise(bounds)]
