"""The schedule of patch pre-training: ever more items become item patches, or are left out for comparison.

Source: PatchRec (SIGIR 2025), stage 1: each item is compressed with probability p = step / total steps; its Table 4 has
a model whose items are dropped instead.
"""

from typing import Literal

from pydantic import Field

from patchrec.history import History
from patchrec.layout import Grain, Layout
from patchrec.options import Options
from patchrec.strategy import Moment, Strategy


class PretrainingOptions(Options):
    """How the probability of compressing an item grows with training, and what such an item becomes."""

    schedule: Literal["linear", "none"] = Field(
        "linear", description="compress with probability step / total steps, or never"
    )
    into: Literal["patch", "nothing"] = Field(
        "patch", description="what a compressed item becomes: its patch, or nothing (an ablation)"
    )


def plan(history: History, options: PretrainingOptions, moment: Moment) -> Layout:
    """Each item as an item patch with probability p, else as text.

    Without draws (evaluation) nothing is left to chance: item patches where p is 1, text below. Where items are dropped
    the newest stays, so that something is there to go on from.
    """
    n = len(history)
    p = moment.progress if options.schedule == "linear" else 0.0
    compressed = [p >= 1] * n if moment.draws is None else (moment.draws < p).tolist()
    grain = Grain.ITEM
    if options.into == "nothing":
        grain, compressed[-1:] = Grain.DROPPED, [False] * min(n, 1)
    return Layout.of((i, i + 1, grain if patch else Grain.TEXT) for i, patch in enumerate(compressed))


STRATEGY = Strategy(
    "patch-pretraining",
    "each item as an item patch with probability step / total steps, else text",
    plan,
    PretrainingOptions,
)
