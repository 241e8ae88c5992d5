"""Which items may be recommended: filters become one mask over the catalog, and a reason where too few are left."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from patchrec.data.catalog import Catalog
from patchrec.data.conditions import fitting
from patchrec.data.names import read_names
from patchrec.errors import NotFoundError, UsageError, unknown
from patchrec.history import BoolArray, IntArray

FILE_MARK = "@"


@dataclass(frozen=True, slots=True)
class Filters:
    """What the user wants to see of the catalog.

    Attributes:
        where: A condition over id, title and metadata (`patchrec.data.conditions`).
        allow: Items, nothing else is ranked: ids, titles or `@FILE`; empty allows all.
        deny: Items that are not ranked, in the same way.
        keep_seen: Whether to rank what the user has had, too.
    """

    where: str | None = None
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    keep_seen: bool = False


NO_FILTERS = Filters()


@dataclass(frozen=True, slots=True, eq=False)
class Filtered:
    """The items that filters leave, the same for every user.

    Attributes:
        allowed: (I,) mask; None where no filter was given.
        effects: What each filter does, in words: "--where keeps 9".
    """

    num_items: int
    allowed: BoolArray | None
    effects: tuple[str, ...]

    @classmethod
    def of(cls, catalog: Catalog, filters: Filters) -> "Filtered":
        """Apply filters to a catalog.

        Raises:
            UsageError: A condition that is none, a name of two items, or no item is left.
            NotFoundError: An item that is not in the catalog. InputError: A file that cannot be read.
        """
        masks: dict[str, BoolArray] = {}
        if filters.where is not None:
            masks["--where"] = fitting(catalog, filters.where)
        if filters.allow:
            masks["--allow"] = _mask(catalog, filters.allow)
        if filters.deny:
            masks["--deny"] = ~_mask(catalog, filters.deny)
        effects = tuple(_effect(option, mask) for option, mask in masks.items())
        if not masks:
            return cls(len(catalog), None, ())
        allowed: BoolArray = np.logical_and.reduce(list(masks.values()))
        if not allowed.any():
            shown = f"--where {filters.where!r}" if list(masks) == ["--where"] else " and ".join(masks)
            counts = f" ({', '.join(effects)})" if len(masks) > 1 else ""
            raise UsageError(f"no item of {len(catalog):,} fits {shown}{counts}; loosen it")
        return cls(len(catalog), allowed, effects)

    def shortfall(self, k: int, seen: IntArray, found: int) -> str | None:
        """Why a user's ranking holds fewer than k items; None where it holds k, or where no filter was given.

        Args:
            seen: What is left out for this user.
            found: Items in the ranking.
        """
        if self.allowed is None or found >= k:
            return None
        had = int(np.count_nonzero(self.allowed[np.unique(seen)]))
        steps = [self._effects(), *([f"the user has had {had:,} of those"] if had else [])]
        return f"asked for {k:,}, but {found:,} of {self.num_items:,} items can be ranked: {', and '.join(steps)}"

    @property
    def reason(self) -> str:
        """Why users may get fewer than asked for, in words that hold for all of them."""
        if self.allowed is None:
            return f"the catalog holds {self.num_items:,} items, and what a user has had is left out"
        return f"of {self.num_items:,} items {self._effects()}, and what a user has had is left out"

    def _effects(self) -> str:
        assert self.allowed is not None
        both = [f"together they leave {np.count_nonzero(self.allowed):,}"] if len(self.effects) > 1 else []
        return ", ".join([*self.effects, *both])


def find_named(catalog: Catalog, names: Iterable[str]) -> list[IntArray]:
    """Catalog indices of each name: an item id, or a title, which is all items that have it.

    A title as it is written means no other; where none is, blanks around it and letter case are left aside. `id:X` and
    `title:X` say which is meant.

    Raises:
        NotFoundError: No such item. UsageError: An id that is also the title of another item.
    """
    found, missing = [], []
    for name in names:
        by_id, by_title = _meanings(catalog, name)
        if by_id and by_title and not set(by_id) <= set(by_title):
            raise UsageError(
                f"{name!r} is the id of {catalog.titles[by_id[0]]!r} and the title of another item; "
                f"write {'id:' + name!r} or {'title:' + name!r}"
            )
        if not by_id and not by_title:
            missing.append(name)
        found.append(np.array(by_title or by_id, dtype=np.int64))
    if missing:
        rest = len(missing) - 1
        others = f"; {rest:,} more {'is' if rest == 1 else 'are'} unknown too" if rest else ""
        raise NotFoundError(
            unknown("item", missing[0].removeprefix("id:"), catalog.titles, "or give an item id") + others
        )
    return found


def find_items(catalog: Catalog, names: Sequence[str]) -> IntArray:
    """Catalog index of each name, as `find_named` reads it, where it means one item.

    Raises:
        NotFoundError: No such item. UsageError: The name of several items.
    """
    found = find_named(catalog, names)
    for name, items in zip(names, found, strict=True):
        if len(items) > 1:
            ids = [catalog.item_ids[item] for item in items]
            shown = ", ".join(ids[:10]) + (f" and {len(ids) - 10} more" if len(ids) > 10 else "")
            raise UsageError(f"{name!r} is the title of {len(ids)} items; give the id of one of them: {shown}")
    return np.array(found, dtype=np.int64).reshape(-1)


def _meanings(catalog: Catalog, name: str) -> tuple[list[int], list[int]]:
    """Items of that id, and of that title."""

    def of_id(name: str) -> list[int]:
        return [catalog.index[name]] if name in catalog.index else []

    def of_title(name: str) -> list[int]:
        return catalog.by_title.get(name) or catalog.by_folded_title.get(name.casefold().strip(), [])

    by_id, by_title = of_id(name), of_title(name)
    if not by_id and not by_title:
        kind, _, rest = name.partition(":")
        by_id = of_id(rest) if kind == "id" else []
        by_title = of_title(rest) if kind == "title" else []
    return by_id, by_title


def _mask(catalog: Catalog, given: Sequence[str]) -> BoolArray:
    """(I,) the items that options name."""
    names: list[str] = []
    for name in given:
        names += read_names(name.removeprefix(FILE_MARK)) if name.startswith(FILE_MARK) else [name]
    mask = np.zeros(len(catalog), dtype=np.bool_)
    for items in find_named(catalog, names):
        mask[items] = True
    return mask


def _effect(option: str, mask: BoolArray) -> str:
    if option == "--deny":
        return f"--deny takes out {np.count_nonzero(~mask):,}"
    return f"{option} keeps {np.count_nonzero(mask):,}"
