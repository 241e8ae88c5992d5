"""Evaluate a recommender on held-out targets: each is ranked exactly among the whole catalog, or up to a limit."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np

from patchrec.data.histories import Dataset, Example
from patchrec.errors import UsageError
from patchrec.evaluation.efficiency import Compression
from patchrec.evaluation.lists import list_measures
from patchrec.evaluation.peak_memory import PeakMemory
from patchrec.evaluation.rows import TOP, check_cutoffs, metric_rows, ranking_row, target_values, top_length
from patchrec.evaluation.significance import interval_note
from patchrec.evaluation.slices import cold_targets, slices
from patchrec.history import BoolArray
from patchrec.ranking.items import precedence
from patchrec.recommender import Cost, Located, Query, Recommender, Scores, locate_each
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
    exact_to: int | None = None,
    top: int = TOP,
    by: Sequence[str] = (),
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
        exact_to: Find ranks up to this alone, which takes a model of titles a fraction of the work; None: all ranks.
        top: Keep so many of the best items of each target. With `exact_to` they are most of the work; 0 keeps none.
        by: Fields of the catalog whose values make slices.
        seed: Fixes the sample and the intervals.
        also: Is given every target with the scores of all items, for another way to count; not with `exact_to`.
        report: Where progress goes.

    Raises:
        UsageError: There is no target, a cutoff is beyond `exact_to`, `top` is below 0, no item has a field, or `also`
            cannot be given the scores of all items.
        CheckFailedError: The model's scores are not finite. PluginError: They are no distribution.
    """
    if exact_to is not None and exact_to < 1:
        raise UsageError(f"exact_to must be at least 1, got {exact_to!r}")
    if top < 0:
        raise UsageError(f"top must be at least 0, got {top!r}")
    refuse_other_counts(exact_to, counted=also is not None)
    check_cutoffs(ks, exact_to)
    chosen = _targets(dataset, examples, limit, seed)
    parts = slices(dataset, chosen, by)
    place = precedence(dataset.popularity)
    memory = PeakMemory.since_now(recommender.device)
    rows: dict[int, RankingRow] = {}
    costs: list[Cost] = []
    proven = 0
    with report.task("evaluate", len(chosen), "targets") as task:
        for number, located in _located(dataset, chosen, recommender, exact_to, top):
            rows[number] = ranking_row(dataset, chosen[number], located, recommender.level, place, exact_to, top)
            if also is not None:
                also(chosen[number], Scores(located.log_probs, located.cost))  # of all items, in their order
            costs.append(located.cost)
            proven += located.is_whole or (located.certificate is not None and located.certificate.holds)
            task.advance(1, tokens=located.cost.positions)
    ordered = [rows[number] for number in sorted(rows)]
    main = target_values(ordered, "item", "dropped", ks, exact_to)[f"ndcg@{max(ks)}"]
    if note := interval_note(main, np.array([row.user for row in ordered], dtype=np.int64)):
        report.note(note)
    tops = [[dataset.catalog.index[item_id] for item_id, _ in row.top] for row in ordered]
    shown = [k for k in ks if k <= top_length(exact_to, top)]
    cost: dict[str, float | None] = {
        **_counted(ordered, cold_targets(dataset, chosen)),
        **_spent(costs),
        "peak_memory_bytes": memory.peak,
        "peak_memory_growth_bytes": memory.growth,
        **recommender.facts(),
        **{name: _known(value) for name, value in list_measures(tops, dataset.popularity, shown).items()},
    }
    if exact_to is not None:
        cost["proven_targets"] = proven
    return Evaluated(metric_rows(ordered, ks, slices=parts, seed=seed, exact_to=exact_to), ordered, cost)


def refuse_other_counts(exact_to: int | None, *, counted: bool) -> None:
    """Refuse to count in another way too where ranks are found up to a limit alone.

    Raises:
        UsageError: Both are asked for.
    """
    if exact_to is not None and counted:
        raise UsageError(
            "--protocol needs the scores of all items, which --exact-to does without; drop one, or evaluate twice"
        )


def _located(
    dataset: Dataset, examples: Sequence[Example], recommender: Recommender, exact_to: int | None, top: int
) -> Iterator[tuple[int, Located]]:
    """All items with their scores, or as many as ranks up to a limit need, with the number of the target."""
    queries = [Query.of(dataset, example) for example in examples]
    if exact_to is None:
        yield from ((number, Located.among_all(scores)) for number, scores in recommender.score_each(queries))
        return
    targets = [dataset.target(example) for example in examples]
    yield from locate_each(recommender, queries, targets, exact_to, top=top_length(exact_to, top))


def _targets(dataset: Dataset, examples: Sequence[Example], limit: int | None, seed: int) -> list[Example]:
    """The targets to rank."""
    chosen = sample_examples(examples, limit, seed)
    if not chosen:
        raise UsageError(f"{dataset.name} has no target in this split; see `patchrec data show {dataset.name}`")
    return chosen


def _counted(rows: Sequence[RankingRow], cold: BoolArray) -> dict[str, float | None]:
    """How many targets there are, and of how many training has not seen the item."""
    return {
        "num_targets": len(rows),
        "num_users": len({row.user for row in rows}),
        "cold_targets": int(cold.sum()),
        "cold_users": len({row.user for row, own in zip(rows, cold.tolist(), strict=True) if own}),
    }


def _spent(costs: Sequence[Cost]) -> dict[str, float | None]:
    """What a target cost, alike for every recommender; of those with prompts, how long they are and how compressed."""
    number, compression = len(costs), Compression()
    for cost in costs:
        compression.add(cost)
    prompts = {
        "prompt_length": compression.shown / number,
        "compression_history": _known(compression.history),
        "compression_prompt": _known(compression.prompt),
    }
    return {
        "tokens_per_target": sum(cost.positions for cost in costs) / number,
        "prompt_tokens_per_target": sum(cost.positions - cost.beside for cost in costs) / number,
        "catalog_tokens_per_target": sum(cost.beside for cost in costs) / number,
        "flops_per_target": sum(cost.flops for cost in costs) / number,
        "seconds_per_target": sum(cost.seconds for cost in costs) / number,
        **(prompts if compression.shown else {}),
    }


def _known(value: float) -> float | None:
    return value if isfinite(value) else None
