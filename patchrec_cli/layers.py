"""Settings from files and the environment: options that a command line did not give.

First what is on the command line, then PATCHREC_*, `--config FILE`, `patchrec.toml` in the folder, the user's own file,
and at last the defaults. A file has the options before the command at its top, and a table for each command:

    home = "store"

    [finetune]
    batch_size = 64

    [finetune.pft-s]
    L = 10

    [runs.ls]
    limit = 20

Options of what a command names (a strategy, a head, a baseline) have a table of their own below its. Of the command's
own only those that take a value can be set so: a switch is said when it is meant. `[finetune] resume` is none of them.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from patchrec.errors import UsageError, unknown

FOLDER_FILE = "patchrec.toml"
ROOT = ("home", "log_file")  # options before the command that can be set
PATHS = frozenset(ROOT)  # relative ones are below the folder of their file
NOT_SET = frozenset({"resume", "config"})


@dataclass(frozen=True, slots=True)
class Given:
    """A value that a file or the environment gives.

    Attributes:
        origin: Where: the file, or the variable.
    """

    value: Any
    origin: str


@dataclass(frozen=True, slots=True)
class Layers:
    """What files give: options by key, and those of commands in tables, as deep as commands are."""

    tree: dict[str, Any] = field(default_factory=dict)
    files: tuple[Path, ...] = ()

    @classmethod
    def read(cls, config: Path | None) -> "Layers":
        """Read the user's file, the folder's and the one named, the later over the earlier.

        Raises:
            UsageError: One is no TOML, has a key that is none, or the one named is not there.
        """
        if config is not None and not config.is_file():
            raise UsageError(f"--config {str(config)!r} is no file; see `patchrec config show --origin`")
        files = [file for file in (user_file(), Path(FOLDER_FILE)) if file.is_file()] + ([config] if config else [])
        tree: dict[str, Any] = {}
        for file in files:
            _merge(tree, read_file(file), str(file), file)
        return cls(tree, tuple(files))


def user_file() -> Path:
    """The user's own file, which need not be there."""
    import platformdirs

    return platformdirs.user_config_path("patchrec", appauthor=False) / "config.toml"


def read_file(file: Path) -> dict[str, Any]:
    """The content of a file of settings.

    Raises:
        UsageError: It cannot be read, or is no TOML.
    """
    import tomllib  # nearly no command has a file to read

    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{str(file)!r}: {error.strerror or error}; mend it, or take it away") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{str(file)!r} is no TOML: {error}; mend it, or take it away") from error


def _merge(tree: dict[str, Any], more: Mapping[str, Any], origin: str, file: Path) -> None:
    for key, value in more.items():
        name = key.replace("-", "_")
        if isinstance(value, dict):
            inner = tree.setdefault(key, {})
            if isinstance(inner, dict):
                _merge(inner, value, origin, file)
                continue
        below = name in PATHS and isinstance(value, str)
        tree[name] = Given(str(file.absolute().parent / Path(value).expanduser()) if below else value, origin)


def check_names(
    tree: Mapping[str, Any],
    options: Sequence[str],
    tables: Sequence[str],
    where: str,
    *,
    what: str = "command",
    switches: bool = False,
) -> None:
    """Refuse keys that are neither options nor have a table.

    Args:
        tree: One level of what files give.
        options: Keys that take a value here.
        tables: Keys that have a table here.
        where: In words, such as "patchrec finetune".
        what: Has a table here.
        switches: Options may be on or off.

    Raises:
        UsageError: Names the first, and the choices.
    """
    for key, value in tree.items():
        if isinstance(value, dict):
            if key not in tables:
                raise UsageError(f"{origin_of(value)}: {unknown(what, key, tables)}")
        elif key in tables:
            raise UsageError(f"{value.origin}: {key} is a {what}; give its options in a table: [{key}]")
        elif key not in options:
            raise UsageError(f"{value.origin}: {unknown(f'option of `{where}`', key, options)}")
        elif (isinstance(value.value, bool) and not switches) or not _plain(value.value):
            raise UsageError(f"{value.origin}: {key} takes a value, a text or number, got {value.value!r}; mend it")


def origin_of(tree: Mapping[str, Any]) -> str:
    """The file that the first value of a table is from; of an empty table nobody knows."""
    for value in tree.values():
        found = origin_of(value) if isinstance(value, dict) else value.origin
        if found:
            return str(found)
    return "a file of settings"


def _plain(value: object) -> bool:
    return isinstance(value, str | int | float) or (isinstance(value, list) and all(map(_plain, value)))


def key_of(param: Any) -> str | None:
    """What an option is called in a file; None where it cannot be set."""
    if param.param_type_name != "option" or param.is_flag or getattr(param, "count", False):
        return None
    long = next((flag for flag in param.opts if flag.startswith("--")), None)
    key = None if long is None else long[2:].replace("-", "_")
    return None if key in NOT_SET else key


def variable_of(words: Sequence[str], key: str) -> str:
    """The variable that sets an option of a command: PATCHREC_RUNS_LS_LIMIT."""
    return "_".join(["PATCHREC", *words, key]).replace("-", "_").upper()


@dataclass(frozen=True, slots=True)
class Members:
    """What a command names, each with options of its own.

    Attributes:
        what: In words, such as "strategy or head".
        options: Of each, by name.
    """

    what: str = "command"
    options: Mapping[str, Sequence[str]] = field(default_factory=dict)


NO_MEMBERS = Members()


def settings_of(
    params: Sequence[Any], words: Sequence[str], tree: Mapping[str, Any], members: Members = NO_MEMBERS
) -> dict[str, Given]:
    """What is set of a command, by the name of the parameter; the environment comes before files.

    Args:
        params: The command's own.
        words: Its path, such as ("runs", "ls").
        tree: Its table.
        members: That it names; what is set of them `members_of` says.

    Raises:
        UsageError: The table has a key that is no option.
    """
    keys = {key: param for param in params if (key := key_of(param)) is not None}
    for key, value in tree.items():
        owners = (
            [] if isinstance(value, dict) or key in keys else [n for n, own in members.options.items() if key in own]
        )
        if owners:
            tables = " or ".join(f"[{'.'.join([*words, name])}]" for name in owners[:3])
            raise UsageError(f"{value.origin}: {key} is an option of {', '.join(owners)}; give it in a table: {tables}")
    check_names(tree, list(keys), list(members.options), " ".join(["patchrec", *words]), what=members.what)
    found = {}
    for key, param in keys.items():
        given = _given(words, key, tree)
        if given is not None:
            found[str(param.name)] = Given(as_written(given.value, several=param.multiple), given.origin)
    return found


def members_of(members: Members, words: Sequence[str], tree: Mapping[str, Any]) -> dict[str, dict[str, Given]]:
    """What is set of the members that a command names, by member and option.

    Args:
        members: With their options.
        words: The command's path.
        tree: Its table.

    Raises:
        UsageError: A member's table has a key that is none of its options.
    """
    found: dict[str, dict[str, Given]] = {}
    for name, options in members.options.items():
        own, table = (*words, name), tree.get(name, {})
        if not isinstance(table, dict):
            table = {}  # which `settings_of` refuses
        check_names(table, options, (), f"[{'.'.join(own)}]", switches=True)
        given = {key: value for key in options if (value := _given(own, key, table)) is not None}
        if given:
            found[name] = given
    return found


def _given(words: Sequence[str], key: str, tree: Mapping[str, Any]) -> Given | None:
    """What sets an option: its variable, else the table."""
    variable = variable_of(words, key)
    return Given(os.environ[variable], variable) if os.environ.get(variable) else tree.get(key)


def as_written(value: Any, *, several: bool) -> Any:
    """A value as the command line has it: text, or texts."""
    if several:
        return [str(one) for one in value] if isinstance(value, list) else [str(value)]
    return str(value)


def every_setting(root: Any, ctx: Any, layers: Layers) -> Iterator[tuple[str, Given]]:
    """All that is set, of every command, by its full name; every key of the files is checked.

    Raises:
        UsageError: A key that is none.
    """
    yield from _below(root, ctx, (), layers.tree)


def _below(command: Any, ctx: Any, words: tuple[str, ...], tree: Mapping[str, Any]) -> Iterator[tuple[str, Given]]:
    names = command.list_commands(ctx) if hasattr(command, "commands") else ()
    if not names:
        keys = {str(param.name): key_of(param) for param in command.params}
        members = command.members()
        for name, given in settings_of(command.params, words, tree, members).items():
            yield ".".join([*words, str(keys[name])]), given
        for member, options in members_of(members, words, tree).items():
            for key, given in options.items():
                yield ".".join([*words, member, key]), given
        return
    check_names(tree, () if words else ROOT, names, " ".join(["patchrec", *words]))
    for name in names:
        yield from _below(command.get_command(ctx, name), ctx, (*words, name), tree.get(name, {}))
