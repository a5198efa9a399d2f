"""What the worker tells the operator of its processes (shell)."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from typing import Final

from setpoint.fences.launching import Connection
from setpoint.fences.memory import sample
from setpoint.wall.messages import Stats
from setpoint.worker.room import Watch

SECONDS: Final = 10.0
"""After something was asked, until it is told what the processes take; where nothing is asked, nothing is told."""


def stats(watch: Watch, launchers: Iterable[Connection | None], deaths: int, longest_wait: float) -> Stats:
    """Return what the processes take now: the broker, its launchers, and all that are watched."""
    memory, processes = Counter[str](), Counter[str]()
    own = [("broker", os.getpid()), *(("launcher", each.pid) for each in launchers if each is not None)]
    for kind, pid in own:
        seen = sample(pid)
        memory[kind] += seen.memory if seen else 0
        processes[kind] += 1
    for child in watch.all:
        memory[child.kind] += child.use.memory
        processes[child.kind] += 1
    return Stats(dict(memory), dict(processes), deaths, longest_wait)
