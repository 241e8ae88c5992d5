"""Section `long`: session patches against all text for the users with the longest histories, one user at a time.

One decoder and one cache for both: what differs is the prompt alone.
"""

from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

import numpy as np

from benchmarks.machine import in_turn, peak_growth_mb
from benchmarks.prompts import KINDS, Bench, length, tell
from benchmarks.tables import Column, Section
from patchrec.data.histories import Dataset, Example
from patchrec.errors import NotFoundError
from patchrec.plugins import plan_for
from patchrec.recommender import Query, rank

HISTORY_LENGTHS = (150, 350)  # and all, as in the paper's Fig. 8
COLUMNS = (
    Column("K", "K"),
    Column("items", "items", ",.0f"),
    Column("prompts", "kind"),
    Column("tokens", "tokens", ",.0f"),
    Column("s/user", "user_seconds", ",.3f"),
    Column("+MB", "peak_mb", ",.0f"),
    Column("vanilla/it", "faster", ",.2f"),
    Column("tokens/it", "fewer_tokens", ",.2f"),
    Column("MB/it", "less_memory", ",.2f"),
)
NOTES = (
    "One user at a time, those with the longest histories. Medians over users: items of the history, tokens of the "
    "prompt, seconds of a whole ranking, and the most memory held during it above what was held before. The paper's "
    "Fig. 8 claims 13.09 times for its longest histories.",
)


def long(bench: Bench) -> Iterator[Section]:
    """Rank the last test target of each user with every history length and strategy."""
    s = bench.settings
    title = f"Long histories: top {s.k} for users of {s.long_data} with {s.min_interactions} and more items"
    try:
        bench = bench.on(s.long_data)
    except NotFoundError as error:
        yield Section(title, (), (), (), (str(error),))
        return
    users = longest_users(bench.dataset, s.min_interactions, s.long_users)
    if not users:
        yield Section(title, (), (), (), (f"No user of {s.long_data} has so many.",))
        return
    longest = int(np.diff(bench.dataset.sequences.offsets).max())
    rows: list[dict[str, Any]] = []
    some = [(str(K), K, s.repeats) for K in HISTORY_LENGTHS]
    for name, K, repeats in [*some, ("all", longest, s.long_repeats)]:
        per_user = []
        for user in users:
            tell(f"  K={name}: user {bench.dataset.sequences.user_ids[user]}")
            per_user.append(_one_user(bench, user, K, repeats))
        rows += _rows(name, per_user)
    yield Section(title, COLUMNS, rows, (), (f"Users: {len(users)}.", *NOTES))


def longest_users(dataset: Dataset, least: int, limit: int) -> list[int]:
    """Users with the most interactions, `least` at least, and with a test target."""
    counts = np.diff(dataset.sequences.offsets)
    can = (counts >= least) & (dataset.targets_per_user("test") > 0)
    order = np.argsort(-counts, kind="stable")
    return [int(user) for user in order[can[order]][:limit]]


def _one_user(bench: Bench, user: int, K: int, repeats: int) -> dict[str, dict[str, Any]]:
    """Numbers of every strategy for one user."""
    ranker = bench.ranker
    last = bench.dataset.sequences.bounds(user, "test")[1] - 1
    example = Example.at(user, last, K, "sliding")
    queries = {kind: bench.query(example, plan_for(strategy)) for kind, strategy in KINDS.items()}

    def ranked(query: Query) -> object:
        return rank(ranker, [query], bench.settings.k)

    actions = {kind: lambda query=query: ranked(query) for kind, query in queries.items()}
    # the pass that memory is measured in warms each shape, so that none is left to be warmed
    peaks = {kind: peak_growth_mb(action, bench.scorer.backbone.device) for kind, action in actions.items()}
    seconds = in_turn(actions, repeats, rare=dict.fromkeys(actions, repeats))
    return {
        kind: {
            "items": len(query.history),
            "tokens": length(ranker, query),
            "peak_mb": peaks[kind],
            "seconds": seconds[kind],
        }
        for kind, query in queries.items()
    }


def _rows(name: str, per_user: Sequence[dict[str, dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    """One line for each strategy with one history length."""
    for kind in KINDS:
        own = [numbers[kind] for numbers in per_user]
        plain = [numbers["vanilla"] for numbers in per_user]
        both = list(zip(plain, own, strict=True))
        pairs = [(a, b) for x, y in both for a, b in zip(x["seconds"], y["seconds"], strict=True)]
        peaks = [x["peak_mb"] for x in own]
        yield {
            "K": name,
            "kind": kind,
            "items": median(x["items"] for x in own),
            "tokens": median(x["tokens"] for x in own),
            "user_seconds": median(value for x in own for value in x["seconds"]),
            "peak_mb": None if None in peaks else median(peaks),
            "faster": median(a / b for a, b in pairs),
            "fewer_tokens": median(x["tokens"] / y["tokens"] for x, y in both),
            "less_memory": None if None in peaks else median(x["peak_mb"] / max(y["peak_mb"], 1e-6) for x, y in both),
            "users": own,
        }
