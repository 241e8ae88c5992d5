"""The machine of a benchmark: what it is, how long an action takes on it and how much memory at its height."""

import ctypes
import gc
import os
import platform
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
import transformers

_CLEAR, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


def describe(device: torch.device) -> dict[str, Any]:
    """What the numbers of a run depend on."""
    return {
        "processor": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "transformers": transformers.__version__,
        "numpy": np.__version__,
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    return names[0].partition(":")[2].strip() if names else platform.processor() or platform.machine()


def seconds(action: Callable[[], object]) -> float:
    """Wall time of one call, the work it left on a GPU included."""
    _wait()
    start = perf_counter()
    action()
    _wait()
    return perf_counter() - start


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def in_turn(
    actions: Mapping[str, Callable[[], object]], repeats: int, *, rare: Mapping[str, int] | None = None
) -> dict[str, list[float]]:
    """Seconds of each of several actions that take turns (A, B, A, B, ...), so that what disturbs one disturbs all.

    Args:
        actions: By name. Each is called once before, without being timed, unless `rare` names it.
        repeats: Rounds.
        rare: Actions too long for that: how many rounds they take part in; they are warmed by the caller.
    """
    few = rare or {}
    for name, action in actions.items():
        if name not in few:
            action()
    found: dict[str, list[float]] = {name: [] for name in actions}
    for number in range(max(repeats, *few.values()) if few else repeats):
        for name, action in actions.items():
            if number < few.get(name, repeats):
                found[name].append(seconds(action))
    return found


def peak_growth_mb(action: Callable[[], object], device: torch.device) -> float | None:
    """The most memory that an action held above what was held before it (MB); None where the system does not tell.

    Memory that was freed is given back to the system first: taken up again it would not show.
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        action()
        return (torch.cuda.max_memory_allocated(device) - before) / 1e6
    if not _restart_peak():
        action()
        return None
    before = _status("VmRSS")
    action()
    return (_status("VmHWM") - before) / 1e6


def _restart_peak() -> bool:
    """Make the system forget this process's peak; False where it cannot."""
    if not sys.platform.startswith("linux"):
        return False
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
    if trim is not None:
        trim(0)
    try:
        _CLEAR.write_text("5")
    except OSError:
        return False
    return True


def _status(name: str) -> int:
    """Bytes of one line of the process's status."""
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024
