"""What looks wrong about ids and titles, and is told without being changed.

Spellings of a missing value, a user who is everybody, ids that another spelling would match, titles with characters
that nobody sees.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from patchrec.data.catalog import Catalog
from patchrec.data.characters import steering
from patchrec.data.interactions import Interactions, count
from patchrec.data.lines import Rejects
from patchrec.history import IntArray

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
"""An id is everybody's if it has this share of all rows and so many times the average of the others."""
TIMES_OF_NUMBERS = 10
"""The same of one of `NUMBERS`, whatever its share."""
OFTEN = 2
MOST = 0.5
"""An item may be popular: it is told if each of its users has it more often than this, or it has this share."""
FEW = 20


def tell_suspects(found: Interactions, catalog: Catalog, rejects: Rejects) -> None:
    """Tell users and items that are a spelling of missing, or have a share of the rows that nobody has."""
    users, items = count(found.users, len(found.user_ids)), count(found.items, len(catalog))
    for what, ids, counts in (("user", found.user_ids, users), ("item", catalog.item_ids, items)):
        for place in _suspects(ids, counts, found if what == "item" else None):
            share = counts[place] / counts.sum()
            rejects.notice(
                f"{what} {ids[place]!r} has {counts[place]:,} of {counts.sum():,} interactions ({share:.0%}): if it "
                f"means that the {what} is not known, leave it out with --missing {ids[place]!r}"
            )


def _suspects(ids: tuple[str, ...], counts: IntArray, popular: Interactions | None) -> list[int]:
    """Places of ids that may stand for a missing one; of items, which may be popular, with their interactions."""
    there = np.flatnonzero(counts)
    if not len(there):
        return []
    total = int(counts.sum())
    found = [place for place in there.tolist() if ids[place].strip().casefold() in SPELLINGS]
    if len(there) >= FEW:
        for place in np.argsort(-counts, kind="stable")[:3].tolist():
            average = (total - counts[place]) / (len(there) - 1)
            much = counts[place] >= SHARE * total and counts[place] >= TIMES * average
            odd = ids[place].strip() in NUMBERS and counts[place] >= TIMES_OF_NUMBERS * average
            if place not in found and (odd or (much and not _is_popular(place, popular, counts))):
                found.append(place)
    return found


def _is_popular(item: int, found: Interactions | None, counts: IntArray) -> bool:
    """Whether as many interactions as an item has are plausible, given how many users have it."""
    if found is None or counts[item] >= MOST * counts.sum():
        return False
    return bool(counts[item] <= OFTEN * len(np.unique(found.users[found.items == item])))


def steering_titles(catalog: Catalog) -> list[int]:
    """Items whose title holds characters that steer a terminal or the direction of writing, ascending."""
    return [item for item, title in enumerate(catalog.titles) if steering(title)]


def steering_note(catalog: Catalog) -> str | None:
    """A sentence on titles with characters that steer what is shown, with the first one; None where there is none."""
    found = steering_titles(catalog)
    if not found:
        return None
    first = catalog.titles[found[0]]
    return (
        f"{len(found):,} {'title holds' if len(found) == 1 else 'titles hold'} control characters or marks that turn "
        f"the direction of writing, such as {steering(first)} in {first!r}; they are kept, and left out where titles "
        "are shown: mend the file if they are not meant"
    )


def near_misses(unknown: Counter[str], catalog: Catalog) -> list[str]:
    """What would match unknown items, in words, with how many interactions each would bring back."""
    if not unknown:
        return []
    total = sum(unknown.values())
    matched: Counter[str] = Counter()
    for spelling in _SPELLINGS:
        known = {spelling.same(item_id): item_id for item_id in catalog.item_ids}
        for item_id, number in unknown.items():
            if spelling.same(item_id) in known:
                matched[spelling.words(item_id, known[spelling.same(item_id)])] += number
    return [
        f"of {total:,} interactions with unknown items, {words} would match {number:,}"
        for words, number in matched.items()
    ]


def near_miss(item_id: str, catalog: Catalog) -> str | None:
    """A hint with the item that an unknown id would be, written another way; None where there is none."""
    for spelling in _SPELLINGS:
        key = spelling.same(item_id)
        for known in catalog.item_ids:
            if spelling.same(known) == key:
                words = spelling.words(item_id, known)
                return f"the items have {known!r}: {words} would match; mend a file, or leave such out with --skip-bad"
    return None


def _without_zeros(item_id: str) -> str:
    return item_id.lstrip("0") or "0"


def _without_fraction(item_id: str) -> str:
    return item_id.removesuffix(".0")


@dataclass(frozen=True, slots=True)
class _Spelling:
    """A way to write ids in which two may be the same.

    Attributes:
        shorter, longer: What makes the unknown one a known one that is shorter, or is not.
        same: What both have in common.
    """

    shorter: str
    longer: str
    same: Callable[[str], str]

    def words(self, unknown: str, known: str) -> str:
        """What makes an unknown id a known one."""
        return self.shorter if len(known) < len(unknown) else self.longer


_SPELLINGS = (
    _Spelling("leaving blanks out", "leaving blanks out", str.strip),
    _Spelling("leaving leading zeros out", "putting leading zeros back", _without_zeros),
    _Spelling("leaving '.0' out", "putting '.0' back", _without_fraction),
    _Spelling("ignoring case", "ignoring case", str.casefold),
)
