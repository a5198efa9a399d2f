"""A machine inside of this one, for a node: mount, network, PID and IPC namespaces of its own.

In: a folder and a number. Out: command lines that run inside. The kernel ends every process, mount, interface and packet
filter rule in there when process 1 of it ends, which it does with its owner: nothing has to be undone by hand.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.kit import proctree
from tests.kit.cluster.processes import Child, ProcessError, lives, until

SECONDS = 60
# An ignored SIGCHLD survives exec and has the kernel reap: shims are orphans, and nobody else would.
INIT = """
set -e
mount --make-rshared /
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/lib
mount --bind "$1/log" /var/log
ip link set lo up
echo 1 > /proc/sys/net/ipv4/ip_forward
trap '' CHLD
touch "$1/ready"
exec sleep infinity
"""


@dataclass(frozen=True)
class Network:
    """Addresses by number, so that nodes of several clusters do not meet."""

    number: int

    @property
    def host(self) -> str:
        """This machine, as the node and its pods see it."""
        return f"10.87.{self.number}.1"

    @property
    def node(self) -> str:
        """The node."""
        return f"10.87.{self.number}.2"

    @property
    def pods(self) -> str:
        """The range of its pods, reachable from this machine."""
        return f"10.88.{self.number}.0/24"

    @property
    def interface(self) -> str:
        """This machine's end of the cable."""
        return f"setpoint{self.number}"


class NodeSpace:
    """The namespaces, from `start` to `stop`."""

    def __init__(self, folder: Path, network: Network) -> None:
        self.folder, self.network = folder, network
        self._converger: Child | None = None
        self._init = 0

    def start(self) -> None:
        """Make the namespaces and the cable into them."""
        (self.folder / "log").mkdir(parents=True)
        spaces = ("--mount", "--net", "--pid", "--ipc", "--fork", "--kill-child", "--mount-proc")
        command = ["unshare", *spaces, "sh", "-c", INIT, "init", str(self.folder)]
        self._converger = Child("namespaces", command, self.folder / "namespaces.log")
        until((self.folder / "ready").exists, "namespaces of the node", SECONDS, (self._converger,))
        self._init = next(proctree.children(self._converger.pid))
        self._connect()

    def stop(self) -> None:
        """End everything that runs inside, and wait for the end of it."""
        if self._converger is not None:
            self._converger.kill()
            until(lambda: not lives(self._init), "end of the node's processes", SECONDS)
            self._converger = None

    @property
    def init(self) -> int:
        """Process 1 of the inside, as it is numbered outside."""
        return self._init

    def enter(self, *command: str | Path) -> list[str]:
        """The command line that runs this one inside."""
        return enter(self._init, *command)

    def run(self, *command: str | Path) -> str:
        """Run a command inside; its stdout. Raises ProcessError."""
        return run(*self.enter(*command))

    def _connect(self) -> None:
        net = self.network
        peer = ("peer", "name", "eth0", "netns", str(self._init))
        run("ip", "link", "add", net.interface, "type", "veth", *peer)
        run("ip", "address", "add", f"{net.host}/24", "dev", net.interface)
        run("ip", "link", "set", net.interface, "up")
        self.run("ip", "address", "add", f"{net.node}/24", "dev", "eth0")
        self.run("ip", "link", "set", "eth0", "up")
        self.run("ip", "route", "add", "default", "via", net.host)
        run("ip", "route", "add", net.pods, "via", net.node)


def enter(init: int, *command: str | Path) -> list[str]:
    """The command line that runs this one in the namespaces of that process."""
    join = ["nsenter", f"--target={init}", "--mount", "--net", "--pid", "--ipc", "--"]
    return [*join, *map(str, command)]


def run(*command: str, stdin: IO[bytes] | None = None) -> str:
    """Run a command to its end; its stdout. Raises ProcessError."""
    given = subprocess.DEVNULL if stdin is None else stdin
    result = subprocess.run(command, stdin=given, capture_output=True, text=True, check=False)
    if result.returncode:
        raise ProcessError(f"{' '.join(command)}: {result.stderr.strip() or result.stdout.strip()}")
    return result.stdout
