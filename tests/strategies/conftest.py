"""The example plugin, built and installed as a user would, for tests that need a third party's strategy."""

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from patchrec import plugins

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def recency_source(tmp_path_factory) -> Path:
    """A copy of examples/patchrec-recency outside the repository."""
    copy = tmp_path_factory.mktemp("recency") / "patchrec-recency"
    shutil.copytree(ROOT / "examples" / "patchrec-recency", copy, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    return copy


@pytest.fixture(scope="session")
def recency_path(recency_source, tmp_path_factory) -> Path:
    """A folder with the installed example plugin: put it on PYTHONPATH and patchrec finds it."""
    pytest.importorskip("hatchling", reason="building the example plugin needs hatchling: pip install -e '.[test]'")
    pytest.importorskip("pip", reason="installing the example plugin needs pip in this environment")
    target = tmp_path_factory.mktemp("recency-installed")
    options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check"]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, "--target", str(target), str(recency_source)], check=True
    )
    return target


@pytest.fixture
def recency_environment(recency_path) -> dict[str, str]:
    """Environment of a process that has the example plugin installed."""
    inherited = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    paths = [str(Path(path).resolve()) for path in [recency_path, *inherited]]
    kept = {name: value for name, value in os.environ.items() if name != plugins.ENVIRONMENT}
    return {**kept, "PYTHONPATH": os.pathsep.join(paths)}


@pytest.fixture
def recency_plugin(recency_path, monkeypatch):
    """The example plugin, loaded into this process until the test ends."""
    monkeypatch.syspath_prepend(str(recency_path))
    monkeypatch.delenv(plugins.ENVIRONMENT, raising=False)
    importlib.invalidate_caches()
    plugins.load()
    yield
    sys.modules.pop("patchrec_recency", None)
    monkeypatch.undo()
    plugins.load()
