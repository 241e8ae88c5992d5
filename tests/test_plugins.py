"""Plugins are made on the spot: a module and the metadata that pip would have written."""

import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from patchrec import plugins
from patchrec.config import StrategyConfig
from patchrec.errors import NotFoundError, PluginError, UsageError
from patchrec.testing import make_history

BUILTIN = [
    "vanilla",
    "item-mean",
    "session-by-count",
    "session-by-time-window",
    "pft-i",
    "pft-s",
    "dropout",
    "patch-pretraining",
    "budget",
]

HEAD = """
from patchrec.hookspecs import hookimpl
from patchrec.layout import Grain, Layout
from patchrec.options import Options
from patchrec.strategy import Strategy

def text(history, options, moment):
    return Layout.of([(0, len(history), Grain.TEXT)])
"""

GOOD = (
    HEAD
    + """
@hookimpl
def patchrec_strategies():
    return [Strategy("good", "all text again", text)]
"""
)


GOOD_KIND = """
from patchrec.hookspecs import hookimpl
from patchrec.recommenders.factories import counted_kind

@hookimpl
def patchrec_recommenders():
    return [counted_kind("guess", "guesses", lambda options: None)]
"""


def kind_hook(body: str) -> str:
    head = GOOD_KIND.partition("@hookimpl")[0] + "from patchrec.recommender import Kind\n"
    return head + "\n@hookimpl\ndef patchrec_recommenders():\n    " + body


def hook(body: str) -> str:
    return HEAD + "\n@hookimpl\ndef patchrec_strategies():\n    " + body


BROKEN = {
    "missing-import": ("import a_module_that_is_not_there", "ModuleNotFoundError"),
    "syntax-error": ("def patchrec_strategies(:", "SyntaxError"),
    "raises-at-import": ("raise RuntimeError('one\\n\\x1b[31mtwo')", "RuntimeError: one [31mtwo"),
    "exits-at-import": ("import sys; sys.exit(3)", "SystemExit: 3"),
    "error-without-words": (
        "class Mute(Exception):\n    def __str__(self): raise RuntimeError\nraise Mute",
        "Mute",
    ),
    "no-hook": (HEAD, "implements no hook; mark a function with @hookimpl, named patchrec_strategies"),
    "misspelt-hook": (
        HEAD + "\n@hookimpl\ndef patchrec_strategy(): return []",
        "no hook 'patchrec_strategy'; did you mean 'patchrec_strategies'?",
    ),
    "hook-with-argument": (
        HEAD + "\n@hookimpl\ndef patchrec_strategies(store): return []",
        "Argument(s) {'store'} are declared in the hookimpl",
    ),
    "hook-raises": (hook("return 1 / 0"), "ZeroDivisionError: division by zero"),
    "hook-gives-up-half-way": (
        hook('yield Strategy("half", "first of two", text); raise ValueError("no more")'),
        "ValueError: no more",
    ),
    "returns-one-strategy": (hook('return Strategy("lonely", "not in a list", text)'), "TypeError"),
    "returns-names": (hook('return ["pft-x"]'), "returned 'pft-x', not a Strategy"),
    "plan-with-one-argument": (
        hook('return [Strategy("one", "one argument", lambda history: None)]'),
        "plan must be a function plan(history, options, moment)",
    ),
    "bad-name": (hook('return [Strategy("No Good", "bad name", text)]'), "strategy name 'No Good'"),
    "options-of-another-kind": (
        hook('return [Strategy("dict", "options as dict", text, dict)]'),
        "options must be a subclass of Options",
    ),
    "takes-a-builtin-name": (
        hook('return [Strategy("pft-s", "mine now", text)]'),
        "its strategy 'pft-s' is left out: plugin 'builtin' has that name already",
    ),
    "one-name-twice": (
        hook('return [Strategy("twin", "a", text), Strategy("twin", "b", text)]'),
        "brought strategy 'twin' twice",
    ),
    "returns-no-kind": (kind_hook('return ["sasrec"]'), "patchrec_recommenders returned 'sasrec', not a Kind"),
    "takes-a-builtin-kind": (
        kind_hook('return [counted_kind("sasrec", "mine now", lambda options: None)]'),
        "its recommender 'sasrec' is left out: plugin 'recommenders' has that name already",
    ),
    "one-kind-twice": (
        kind_hook('return [counted_kind("twin", "a", None), counted_kind("twin", "b", None)]'),
        "brought recommender 'twin' twice",
    ),
    "kind-without-functions": (
        kind_hook('return [Kind("empty", "does nothing", None, None, None)]'),
        "recommender 'empty': learner, load and export must be functions",
    ),
    "prints": ("print('hello')\nprint('there')" + GOOD.replace('"good"', '"loud"'), "printed 'hello there'"),
}


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a plugin made of code; what it imported and registered goes away afterwards."""
    modules = []

    def install(name: str, code: str, *, entry_points: str | None = None) -> None:
        module = "made_" + name.replace("-", "_")
        modules.append(module)
        (tmp_path / f"{module}.py").write_text(code)
        info = tmp_path / f"{module}-1.5.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: made-{name}\nVersion: 1.5\n")
        (info / "entry_points.txt").write_text(entry_points or f"[patchrec]\n{name} = {module}\n")
        importlib.invalidate_caches()

    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv(plugins.ENVIRONMENT, raising=False)
    yield install
    for module in modules:
        sys.modules.pop(module, None)
    monkeypatch.undo()
    plugins.load()


@pytest.fixture
def only_builtin():
    plugins.load(third_party=False)
    yield
    plugins.load()


def problems_of(name: str) -> list[str]:
    return [problem.message for problem in plugins.problems() if problem.plugin == name]


def test_the_builtin_strategies_come_through_the_hook(only_builtin):
    assert list(plugins.strategies()) == BUILTIN
    assert plugins.problems() == []
    assert [plugin.name for plugin in plugins.plugins()] == ["builtin", "recommenders"]


def test_the_project_registers_the_builtin_strategies_as_anyone_would():
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
    assert project["entry-points"] == {plugins.GROUP: plugins.BUILTINS}


def test_a_plugin_is_found_by_its_entry_point(install):
    install("good", GOOD)
    plugins.load()
    assert list(plugins.strategies())[: len(BUILTIN)] == BUILTIN
    assert plugins.find_strategy("good").summary == "all text again"
    found = next(plugin for plugin in plugins.plugins() if plugin.name == "good")
    assert (found.package, found.version, found.strategies) == ("made-good", "1.5", ("good",))


def test_a_plugin_brings_kinds_of_recommender_and_no_strategy(install):
    install("guess", GOOD_KIND)
    plugins.load()
    assert plugins.find_kind("guess").summary == "guesses"
    found = next(plugin for plugin in plugins.plugins() if plugin.name == "guess")
    assert (found.strategies, found.recommenders) == ((), ("guess",))
    with pytest.raises(NotFoundError, match="no recommender 'gues'; did you mean 'guess'"):
        plugins.find_kind("gues")


def test_plugins_load_at_the_first_question(install, monkeypatch):
    install("good", GOOD)
    monkeypatch.setattr(plugins, "_loaded", [])
    assert "good" in plugins.strategies()


def test_loading_twice_is_loading_once(install):
    install("good", GOOD)
    plugins.load()
    first = plugins.strategies()
    plugins.load()
    assert plugins.strategies() == first
    assert problems_of("good") == []


def test_no_plugins_leaves_the_builtin_ones(install):
    install("good", GOOD)
    plugins.load(third_party=False)
    assert list(plugins.strategies()) == BUILTIN
    assert "made_good" not in sys.modules


@pytest.mark.parametrize(
    ("value", "expected"),
    [("", []), (" , ", []), ("good", ["good"]), ("other, good", ["good", "other"]), ("builtin", [])],
)
def test_the_environment_limits_what_loads(install, monkeypatch, value, expected):
    install("good", GOOD)
    install("other", GOOD.replace('"good"', '"other"'))
    monkeypatch.setenv(plugins.ENVIRONMENT, value)
    plugins.load()
    assert list(plugins.strategies()) == BUILTIN + expected
    assert plugins.problems() == []


def test_a_name_in_the_environment_that_is_not_installed_is_reported(install, monkeypatch):
    install("good", GOOD)
    monkeypatch.setenv(plugins.ENVIRONMENT, "goood")
    plugins.load()
    assert "did you mean 'good'?" in problems_of("goood")[0]
    assert list(plugins.strategies()) == BUILTIN


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_is_reported_and_breaks_no_other(install, name, capsys):
    code, message = BROKEN[name]
    install(name, code)
    install("zz-good", GOOD)
    plugins.load()
    assert message in problems_of(name)[0]
    assert len(problems_of(name)) == 1
    assert str(plugins.problems()[0]).isprintable()
    assert list(plugins.strategies())[: len(BUILTIN)] == BUILTIN
    assert "zz-good" in {plugin.name for plugin in plugins.plugins()}
    assert "good" in plugins.strategies()
    assert capsys.readouterr().out == ""


def test_all_broken_plugins_together_break_no_other(install):
    for name, (code, _) in BROKEN.items():
        install(name, code)
    install("zz-good", GOOD)
    plugins.load()
    assert set(BROKEN) <= {problem.plugin for problem in plugins.problems()}
    assert set(plugins.strategies()) >= {*BUILTIN, "good"}
    assert plugins.find_strategy("pft-s").bind().label == "pft-s L=5"
    assert plugins.find_strategy("pft-s").plan.__module__ == "patchrec_strategies.pft_s"


def test_other_processes_list_their_strategies_next_to_broken_plugins(install, tmp_path, monkeypatch):
    for name, (code, _) in BROKEN.items():
        install(name, code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    code = "from patchrec import plugins; print(*plugins.strategies()); print(len(plugins.problems()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(BUILTIN) <= set(done.stdout.split())
    assert done.stdout.endswith(f"{len(BROKEN)}\n")
    assert done.stderr == ""


def test_the_good_strategies_of_a_plugin_stay_when_one_is_bad(install):
    install("mixed", hook('return [Strategy("fine", "works", text), 7]'))
    plugins.load()
    assert "fine" in plugins.strategies()
    assert problems_of("mixed") == ["patchrec_strategies returned 7, not a Strategy"]


def test_of_two_plugins_with_one_strategy_name_the_first_by_name_keeps_it(install):
    install("b-plugin", GOOD.replace("all text again", "from b"))
    install("a-plugin", GOOD.replace("all text again", "from a"))
    plugins.load()
    assert plugins.find_strategy("good").summary == "from a"
    assert problems_of("b-plugin") == ["its strategy 'good' is left out: plugin 'a-plugin' has that name already"]


def test_nobody_takes_the_name_of_the_builtin_plugin(install):
    install("mine", GOOD, entry_points="[patchrec]\nbuiltin = made_mine\n")
    plugins.load()
    assert list(plugins.strategies())[: len(BUILTIN)] == BUILTIN
    assert problems_of("builtin") == ["another installed plugin has this name; uninstall one of them"]


def test_one_module_behind_two_entry_points_loads_once(install):
    install("twice", GOOD, entry_points="[patchrec]\none = made_twice\ntwo = made_twice\n")
    plugins.load()
    assert "good" in plugins.strategies()
    assert problems_of("two") == ["the same module as plugin 'one'"]


@pytest.mark.parametrize("target", ["not_there", "made_odd:nothing", "!!"])
def test_an_entry_point_to_nothing_is_reported(install, target):
    install("odd", GOOD, entry_points=f"[patchrec]\nodd = {target}\n")
    plugins.load()
    assert len(problems_of("odd")) == 1
    assert list(plugins.strategies())[: len(BUILTIN)] == BUILTIN


def test_unreadable_metadata_spoils_no_other_plugin(install, tmp_path):
    install("good", GOOD)
    install("ragged", GOOD, entry_points="[patchrec]\nthis line says nothing\n")
    install("nameless", GOOD.replace('"good"', '"nameless"'))
    (tmp_path / "made_nameless-1.5.dist-info" / "METADATA").unlink()
    install("bytes", GOOD)
    (tmp_path / "made_bytes-1.5.dist-info" / "entry_points.txt").write_bytes(b"\xff\xfe[patchrec]")
    plugins.load()
    assert set(plugins.strategies()) >= {*BUILTIN, "good", "nameless"}
    assert "unreadable entry points" in problems_of("made-ragged")[0]


def test_a_slow_plugin_works_and_is_reported(install, monkeypatch):
    monkeypatch.setattr(plugins, "SLOW_SECONDS", 0.05)
    install("slow", "import time; time.sleep(0.1)" + GOOD)
    plugins.load()
    assert "good" in plugins.strategies()
    assert "s to load" in problems_of("slow")[0]


def test_what_is_built_in_is_never_called_slow_for_it_cannot_be_left_out(install, monkeypatch, caplog):
    monkeypatch.setattr(plugins, "SLOW_SECONDS", 0)
    install("slow", "import time; time.sleep(0.1)" + GOOD)
    plugins.load()
    assert {record.getMessage().split("'")[1] for record in caplog.records if record.name == "patchrec"} == {"slow"}


def test_a_plugin_that_fails_to_plan_is_told_by_name(install):
    install("gap", hook('return [Strategy("gap", "leaves a gap", lambda h, o, m: Layout.of([]))]'))
    plugins.load()
    assert problems_of("gap") == []
    with pytest.raises(PluginError, match="strategy 'gap' covered 0 of 3"):
        plugins.plan_for(StrategyConfig(name="gap")).plan(make_history(3))


def test_ctrl_c_while_loading_stops_loading(install):
    install("impatient", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        plugins.load()


def test_an_unknown_strategy_is_answered_with_a_guess_and_the_choices(only_builtin):
    with pytest.raises(NotFoundError) as caught:
        plugins.find_strategy("pft_s")
    assert "did you mean 'pft-s'?" in str(caught.value)
    assert all(name in str(caught.value) for name in BUILTIN)


def test_an_unknown_strategy_may_be_that_of_a_broken_plugin(install):
    install("missing-import", BROKEN["missing-import"][0])
    plugins.load()
    with pytest.raises(NotFoundError, match="Some plugins did not load"):
        plugins.find_strategy("recency-of-mine")


def test_a_configured_strategy_plans(only_builtin):
    planner = plugins.plan_for(StrategyConfig(name="pft-s", options={"L": 3}))
    assert planner.label == "pft-s L=3"
    assert len(planner.plan(make_history(12))) == 12
    with pytest.raises(UsageError):
        plugins.plan_for(StrategyConfig(name="pft-s", options={"M": 3}))
    with pytest.raises(NotFoundError):
        plugins.plan_for(StrategyConfig(name="pft"))
