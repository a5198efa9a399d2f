"""Where the soak plays: a cluster of its own, a Git server, and the operator as its service account behind a proxy."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.binaries import ensure
from tests.cluster.local import LocalCluster
from tests.cluster.processes import Child
from tests.e2e.api import Api
from tests.e2e.chart import SYSTEM, install
from tests.e2e.conftest import World
from tests.servers.apiproxy import ApiProxy
from tests.servers.githttp import GitHttp


@dataclass(frozen=True)
class Stage:
    """All that the soak has its hands on."""

    cluster: LocalCluster
    api: Api
    proxy: ApiProxy
    git: GitHttp
    operator: Child
    metrics: str
    cache: Path

    def world(self) -> World:
        """A new World."""
        return World(self.cluster, self.api, self.git)


@contextmanager
def staged(folder: Path) -> Iterator[Stage]:
    """Bring everything up, and down again."""
    with LocalCluster() as cluster:
        install(cluster)
        token = cluster.kubectl("create", "token", "setpoint", "-n", SYSTEM, "--duration=24h").strip()
        with ApiProxy(cluster) as proxy, GitHttp(folder / "git") as git:
            port, cache = _free_port(), folder / "cache"
            operator = Child(
                "operator", _command(proxy.kubeconfig(token), folder, port), folder / "operator.log"
            )
            try:
                metrics = f"http://127.0.0.1:{port}/metrics"
                yield Stage(cluster, Api(cluster), proxy, git, operator, metrics, cache)
            finally:
                operator.kill()


def _command(kubeconfig: Path, folder: Path, port: int) -> list[str]:
    settings = {
        "PATH": os.environ["PATH"],
        "HOME": folder,
        "SETPOINT_NAMESPACE": SYSTEM,
        "SETPOINT_CACHE_DIR": folder / "cache",
        "SETPOINT_KUSTOMIZE": ensure("kustomize")["kustomize"],
        "SETPOINT_METRICS_PORT": port,
        "SETPOINT_PROBE_PORT": 0,
        "SETPOINT_LOG_FORMAT": "text",
        # A lost lease ends the process, as it should, and with it what is measured here: this one outlives the outages.
        "SETPOINT_LEASE_DURATION": "120s",
    }
    program = [sys.executable, "-m", "setpoint", "run", "--kubeconfig", str(kubeconfig)]
    return ["env", "-i", *(f"{name}={value}" for name, value in settings.items()), *program]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
