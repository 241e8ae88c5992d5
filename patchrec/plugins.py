"""Which plugins this process has, loaded on demand through entry points; a broken one is reported, never fatal.

The built-in strategies and kinds of recommender come through the same door, first, as plugins `builtin` and
`recommenders`.
"""

import contextlib
import io
import logging
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import metadata
from typing import TypeVar

import pluggy

from patchrec import hookspecs
from patchrec.config import KindConfig, RunConfig, StrategyConfig
from patchrec.errors import PatchrecError, PluginError, not_found, unknown
from patchrec.recommender import BoundKind, Kind
from patchrec.strategy import Planner, Strategy

GROUP = "patchrec"
BUILTIN = "builtin"
BUILTINS = {BUILTIN: "patchrec_strategies", "recommenders": "patchrec.recommenders"}  # name -> module
ENVIRONMENT = "PATCHREC_PLUGINS"
SLOW_SECONDS = 2.0

_log = logging.getLogger("patchrec")  # which writes warnings to stderr where nobody says otherwise


@dataclass(frozen=True, slots=True)
class Plugin:
    """A plugin that loaded.

    Attributes:
        name: Its entry point, such as "recency".
        package, version: Its distribution; None when the built-ins run from a source tree.
        strategies: Names of the strategies it brought.
        recommenders: Names of the kinds of recommender it brought.
    """

    name: str
    package: str | None
    version: str | None
    strategies: tuple[str, ...]
    recommenders: tuple[str, ...] = ()

    @property
    def is_builtin(self) -> bool:
        """Whether it comes with patchrec."""
        return self.name in BUILTINS


@dataclass(frozen=True, slots=True)
class PluginProblem:
    """What is wrong with a plugin, in one line."""

    plugin: str
    message: str

    def __str__(self) -> str:
        return f"plugin {self.plugin!r}: {self.message}"


Named = TypeVar("Named", Strategy, Kind)


@dataclass(slots=True)
class _Registry:
    """Everything one loading found."""

    manager: pluggy.PluginManager
    plugins: list[Plugin] = field(default_factory=list)
    strategies: dict[str, Strategy] = field(default_factory=dict)
    recommenders: dict[str, Kind] = field(default_factory=dict)
    problems: list[PluginProblem] = field(default_factory=list)


_loaded: list[_Registry] = []  # empty until something asks, then one


def load(*, third_party: bool = True) -> None:
    """Load plugins afresh; the other functions do so at their first call.

    `PATCHREC_PLUGINS` limits which load: names separated by commas, empty for the built-ins only.

    Args:
        third_party: False loads the built-ins only (`--no-plugins`).
    """
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    registry = _Registry(manager)
    wanted = _wanted(third_party)
    entry_points = list(_entry_points(registry))
    if wanted is not None:
        installed = {entry_point.name for entry_point in entry_points}
        registry.problems += [
            PluginProblem(name, f"named in {ENVIRONMENT}; {unknown('plugin', name, installed)}")
            for name in sorted(wanted - installed)
        ]
    for entry_point in entry_points:
        if wanted is None or (entry_point.name, entry_point.value) in BUILTINS.items() or entry_point.name in wanted:
            _add(registry, entry_point)
    _loaded[:] = [registry]


def strategies() -> dict[str, Strategy]:
    """Every strategy by name, the built-ins first."""
    return dict(_registry().strategies)


def recommenders() -> dict[str, Kind]:
    """Every kind of recommender by name, the built-ins first."""
    return dict(_registry().recommenders)


def plugins() -> list[Plugin]:
    """The plugins that loaded, the built-ins first."""
    return list(_registry().plugins)


def problems() -> list[PluginProblem]:
    """What is wrong with the plugins that did not load, or loaded in part."""
    return list(_registry().problems)


def find_strategy(name: str) -> Strategy:
    """Return the strategy of a name.

    Raises:
        NotFoundError: No plugin brings it; the message guesses and lists.
    """
    return _find("strategy", _registry().strategies, name, "see `patchrec strategies ls`")


def find_kind(name: str) -> Kind:
    """Return the kind of recommender of a name.

    Raises:
        NotFoundError: No plugin brings it; the message guesses and lists.
    """
    return _find("recommender", _registry().recommenders, name, "see `patchrec baseline --help`")


def _find(what: str, known: dict[str, Named], name: str, step: str) -> Named:
    if name in known:
        return known[name]
    problems = _registry().problems
    if problems:
        step = f"Some plugins did not load ({problems[0]}); see `patchrec doctor`."
    raise not_found(what, name, known, step)


def why(error: BaseException) -> str:
    """An error of someone else's code in one line."""
    text = _said(str, error)
    if isinstance(error, PatchrecError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def is_builtin_kind(name: str) -> bool:
    """Whether a kind of recommender comes with patchrec."""
    found = owner("recommender", name)
    return found is not None and found.is_builtin


def owner(what: str, name: str) -> Plugin | None:
    """The plugin that brings a `strategy` or a kind of `recommender`; None where none does."""
    return _owner(_registry(), name, what)


def why_absent() -> str | None:
    """Why something may be missing that a plugin would bring; None where nothing speaks for it."""
    if os.environ.get(ENVIRONMENT) is not None:
        return f"{ENVIRONMENT} or --no-plugins limits which plugins load"
    return f"some plugins did not load: {problems()[0]}" if problems() else None


def plan_for(config: StrategyConfig) -> Planner:
    """Return a configured strategy, ready to plan.

    Raises:
        NotFoundError: No such strategy.
        UsageError: An option it does not have, or a value out of range.
    """
    return find_strategy(config.name).bind(config.options)


def planners_of(config: RunConfig) -> list[Planner]:
    """The strategies of a run, ready to plan what its kind shows of a history; the last is what it ranks with.

    Raises:
        NotFoundError: No such strategy, or no such kind.
        UsageError: An option it does not have, or a value out of range.
    """
    shows, planners = find_kind(config.kind.name).shows, [plan_for(strategy) for strategy in config.strategies]
    if shows is None:
        return planners
    from patchrec.data.newest_items import of_newest

    return [of_newest(planner, int(config.kind.options[shows])) for planner in planners]


def bind_kind(config: KindConfig) -> BoundKind:
    """Return a configured kind of recommender, ready to fit or load.

    Raises:
        NotFoundError: No such kind.
        UsageError: An option it does not have, or a value out of range.
    """
    return find_kind(config.name).bind(config.options)


def _registry() -> _Registry:
    if not _loaded:
        load()
    return _loaded[0]


def _wanted(third_party: bool) -> set[str] | None:
    """Names of the third-party plugins to load; None for all."""
    if not third_party:
        return set()
    value = os.environ.get(ENVIRONMENT)
    return None if value is None else {name.strip() for name in value.split(",") if name.strip()}


def _entry_points(registry: _Registry) -> Iterator[metadata.EntryPoint]:
    """Entry points of our group, the built-ins first, then by name; one unreadable distribution spoils no other."""
    found: dict[tuple[str, str], metadata.EntryPoint] = {}
    for distribution in metadata.distributions():
        try:
            if GROUP in (distribution.read_text("entry_points.txt") or ""):
                for entry_point in distribution.entry_points.select(group=GROUP):
                    found.setdefault((entry_point.name, entry_point.value), entry_point)
        except BaseException as error:
            _refuse_stop(error)
            package, _ = _package(distribution)
            registry.problems.append(PluginProblem(package or "unknown", f"unreadable entry points: {why(error)}"))
    for builtin in BUILTINS.items():
        yield found.pop(builtin, metadata.EntryPoint(*builtin, GROUP))
    yield from (found[key] for key in sorted(found))


def _add(registry: _Registry, entry_point: metadata.EntryPoint) -> None:
    """Load one plugin; whatever goes wrong becomes a problem of that plugin alone."""
    name = entry_point.name
    foreign = (name, entry_point.value) not in BUILTINS.items()
    started = time.perf_counter()
    with _told_when_slow(name, foreign), _caught_output(foreign) as printed:
        try:
            brought = _ask(registry.manager, entry_point)
            strategies = _keep(registry, name, registry.strategies, Strategy, brought["patchrec_strategies"])
            kinds = _keep(registry, name, registry.recommenders, Kind, brought["patchrec_recommenders"])
            registry.plugins.append(Plugin(name, *_package(entry_point.dist), strategies, kinds))
        except BaseException as error:  # an extension may raise what is no Exception
            _refuse_stop(error)
            registry.problems.append(PluginProblem(name, why(error)))
            return
    seconds = time.perf_counter() - started
    if printed:
        registry.problems.append(PluginProblem(name, f"printed {_line(printed[0])!r} while loading"))
    if seconds > SLOW_SECONDS and foreign:
        registry.problems.append(PluginProblem(name, f"took {seconds:.1f} s to load; import what is heavy later"))


def _refuse_stop(error: BaseException) -> None:
    """Let pass what stops the whole process, which is no fault of a plugin."""
    if isinstance(error, KeyboardInterrupt):
        raise error


@contextlib.contextmanager
def _told_when_slow(name: str, foreign: bool) -> Iterator[None]:
    """Say on stderr that a plugin keeps us waiting, while it does, where it could be left out."""
    if not foreign:
        yield
        return
    text = f"plugin {name!r} has been loading for {SLOW_SECONDS:g} s; `patchrec --no-plugins ...` goes without plugins"
    timer = threading.Timer(SLOW_SECONDS, _log.warning, [text])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


class _Printed(io.StringIO):
    """What takes the place of stdout; whoever closes it closes nothing."""

    def close(self) -> None:
        """Stay open."""


@contextlib.contextmanager
def _caught_output(foreign: bool) -> Iterator[list[str]]:
    """Catch what is written to stdout meanwhile: stdout is for results. The list holds it afterwards, if it is any.

    Args:
        foreign: Whether an extension may write past Python, too, to the descriptor itself.
    """
    found: list[str] = []
    printed = _Printed()
    with contextlib.ExitStack() as stack:
        stack.callback(lambda: found.extend(filter(None, [printed.getvalue() + "".join(past)])))
        past = stack.enter_context(_caught_descriptor()) if foreign else []
        stack.enter_context(contextlib.redirect_stdout(printed))
        yield found


@contextlib.contextmanager
def _caught_descriptor() -> Iterator[list[str]]:
    """Catch what is written to descriptor 1; the list holds it afterwards."""
    found: list[str] = []
    try:
        sys.stdout.flush()
        kept = os.dup(1)
    except (OSError, ValueError, AttributeError):  # closed: nothing can come out of it
        yield found
        return
    try:
        with tempfile.TemporaryFile() as caught:
            os.dup2(caught.fileno(), 1)
            try:
                yield found
            finally:
                _flush_c()
                os.dup2(kept, 1)
                caught.seek(0)
                found.append(caught.read(1000).decode(errors="replace"))
    finally:
        os.close(kept)


def _flush_c() -> None:
    """Empty the buffers of C, which would be written to stdout later."""
    with contextlib.suppress(ImportError, OSError, AttributeError, TypeError):
        import ctypes

        ctypes.CDLL(None).fflush(None)


def _ask(manager: pluggy.PluginManager, entry_point: metadata.EntryPoint) -> dict[str, list[object]]:
    """Import a plugin, register it and call its hooks: what each gave.

    Raises:
        Exception: Whatever the plugin raises; it is then not registered.
    """
    if manager.has_plugin(entry_point.name):
        raise PluginError("another installed plugin has this name; uninstall one of them")
    module = entry_point.load()
    if manager.is_registered(module):
        raise PluginError(f"the same module as plugin {manager.get_name(module)!r}")
    try:
        manager.register(module, entry_point.name)
        hooks = manager.get_hookcallers(module) or []
        specified = [hook for hook in vars(hookspecs) if hook.startswith("patchrec_")]
        if not hooks:
            raise PluginError(f"implements no hook; mark a function with @hookimpl, named {' or '.join(specified)}")
        for hook in hooks:
            if not hook.has_spec():
                raise PluginError(unknown("hook", hook.name, specified))
        others = manager.get_plugins() - {module}
        answers = {hook: manager.subset_hook_caller(hook, others)() for hook in specified}
        return {hook: [one for answer in found for one in answer] for hook, found in answers.items()}
    except BaseException:
        if manager.get_plugin(entry_point.name) is module:
            manager.unregister(name=entry_point.name)
        raise


def _keep(
    registry: _Registry, plugin: str, known: dict[str, Named], kind: type[Named], brought: list[object]
) -> tuple[str, ...]:
    """Take what one hook of a plugin gave: names of what was taken; the rest becomes problems."""
    what = "strategy" if kind is Strategy else "recommender"
    kept: list[str] = []
    for one in brought:
        if not isinstance(one, kind):
            hook = "patchrec_strategies" if kind is Strategy else "patchrec_recommenders"
            message = f"{hook} returned {_said(repr, one) or type(one).__name__}, not a {kind.__name__}"
        elif one.name in kept:
            message = f"brought {what} {one.name!r} twice"
        elif one.name in known:
            other = _owner(registry, one.name, what)
            assert other is not None
            message = f"its {what} {one.name!r} is left out: plugin {other.name!r} has that name already"
        else:
            known[one.name] = one
            kept.append(one.name)
            continue
        registry.problems.append(PluginProblem(plugin, message))
    return tuple(kept)


def _owner(registry: _Registry, name: str, what: str) -> Plugin | None:
    """The plugin that brought a strategy or a kind of recommender."""
    for plugin in registry.plugins:
        if name in (plugin.strategies if what == "strategy" else plugin.recommenders):
            return plugin
    return None


def _package(distribution: metadata.Distribution | None) -> tuple[str | None, str | None]:
    """Name and version; None where a distribution is missing or does not say."""
    try:
        described = distribution.metadata if distribution else None
        found = {key: described[key] for key in ("Name", "Version") if described and key in described}
    except BaseException as error:
        _refuse_stop(error)
        return None, None
    return found.get("Name"), found.get("Version")


def _said(words: Callable[[object], str], one: object) -> str:
    """What someone else's object says of itself, in one line; empty where it fails to."""
    try:
        return _line(words(one))
    except BaseException as error:
        _refuse_stop(error)
        return ""


def _line(text: str) -> str:
    """One printable line of at most 200 characters."""
    line = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return line if len(line) <= 200 else line[:199] + "…"
