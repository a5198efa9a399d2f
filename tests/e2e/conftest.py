"""The operator under test: a process of its own, or a pod, under the chart's service account, against real servers."""

from __future__ import annotations

import itertools
import json
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.kit.api import SECONDS, Api, Json
from tests.kit.chart import install
from tests.kit.cluster.base import Cluster
from tests.kit.cluster.fixtures import as_node
from tests.kit.cluster.local import LocalCluster
from tests.kit.cluster.operator import SYSTEM, environment
from tests.kit.pods import OperatorPod, UnderTest
from tests.kit.servers.apiproxy import ApiProxy
from tests.kit.servers.githttp import GitHttp
from tests.kit.servers.repo import Repo

ROOT = Path(__file__).parents[2]
_NUMBERS = itertools.count()


class OperatorProcess:
    """`python -m setpoint run`; start and stop as often as a test wants. `variables` add to its environment."""

    def __init__(self, kubeconfig: Path, folder: Path, **variables: str) -> None:
        self.folder, self._kubeconfig, self._variables = folder, kubeconfig, variables
        self.log = folder / "operator.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "setpoint", "run", "--kubeconfig", str(self._kubeconfig)],
                env=environment(self.folder, **{"SETPOINT_LEASE_DURATION": "30s", **self._variables}),
                stdout=log,
                stderr=log,
                cwd=ROOT,
            )

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process
        self.process.send_signal(number)
        code = self.process.wait(90)
        self.process = None
        return code

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self.process is not None and self.process.poll() is None

    def forget_cache(self) -> None:
        """Remove what it fetched; while it is stopped."""
        shutil.rmtree(self.folder / "cache")


class World:
    """One namespace with a service account, a repository and the objects that a test makes."""

    def __init__(self, cluster: Cluster, api: Api, git: GitHttp) -> None:
        self.cluster, self.api, self.git = cluster, api, git
        self.namespace = f"e2e-{secrets.token_hex(3)}-{next(_NUMBERS)}"
        self.target = f"{self.namespace}-t"
        for name in (self.namespace, self.target):
            api.create(
                "Namespace", None, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            )
        self.account("deployer", "cluster-admin")
        self.repo: Repo = git.repo(self.namespace)

    def account(self, name: str, role: str | None) -> None:
        """Make a ServiceAccount, bound to a ClusterRole."""
        self.api.create(
            "ServiceAccount",
            self.namespace,
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}},
        )
        if role:
            binding = {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRoleBinding",
                "metadata": {"name": f"{self.namespace}-{name}"},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
                "subjects": [{"kind": "ServiceAccount", "namespace": self.namespace, "name": name}],
            }
            self.api.create("ClusterRoleBinding", None, binding)

    def source(self, name: str = "src", **spec: Any) -> None:
        body = {"url": self.git.url(self.namespace), "ref": {"branch": "main"}, "interval": "1s", **spec}
        self.apply(
            {
                "apiVersion": "setpoint.dev/v1alpha1",
                "kind": "Source",
                "metadata": {"name": name},
                "spec": body,
            }
        )

    def sync(self, name: str = "app", **spec: Any) -> None:
        body = {
            "source": {"name": "src"},
            "serviceAccountName": "deployer",
            "targetNamespace": self.target,
            **spec,
        }
        self.apply(
            {"apiVersion": "setpoint.dev/v1alpha1", "kind": "Sync", "metadata": {"name": name}, "spec": body}
        )

    def apply(self, *objects: Json) -> None:
        """Server-side apply, as a person would with kubectl."""
        for obj in objects:
            full = {**obj, "metadata": {"namespace": self.namespace, **obj["metadata"]}}
            path = self.api.path(obj["kind"], full["metadata"]["namespace"], full["metadata"]["name"])
            self.api.request(
                "PATCH", f"{path}?fieldManager=test&force=true", full, "application/apply-patch+yaml"
            ).close()

    def ask(self, kind: str, name: str, value: str) -> None:
        """Ask for a check at once, as `kubectl annotate` does."""
        body = {"metadata": {"annotations": {"setpoint.dev/requested": value}}}
        self.api.merge(kind, self.namespace, name, body)

    def get(self, kind: str, name: str) -> Json:
        return self.api.get(kind, self.target, name)

    def seek(self, kind: str, name: str) -> Json | None:
        return self.api.seek(kind, self.target, name)

    def until(
        self, kind: str, name: str, fits: Any, namespace: str | None = None, seconds: float = SECONDS
    ) -> Json:
        home = self.namespace if kind in ("Sync", "Source") else self.target
        return self.api.until(kind, namespace or home, name, fits, seconds)

    def status(self, name: str = "app") -> Json:
        found = self.api.seek("Sync", self.namespace, name)
        return (found or {}).get("status") or {}

    def announced(self, reason: str, sync: str = "app") -> Json:
        """Return an Event of this reason about a Sync; waits for one."""
        return self.api.announced(self.namespace, reason, sync)

    def events(self, reason: str) -> list[Json]:
        return [e for e in self.api.list("Event", self.namespace) if e["reason"] == reason]

    def remove(self) -> None:
        """Delete the Syncs, and the namespaces without waiting for their end."""
        for sync in self.api.list("Sync", self.namespace):
            if "deletionTimestamp" not in sync["metadata"]:
                self.api.delete("Sync", self.namespace, sync["metadata"]["name"])
        for name in (self.target, self.namespace):
            self.api.discard("Namespace", None, name)


def config(name: str, **data: str) -> str:
    """Return a ConfigMap as JSON, which is YAML (a bare `y` would be a boolean there)."""
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})


@pytest.fixture(scope="session")
def installed(cluster: Cluster) -> Cluster:
    """The chart, installed with Helm, with no pod: the operator is a process of the test."""
    install(cluster)
    return cluster


@pytest.fixture(scope="session")
def api(installed: Cluster) -> Api:
    return Api(installed)


@pytest.fixture(scope="session")
def proxy(installed: Cluster) -> Iterator[ApiProxy]:
    """Between the operator and the API server, counting."""
    with ApiProxy(installed) as between:
        yield between


@pytest.fixture(scope="session")
def operator(
    request: pytest.FixtureRequest,
    installed: Cluster,
    api: Api,
    proxy: ApiProxy,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[UnderTest]:
    """A process of this machine; where the cluster has a real node, a pod."""
    folder = tmp_path_factory.mktemp("operator")
    made: UnderTest
    if as_node():
        assert isinstance(installed, LocalCluster)
        installed.load(request.getfixturevalue("image").archive.path)
        made = OperatorPod(installed, api, proxy, folder)
    else:
        made = OperatorProcess(proxy.kubeconfig(installed.service_account_token(SYSTEM, "setpoint")), folder)
    made.start()
    yield made
    if made.running:
        made.stop()
    sys.stderr.write(f"\noperator log: {made.log}\n")


@pytest.fixture(scope="session")
def git(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitHttp]:
    with GitHttp(tmp_path_factory.mktemp("git"), host=cluster.host) as server:
        yield server


@pytest.fixture
def world(installed: Cluster, api: Api, git: GitHttp, operator: UnderTest) -> Iterator[World]:
    made = World(installed, api, git)
    yield made
    made.remove()
