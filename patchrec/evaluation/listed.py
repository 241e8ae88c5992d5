"""Evaluate lists that another system made, on the same targets and by the same rules as a recommender.

What a list does not hold cannot be found: its rank is none, and every metric counts a miss. So does a target without a
list. An item that the catalog does not have keeps its place, for it was recommended.
"""

from collections import Counter
from collections.abc import Sequence
from math import isfinite

import numpy as np

from patchrec.data.histories import Dataset, Example
from patchrec.data.lists import Lists, RankedList
from patchrec.errors import UsageError
from patchrec.evaluation.evaluate import Evaluated, sample_examples
from patchrec.evaluation.ranks import target_ranks
from patchrec.evaluation.rows import TOP, metric_rows, target_values
from patchrec.evaluation.significance import interval_note
from patchrec.evaluation.slices import cold_targets, slices
from patchrec.history import IntArray
from patchrec.reporting import SILENT, Reporter
from patchrec.store.evaluations import RankingRow

_NO_LIST = RankedList(np.empty(0, dtype=np.int64), np.empty(0))


def evaluate_lists(
    dataset: Dataset,
    examples: Sequence[Example],
    lists: Lists,
    *,
    ks: Sequence[int],
    limit: int | None = None,
    one_list: bool = False,
    by: Sequence[str] = (),
    seed: int = 0,
    report: Reporter = SILENT,
) -> Evaluated:
    """Find every target in its list.

    Args:
        dataset: Where the targets are from.
        examples: Targets of a split, all that lists may be for.
        lists: What was recommended.
        ks: Cut-offs of the metrics.
        limit: Take a sample of so many targets (`sample_examples`).
        one_list: A user's list stands for each of the user's targets.
        by: Fields of the catalog whose values make slices.
        seed: Fixes the sample and the intervals.
        report: Where it is told what the lists lack, and what is in them that is for nothing.

    Raises:
        UsageError: There is no target, the file does not say which target of a user a list is for, or no item has a
            field.
    """
    chosen = sample_examples(examples, limit, seed)
    if not chosen:
        raise UsageError(f"{dataset.name} has no target in this split; see `patchrec data show {dataset.name}`")
    _refuse_ambiguous(dataset, examples, lists, one_list)
    parts = slices(dataset, chosen, by)
    # what is not in the catalog has a negative number; each is a title of its own at the end
    own = dataset.catalog.title_of_item
    titles = np.concatenate([own, len(dataset.catalog) + np.arange(len(lists.unknown_items))])
    found = [lists.get(example.user, _moment(dataset, example, lists)) for example in chosen]
    rows = [_row(dataset, example, one or _NO_LIST, titles) for example, one in zip(chosen, found, strict=True)]
    _tell(dataset, examples, lists, found, ks, report)
    users = np.array([row.user for row in rows], dtype=np.int64)
    if note := interval_note(target_values(rows, "item", "dropped", ks)[f"ndcg@{max(ks)}"], users):
        report.note(note)
    cold = cold_targets(dataset, chosen)
    cost: dict[str, float | None] = {
        "num_targets": len(rows),
        "num_users": len(np.unique(users)),
        "cold_targets": int(cold.sum()),
        "cold_users": len(np.unique(users[cold])),
        "targets_without_list": found.count(None),
        "shortest_list": int(lists.lengths.min()),
        "longest_list": int(lists.lengths.max()),
        "unknown_users": len(lists.unknown_users),
        "unknown_items": len(lists.unknown_items),
        "tokens_per_target": None,
        "seconds_per_target": None,
    }
    return Evaluated(metric_rows(rows, ks, slices=parts, seed=seed), rows, cost)


def _moment(dataset: Dataset, example: Example, lists: Lists) -> int:
    """What the list of a target is known by, beside its user."""
    if lists.by == "position":
        return example.position
    times = dataset.sequences.timestamps
    if lists.by == "timestamp" and times is not None:
        return int(times[dataset.sequences.offsets[example.user] + example.position])
    return -1


def _refuse_ambiguous(dataset: Dataset, examples: Sequence[Example], lists: Lists, one_list: bool) -> None:
    """Refuse a list that may be for several targets.

    Raises:
        UsageError: The message says how to tell which.
    """
    if one_list and lists.by != "user":
        raise UsageError(f"--one-list: {lists.file!r} says by {lists.by} which target a list is for; drop it")
    if lists.by == "timestamp" and dataset.sequences.timestamps is None:
        raise UsageError(
            f"{lists.file!r} has timestamps and data set {dataset.name!r} has none; say by a column position which "
            "target a list is for"
        )
    if one_list:
        return
    keys = Counter((example.user, _moment(dataset, example, lists)) for example in examples)
    several = next((key for key in lists if keys[key] > 1), None)
    if several is None:
        return
    user, moment = several
    when = f" at {moment}" if lists.by == "timestamp" else ""
    more = "" if when else ", or take a user's one list for all of them: --one-list"
    raise UsageError(
        f"user {dataset.sequences.user_ids[user]!r} has {keys[several]} targets{when} in this split, and "
        f"{lists.file!r} does not say which one a list is for; add a column position, as `patchrec data export` "
        f"prints it{more}"
    )


def _row(dataset: Dataset, example: Example, one: RankedList, titles: IntArray) -> RankingRow:
    """What happened with one target."""
    target, seen = dataset.target(example), dataset.seen(example)
    ranks = target_ranks(one.items, titles, target, seen)
    item_ids = dataset.catalog.item_ids
    shown = np.flatnonzero((one.items >= 0) & ~np.isin(one.items, seen))[:TOP].tolist()
    return RankingRow(
        user=example.user,
        user_id=dataset.sequences.user_ids[example.user],
        position=example.position,
        item_id=item_ids[target],
        log_prob=None,
        item_rank_dropped=_rank(ranks.item_dropped),
        item_rank_kept=_rank(ranks.item_kept),
        title_rank_dropped=_rank(ranks.title_dropped),
        title_rank_kept=_rank(ranks.title_kept),
        top=tuple((item_ids[one.items[place]], float(one.scores[place])) for place in shown),
    )


def _tell(
    dataset: Dataset,
    examples: Sequence[Example],
    lists: Lists,
    found: Sequence[RankedList | None],
    ks: Sequence[int],
    report: Reporter,
) -> None:
    """Say what the lists lack, and what is in them that is for nothing."""
    if none := found.count(None):
        report.note(f"{none:,} of {len(found):,} targets have no list; each counts as a miss")
    wanted = {(example.user, _moment(dataset, example, lists)) for example in examples}
    idle = [key for key in lists if key not in wanted]
    if idle:
        user = dataset.sequences.user_ids[idle[0][0]]
        report.note(f"{len(idle):,} lists are for no target of this split, such as one of user {user!r}; not counted")
    if lists.unknown_users:
        some = f"{len(lists.unknown_users):,}, such as {lists.unknown_users[0]!r}"
        report.note(f"users that the data set does not have: {some}; their lists are not counted")
    if lists.unknown_items:
        some = f"{len(lists.unknown_items):,} in {lists.num_unknown:,} places, such as {lists.unknown_items[0]!r}"
        report.note(f"items that the catalog does not have: {some}; they keep their places")
    longest = int(lists.lengths.max())
    if longest < max(ks):
        report.note(f"no list holds more than {longest:,} items: nothing beyond is found, by hr@{max(ks)} or by mrr")


def _rank(rank: float) -> int | None:
    return int(rank) if isfinite(rank) else None
