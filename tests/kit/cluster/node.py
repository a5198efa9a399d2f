"""A real node: containerd, kubelet and kube-proxy in namespaces of their own. Needs root, and nothing of Docker.

In: the folder of a cluster and a network. Out: a node on which pods run, reach the API and each other; images come from
archives. What cannot be had on this machine is said by `unavailable`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.kit.cluster import binaries, cgroups, images, nodeparts, packages
from tests.kit.cluster.nodeparts import NodeLayout
from tests.kit.cluster.nodespace import Network, NodeSpace, enter, run
from tests.kit.cluster.processes import Child, ProcessError, until
from tests.kit.cluster.workspace import cgroup

START_SECONDS = 240
COMMANDS = ("unshare", "nsenter", "ip", "mount")


def unavailable() -> str | None:
    """Why no node can run on this machine; None when one can."""
    if sys.platform != "linux":
        return "a node needs Linux"
    if os.geteuid() != 0:
        return "a node needs root"
    if missing := [name for name in COMMANDS if shutil.which(name) is None]:
        return f"a node needs the commands {', '.join(missing)}"
    if not _supports("overlay"):
        return "a node needs the overlay file system"
    if reason := packages.obtainable():
        return f"this machine has {reason}"
    return _forbidden()


class Node:
    """One node, from `start` to `stop`. Everything of it is in `folder` and ends with this process."""

    def __init__(
        self, folder: Path, network: Network, credentials: Callable[[str], Path], authority: Path
    ) -> None:
        self._space = NodeSpace(folder, network)
        self._children: dict[str, Child] = {}
        self.cgroup = cgroup(folder.parent)
        self._credentials, self._authority = credentials, authority

    def prepare(self) -> None:
        """Make namespaces and network, so that the API server can listen where pods find it."""
        self._space.start()

    def start(self) -> None:
        """Start the node's programs, once the API is ready; returns when containers can run."""
        cgroups.create(self.cgroup)
        layout = self._layout()
        self._run("containerd", nodeparts.containerd(layout))
        until(self._serves, "containerd", START_SECONDS, tuple(self._children.values()))
        self.load(images.busybox(self._space.folder / "pause.tar", nodeparts.PAUSE).path)
        self._run("kubelet", nodeparts.kubelet(layout))
        self._run("kube-proxy", nodeparts.kube_proxy(layout))

    def stop(self) -> None:
        """End it with all its containers; harmless when it does not run."""
        self._space.stop()
        for child in self._children.values():
            child.kill()
        self._children.clear()
        cgroups.remove(self.cgroup)

    @property
    def children(self) -> dict[str, Child]:
        """The programs of the node, by name."""
        return self._children

    def load(self, archive: Path) -> None:
        """Load an image into the node: pods that name it find it there."""
        load(self._space.init, archive)

    def ctr(self, *arguments: str) -> str:
        """Run containerd's client in the namespace that Kubernetes uses; its stdout. Raises ProcessError."""
        return run(*_ctr(self._space.init, *arguments))

    @property
    def interface(self) -> str:
        """This machine's end of the cable to the node."""
        return self._space.network.interface

    @property
    def init(self) -> int:
        """The process by whose namespaces other programs find the node."""
        return self._space.init

    def _layout(self) -> NodeLayout:
        return NodeLayout(
            self._space.folder,
            self._space.network,
            packages.ensure(),
            self.cgroup,
            self._credentials("kubelet"),
            self._credentials("kube-proxy"),
            self._authority,
        )

    def _run(self, name: str, command: list[str]) -> None:
        log = self._space.folder.parent / f"{name}.log"
        self._children[name] = Child(name, self._space.enter(*command), log)

    def _serves(self) -> bool:
        try:
            self.ctr("version")
        except ProcessError:
            return False
        return True


def load(init: int, archive: Path) -> None:
    """Load an image into the node whose process 1 this is. Raises ProcessError."""
    with archive.open("rb") as file:  # some folders are others in there
        run(*_ctr(init, "images", "import", "-"), stdin=file)


def _ctr(init: int, *arguments: str) -> list[str]:
    client = binaries.ensure("ctr")["ctr"]
    return enter(init, client, f"--address={nodeparts.SOCKET}", "--namespace=k8s.io", *arguments)


def ensure() -> None:
    """Build and download what a node is made of, with progress on stderr."""
    binaries.ensure(*binaries.NODE)
    packages.ensure()


def _supports(filesystem: str) -> bool:
    return filesystem in Path("/proc/filesystems").read_text().split()


def _forbidden() -> str | None:
    probe = subprocess.run(
        ["unshare", "--mount", "--net", "--pid", "--ipc", "--fork", "--mount-proc", "true"],
        capture_output=True,
        text=True,
        check=False,
    )
    if probe.returncode:
        return f"no namespaces for a node: {probe.stderr.strip()}"
    name = f"setpoint-probe-{os.getpid()}-{time.monotonic_ns()}"
    try:
        cgroups.create(name)
    except OSError as error:
        return f"no control groups for a node: {error}"
    finally:
        cgroups.remove(name)
    return None if cgroups.hierarchies() else "no control groups for a node: none are mounted"
