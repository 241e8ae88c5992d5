"""The older, the coarser: sessions that grow with age, so a long history costs about log n patches."""

from pydantic import Field

from patchrec.history import History
from patchrec.hookspecs import hookimpl
from patchrec.layout import Grain, Layout
from patchrec.options import Options
from patchrec.strategy import Moment, Strategy


class RecencyOptions(Options):
    M: int = Field(5, ge=0, description="newest items kept as text")
    growth: int = Field(2, ge=2, description="how much larger each older session is")


def plan(history: History, options: RecencyOptions, moment: Moment) -> Layout:
    """The newest M items as text; going back in time, sessions of growth, growth², growth³, ... items."""
    stop = max(0, len(history) - options.M)
    spans = [(stop, len(history), Grain.TEXT)]
    size = options.growth
    while stop > 0:
        start = max(0, stop - size)
        spans.append((start, stop, Grain.SESSION))
        stop, size = start, size * options.growth
    return Layout.of(reversed(spans))


STRATEGY = Strategy("recency", "the newest M items as text, older ones in ever larger sessions", plan, RecencyOptions)


@hookimpl
def patchrec_strategies() -> list[Strategy]:
    return [STRATEGY]
