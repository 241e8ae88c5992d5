"""The commands of `patchrec` by name, in the order in which they are used. A command is imported when it is asked for.

So `patchrec --help`, and a command that imports little, answer without what the other commands need. A summary stands
here and in the command; a test keeps them the same.
"""

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.main import get_command, get_group

from patchrec_cli.command import HELP_NAMES, CommandGroup


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a command is.

    Attributes:
        summary: The first line of its help.
        where: Module and function, or module and Typer app of a group.
        cls: Module and class of the command; None for a group.
    """

    summary: str
    where: str
    cls: str | None = "patchrec_cli.command:Command"


_NAMED = "patchrec_cli.named_options"
PIPELINE: dict[str, Entry] = {
    "demo": Entry("Go the whole way once: fetch, train, evaluate, recommend.", "patchrec_cli.demo:demo"),
    "data": Entry("Add, list, show, choose, remove and export data sets.", "patchrec_cli.data:app", None),
    "pretrain": Entry("Teach a backbone to read patches (stage 1).", "patchrec_cli.train:pretrain"),
    "finetune": Entry(
        "Train a run or backbone to recommend with a strategy (stage 2).",
        "patchrec_cli.train:finetune",
        f"{_NAMED}:FinetuneCommand",
    ),
    "baseline": Entry(
        "Fit a recommender that is asked without a prompt.", "patchrec_cli.train:baseline", f"{_NAMED}:BaselineCommand"
    ),
    "sweep": Entry(
        "Fit a grid or a list of runs, choose on validation, and compare the chosen ones on the test split.",
        "patchrec_cli.sweep:sweep",
    ),
    "blend": Entry(
        "Mix runs into one that ranks by the weighted mean of their log-probabilities.", "patchrec_cli.blend:blend"
    ),
    "eval": Entry(
        "Rank the catalog for held-out targets and report metrics.",
        "patchrec_cli.evaluate:evaluate",
        f"{_NAMED}:StrategyCommand",
    ),
    "recommend": Entry(
        "Recommend the next items for a user, a history or many users.", "patchrec_cli.recommend:recommend"
    ),
    "serve": Entry("Answer recommendation requests over HTTP until Ctrl-C or SIGTERM.", "patchrec_cli.serve:serve"),
    "runs": Entry(
        "List, show, compare, query, mark and remove runs; choose their score.", "patchrec_cli.runs:app", None
    ),
    "strategies": Entry(
        "List strategies, show one, preview what it does to a history.", "patchrec_cli.strategies:app", None
    ),
    "backbones": Entry("List, fetch, make and remove language models.", "patchrec_cli.backbones:app", None),
    "export": Entry("Write a run as a Hugging Face model folder with a model card.", "patchrec_cli.export:export"),
    "config": Entry("Show the settings that hold, and where each is from.", "patchrec_cli.configuration:app", None),
    "env": Entry("Show versions, machine, store and plugins for a bug report.", "patchrec_cli.environment:env"),
    "doctor": Entry("Check installation, store, plugins and catalogs.", "patchrec_cli.environment:doctor"),
}


class CommandTable(MutableMapping[str, Any]):
    """Commands by name, each imported and built when it is first looked up."""

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self._entries = entries
        self._built: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._built:
            self._built[name] = build(name, self._entries[name])
        return self._built[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._built[name] = command

    def __delitem__(self, name: str) -> None:
        del self._built[name]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self._entries, *self._built]))

    def __len__(self) -> int:
        return len({*self._entries, *self._built})

    def summary(self, name: str) -> str:
        """What a command does, in a line; nothing is imported for it."""
        return self._entries[name].summary if name in self._entries else self[name].get_short_help_str(1000)


class Pipeline(CommandGroup):
    """The root: commands in the order in which they are used."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        table = CommandTable(PIPELINE)
        table.update(self.commands)
        self.commands = table

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of the commands."""
        return list(self.commands)

    def summaries(self, ctx: Any) -> list[tuple[str, str]]:
        """Commands with their summaries."""
        table = self.commands
        assert isinstance(table, CommandTable)
        return [(name, table.summary(name)) for name in table]


def build(name: str, entry: Entry) -> Any:
    """Import a command and make what Typer runs."""
    found = found_at(entry.where)
    if entry.cls is None:
        return get_group(found)
    carrier = typer.Typer(
        add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None, context_settings=HELP_NAMES
    )
    function: Callable[..., None] = found
    carrier.command(name, cls=found_at(entry.cls))(function)
    return get_command(carrier)


def found_at(where: str) -> Any:
    """What stands in a module: "module:name"."""
    module, _, attribute = where.partition(":")
    return getattr(import_module(module), attribute)
