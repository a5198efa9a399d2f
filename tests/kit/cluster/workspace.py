"""Temporary folders and ports that belong to a live process.

In: nothing but the machine. Out: folders and ports, each held by a file lock. The kernel drops a lock when
its owner dies, so leftovers of a killed process are recognised without any doubt, and swept by the next one.
"""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from tests.kit.cluster import cgroups
from tests.kit.cluster.processes import ProcessError

# Below the kernel's range for outgoing connections: a client that retries against a stopped server inside
# of that range can, by TCP's simultaneous open, end up connected to itself.
PORTS = range(20000, 29999)
PORT_LOCKS = "ports"
NETWORKS = range(1, 255)


class Workspace:
    """A folder that is locked while its owner lives, and removed by `close`."""

    def __init__(self, prefix: str = "cluster", root: Path | None = None) -> None:
        self._root = root or _default_root()
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._root.stat().st_uid != os.getuid():
            raise PermissionError(f"{self._root} belongs to somebody else")
        with _exclusive(self._root):
            _sweep(self._root)
            self.path = Path(tempfile.mkdtemp(prefix=f"{prefix}-", dir=self._root))
            self._lock = _try_lock(self.path / "owner.lock")
        self._ports: list[IO[bytes]] = []

    def port(self) -> int:
        """A free port on loopback, reserved among all workspaces until `close`."""
        reserved = _default_root() / PORT_LOCKS
        reserved.mkdir(mode=0o700, parents=True, exist_ok=True)
        for number in random.sample(PORTS, 1000):
            lock = _try_lock(reserved / str(number))
            if lock is None:
                continue
            if is_free(number):
                self._ports.append(lock)
                return number
            lock.close()
        raise RuntimeError("no free port on loopback")

    def network(self) -> int:
        """A number that no other workspace has, from which the addresses of a node follow; until `close`."""
        reserved = _default_root() / PORT_LOCKS
        reserved.mkdir(mode=0o700, parents=True, exist_ok=True)
        for number in NETWORKS:
            lock = _try_lock(reserved / f"network-{number}")
            if lock is None:
                continue
            # The kernel takes away the interface of a node that was killed, but not at once.
            if not Path(f"/sys/class/net/setpoint{number}").exists():
                self._ports.append(lock)
                return number
            lock.close()
        raise RuntimeError("no free network for a node")

    def close(self) -> None:
        """Remove the folder, and the control group of a node; give ports and networks back."""
        _remove(self.path)
        for lock in (*self._ports, self._lock):
            if lock is not None:
                lock.close()
        self._ports = []


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen on this port of that address now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def is_locked(path: Path) -> bool:
    """Whether a live process holds this lock file."""
    try:
        lock = _try_lock(path, "rb+")  # and never makes it: its owner may be removing the folder just now
    except FileNotFoundError:
        return False
    if lock is None:
        return True
    lock.close()
    return False


def sweep() -> None:
    """Remove the folders of owners that died; every new workspace does this as well."""
    root = _default_root()
    if root.exists():
        with _exclusive(root):
            _sweep(root)


def _default_root() -> Path:
    return Path(tempfile.gettempdir()) / f"setpoint-{os.getuid()}"


def _try_lock(path: Path, mode: str = "ab") -> IO[bytes] | None:
    file = path.open(mode)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


@contextmanager
def _exclusive(root: Path) -> Iterator[None]:
    """One at a time between making a folder and locking it, else a sweep could take it in between."""
    with (root / ".lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _sweep(root: Path) -> None:
    for folder in root.glob("*/"):
        # A folder without a lock is what an interrupted sweep left: making one and locking it is one step for others.
        if folder.name != PORT_LOCKS and not is_locked(folder / "owner.lock"):
            with suppress(ProcessError):  # of a node that is still ending: whoever sweeps next will find it
                _remove(folder)


def cgroup(folder: Path) -> str:
    """The control group that belongs to a workspace, if a node runs in it."""
    return f"setpoint-{folder.name}"


def _remove(folder: Path) -> None:
    cgroups.remove(cgroup(folder))
    shutil.rmtree(folder, ignore_errors=True)
