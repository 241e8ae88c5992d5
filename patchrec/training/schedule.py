"""The learning rate of every step: a linear warm-up, then half a cosine down to zero. No torch."""

import math


def learning_rate_factor(step: int, total: int, warmup: float) -> float:
    """Share of the peak learning rate at a step, in (0, 1].

    The first W steps rise by 1 / (W + 1) each, so that no step is wasted at zero; step W stands at the peak; the cosine
    would reach zero at step `total`, one after the last.

    Args:
        step: Steps already taken, 0 at the first.
        total: Steps of the whole run.
        warmup: Share of the run that warms up; W is the next whole number of steps.
    """
    rising = warmup_steps(total, warmup)
    if step < rising:
        return (step + 1) / (rising + 1)
    return 0.5 * (1.0 + math.cos(math.pi * (step - rising) / max(1, total - rising)))


def warmup_steps(total: int, warmup: float) -> int:
    """Number of warm-up steps W, rounded up (rounding noise of the product aside)."""
    return math.ceil(round(total * warmup, 9))
