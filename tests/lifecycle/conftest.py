"""A cluster for these tests alone, the chart in it, and replicas of the operator as processes of the test.

Each replica has a proxy of its own, so that a test can tell who asked what, and lose or keep one's requests.
"""

from __future__ import annotations

import json
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.chart.conftest import Helm
from tests.e2e.conftest import OperatorProcess, World
from tests.kit.api import Api, Json
from tests.kit.cluster.local import LocalCluster
from tests.kit.cluster.operator import SYSTEM
from tests.kit.cluster.processes import until
from tests.kit.cluster.workspace import Workspace
from tests.kit.servers.apiproxy import ApiProxy
from tests.kit.servers.apirules import Request
from tests.kit.servers.githttp import GitHttp

LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases"
SECONDS = 60


def of_lease(request: Request) -> bool:
    return request.path.startswith(LEASE)


class Replica(OperatorProcess):
    """One of several operators, behind a proxy of its own."""

    def __init__(self, cluster: LocalCluster, proxy: ApiProxy, folder: Path, **variables: str) -> None:
        folder.mkdir()
        self.proxy, self._ports = proxy, Workspace()
        self.metrics, self.probes = self._ports.port(), self._ports.port()
        token = cluster.service_account_token(SYSTEM, "setpoint")
        ports = {"SETPOINT_METRICS_PORT": str(self.metrics), "SETPOINT_PROBE_PORT": str(self.probes)}
        super().__init__(proxy.kubeconfig(token), folder, **ports, **variables)

    @property
    def child(self) -> subprocess.Popen[bytes]:
        """Its process."""
        assert self.process
        return self.process

    @property
    def leads(self) -> bool:
        """Whether it says so itself."""
        return "\nsetpoint_leader 1.0\n" in self._read(self.metrics, "/metrics")

    @property
    def ready(self) -> bool:
        """What the kubelet would find."""
        try:
            return self._read(self.probes, "/readyz") == "ok"
        except urllib.error.URLError:
            return False

    def until_leading(self) -> None:
        """Wait until it works."""
        until(lambda: self.ready and self.leads, f"leading operator:\n{self.log}", SECONDS)

    def until_waiting(self) -> None:
        """Wait until it is a standby: Ready, and told of whatever becomes of the lease."""
        self.proxy.wait_for(
            lambda r: of_lease(r) and r.is_watch and r.status == 200 and not r.ended, seconds=SECONDS
        )
        until(lambda: self.ready, f"ready standby:\n{self.log}", SECONDS)
        assert not self.leads

    def lease_requests(self) -> list[str]:
        """What it asked about the lease so far, by verb."""
        return ["WATCH" if r.is_watch else r.method for r in self.proxy.select(of_lease)]

    def end(self) -> None:
        """Kill it if it runs, and give its ports back."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.stop(signal.SIGKILL)
        self._ports.close()

    def _read(self, port: int, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            text: str = answer.read().decode()
            return text


class Stage:
    """The chart, installed in a cluster of its own with no pod; a World in it, and as many replicas as wanted."""

    def __init__(self, cluster: LocalCluster, git: GitHttp, folder: Path) -> None:
        self.cluster, self._folder = cluster, folder
        self.helm = Helm(folder, cluster.kubeconfig)
        self.helm.install("--set=replicaCount=0")
        self.api = Api(cluster)
        self.world = World(cluster, self.api, git)
        self._ends: list[Callable[[], None]] = []
        self._count = 0

    def replica(self, **variables: str) -> Replica:
        """Start one more operator, under the chart's ServiceAccount as it is now."""
        self._count += 1
        proxy = ApiProxy(self.cluster).start()
        self._ends.append(proxy.stop)
        made = Replica(self.cluster, proxy, self._folder / f"replica-{self._count}", **variables)
        self._ends.append(made.end)
        made.start()
        return made

    def lease(self) -> Json:
        """The spec of the Lease as it is now."""
        with self.api.request("GET", f"{LEASE}/setpoint") as answer:
            found: Json = json.load(answer)["spec"]
            return found

    def close(self) -> None:
        """End the replicas, then their proxies; remove the Syncs, whose finalizers nobody takes away now."""
        for end in reversed(self._ends):
            end()
        if self.api.seek("CustomResourceDefinition", None, "syncs.setpoint.dev") is not None:
            for sync in self.api.list("Sync", self.world.namespace):
                name = sync["metadata"]["name"]
                self.api.merge("Sync", self.world.namespace, name, {"metadata": {"finalizers": None}})
            self.world.remove()
        # One that was killed may have held it for the next hour.
        self.cluster.kubectl("delete", "lease", "setpoint", "--namespace", SYSTEM, "--ignore-not-found")


@pytest.fixture(scope="session")
def lifecycle_cluster() -> Iterator[LocalCluster]:
    """Shared by these tests: they install, upgrade and remove what a cluster has once."""
    with LocalCluster() as started:
        yield started


@pytest.fixture
def stage(lifecycle_cluster: LocalCluster, git_http: GitHttp, tmp_path: Path) -> Iterator[Stage]:
    made = Stage(lifecycle_cluster, git_http, tmp_path)
    try:
        yield made
    finally:
        made.close()
