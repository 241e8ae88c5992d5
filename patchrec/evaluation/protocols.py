"""Ways to count that others use, beside the right one and never mixed with it. None ranks the target among all items.

    paper    as the published scripts of PatchRec count a list of 20 titles: a title that begins with the target's title
             is a hit ("Aliens" for "Alien"), and the last hit gives the rank. Their lists came from 20 greedy groups of
             a beam search; here the list is the exact one, so that only the counting differs.
    sampled  the target among 99 items drawn from those that the user never has: the top-N protocol of P5 and of
             LITE-LLM4Rec's Fig. 5. Its numbers depend on the draw, and may put recommenders in another order than ranks
             among all items do.

Source: the scripts `calculate_metrics.py` and `fts_eval.py` of PatchRec (SIGIR 2025); Krichene and Rendle, "On sampled
metrics for item recommendation", KDD 2020.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite, nan
from typing import Any, Literal

import numpy as np

from patchrec.data.histories import Dataset, Example
from patchrec.errors import UsageError, unknown
from patchrec.evaluation.metrics import rank_metrics
from patchrec.evaluation.significance import bootstrap
from patchrec.history import IntArray
from patchrec.ranking.items import item_order, precedence
from patchrec.recommender import Level, Scores
from patchrec.store.evaluations import MetricRow, RankingRow, Seen

Protocol = Literal["paper", "sampled"]
PROTOCOLS: tuple[Protocol, ...] = ("paper", "sampled")

LISTED = 20
NEGATIVES = 99
_VIEWS: dict[Protocol, tuple[Level, Seen]] = {"paper": ("title", "kept"), "sampled": ("item", "dropped")}
_NOTES: dict[Protocol, str] = {
    "paper": "counted as the published scripts count (a title that begins with the target's is a hit, the last hit is "
    "the rank): not to be compared with ranks among all items",
    "sampled": f"the target among {NEGATIVES} drawn items: not to be compared with ranks among all items, nor does it "
    "put recommenders in the same order (Krichene and Rendle, KDD 2020)",
}


@dataclass(slots=True)
class Counting:
    """One protocol, counting target by target.

    Attributes:
        dataset: Where targets are from.
        protocol: Which.
        ks: Cut-offs.
        seed: Fixes what is drawn.
    """

    dataset: Dataset
    protocol: Protocol
    ks: Sequence[int]
    seed: int = 0
    _place: IntArray = field(init=False)
    _rows: list[RankingRow] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise UsageError(unknown("--protocol", self.protocol, PROTOCOLS))
        if self.protocol == "paper" and max(self.ks) > LISTED:
            raise UsageError(
                f"--protocol paper counts lists of {LISTED} titles; take --k up to {LISTED} (beyond, the published "
                "scripts count every miss as a hit)"
            )
        self._place = precedence(self.dataset.popularity)

    @property
    def note(self) -> str:
        """What its numbers are not."""
        return _NOTES[self.protocol]

    @property
    def config(self) -> dict[str, Any]:
        """What it is, as an evaluation stores it."""
        drawn = {"negatives": NEGATIVES, "seed": self.seed} if self.protocol == "sampled" else {}
        return {"protocol": self.protocol, **drawn}

    def add(self, example: Example, scores: Scores) -> None:
        """Count one target."""
        dataset, target = self.dataset, self.dataset.target(example)
        if self.protocol == "paper":
            order = item_order(scores.log_probs, self._place)
            titles = dataset.catalog.title_of_item[order]
            _, first = np.unique(titles, return_index=True)
            best = order[np.sort(first)[:LISTED]].tolist()
            rank = published_rank([dataset.catalog.titles[item] for item in best], dataset.catalog.titles[target])
        else:
            among = np.append(negatives(dataset, example, NEGATIVES, self.seed), target)
            order = among[np.lexsort((self._place[among], -scores.log_probs[among]))]
            rank = float(np.flatnonzero(order == target)[0]) + 1
        shown = int(rank) if isfinite(rank) else None
        item, title = (None, shown) if self.protocol == "paper" else (shown, None)
        self._rows.append(
            RankingRow(
                user=example.user,
                user_id=dataset.sequences.user_ids[example.user],
                position=example.position,
                item_id=dataset.catalog.item_ids[target],
                log_prob=None,
                item_rank_dropped=item,
                item_rank_kept=None,
                title_rank_dropped=None,
                title_rank_kept=title,
            )
        )

    def rankings(self) -> list[RankingRow]:
        """A row for each target, user by user."""
        return sorted(self._rows, key=lambda row: (row.user, row.position))

    def metrics(self) -> list[MetricRow]:
        """Hit ratio and NDCG with their intervals over users, in the protocol's one view."""
        rows, (level, seen) = self.rankings(), _VIEWS[self.protocol]
        ranks = np.array([_known(getattr(row, f"{level}_rank_{seen}")) for row in rows], dtype=np.float64)
        found = rank_metrics(ranks, self.ks)
        values = {name: found[name] for k in self.ks for name in (f"hr@{k}", f"ndcg@{k}")}
        users = np.array([row.user for row in rows], dtype=np.int64)
        intervals = bootstrap(np.stack(list(values.values()), axis=1), users)
        return [
            MetricRow(name, level, seen, one.value, _edge(one.low), _edge(one.high))
            for name, one in zip(values, intervals, strict=True)
        ]


def published_rank(titles: Sequence[str], real: str) -> float:
    """The 1-based rank that the published scripts give: the last title that begins with the real one; nan for none."""
    hits = [number for number, title in enumerate(titles, start=1) if title.strip()[: len(real)] == real]
    return float(hits[-1]) if hits else nan


def negatives(dataset: Dataset, example: Example, number: int, seed: int) -> IntArray:
    """(n,) items that the user never has, each equally likely, none twice; all of them where there are no more.

    A pure function of the seed and the target, so that every run is asked the same.
    """
    never = np.setdiff1d(np.arange(len(dataset.catalog)), dataset.sequences.items_of(example.user))
    if len(never) <= number:
        return never
    generator = np.random.default_rng([seed, example.user, example.position])
    return np.asarray(generator.choice(never, number, replace=False), dtype=np.int64)


def _known(rank: int | None) -> float:
    return nan if rank is None else rank


def _edge(value: float) -> float | None:
    return value if isfinite(value) else None
