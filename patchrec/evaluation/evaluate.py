"""Evaluate a model, or the popularity baseline, on held-out targets: every target ranks the whole catalog exactly.

Prompts of one user that begin alike run as one forest, and each target's titles hang under its own prompt.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from math import isfinite
from time import perf_counter

import numpy as np

from patchrec.data.histories import Dataset, Example
from patchrec.errors import UsageError
from patchrec.evaluation.efficiency import Compression, dataset_paper_ratio
from patchrec.evaluation.popularity import popularity_log_probs, titles_by_text
from patchrec.evaluation.rows import metric_rows, ranking_row
from patchrec.evaluation.significance import few_users_note
from patchrec.history import BoolArray, FloatArray, IntArray
from patchrec.model.forest import Forest, grow
from patchrec.model.patching import PathEncoder
from patchrec.ranking.items import precedence
from patchrec.ranking.scorer import TitleScorer
from patchrec.reporting import SILENT, Reporter
from patchrec.store.evaluations import MetricRow, RankingRow
from patchrec.strategy import Planner

KS = (10, 20)


@dataclass(frozen=True, slots=True)
class EvaluationResult:
    """What one evaluation found.

    Attributes:
        metrics: Every metric of every view with its interval.
        rankings: One row for each target.
        cost: By name; see `docs/evaluation.md`. None where a ratio has no meaning.
    """

    metrics: list[MetricRow]
    rankings: list[RankingRow]
    cost: dict[str, float | None]


@dataclass(frozen=True, slots=True, eq=False)
class _Group:
    """Targets of one user whose prompts run together.

    Attributes:
        encoder: Knows the session patches of these prompts.
        paths: For each target the keys of its prompt.
        forest: The prompts, merged.
        nodes: For each target the nodes of its prompt.
    """

    encoder: PathEncoder
    examples: list[Example]
    paths: list[IntArray]
    forest: Forest
    nodes: list[IntArray]

    @classmethod
    def of(cls, encoder: PathEncoder, examples: list[Example], paths: list[IntArray]) -> "_Group":
        """Merge the prompts of some targets."""
        return cls(encoder, examples, paths, *grow(paths))


@dataclass(frozen=True, slots=True, eq=False)
class _Scored:
    """One target with its scores.

    Attributes:
        log_probs: (num_titles,) of every title.
        length: Positions of its prompt.
        prompt_tokens: Positions of its prompt that no earlier target of its group had run.
        title_tokens: Nodes of the title trie run for it.
        seconds: Time it took, with an equal share of its group's prompts.
    """

    example: Example
    log_probs: FloatArray
    length: int
    prompt_tokens: int
    title_tokens: int
    seconds: float


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
    scorer: TitleScorer,
    planner: Planner,
    *,
    K: int,
    ks: Sequence[int] = KS,
    limit: int | None = None,
    seed: int = 0,
    report: Reporter = SILENT,
) -> EvaluationResult:
    """Rank the whole catalog for every target.

    Args:
        dataset: Where the targets are from.
        examples: Targets with their history windows, user by user (`Dataset.examples`).
        scorer: The model with prompt, catalog and score.
        planner: The strategy.
        K: History length, for the analytic compression ratio.
        ks: Cut-offs of the metrics.
        limit: Take a sample of so many targets (`sample_examples`).
        seed: Fixes the sample and the intervals.
        report: Where progress goes.

    Raises:
        UsageError: There is no target.
        CheckFailedError: The model's scores are not numbers.
    """
    chosen = _targets(dataset, examples, limit, seed, report)
    place = precedence(dataset.popularity)
    compression, prompt_tokens = Compression(), 0
    rows: list[RankingRow] = []
    with report.task("evaluate", len(chosen), "targets") as task:
        for scored in _score_all(dataset, chosen, scorer, planner):
            tokens = scored.prompt_tokens + scored.title_tokens
            row = ranking_row(
                dataset, scored.example, scored.log_probs, scorer.trie.title_of_item, place,
                tokens=tokens, seconds=scored.seconds,
            )  # fmt: skip
            rows.append(row)
            compression.add(scorer.encoder, dataset.history(scored.example), scored.length)
            prompt_tokens += scored.prompt_tokens
            task.advance(1, tokens=tokens)
    title_length = float(scorer.encoder.titles.lengths.mean())
    cold = cold_targets(dataset, chosen)
    cost = {
        **_cost(rows, cold),
        "prompt_tokens_per_target": prompt_tokens / len(rows),
        "prompt_length": compression.shown / len(rows),
        "compression_paper": _known(dataset_paper_ratio(dataset, planner, title_length, K)),
        "compression_history": _known(compression.history),
        "compression_prompt": _known(compression.prompt),
    }
    return EvaluationResult(metric_rows(rows, ks, cold=cold, seed=seed), rows, cost)


def evaluate_popularity(
    dataset: Dataset,
    examples: Sequence[Example],
    *,
    ks: Sequence[int] = KS,
    limit: int | None = None,
    seed: int = 0,
    report: Reporter = SILENT,
) -> EvaluationResult:
    """Rank the catalog by popularity for every target: the baseline that any model must beat.

    Takes the same targets as `evaluate` with the same examples, limit and seed. No model runs, so all tokens are 0.

    Raises:
        UsageError: There is no target.
    """
    chosen = _targets(dataset, examples, limit, seed, report)
    title_of_item = titles_by_text(dataset.catalog.titles)
    log_probs = popularity_log_probs(dataset.popularity, title_of_item)
    place = precedence(dataset.popularity)
    rows: list[RankingRow] = []
    with report.task("evaluate popularity", len(chosen), "targets") as task:
        for example in chosen:
            started = perf_counter()
            row = ranking_row(dataset, example, log_probs, title_of_item, place)
            rows.append(replace(row, seconds=perf_counter() - started))
            task.advance(1)
    cold = cold_targets(dataset, chosen)
    return EvaluationResult(metric_rows(rows, ks, cold=cold, seed=seed), rows, _cost(rows, cold))


def cold_targets(dataset: Dataset, examples: Sequence[Example]) -> BoolArray:
    """(B,) whether a target's item has no interaction in the train split: no training has seen it."""
    targets = np.array([dataset.target(example) for example in examples], dtype=np.int64)
    return np.equal(dataset.popularity[targets], 0)


def _targets(
    dataset: Dataset, examples: Sequence[Example], limit: int | None, seed: int, report: Reporter
) -> list[Example]:
    """The targets to rank, with a note where their users are few."""
    chosen = sample_examples(examples, limit, seed)
    if not chosen:
        raise UsageError(f"{dataset.name} has no target in this split; see `patchrec data show {dataset.name}`")
    note = few_users_note(len({example.user for example in chosen}))
    if note:
        report.note(note)
    return chosen


def _score_all(
    dataset: Dataset, examples: Sequence[Example], scorer: TitleScorer, planner: Planner
) -> Iterator[_Scored]:
    """Score every title for every target, group by group."""
    for group in _groups(dataset, examples, scorer, planner):
        started = perf_counter()
        own = scorer.for_encoder(group.encoder)
        hidden, context = own.backbone.prefill(group.encoder, group.forest)
        share = (perf_counter() - started) / len(group.examples)
        scores: dict[int, FloatArray] = {}  # by last position: equal prompts are scored once
        ran = np.zeros(len(group.forest), dtype=np.bool_)
        for example, nodes in zip(group.examples, group.nodes, strict=True):
            started, leaf, title_tokens = perf_counter(), int(nodes[-1]), 0
            if leaf not in scores:
                scores[leaf], title_tokens = own.score_titles(context, leaf, hidden[leaf]), own.tokens
            fresh = int(np.count_nonzero(~ran[nodes]))
            ran[nodes] = True
            yield _Scored(example, scores[leaf], len(nodes), fresh, title_tokens, share + perf_counter() - started)


def _groups(dataset: Dataset, examples: Sequence[Example], scorer: TitleScorer, planner: Planner) -> Iterator[_Group]:
    """Put neighbouring targets of a user together while their merged prompts fit one forward pass."""
    for _, run in groupby(examples, key=lambda example: example.user):
        encoder = scorer.encoder.fresh()
        group: _Group | None = None
        for example in run:
            history = dataset.history(example)
            path = encoder.prompt_path(history, planner.plan(history))
            if group is not None:
                grown = _Group.of(encoder, [*group.examples, example], [*group.paths, path])
                if len(grown.forest) <= scorer.max_nodes:
                    group = grown
                    continue
                yield group
            group = _Group.of(encoder, [example], [path])
        if group is not None:
            yield group


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
