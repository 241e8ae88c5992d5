"""The most memory that an evaluation held: of the process, or of the GPU where the model is on one. No torch here."""

import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_CLEAR = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


@dataclass(frozen=True, slots=True)
class PeakMemory:
    """Memory since a moment.

    Attributes:
        device: Whose: "cuda" is the GPU's, anything else that of the process.
        before: Bytes held at that moment.
    """

    device: str
    before: int

    @classmethod
    def since_now(cls, device: str) -> "PeakMemory":
        """Forget what was held before; where the system cannot, the peak is that of the process so far."""
        if device == "cuda":
            from patchrec.model.memory import forget_peak

            return cls(device, forget_peak())
        with suppress(OSError):
            _CLEAR.write_text("5")  # which makes VmHWM begin anew, on Linux
        return cls(device, _process("VmRSS"))

    @property
    def peak(self) -> int:
        """The most bytes held at a time."""
        if self.device == "cuda":
            from patchrec.model.memory import peak_memory

            return peak_memory()
        return _process("VmHWM")

    @property
    def growth(self) -> int:
        """By how much that is more than before, in bytes."""
        return max(0, self.peak - self.before)


def _process(name: str) -> int:
    """Bytes of the process by the name that Linux has for them; elsewhere the most so far."""
    if _STATUS.exists():
        for line in _STATUS.read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
