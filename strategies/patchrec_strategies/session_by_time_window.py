"""The whole history as sessions by time: fixed windows, or visits that end with a pause."""

from typing import Self

from pydantic import Field, model_validator

from patchrec.history import History
from patchrec.layout import Layout
from patchrec.options import Options
from patchrec.strategy import Moment, Strategy
from patchrec_strategies.sessions import (
    GROUPS_HELP,
    SESSIONS_HELP,
    Duration,
    Groups,
    Sessions,
    by_column,
    by_time,
    session_spans,
)


class TimeWindowOptions(Options):
    """Exactly one of a window, a gap and the sessions of the data set."""

    window: Duration | None = Field(None, description="length of a session, such as 12h or 7d")
    gap: Duration | None = Field(None, description="a pause longer than this starts a session, such as 30m")
    sessions: Sessions | None = Field(None, description=SESSIONS_HELP)
    groups: Groups | None = Field(None, description=GROUPS_HELP)

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if [self.window, self.gap, self.sessions].count(None) != 2:
            raise ValueError("give exactly one of --window (such as 7d), --gap (such as 30m) and --sessions column")
        return self


def plan(history: History, options: TimeWindowOptions, moment: Moment) -> Layout:
    """Every window, or every visit, as one session patch."""
    if options.sessions is not None:
        return Layout.of(session_spans(by_column(history)))
    return Layout.of(session_spans(by_time(history, options.window, options.gap, options.groups)))


STRATEGY = Strategy(
    "session-by-time-window",
    "items of one time window, or between two pauses, as one session patch",
    plan,
    TimeWindowOptions,
)
