"""Verbs of data sets that grow: append interactions, users and items; list users."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from time import time
from typing import Any

import numpy as np

from patchrec.data.append import NOT_AGAIN, Arrived, read_more
from patchrec.data.catalog import Catalog
from patchrec.data.growth import Growth, grow, resplit, unchanged
from patchrec.data.histories import Dataset
from patchrec.data.interactions import Interactions
from patchrec.data.splits import RULES, Split, choose_split, refuse_untimed, split_of
from patchrec.data.timestamps import FIRST, LAST
from patchrec.errors import InputError, StoreBusyError, UsageError, flag_of
from patchrec.history import IntArray
from patchrec.operations.datasets import shown_dataset
from patchrec.reporting import SILENT, Reporter
from patchrec.store import Store

OF_RULES = ("rule", "train", "validation", "train_until", "validation_until", "cold_items_left_out")
"""What `datasets.split` says of the rule, among what it says of files."""
TOLD = {
    "repeated": "left out: user, item and second are stored already",
    "late": "came late: older than the newest stored of the user",
    "into_train": "before the cuts, now in train; no run has learned from them yet",
    "into_validation": "before the last cut, now in validation",
}
RANKING = ("finetune", "blend", "baseline")
TRIES = 20
"""Others may append while the new version is made; it is then made again."""


def append_interactions(
    name: str,
    *,
    interactions: Sequence[Path | str] = (),
    items: Sequence[Path | str] = (),
    again: bool = False,
    split: str | None = None,
    train: float | None = None,
    validation: float | None = None,
    rejects: Path | None = None,
    home: Path | None = None,
    report: Reporter = SILENT,
    **options: Any,
) -> dict[str, Any]:
    """Add interactions, and the users and items that come with them, to a data set: all of them or none.

    Files are read as those that the data set was made of. What is stored keeps its order and its split; runs made
    before go on ranking.

    Args:
        name: The data set.
        interactions: Files, folders or patterns.
        items: The same of items with their titles; those that the catalog has are left out.
        again: Split the whole data set anew, by its rule or by `split`.
        split, train, validation: The rule and its fractions from now on, with `again`.
        rejects: File for the rows that cannot be used; they are then left out.
        home: Folder of the store.
        report: Where notes and picks go.
        options: Fields of `patchrec.data.recipe.Recipe` that are otherwise than when the data set was added.

    Returns:
        `dataset` (as `show_dataset` gives it), `version`, `appended` (counts: `patchrec.data.growth.Growth.account` and
        `items`), `accounts` (what became of every row), `rejected` (the first skipped lines) and `ranking` (the newest
        run that ranks it; None without one). Where there is nothing new the version is the one that was there.

    Raises:
        NotFoundError: No such data set. InputError: A file or a line cannot be used.
        UsageError: Options that do not go together. StoreBusyError: Others write all the time.
    """
    asked = {"--split": split, "--train": train, "--validation": validation}
    given = [option for option, value in asked.items() if value is not None]
    if given and not again:
        raise UsageError(f"{given[0]} goes with --resplit: without it what is stored keeps its split; add it")
    if not interactions and (items or not again):
        raise UsageError("which interactions? give --interactions FILE; items alone: `patchrec data items add`")
    with Store.open(home) as store:
        about = store.datasets.show(name)
        rule = _rule(about["split"], split, train, validation) if again else None
        if again and "cold_items_left_out" in about["split"]:
            report.note(
                "the new split keeps no items for test alone (--cold-items of `patchrec data add`): those may be in "
                "train now; for another split with such items add the data set anew"
            )
        arrived = None
        if interactions:
            _tell_not_again(about["split"], options, report)
            files = {"interactions": tuple(map(str, interactions)), "items": tuple(map(str, items))}
            catalog = store.catalogs.load(name)
            arrived = read_more(catalog, about["split"], {**options, **files}, rejects=rejects, report=report)
        return _appended(store, name, about, arrived, rule, report)


def append_events(
    name: str,
    events: Sequence[tuple[str, str, float | None]],
    *,
    home: Path | None = None,
    report: Reporter = SILENT,
) -> dict[str, Any]:
    """Add interactions with items of the catalog to a data set, without a file: all of them or none.

    Args:
        name: The data set.
        events: User id, item id and unix seconds of each; None is now, or no time where the data set has none.
        home: Folder of the store.
        report: Where notes go.

    Returns:
        What `append_interactions` gives.

    Raises:
        NotFoundError: No such data set or item. InputError: An empty user id, or a time where the data set has none.
        StoreBusyError: Others write all the time.
    """
    if any(not user.strip() for user, _, _ in events):
        raise InputError("a user id is empty; give each interaction one")
    with Store.open(home) as store:
        about, catalog = store.datasets.show(name), store.catalogs.load(name)
        for item_id in (item_id for _, item_id, _ in events):
            catalog.find(item_id)
        milliseconds = _milliseconds(name, [seconds for _, _, seconds in events], about["summary"])
        users = {user: place for place, user in enumerate(dict.fromkeys(user for user, _, _ in events))}
        found = Interactions(
            tuple(users),
            np.array([users[user] for user, _, _ in events], dtype=np.int64),
            np.array([catalog.index[item_id] for _, item_id, _ in events], dtype=np.int64),
            milliseconds,
        )
        repeats = about["split"].get("recipe", {}).get("repeats") == "keep"
        arrived = Arrived(found, catalog, catalog.take([]), repeats, {}, ())
        return _appended(store, name, about, arrived, None, report)


def _milliseconds(name: str, seconds: Sequence[float | None], summary: Mapping[str, Any]) -> IntArray | None:
    """(m,) when events were, now where they do not say; None where the data set has no times."""
    if summary["last_timestamp"] is None:
        if any(one is not None for one in seconds):
            raise InputError(f"data set {name!r} has no times; leave the timestamp out")
        return None
    present = time()
    found = [1000 * (present if one is None else one) for one in seconds]
    for one in found:
        if not FIRST <= one <= LAST:
            raise InputError(f"timestamp {one / 1000!r} is on no day of a calendar; give unix seconds")
    return np.array(found).astype(np.int64)


def _appended(
    store: Store, name: str, about: dict[str, Any], arrived: Arrived | None, rule: Split | None, report: Reporter
) -> dict[str, Any]:
    """Append and tell what came of it (see `append_interactions`)."""
    growth, grown = _append(store, name, arrived, rule)
    shown = shown_dataset(store, name)
    _tell(growth.account, report)
    version = shown["data_versions"][-1]["version"]
    if version == about["data_versions"][-1]["version"]:
        report.note(f"nothing is new: {name} stays at version {version}")
    runs = [run for run in store.runs.all() if (run.dataset, run.status) == (name, "done") and run.stage in RANKING]
    return {
        "dataset": shown,
        "version": version,
        "appended": {**growth.account, "items": grown},
        "accounts": arrived.accounts if arrived else {},
        "rejected": list(arrived.rejected) if arrived else [],
        "ranking": runs[-1].name if runs else None,
    }


def _append(store: Store, name: str, arrived: Arrived | None, rule: Split | None) -> tuple[Growth, int]:
    """Write the next version; made outside of the write, so that nobody has to wait for it."""
    for _ in range(TRIES):
        with store.read():
            dataset, about = store.datasets.load(name), store.datasets.show(name)
        growth, catalog, split = _next(dataset, about["split"], arrived, rule)
        same = growth.sequences.fingerprint == dataset.sequences.fingerprint and split == about["split"]
        if same and len(catalog) == len(dataset.catalog):
            return growth, 0
        with store.write():
            if store.datasets.show(name)["fingerprints"] == about["fingerprints"]:
                least = dataset.min_history if rule is None else rule.min_history
                store.versions.append(dataset, growth, catalog, split=split, min_history=least)
                return growth, len(catalog) - len(dataset.catalog)
    raise StoreBusyError(
        f"others appended to data set {name!r} {TRIES} times meanwhile; nothing was appended: try again"
    )


def _next(
    dataset: Dataset, about: dict[str, Any], arrived: Arrived | None, rule: Split | None
) -> tuple[Growth, Catalog, dict[str, Any]]:
    """What becomes of a data set, its catalog and what is said of its split."""
    catalog = dataset.catalog
    if arrived is None:
        growth = unchanged(dataset.sequences, about)
    else:
        found, catalog = arrived.over(catalog)
        growth = grow(dataset.sequences, found, about, keep_repeats=arrived.keep_repeats)
    if rule is None:
        return growth, catalog, about
    refuse_untimed(rule, timed=dataset.sequences.timestamps is not None)
    growth = resplit(growth, rule)
    kept = {key: value for key, value in about.items() if key not in OF_RULES}
    return growth, catalog, growth.split | kept


def _rule(about: dict[str, Any], split: str | None, train: float | None, validation: float | None) -> Split:
    """The rule of a new split: the one that is named, else the data set's own."""
    if split is not None or about.get("rule") not in RULES:
        if split is None:
            raise UsageError(f"the data set came with its splits; say how to split it now: --split {', '.join(RULES)}")
        return choose_split(split, train, validation)
    own = {key: about.get(key) for key in ("train", "validation")} if about["rule"] != "leave-one-out" else {}
    given = {key: value for key, value in (("train", train), ("validation", validation)) if value is not None}
    values = {**own, **given}
    found = split_of(about["rule"], values.get("train"), values.get("validation"))
    assert found is not None
    return found


def _tell_not_again(about: dict[str, Any], options: dict[str, Any], report: Reporter) -> None:
    recipe = about.get("recipe", {})
    named = [flag_of(key) for key in NOT_AGAIN if options.get(key) is not None]
    if named:
        raise UsageError(f"{named[0]} looks at all interactions, and these are some; drop it")
    made_by = [key for key in NOT_AGAIN if recipe.get(key) is not None or f"{key}_left_out" in about]
    skipped = [flag_of(key) for key in made_by]
    if skipped:
        report.note(f"{' and '.join(skipped)} of `patchrec data add` looked at all interactions; it is not asked again")


def _tell(account: dict[str, int], report: Reporter) -> None:
    """Say what is unusual about what came."""
    for key, words in TOLD.items():
        number = account.get(key, 0)
        if number:
            report.note(f"{number:,} interaction{'s' * (number != 1)} {words}")


def list_users(
    name: str, *, match: str | None = None, limit: int | None = None, home: Path | None = None
) -> dict[str, Any]:
    """The users of a data set, in order of first appearance.

    Args:
        name: The data set.
        match: Only ids that hold this text, whatever the case of its letters A to Z.
        limit: At most so many; None gives all.
        home: Folder of the store.

    Returns:
        `dataset`, `num_users` (of all), `num_matching` and `users`: `user_id`, `interactions`, and the `first` and
        `last` timestamp (unix seconds; None without times).

    Raises:
        NotFoundError: No such data set.
    """
    with Store.open(home) as store, store.read():
        num_users = store.datasets.show(name)["summary"]["users"]
        matching, users = store.datasets.users(name, match, limit)
    return {
        "dataset": name,
        "num_users": num_users,
        "num_matching": matching,
        "users": [asdict(user) for user in users],
    }
