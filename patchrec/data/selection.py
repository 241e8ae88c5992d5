"""What is kept of the interactions after they were read: active users and items, long histories, a sample of users."""

from collections import Counter
from dataclasses import replace

import numpy as np

from patchrec.data.catalog import Catalog
from patchrec.data.interactions import Interactions
from patchrec.data.recipe import Recipe
from patchrec.errors import InputError
from patchrec.history import BoolArray


def select(
    found: Interactions, catalog: Catalog, recipe: Recipe, left_out: Counter[str]
) -> tuple[Interactions, Catalog]:
    """The interactions and the items that a recipe keeps.

    `--core N` keeps users and items with at least N interactions among those that are kept, in repeated passes, and
    takes other items out of the catalog. `--min-history N` keeps users with at least N; `--sample-users N` draws N of
    the rest by the seed.

    Raises:
        InputError: Nothing is left.
    """
    if recipe.core is not None:
        mask = _core(found, len(catalog), recipe.core)
        found = _kept(found, mask, in_no_core(recipe.core), "--core", left_out)
        items = np.unique(found.items)
        place = np.zeros(len(catalog), dtype=np.int64)
        place[items] = np.arange(len(items))
        catalog = catalog.take(items.tolist())
        found = replace(found, items=place[found.items])
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
    return found, catalog


def in_no_core(core: int) -> str:
    """Why an interaction or an item is left out by `--core`."""
    return f"in no {core}-core (--core)"


def _core(found: Interactions, num_items: int, core: int) -> BoolArray:
    """(n,) which interactions are of users and items that all have so many of them."""
    mask = np.ones(len(found), dtype=np.bool_)
    while True:
        users = np.bincount(found.users[mask], minlength=len(found.user_ids))
        items = np.bincount(found.items[mask], minlength=num_items)
        now = mask & (users[found.users] >= core) & (items[found.items] >= core)
        if now.sum() == mask.sum():
            return now
        mask = now


def _kept(found: Interactions, mask: BoolArray, reason: str, option: str, left_out: Counter[str]) -> Interactions:
    out = int((~mask).sum())
    if not out:
        return found
    if out == len(found):
        raise InputError(f"no interaction is left: all {out:,} are {reason}; lower {option}")
    left_out[f"interactions {reason}"] += out
    return found.select(mask)
