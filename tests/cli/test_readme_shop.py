"""The README's shop, hour by hour: every command of it runs and prints what stands there."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from patchrec_cli.app import main

ROOT = Path(__file__).resolve().parents[2]


def shown() -> list[tuple[str, list[str]]]:
    """The commands of the section, and the lines that follow each."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.partition("### Every hour and every night")[2].partition("\n## ")[0]
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"```console\n(.*?)```", section, re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line.rstrip())
    return found


def test_the_shop_of_the_readme_runs_as_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATCHREC_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    commands = shown()
    assert len(commands) > 10
    for command, lines in commands:
        words = shlex.split(command)
        if words[0] == "patchrec":
            assert main(words[1:]) == 0, command
        elif words[0] == "python":
            subprocess.run([sys.executable, *words[1:]], check=True)
        else:
            subprocess.run(command, shell=True, check=True)
        printed = capfd.readouterr().out
        assert [line.rstrip() for line in printed.splitlines()] == lines, command
