"""Verb: choose which score a run ranks by, on validation targets, and store it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from math import nan
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from patchrec.config import ScoreName
from patchrec.data.histories import Example
from patchrec.errors import UsageError
from patchrec.evaluation.evaluate import sample_examples
from patchrec.evaluation.metrics import rank_metrics
from patchrec.evaluation.significance import PairedDifference, bootstrap, few_users_note, paired
from patchrec.history import FloatArray
from patchrec.operations.ready import Ready, make_ready, pick_run
from patchrec.ranking.ranker import Ranker
from patchrec.reporting import SILENT, Reporter
from patchrec.store import Store

K = 20
METRIC = f"ndcg@{K}"
SURE = 0.05  # p-value below which a difference is more than chance
SCORES: tuple[ScoreName, ...] = ("catalog", "joint")


@dataclass(frozen=True, slots=True)
class ScoreResult:
    """How one score did on the targets: mean of the metric with its interval, and what a target cost."""

    score: ScoreName
    value: float
    low: float
    high: float
    tokens_per_target: float
    seconds_per_target: float


@dataclass(frozen=True, slots=True)
class ScoreChoice:
    """The choice and why.

    Attributes:
        chosen: What the run ranks by from now on.
        before: What it ranked by.
        metric: What was compared, over items, seen ones dropped.
        results: Each score.
        difference: `joint` minus `catalog` on the same targets.
    """

    run: str
    label: str
    dataset: str
    chosen: ScoreName
    before: ScoreName
    metric: str
    num_targets: int
    num_users: int
    results: list[ScoreResult]
    difference: PairedDifference


def choose_score(
    run: str | None = None, *, limit: int | None = 200, home: Path | None = None, report: Reporter = SILENT
) -> ScoreChoice:
    """Rank validation targets under both scores, and store in the run the one to use.

    `joint` is taken where it is better by more than chance (p < 0.05 in the paired sign-flip test over users, which
    holds for few users too, where intervals are too narrow), else `catalog`, which costs less. Both rankings are exact
    top 20s.

    Args:
        run: A fine-tuned run; default: the newest.
        limit: A sample of so many targets; None takes all.

    Raises:
        NotFoundError: No such run. UsageError: The data set has no validation target.
    """
    with Store.open(home) as store:
        chosen_run = pick_run(store, run, None, report)
        ready = make_ready(store, chosen_run, "catalog", report)
        prompt = chosen_run.config.prompt
        examples = sample_examples(ready.dataset.examples("validation", prompt.K, prompt.windows), limit)
        if not examples:
            raise UsageError(f"{ready.dataset.name} has no validation target; add it again with --validation 0.1")
        users = np.array([example.user for example in examples])
        if note := few_users_note(len(np.unique(users))):
            report.note(note)
        ranked = {score: _rank(ready, examples, score, report) for score in SCORES}
        values = {score: rank_metrics(found.ranks, (K,))[METRIC] for score, found in ranked.items()}
        difference = paired(values["joint"], values["catalog"], users)
        better: ScoreName = "joint" if difference.difference > 0 and difference.p_value < SURE else "catalog"
        result = ScoreChoice(
            run=chosen_run.name,
            label=chosen_run.label,
            dataset=ready.dataset.name,
            chosen=better,
            before=chosen_run.score,
            metric=METRIC,
            num_targets=len(examples),
            num_users=len(np.unique(users)),
            results=[_result(score, values[score], users, ranked[score]) for score in SCORES],
            difference=difference,
        )
        store.runs.choose_score(chosen_run.name, better, _kept(result, limit))
    return result


@dataclass(frozen=True, slots=True)
class _Ranked:
    """Ranks of the targets within the best K (nan beyond), positions run and time taken."""

    ranks: FloatArray
    tokens: int
    seconds: float


def _rank(ready: Ready, examples: Sequence[Example], score: ScoreName, report: Reporter) -> _Ranked:
    own = ready.ranker
    ranker = Ranker(replace(own.scorer, score=score), own.place, own.titles, report=report)
    queries = [ready.query(example) for example in examples]
    ranks, tokens, started = np.full(len(examples), nan), 0, perf_counter()
    with report.task(f"rank by {score}", len(examples), "targets") as task:
        for number, ranking in ranker.rank_each(queries, K):
            target = ready.dataset.target(examples[number])
            places = [line.rank for line in ranking.recommendations if line.item == target]
            ranks[number] = places[0] if places else nan
            query = queries[number]
            spent = ranker.scorer.encoder.num_positions(query.history, query.layout)
            spent += ranking.certificate.num_tokens if ranking.certificate else 0
            tokens += spent
            task.advance(1, tokens=spent)
    return _Ranked(ranks, tokens, perf_counter() - started)


def _result(score: ScoreName, values: FloatArray, users: Any, ranked: _Ranked) -> ScoreResult:
    (interval,) = bootstrap(values[:, None], users)
    per_target = 1 / len(values)
    return ScoreResult(
        score, interval.value, interval.low, interval.high, ranked.tokens * per_target, ranked.seconds * per_target
    )


def _kept(choice: ScoreChoice, limit: int | None) -> dict[str, Any]:
    """What the run remembers of its choice."""
    kept = asdict(choice)
    return {key: kept[key] for key in ("metric", "num_targets", "num_users", "results", "difference")} | {
        "limit": limit
    }
