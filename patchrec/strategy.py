"""The contract of a compression strategy: options, a moment of training, and a function that plans a layout.

A strategy only plans. It is pure Python and NumPy: no torch, no files, no clock, no random state of its own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from patchrec.errors import PluginError, UsageError, unknown
from patchrec.history import FloatArray, History
from patchrec.layout import Layout


class StrategyOptions(BaseModel):
    """Base of every options model. Each field becomes an option of the command line: `L: int` is `--L`."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


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

Plan = Callable[[History, Any, Moment], Layout]


@dataclass(frozen=True, slots=True)
class Strategy:
    """A named way to lay out a history.

    Attributes:
        name: Lower case with hyphens, unique among all plugins, such as "pft-s".
        summary: One line for listings.
        plan: `plan(history, options, moment) -> Layout` with `len(layout) == len(history)`.
        options: The model whose fields are the strategy's options.
    """

    name: str
    summary: str
    plan: Plan
    options: type[StrategyOptions] = StrategyOptions

    def bind(self, values: Mapping[str, object] | None = None) -> "Planner":
        """Check option values and return the strategy ready to plan.

        Raises:
            UsageError: An unknown option or a value out of range; the message names the choices.
        """
        given = {key: value for key, value in (values or {}).items() if value is not None}
        fields = self.options.model_fields
        for key in given:
            if key not in fields:
                raise UsageError(unknown(f"option of strategy {self.name}", key, fields))
        try:
            return Planner(self, self.options.model_validate(given))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "options"
            raise UsageError(
                f"strategy {self.name}: --{where}={first.get('input')!r}: {first['msg'].lower()}"
            ) from error


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
        """Name and options for tables, such as "pft-s L=5"."""
        shown = [f"{key}={value}" for key, value in self.values.items() if value is not None]
        return " ".join([self.strategy.name, *shown])

    def plan(self, history: History, moment: Moment = EVALUATION) -> Layout:
        """Plan one history, and hold the strategy to its contract.

        Raises:
            PluginError: The strategy failed, or its layout does not cover the history.
        """
        try:
            layout = self.strategy.plan(history, self.options, moment)
        except Exception as error:
            raise PluginError(f"strategy {self.strategy.name!r} failed on a history of {len(history)}: {error}") from error
        if not isinstance(layout, Layout):
            raise PluginError(f"strategy {self.strategy.name!r} returned {type(layout).__name__}, not a Layout")
        if len(layout) != len(history):
            raise PluginError(
                f"strategy {self.strategy.name!r} covered {len(layout)} of {len(history)} history positions; "
                "give dropped positions the grain 'dropped'"
            )
        return layout
