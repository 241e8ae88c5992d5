"""Data sets made up for tests of whole jobs, whose next item is always known."""

from collections.abc import Sequence

import numpy as np

from patchrec.data.catalog import Catalog
from patchrec.data.histories import Dataset, Sequences

NUM_USERS, NUM_ITEMS, LENGTH = 12, 20, 14
LETTERS = [chr(97 + item) for item in range(NUM_ITEMS)]


def walk(
    name: str,
    titles: Sequence[str],
    *,
    first_year: int | None = None,
    item_id: str = "i{:02d}",
    user_id: str = "u{}",
    first_user: int = 0,
    held_out: int = 2,
    noun: str = "letter",
    verb: str = "read",
) -> Dataset:
    """Users who walk through the catalog in order from different starts, an item a day.

    Args:
        titles: Of the items. first_year: Metadata of the first item, one more of each next; None: no metadata.
        held_out: Last items of each user that are test, and so many before them validation.
    """
    years = [] if first_year is None else [{"year": first_year + item} for item in range(len(titles))]
    return Dataset(
        name=name,
        catalog=Catalog(tuple(item_id.format(item) for item in range(len(titles))), tuple(titles), tuple(years)),
        sequences=Sequences(
            user_ids=tuple(user_id.format(first_user + user) for user in range(NUM_USERS)),
            offsets=np.arange(NUM_USERS + 1) * LENGTH,
            items=np.concatenate([(start + np.arange(LENGTH)) % len(titles) for start in range(NUM_USERS)]),
            timestamps=np.tile(np.arange(LENGTH) * 86_400, NUM_USERS),
            train_stop=np.full(NUM_USERS, LENGTH - 2 * held_out),
            validation_stop=np.full(NUM_USERS, LENGTH - held_out),
        ),
        noun=noun,
        verb=verb,
    )


def walkers() -> Dataset:
    """Letters that end with what could be a special token."""
    return walk("walkers", [f"{letter}<|eot|>" for letter in LETTERS])
