"""How commands and groups show their help: plain text in named sections, without rich, so that it answers at once."""

from collections.abc import Iterable
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from patchrec.bounds import LARGEST, holds
from patchrec.errors import UsageError

OUTPUT = "Output"  # the section that comes last

Sections = dict[str, list[tuple[str, str]]]  # heading -> how each option is written, and what it means


class Command(TyperCommand):
    """A command whose options stand in one section per panel, and whose examples come last."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuse whole numbers that nothing holds.

        Raises:
            UsageError: Names the first.
        """
        rest = super().parse_args(ctx, args)
        for param in self.params:
            value = ctx.params.get(param.name)
            if not holds(value):
                raise UsageError(
                    f"{param.opts[0]} {value}: whole numbers go up to {LARGEST:,}; see `{ctx.command_path} --help`"
                )
        return rest

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        """Write what the command does, without the examples."""
        text, _ = split_examples(self.help or "")
        with formatter.indentation():
            formatter.write_paragraph()
            formatter.write_text(text)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples as they stand."""
        _, examples = split_examples(self.help or "")
        if examples:
            with formatter.section("Examples"):
                formatter.write("".join(f"  {line}\n" for line in examples))

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments, options and each panel of options as a section of its own."""
        write_sections(ctx, formatter, self.get_params(ctx))


class CommandGroup(TyperGroup):
    """A group that shows its help when it is called alone."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Show the help and stop when nothing follows the group's name."""
        if not args and not ctx.resilient_parsing:
            typer.echo(ctx.get_help())
            ctx.exit()
        return super().parse_args(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the commands first: they are what a reader looks for."""
        self.format_commands(ctx, formatter)
        write_sections(ctx, formatter, self.get_params(ctx))


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


def command_group(name: str, summary: str, cls: type[CommandGroup] = CommandGroup) -> typer.Typer:
    """Make the Typer app of one command group, or of all (the root)."""
    return typer.Typer(
        name=name,
        help=summary,
        cls=cls,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
