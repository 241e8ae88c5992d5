"""A strategy that sees the newest items of a history alone, whatever the window holds."""

from dataclasses import replace
from typing import Any

from patchrec.data.histories import newest
from patchrec.history import History
from patchrec.layout import Grain, Layout
from patchrec.strategy import Moment, Planner


def of_newest(planner: Planner, count: int) -> Planner:
    """A planner that lays out the newest items as another would if there were no others; it drops the rest.

    Args:
        planner: What lays them out.
        count: Items at most; of anchored windows half of that at least.
    """

    def plan(history: History, options: Any, moment: Moment) -> Layout:
        cut = newest(history, count, "anchored" if history.anchored else "sliding")
        left = len(history) - len(cut)
        draws = None if moment.draws is None else moment.draws[left:]
        own = planner.strategy.plan(cut, options, replace(moment, draws=draws))
        kept = ((span.start + left, span.stop + left, span.grain) for span in own.spans)
        return Layout.of([(0, left, Grain.DROPPED), *kept])

    return replace(planner, strategy=replace(planner.strategy, plan=plan))
