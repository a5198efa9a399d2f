"""What people install for real: Gatekeeper, cert-manager and podinfo, each in a cluster of its own.

Pods are played by kwok, so the operators inside never run; what they would write, these tests write for them.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from tests.e2e.conftest import ROOT, OperatorProcess, World
from tests.e2e.test_quiet import is_lease, told
from tests.e2e.test_sync import ready_at
from tests.kit.api import Api, Json, condition, is_ready, says
from tests.kit.chart import install
from tests.kit.cluster.local import LocalCluster
from tests.kit.cluster.operator import SYSTEM
from tests.kit.cluster.processes import interrupt_on_sigterm
from tests.kit.servers.apiproxy import ApiProxy
from tests.kit.servers.apirules import Request
from tests.kit.servers.githttp import GitHttp

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

DATA = ROOT.parent / "shared/data"
RENEWALS = 4
SECONDS = 180.0
NOT_READY = """
- target: {kind: Deployment}
  patch: |
    - op: add
      path: /spec/template/metadata/annotations
      value: {tests.setpoint.dev/fate: pending}
"""


@dataclass(frozen=True)
class Content:
    """Where it lies, how many objects it is, and its webhooks."""

    name: str
    path: str
    objects: int
    namespace: str | None = None
    webhooks: tuple[str, ...] = field(default=())

    def files(self) -> dict[str, str]:
        """Return path in the repository -> content; skips the test where the data is absent."""
        found = DATA / self.path
        if not found.exists():
            pytest.skip(f"the shared data is absent: no {self.path}")
        parts = [found] if found.is_file() else sorted(found.iterdir())
        # No metrics server: the autoscaler degrades, rightly, and it would change the replicas while we count.
        texts = {p.name: p.read_text().replace("  - hpa.yaml\n", "") for p in parts}
        return {name: text for name, text in texts.items() if name != "hpa.yaml"}


GATEKEEPER = Content(
    "gatekeeper",
    "manifests/gatekeeper-v3.10.0.yaml",
    25,
    webhooks=(
        "mutatingwebhookconfiguration/gatekeeper-mutating-webhook-configuration",
        "validatingwebhookconfiguration/gatekeeper-validating-webhook-configuration",
    ),
)
CERT_MANAGER = Content(
    "cert-manager",
    "manifests/cert-manager-v1.6.1.yaml",
    45,
    webhooks=(
        "mutatingwebhookconfiguration/cert-manager-webhook",
        "validatingwebhookconfiguration/cert-manager-webhook",
    ),
)
PODINFO = Content("podinfo", "repos/podinfo/kustomize", 2, namespace="podinfo")
ALL = (GATEKEEPER, CERT_MANAGER, PODINFO)


class Place:
    """One cluster, one operator, one content."""

    def __init__(self, content: Content, world: World, operator: OperatorProcess, proxy: ApiProxy) -> None:
        self.content, self.world, self.operator, self.proxy = content, world, operator, proxy

    def commit(self, **more: str | None) -> str:
        """Commit the content with more files (or fewer) beside it."""
        return self.world.repo.commit({**self.content.files(), **more}, "Content")

    def sync(self) -> None:
        """Make the Source and the Sync; harmless when they are there."""
        self.world.source(interval="1h")
        spec: Json = {"source": {"name": "src"}, "serviceAccountName": "deployer"}
        if self.content.namespace:
            spec |= {"targetNamespace": self.content.namespace, "createNamespace": True}
        body = {"apiVersion": "setpoint.dev/v1alpha1", "kind": "Sync", "metadata": {"name": "app"}}
        self.world.apply({**body, "spec": spec})

    def installed(self) -> Json:
        """Bring the content to Ready, if it is not; returns the Sync."""
        sha = self.world.repo.find("refs/heads/main") or self.commit()
        self.sync()
        self.world.ask("Source", "src", sha)
        return self.world.until("Sync", "app", ready_at(sha), seconds=SECONDS)

    def there(self, *names: str) -> list[str]:
        """Return which of these objects (`kind/name`) exist."""
        return self.world.cluster.kubectl("get", *names, "--ignore-not-found", "-o", "name").split()

    def objects(self) -> list[str]:
        """Return what exists of the inventory's kinds under our label, anywhere."""
        kinds = "deploy,svc,sa,secret,cm,hpa,clusterrole,clusterrolebinding,role,rolebinding,crd,ns,pdb,quota"
        kinds += ",mutatingwebhookconfigurations,validatingwebhookconfigurations"
        args = ("get", kinds, "-A", "-l", "setpoint.dev/sync", "-o", "name")
        return self.world.cluster.kubectl(*args).split()

    def renewals(self, count: int = RENEWALS) -> None:
        """Wait until the lease was renewed so many times from now on."""
        seen = len(self.proxy.select(_renews))
        self.proxy.wait_for(_renews, seen + count, SECONDS)

    def a_minute(self) -> None:
        """Wait until a minute has passed, by the times that the operator writes into its lease."""
        began = self._renewed()
        while self._renewed() - began < timedelta(minutes=1):
            self.renewals(1)

    def _renewed(self) -> datetime:
        args = ("get", "lease", "setpoint", "-n", SYSTEM, "-o", "jsonpath={.spec.renewTime}")
        return datetime.fromisoformat(self.world.cluster.kubectl(*args))


def _renews(request: Request) -> bool:
    return is_lease(request) and request.method in {"PUT", "PATCH"}


@pytest.fixture(scope="module", params=ALL, ids=lambda content: content.name)
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    content: Content = request.param
    content.files()
    interrupt_on_sigterm()
    folder: Path = tmp_path_factory.mktemp(content.name)
    with ExitStack() as stack:
        cluster = stack.enter_context(LocalCluster(kwok=True))
        install(cluster)
        git = stack.enter_context(GitHttp(folder / "git"))
        proxy = stack.enter_context(ApiProxy(cluster))
        world = World(cluster, Api(cluster), git)
        operator = OperatorProcess(
            proxy.kubeconfig(cluster.service_account_token(SYSTEM, "setpoint")), folder
        )
        operator.start()
        stack.callback(lambda: operator.process and operator.stop(signal.SIGKILL))
        yield Place(content, world, operator, proxy)


def test_webhooks_wait_for_what_serves_them(place: Place) -> None:
    if not place.content.webhooks:
        pytest.skip(f"{place.content.name} has no webhook")
    names = json.dumps([*place.content.files()])
    pending = place.commit(**{"kustomization.yaml": f"resources: {names}\npatches: {NOT_READY}"})
    place.sync()
    place.world.ask("Source", "src", pending)
    sync = place.world.until("Sync", "app", says("Waiting", "Deployment"), seconds=SECONDS)
    assert "WebhookConfiguration" in condition(sync)["message"]
    assert place.there(*place.content.webhooks) == []
    place.commit(**{"kustomization.yaml": None})
    place.installed()
    assert len(place.there(*place.content.webhooks)) == len(place.content.webhooks)


def test_it_becomes_ready_without_drift(place: Place) -> None:
    sync = place.installed()
    total = place.content.objects
    assert condition(sync)["message"] == f"{total}/{total} healthy"
    expected = {"objects": total, "synced": total, "healthy": total, "drifted": 0, "corrected": 0}
    assert sync["status"]["summary"] == expected
    assert not sync["status"].get("differences")
    assert not sync["status"].get("driftLog")
    if place.content.webhooks:
        assert len(place.there(*place.content.webhooks)) == len(place.content.webhooks)


def test_idle_it_asks_for_nothing(place: Place) -> None:
    before = place.installed()
    place.world.announced("Applied")
    place.renewals(2)  # the first may have been due, and come before the last of the Events
    place.proxy.clear()
    place.a_minute()
    assert told(place.proxy) == []
    after = place.world.until("Sync", "app", is_ready)
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]


def test_a_restart_writes_nothing_but_the_lease(place: Place) -> None:
    before = place.installed()
    place.operator.stop(signal.SIGTERM)
    place.proxy.clear()
    place.operator.start()
    place.proxy.wait_for(lambda r: r.is_watch and "/deployments" in r.path, 1, SECONDS)
    place.renewals()
    sent = [
        (r.method, r.path, r.query) for r in place.proxy.requests if r.method != "GET" and not is_lease(r)
    ]
    assert sent == []
    after = place.world.until("Sync", "app", is_ready)
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]


def test_it_goes_completely_with_its_sync(place: Place) -> None:
    place.installed()
    assert place.objects() != []
    place.world.api.delete("Sync", place.world.namespace, "app")
    place.world.until("Sync", "app", lambda o: o is None, seconds=SECONDS)
    assert place.objects() == []
