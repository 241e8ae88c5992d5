"""Help of every command: there, within 80 columns, at once."""

import json
import resource
import subprocess
import sys
from importlib.metadata import entry_points

import pytest
from typer.main import get_command

from patchrec_cli.app import app, main
from patchrec_cli.reference import contexts

PATHS = [context.command_path.split()[1:] for context in contexts(get_command(app), "patchrec")]
HEAVY = ("torch", "transformers", "numpy", "scipy", "duckdb", "sqlite_utils", "pydantic", "rich", "pluggy")
DEMANDED = [
    "data add", "data ls", "data show", "data use", "data rm", "data export", "data items add",
    "data items ls", "pretrain", "finetune", "eval",
    "recommend", "runs ls", "runs show", "runs compare", "runs query",
    "strategies ls", "strategies show", "strategies preview",
    "backbones ls", "backbones pull", "backbones make", "backbones rm", "export", "env", "doctor", "demo",
]  # fmt: skip


@pytest.mark.parametrize("path", DEMANDED)
def test_the_command_exists(path):
    assert path.split() in PATHS


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_help_is_printed_within_80_columns(cli, path):
    ran = cli(*path, "--help")
    assert ran.code == 0
    assert ran.err == ""
    assert ran.out.startswith(f"Usage: {' '.join(['patchrec', *path])} ")
    usage, _, _ = ran.out.partition("\nExamples:\n")
    assert max(len(line) for line in usage.splitlines()) <= 80


@pytest.mark.parametrize("path", [[], ["data"], ["data", "items"], ["runs"], ["strategies"], ["backbones"]], ids=str)
def test_a_group_alone_shows_its_help(capfd, path):
    assert main(path) == 0
    alone = capfd.readouterr().out
    assert main([*path, "--help"]) == 0
    assert alone == capfd.readouterr().out != ""


def test_every_listing_and_result_takes_json_and_quiet():
    for context in contexts(get_command(app), "patchrec"):
        if hasattr(context.command, "commands") or context.command_path == "patchrec data export":
            continue
        flags = {flag for param in context.command.get_params(context) for flag in param.opts}
        assert {"--json", "-q"} <= flags, context.command_path


def test_help_imports_nothing_heavy_and_takes_less_than_a_third_of_a_second():
    code = (
        "import sys, json; from patchrec_cli.app import main; main(['--help']);"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})), file=sys.stderr)"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # processor time, since the clock on the wall also runs for whatever else the machine does
    assert (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime) < 0.3
    assert not set(HEAVY) & set(json.loads(done.stderr))


def test_version_is_told(cli):
    from patchrec import __version__

    assert cli("--version").out == f"patchrec {__version__}\n"


def test_the_installed_command_survives_a_terminal_that_lacks_letters():
    """`script` is what guards the streams; `main` alone would stop at the first title with an umlaut."""
    [command] = entry_points(group="console_scripts", name="patchrec")
    assert command.value == "patchrec_cli.app:script"


def test_help_of_a_named_baseline_shows_its_options_alone(cli):
    out = cli("baseline", "gru4rec", "--help").out
    assert "Options of baseline gru4rec:" in out
    assert out.count("Options of baseline ") == 1
    assert cli("baseline", "--help", "gru4rec").out == out


def test_help_of_baselines_lists_them_with_what_they_do(cli):
    out = cli("baseline", "--help").out
    assert "Options of baseline " not in out
    assert "\n  markov        what most often followed the last item" in out
    assert "`patchrec baseline NAME --help`" in out


def test_help_of_a_named_strategy_and_head_leaves_out_the_others(cli):
    for words in (["--strategy", "pft-s", "--head", "item"], ["--strategy=pft-s", "--head=item"]):
        out = cli("finetune", *words, "--help").out
        assert [line for line in out.splitlines() if line.startswith("Options of ")] == [
            "Options of strategy pft-s:", "Options of head item:"
        ]  # fmt: skip
    assert "Options of head both:" in cli("finetune", "--strategy", "pft-s", "--help").out
