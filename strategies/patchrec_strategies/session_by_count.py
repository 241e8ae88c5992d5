"""The whole history as sessions of a fixed number of items."""

from pydantic import Field

from patchrec.history import History
from patchrec.layout import Layout
from patchrec.options import Options
from patchrec.strategy import Moment, Strategy
from patchrec_strategies.sessions import GROUPS_HELP, Groups, by_count, counted_from, session_spans


class CountOptions(Options):
    """L items per session, counted from one end."""

    L: int = Field(5, ge=1, description="items per session")
    groups: Groups | None = Field(None, description=GROUPS_HELP)


def plan(history: History, options: CountOptions, moment: Moment) -> Layout:
    """Every L items as one session patch."""
    return Layout.of(session_spans(by_count(len(history), options.L, counted_from(history, options.groups))))


STRATEGY = Strategy("session-by-count", "every L items as one session patch", plan, CountOptions)
