"""What this machine and installation are like, and whether they are sound."""

import os
import platform
import shutil
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import patchrec
from patchrec import plugins
from patchrec.operations.run_faults import faults_of
from patchrec.store import Store
from patchrec.store import home as default_home
from patchrec.store.audit import RESTORE, Fault, audit
from patchrec.store.sqlite import sqlite3

PACKAGES = (
    "accelerate", "duckdb", "huggingface_hub", "numpy", "pluggy", "pydantic", "pysqlite3", "rich", "safetensors",
    "sqlite-utils", "tokenizers", "torch", "transformers", "typer",
)  # fmt: skip
FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")  # what bfloat16 arithmetic and fast kernels hang on
NETWORK = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "fuse.sshfs")
MEMORY_GB = 1.0  # the smallest backbone, evaluated
MOST_FAULTS = 5  # of one check that are told
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
    """Check installation, store, backbones, plugins and catalogs.

    Returns:
        For each check its `name`, whether it is `ok`, a `detail` of what was found and a `fix` (where ok, what to know
        of it, or empty).
    """
    checks: list[tuple[str, Callable[[], str], str]] = [
        ("torch", _check_torch, "reinstall: pip install -c constraints.txt -e ."),
        ("device", _check_device, "close other programs, or use a machine with more memory"),
        ("sqlite", lambda: _check_sqlite(home), "set PATCHREC_HOME to a disk of this machine"),
        ("store", lambda: _check_store(home), RESTORE),
        ("data", lambda: _check_data(home), RESTORE),
        ("runs", lambda: _check_runs(home), RESTORE),
        ("folder", lambda: _check_folder(home), "give yourself write access, or set PATCHREC_HOME"),
        ("trash", lambda: _check_trash(home), RESTORE),
        ("disk", lambda: _check_disk(home), "free some space, or set PATCHREC_HOME to another disk"),
        (
            "backbones",
            lambda: _check_backbones(home),
            "fetch it again (patchrec backbones pull NAME), make it again, or patchrec backbones rm NAME",
        ),
        ("plugins", _check_plugins, "mend or uninstall the plugin, or use --no-plugins"),
    ]
    return [*(_checked(name, check, fix) for name, check, fix in checks), *_catalog_checks(home)]


def _checked(name: str, check: Callable[[], str], fix: str) -> dict[str, Any]:
    """Run one check; whatever it raises is what is wrong."""
    try:
        return {"name": name, "ok": True, "detail": check(), "fix": ""}
    except Exception as error:
        fix = getattr(error, "fix", None) or fix
        return {"name": name, "ok": False, "detail": str(error) or type(error).__name__, "fix": fix}


def _catalog_checks(home: Path | None) -> list[dict[str, Any]]:
    """The audit of the data sets; a store that cannot be read has its own check."""
    from patchrec.operations.catalog_audit import catalog_checks

    try:
        return catalog_checks(home)
    except Exception:
        return []


class _NotSoundError(Exception):
    """A check did not hold; the message says what was found.

    Attributes:
        fix: Its own mend; None: that of the check.
    """

    def __init__(self, message: str, fix: str | None = None) -> None:
        super().__init__(message)
        self.fix = fix


def _refuse(faults: Sequence[Fault]) -> None:
    """Fail a check with the first faults and their mends, where there are any."""
    if faults:
        more = f"; and {len(faults) - MOST_FAULTS} more" if len(faults) > MOST_FAULTS else ""
        fixes = dict.fromkeys(fault.fix for fault in faults[:MOST_FAULTS])
        raise _NotSoundError("; ".join(fault.what for fault in faults[:MOST_FAULTS]) + more, "; ".join(fixes))


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
        _refuse(audit(store))
        return f"{len(store.datasets.names())} data sets, {len(store.runs.names())} runs"


def _check_data(home: Path | None) -> str:
    """Whether every data set is what was added, to the last interaction."""
    from patchrec.store.fingerprints import check

    folder = _folder(home)
    if not (folder / "store.db").exists():
        return "none yet"
    with Store.open(folder, read_only=True) as store:
        names = store.datasets.names()
        for name in names:
            check(store, name)
    return f"{', '.join(names)}: as added" if names else "none yet"


def _check_runs(home: Path | None) -> str:
    """Whether every run can be used."""
    folder = _folder(home)
    if not (folder / "store.db").exists():
        return "none yet"
    with Store.open(folder, read_only=True) as store:
        runs = store.runs.all()
        faults = faults_of(store, runs)
    _refuse([Fault(f"{name}: {one.what}", one.fix) for name, found in faults.items() for one in found])
    return f"{len(runs)} can be used" if runs else "none yet"


def _check_sqlite(home: Path | None) -> str:
    found = _sqlite()
    kind = _file_system(_existing(_folder(home)))
    if kind in NETWORK:
        raise _NotSoundError(f"the store is on a network file system ({kind}), where SQLite's locks cannot be trusted")
    return f"{found['version']} ({found['module']}), journal {found['journal']}"


def _check_device() -> str:
    """Whether there is a processor or GPU with memory for the smallest model."""
    import torch

    from patchrec.model.memory import free_memory

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if float(torch.ones(2, device=device).sum()) != 2:
        raise _NotSoundError(f"{device} adds 1 and 1 wrongly", "update the driver, or hide it: CUDA_VISIBLE_DEVICES=")
    free = free_memory(device) / 1e9
    if free < MEMORY_GB:
        raise _NotSoundError(f"{free:.1f} GB of memory free on {device}, {MEMORY_GB:.0f} GB wanted")
    return f"{_gpu() or 'no GPU'}, {_num_threads()} threads, {free:.1f} GB of memory free on {device}"


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


def _check_trash(home: Path | None) -> str:
    folder = _folder(home)
    if not (folder / "store.db").exists():
        return "none yet"
    with Store.open(folder, read_only=True) as store:
        removed = store.trash.about(store.trash.names())
    size = sum(found.size for found in removed) / 1e6
    return f"{len(removed)} runs, {size:,.1f} MB; `patchrec runs gc` frees them" if removed else "empty"


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


def _check_plugins() -> str:
    problems = plugins.problems()
    if problems:
        raise _NotSoundError("; ".join(str(problem) for problem in problems))
    return ", ".join(_plugin(plugin) for plugin in plugins.plugins())


def _plugin(plugin: plugins.Plugin) -> str:
    return f"{plugin.name} {plugin.version}" if plugin.version else plugin.name


def _folder(home: Path | None) -> Path:
    return default_home() if home is None else home.absolute()


def _file_system(folder: Path) -> str:
    """Kind of the file system that holds a folder; empty where nobody says."""
    mounts = (line.split() for line in _proc("self/mounts").splitlines())
    above = {str(path) for path in (folder.resolve(), *folder.resolve().parents)}
    places = [(len(fields[1]), fields[2]) for fields in mounts if len(fields) > 2 and fields[1] in above]
    return max(places)[1] if places else ""


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
