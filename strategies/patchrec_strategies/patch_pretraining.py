"""The schedule of patch pre-training: ever more items become item patches.

Source: PatchRec (SIGIR 2025), stage 1: each item is compressed with probability p = step / total steps.
"""

from typing import Literal

from pydantic import Field

from patchrec.history import History
from patchrec.layout import Grain, Layout
from patchrec.options import Options
from patchrec.strategy import Moment, Strategy


class PretrainingOptions(Options):
    """How the probability of compressing an item grows with training."""

    schedule: Literal["linear", "none"] = Field(
        "linear", description="compress with probability step / total steps, or never"
    )


def plan(history: History, options: PretrainingOptions, moment: Moment) -> Layout:
    """Each item as an item patch with probability p, else as text.

    Without draws (evaluation) nothing is left to chance: item patches where p is 1, text below.
    """
    n = len(history)
    p = moment.progress if options.schedule == "linear" else 0.0
    if moment.draws is None:
        return Layout.of([(0, n, Grain.ITEM if p >= 1 else Grain.TEXT)])
    compressed = (moment.draws < p).tolist()
    return Layout.of((i, i + 1, Grain.ITEM if patch else Grain.TEXT) for i, patch in enumerate(compressed))


STRATEGY = Strategy(
    "patch-pretraining",
    "each item as an item patch with probability step / total steps, else text",
    plan,
    PretrainingOptions,
)
