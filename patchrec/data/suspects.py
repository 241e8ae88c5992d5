"""What looks wrong about ids, and is told without being changed.

Spellings of a missing value, a user who is everybody, and ids that another spelling would match.
"""

from collections import Counter
from collections.abc import Callable

import numpy as np

from patchrec.data.catalog import Catalog
from patchrec.data.interactions import Interactions
from patchrec.data.lines import Rejects
from patchrec.history import BoolArray, IntArray

SPELLINGS = frozenset(
    {
        "nan",
        "na",
        "n/a",
        "#n/a",
        "<na>",
        "none",
        "null",
        "(null)",
        "nil",
        "\\n",
        "undefined",
        "unknown",
        "missing",
        "-",
        "?",
    }
)
"""Of a missing value, in any case."""
NUMBERS = frozenset({"0", "0.0", "-1", "-1.0", "99999", "999999"})
"""That often stand for nobody: told where they have an implausible share."""
SHARE = 0.1
TIMES = 20
"""An id is everybody's if it has this share of all rows and so many times the average, or the first alone as a user."""
FEW = 20


def tell_suspects(found: Interactions, usable: BoolArray, catalog: Catalog, rejects: Rejects) -> None:
    """Tell users and items that are a spelling of missing, or have a share of the rows that nobody has."""
    users = np.bincount(found.users[usable], minlength=len(found.user_ids))
    items = np.bincount(found.items[usable], minlength=len(catalog))
    for what, ids, counts in (("user", found.user_ids, users), ("item", catalog.item_ids, items)):
        for place in _suspects(ids, counts):
            share = counts[place] / counts.sum()
            rejects.notice(
                f"{what} {ids[place]!r} has {counts[place]:,} of {counts.sum():,} interactions ({share:.0%}): if it "
                f"means that the {what} is not known, leave it out with --missing {ids[place]!r}"
            )


def _suspects(ids: tuple[str, ...], counts: IntArray) -> list[int]:
    """Places of ids that may stand for a missing one."""
    there = np.flatnonzero(counts)
    if not len(there):
        return []
    total, average = int(counts.sum()), counts[there].mean()
    found = [place for place in there.tolist() if ids[place].strip().casefold() in SPELLINGS]
    if len(there) >= FEW:
        for place in np.argsort(-counts, kind="stable")[:3].tolist():
            much = counts[place] >= SHARE * total and counts[place] >= TIMES * average
            odd = ids[place].strip() in NUMBERS and counts[place] >= 10 * average
            if (much or odd) and place not in found:
                found.append(place)
    return found


def near_misses(unknown: Counter[str], catalog: Catalog) -> list[str]:
    """What would match unknown items, in words, with how many interactions each would bring back."""
    total = sum(unknown.values())
    told = []
    for words, same in _SPELLINGS:
        known = {same(item_id) for item_id in catalog.item_ids}
        number = sum(count for item_id, count in unknown.items() if same(item_id) in known)
        if number:
            told.append(f"of {total:,} interactions with unknown items, {words} would match {number:,}")
    return told


def near_miss(item_id: str, catalog: Catalog) -> str | None:
    """A hint with the item that an unknown id would be, written another way; None where there is none."""
    for words, same in _SPELLINGS:
        key = same(item_id)
        for known in catalog.item_ids:
            if same(known) == key:
                return f"the items have {known!r}: {words} would match; mend a file, or leave such out with --skip-bad"
    return None


def _without_zeros(item_id: str) -> str:
    return item_id.lstrip("0") or "0"


def _without_fraction(item_id: str) -> str:
    return item_id.removesuffix(".0")


_SPELLINGS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("leaving blanks out", str.strip),
    ("putting leading zeros back", _without_zeros),
    ("leaving '.0' out", _without_fraction),
    ("ignoring case", str.casefold),
)
