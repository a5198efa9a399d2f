"""Where the soak plays: a cluster of its own, a Git server, and the operator as its service account behind a proxy."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.conftest import World
from tests.kit.api import Api
from tests.kit.chart import install
from tests.kit.cluster.local import LocalCluster
from tests.kit.cluster.operator import SYSTEM, environment
from tests.kit.cluster.processes import Child
from tests.kit.cluster.workspace import Workspace
from tests.kit.servers.apiproxy import ApiProxy
from tests.kit.servers.githttp import GitHttp


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
        with ApiProxy(cluster) as proxy, GitHttp(folder / "git") as git, closing(Workspace()) as workspace:
            port, cache = workspace.port(), folder / "cache"
            operator = Child(
                "operator", _command(proxy.kubeconfig(token), folder, port), folder / "operator.log"
            )
            try:
                metrics = f"http://127.0.0.1:{port}/metrics"
                yield Stage(cluster, Api(cluster), proxy, git, operator, metrics, cache)
            finally:
                operator.kill()


def _command(kubeconfig: Path, folder: Path, port: int) -> list[str]:
    # A lost lease ends the process, as it should, and with it what is measured here: this one outlives the outages.
    lease = "120s"
    settings = environment(folder, SETPOINT_METRICS_PORT=str(port), SETPOINT_LEASE_DURATION=lease)
    program = [sys.executable, "-m", "setpoint", "run", "--kubeconfig", str(kubeconfig)]
    return ["env", "-i", *(f"{name}={value}" for name, value in settings.items()), *program]
