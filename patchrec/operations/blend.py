"""Verb: mix runs into one that ranks as they do together, with weights chosen on validation targets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from patchrec.config import MOST_ITEMS, HistoryConfig, KindConfig, PartConfig, RunConfig
from patchrec.data.histories import Dataset
from patchrec.errors import CheckFailedError, UsageError
from patchrec.evaluation.evaluate import sample_examples
from patchrec.evaluation.significance import Interval, PairedDifference, bootstrap, interval_note, paired
from patchrec.evaluation.weighting import (
    MOST,
    Weighed,
    check_metric,
    learn_new,
    learn_odds,
    learn_temperatures,
    title_log_probs,
    weigh,
)
from patchrec.history import FloatArray
from patchrec.operations.asked_runs import stamp
from patchrec.operations.load import fingerprints, load
from patchrec.operations.made_run import made as make_run
from patchrec.operations.made_run import same_or_made
from patchrec.plugins import bind_kind, find_kind
from patchrec.ranking.blend import BlendRecommender
from patchrec.ranking.items import precedence
from patchrec.recommender import Part, Saved, refuse_unasked
from patchrec.reporting import SILENT, Reporter
from patchrec.store import Store
from patchrec.store.marks import NO_MARKS, Marks
from patchrec.store.runs import Run

METRIC = "ndcg@20"
KIND = "blend"


class AloneIsBestError(CheckFailedError):
    """No blend is better than one of its runs alone, which is `run`; `found` says so without what to do."""

    def __init__(self, found: str, run: str) -> None:
        super().__init__(f"{found}; use that run, or give --weights")
        self.found, self.run = found, run


@dataclass(frozen=True, slots=True)
class Weighted:
    """A run with its weight in a blend, and how it did alone; None where weights were given."""

    run: str
    label: str
    weight: float
    alone: Interval | None


@dataclass(frozen=True, slots=True)
class BlendResult:
    """A blend.

    Attributes:
        metric: What chose the weights, over items, seen ones dropped; None where they were given.
        parts: Every run that was named; one of weight 0 is no part of the blend, unless it is the speaker.
        together: How the blend did on the targets that chose its weights.
        reference: The best run alone.
        difference: The blend minus it, on the same targets: too good by what choosing the weights is worth.
        repeats: What the odds of items that a user has had are multiplied by; 1: nothing is.
        repeated: How many of these targets their users had before; None where nothing was learned of it.
        speaker: The run that speaks of items which nobody chose in the train split; None: all do, as of others.
        new_items: What the odds are multiplied by that it gives to them.
        new: How many of these targets are such items.
        temperature: Below 1 the blend is surer than its runs are in the mean; 1: as they are.
        new_temperature: The same of what the speaker says of such items.
    """

    run: str
    label: str
    dataset: str
    metric: str | None
    num_targets: int
    num_users: int
    parts: list[Weighted]
    together: Interval | None = None
    reference: str | None = None
    difference: PairedDifference | None = None
    repeats: float = 1.0
    repeated: int | None = None
    speaker: str | None = None
    new_items: float = 1.0
    new: int | None = None
    temperature: float = 1.0
    new_temperature: float = 1.0


def blend(
    names: Sequence[str],
    *,
    weights: Sequence[float] | None = None,
    metric: str = METRIC,
    limit: int | None = 1000,
    repeats: float | None = None,
    new_items: bool | None = None,
    temperature: float | None = None,
    reuse: bool = False,
    marks: Marks = NO_MARKS,
    home: Path | None = None,
    report: Reporter = SILENT,
) -> BlendResult:
    """Make a run that ranks by the weighted mean of other runs' log-probabilities.

    Each run is asked once for every validation target; then all weightings in eighths are compared. How often people
    come back to what they had is learned from the same targets (`learn_odds`): it changes nothing among the items
    that a user has not had. So is which run speaks of items that nobody chose in the train split (`learn_new`), and how
    sure the mixture is, and whoever speaks of new items (`learn_temperatures`), which leaves the order of either.

    Args:
        names: Two to five runs of one data set.
        weights: Of them, in their order, in any unit; None chooses them.
        metric: What shall be best: `ndcg@20`, `hr@10`, `mrr`, `log_prob` and the like.
        limit: A sample of so many validation targets; None takes all.
        repeats: What the odds of items that a user has had are multiplied by; None learns it where weights are chosen,
            and leaves them where they are given.
        new_items: Let one run speak of items that nobody chose, where validation says which; None: where weights are
            chosen.
        temperature: How sure the mixture is, below 1 surer, and whoever speaks of new items; None as with `repeats`.
        reuse: Give a blend of the same runs, weights and odds back instead of making another.
        marks: Name, note and tags of the run.

    Raises:
        NotFoundError: No such run. UsageError: Runs that cannot be mixed, weights that are none, or no validation
            target. AloneIsBestError: One run alone is best.
    """
    check_metric(metric)
    if new_items and weights is not None:
        raise UsageError("--new-items is learned where weights are chosen; drop it, or --weights")
    asked = {"repeats": repeats, "temperature": temperature}
    bind_kind(KindConfig(name=KIND, options={key: 1.0 if number is None else number for key, number in asked.items()}))
    with Store.open(home) as store:
        runs = _runs(store, names)
        store.runs.check_free(marks)
        given = None if weights is None else _shares(weights, runs)
        dataset = store.datasets.load(runs[0].dataset)
        learns = repeats is None and given is None
        history = HistoryConfig(K=_longest(runs, dataset, learns or repeats not in (None, 1)), windows="sliding")
        if given is not None:
            factor, heat = 1.0 if repeats is None else repeats, 1.0 if temperature is None else temperature
            made = _make(store, runs, given, history, marks, {"repeats": factor, "temperature": heat}, reuse)
            parts = [
                Weighted(run.name, run.label, share, None) for run, share in zip(runs, given.tolist(), strict=True)
            ]
            return BlendResult(made.name, made.label, made.dataset, None, 0, 0, parts, repeats=factor, temperature=heat)
        examples = sample_examples(dataset.examples("validation", history.K, history.windows), limit)
        if not examples:
            raise UsageError(
                f"{dataset.name} has no validation target to choose weights on; give --weights, or add it again with "
                "--validation 0.1"
            )
        loaded = [load(store, run, report=report) for run in runs]
        own = [Part(one.recommender, 1.0, one.run.config.history) for one in loaded]
        mixed = BlendRecommender(own, dataset.catalog, precedence(dataset.popularity))
        told = learn_new(dataset, examples, mixed, report=report) if new_items is not False else None
        weighed = weigh(dataset, examples, replace(mixed, new=told), report=report)
        values = weighed.values(metric)
        best = weighed.best(metric)
        alone = [weighed.alone(number) for number in range(len(runs))]
        if best in alone:
            run = runs[alone.index(best)].name
            raise AloneIsBestError(
                f"no blend of these runs is better than {run} alone ({metric} {values[best].mean():.3f} on "
                f"{len(examples):,} validation targets)",
                run,
            )
        if note := interval_note(values[best], weighed.users):
            report.note(note)
        factor = learn_odds(weighed.had[best], weighed.repeated) if repeats is None else repeats
        answers = _weighted(replace(mixed, repeats=factor, new=told), weighed.weightings[best])
        given_heat = None if temperature is None else (temperature, temperature)
        answers = _at(answers, *(given_heat or learn_temperatures(dataset, examples, answers, report=report)))
        learned = _learned(answers, None if told is None else runs[told.speaker].name)
        if metric == "log_prob":
            together = weighed.log_probs_by(best, factor)
            if answers.tempers:
                together = title_log_probs(dataset, examples, answers, report=report)
            values = np.vstack([values, together])
        made = _make(store, runs, weighed.weightings[best], history, marks, learned, reuse)
        shown = {key: value for key, value in learned.items() if key != "num_new"}
        found = replace(_result(made, runs, weighed, best, metric, values), **shown)
        if told is not None:
            found = replace(found, new=sum(bool(told.items[dataset.target(example)]) for example in examples))
        return replace(found, repeated=int(weighed.repeated.sum())) if learns else found


def _learned(blend: BlendRecommender, speaker: str | None) -> dict[str, Any]:
    """Values of the kind's options."""
    own: dict[str, Any] = {"repeats": blend.repeats, "temperature": blend.temperature}
    if blend.new is None:
        return own
    told = {"speaker": speaker, "new_items": blend.new.factor, "new_temperature": blend.new.temperature}
    return own | told | {"num_new": int(blend.new.items.sum())}


def _weighted(blend: BlendRecommender, shares: FloatArray) -> BlendRecommender:
    """A blend with weights, of the parts that have one or speak of new items."""
    speaker = None if blend.new is None else blend.new.speaker
    kept = [place for place, share in enumerate(shares) if share > 0 or place == speaker]
    parts = [replace(blend.parts[place], weight=float(shares[place])) for place in kept]
    new = None if blend.new is None else replace(blend.new, speaker=kept.index(blend.new.speaker))
    return replace(blend, parts=parts, new=new)


def _at(blend: BlendRecommender, temperature: float, of_new: float) -> BlendRecommender:
    """A blend at temperatures of its own and of whoever speaks of new items."""
    new = None if blend.new is None else replace(blend.new, temperature=of_new)
    return replace(blend, temperature=temperature, new=new)


def _longest(runs: Sequence[Run], dataset: Dataset, whole: bool) -> int:
    """K of a blend: the longest of its parts', or the whole of every history."""
    own = max(run.config.history.K for run in runs)
    longest = int(np.diff(dataset.sequences.offsets).max(initial=1))
    return max(own, min(longest, MOST_ITEMS)) if whole else own


def _runs(store: Store, names: Sequence[str]) -> list[Run]:
    """The runs of some names, if they can be mixed."""
    runs = [store.runs.get(name) for name in names]
    distinct = {run.name for run in runs}
    if not 2 <= len(runs) <= MOST or len(distinct) < len(runs):
        raise UsageError(f"a blend mixes 2 to {MOST} different runs, got {len(distinct)}; see `patchrec runs ls`")
    other = next((run for run in runs if run.dataset != runs[0].dataset), None)
    if other is not None:
        raise UsageError(
            f"run {runs[0].name} is on data set {runs[0].dataset!r} and {other.name} on {other.dataset!r}; name runs "
            "of one data set"
        )
    for run in runs:
        refuse_unasked(find_kind(run.kind), run.name)
    return runs


def _shares(weights: Sequence[float], runs: Sequence[Run]) -> FloatArray:
    """(R,) given weights as shares of 1."""
    given = np.array(weights, dtype=np.float64)
    if len(given) != len(runs) or not np.isfinite(given).all() or not (given > 0).all():
        raise UsageError(
            f"--weights takes a number above 0 for each of the {len(runs)} runs, such as "
            f"{','.join(map(str, range(len(runs), 0, -1)))}; got {','.join(f'{weight:g}' for weight in weights)}"
        )
    given /= given.max()
    return np.asarray(given / given.sum(), dtype=np.float64)


def _make(
    store: Store,
    runs: Sequence[Run],
    shares: FloatArray,
    history: HistoryConfig,
    marks: Marks,
    options: Mapping[str, Any],
    reuse: bool,
) -> Run:
    """The run of a blend, done as soon as it is made; runs that have no share, and do not speak, are no part of it."""
    speaker = options.get("speaker")
    kept = [(run, share) for run, share in zip(runs, shares.tolist(), strict=True) if share > 0 or run.name == speaker]
    parts = tuple(
        PartConfig(run=run.name, weight=share, history=run.config.history, stamp=stamp(store, run))
        for run, share in kept
    )
    config = RunConfig(
        stage="blend",
        dataset=runs[0].dataset,
        kind=KindConfig(
            name=KIND,
            options={
                key: value
                for key, value in options.items()
                if key not in ("repeats", "temperature", "new_temperature") or value != 1
            },
        ),
        backbone=None,
        parts=parts,
        history=history,
        prompt=None,
        score="mixture",
    )
    label = " + ".join(f"{share:.3g} {run.name}" if share else f"{run.name} of new items" for run, share in kept)
    prints = fingerprints(Saved(config, store.datasets.load(config.dataset)))
    return (same_or_made if reuse else make_run)(store, config, prints, label, marks)


def _result(
    made: Run, runs: Sequence[Run], weighed: Weighed, best: int, metric: str, values: FloatArray
) -> BlendResult:
    """What is told: `values` has a row for each weighting and, of log_prob, one for the blend with what was learned."""
    own = best if metric != "log_prob" else len(values) - 1
    alone = [weighed.alone(number) for number in range(len(runs))]
    intervals = bootstrap(values[[*alone, own]].T, weighed.users)
    first = int(np.argmax([values[one].mean() for one in alone]))
    return BlendResult(
        run=made.name,
        label=made.label,
        dataset=made.dataset,
        metric=metric,
        num_targets=values.shape[1],
        num_users=len(np.unique(weighed.users)),
        parts=[
            Weighted(run.name, run.label, float(share), interval)
            for run, share, interval in zip(runs, weighed.weightings[best], intervals[:-1], strict=True)
        ],
        together=intervals[-1],
        reference=runs[first].name,
        difference=paired(values[own], values[alone[first]], weighed.users),
    )
