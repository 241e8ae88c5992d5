"""The whole history as sessions by time: fixed windows, or visits that end with a pause."""

from typing import Self

from pydantic import Field, model_validator

from patchrec.history import History
from patchrec.layout import Layout
from patchrec.options import Options
from patchrec.strategy import Moment, Strategy
from patchrec_strategies.sessions import GROUPS_HELP, Duration, Groups, by_time, session_spans


class TimeWindowOptions(Options):
    """Exactly one of a window and a gap."""

    window: Duration | None = Field(None, description="length of a session, such as 12h or 7d")
    gap: Duration | None = Field(None, description="a pause longer than this starts a session, such as 30m")
    groups: Groups | None = Field(None, description=GROUPS_HELP)

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.window is None) == (self.gap is None):
            raise ValueError("give exactly one of --window (such as 7d) and --gap (such as 30m)")
        return self


def plan(history: History, options: TimeWindowOptions, moment: Moment) -> Layout:
    """Every window, or every visit, as one session patch."""
    return Layout.of(session_spans(by_time(history, options.window, options.gap, options.groups)))


STRATEGY = Strategy(
    "session-by-time-window",
    "items of one time window, or between two pauses, as one session patch",
    plan,
    TimeWindowOptions,
)
