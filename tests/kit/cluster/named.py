"""Clusters that outlive the command that started them: each is owned by a supervisor process of its own.

In: a name. Out: a kubeconfig that stays valid until `down`. The state of all of them is in one folder of the
cache; the supervisor holds a lock there as long as it lives, so that what runs can always be found and ended.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.kit.cluster import binaries
from tests.kit.cluster import node as nodes
from tests.kit.cluster.local import LocalCluster
from tests.kit.cluster.processes import until
from tests.kit.cluster.workspace import is_locked, sweep

START_SECONDS = 180
STOP_SECONDS = 20
NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


class NamedClusterError(RuntimeError):
    """A named cluster could not be started or stopped; the message says what to do."""


@dataclass(frozen=True)
class State:
    """The files of one named cluster."""

    folder: Path

    @property
    def lock(self) -> Path:
        """Held by the supervisor while it lives."""
        return self.folder / "supervisor.lock"

    @property
    def pid(self) -> Path:
        """The supervisor's process id; to be believed only while `lock` is held."""
        return self.folder / "supervisor.pid"

    @property
    def kubeconfig(self) -> Path:
        """There once the cluster is ready."""
        return self.folder / "kubeconfig"

    @property
    def log(self) -> Path:
        """What the supervisor wrote."""
        return self.folder / "supervisor.log"

    @property
    def kwok(self) -> Path:
        """There if pods become Ready."""
        return self.folder / "with-kwok"

    @property
    def node(self) -> Path:
        """There if containers run; the process by whose namespaces the node is found."""
        return self.folder / "node.pid"

    @property
    def running(self) -> bool:
        """Whether a supervisor lives."""
        return is_locked(self.lock)


def state(name: str) -> State:
    """The files of the cluster of that name, which need not exist."""
    if not NAME.fullmatch(name):
        raise NamedClusterError(f"{name!r} is no name of a cluster: use a-z, 0-9 and dashes")
    return State(_root() / name)


def names() -> list[str]:
    """All clusters of which anything is left, running or not."""
    return sorted(path.parent.name for path in _root().glob("*/supervisor.lock"))


def up(name: str, *, kwok: bool = False, node: bool = False) -> Path:
    """Start the cluster unless it runs; its kubeconfig. Raises NamedClusterError, BuildError."""
    files = state(name)
    extra = ("kube-scheduler", "kwok") if kwok else ()
    binaries.ensure("etcd", "kube-apiserver", "kube-controller-manager", "kubectl", *extra)
    if node:
        _ensure_node()
    with _alone():
        if files.running:
            until(files.kubeconfig.exists, f"kubeconfig of cluster {name}", START_SECONDS)
            for what, wanted, mark in (("kwok", kwok, files.kwok), ("a node", node, files.node)):
                if wanted and not mark.exists():
                    raise NamedClusterError(f"cluster {name} runs without {what}: `down --name {name}` first")
            return files.kubeconfig
        shutil.rmtree(files.folder, ignore_errors=True)
        files.folder.mkdir(mode=0o700, parents=True)
        _start(files, name, [*(["--kwok"] if kwok else []), *(["--node"] if node else [])])
    return files.kubeconfig


def load(name: str, archive: Path) -> None:
    """Load an image archive into the node of the cluster. Raises NamedClusterError, ProcessError."""
    files = state(name)
    if not files.running or not files.node.exists():
        raise NamedClusterError(f"there is no cluster {name} with a node: `up --name {name} --node` first")
    nodes.load(int(files.node.read_text()), archive)


def down(name: str) -> bool:
    """End the cluster, whatever state it is in, and remove its files; whether there was anything."""
    files = state(name)
    with _alone():
        existed = files.folder.exists()
        if files.running:
            _end(files, name)
        shutil.rmtree(files.folder, ignore_errors=True)
        sweep()
    return existed


def supervise(name: str, *, kwok: bool, node: bool) -> None:
    """Own the cluster until SIGTERM or SIGINT; runs in the supervisor's process."""
    files = state(name)
    with files.lock.open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        files.pid.write_text(str(os.getpid()))
        stopped = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopped.set())
        with LocalCluster(kwok=kwok, node=node) as cluster:
            if kwok:
                files.kwok.touch()
            if node:
                files.node.write_text(str(cluster.node.init))
            partial = files.folder / ".kubeconfig"
            shutil.copy(cluster.kubeconfig, partial)
            partial.rename(files.kubeconfig)
            stopped.wait()


def _ensure_node() -> None:
    if reason := nodes.unavailable():
        raise NamedClusterError(reason)
    nodes.ensure()


def _start(files: State, name: str, options: list[str]) -> None:
    command = [
        sys.executable,
        "-m",
        "tests.kit.cluster",
        "supervise",
        "--name",
        name,
        *options,
    ]
    with files.log.open("ab") as log:
        process = subprocess.Popen(
            command,
            cwd=Path(__file__).parents[3],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # it must survive the terminal
        )
    try:
        until(lambda: files.kubeconfig.exists() or process.poll() is not None, "kubeconfig", START_SECONDS)
    except BaseException:
        process.kill()
        process.wait()
        raise
    if not files.kubeconfig.exists():
        raise NamedClusterError(
            f"cluster {name} did not start:\n{files.log.read_text(errors='replace')[-3000:]}"
        )
    process.returncode = 0  # it lives on without us; a Popen that is forgotten while its process lives warns


def _end(files: State, name: str) -> None:
    pid = int(files.pid.read_text())
    for number in (signal.SIGTERM, signal.SIGKILL):  # the kernel kills the components with their supervisor
        os.kill(pid, number)
        try:
            until(lambda: not files.running, f"end of cluster {name}", STOP_SECONDS)
        except RuntimeError:
            continue
        return
    raise NamedClusterError(f"the supervisor of cluster {name}, process {pid}, does not end")


def _root() -> Path:
    return binaries.cache() / "clusters"


@contextmanager
def _alone() -> Iterator[None]:
    """One command at a time changes which clusters there are."""
    _root().mkdir(mode=0o700, parents=True, exist_ok=True)
    with (_root() / ".lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
