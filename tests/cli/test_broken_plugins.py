"""Broken plugins break no command: each gives what it gives without them, and `--no-plugins` loads none."""

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from made_plugins import GUESS, RECENT, remove_plugin, write_plugin

from patchrec import plugins
from patchrec_cli.app import main

MARK = "import pathlib; pathlib.Path(__file__).with_suffix('.loaded').touch()\n"
HEAD = RECENT.partition("@hookimpl")[0]


def hook(body: str, head: str = HEAD, name: str = "patchrec_strategies") -> str:
    return f"{head}\n@hookimpl\ndef {name}():\n    {body}"


BROKEN = {
    "import-error": ("import a_module_that_is_not_there", "ModuleNotFoundError"),
    "syntax-error": ("def patchrec_strategies(:", "SyntaxError"),
    "raises": ("raise RuntimeError('no')", "RuntimeError: no"),
    "exits": ("import sys; sys.exit(0)", "SystemExit: 0"),
    "panics": ("class Panic(BaseException): pass\nraise Panic('of an extension')", "Panic: of an extension"),
    "ends-a-generator": ("raise GeneratorExit", "GeneratorExit"),
    "hook-panics": (
        HEAD + "class Panic(BaseException): pass\n@hookimpl\ndef patchrec_strategies(): raise Panic",
        "Panic",
    ),
    "wrong-signature": (HEAD + "@hookimpl\ndef patchrec_strategies(store): return []", "Argument(s) {'store'}"),
    "returns-no-list": (hook("return 7"), "TypeError"),
    "returns-what-cannot-be-shown": (
        HEAD + "class Mute:\n    def __repr__(self): raise BaseException\n" + hook("return [Mute()]", ""),
        "returned Mute, not a Strategy",
    ),
    "option-without-a-default": (
        RECENT.replace("M: int = 2", "M: int = Field(default_factory=lambda: 1 / 0)").replace(
            "from patchrec.hookspecs", "from pydantic import Field\nfrom patchrec.hookspecs"
        ),
        "the default of its option --M is no plain value: division by zero",
    ),
    "option-that-is-no-value": (
        RECENT.replace("M: int = 2", "M: object = object()"),
        "the default of its option --M is no plain value",
    ),
    "duplicate-name": (
        hook('return [Strategy("pft-s", "mine", plan)]'),
        "its strategy 'pft-s' is left out: plugin 'builtin' has that name already",
    ),
    "duplicate-kind": (GUESS.replace('"guess"', '"popularity"'), "its recommender 'popularity' is left out"),
    "slow": ("import time; time.sleep(0.15)" + RECENT.replace('"recent"', '"late"'), "s to load; import what is heavy"),
    "prints": ("print('hello')" + RECENT.replace('"recent"', '"loud"'), "printed 'hello' while loading"),
    "writes-to-descriptor-1": (
        "import os; os.write(1, b'past Python')" + RECENT.replace('"recent"', '"past"'),
        "printed 'past Python' while loading",
    ),
    "writes-from-c": (
        "import ctypes; ctypes.CDLL(None).printf(b'from C')" + RECENT.replace('"recent"', '"from-c"'),
        "printed 'from C' while loading",
    ),
    "child-writes": (
        "import subprocess; subprocess.run(['echo', 'from a child'])" + RECENT.replace('"recent"', '"child"'),
        "printed 'from a child' while loading",
    ),
    "closes-stdout": ("import sys; sys.stdout.close()" + RECENT.replace('"recent"', '"closer"'), None),
    "closes-descriptor-1": ("import os; os.close(1)" + RECENT.replace('"recent"', '"blunt"'), None),
    "changes-the-log": (
        "import logging; logging.disable(logging.CRITICAL)" + RECENT.replace('"recent"', '"hush"'),
        None,
    ),
}  # fmt: skip
BAD_ANSWERS = {  # they load well and are told when they are used
    "leaves-a-gap": (
        hook('return [Strategy("gap", "leaves a gap", lambda h, o, m: Layout.of([]))]'),
        ["strategies", "preview", "--strategy", "gap", "--length", "3"],
        "strategy 'gap' covered 0 of 3 history positions",
    ),
    "gives-no-layout": (
        hook('return [Strategy("none", "no layout", lambda h, o, m: None)]'),
        ["strategies", "preview", "--strategy", "none", "--length", "3"],
        "strategy 'none' returned NoneType, not a Layout",
    ),
    "plan-panics": (
        HEAD + "class Panic(BaseException): pass\ndef panic(h, o, m): raise Panic('mid-plan')\n"
        + hook('return [Strategy("panic", "panics", panic)]', ""),
        ["strategies", "preview", "--strategy", "panic", "--length", "3"],
        "strategy 'panic' failed on a history of 3: Panic: mid-plan",
    ),
    "wrong-shape": (
        GUESS.replace("(len(queries), self.size)", "(len(queries), self.size + 1)"),
        ["eval", "--baseline", "guess"],
        "recommender 'guess' ",
    ),
}  # fmt: skip
COMMANDS = [
    "strategies ls --json", "finetune --help", "recommend --run popularity-1 --user ann --json",
    "eval popularity-1 --quiet", "data ls --json", "runs ls --json", "runs show popularity-1 --quiet",
    "baseline recent --quiet",
]  # fmt: skip

Install = Callable[[str, str], None]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder where plugins are found."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(plugins, "SLOW_SECONDS", 0.1)
    yield folder
    logging.disable(logging.NOTSET)
    for name in [*BROKEN, *BAD_ANSWERS, "zz-good"]:
        remove_plugin(folder, name)
    monkeypatch.undo()
    plugins.load()


def load_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(plugins.ENVIRONMENT, raising=False)
    plugins.load()


def compare(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command gives what it gives without plugins; what plugins bring besides is theirs."""
    monkeypatch.setenv(plugins.ENVIRONMENT, "")
    plugins.load()
    before = [cli(*command.split()) for command in COMMANDS]
    load_all(monkeypatch)
    for command, expected in zip(COMMANDS, before, strict=True):
        ran = cli(*command.split())
        assert (ran.code, expected.code) == (0, 0), (command, ran.err)
        if command.startswith("strategies"):
            own = {row["name"]: row for row in ran.json["strategies"]}
            assert [own[row["name"]] for row in expected.json["strategies"]] == expected.json["strategies"]
        elif "--help" in command:
            assert set(expected.out.splitlines()) <= {*ran.out.splitlines(), ""}
        elif not command.startswith("baseline") and "runs ls" not in command:  # which make and list one run more
            assert ran.out == expected.out, command
    doctor = cli("doctor", "--json")
    assert [check["name"] for check in doctor.json["checks"] if not check["ok"]] in ([], ["plugins"])


def test_all_broken_plugins_together_change_no_command(toy_cli, site, monkeypatch):
    toy_cli("baseline", "popularity")
    for name, (code, _) in BROKEN.items():
        write_plugin(site, name, code)
    write_plugin(site, "zz-good", RECENT)
    compare(toy_cli, monkeypatch)
    told: dict[str, str] = {}  # one may be slow, too, where the machine is
    for problem in plugins.problems():
        told[problem.plugin] = f"{told.get(problem.plugin, '')} {problem.message}"
    for name, (_, words) in BROKEN.items():
        assert words is None or words in told[name], name
    assert plugins.find_strategy("recent").summary == "the newest as text"
    ran = toy_cli("doctor")
    assert ran.code == 1
    assert "plugins" in ran.err.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize("name", BROKEN)
def test_no_broken_plugin_changes_a_command(toy_cli, site, monkeypatch, name):
    toy_cli("baseline", "popularity")
    write_plugin(site, name, BROKEN[name][0])
    compare(toy_cli, monkeypatch)


@pytest.mark.parametrize("name", BAD_ANSWERS)
def test_what_a_plugin_answers_wrongly_is_told_by_its_name(toy_cli, site, monkeypatch, name):
    code, command, words = BAD_ANSWERS[name]
    write_plugin(site, name, code)
    load_all(monkeypatch)
    ran = toy_cli(*command)
    assert (ran.code, ran.out) == (8, ""), ran.err
    assert words in ran.err.splitlines()[-1]
    assert toy_cli("strategies", "ls").code == 0


def command(site: Path, home: Path, *arguments: str) -> subprocess.CompletedProcess:
    """The real command in a process of its own, with the plugins of a folder."""
    environment = {key: value for key, value in os.environ.items() if key != plugins.ENVIRONMENT}
    return subprocess.run(
        [sys.executable, "-m", "patchrec_cli", *arguments],
        env={**environment, "PYTHONPATH": os.pathsep.join([str(site), *sys.path]), "PATCHREC_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_no_plugins_imports_none_and_the_results_stay_alone_on_stdout(site, tmp_path):
    for name, (code, _) in BROKEN.items():
        write_plugin(site, name, code if name == "syntax-error" else MARK + code)
    without = command(site, tmp_path / "home", "--no-plugins", "strategies", "ls", "--json")
    assert (without.returncode, without.stderr) == (0, "")
    assert list(site.glob("*.loaded")) == []
    beside = command(site, tmp_path / "home", "strategies", "ls", "--json")
    assert beside.returncode == 0, beside.stderr
    assert len(list(site.glob("*.loaded"))) == len(BROKEN) - 1
    shown, expected = json.loads(beside.stdout), json.loads(without.stdout)
    assert [row for row in shown["strategies"] if row in expected["strategies"]] == expected["strategies"]


def test_a_plugin_that_keeps_us_waiting_is_named_while_it_does(site, monkeypatch, caplog):
    write_plugin(site, "slow", "import time; time.sleep(0.5)" + RECENT)
    began = time.time()
    load_all(monkeypatch)
    (said,) = [record for record in caplog.records if record.name == "patchrec"]
    assert said.getMessage().startswith("plugin 'slow' has been loading for 0.1 s; `patchrec --no-plugins")
    assert said.created - began < time.time() - began
    assert "took 0.5 s to load" in next(str(problem) for problem in plugins.problems() if problem.plugin == "slow")


def test_what_stops_the_whole_program_is_no_fault_of_a_plugin(site, monkeypatch):
    write_plugin(site, "raises", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        load_all(monkeypatch)
    assert main(["--no-plugins", "--version"]) == 0
