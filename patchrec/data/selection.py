"""What is kept of the interactions after they were read: active users and items, long histories, a sample of users."""

from collections import Counter
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from patchrec.data.catalog import Catalog
from patchrec.data.interactions import Interactions, count
from patchrec.data.recipe import Recipe
from patchrec.errors import InputError
from patchrec.history import BoolArray


class Selected(NamedTuple):
    """What is kept.

    Attributes:
        core: What `--core` left out: `core` (N), `passes`, `users`, `items`, `interactions`; None without it.
    """

    interactions: Interactions
    catalog: Catalog
    core: dict[str, int] | None


def select(found: Interactions, catalog: Catalog, recipe: Recipe, left_out: Counter[str]) -> Selected:
    """The interactions and the items that a recipe keeps.

    `--core N` keeps users and items with at least N interactions among those that are kept, in repeated passes until
    all have them, and takes other items out of the catalog. `--min-history N` keeps users with at least N;
    `--sample-users N` draws N of the rest by the seed.

    Raises:
        InputError: Nothing is left.
    """
    core = None
    if recipe.core is not None:
        before = len(found.user_ids), len(catalog), len(found)
        mask, passes = _core(found, len(catalog), recipe.core)
        found = _kept(found, mask, in_no_core(recipe.core), "--core", left_out)
        items = np.unique(found.items)
        place = np.zeros(len(catalog), dtype=np.int64)
        place[items] = np.arange(len(items))
        catalog = catalog.take(items.tolist())
        found = replace(found, items=place[found.items])
        out = zip(before, (len(found.user_ids), len(catalog), len(found)), strict=True)
        users, others, rows = (was - now for was, now in out)
        core = {"core": recipe.core, "passes": passes, "users": users, "items": others, "interactions": rows}
    if recipe.min_history is not None:
        counts = np.bincount(found.users, minlength=len(found.user_ids))
        mask = counts[found.users] >= recipe.min_history
        found = _kept(
            found, mask, f"of users with fewer than {recipe.min_history} (--min-history)", "--min-history", left_out
        )
    if recipe.sample_users is not None and recipe.sample_users < len(found.user_ids):
        drawn = np.random.default_rng(recipe.seed).choice(len(found.user_ids), recipe.sample_users, replace=False)
        mask = np.isin(found.users, drawn)
        found = _kept(found, mask, "of users who were not drawn (--sample-users)", "--sample-users", left_out)
    return Selected(found, catalog, core)


def in_no_core(core: int) -> str:
    """Why an interaction or an item is left out by `--core`."""
    return f"in no {core}-core (--core)"


def _core(found: Interactions, num_items: int, core: int) -> tuple[BoolArray, int]:
    """(n,) which interactions are of users and items that all have so many of them, and the passes that it took.

    A pass looks at what the one before kept. Beside the interactions it holds two copies of what is left of them.
    """
    mask = np.ones(len(found), dtype=np.bool_)
    users, items, passes = found.users, found.items, 0
    while True:
        enough = (count(users, len(found.user_ids)) >= core)[users] & (count(items, num_items) >= core)[items]
        if enough.all():
            return mask, passes
        passes += 1
        mask[mask.nonzero()[0][~enough]] = False
        users, items = users[enough], items[enough]


def _kept(found: Interactions, mask: BoolArray, reason: str, option: str, left_out: Counter[str]) -> Interactions:
    out = int((~mask).sum())
    if not out:
        return found
    if out == len(found):
        raise InputError(f"no interaction is left: all {out:,} are {reason}; lower {option}")
    left_out[f"interactions {reason}"] += out
    return found.select(mask)
