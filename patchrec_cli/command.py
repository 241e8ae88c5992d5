"""How commands and groups show their help: plain text in named sections, without rich, so that it answers at once."""

from collections.abc import Iterable
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from patchrec.bounds import LARGEST, holds
from patchrec.errors import UsageError
from patchrec_cli.layers import NO_MEMBERS, Given, Members, check_names, settings_of

HELP_NAMES = {"help_option_names": ["-h", "--help"]}
OUTPUT = "Output"  # the section that comes last

Sections = dict[str, list[tuple[str, str]]]  # heading -> how each option is written, and what it means


class Command(TyperCommand):
    """A command whose options stand in one section per panel, and whose examples come first."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuse whole numbers that nothing holds.

        Raises:
            UsageError: Names the first.
        """
        pass_at_once(self.get_params(ctx))
        given = {} if ctx.resilient_parsing or "--resume" in args else self._given(ctx)
        ctx.default_map = {name: one.value for name, one in given.items()}
        try:
            rest = super().parse_args(ctx, args)
        except typer.BadParameter as error:
            wrong = error.param
            one = None if wrong is None else given.get(str(wrong.name))
            if (
                wrong is not None
                and one is not None
                and not set(wrong.opts) & {word.partition("=")[0] for word in args}
            ):
                error.message += f" (from {one.origin})"
            raise
        for param in self.params:
            value = ctx.params.get(param.name)
            if not holds(value):
                raise UsageError(
                    f"{param.opts[0]} {value}: whole numbers go up to {LARGEST:,}; see `{ctx.command_path} --help`"
                )
        return rest

    def _given(self, ctx: Any) -> dict[str, Given]:
        """What files and the environment set of this command; a run that goes on has its own settings."""
        return settings_of(self.params, ctx.command_path.split()[1:], ctx.default_map or {}, self.members())

    def members(self) -> Members:
        """What it names, with options of their own."""
        return NO_MEMBERS

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        """Write what the command does, then its examples as they stand."""
        text, examples = split_examples(self.help or "")
        with formatter.indentation():
            formatter.write_paragraph()
            formatter.write_text(text)
        if examples:
            with formatter.section("Examples"):
                formatter.write("".join(f"  {line}\n" for line in examples))

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments, options and each panel of options as a section of its own."""
        write_sections(ctx, formatter, self.get_params(ctx))


class CommandGroup(TyperGroup):
    """A group that shows its help when it is called alone."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Show the help and stop when nothing follows the group's name.

        Raises:
            UsageError: A file of settings has a key here that is no command.
        """
        pass_at_once(self.get_params(ctx))
        if ctx.parent is not None and not ctx.resilient_parsing:
            check_names(ctx.default_map or {}, (), self.list_commands(ctx), ctx.command_path)
        if not args and not ctx.resilient_parsing:
            typer.echo(ctx.get_help())
            ctx.exit()
        return super().parse_args(ctx, args)

    def summaries(self, ctx: Any) -> list[tuple[str, str]]:
        """Commands with what they do, in a line of any length."""
        return [(name, self.commands[name].get_short_help_str(1000)) for name in self.list_commands(ctx)]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write every command with all of its summary: long ones wrap."""
        with formatter.section("Commands"):
            formatter.write_dl(self.summaries(ctx))

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the commands first: they are what a reader looks for."""
        self.format_commands(ctx, formatter)
        write_sections(ctx, formatter, self.get_params(ctx))


def pass_at_once(params: Iterable[Any]) -> None:
    """Let an option that was not given pass without a check of its type: to make one, Typer imports pydantic."""
    for param in params:
        if param.required or "process_value" in vars(param):
            continue

        def process_value(ctx: Any, value: Any, param: Any = param, whole: Any = param.process_value) -> Any:
            if value is not None:
                return whole(ctx, value)
            none = () if param.multiple or param.nargs == -1 else None
            return none if param.callback is None else param.callback(ctx, param, none)

        param.process_value = process_value


def split_examples(text: str) -> tuple[str, list[str]]:
    """Take the section "Examples:" off the end of a docstring: the text before it, and its lines."""
    before, _, after = text.partition("\nExamples:\n")
    return before.rstrip(), [line.strip() for line in after.splitlines() if line.strip()]


def write_sections(ctx: Any, formatter: Any, params: Iterable[Any], more: Sections | None = None) -> None:
    """Write the help records of parameters under "Arguments", "Options" or the panel they name.

    Args:
        ctx: The context of the command.
        formatter: What collects the help.
        params: The command's parameters.
        more: Sections to write between the command's own and the last.
    """
    sections: Sections = {"Arguments": [], "Options": []}
    for param in params:
        record = param.get_help_record(ctx)
        if record is not None:
            heading = "Arguments" if param.param_type_name == "argument" else "Options"
            sections.setdefault(getattr(param, "rich_help_panel", None) or heading, []).append(record)
    last = sections.pop(OUTPUT, [])
    for heading, records in [*sections.items(), *(more or {}).items(), (OUTPUT, last)]:
        if records:
            with formatter.section(heading):
                formatter.write_dl(records)


def command_group(
    name: str, summary: str, cls: type[CommandGroup] = CommandGroup, *, completion: bool = False
) -> typer.Typer:
    """Make the Typer app of one command group, or of all (the root)."""
    return typer.Typer(
        name=name,
        help=summary,
        cls=cls,
        add_completion=completion,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings=HELP_NAMES,
    )
