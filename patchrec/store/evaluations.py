"""Evaluations in the store: metrics with their intervals, and the ranking of every target."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from patchrec.config import ScoreName, SplitName
from patchrec.errors import not_found
from patchrec.recommender import Level
from patchrec.store.naming import json_object, now

if TYPE_CHECKING:
    from patchrec.store.connection import Store

Seen = Literal["dropped", "kept"]
ALL = "all"


@dataclass(frozen=True, slots=True)
class MetricRow:
    """A metric over targets, such as `hr@10`, with its interval where one was computed.

    Attributes:
        level: Hits counted by item id or by title.
        seen: Whether items that the user had before the target compete in the ranking.
        slice: Which targets: all, or those of a slice, by its name (`patchrec.evaluation.slices`).
        slice_targets, slice_users: How many these are, and of how many users; None where nobody said.
    """

    name: str
    level: Level
    seen: Seen
    value: float | None
    low: float | None = None
    high: float | None = None
    slice: str = ALL
    slice_targets: int | None = None
    slice_users: int | None = None


@dataclass(frozen=True, slots=True)
class RankingRow:
    """What happened with one target.

    Attributes:
        user: User index. user_id: As in the source.
        position: The target's position in the user's sequence.
        item_id: The target.
        log_prob: Log-probability of the target's title under the evaluation's score, nats; None where it is not known.
        item_rank_dropped, item_rank_kept, title_rank_dropped, title_rank_kept: 1-based ranks of the target; None
            where it cannot be ranked (it was seen before, and seen items are dropped). Of an evaluation that is exact
            to N (`Evaluation.exact_to`) N + 1 stands for every rank beyond N.
        top: Best items with their scores, best first, seen ones dropped.
        tokens: Positions run through the model for this target (what it shares with an earlier one counts there).
        seconds: Wall time of this target.
    """

    user: int
    user_id: str
    position: int
    item_id: str
    log_prob: float | None
    item_rank_dropped: int | None
    item_rank_kept: int | None
    title_rank_dropped: int | None
    title_rank_kept: int | None
    top: tuple[tuple[str, float], ...] = ()
    tokens: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Evaluation:
    """One evaluation of a run on a split, without its rows.

    Attributes:
        catalog: Fingerprint of the catalog that was ranked.
        data: Fingerprint of the interactions, whose version had its targets and histories.
    """

    id: int
    run: str
    split: SplitName
    num_targets: int
    num_users: int
    score: ScoreName
    config: dict[str, Any]
    cost: dict[str, Any]
    created_at: str
    catalog: str
    data: str

    @property
    def exact_to(self) -> int | None:
        """Ranks beyond this are not known, and stored as one more than it; None: all are."""
        limit: int | None = self.config.get("exact_to")
        return limit

    @property
    def catalog_tokens(self) -> float | None:
        """Positions of a target after its prompt; of an evaluation that did not store them, what its prompt leaves."""
        tokens, prompt, catalog = (self.cost.get(f"{part}tokens_per_target") for part in ("", "prompt_", "catalog_"))
        if catalog is not None or tokens is None or prompt is None:
            return catalog
        return float(tokens - prompt)


class Evaluations:
    """The evaluations of a store."""

    def __init__(self, store: "Store") -> None:
        self._store = store

    def add(
        self,
        run: str,
        split: SplitName,
        score: ScoreName,
        *,
        config: Mapping[str, Any],
        metrics: Sequence[MetricRow],
        rankings: Sequence[RankingRow],
        cost: Mapping[str, Any],
    ) -> int:
        """Store an evaluation, all of it or nothing.

        Args:
            run: Whole name of the run.
            split: Where the targets are from.
            score: Which score ranked.
            config: Limits and options of the evaluation, as plain JSON.
            metrics: Over all targets, and over slices of them.
            rankings: One per target, in evaluation order.
            cost: Compression ratios, tokens and seconds per target.

        Returns:
            Its id.

        Raises:
            NotFoundError: No such run.
        """
        with self._store.write() as db:
            if run not in self._store.runs.names():
                raise not_found("run", run, self._store.runs.names(), "list them with `patchrec runs ls`")
            evaluation = db.execute(
                "INSERT INTO evaluations (run, split, num_targets, num_users, score, config, cost, created_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
                [
                    run,
                    split,
                    len(rankings),
                    len({row.user for row in rankings}),
                    score,
                    json.dumps(dict(config)),
                    json.dumps(dict(cost)),
                    now(),
                ],
            ).fetchone()[0]
            db.conn.executemany(
                "INSERT INTO metrics VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [(evaluation, *astuple(row)) for row in metrics],
            )
            db.conn.executemany(
                "INSERT INTO rankings VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [(evaluation, number, *_ranking_values(row)) for number, row in enumerate(rankings)],
            )
        return int(evaluation)

    def newest(self, run: str, split: SplitName) -> Evaluation | None:
        """The newest evaluation of a run on a split, by ranks among all items."""
        found = self.all(run, split)
        return found[-1] if found else None

    def all(
        self, run: str | None = None, split: SplitName | None = None, *, protocol: str | None = None
    ) -> list[Evaluation]:
        """Evaluations, oldest first, of a run and split or of any.

        Args:
            run: Whole name.
            split: Whose targets.
            protocol: Those that count in another way (`patchrec.evaluation.protocols`); None: those that do not, by
                ranks among all items.

        One that does not say which catalog it ranked, or of which interactions it is, is from before they could grow:
        it is of the first version.
        """
        rows = self._store.records(
            "SELECT evaluations.*, coalesce(evaluations.config ->> 'catalog', (SELECT fingerprint FROM catalog_versions"
            " WHERE catalog_versions.dataset = runs.dataset ORDER BY num_items LIMIT 1)) AS catalog,"
            " coalesce(evaluations.config ->> 'data', (SELECT fingerprint FROM data_versions"
            " WHERE data_versions.dataset = runs.dataset ORDER BY version LIMIT 1)) AS data"
            " FROM evaluations JOIN runs ON runs.name = run"
            " WHERE run = coalesce(?, run) AND split = coalesce(?, split)"
            " AND coalesce(evaluations.config ->> 'protocol', '') = ? ORDER BY evaluations.id",
            [run, split, protocol or ""],
        )
        decoded = ({**row, "config": json_object(row["config"]), "cost": json_object(row["cost"])} for row in rows)
        return [Evaluation(**row) for row in decoded]

    def metrics(self, evaluation: int) -> list[MetricRow]:
        """Metrics of an evaluation: of all targets first, then by slice, name, level and rule for seen items."""
        rows = self._store.rows(
            "SELECT name, level, seen, value, low, high, slice, slice_targets, slice_users FROM metrics"
            " WHERE evaluation = ? ORDER BY slice <> ?, slice, name, level, seen",
            [evaluation, ALL],
        )
        return [MetricRow(*row) for row in rows]

    def rankings(self, evaluation: int) -> list[RankingRow]:
        """Rankings of an evaluation, in evaluation order."""
        columns = ", ".join(field.name for field in fields(RankingRow))
        rows = self._store.records(
            f"SELECT {columns} FROM rankings WHERE evaluation = ? ORDER BY number",  # noqa: S608 - our own field names
            [evaluation],
        )
        return [RankingRow(**{**row, "top": tuple(map(tuple, json.loads(row["top"])))}) for row in rows]


def _ranking_values(row: RankingRow) -> tuple[Any, ...]:
    *values, top, tokens, seconds = astuple(row)
    return *values, json.dumps(top, ensure_ascii=False), tokens, seconds
