"""Options that come from what a command names: a strategy, a head, a baseline; built from their options models.

A field `L: int` of any strategy is the option `--L`. Several may share a name; what is chosen checks the value, and
refuses what is not its own.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer
from typer.main import get_command

from patchrec.errors import PluginError, UsageError, flag_of
from patchrec_cli.command import Command, Sections, write_sections
from patchrec_cli.layers import Given, Members, members_of

if TYPE_CHECKING:
    from patchrec.options import Options
    from patchrec.recommender import Kind
    from patchrec.strategy import Strategy

VALUES = "patchrec.named-options"
WORDS = "patchrec.words"
SETTINGS = "patchrec.named-settings"
SWITCH = "yes|no"  # the type of an option that is on or off


@dataclass(frozen=True, slots=True)
class Family:
    """What of a kind can be named on the command line.

    Attributes:
        what: In words, such as "strategy".
        how: How one is named, such as "--strategy NAME".
        command: What makes a run with it.
        default: Named where nothing is; None: nothing is.
        members: Everything that can be named, by name.
        many: Too many for the options of all: help without a name lists the members.
    """

    what: str
    how: str
    command: str
    default: str | None
    members: "Callable[[], dict[str, Strategy] | dict[str, Kind]]"
    many: bool = False

    def find(self, name: str) -> "Strategy | Kind":
        """The member of a name.

        Raises:
            NotFoundError: There is none; the message guesses and lists. UsageError: It is of another family.
        """
        from patchrec.errors import not_found
        from patchrec.plugins import find_strategy

        if self.what == "strategy":
            return find_strategy(name)
        members = self.members()
        if name in members:
            return members[name]
        other = next((family for family in (HEADS, BASELINES) if name in family.members()), None)
        if other is not None:
            command = other.command.replace("NAME", name)
            raise UsageError(f"{name!r} is a {other.what}, not a {self.what}; make one with `patchrec {command}`")
        raise not_found(self.what, name, members)

    def named_in(self, words: Sequence[str]) -> str | None:
        """The member that a command line names, as far as it can be told before it is read; None: none that there is.

        A value of an option that happens to be called like a member is taken for one.
        """
        flag, _, _ = self.how.rpartition(" ")
        given = [word.removeprefix(f"{flag}=") for word in words if word.startswith(f"{flag}=")] if flag else [*words]
        given += [value for option, value in pairwise(words) if option == flag]
        members = self.members()
        return next((name for name in given if name in members), None)


def _strategies() -> "dict[str, Strategy]":
    from patchrec.plugins import strategies

    return dict(sorted(strategies().items()))


def _heads() -> "dict[str, Kind]":
    from patchrec.plugins import recommenders

    return {name: kind for name, kind in recommenders().items() if kind.is_head}


def _baselines() -> "dict[str, Kind]":
    from patchrec.plugins import recommenders

    return {name: kind for name, kind in recommenders().items() if kind.is_baseline}


STRATEGIES = Family("strategy", "--strategy NAME", "finetune --strategy NAME", None, _strategies)
HEADS = Family("head", "--head NAME", "finetune --head NAME", "title", _heads)
BASELINES = Family("baseline", "NAME", "baseline NAME", None, _baselines, many=True)


class NamedCommand(Command):
    """A command that also takes the options of all members of its families, shown under the member's name.

    Attributes:
        families: Whose members it names.
        elsewhere: Whose members are named by another command: who names one here, with its options, is told which.
    """

    families: ClassVar[tuple[Family, ...]] = (STRATEGIES,)
    elsewhere: ClassVar[tuple[Family, ...]] = ()

    def get_params(self, ctx: Any) -> list[Any]:
        """Add the members' options to the command's own, and those that belong elsewhere: read, and then refused."""
        params = super().get_params(ctx)
        for families in (self.families, self.elsewhere):
            taken = frozenset(flag for param in params for flag in (*param.opts, *param.secondary_opts))
            models = tuple(member.options for family in families for member in family.members().values())
            params = [*params, *build_params(models, taken)]
        return params

    def members(self) -> Members:
        """What can be named, with the options of each."""
        named = {name: list(m.options.model_fields) for family in self.families for name, m in family.members().items()}
        return Members(" or ".join(family.what for family in self.families), named)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Remember the words for the help, which is written before they are read."""
        ctx.meta[WORDS] = tuple(args)
        return super().parse_args(ctx, args)

    def _given(self, ctx: Any) -> dict[str, Given]:
        """Of the command's own options; what is set of those of members waits until one is named."""
        words, tree = ctx.command_path.split()[1:], ctx.default_map or {}
        ctx.meta[SETTINGS] = members_of(self.members(), words, tree)
        return super()._given(ctx)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the command's own options, then those of the members that are named, or of all."""
        words = ctx.meta.get(WORDS, ())
        sections: Sections = {}
        for family in self.families:
            name = family.named_in(words)
            members = family.members() if name is None else {name: family.find(name)}
            if family.many and name is None and words:
                heading = f"{family.what.capitalize()}s (one's options: `{ctx.command_path} NAME --help`)"
                sections[heading] = [(member.name, member.summary) for member in members.values()]
            else:
                sections |= {f"Options of {family.what} {name}": records(member) for name, member in members.items()}
        write_sections(ctx, formatter, super().get_params(ctx), sections)


class StrategyCommand(NamedCommand):
    """A command that names a strategy."""


class FinetuneCommand(NamedCommand):
    """A command that names a strategy and a head."""

    families = (STRATEGIES, HEADS)


class BaselineCommand(NamedCommand):
    """A command that names a baseline."""

    families = (BASELINES,)
    elsewhere = (HEADS,)


@lru_cache(maxsize=32)
def build_params(models: "tuple[type[Options], ...]", taken: frozenset[str]) -> list[Any]:
    """One parameter for each distinct option of some models that the command does not have itself.

    A call asks for them several times, and they depend on nothing else.
    """
    switches: dict[str, bool] = {}
    for model in models:
        for name, field in model.model_fields.items():
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


def option_values(ctx: typer.Context, family: Family, name: str | None) -> dict[str, Any]:
    """The options of a family's named member: from the command line, else from settings; it has accepted them.

    They are checked here so that a slip is told before a model is loaded.

    Raises:
        NotFoundError: No such member.
        UsageError: Options without what they belong to, or values that it refuses.
        PluginError: The chosen member has an option that the command itself uses.
    """
    families = (family, *getattr(ctx.command, "elsewhere", ()))
    known = {field for one in families for member in one.members().values() for field in member.options.model_fields}
    values = {field: value for field, value in ctx.meta.get(VALUES, {}).items() if field in known}
    name = name or family.default
    if name is None:
        if values:
            flags = ", ".join(map(flag_of, values))
            raise UsageError(f"{flags} belongs to a {family.what}, and none is named; add {family.how}")
        return {}
    own = {flag for param in ctx.command.params for flag in param.opts}
    chosen = family.find(name)
    for field in chosen.options.model_fields:
        if flag_of(field) in own:
            raise PluginError(
                f"{family.what} {name!r} names an option {flag_of(field)}, which `{ctx.command_path}` uses itself; "
                "the plugin has to rename it"
            )
    settings: dict[str, Given] = ctx.meta.get(SETTINGS, {}).get(name, {})
    taken = {field: given for field, given in settings.items() if field not in values}
    values |= {field: given.value for field, given in taken.items()}
    try:
        chosen.bind(values)
    except UsageError as error:
        whence = ", ".join(f"{flag_of(field)} from {given.origin}" for field, given in taken.items())
        raise UsageError(f"{error} ({whence})" if taken else str(error)) from error
    return values


def records(member: "Strategy | Kind") -> list[tuple[str, str]]:
    """The help of a member's options."""
    from patchrec.operations.strategies import describe_options

    return [option_record(option) for option in describe_options(member.options)]


def option_record(option: dict[str, Any]) -> tuple[str, str]:
    """The help of one option: how it is written, and what it means with its default."""
    flag, default = flag_of(option["name"]), option["default"]
    note = "required" if option["required"] else f"default: {default}" if default is not None else ""
    written = f"{flag} / --no-{flag[2:]}" if option["type"] == SWITCH else f"{flag} <{option['type']}>"
    return written, f"{option['help']}  [{note}]" if note else option["help"]
