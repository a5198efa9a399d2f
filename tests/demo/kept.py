"""Demos that were left running: a file for each in the cache, locked by the process that owns it.

In: names (process ids of the owners). Out: which there are, and their end. The lock tells a demo that runs from
the file of one that was killed, whoever has its process id now.
"""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.kit.cluster import binaries
from tests.kit.cluster.processes import ProcessError, until
from tests.kit.cluster.workspace import is_locked, sweep

STOP_SECONDS = 30


def names() -> list[str]:
    """All of which anything is left."""
    return sorted(path.stem for path in _root().glob("*.lock"))


@contextmanager
def owner() -> Iterator[Callable[[], None]]:
    """Lock a file until everything else was removed; calling what is given makes it findable by name."""
    _root().mkdir(mode=0o700, parents=True, exist_ok=True)
    hidden, found = _root() / f".{os.getpid()}", _path(str(os.getpid()))
    with hidden.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            yield lambda: os.rename(hidden, found)
        finally:
            for path in (hidden, found):
                path.unlink(missing_ok=True)


def down(name: str) -> bool:
    """End it, and remove what it left; whether there was anything."""
    path = _path(name)
    if not name.isdecimal() or not path.exists():
        return False
    for number in (signal.SIGTERM, signal.SIGKILL):  # the kernel kills the children with their owner
        if not is_locked(path):
            break
        os.kill(int(name), number)
        try:
            until(lambda: not is_locked(path), f"end of demo {name}", STOP_SECONDS)
        except ProcessError:
            continue
    path.unlink(missing_ok=True)
    sweep()
    return True


def _path(name: str) -> Path:
    return _root() / f"{name}.lock"


def _root() -> Path:
    return binaries.cache() / "demos"
