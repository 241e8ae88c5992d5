"""How sure a metric is: intervals and paired comparisons that resample users, not targets.

Targets of one user resemble each other, so the user is the unit that is drawn; drawing targets would make intervals too
narrow. Everything is a pure function of its arguments and a seed.

B targets, U users, R draws, m metrics.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import nan

import numpy as np

from patchrec.history import FloatArray, IntArray

DRAWS = 2_000
FLIPS = 10_000
MOST_FLIPS = 100_000
FEW_USERS = 30
_MANY_USERS = 300  # from here on nothing is simulated: intervals are as wide as they should be
_NARROW = 0.94  # coverage of a 95 % interval below which it is told
_EXACT_USERS = 13  # 2^13 sign patterns are fewer than FLIPS
_BLOCK = 1 << 22  # numbers drawn at a time


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over targets with its 95 % interval; low and high are nan where fewer than two users were drawn from."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """Mean of (first - second) over shared targets, its 95 % interval and a two-sided p-value."""

    difference: float
    low: float
    high: float
    p_value: float


def few_users_note(num_users: int) -> str | None:
    """A sentence where there are too few users to trust an interval, else None.

    Resampling under about 30 clusters makes intervals too narrow, and with fewer than 6 no sign-flip test can reach
    p < 0.05 (2 / 2^5 = 0.0625).

    Source: Cameron, Gelbach and Miller, "Bootstrap-based improvements for inference with clustered errors", 2008.
    """
    if num_users >= FEW_USERS:
        return None
    if num_users == 1:
        return "one user is too few for an interval; read the values as this user's"
    return f"{num_users} users are too few for a trustworthy interval (at least {FEW_USERS}); read it as too narrow"


def interval_note(values: FloatArray, users: IntArray) -> str | None:
    """A sentence where a 95 % interval of these targets is too narrow to be taken at its word, else None.

    Args:
        values: (B,) value of each target under the metric that matters most.
        users: (B,) user of each target.
    """
    num_users = len(np.unique(users))
    if num_users < FEW_USERS:
        return few_users_note(num_users)
    if num_users >= _MANY_USERS or (coverage := simulated_coverage(values, users)) >= _NARROW:
        return None
    return (
        f"a 95 % interval of these {num_users} users holds the true mean in about {coverage:.0%} of cases (simulated); "
        "read it as too narrow"
    )


def simulated_coverage(values: FloatArray, users: IntArray, *, draws: int = DRAWS, seed: int = 0) -> float:
    """How often the interval of `bootstrap` holds the true mean, where the users at hand are all the users there are.

    As many users are drawn from them as they are, again and again; each sample gets its interval, and the mean of all
    is what it should hold. The draws that make the intervals are the same for every sample.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 18 (the double bootstrap).
    """
    sums, counts = per_user(values[:, None], users)
    num_users, true = len(counts), float(values.mean())
    times = np.concatenate(list(_user_draws(num_users, draws, seed)))  # (R, U)
    samples = np.random.default_rng([seed, 1]).integers(0, num_users, size=(num_users, draws))
    means = (times @ sums[samples, 0]) / (times @ counts[samples])  # (R, samples)
    low, high = np.quantile(means, [0.025, 0.975], axis=0)
    return float(np.mean((low <= true) & (true <= high)))


def bootstrap(values: FloatArray, users: IntArray, *, draws: int = DRAWS, seed: int = 0) -> list[Interval]:
    """Interval of the mean of every column, by the percentile bootstrap over users (cluster bootstrap).

    Each draw takes U users with replacement with all their targets and averages over the targets drawn.

    Args:
        values: (B, m) value of each target under each metric; all metrics see the same draws.
        users: (B,) user of each target.
        draws: R.
        seed: Fixes the draws.

    Returns:
        m intervals; an empty input gives nan.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
    """
    if len(values) == 0:
        return [Interval(nan, nan, nan)] * values.shape[1]
    means = values.mean(axis=0)
    sums, counts = per_user(values, users)
    if len(counts) < 2:
        return [Interval(float(mean), nan, nan) for mean in means]
    drawn = np.concatenate(
        [(times @ sums) / (times @ counts)[:, None] for times in _user_draws(len(counts), draws, seed)]
    )  # (R, m)
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    return [Interval(float(v), float(a), float(b)) for v, a, b in zip(means, low, high, strict=True)]


def paired(
    first: FloatArray, second: FloatArray, users: IntArray, *, flips: int = FLIPS, seed: int = 0
) -> PairedDifference:
    """Compare two runs on the same targets.

    Args:
        first: (B,) value of each target under the first run.
        second: (B,) the same targets under the second.
        users: (B,) user of each target.
        flips: Sign patterns to draw.
        seed: Fixes the draws.
    """
    differences = (first - second)[:, None]
    interval = bootstrap(differences, users, seed=seed)[0]
    p_value = sign_flip(differences[:, 0], users, flips=flips, seed=seed)
    return PairedDifference(interval.value, interval.low, interval.high, p_value)


def num_comparisons(num_runs: int, *, picked: bool) -> int:
    """How many comparisons a table of runs against a reference stands for.

    Args:
        num_runs: The reference among them.
        picked: The reference is the run that is best on the targets compared. Which pairs are shown then depends on
            all of them, so all count.
    """
    return num_runs * (num_runs - 1) // 2 if picked else num_runs - 1


def flips_for(comparisons: int) -> int:
    """Sign patterns to draw where so many comparisons are corrected for: enough that p can still fall below 0.05."""
    return max(FLIPS, min(200 * comparisons, MOST_FLIPS))


def sign_flip(differences: FloatArray, users: IntArray, *, flips: int = FLIPS, seed: int = 0) -> float:
    """Two-sided p-value of "neither run is better" by flipping the sign of all differences of a user at once.

    Under that hypothesis the two runs could swap names for any user. All 2^U patterns are tried where they are few;
    else `flips` are drawn, and the pattern seen counts as one of them, so that p is never 0.

    Args:
        differences: (B,) first - second for each target.
        users: (B,) user of each target.
        flips: Patterns to draw.
        seed: Fixes them.

    Source: Fisher, "The Design of Experiments", 1935; the +1 is Phipson and Smyth, "Permutation p-values should never
    be zero", 2010.
    """
    if len(differences) == 0:
        return nan
    sums = per_user(differences[:, None], users)[0][:, 0]
    seen = abs(sums.sum()) - 1e-12 * np.abs(sums).sum()  # patterns equal but for rounding count as equal
    if len(sums) <= _EXACT_USERS:
        patterns = np.arange(2 ** len(sums))[:, None] >> np.arange(len(sums)) & 1
        return float(np.mean(np.abs((2 * patterns - 1) @ sums) >= seen))
    generator = np.random.default_rng(seed)
    block = max(1, _BLOCK // len(sums))
    extreme = 0
    for start in range(0, flips, block):
        signs = generator.integers(0, 2, size=(min(block, flips - start), len(sums)), dtype=np.int8) * 2 - 1
        extreme += int(np.count_nonzero(np.abs(signs @ sums) >= seen))
    return (1 + extreme) / (1 + flips)


def holm(p_values: Sequence[float], comparisons: int | None = None) -> list[float]:
    """Adjust p-values of several comparisons so that the chance of any false finding stays below the level.

    Args:
        p_values: Of those shown; nan stays nan.
        comparisons: How many there are in all; those not shown count as not significant, which can only raise the
            others. None: all are shown.

    Source: Holm, "A simple sequentially rejective multiple test procedure", 1979.
    """
    adjusted = [nan] * len(p_values)
    order = sorted((p, index) for index, p in enumerate(p_values) if p == p)  # noqa: PLR0124 (nan stays nan)
    largest, all_of_them = 0.0, len(order) if comparisons is None else comparisons
    for place, (p, index) in enumerate(order):
        largest = max(largest, min(1.0, (all_of_them - place) * p))
        adjusted[index] = largest
    return adjusted


def per_user(values: FloatArray, users: IntArray) -> tuple[FloatArray, FloatArray]:
    """(U, m) sums and (U,) numbers of targets of every user, users ascending."""
    _, number = np.unique(users, return_inverse=True)
    counts = np.bincount(number).astype(np.float64)
    sums = np.zeros((len(counts), values.shape[1]))
    np.add.at(sums, number, values)
    return sums, counts


def _user_draws(num_users: int, draws: int, seed: int) -> Iterator[FloatArray]:
    """How often each user is drawn: R rows of U, in blocks of bounded size."""
    generator = np.random.default_rng(seed)
    share = np.full(num_users, 1 / num_users)
    block = max(1, _BLOCK // num_users)
    for start in range(0, draws, block):
        yield generator.multinomial(num_users, share, size=min(block, draws - start)).astype(np.float64)
