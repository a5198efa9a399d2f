"""What a process and all its descendants cost, from /proc: CPU time and memory.

CPU is utime and stime of all that live, and of the children that each has reaped. Memory is PSS, so that pages
which several processes share count once.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")


def descendants(root: int) -> list[int]:
    """The process and everything below it."""
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += _children(pid)
    return found


def _children(pid: int) -> Iterator[int]:
    for task in _listed(PROC / str(pid) / "task"):
        yield from map(int, _text(task / "children").split())


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:  # it has ended
        return []


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def ticks(stat: str) -> int:
    """CPU time in a line of /proc/<pid>/stat, with that of reaped children; 0 for an empty line."""
    # Fields 14 to 17, counted after the name, which may hold spaces and parentheses.
    values = stat.rpartition(")")[2].split()
    return sum(map(int, values[11:15]))


def cpu_seconds(root: int) -> float:
    """CPU time of a tree so far."""
    return sum(ticks(_text(PROC / str(pid) / "stat")) for pid in descendants(root)) / TICKS


def pss(text: str) -> int:
    """Bytes of PSS in a smaps_rollup."""
    return next((int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:")), 0)


def memory_bytes(root: int) -> int:
    """PSS of a tree now."""
    return sum(pss(_text(PROC / str(pid) / "smaps_rollup")) for pid in descendants(root))


class Sampler:
    """Looks at the memory of a tree some times a second, in a thread; `peak` is the highest that it saw."""

    def __init__(self, root: int, seconds: float = 0.25) -> None:
        self.peak = 0
        self._root, self._seconds = root, seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self._thread.start()

    def stop(self) -> int:
        """End; returns the peak."""
        self._stop.set()
        self._thread.join()
        return self.peak

    def _run(self) -> None:
        while not self._stop.wait(self._seconds):
            self.peak = max(self.peak, memory_bytes(self._root))
