"""What a model would read of one history under each strategy: a run's own first. No model runs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from patchrec import plugins
from patchrec.errors import PatchrecError
from patchrec.history import History
from patchrec.layout import Span
from patchrec.store.runs import Run
from patchrec.strategy import Planner, Strategy


@dataclass(frozen=True, slots=True)
class Reading:
    """A history as one strategy lays it out.

    Attributes:
        strategy: Its name. label: With its options.
        is_own: Whether it is the run's.
        num_units: Titles, item patches and session patches.
        spans: Over the history, oldest first.
        problem: Why there is no layout, in one line; None where there is one.
    """

    strategy: str
    label: str
    is_own: bool
    num_units: int
    spans: tuple[Span, ...]
    problem: str | None = None


def readings(run: Run, history: History) -> list[Reading]:
    """The layouts of a history: of the run's strategy, where it has one, then of all others, those without one last.

    Others take those of the run's options that they have too (`L`, `M`), and else their defaults.
    """
    own = run.config.strategies[-1] if run.config.strategies else None
    given = {key: value for key, value in own.options.items() if value is not None} if own else {}
    found = [_reading(own.name, lambda: plugins.plan_for(own), history, is_own=True)] if own else []
    for name, strategy in plugins.strategies().items():
        if own is None or name != own.name:
            found.append(_reading(name, _bound(strategy, given), history, is_own=False))
    return sorted(found, key=lambda one: (not one.is_own, one.problem is not None))


def _bound(strategy: Strategy, given: dict[str, Any]) -> Callable[[], Planner]:
    shared = {key: value for key, value in given.items() if key in strategy.options.model_fields}
    return lambda: strategy.bind(shared)


def _reading(name: str, bound: Callable[[], Planner], history: History, *, is_own: bool) -> Reading:
    label = name
    try:
        planner = bound()
        label = planner.label
        layout = planner.plan(history)
    except PatchrecError as error:
        return Reading(name, label, is_own, 0, (), " ".join(str(error).split()))
    return Reading(name, label, is_own, layout.num_units, layout.spans)
