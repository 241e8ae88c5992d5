"""PFT-S: patch fine-tuning with session patches.

Source: PatchRec (SIGIR 2025), groups of L counted from the newest item: the newest group as text, the group before
as item patches, all earlier groups as session patches. Groups by time and anchored groups are ours.
"""

from typing import Any

from pydantic import Field, model_validator

from patchrec.history import History
from patchrec.layout import Grain, Layout
from patchrec.options import Options
from patchrec.strategy import Moment, Strategy
from patchrec_strategies.sessions import (
    GROUPS_HELP,
    SESSIONS_HELP,
    Duration,
    Groups,
    Sessions,
    by_column,
    by_count,
    by_time,
    counted_from,
    session_spans,
)


class PFTSOptions(Options):
    """Groups by one of a count, a window, a gap and the sessions of the data set."""

    L: int | None = Field(None, ge=1, description="items per group; 5 unless another grouping is given")
    window: Duration | None = Field(None, description="group by time windows of this length, such as 12h or 7d")
    gap: Duration | None = Field(None, description="a pause longer than this starts a group, such as 30m")
    sessions: Sessions | None = Field(None, description=SESSIONS_HELP)
    groups: Groups | None = Field(None, description=GROUPS_HELP)

    @model_validator(mode="before")
    @classmethod
    def _one_of_three(cls, values: dict[str, Any]) -> dict[str, Any]:
        given = [name for name in ("L", "window", "gap", "sessions") if values.get(name) is not None]
        if len(given) > 1:
            shown = " and ".join("--" + name for name in given)
            raise ValueError(f"give one of --L, --window and --gap, or --sessions column, got {shown}")
        return values if given else values | {"L": 5}


def plan(history: History, options: PFTSOptions, moment: Moment) -> Layout:
    """The newest group as text, the group before as item patches, earlier groups as session patches."""
    if options.L is not None:
        bounds = by_count(len(history), options.L, counted_from(history, options.groups))
    elif options.sessions is not None:
        bounds = by_column(history)
    else:
        bounds = by_time(history, options.window, options.gap, options.groups)
    *_, before, newest, _ = [0, 0, *bounds]
    return Layout.of(
        [*session_spans(bounds[:-2]), (before, newest, Grain.ITEM), (newest, len(history), Grain.TEXT)],
    )


STRATEGY = Strategy(
    "pft-s",
    "the newest group as text, the group before as item patches, the rest as session patches",
    plan,
    PFTSOptions,
)
