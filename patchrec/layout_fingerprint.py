"""What a strategy plans, as one fingerprint: it plans a fixed set of histories, with and without draws.

Two versions of a plugin with one fingerprint lay these histories out alike. Everything here is arithmetic without a
generator, so that no library changes the set.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from patchrec.errors import PatchrecError
from patchrec.history import History, Lengths
from patchrec.strategy import EVALUATION, Moment, Planner

if TYPE_CHECKING:
    from patchrec.history import FloatArray, IntArray

_NUM_ITEMS = 100_003
_LENGTHS = (1, 2, 3, 7, 20, 50, 100, 300)
_PROGRESS = (0.0, 0.5, 1.0)
_STEP = 0.6180339887498949  # multiples of it, less their whole part, spread evenly over [0, 1)


def layouts_fingerprint(planner: Planner) -> str | None:
    """sha256 over the layouts of the fixed histories (hex, 16 digits); None where a plan is not certain.

    A history that the strategy refuses, such as one without times, counts by its kind of error.
    """
    certain = [_planned(planner, history, EVALUATION) for history in _histories()]
    if certain != [_planned(planner, history, EVALUATION) for history in _histories()]:
        return None
    drawn = [
        _planned(planner, history, Moment(progress, _draws(len(history))))
        for progress in _PROGRESS
        for history in _histories(plain=progress == _PROGRESS[1])
    ]
    return hashlib.sha256(json.dumps([certain, drawn]).encode()).hexdigest()[:16]


def _planned(planner: Planner, history: History, moment: Moment) -> list[tuple[int, int, str]] | str:
    """Spans of a layout, or the kind of error."""
    try:
        return [(span.start, span.stop, str(span.grain)) for span in planner.plan(history, moment).spans]
    except PatchrecError as error:
        return type(error).__name__


def _histories(*, plain: bool = True) -> Iterator[History]:
    """Histories with times and sessions; also, where `plain`, without, and with windows at anchors."""
    for length in _LENGTHS:
        items = np.arange(length, dtype=np.int64) * 7919 % _NUM_ITEMS
        pauses = _spread(length, 60.0 * 86_400)
        pauses[np.arange(length) % 4 != 0] %= 300  # sessions of four, minutes apart
        times = 1_000_000_000 + np.cumsum(pauses)
        ratings = (1 + np.arange(length) % 5).astype(np.float64)
        sessions = np.arange(length, dtype=np.int64) // 4
        yield History(items, times, sessions=sessions, ratings=ratings, measure=_lengths)
        if plain:
            yield History(items)
            yield History(items, times, start=50, anchored=True)


@cache
def _lengths() -> Lengths:
    """Titles of 1 to 11 tokens with their separators."""
    return Lengths(2 + np.arange(_NUM_ITEMS, dtype=np.int64) % 11, 2)


def _draws(length: int) -> FloatArray:
    """(length,) numbers in [0, 1), spread evenly."""
    return (np.arange(1, length + 1, dtype=np.float64) * _STEP) % 1.0


def _spread(length: int, most: float) -> IntArray:
    """(length,) whole seconds below `most`, spread evenly."""
    return (_draws(length) * most).astype(np.int64)
