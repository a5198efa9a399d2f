"""What a process and all its descendants cost, from /proc: CPU time and memory, in all and that of its worker.

CPU is utime and stime of all that live, and of the children that each has reaped. Memory is PSS, so that pages
which several processes share count once.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass

from tests.kit.proctree import children, descendants, rolled_up, text

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Shares:
    """What a tree has of something: the worker with all below it, and the rest, which is the operator's."""

    operator: float = 0.0
    worker: float = 0.0

    @property
    def both(self) -> float:
        """The sum."""
        return self.operator + self.worker

    def since(self, before: Shares) -> Shares:
        """What was added since."""
        return Shares(self.operator - before.operator, self.worker - before.worker)

    def highest(self, other: Shares) -> Shares:
        """The higher of each."""
        return Shares(max(self.operator, other.operator), max(self.worker, other.worker))


def whole(root: int) -> list[int]:
    """The process and everything below it."""
    return [root, *descendants(root)]


def ticks(stat: str) -> int:
    """CPU time in a line of /proc/<pid>/stat, with that of reaped children; 0 for an empty line."""
    # Fields 14 to 17, counted after the name, which may hold spaces and parentheses.
    values = stat.rpartition(")")[2].split()
    return sum(map(int, values[11:15]))


def is_worker(command: str) -> bool:
    """Whether a command line, as /proc has it, is that of a worker."""
    return "-m\0setpoint\0worker\0" in command


def parts(root: int) -> tuple[list[int], list[int]]:
    """The processes of an operator: its own, and those of its worker. Before there was a worker, all are its own."""
    workers = [pid for pid in children(root) if is_worker(text(pid, "cmdline"))]
    theirs = [each for pid in workers for each in whole(pid)]
    known = set(theirs)
    return [pid for pid in whole(root) if pid not in known], theirs


def cpu_seconds(root: int) -> Shares:
    """CPU time of a tree so far. That of a worker that died is the operator's."""
    return Shares(*(_cpu(each) for each in parts(root)))


def _cpu(pids: Iterable[int]) -> float:
    return sum(ticks(text(pid, "stat")) for pid in pids) / TICKS


def memory_bytes(root: int) -> Shares:
    """PSS of a tree now."""
    return Shares(*(_memory(each) for each in parts(root)))


def _memory(pids: Iterable[int]) -> int:
    return sum(rolled_up(text(pid, "smaps_rollup"), "Pss") for pid in pids)


class Sampler:
    """Looks at the memory of a tree some times a second, in a thread; `peak` is the highest sum that it saw, `parts` the highest of each."""

    def __init__(self, root: int, seconds: float = 0.25) -> None:
        self.peak = 0.0
        self.parts = Shares()
        self._root, self._seconds = root, seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self._thread.start()

    def stop(self) -> float:
        """End; returns the peak."""
        self._stop.set()
        self._thread.join()
        return self.peak

    def _run(self) -> None:
        while not self._stop.wait(self._seconds):
            now = memory_bytes(self._root)
            self.peak, self.parts = max(self.peak, now.both), self.parts.highest(now)
