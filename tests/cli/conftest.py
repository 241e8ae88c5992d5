"""One way to run the command in this process, and what it printed."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from patchrec import plugins
from patchrec.data.histories import Dataset
from patchrec.store import Store
from patchrec_cli.app import main


@dataclass(frozen=True)
class Ran:
    """What one command line came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Cli = Callable[..., Ran]


@pytest.fixture
def cli(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Run `patchrec ARGUMENTS` on a store in a folder of this test."""
    monkeypatch.setenv("PATCHREC_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("PATCHREC_DEBUG", raising=False)
    monkeypatch.setenv("PATCHREC_PLUGINS", "")
    plugins.load()

    def run(*arguments: object) -> Ran:
        capfd.readouterr()
        code = main([*map(str, arguments)])
        captured = capfd.readouterr()
        return Ran(code, captured.out, captured.err)

    return run


@pytest.fixture
def toy_cli(cli: Cli, toy: Dataset, tmp_path: Path) -> Cli:
    """The same with the data set `toy` in the store."""
    with Store.open(tmp_path / "home") as store:
        store.datasets.add(toy, source="made up", licence="none", split={"rule": "leave-one-out"})
    return cli
