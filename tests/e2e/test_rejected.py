"""What the API server will not take: the message quotes who said no, others go on, and putting it right is enough."""

from __future__ import annotations

import base64
import json
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError

import pytest
from tests.e2e.conftest import World, config
from tests.e2e.test_sync import ready_at
from tests.kit.api import SECONDS, Json, condition, is_ready, says
from tests.kit.cluster.base import Cluster
from tests.kit.cluster.local import LocalCluster
from tests.kit.cluster.pki import Authority
from tests.kit.servers.admission import WORDS, Admission
from tests.kit.servers.closed import closed_port

pytestmark = pytest.mark.cluster

WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: s}
spec: {clusterIP: %s, ports: [{port: 80}]}
"""


class Neighbour:
    """A second Sync of the same Source, with one object in the same namespace."""

    def __init__(self, world: World) -> None:
        self.world, self.name = world, "neighbour"
        world.sync(self.name, path="good")
        world.until("Sync", self.name, is_ready)

    def goes_on(self, sha: str, **data: str) -> None:
        """Check that a commit reached it, and that it is Ready."""
        self.world.until("Sync", self.name, ready_at(sha))
        assert self.world.get("ConfigMap", "good")["data"] == data


@pytest.fixture
def pair(world: World) -> tuple[World, Neighbour]:
    """Two Syncs that are Ready: `app` with ConfigMap a, and a neighbour."""
    world.repo.commit({"app/a.yaml": config("a", k="1"), "good/g.yaml": config("good", k="1")}, "First")
    world.source()
    world.sync(path="app")
    world.until("Sync", "app", is_ready)
    return world, Neighbour(world)


# --- webhooks


def tried(world: World, data: str) -> int:
    """Return how the API server answers a dry run of a ConfigMap with that key in the target namespace."""
    path = world.api.path("ConfigMap", world.target) + "?dryRun=All"
    try:
        with world.api.request("POST", path, json.loads(config("probe", **{data: "1"}))) as answer:
            return int(answer.status)
    except HTTPError as error:
        error.close()
        return error.code


@contextmanager
def webhook(world: World, url: str, authority: Authority) -> Iterator[str]:
    """Have every ConfigMap of the target namespace reviewed, but for the neighbour's."""
    name = f"{world.namespace}.example.org"
    hook = {
        "name": name,
        "clientConfig": {
            "url": url,
            "caBundle": base64.b64encode(authority.certificate.read_bytes()).decode(),
        },
        "rules": [
            {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["configmaps"]}
        ],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": world.target}},
        "matchConditions": [{"name": "not-the-neighbour", "expression": "request.name != 'good'"}],
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "timeoutSeconds": 5,
    }
    kind = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration"}
    world.api.request("POST", WEBHOOKS, {**kind, "metadata": {"name": name}, "webhooks": [hook]}).close()
    try:
        yield name
    finally:
        world.api.request("DELETE", f"{WEBHOOKS}/{name}").close()


def in_force(holds: Callable[[], bool]) -> None:
    """Ask the API server until it enforces a webhook: it reports no event when it does."""
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline, "the webhook never came into force"


@pytest.fixture
def reachable(installed: Cluster) -> None:
    """The API server must reach this process: one on this machine does."""
    if not isinstance(installed, LocalCluster):
        pytest.skip("the API server of this cluster cannot call a webhook in the test's process")


@pytest.mark.usefixtures("reachable")
def test_a_webhook_that_denies_is_quoted(
    pair: tuple[World, Neighbour], authority: Authority, tmp_path: Path
) -> None:
    world, neighbour = pair
    with Admission(authority.server("webhook")) as admission:
        with webhook(world, admission.url, authority) as name:
            in_force(lambda: tried(world, "bad") == 403)
            files = {"app/b.yaml": config("b", bad="1"), "app/a.yaml": config("a", k="2")}
            sha = world.repo.commit({**files, "good/g.yaml": config("good", k="2")}, "Bad")
            sync = world.until("Sync", "app", says("AdmissionDenied", WORDS))
            message = condition(sync)["message"]
            assert [w for w in ("app/b.yaml:1", "ConfigMap/", f"webhook {name}") if w not in message] == []
            assert world.get("ConfigMap", "a")["data"] == {"k": "1"}
            assert world.seek("ConfigMap", "b") is None
            neighbour.goes_on(sha, k="2")
            assert "b" in admission.reviewed
        # Its owner takes it away: that is all it needs.
        world.until("Sync", "app", ready_at(sha))
        assert world.get("ConfigMap", "b")["data"] == {"bad": "1"}
        # That the API server would not wait any longer is no fault of the webhook's.
        errors = [e for e in admission.errors if not isinstance(e, ConnectionError | ssl.SSLError)]
        assert errors == []


def test_a_webhook_that_cannot_be_called_is_named(
    pair: tuple[World, Neighbour], authority: Authority
) -> None:
    world, neighbour = pair
    with closed_port() as port:
        where = f"127.0.0.1:{port}"
        with webhook(world, f"https://{where}/validate", authority) as name:
            in_force(lambda: tried(world, "k") == 500)
            files = {"app/a.yaml": config("a", k="2"), "good/g.yaml": config("good", k="2")}
            sha = world.repo.commit(files, "Second")
            sync = world.until("Sync", "app", says("WebhookFailed", where))
            message = condition(sync)["message"]
            assert [w for w in ("app/a.yaml:1", name, "connection refused") if w not in message] == []
            assert world.get("ConfigMap", "a")["data"] == {"k": "1"}
            neighbour.goes_on(sha, k="2")
    world.until("Sync", "app", ready_at(sha))
    assert world.get("ConfigMap", "a")["data"] == {"k": "2"}


# --- fields that may not change


def next_address(address: str) -> str:
    """Return another address of the same range of Services."""
    head, _, last = address.rpartition(".")
    return f"{head}.{(int(last) + 1) % 250 + 2}"


def test_another_cluster_ip_is_named_and_the_service_stays(pair: tuple[World, Neighbour]) -> None:
    world, neighbour = pair
    sha = world.repo.commit({"app/s.yaml": SERVICE % '""'}, "A Service")
    world.until("Sync", "app", ready_at(sha))
    before = world.get("Service", "s")
    wanted = next_address(before["spec"]["clusterIP"])
    files = {"app/s.yaml": SERVICE % wanted, "app/b.yaml": config("b")}
    sha = world.repo.commit({**files, "good/g.yaml": config("good", k="2")}, "Another address")
    sync = world.until("Sync", "app", says("Immutable", "spec.clusterIP"))
    assert "app/s.yaml:2" in condition(sync)["message"]
    assert world.seek("ConfigMap", "b") is None
    after = world.get("Service", "s")
    assert (after["metadata"]["uid"], after["spec"]["clusterIP"]) == (
        before["metadata"]["uid"],
        before["spec"]["clusterIP"],
    )
    neighbour.goes_on(sha, k="2")
    # The remedy that the reason names: delete the object, and it is made anew.
    world.api.delete("Service", world.target, "s")
    world.until("Sync", "app", ready_at(sha))
    assert world.get("Service", "s")["spec"]["clusterIP"] == wanted


# --- namespaces and accounts


def namespaced(name: str, namespace: str) -> str:
    obj = json.loads(config(name))
    return json.dumps({**obj, "metadata": {"name": name, "namespace": namespace}})


def is_terminating(obj: Json | None) -> bool:
    return obj is not None and any(
        c["type"] == "NamespaceContentRemaining" and c["status"] == "True"
        for c in obj["status"].get("conditions", [])
    )


def test_an_object_for_a_namespace_that_is_being_deleted_waits(pair: tuple[World, Neighbour]) -> None:
    world, neighbour = pair
    extra: Json = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"{world.namespace}-x"}}
    name = extra["metadata"]["name"]
    world.api.create("Namespace", None, extra)
    held: Json = json.loads(config("held"))
    held["metadata"]["finalizers"] = ["example.org/hold"]
    world.api.create("ConfigMap", name, held)
    world.api.delete("Namespace", None, name)
    world.api.until("Namespace", None, name, is_terminating)
    files = {"app/x.yaml": namespaced("x", name), "app/a.yaml": config("a", k="2")}
    sha = world.repo.commit({**files, "good/g.yaml": config("good", k="2")}, "Into the void")
    sync = world.until("Sync", "app", says("NamespaceTerminating", name))
    assert "app/x.yaml:1" in condition(sync)["message"]
    assert world.get("ConfigMap", "a")["data"] == {"k": "1"}
    neighbour.goes_on(sha, k="2")
    world.api.merge("ConfigMap", name, "held", {"metadata": {"finalizers": None}})
    world.until("Sync", "app", says("NamespaceMissing", name))
    world.api.create("Namespace", None, extra)
    world.until("Sync", "app", ready_at(sha))
    assert world.api.get("ConfigMap", name, "x")
    world.cluster.kubectl("delete", "namespace", name, "--wait=false")


def test_a_namespace_deleted_under_its_sync_is_said_and_filled_again(world: World) -> None:
    world.repo.commit({"a.yaml": config("a", k="1")}, "First")
    world.source()
    world.sync()
    world.until("Sync", "app", is_ready)
    held: Json = json.loads(config("held"))
    held["metadata"]["finalizers"] = ["example.org/hold"]
    world.api.create("ConfigMap", world.target, held)
    world.api.delete("Namespace", None, world.target)
    world.until("Sync", "app", says("NamespaceTerminating", world.target))
    world.api.merge("ConfigMap", world.target, "held", {"metadata": {"finalizers": None}})
    world.until("Sync", "app", says("NamespaceMissing", world.target))
    world.api.create(
        "Namespace", None, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": world.target}}
    )
    world.until("Sync", "app", is_ready)
    assert world.get("ConfigMap", "a")["data"] == {"k": "1"}


def test_an_account_that_goes_is_told_from_one_without_rights(pair: tuple[World, Neighbour]) -> None:
    world, neighbour = pair
    world.account("ghost", None)
    world.sync(path="app", serviceAccountName="ghost")
    world.ask("Sync", "app", "now")
    files = {"app/a.yaml": config("a", k="2"), "good/g.yaml": config("good", k="2")}
    sha = world.repo.commit(files, "Second")
    weak = world.until("Sync", "app", says("Forbidden", f"{world.namespace}/ghost"))
    assert "configmaps" in condition(weak)["message"]
    world.api.delete("ServiceAccount", world.namespace, "ghost")
    gone = world.until("Sync", "app", says("ServiceAccountNotFound", f"{world.namespace}/ghost"))
    assert "create it" in condition(gone)["message"]
    assert gone["status"]["inventory"] == weak["status"]["inventory"]
    assert world.get("ConfigMap", "a")["data"] == {"k": "1"}
    neighbour.goes_on(sha, k="2")
    world.account("ghost", "cluster-admin")
    world.until("Sync", "app", ready_at(sha))
    assert world.get("ConfigMap", "a")["data"] == {"k": "2"}
