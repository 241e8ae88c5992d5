"""A k-core: what is kept, and what is said to be left out."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchrec.data.catalog import Catalog
from patchrec.data.interactions import Interactions
from patchrec.data.recipe import make_recipe
from patchrec.data.selection import select
from patchrec.errors import InputError

NUM_ITEMS = 6
CATALOG = Catalog(tuple(map(str, range(NUM_ITEMS))), tuple("abcdef"))


def slow_core(pairs: list[tuple[int, int]], core: int) -> list[tuple[int, int]]:
    """Take out one user or item after another."""
    while True:
        users, items = Counter(user for user, _ in pairs), Counter(item for _, item in pairs)
        few_users = [user for user in users if users[user] < core]
        few_items = [item for item in items if items[item] < core]
        if few_users:
            pairs = [pair for pair in pairs if pair[0] != few_users[0]]
        elif few_items:
            pairs = [pair for pair in pairs if pair[1] != few_items[0]]
        else:
            return pairs


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, NUM_ITEMS - 1)), min_size=1, max_size=40), st.integers(1, 5)
)
def test_a_core_and_its_record_are_what_obvious_code_finds(pairs: list[tuple[int, int]], core: int) -> None:
    users = list(dict.fromkeys(user for user, _ in pairs))
    found = Interactions(
        tuple(map(str, users)),
        np.array([users.index(user) for user, _ in pairs], dtype=np.int32),
        np.array([item for _, item in pairs], dtype=np.int32),
    )
    kept = slow_core(pairs, core)
    left_out: Counter[str] = Counter()
    if not kept:
        with pytest.raises(InputError, match="lower --core"):
            select(found, CATALOG, make_recipe({"core": core}), left_out)
        return
    now, catalog, record = select(found, CATALOG, make_recipe({"core": core}), left_out)
    ids = [
        (int(now.user_ids[user]), int(catalog.item_ids[item])) for user, item in zip(now.users, now.items, strict=True)
    ]
    assert ids == kept
    assert record is not None
    assert record["core"] == core
    assert record["users"] == len(users) - len({user for user, _ in kept})
    assert record["items"] == NUM_ITEMS - len({item for _, item in kept})
    assert record["interactions"] == len(pairs) - len(kept) == sum(left_out.values())
    assert (record["passes"] == 0) == (record["interactions"] == 0)
