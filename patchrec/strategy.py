"""The contract of a compression strategy: options, a moment of training, and a function that plans a layout.

A strategy only plans. It is pure Python and NumPy: no torch, no files, no clock, no random state of its own.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from pydantic import BaseModel, ConfigDict, ValidationError

from patchrec.errors import PatchrecError, PluginError, UsageError, flag_of, unknown, wrong_values
from patchrec.layout import Layout

if TYPE_CHECKING:
    from patchrec.history import FloatArray, History


class StrategyOptions(BaseModel):
    """Base of every options model. Each field is an option of the command line: `L: int` is `--L`.

    A field's description (`Field(5, ge=1, description="...")`) is the option's help.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)


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
    options: type[StrategyOptions] = StrategyOptions

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", self.name):
            raise PluginError(f"strategy name {self.name!r}: use lower-case letters, digits and single hyphens")
        if not isinstance(self.summary, str) or not self.summary.isprintable() or not self.summary.strip():
            raise PluginError(f"strategy {self.name!r}: the summary must be one line of text, got {self.summary!r}")
        if not _takes_three(self.plan):
            raise PluginError(f"strategy {self.name!r}: plan must be a function plan(history, options, moment)")
        if not (isinstance(self.options, type) and issubclass(self.options, StrategyOptions)):
            raise PluginError(f"strategy {self.name!r}: options must be a subclass of StrategyOptions")

    def bind(self, values: Mapping[str, object] | None = None) -> Planner:
        """Check option values and return the strategy ready to plan. A value of None counts as not given.

        Raises:
            UsageError: An unknown option or a value out of range; the message names the choices.
        """
        given = {key: value for key, value in (values or {}).items() if value is not None}
        fields = self.options.model_fields
        for key in given:
            if not fields:
                raise UsageError(f"strategy {self.name} has no options, got {flag_of(key)}")
            if key not in fields:
                raise UsageError(f"strategy {self.name}: {unknown('option', flag_of(key), map(flag_of, fields))}")
        try:
            return Planner(self, self.options.model_validate(given))
        except ValidationError as error:
            raise UsageError(f"strategy {self.name}: {wrong_values(error)}") from error


@dataclass(frozen=True, slots=True)
class Planner:
    """A strategy with its option values."""

    strategy: Strategy
    options: StrategyOptions

    @property
    def values(self) -> dict[str, Any]:
        """Option values as plain JSON data."""
        return self.options.model_dump(mode="json")

    @property
    def label(self) -> str:
        """Name and options for tables, such as "pft-s L=5": numbers always, words where they are not the default."""
        fields = self.strategy.options.model_fields
        shown = [
            f"{key}={value}"
            for key, value in self.values.items()
            if value is not None and (type(value) in (int, float) or value != fields[key].default)
        ]
        return " ".join([self.strategy.name, *shown])

    def plan(self, history: History, moment: Moment = EVALUATION) -> Layout:
        """Plan one history, and hold the strategy to its contract.

        Raises:
            UsageError: The options do not fit the data, such as sessions by time without timestamps.
            PluginError: The strategy failed, or its layout does not cover the history.
        """
        name = self.strategy.name
        try:
            layout = self.strategy.plan(history, self.options, moment)
        except PatchrecError:
            raise
        except (Exception, SystemExit) as error:
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
