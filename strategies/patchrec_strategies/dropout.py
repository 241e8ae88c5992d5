"""The ablation of patches: what PFT-I would compress is left out.

Source: PatchRec (SIGIR 2025), which compares its patches with dropping the same items.
"""

from pydantic import Field

from patchrec.history import History
from patchrec.layout import Grain, Layout
from patchrec.options import Options
from patchrec.strategy import Moment, Strategy


class DropoutOptions(Options):
    """M newest items are shown at all."""

    M: int = Field(5, ge=1, description="newest items kept as text; older ones are dropped")


def plan(history: History, options: DropoutOptions, moment: Moment) -> Layout:
    """The newest M items as text, nothing else."""
    newest = max(0, len(history) - options.M)
    return Layout.of([(0, newest, Grain.DROPPED), (newest, len(history), Grain.TEXT)])


STRATEGY = Strategy("dropout", "the newest M items as text, the rest dropped", plan, DropoutOptions)
