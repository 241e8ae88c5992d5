"""Evaluate a recommender on held-out targets: every target ranks the whole catalog exactly."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np

from patchrec.data.histories import Dataset, Example
from patchrec.errors import UsageError
from patchrec.evaluation.efficiency import Compression
from patchrec.evaluation.rows import metric_rows, ranking_row, target_values
from patchrec.evaluation.significance import interval_note
from patchrec.history import BoolArray
from patchrec.ranking.items import precedence
from patchrec.recommender import Query, Recommender, Scores
from patchrec.reporting import SILENT, Reporter
from patchrec.store.evaluations import MetricRow, RankingRow

KS = (10, 20)


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What one evaluation gave.

    Attributes:
        metrics: Every metric of every view with its interval.
        rankings: One row for each target.
        cost: By name; see `docs/evaluation.md`. None where a ratio has no meaning.
    """

    metrics: list[MetricRow]
    rankings: list[RankingRow]
    cost: dict[str, float | None]


def sample_examples(examples: Sequence[Example], limit: int | None, seed: int = 0) -> list[Example]:
    """Choose `limit` targets, each equally likely, spread evenly over users; a pure function of its arguments.

    Systematic sampling: targets stand user by user, and every (n / limit)-th is taken from a random start. So the mean
    over the sample is an unbiased estimate of the mean over all, and users are there by their share of targets. Two
    runs with the same limit and seed get the same targets. None, or a limit of at least n, takes all.

    Source: Madow and Madow, "On the theory of systematic sampling", 1944.

    Raises:
        UsageError: limit is below 1.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"limit must be at least 1, got {limit!r}")
    if limit is None or limit >= len(examples):
        return list(examples)
    start = np.random.default_rng(seed).random()
    chosen = np.floor((start + np.arange(limit)) * len(examples) / limit).astype(np.int64)
    return [examples[index] for index in chosen.tolist()]


def evaluate(
    dataset: Dataset,
    examples: Sequence[Example],
    recommender: Recommender,
    *,
    ks: Sequence[int] = KS,
    limit: int | None = None,
    seed: int = 0,
    also: Callable[[Example, Scores], None] | None = None,
    report: Reporter = SILENT,
) -> Evaluated:
    """Rank the whole catalog for every target.

    Args:
        dataset: Where the targets are from.
        examples: Targets with their history windows, user by user (`Dataset.examples`).
        recommender: What ranks.
        ks: Cut-offs of the metrics.
        limit: Take a sample of so many targets (`sample_examples`).
        seed: Fixes the sample and the intervals.
        also: Is given every target with its scores, for another way to count.
        report: Where progress goes.

    Raises:
        UsageError: There is no target.
        CheckFailedError: The model's scores are not finite. PluginError: They are no distribution.
    """
    chosen = _targets(dataset, examples, limit, seed)
    place = precedence(dataset.popularity)
    compression = Compression()
    rows: dict[int, RankingRow] = {}
    prompt_tokens, flops = 0, 0.0
    with report.task("evaluate", len(chosen), "targets") as task:
        for number, scores in recommender.score_each([Query.of(dataset, example) for example in chosen]):
            rows[number] = ranking_row(dataset, chosen[number], scores, recommender.level, place)
            if also is not None:
                also(chosen[number], scores)
            compression.add(scores.cost)
            prompt_tokens += scores.cost.positions - scores.cost.beside
            flops += scores.cost.flops
            task.advance(1, tokens=scores.cost.positions)
    ordered = [rows[number] for number in sorted(rows)]
    main = target_values(ordered, "item", "dropped", ks)[f"ndcg@{max(ks)}"]
    if note := interval_note(main, np.array([row.user for row in ordered], dtype=np.int64)):
        report.note(note)
    cold = cold_targets(dataset, chosen)
    cost = {**_cost(ordered, cold), "flops_per_target": flops / len(ordered), **recommender.facts()}
    if compression.shown:
        cost |= {
            "prompt_tokens_per_target": prompt_tokens / len(ordered),
            "prompt_length": compression.shown / len(ordered),
            "compression_history": _known(compression.history),
            "compression_prompt": _known(compression.prompt),
        }
    return Evaluated(metric_rows(ordered, ks, cold=cold, seed=seed), ordered, cost)


def cold_targets(dataset: Dataset, examples: Sequence[Example]) -> BoolArray:
    """(B,) whether a target's item has no interaction in the train split: no training has seen it."""
    targets = np.array([dataset.target(example) for example in examples], dtype=np.int64)
    return np.equal(dataset.popularity[targets], 0)


def _targets(dataset: Dataset, examples: Sequence[Example], limit: int | None, seed: int) -> list[Example]:
    """The targets to rank."""
    chosen = sample_examples(examples, limit, seed)
    if not chosen:
        raise UsageError(f"{dataset.name} has no target in this split; see `patchrec data show {dataset.name}`")
    return chosen


def _cost(rows: Sequence[RankingRow], cold: BoolArray) -> dict[str, float | None]:
    """What every evaluation costs, and how many of its targets no training has seen."""
    return {
        "num_targets": len(rows),
        "num_users": len({row.user for row in rows}),
        "cold_targets": int(cold.sum()),
        "cold_users": len({row.user for row, new in zip(rows, cold.tolist(), strict=True) if new}),
        "tokens_per_target": sum(row.tokens or 0 for row in rows) / len(rows),
        "seconds_per_target": sum(row.seconds or 0.0 for row in rows) / len(rows),
    }


def _known(value: float) -> float | None:
    return value if isfinite(value) else None
