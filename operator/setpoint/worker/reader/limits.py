"""What a process that reads one namespace's commits may take of the machine, as the kernel itself limits it (shell).

What these limits do not cover (page tables, shared pages, time, files together) is watched from outside: `worker.room`.
"""

from __future__ import annotations

import resource
import sys
from typing import Final

NO_MEMORY: Final = 66
"""The exit status of a reader that ran out of memory."""
LARGEST_FILE: Final = 256 * 2**20
_FILES: Final = 256
_SIGNALS: Final = 64


def confine(memory: int, file: int = LARGEST_FILE) -> None:
    """Limit this process, for good, to bytes of private writable memory and of each file that it writes.

    `memory` counts what is mapped, touched or not, with what the process has already and 8 MiB for the stack of each thread;
    beyond it Python raises MemoryError at once. A limit that is lower already stays. OSError if the kernel refuses.
    """
    limits = {
        resource.RLIMIT_DATA: memory,
        resource.RLIMIT_FSIZE: file,
        resource.RLIMIT_NOFILE: _FILES,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
    }
    if sys.platform == "linux":
        limits |= {resource.RLIMIT_MSGQUEUE: 0, resource.RLIMIT_SIGPENDING: _SIGNALS}
    for limit, value in limits.items():
        lowest = _lower(value, resource.getrlimit(limit)[1])
        resource.setrlimit(limit, (lowest, lowest))


def _lower(wanted: int, present: int) -> int:
    return wanted if present == resource.RLIM_INFINITY else min(wanted, present)
