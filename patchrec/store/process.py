"""Which process a run belongs to, and whether it still lives.

Process ids are used again, in containers at once, so the start time counts too.
"""

import contextlib
import os
import socket
import sys
from pathlib import Path


def this_process() -> tuple[str, int, str | None]:
    """Host, process id and start mark of this process."""
    return socket.gethostname(), os.getpid(), _start_mark(os.getpid())


def is_alive(host: str | None, pid: int | None, mark: str | None) -> bool:
    """Whether that process runs. On another host nobody can tell, so it is taken to live."""
    if host != socket.gethostname():
        return True
    if pid is None:
        return False
    if sys.platform == "win32":  # os.kill would end the process there
        return pid == os.getpid() or mark is None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return mark is None or _start_mark(pid) == mark


def _start_mark(pid: int) -> str | None:
    """Boot id and start time in clock ticks since then; None where the system has no /proc."""
    with contextlib.suppress(OSError, IndexError):
        # Fields are counted after the closing bracket of the command, which may hold blanks itself.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()}:{fields[19]}"
    return None
