"""The processes of a worker in a pod, as this machine numbers them: its broker, the launchers, and what these forked.

In: the first process of the container. Out: process ids, what /proc says of them, and a kill that never meets another process.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.kit import pods, proctree
from tests.kit.api import Json
from tests.kit.cluster.local import LocalCluster

LAUNCHERS: Final = {
    "reader": "setpoint.worker.reader.main",
    "git": "setpoint.git.worker.main",
    "renderer": "setpoint.render.launcher",
}
"""What forks each kind of child; listers and fetchers come from one."""


@dataclass(frozen=True)
class WorkerTree:
    """`broker`: the first process of the container."""

    broker: int

    @classmethod
    def of(cls, cluster: LocalCluster, pod: Json) -> WorkerTree:
        """Return that of a pod as it runs now."""
        inside = str(pods.first(cluster, pod, "worker"))
        below = proctree.descendants(cluster.node.init)
        return cls(next(pid for pid in below if status(pid).get("NSpid", [])[1:2] == [inside]))

    def launchers(self, kind: str) -> list[int]:
        """Return the launcher of a kind; none before it is needed, or after its death."""
        return [pid for pid in proctree.children(self.broker) if _runs(pid, LAUNCHERS[kind])]

    def children(self, kind: str) -> list[int]:
        """Return the processes of a kind, oldest first."""
        return [child for pid in self.launchers(kind) for child in proctree.children(pid) if lives(child)]


def status(pid: int) -> dict[str, list[str]]:
    """Return the lines of /proc/PID/status, in words; nothing once it has ended."""
    lines = (line.partition(":") for line in proctree.text(pid, "status").splitlines())
    return {name: words.split() for name, _, words in lines}


def lives(pid: int) -> bool:
    """Return whether a process runs, and is no zombie."""
    return status(pid).get("State", ["Z"])[0] not in ("Z", "X")


def kill(pid: int, parent: int) -> bool:
    """Kill a process if it lives and is (still) a child of that one; returns whether it was."""
    return send(pid, parent, signal.SIGKILL)


def send(pid: int, parent: int, number: signal.Signals) -> bool:
    """Send a signal to a process if it lives and is (still) a child of that one; returns whether it was."""
    with suppress(ProcessLookupError):
        held = os.pidfd_open(pid)
        try:
            if lives(pid) and status(pid).get("PPid") == [str(parent)]:
                signal.pidfd_send_signal(held, number)
                return True
        finally:
            os.close(held)
    return False


def files(pid: int) -> set[str]:
    """Return what a process has open and mapped, by path or as the kernel calls it, without numbers."""
    found = {os.readlink(each) for each in _listed(Path(f"/proc/{pid}/fd"))}
    mapped = (line.split(maxsplit=5) for line in proctree.text(pid, "maps").splitlines())
    found |= {words[5] for words in mapped if len(words) == 6}
    return {re.sub(r":\[\d+\]$", "", each) for each in found}


def sockets_with_names(pid: int) -> set[str]:
    """Return the names of the Unix sockets that a process has open: those of a pair have none."""
    links = {os.readlink(each) for each in _listed(Path(f"/proc/{pid}/fd"))}
    rows = (line.split() for line in proctree.text(pid, "net/unix").splitlines()[1:])
    return {row[7] for row in rows if len(row) > 7 and f"socket:[{row[6]}]" in links}


def _runs(pid: int, module: str) -> bool:
    return module in proctree.text(pid, "cmdline").split("\0")


def _listed(folder: Path) -> Iterator[Path]:
    with suppress(FileNotFoundError):
        yield from folder.iterdir()
