"""What the session's title run is, for the tests that take it."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Titles:
    """A run that ranks by titles, after patch pre-training: minutes of training, no more.

    Attributes:
        comparison: The untrained model and the run, by log_prob on the same targets.
    """

    run: str
    comparison: dict[str, Any]
