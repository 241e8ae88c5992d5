"""Verb: choose which score a run ranks by, on validation targets, and store it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
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
from patchrec.evaluation.significance import PairedDifference, bootstrap, interval_note, paired
from patchrec.history import FloatArray
from patchrec.operations.load import LoadedRun, load, pick_run
from patchrec.operations.run_plugins import kind_of, refuse_changed_plugins
from patchrec.recommender import Query
from patchrec.reporting import SILENT, Reporter
from patchrec.store import Store

K = 20
METRIC = f"ndcg@{K}"
SURE = 0.05  # p-value below which a difference is more than chance
ITEM_WEIGHTS = (0.25, 0.5, 1.0, 2.0, 4.0)  # of the item head in a mixture


@dataclass(frozen=True, slots=True)
class ScoreResult:
    """How one score did on the targets: mean of the metric with its interval, and what a target cost.

    Attributes:
        item_weight: Of the item head, where the score is a mixture.
    """

    score: ScoreName
    item_weight: float | None
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
        item_weight: Of the item head, where that is a mixture.
        before: What it ranked by.
        metric: What was compared, over items, seen ones dropped.
        results: Each score that was tried.
        reference: The score that others had to beat: the kind's own.
        alternative: The best of the others.
        difference: `alternative` minus `reference` on the same targets.
    """

    run: str
    label: str
    dataset: str
    chosen: ScoreName
    item_weight: float | None
    before: ScoreName
    metric: str
    num_targets: int
    num_users: int
    results: list[ScoreResult]
    reference: ScoreName
    alternative: ScoreName
    difference: PairedDifference


@dataclass(frozen=True, slots=True)
class _Tried:
    """Values of the targets under one score, positions run and time taken."""

    score: ScoreName
    item_weight: float | None
    values: FloatArray
    tokens: int
    seconds: float

    def result(self, users: Any) -> ScoreResult:
        """The mean with its interval."""
        (interval,) = bootstrap(self.values[:, None], users)
        spent = self.tokens / len(self.values), self.seconds / len(self.values)
        return ScoreResult(self.score, self.item_weight, interval.value, interval.low, interval.high, *spent)


def choose_score(
    run: str | None = None, *, limit: int | None = 200, home: Path | None = None, report: Reporter = SILENT
) -> ScoreChoice:
    """Rank validation targets under every score that a run has, and store in the run the one to use.

    A kind's own score stays unless another is better by more than chance (p < 0.05 in the paired sign-flip test over
    users, which holds for few users too, where intervals are too narrow): `catalog` for titles, which costs less than
    `joint`; `mixture` for a run of two heads, with the weight that was best on these targets. All rankings are exact
    top 20s.

    Args:
        run: A fine-tuned run; default: the newest.
        limit: A sample of so many targets; None takes all.

    Raises:
        NotFoundError: No such run. UsageError: The run has one score, or the data set no validation target.
    """
    with Store.open(home) as store:
        chosen_run = pick_run(store, run, None, report)
        scores = kind_of(store, chosen_run).scores
        refuse_changed_plugins(store, chosen_run, report)
        if len(scores) == 1:
            raise UsageError(f"run {chosen_run.name} ({chosen_run.kind}) has one score, {scores[0]}: nothing to choose")
        dataset, history = store.datasets.load(chosen_run.dataset), chosen_run.config.history
        examples = sample_examples(dataset.examples("validation", history.K, history.windows), limit)
        if not examples:
            raise UsageError(f"{dataset.name} has no validation target; add it again with --validation 0.1")
        users = np.array([example.user for example in examples])
        tried = []
        for score in scores:
            for weight in ITEM_WEIGHTS if score == "mixture" else (None,):
                loaded = load(store, chosen_run, score, item_weight=weight)
                tried.append(_rank(loaded, examples, weight, report))
        best = {score: max((one for one in tried if one.score == score), key=_mean) for score in scores}
        reference = best[scores[0]]
        alternative = max((best[score] for score in scores[1:]), key=_mean)
        difference = paired(alternative.values, reference.values, users)
        if note := interval_note(reference.values, users):
            report.note(note)
        sure = difference.difference > 0 and difference.p_value < SURE
        chosen = alternative if sure else reference
        result = ScoreChoice(
            run=chosen_run.name,
            label=chosen_run.label,
            dataset=dataset.name,
            chosen=chosen.score,
            item_weight=chosen.item_weight,
            before=chosen_run.score,
            metric=METRIC,
            num_targets=len(examples),
            num_users=len(np.unique(users)),
            results=[one.result(users) for one in tried],
            reference=reference.score,
            alternative=alternative.score,
            difference=difference,
        )
        store.runs.choose_score(chosen_run.name, chosen.score, _kept(result, limit))
    return result


def _mean(tried: _Tried) -> float:
    return float(tried.values.mean())


def _rank(loaded: LoadedRun, examples: Sequence[Example], weight: float | None, report: Reporter) -> _Tried:
    recommender, dataset = loaded.recommender, loaded.dataset
    queries = [Query.of(dataset, example) for example in examples]
    lengths = recommender.lengths(queries).tolist()
    ranks, tokens, started = np.full(len(examples), nan), 0, perf_counter()
    named = recommender.score if weight is None else f"{recommender.score} {weight:g}"
    with report.task(f"rank by {named}", len(examples), "targets") as task:
        for number, ranking in recommender.rank_each(queries, K):
            target = dataset.target(examples[number])
            ranks[number] = next((line.rank for line in ranking.recommendations if line.item == target), nan)
            spent = lengths[number] + (ranking.certificate.num_tokens if ranking.certificate else 0)
            tokens += spent
            task.advance(1, tokens=spent)
    values = rank_metrics(ranks, (K,))[METRIC]
    return _Tried(recommender.score, weight, values, tokens, perf_counter() - started)


def _kept(choice: ScoreChoice, limit: int | None) -> dict[str, Any]:
    """What the run remembers of its choice."""
    kept = asdict(choice)
    names = ("item_weight", "metric", "num_targets", "num_users", "results", "reference", "alternative", "difference")
    return {key: kept[key] for key in names} | {"limit": limit}
