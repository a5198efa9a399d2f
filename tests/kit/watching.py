"""A child that is watched within a block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from setpoint.fences.allowances import Allowance
from setpoint.worker.room import Watch, Watched


@contextmanager
def watched(
    watch: Watch, pid: int, allowance: Allowance, kill: Callable[[], object], kind: str = ""
) -> Iterator[Watched]:
    """Watch a child within the block."""
    try:
        yield watch.add(pid, allowance, kill, kind)
    finally:
        watch.remove(pid)
