"""What this machine and installation are like, and whether they are sound."""

import os
import platform
import shutil
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import patchrec
from patchrec import plugins
from patchrec.store import Store
from patchrec.store import home as default_home

if TYPE_CHECKING:
    import sqlite3
else:
    from sqlite_utils.utils import sqlite3  # the module that the store uses

PACKAGES = (
    "accelerate", "duckdb", "huggingface_hub", "numpy", "pluggy", "pydantic", "pysqlite3", "rich", "safetensors",
    "sqlite-utils", "tokenizers", "torch", "transformers", "typer",
)  # fmt: skip
FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")  # what bfloat16 arithmetic and fast kernels hang on
ROOM_GB = 3.0  # a backbone, its conversion and a few checkpoints


def environment(*, home: Path | None = None) -> dict[str, Any]:
    """Versions, processor, memory, GPU, SQLite, folder of the store and plugins."""
    return {
        "patchrec": patchrec.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": {"name": _cpu_name(), "threads": _num_threads(), "features": _cpu_features()},
        "memory_gb": _memory_gb(),
        "gpu": _gpu(),
        "sqlite": _sqlite(),
        "home": str(_folder(home)),
        "plugins": [_plugin(plugin) for plugin in plugins.plugins()],
        "versions": {name: version for name in PACKAGES if (version := _version(name))},
    }


def doctor(*, home: Path | None = None) -> list[dict[str, Any]]:
    """Check installation, store, backbones and plugins.

    Returns:
        For each check its `name`, whether it is `ok`, a `detail` of what was found and a `fix` (empty where ok).
    """
    checks: list[tuple[str, Callable[[], str], str]] = [
        ("torch", _check_torch, "reinstall: pip install -c constraints.txt -e ."),
        ("store", lambda: _check_store(home), "restore a copy of store.db, or move it away to begin anew"),
        ("folder", lambda: _check_folder(home), "give yourself write access, or set PATCHREC_HOME"),
        ("disk", lambda: _check_disk(home), "free some space, or set PATCHREC_HOME to another disk"),
        ("backbones", lambda: _check_backbones(home), "fetch it again: patchrec backbones pull NAME"),
        ("runs' plugins", lambda: _check_run_plugins(home), "put each back as said, or remove the run"),
        ("plugins", _check_plugins, "mend or uninstall the plugin, or use --no-plugins"),
    ]
    return [_checked(name, check, fix) for name, check, fix in checks]


def _checked(name: str, check: Callable[[], str], fix: str) -> dict[str, Any]:
    """Run one check; whatever it raises is what is wrong."""
    try:
        return {"name": name, "ok": True, "detail": check(), "fix": ""}
    except Exception as error:
        return {"name": name, "ok": False, "detail": str(error) or type(error).__name__, "fix": fix}


class _NotSoundError(Exception):
    """A check did not hold; the message says what was found."""


def _check_torch() -> str:
    import torch

    if not bool(torch.ones(2).sum() == 2):
        raise _NotSoundError(f"torch {torch.__version__} adds 1 and 1 wrongly")
    return f"torch {torch.__version__}, transformers {_version('transformers')}, gpu: {_gpu() or 'none'}"


def _check_store(home: Path | None) -> str:
    folder = _folder(home)
    if not (folder / "store.db").exists():
        return f"none yet in {folder}"
    with Store.open(folder) as store:
        faults = [row[0] for row in store.db.execute("PRAGMA integrity_check(3)") if row[0] != "ok"]
        strays = store.db.execute("PRAGMA foreign_key_check").fetchall()
        if faults or strays:
            raise _NotSoundError(faults[0] if faults else f"{len(strays)} rows point at nothing")
        return f"{len(store.datasets.names())} data sets, {len(store.runs.names())} runs"


def _check_folder(home: Path | None) -> str:
    folder = _existing(_folder(home))
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _NotSoundError(f"{folder} cannot be written")
    return str(_folder(home))


def _check_disk(home: Path | None) -> str:
    free = shutil.disk_usage(_existing(_folder(home))).free / 1e9
    if free < ROOM_GB:
        raise _NotSoundError(f"{free:.1f} GB free, {ROOM_GB:.0f} GB wanted")
    return f"{free:.1f} GB free"


def _check_backbones(home: Path | None) -> str:
    folder = _folder(home)
    if not (folder / "store.db").exists():
        return "none yet"
    with Store.open(folder, read_only=True) as store:
        stored = store.backbones.all()
    for backbone in stored:
        if not (backbone.path / "config.json").is_file() or not list(backbone.path.glob("*.safetensors")):
            raise _NotSoundError(f"{backbone.name} is not whole in {backbone.path}")
    return ", ".join(backbone.name for backbone in stored) or "none yet"


def _check_run_plugins(home: Path | None) -> str:
    from patchrec.operations.run_plugins import plugin_faults

    folder = _folder(home)
    if not (folder / "store.db").exists():
        return "no runs yet"
    with Store.open(folder, read_only=True) as store:
        runs = store.runs.all()
        found = [fault for run in runs for fault in plugin_faults(store, run)]
    faults = [fault for fault in found if fault.what != "version"]  # which is told before the run is used
    if faults:
        more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise _NotSoundError("; ".join(map(str, faults[:3])) + more)
    return f"{len(runs)} runs, all as they were made"


def _check_plugins() -> str:
    problems = plugins.problems()
    if problems:
        raise _NotSoundError("; ".join(str(problem) for problem in problems))
    return ", ".join(_plugin(plugin) for plugin in plugins.plugins())


def _plugin(plugin: plugins.Plugin) -> str:
    return f"{plugin.name} {plugin.version}" if plugin.version else plugin.name


def _folder(home: Path | None) -> Path:
    return default_home() if home is None else home.absolute()


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    return next(path for path in (folder, *folder.parents) if path.exists())


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _proc(name: str) -> str:
    path = Path("/proc") / name
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def _cpu_name() -> str:
    lines = (line.partition(":") for line in _proc("cpuinfo").splitlines())
    named = [value.strip() for key, _, value in lines if key.strip() == "model name"]
    return named[0] if named else platform.processor() or platform.machine()


def _cpu_features() -> list[str]:
    flags = next((line for line in _proc("cpuinfo").splitlines() if line.startswith("flags")), "").split()
    return [feature for feature in FEATURES if feature in flags]


def _num_threads() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory_gb() -> float | None:
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9)
    except (AttributeError, ValueError, OSError):
        return None


def _gpu() -> str | None:
    """Name of the first GPU that torch can use."""
    try:
        import torch
    except (ImportError, OSError):
        return None
    if torch.cuda.is_available():
        return str(torch.cuda.get_device_name(0))
    return "Apple MPS" if torch.backends.mps.is_available() else None


def _sqlite() -> dict[str, str]:
    from patchrec.store.connection import SOUND_WAL

    journal = "wal" if sqlite3.sqlite_version_info >= SOUND_WAL else "delete"
    return {"version": sqlite3.sqlite_version, "module": sqlite3.__name__, "journal": journal}
