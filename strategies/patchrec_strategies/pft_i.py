"""PFT-I: patch fine-tuning with item patches.

Source: PatchRec (SIGIR 2025), the newest M items as text and the rest as item patches.
"""

from pydantic import Field

from patchrec.history import History
from patchrec.layout import Grain, Layout
from patchrec.options import Options
from patchrec.strategy import Moment, Strategy


class PFTIOptions(Options):
    """M newest items stay text."""

    M: int = Field(5, ge=0, description="newest items kept as text")


def plan(history: History, options: PFTIOptions, moment: Moment) -> Layout:
    """Old items as item patches, the newest M as text."""
    newest = max(0, len(history) - options.M)
    return Layout.of([(0, newest, Grain.ITEM), (newest, len(history), Grain.TEXT)])


STRATEGY = Strategy("pft-i", "the newest M items as text, the rest as item patches", plan, PFTIOptions)
