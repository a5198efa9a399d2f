"""Tells the operator of the worker's processes, while there is something to tell (async shell)."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

from setpoint.fences.launching import Connection
from setpoint.fences.memory import sample
from setpoint.wall.messages import Stats
from setpoint.worker.room import Watch

SECONDS: Final = 10.0
"""Between two tellings, at least."""


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


class Telling:
    """Tells some seconds after something was asked, and never where nothing is."""

    def __init__(self, tell: Callable[[], None]) -> None:
        """`tell` is called."""
        self._tell = tell
        self._timer: asyncio.TimerHandle | None = None

    def asked(self) -> None:
        """Note that something was asked."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SECONDS, self._due)

    def close(self) -> None:
        """Tell nothing any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _due(self) -> None:
        self._timer = None
        self._tell()
