"""Completion in shells: commands and options by Typer, and names of runs, data sets, strategies and the like by this.

It is asked at every press of a key: it imports no model, reads the store only, and says nothing when it cannot.
"""

import os
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from patchrec.store import home as default_home
from patchrec.store.sqlite import sqlite3

BUSY_SECONDS = 0.2
RUNS = (
    "SELECT name FROM (SELECT name, id FROM runs WHERE name NOT IN (SELECT run FROM trash)"
    " UNION SELECT seed_group, max(id) FROM runs WHERE seed_group IS NOT NULL GROUP BY seed_group) ORDER BY id DESC"
)
REMOVED = "SELECT run FROM trash ORDER BY removed_at DESC"
BACKBONES = "SELECT name FROM backbones ORDER BY name"
DATA_SETS = "SELECT name FROM datasets ORDER BY name"

Names = Callable[[Path], list[str]]


def complete(root: Any, variable: str) -> int:
    """Answer a shell; whatever goes wrong, it gets nothing and no noise.

    Args:
        root: The command of all commands.
        variable: The environment's, in which the shell's script says what it wants: `complete_bash` and the like.
    """
    instruction = os.environ[variable]
    with suppress(Exception), open(os.devnull, "w") as nothing:  # noqa: PTH123 - the null device
        from contextlib import redirect_stderr

        from typer._click.shell_completion import CompletionItem, get_completion_class
        from typer._completion_classes import completion_init

        completion_init()
        _, _, shell = instruction.partition("_")
        found = get_completion_class(shell)
        if found is None or not instruction.startswith("complete_"):
            return 1
        with redirect_stderr(nothing):
            answer = found(root, {}, "patchrec", variable)
            whole = answer.get_completions

            def completions(args: list[str], incomplete: str) -> list[CompletionItem]:
                """Without help, for which Typer imports rich."""
                named = _named(root, args, incomplete)
                if named is not None:
                    return [CompletionItem(name) for name in named if name.startswith(incomplete)]
                return [CompletionItem(item.value, type=item.type) for item in whole(args, incomplete)]

            answer.get_completions = completions  # type: ignore[method-assign]
            text = answer.complete()
        print(text)  # noqa: T201 - the shell reads it
    return 0


def _named(root: Any, args: list[str], incomplete: str) -> list[str] | None:
    """The names that can stand here; None where Typer knows better: commands, options and fixed choices."""
    from typer._click.shell_completion import _resolve_context, _resolve_incomplete

    if not args:  # the commands, none of which has to be imported for its name
        return list(root.commands) if incomplete[:1] != "-" else None
    ctx = _resolve_context(root, {}, "patchrec", list(args))
    if hasattr(ctx.command, "commands"):
        return None
    what, _ = _resolve_incomplete(ctx, list(args), incomplete)
    names = _names_for(what, ctx.command_path.split()[1:])
    return None if names is None else names(_home(ctx))


def _home(ctx: Any) -> Path:
    """The store that the command line, the environment or a file of settings names."""
    from patchrec_cli.layers import Given, Layers

    named = ctx.find_root().params.get("home")
    if named is None and not os.environ.get("PATCHREC_HOME"):
        given = Layers.read(None).tree.get("home")
        named = given.value if isinstance(given, Given) else None
    return Path(named) if named else default_home()


def _names_for(what: Any, words: list[str]) -> Names | None:
    """Whose names a parameter takes, by what it is called where it is declared."""
    if not hasattr(what, "param_type_name"):
        return None
    flags, metavar = set(what.opts), str(what.metavar or "").removesuffix("...")
    if what.param_type_name == "argument":
        if metavar == "RUN":
            return _stored(REMOVED if words == ["runs", "restore"] else RUNS)
        by_command = {"baseline": _baselines, "strategies": _strategies, "data": _stored(DATA_SETS)}
        if words == ["backbones", "rm"]:
            return _stored(BACKBONES)
        known = words == ["data", "add"]
        return _known_data if known and metavar == "NAME" else by_command.get(words[0]) if metavar == "NAME" else None
    for flag, names in {
        "--run": _stored(RUNS), "--from": _stored(RUNS), "--resume": _stored(RUNS), "--data": _stored(DATA_SETS),
        "--strategy": _strategies, "--backbone": _backbones, "--head": _heads,
    }.items():  # fmt: skip
        if flag in flags and (flag != "--from" or metavar == "RUN"):
            return names
    return _baselines if "--baseline" in flags else None


def _stored(query: str) -> Names:
    """Names that a store has; none where there is no store, or it is busy or of another version."""

    def names(home: Path) -> list[str]:
        with suppress(sqlite3.Error, OSError, ValueError):
            uri = f"{(home / 'store.db').absolute().as_uri()}?mode=ro"
            with closing(sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS)) as connection:
                return [str(name) for (name,) in connection.execute(query)]
        return []

    return names


def _strategies(_: Path) -> list[str]:
    from patchrec.plugins import strategies

    return sorted(strategies())


def _baselines(_: Path) -> list[str]:
    from patchrec.plugins import recommenders

    return sorted(name for name, kind in recommenders().items() if kind.is_baseline)


def _heads(_: Path) -> list[str]:
    from patchrec.plugins import recommenders

    return sorted(name for name, kind in recommenders().items() if kind.is_head)


def _backbones(home: Path) -> list[str]:
    from patchrec.model.pull import KNOWN

    return sorted({*KNOWN, *_stored(BACKBONES)(home)})


def _known_data(_: Path) -> list[str]:
    from patchrec.data.recipe import known_recipes

    return sorted({"ml-100k", "ml-1m", "goodreads", *known_recipes()})
