"""Plugins made on the spot: a module and the metadata that pip would have written, in a folder that is on the path."""

import importlib
import sys
from pathlib import Path

RECENT = """
from patchrec.hookspecs import hookimpl
from patchrec.layout import Grain, Layout
from patchrec.options import Options
from patchrec.strategy import Strategy

class RecentOptions(Options):
    M: int = 2

def plan(history, options, moment):
    stop = max(0, len(history) - options.M)
    return Layout.of([(0, stop, Grain.ITEM), (stop, len(history), Grain.TEXT)])

@hookimpl
def patchrec_strategies():
    return [Strategy("recent", "the newest as text", plan, RecentOptions)]
"""
GUESS = """
import numpy as np
from patchrec.hookspecs import hookimpl
from patchrec.recommenders.factories import counted_kind

class Guess:
    def fit(self, dataset): self.size = len(dataset.catalog)
    def arrays(self): return {"size": np.array([self.size])}
    def restore(self, arrays): self.size = int(arrays["size"][0])
    def log_probs(self, queries): return np.full((len(queries), self.size), -np.log(self.size))

@hookimpl
def patchrec_recommenders():
    return [counted_kind("guess", "guesses", lambda options: Guess())]
"""


def write_plugin(folder: Path, name: str, code: str, version: str = "1.0") -> None:
    """Install a plugin, in place of the version of it that was there."""
    module = "made_" + name.replace("-", "_")
    folder.mkdir(parents=True, exist_ok=True)
    remove_plugin(folder, name)
    (folder / f"{module}.py").write_text(code)
    info = folder / f"{module}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: made-{name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[patchrec]\n{name} = {module}\n")
    importlib.invalidate_caches()


def remove_plugin(folder: Path, name: str) -> None:
    """Uninstall it."""
    module = "made_" + name.replace("-", "_")
    sys.modules.pop(module, None)
    for path in [*folder.glob(f"{module}-*.dist-info/*"), *folder.glob(f"{module}.py")]:
        path.unlink()
    for cached in (folder / "__pycache__").glob(f"{module}.*"):
        cached.unlink()  # one second's writes look alike to it
    for info in folder.glob(f"{module}-*.dist-info"):
        info.rmdir()
    importlib.invalidate_caches()
