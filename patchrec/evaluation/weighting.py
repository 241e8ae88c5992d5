"""How targets rank under every weighting of some recommenders, without asking any of them twice.

Shapes: R recommenders, W weightings, B targets, I items.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from patchrec.data.histories import Dataset, Example
from patchrec.errors import UsageError
from patchrec.evaluation.evaluate import sample_examples
from patchrec.evaluation.metrics import rank_metrics
from patchrec.history import BoolArray, FloatArray, IntArray
from patchrec.ranking.blend import BlendRecommender, NewItems, log_sum
from patchrec.recommender import Query
from patchrec.reporting import SILENT, Reporter

PARTS = 8  # weights are eighths: 9 weightings of two recommenders, 45 of three, 165 of four, 495 of five
MOST = 5  # recommenders that are weighed
_ASKED = 100  # targets of new items, and of others, that recommenders are asked for to learn who speaks of such items
_SURE = 2.0  # standard errors by which whoever speaks of new items is better than chance, and a temperature than none
_TEMPERATURES = 2.0 ** (np.arange(-12, 13) / 4)  # from 1/8 to 8, each 1.19 times the last
_HELD = 1 << 22  # scores of weightings held at a time: 32 MiB
_LEAST, _FARTHEST = -50.0, 50.0  # nats: a probability that counts as none, and the longest way of a factor


def weightings(number: int) -> FloatArray:
    """(W, R) every way to share 1 among so many recommenders in eighths; a share may be 0."""
    bars = np.array(list(combinations(range(PARTS + number - 1), number - 1)), dtype=np.int64).reshape(-1, number - 1)
    edges = np.pad(bars, ((0, 0), (1, 1)), constant_values=((0, 0), (-1, PARTS + number - 1)))
    return np.asarray((np.diff(edges, axis=1) - 1) / PARTS, dtype=np.float64)


def check_metric(metric: str) -> tuple[int, ...]:
    """The cutoff of a metric's name, where it has one.

    Raises:
        UsageError: No such metric.
    """
    found = re.fullmatch(r"log_prob|mrr|(?:hr|ndcg|mrr)@([1-9]\d{0,8})", metric)
    if found is None:
        raise UsageError(f"--metric {metric!r}: choices: ndcg@20, hr@20, mrr@20 with any cutoff, mrr, log_prob")
    return (int(found[1]),) if found[1] else ()


@dataclass(frozen=True, slots=True, eq=False)
class Weighed:
    """Targets under each weighting.

    Attributes:
        weightings: (W, R).
        users: (B,) user of each target.
        ranks: (W, B) of the target among items, seen ones dropped; nan where it is one of these.
        log_probs: (W, B) of the target's title.
        had: (W, B) log of the probability that the next item is one of the history.
        alike: (W, B) log of the probability of those of them that have the target's title.
        repeated: (B,) whether the target is one of them.
    """

    weightings: FloatArray
    users: IntArray
    ranks: FloatArray
    log_probs: FloatArray
    had: FloatArray
    alike: FloatArray
    repeated: BoolArray

    def values(self, metric: str) -> FloatArray:
        """(W, B) value of each target: `hr@20`, `ndcg@20`, `mrr@20`, `mrr`, any other cutoff, or `log_prob`.

        Raises:
            UsageError: No such metric.
        """
        cutoffs = check_metric(metric)
        if metric == "log_prob":
            return self.log_probs
        return rank_metrics(self.ranks.ravel(), cutoffs)[metric].reshape(self.ranks.shape)

    def log_probs_by(self, weighting: int, repeats: float) -> FloatArray:
        """(B,) of the target's title under a weighting, the odds of the history's items multiplied by a factor."""
        had, alike, own = np.exp(self.had[weighting]), np.exp(self.alike[weighting]), self.log_probs[weighting]
        return np.asarray(np.log(np.exp(own) + (repeats - 1) * alike) - np.log1p((repeats - 1) * had))

    def alone(self, part: int) -> int:
        """Which weighting is one recommender alone."""
        return int(self.weightings[:, part].argmax())

    def best(self, metric: str) -> int:
        """Which weighting has the best mean; of equal ones the one of fewer recommenders, then the likelier."""
        means, likely = self.values(metric).mean(axis=1), self.log_probs.mean(axis=1)
        number = np.count_nonzero(self.weightings, axis=1)
        return int(np.lexsort((-likely, number, -means))[0])


def weigh(
    dataset: Dataset, examples: Sequence[Example], blend: BlendRecommender, *, report: Reporter = SILENT
) -> Weighed:
    """Rank targets under every weighting of a blend's parts, its own weights aside.

    One recommender alone speaks of new items as it does, whoever does in the blend.

    Args:
        dataset: Where the targets are from.
        examples: Targets with histories at least as long as any part wants.
        blend: Whose parts are asked, each once for a target.
        report: Where progress goes.
    """
    shares = weightings(len(blend.parts))
    size = max(1, _HELD // len(dataset.catalog))
    blocks = [slice(first, first + size) for first in range(0, len(shares), size)]
    ranks, likely, had, own = np.empty((4, len(shares), len(examples)))
    repeated = np.zeros(len(examples), dtype=np.bool_)
    queries = [Query.of(dataset, example) for example in examples]
    titles = dataset.catalog.title_of_item
    with report.task("weigh", len(examples), "targets") as task:
        for start, rows, costs in blend.each_part(queries):
            for number, cost in enumerate(costs):
                place = start + number
                target = dataset.target(examples[place])
                alike = titles == titles[target]
                before = np.zeros(len(alike), dtype=np.bool_)
                before[queries[place].history.items] = True
                repeated[place] = before[target]
                for block in blocks:
                    mixed = _mixed(shares[block], rows[:, number], blend.new)
                    for table, items in ((likely, alike), (had, before), (own, alike & before)):
                        table[block, place] = np.logaddexp.reduce(mixed[:, items], axis=1)
                    ranks[block, place] = _ranks(mixed, target, queries[place].seen, blend.place)
                task.advance(1, tokens=cost.positions)
    users = np.array([example.user for example in examples])
    return Weighed(shares, users, ranks, likely, had, own, repeated)


def learn_new(
    dataset: Dataset, examples: Sequence[Example], blend: BlendRecommender, *, report: Reporter = SILENT
) -> NewItems | None:
    """Who of a blend's parts speaks of items that nobody chose in the train split, and how likely one of them is next.

    It is the part that finds the new targets likeliest among all new items, if it does so better than chance by two
    standard errors. A sample is asked, of new targets and of others; the odds count each as often as it stands for.

    Args:
        dataset: Where the targets are from.
        examples: Targets with histories at least as long as any part wants.
        blend: Whose parts are asked.
        report: Where progress goes.

    Returns:
        None where no part is known to tell new targets from other new items.
    """
    new = dataset.popularity == 0
    of_new = [example for example in examples if new[dataset.target(example)]]
    of_old = [example for example in examples if not new[dataset.target(example)]]
    if not of_new:
        return None
    asked = sample_examples(of_new, _ASKED), sample_examples(of_old, _ASKED)
    both = [*asked[0], *asked[1]]
    mass, likely = np.empty((2, len(blend.parts), len(both)))
    with report.task("new items", len(both), "targets") as task:
        for start, rows, costs in blend.each_part([Query.of(dataset, example) for example in both]):
            stop = start + len(costs)
            mass[:, start:stop] = np.logaddexp.reduce(rows[..., new], axis=-1)
            for place, example in enumerate(both[start:stop]):
                likely[:, start + place] = rows[:, place, dataset.target(example)]
                task.advance(1, tokens=costs[place].positions)
    first = len(asked[0])
    gains = (likely - mass)[:, :first] + np.log(new.sum())  # over a guess
    speaker = int(gains.mean(axis=1).argmax())
    gain = gains[speaker]
    if first < 2 or gain.mean() - 1e-9 <= _SURE * gain.std(ddof=1) / np.sqrt(first):
        return None
    times = np.repeat([len(of_new) / first, len(of_old) / max(1, len(asked[1]))], [first, len(asked[1])])
    return NewItems(new, speaker, learn_odds(mass[speaker], np.arange(len(both)) < first, times))


def learn_temperatures(
    dataset: Dataset, examples: Sequence[Example], blend: BlendRecommender, *, report: Reporter = SILENT
) -> tuple[float, float]:
    """How sure a blend shall be of what it says: the temperatures that make a sample of targets likeliest.

    A target counts as one among the items of its history, among all others, or among new items, whose likelihood
    together a temperature leaves.

    Args:
        dataset: Where the targets are from.
        examples: Targets with histories at least as long as any part wants.
        blend: With its weights, and all else that it has but temperatures.
        report: Where progress goes.

    Returns:
        Of what the mixture says, and of what one part says of new items; 1 where none of those tried (1/8 to 8) is
        better by two standard errors.
    """
    new = np.zeros(len(dataset.catalog), dtype=np.bool_) if blend.new is None else blend.new.items
    of_new = [example for example in examples if new[dataset.target(example)]]
    of_old = [example for example in examples if not new[dataset.target(example)]]
    asked = [*sample_examples(of_old, 2 * _ASKED), *sample_examples(of_new, 2 * _ASKED)]
    queries = [Query.of(dataset, example) for example in asked]
    likely = np.zeros((len(_TEMPERATURES), len(asked)))
    with report.task("temperature", len(asked), "targets") as task:
        for number, scores in blend.score_each(queries):
            target = dataset.target(asked[number])
            if np.isfinite(scores.log_probs[target]):  # one that cannot be says nothing of how sure to be
                group = next(items for items, _ in blend.groups(queries[number]) if items[target])
                rows = scores.log_probs[group] / _TEMPERATURES[:, None]
                likely[:, number] = rows[:, np.count_nonzero(group[:target])] - log_sum(rows)[:, 0]
            task.advance(1, tokens=scores.cost.positions)
    first = min(len(of_old), 2 * _ASKED)
    return _likeliest(likely[:, :first]), _likeliest(likely[:, first:])


def _likeliest(likely: FloatArray) -> float:
    """The best temperature of those that are surely better than none, by (T, B) log-probabilities, else 1."""
    if likely.shape[1] < 2:
        return 1.0
    gains = likely - likely[len(_TEMPERATURES) // 2]
    means, errors = gains.mean(axis=1), gains.std(axis=1, ddof=1) / np.sqrt(likely.shape[1])
    sure = means > _SURE * errors
    return float(_TEMPERATURES[np.where(sure, means, -np.inf).argmax()]) if sure.any() else 1.0


def title_log_probs(
    dataset: Dataset, examples: Sequence[Example], blend: BlendRecommender, *, report: Reporter = SILENT
) -> FloatArray:
    """(B,) log-probability of the title of each target, as a blend has it with all that was learned."""
    titles, found = dataset.catalog.title_of_item, np.empty(len(examples))
    queries = [Query.of(dataset, example) for example in examples]
    with report.task("weigh", len(examples), "targets") as task:
        for number, scores in blend.score_each(queries):
            alike = titles == titles[dataset.target(examples[number])]
            found[number] = np.logaddexp.reduce(scores.log_probs[alike])
            task.advance(1, tokens=scores.cost.positions)
    return found


def learn_odds(share: FloatArray, happened: BoolArray, times: FloatArray | None = None) -> float:
    """The factor of the odds of some items together that makes what happened likeliest.

    It is the exponent of the intercept of a logistic regression with the model's own log-odds as offset, beside two
    made-up targets at even odds, one of which happened: it stays finite where none ever does.

    Args:
        share: (B,) log of the probability that the next item is one of them.
        happened: (B,) whether it was.
        times: (B,) how many targets each stands for; None: one.
    """
    sure = np.clip(share, _LEAST, -1e-12)
    offsets = np.append(sure - np.log(-np.expm1(sure)), [0.0, 0.0])
    counts = np.append(np.ones(len(share)) if times is None else times, [1.0, 1.0])
    wanted = float(counts[:-2] @ happened) + 1.0
    low, high = -_FARTHEST, _FARTHEST
    for _ in range(60):  # halves: the expected number rises with the factor
        middle = (low + high) / 2
        expected = counts @ (1 / (1 + np.exp(-(offsets + middle))))
        low, high = (middle, high) if expected < wanted else (low, middle)
    return float(np.exp((low + high) / 2))


def _mixed(shares: FloatArray, rows: FloatArray, new: NewItems | None) -> FloatArray:
    """(W, I) log-probabilities under weightings of (R, I) those of recommenders; of one alone they are its own."""
    mixed = np.asarray(shares @ rows, dtype=np.float64)
    alone = np.count_nonzero(shares, axis=1) == 1
    if new is None or alone.all():
        return np.asarray(mixed - log_sum(mixed))
    mixed[~alone] = new.said(mixed[~alone], rows[new.speaker])
    if alone.any():
        mixed[alone] -= log_sum(mixed[alone])
    return mixed


def _ranks(scores: FloatArray, target: int, seen: IntArray, place: IntArray) -> FloatArray:
    """(W,) rank of an item among those not seen, by (W, I) scores; equal ones stand as `place` says."""
    left = np.ones(scores.shape[1], dtype=np.bool_)
    left[seen] = False
    if not left[target]:
        return np.full(len(scores), np.nan)
    own = scores[:, [target]]
    before = (scores > own) | ((scores == own) & (place < place[target]))
    return np.asarray(1 + np.count_nonzero(before & left, axis=1), dtype=np.float64)
