"""The contract of a compression strategy: options, a moment of training, and a function that plans a layout.

A strategy only plans. It is pure Python and NumPy: no torch, no files, no clock, no random state of its own.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from patchrec.errors import PatchrecError, PluginError
from patchrec.layout import Layout
from patchrec.options import Options, bind, check_named, label

if TYPE_CHECKING:
    from patchrec.history import FloatArray, History, Measure


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """Where training stands when a layout is planned.

    Attributes:
        progress: 0 at the first step of training, 1 at the last and always when evaluating.
        draws: (n,) uniform numbers in [0, 1), one for each history position: the only randomness a strategy may
            use. They are a pure function of (seed, epoch, step, user, position). None means evaluation: be certain.
    """

    progress: float = 1.0
    draws: FloatArray | None = None


EVALUATION = Moment()

Plan: TypeAlias = "Callable[[History, Any, Moment], Layout]"


@dataclass(frozen=True, slots=True)
class Strategy:
    """A named way to lay out a history.

    Attributes:
        name: Lower case with hyphens, unique among all plugins, such as "pft-s".
        summary: One line for listings.
        plan: `plan(history, options, moment) -> Layout` with `len(layout) == len(history)`.
        options: The model whose fields are the strategy's options.

    Raises:
        PluginError: One of them is not what it must be.
    """

    name: str
    summary: str
    plan: Plan
    options: type[Options] = Options

    def __post_init__(self) -> None:
        check_named("strategy", self.name, self.summary, self.options)
        if not _takes_three(self.plan):
            raise PluginError(f"strategy {self.name!r}: plan must be a function plan(history, options, moment)")

    def bind(self, values: Mapping[str, object] | None = None) -> Planner:
        """Check option values and return the strategy ready to plan. A value of None counts as not given.

        Raises:
            UsageError: An unknown option or a value out of range; the message names the choices.
        """
        return Planner(self, bind(f"strategy {self.name}", self.options, values))


@dataclass(frozen=True, slots=True)
class Planner:
    """A strategy with its option values.

    Attributes:
        measure: What tells each history how long its items are; None where no model is known.
    """

    strategy: Strategy
    options: Options
    measure: Measure | None = field(default=None, compare=False, repr=False)

    @property
    def values(self) -> dict[str, Any]:
        """Option values as plain JSON data."""
        return self.options.values

    @property
    def label(self) -> str:
        """Name and options for tables, such as "pft-s L=5": numbers always, words where they are not the default."""
        return label(self.strategy.name, self.options, numbers=True)

    def plan(self, history: History, moment: Moment = EVALUATION) -> Layout:
        """Plan one history, and hold the strategy to its contract.

        Raises:
            UsageError: The options do not fit the data, such as sessions by time without timestamps.
            PluginError: The strategy failed, or its layout does not cover the history.
        """
        name = self.strategy.name
        if self.measure is not None:
            history = replace(history, measure=self.measure)
        try:
            layout = self.strategy.plan(history, self.options, moment)
        except PatchrecError:
            raise
        except BaseException as error:  # an extension may raise what is no Exception
            if isinstance(error, KeyboardInterrupt):
                raise
            raise PluginError(
                f"strategy {name!r} failed on a history of {len(history)}: {type(error).__name__}: {error}"
            ) from error
        if not isinstance(layout, Layout):
            raise PluginError(f"strategy {name!r} returned {type(layout).__name__}, not a Layout")
        if len(layout) != len(history):
            raise PluginError(
                f"strategy {name!r} covered {len(layout)} of {len(history)} history positions; "
                "give dropped positions the grain 'dropped'"
            )
        return layout


def _takes_three(plan: object) -> bool:
    if not callable(plan):
        return False
    try:
        inspect.signature(plan).bind(None, None, None)
    except TypeError:
        return False
    except ValueError:  # a compiled function without a signature: the first plan will tell
        return True
    return True
