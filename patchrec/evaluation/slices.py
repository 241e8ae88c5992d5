"""Which targets belong together: by history, popularity, user, place in the session, or a field of the catalog.

A slice is a part of the targets, found from the data set alone, so stored rankings can be cut again at any time. Its
name is its group and its part, such as "history 10-19"; of a field, field and value, such as "genre=Drama".

Shapes: B targets, I items, n interactions.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from patchrec.data.histories import Dataset, Example
from patchrec.errors import UsageError, unknown
from patchrec.history import BoolArray, FloatArray, IntArray
from patchrec.store.evaluations import RankingRow

COLD = "cold"
NEW_USER = "user new"
HEAD_SHARE = 0.2
SESSION_GAP = 30 * 60
MOST_VALUES = 20
_LENGTHS = (0, 10, 20, 50, 100, 200)  # items before the target, lower ends
_PLACES = (1, 2, 6)  # in the session, lower ends


def slices(dataset: Dataset, examples: Sequence[Example], by: Sequence[str] = ()) -> dict[str, BoolArray]:
    """(B,) the targets of every slice that has some, by its name.

    Args:
        dataset: Where the targets are from.
        examples: The targets.
        by: Fields of the catalog.

    Raises:
        UsageError: No item has such a field.
    """
    targets = np.array([dataset.target(example) for example in examples], dtype=np.int64)
    users = np.array([example.user for example in examples], dtype=np.int64)
    positions = np.array([example.position for example in examples], dtype=np.int64)
    found = {COLD: cold_targets(dataset, examples), NEW_USER: np.equal(dataset.sequences.train_stop[users], 0)}
    found |= _ranges("history", positions, _LENGTHS)
    parts = popularity_parts(dataset.popularity)[targets]
    found |= {f"popularity {name}": parts == name for name in ("head", "middle", "tail")}
    places = session_places(dataset)
    if places is not None:
        found |= _ranges("session", places[dataset.sequences.offsets[users] + positions], _PLACES)
    for name in by:
        found |= _by_field(dataset, targets, name)
    return {name: found[name] for name in sorted(found) if found[name].any()}


def slices_of_rankings(dataset: Dataset, rows: Sequence[RankingRow], by: Sequence[str] = ()) -> dict[str, BoolArray]:
    """(B,) the targets of every slice that has some, of stored rankings; see `slices`."""
    return slices(dataset, [Example(dataset.user(row.user_id), 0, row.position) for row in rows], by)


def cold_targets(dataset: Dataset, examples: Sequence[Example]) -> BoolArray:
    """(B,) whether a target's item has no interaction in the train split: no training has seen it."""
    targets = np.array([dataset.target(example) for example in examples], dtype=np.int64)
    return np.equal(dataset.popularity[targets], 0)


def popularity_parts(popularity: IntArray) -> Any:
    """(I,) "head", "middle" or "tail" of each item; items of one popularity are in one part.

    The head are the most popular items that together have about 20 % of the train interactions: an item is there where
    those more popular than it have less. The tail are the least popular that together have at most 20 %.

    Source: Abdollahpouri et al., "User-centered evaluation of popularity bias in recommender systems", UMAP 2021.
    """
    counts, number = np.unique(popularity, return_inverse=True)  # ascending
    totals = counts * np.bincount(number)
    up_to = np.cumsum(totals)
    share = HEAD_SHARE * max(int(up_to[-1]), 1)
    parts = np.where(up_to <= share, "tail", np.where(up_to[-1] - up_to < share, "head", "middle"))
    return parts[number]


def session_places(dataset: Dataset) -> IntArray | None:
    """(n,) 1-based place of every interaction in its session; None where the data set knows neither sessions nor times.

    Sessions are those that the data set names, else a new one begins after 30 minutes without an interaction.

    Source: Catledge and Pitkow, "Characterizing browsing strategies in the World-Wide Web", 1995 (25.5 minutes).
    """
    sequences = dataset.sequences
    opens = np.zeros(len(sequences.items), dtype=np.bool_)
    opens[sequences.offsets[:-1][np.diff(sequences.offsets) > 0]] = True
    if sequences.sessions is not None:
        opens[1:] |= np.diff(sequences.sessions) != 0
    elif sequences.timestamps is not None:
        opens[1:] |= np.diff(sequences.timestamps) > SESSION_GAP
    else:
        return None
    numbers = np.arange(len(opens))
    return np.asarray(numbers - np.maximum.accumulate(np.where(opens, numbers, 0)) + 1, dtype=np.int64)


def _ranges(group: str, values: IntArray, lows: Sequence[int]) -> dict[str, BoolArray]:
    """Whole numbers cut at lower ends: "history 0-9", "history 10-19" and so on; the last is open."""
    found = {}
    for low, following in zip(lows, [*lows[1:], None], strict=True):
        if following is None:
            found[f"{group} {low}+"] = values >= low
        else:
            name = f"{low}" if following == low + 1 else f"{low}-{following - 1}"
            found[f"{group} {name}"] = (values >= low) & (values < following)
    return found


def _by_field(dataset: Dataset, targets: IntArray, name: str) -> Mapping[str, BoolArray]:
    """Targets by what their item has in a field. A list counts for each of its values; without a value it is in none.

    More than 20 different numbers are cut at their quartiles; of other values the 20 with the most targets stand alone.
    """
    fields = sorted({key for item in dataset.catalog.metadata for key in item})
    if name not in fields:
        if not fields:
            raise UsageError(f"--by {name!r}: the items of {dataset.name} have no fields; add some with their titles")
        raise UsageError("--by: " + unknown("field", name, fields))
    each = [list(dict.fromkeys(_values(dataset.catalog.metadata[item].get(name)))) for item in targets.tolist()]
    distinct = {value for values in each for value in values}
    if len(distinct) > MOST_VALUES and all(isinstance(value, int | float) for value in distinct):
        return dict(_quartiles(name, each))
    counts = Counter(_text(value) for values in each for value in values)
    kept = sorted(sorted(counts), key=lambda text: -counts[text])[:MOST_VALUES]
    texts = [{_text(value) for value in values} for values in each]
    found = {f"{name}={text}": np.array([text in own for own in texts], dtype=np.bool_) for text in sorted(kept)}
    if len(counts) > len(kept):
        others = np.array([bool(own - set(kept)) for own in texts], dtype=np.bool_)
        found[f"{name}=(any of {len(counts) - len(kept)} others)"] = others
    return found


def _quartiles(name: str, each: Sequence[Sequence[float]]) -> Iterator[tuple[str, BoolArray]]:
    """Targets by the quarter of all their numbers that they are in; equal numbers are in one quarter."""
    numbers: FloatArray = np.array([values[0] if values else np.nan for values in each], dtype=np.float64)
    known = numbers[~np.isnan(numbers)]
    edges = np.quantile(known, [0.25, 0.5, 0.75], method="higher")
    quarter = np.where(np.isnan(numbers), -1, np.searchsorted(edges, numbers, side="left"))
    for place in range(4):
        own = np.equal(quarter, place)
        if own.any():
            yield f"{name}={numbers[own].min():g} to {numbers[own].max():g}", own


def _values(value: Any) -> list[Any]:
    if isinstance(value, list):
        return [one for one in value if one is not None and one != ""]
    return [] if value is None or value == "" else [value]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else str(value)
