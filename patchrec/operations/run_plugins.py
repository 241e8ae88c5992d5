"""What a run took from plugins, and what became of them: gone, another version, other layouts."""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from patchrec import __version__, plugins
from patchrec.config import RunConfig, StrategyConfig
from patchrec.errors import NotFoundError, PatchrecError, UsageError
from patchrec.layout_fingerprint import layouts_fingerprint
from patchrec.recommender import Kind
from patchrec.reporting import Reporter
from patchrec.store import Store
from patchrec.store.run_plugins import RunPlugin
from patchrec.store.runs import Run


@dataclass(frozen=True, slots=True)
class PluginFault:
    """What is wrong with a plugin of a run.

    Attributes:
        run: Its name.
        plugin: As the run was made with it.
        what: `gone`: nothing brings it now; `layouts`: it lays out histories in another way; `version`: it is of
            another version, and lays them out alike where that can be told.
        found: In words that follow the run's name. mend: What to do.
    """

    run: str
    plugin: RunPlugin
    what: Literal["gone", "layouts", "version"]
    found: str
    mend: str

    def __str__(self) -> str:
        return f"run {self.run} {self.found}; {self.mend}"


def plugins_of(config: RunConfig) -> list[RunPlugin]:
    """What a run of this configuration takes from plugins now: its strategies, then its kind.

    Raises:
        NotFoundError: One of them is not there. UsageError: Options do not fit.
    """
    found = [replace(_brought(named), layouts=_layouts(own)) for named, own in _strategies(config)]
    return [*found, _brought(RunPlugin("recommender", config.kind.name))]


def plugin_faults(store: Store, run: Run, known: dict[str, str | None] | None = None) -> list[PluginFault]:
    """What is wrong with the plugins of a run. What was not noted, in runs of long ago, is taken as it is now.

    Args:
        store: Where it is.
        run: Which.
        known: Layouts by strategy and options, filled here, so that many runs of one strategy are planned once.
    """
    layouts = {} if known is None else known
    noted = {(plugin.role, plugin.name, number): plugin for number, plugin in enumerate(store.runs.plugins(run.name))}
    named: list[tuple[RunPlugin, StrategyConfig | None]] = [
        *_strategies(run.config),
        (RunPlugin("recommender", run.kind), None),
    ]
    faults = []
    for number, (plain, own) in enumerate(named):
        fault = _fault(noted.get((plain.role, plain.name, number), plain), own, run, layouts)
        if fault is not None:
            faults.append(fault)
    return faults


def refuse_changed_plugins(store: Store, run: Run, report: Reporter) -> None:
    """Refuse to use a run whose plugin is gone or lays out histories differently; tell of another version.

    Raises:
        NotFoundError: A plugin is gone. UsageError: Its layouts are others.
    """
    for fault in plugin_faults(store, run):
        if fault.what == "version":
            report.note(str(fault))
        else:
            raise _refusal(fault)


def kind_of(store: Store, run: Run) -> Kind:
    """The kind of a run.

    Raises:
        NotFoundError: The plugin that brought it is gone.
    """
    for fault in plugin_faults(store, run):
        if (fault.what, fault.plugin.role) == ("gone", "recommender"):
            raise _refusal(fault)
    return plugins.find_kind(run.kind)


def has_the_same_plugins(store: Store, run: Run) -> bool:
    """Whether making the run again would take the same from plugins; another version with the same layouts is."""
    return all(fault.what == "version" and fault.plugin.role == "strategy" for fault in plugin_faults(store, run))


def shown_plugins(store: Store, run: Run) -> list[dict[str, str | None]]:
    """What `runs show` tells of a run's plugins: those of third parties, and whatever is wrong."""
    faults = {(fault.plugin.role, fault.plugin.name): fault for fault in plugin_faults(store, run)}
    noted = {(plugin.role, plugin.name): plugin for plugin in store.runs.plugins(run.name)}
    shown = noted | {key: fault.plugin for key, fault in faults.items()}
    return [
        {
            "role": plugin.role,
            "name": plugin.name,
            "package": plugin.package,
            "version": plugin.version,
            "layouts": plugin.layouts,
            "fault": str(faults[key]) if key in faults else None,
        }
        for key, plugin in shown.items()
        if key in faults or plugin.package != "patchrec"
    ]


def _refusal(fault: PluginFault) -> PatchrecError:
    if fault.what == "gone":
        return NotFoundError(f"{fault}, or choose another run from `patchrec runs ls`; see also `patchrec doctor`")
    return UsageError(str(fault))


def _strategies(config: RunConfig) -> list[tuple[RunPlugin, StrategyConfig]]:
    return [(RunPlugin("strategy", own.name), own) for own in config.strategies]


def _brought(named: RunPlugin) -> RunPlugin:
    """The same with the distribution that brings it now."""
    owner = plugins.owner(named.role, named.name)
    if owner is None:
        return replace(named, package=None, version=None)
    if owner.is_builtin:
        return replace(named, package="patchrec", version=__version__)
    return replace(named, package=owner.package, version=owner.version)


def _layouts(own: StrategyConfig) -> str | None:
    owner = plugins.owner("strategy", own.name)
    if owner is not None and owner.is_builtin:
        return _builtin_layouts(own.model_dump_json())
    return layouts_fingerprint(plugins.plan_for(own))


@lru_cache(maxsize=64)
def _builtin_layouts(own: str) -> str | None:
    """Once for each: ours depend on nothing but their options."""
    return layouts_fingerprint(plugins.plan_for(StrategyConfig.model_validate_json(own)))


def _fault(then: RunPlugin, own: StrategyConfig | None, run: Run, known: dict[str, str | None]) -> PluginFault | None:
    """What is wrong with one plugin, if anything is."""
    source = _words(then)
    has = ("has strategy" if own else "is of kind") + f" {then.name!r}"
    back = f"pip install {then.package}=={then.version}" if then.package and then.version else None
    if then.name not in (plugins.strategies() if own else plugins.recommenders()):
        came, why = f" of {source}" if source else "", plugins.why_absent()
        found = f"{has}{came}, which no plugin brings now" + (f" ({why})" if why else "")
        mend = f"install it again: `{back}`" if back else "install its plugin again"
        return PluginFault(run.name, then, "gone", found, mend)
    now = _brought(then)
    changed = source is not None and (now.package, now.version) != (then.package, then.version)
    came = f" of {_words(now) or 'no package'}"
    made = f"; the run was made with {source}" if changed else ""
    different = None if own is None else _different_layouts(own, then.layouts, known)
    if different is not None:
        found = f"{has}{came}, which {different} than when the run was made{made}"
        old = f"`{back}` puts the old one back; or " if back and changed else ""
        mend = f"{old}train again, or take its weights as it is now: `patchrec eval {run.name} --strategy {then.name}`"
        return PluginFault(run.name, then, "layouts", found, mend)
    if not changed or then.package == now.package == "patchrec":
        return None
    alike = "lays out histories as before" if own is not None and then.layouts else "may give other numbers"
    found, mend = f"{has}{came}, which {alike}{made}", f"`{back}` puts the old one back"
    return PluginFault(run.name, then, "version", found, mend)


def _different_layouts(own: StrategyConfig, then: str | None, known: dict[str, str | None]) -> str | None:
    """In which way a strategy lays out histories otherwise than it did; None where it does not, or nobody knows."""
    key = own.model_dump_json()
    try:
        if key not in known:
            known[key] = _layouts(own)
    except UsageError:
        return "takes other options"
    now = known[key]
    return "lays out histories in another way" if then is not None and now != then else None


def _words(plugin: RunPlugin) -> str | None:
    """Package and version in words; None where neither is known."""
    return " ".join(filter(None, (plugin.package, plugin.version))) or None
