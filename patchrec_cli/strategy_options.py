"""Options that come from strategies: built from each strategy's options model when a command needs them.

A field `L: int` of any strategy is the option `--L`. Strategies may share a name; the chosen strategy checks the
value, and refuses what is not its own.
"""

import inspect
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.main import get_command

from patchrec.errors import PluginError, UsageError, flag_of
from patchrec_cli.command import Command, write_sections

if TYPE_CHECKING:
    from patchrec.strategy import Strategy

VALUES = "patchrec.strategy-options"
PARAMS = "patchrec.strategy-params"
SWITCH = "yes|no"  # the type of an option that is on or off


class StrategyCommand(Command):
    """A command that also takes the options of every strategy, shown under the strategy's name."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Add the strategies' options to the command's own, made once for each call."""
        own = super().get_params(ctx)
        made = ctx.meta.setdefault(PARAMS, {})
        if self.name not in made:
            taken = {flag for param in own for flag in (*param.opts, *param.secondary_opts)}
            made[self.name] = build_params(known_strategies(), taken)
        return [*own, *made[self.name]]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the command's own options, then a section for each strategy that has any."""
        from patchrec.operations.strategies import describe_options

        sections = {
            f"Options of strategy {strategy.name}": [option_record(option) for option in describe_options(strategy)]
            for strategy in known_strategies()
        }
        write_sections(ctx, formatter, super().get_params(ctx), sections)


def known_strategies() -> "list[Strategy]":
    """Every strategy, built in or from plugins, by name."""
    from patchrec.plugins import strategies

    return [strategy for _, strategy in sorted(strategies().items())]


def build_params(strategies: "Iterable[Strategy]", taken: set[str]) -> list[Any]:
    """One parameter for each distinct option of the strategies that the command does not have itself."""
    switches: dict[str, bool] = {}
    for strategy in strategies:
        for name, field in strategy.options.model_fields.items():
            switches[name] = switches.get(name, True) and field.annotation is bool

    def remember(ctx: typer.Context, param: typer.CallbackParam, value: object) -> None:
        if value is not None:
            ctx.meta.setdefault(VALUES, {})[param.name] = value

    def holder(**_: object) -> None:
        """Carry the signature that Typer reads."""

    parameters = []
    for name, switch in switches.items():
        flag = flag_of(name)
        if flag in taken:
            continue
        decl = f"{flag}/--no-{flag[2:]}" if switch else flag
        option = typer.Option(decl, callback=remember, expose_value=False)
        kind: Any = Annotated[bool | None, option] if switch else Annotated[str | None, option]
        parameters.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind))
    holder.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    holder.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    carrier = typer.Typer(add_completion=False)
    carrier.command()(holder)
    return list(get_command(carrier).params)


def option_values(ctx: typer.Context, strategy: str | None) -> dict[str, Any]:
    """The strategy options that were given on the command line, as text; the strategy has accepted them.

    They are checked here so that a slip is told before a model is loaded.

    Raises:
        NotFoundError: No such strategy.
        UsageError: Options without their strategy, or values that it refuses.
        PluginError: The chosen strategy has an option that the command itself uses.
    """
    from patchrec.plugins import find_strategy

    values: dict[str, Any] = dict(ctx.meta.get(VALUES, {}))
    if strategy is None:
        if values:
            flags = ", ".join(flag_of(name) for name in values)
            raise UsageError(f"{flags} belongs to a strategy, and none is named; add --strategy NAME")
        return {}
    own = {flag for param in ctx.command.params for flag in param.opts}
    chosen = find_strategy(strategy)
    for name in chosen.options.model_fields:
        if flag_of(name) in own:
            raise PluginError(
                f"strategy {strategy!r} names an option {flag_of(name)}, which `{ctx.command_path}` uses itself; "
                "the plugin has to rename it"
            )
    chosen.bind(values)
    return values


def option_record(option: dict[str, Any]) -> tuple[str, str]:
    """The help of one option: how it is written, and what it means with its default."""
    flag, default = flag_of(option["name"]), option["default"]
    note = "required" if option["required"] else f"default: {default}" if default is not None else ""
    written = f"{flag} / --no-{flag[2:]}" if option["type"] == SWITCH else f"{flag} <{option['type']}>"
    return written, f"{option['help']}  [{note}]" if note else option["help"]
