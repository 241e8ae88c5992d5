"""The `patchrec` command: its groups in pipeline order, and the one place where an error becomes a line and a code."""

import errno
import os
import shlex
import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from contextvars import ContextVar
from difflib import get_close_matches
from functools import cache, partial
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.main import get_command

from patchrec import __version__
from patchrec.errors import InputError, InterruptedRunError, OutOfResourcesError, PatchrecError, UsageError
from patchrec.training.interrupts import deaf, forget_signals, signal_name, stopped_by, terminable_program
from patchrec_cli.command import command_group
from patchrec_cli.display import HOME, print_error, print_note
from patchrec_cli.layers import ROOT, Given, Layers, check_names, variable_of
from patchrec_cli.logbook import FILE, open_log
from patchrec_cli.parameters import Settings
from patchrec_cli.pipeline import PIPELINE, Pipeline

VARIABLE = "_PATCHREC_COMPLETE"  # what a shell asks by, once completion is installed
LINE: ContextVar[list[str] | None] = ContextVar("LINE", default=None)
FULL = (errno.ENOSPC, errno.EDQUOT, errno.ENOMEM)
OUT_OF_RESOURCES = OutOfResourcesError.exit_code
DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
GLOBAL_OPTIONS = ("--home", "--config", "--no-plugins", "-v", "--verbose", "--log-file", "--version", "--debug")

app = command_group(
    "patchrec",
    "Sequential recommendation with language models that read long histories as patches.",
    cls=Pipeline,
    completion=True,
)


def show_version(wanted: bool) -> None:
    """Print the version and stop."""
    if wanted:
        typer.echo(f"patchrec {__version__}")
        raise typer.Exit


@app.callback()
def settings(
    ctx: typer.Context,
    home: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of the store; default: PATCHREC_HOME, else ./.patchrec if it is there, else your data folder.",
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Settings (TOML) over those of ./patchrec.toml and your own file; see `patchrec config show`.",
        ),
    ] = None,
    no_plugins: Annotated[
        bool, typer.Option("--no-plugins", help="Load no third-party plugin, only what is built in.")
    ] = False,
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", help="Also say which files of settings hold, and what the command took."),
    ] = False,
    log_file: Annotated[
        Path | None,
        typer.Option("--log-file", metavar="FILE", help="Add what is said on stderr to this file, with times."),
    ] = None,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error (also: PATCHREC_DEBUG=1).")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version and stop.")
    ] = False,
) -> None:
    """Set what holds for every command."""
    layers = Layers.read(config)
    check_names(layers.tree, ROOT, list(PIPELINE), "patchrec")
    ctx.default_map = {name: table for name, table in layers.tree.items() if isinstance(table, dict)}
    given = {"home": home, "log_file": log_file}
    origins = {name: one for name in ROOT if given[name] is None and (one := from_layers(layers, name)) is not None}
    paths = given | {name: Path(one.value) for name, one in origins.items()}
    from_file = "home" in origins and origins["home"].origin != "PATCHREC_HOME"  # which the store reads itself
    own_home = paths["home"] if home is not None or from_file else None
    ctx.obj = Settings(home=own_home, layers=layers, origins=origins)
    HOME.set(home)
    if no_plugins:
        os.environ["PATCHREC_PLUGINS"] = ""
    if paths["log_file"] is not None:
        open_log(paths["log_file"], shlex.join(["patchrec", *(LINE.get() or [])]))
    if verbose:
        for file in layers.files:
            print_note(f"settings: {file}")
        ctx.call_on_close(partial(print_taken, time.monotonic()))


def from_layers(layers: Layers, name: str) -> Given | None:
    """What the environment or a file says of an option before the command."""
    variable = variable_of((), name)
    if os.environ.get(variable):
        return Given(os.environ[variable], variable)
    found = layers.tree.get(name)
    return found if isinstance(found, Given) else None


def print_taken(since: float) -> None:
    """Say what a command took: time, and memory at its highest where the system tells."""
    with suppress(ImportError):
        import resource

        kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "darwin" else 1)
        print_note(f"took {time.monotonic() - since:.1f} s, at most {kilobytes / 1024:,.0f} MB of memory")


@cache
def built() -> Any:
    """All commands, built once in a process: what plugins bring is added with every call."""
    return get_command(app)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code: the boundary that turns every error into one line.

    Args:
        arguments: What follows `patchrec`; None reads the process's own arguments.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    HOME.set(None)
    FILE.set(None)
    LINE.set(given)
    if os.environ.get(VARIABLE):
        from patchrec_cli.completion import complete

        return complete(built(), VARIABLE)
    forget_signals()
    try:
        outcome = built().main(given, prog_name="patchrec", standalone_mode=False)
        sys.stdout.flush()
    except BaseException as error:
        if os.environ.get("PATCHREC_DEBUG") or "--debug" in given:
            traceback.print_exception(error)
        return explain(error, given)
    if outcome == InterruptedRunError.exit_code:  # what Typer makes of Ctrl-C
        message, outcome = interruption()
        print_error(message)
    return outcome if isinstance(outcome, int) else 0


def interruption() -> tuple[str, int]:
    """What a stop by a signal is called, and its exit code."""
    number = stopped_by()
    return (f"stopped by {signal_name(number)}", 128 + number) if number else ("interrupted", 130)


def explain(error: BaseException, given: Sequence[str] = ()) -> int:
    """Print the one line that an error deserves and return its exit code.

    Args:
        error: What was raised.
        given: The command line, to quote from where Typer does not.
    """
    if is_closed_pipe(error):
        # whoever read us has enough; nothing may be written on exit either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    message, code = wording(error, given)
    with suppress(OSError):  # a terminal that is gone
        print_error(message)
    return code


def wording(error: BaseException, given: Sequence[str] = ()) -> tuple[str, int]:
    """What an error is called, and its exit code."""
    found = (f"{type(error).__name__}: {error} (this is a bug in patchrec; --debug shows where)", 1)
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        found = interruption()
    elif isinstance(error, PatchrecError):
        found = str(error), error.exit_code
    elif isinstance(error, typer.TyperException):
        found = usage_message(error, given), UsageError.exit_code
    elif out_of_memory(error):
        found = "out of memory; take a smaller backbone or --K, or close other programs", OUT_OF_RESOURCES
    elif isinstance(error, OSError) and error.errno in FULL:
        found = f"{error.strerror}: {error.filename or 'while writing'}; free some space, then again", OUT_OF_RESOURCES
    elif isinstance(error, OSError) and error.errno in DENIED and error.filename:
        found = f"{error.strerror}: {error.filename!r}; check its permissions", InputError.exit_code
    elif isinstance(error, OSError) and error.errno and error.filename:
        found = f"{error.strerror}: {error.filename!r}; name another path", UsageError.exit_code
    return found


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, in Python or in torch where that is loaded."""
    if "torch" not in sys.modules:
        return isinstance(error, MemoryError)
    from patchrec.model.memory import is_out_of_memory

    return is_out_of_memory(error)


def is_closed_pipe(error: BaseException) -> bool:
    """Whether the reader of our output went away (Typer turns that into an exit)."""
    return isinstance(error, BrokenPipeError) or (
        isinstance(error, SystemExit) and isinstance(error.__context__, BrokenPipeError)
    )


def usage_message(error: typer.TyperException, given: Sequence[str] = ()) -> str:
    """Word a wrong command line: what is wrong, the likely right spelling, where the choices stand."""
    unknown_option = hasattr(error, "possibilities")
    message = error.message if unknown_option else error.format_message().replace("Value error, ", "")
    parts = [" ".join(message.split()).rstrip(".")]
    value = value_of(getattr(error, "param", None), given)
    if value is not None and repr(value) not in parts[0]:
        parts.append(f"got {value!r}")
    close = getattr(error, "possibilities", None) or ()
    before = get_close_matches(getattr(error, "option_name", ""), GLOBAL_OPTIONS, n=1) if unknown_option else []
    if before and not close:
        parts.append(f"did you mean {before[0]}, which goes before the command: `patchrec {before[0]} ...`?")
    elif close:
        (closest,) = get_close_matches(getattr(error, "option_name", ""), close, n=1, cutoff=0)
        parts.append(f"did you mean {closest}?")
    context = getattr(error, "ctx", None)
    if context is not None:
        parts.append(f"see `{context.command_path} --help`")
    return "; ".join(parts)


def value_of(param: Any, given: Sequence[str]) -> str | None:
    """What stands after an option on the command line: what counts of an option given twice is its last value.

    None where nobody can tell: of an option that takes several values, each is one of its.
    """
    flags, found = getattr(param, "opts", ()), []
    for place, word in enumerate(given):
        name, equals, value = word.partition("=")
        if name in flags and equals:
            found.append(value)
        elif word in flags and place + 1 < len(given):
            found.append(given[place + 1])
    return None if not found or (getattr(param, "multiple", False) and len(found) > 1) else found[-1]


def script() -> None:
    """Run as the installed `patchrec` script."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a letter is no reason to stop
    terminable_program()
    code = main()
    deaf()
    if code and os.environ.get("WORLD_SIZE", "1") != "1":
        # What is still sent to a process that is gone would keep this one for another timeout.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    script()
