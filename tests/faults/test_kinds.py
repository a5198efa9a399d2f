"""Kinds that go and come back, and an API group whose server is away: who needs them says so, all else goes on."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from tests.e2e.conftest import World, config
from tests.e2e.test_sync import ready_at
from tests.faults.operators import Operator
from tests.faults.steps import enforced, ready
from tests.kit.api import Json, says
from tests.kit.cluster.base import KubectlError
from tests.kit.cluster.processes import until
from tests.kit.servers.apiproxy import ApiProxy
from tests.kit.servers.apirules import Reply, alter

pytestmark = pytest.mark.cluster

GROUP, AWAY = "test.setpoint.dev", "away.setpoint.dev"
OURS = "/apis/setpoint.dev/v1alpha1"
CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": f"widgets.{GROUP}"},
    "spec": {
        "group": GROUP,
        "names": {"kind": "Widget", "plural": "widgets", "singular": "widget", "listKind": "WidgetList"},
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
                },
            }
        ],
    },
}
WIDGET = {"apiVersion": f"{GROUP}/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"k": "1"}}
SERVICE = {
    "apiVersion": "apiregistration.k8s.io/v1",
    "kind": "APIService",
    "metadata": {"name": f"v1.{AWAY}"},
    "spec": {
        "group": AWAY,
        "version": "v1",
        "service": {"namespace": "default", "name": "nobody"},
        "insecureSkipTLSVerify": True,
        "groupPriorityMinimum": 100,
        "versionPriority": 10,
    },
}
THING = {"apiVersion": f"{AWAY}/v1", "kind": "Thing", "metadata": {"name": "t"}}


def install_crd(world: World) -> None:
    world.cluster.kubectl("apply", "--filename=-", input=json.dumps(CRD))
    # It is established before its objects are served.
    raw = f"/apis/{GROUP}/v1/widgets"
    until(lambda: '"WidgetList"' in _said(world, "get", "--raw", raw), "Widgets that are served", 60)


def remove_crd(world: World) -> None:
    world.cluster.kubectl("delete", "crd", f"widgets.{GROUP}", "--ignore-not-found", "--timeout=180s")


def with_widget(world: World, widget: Json) -> str:
    """Bring a Widget and a ConfigMap to the cluster; returns the commit."""
    sha = world.repo.commit({"w.yaml": json.dumps(widget), "a.yaml": config("a", k="1")}, "First")
    world.source()
    world.sync()
    world.until("Sync", "app", ready_at(sha))
    return sha


def test_a_crd_that_goes_and_comes_back(world: World, operator: Operator) -> None:
    install_crd(world)
    try:
        sha = with_widget(world, WIDGET)
        remove_crd(world)
        sync = world.until("Sync", "app", says("KindUnknown", "Widget"))
        world.announced("KindUnknown")
        assert sync["status"]["applied"]["revision"].endswith(sha)
        enforced(world)
        install_crd(world)
        found = world.until("Widget", "w", lambda o: o is not None)
        assert found["spec"] == {"k": "1"}
        world.until("Sync", "app", ready_at(sha))
        world.api.delete("Widget", world.target, "w")
        world.until("Widget", "w", lambda o: o and o["metadata"]["uid"] != found["metadata"]["uid"])
    finally:
        remove_crd(world)


def test_an_api_group_without_a_server(world: World, operator: Operator) -> None:
    """Discovery is half: other kinds, also new ones, go on; who needs the group is told what is broken."""
    kubectl = world.cluster.kubectl
    sha = ready(world)
    kubectl("apply", "--filename=-", input=json.dumps(SERVICE))
    try:
        raw = f"/apis/{AWAY}/v1"
        until(
            lambda: "ServiceUnavailable" in _said(world, "get", "--raw", raw), "a group without a server", 60
        )
        world.repo.commit({"other/t.yaml": json.dumps(THING), "other/o.yaml": config("o", k="1")}, "Needs it")
        world.sync("needs", path="other")
        # Discovery may name the group a moment later than the server knows it.
        world.until("Sync", "needs", says("KindUnknown", f"{AWAY} does not answer"))
        world.announced("KindUnknown", "needs")
        install_crd(world)
        sha = world.repo.commit({"w.yaml": json.dumps(WIDGET)}, "A new kind")
        world.sync(exclude=["other/**"])
        world.until("Sync", "app", ready_at(sha))
        assert world.seek("Widget", "w")
        enforced(world)
        sha = world.repo.commit({"other/t.yaml": None}, "Not needed any more")
        world.until("Sync", "needs", ready_at(sha))
    finally:
        kubectl("delete", "apiservice", f"v1.{AWAY}")
        remove_crd(world)


def test_a_deletion_gives_up_nothing_of_an_api_group_without_a_server(
    world: World, operator: Operator
) -> None:
    """The operator begins while the group is away: it does not know the kind, and that says nothing of its objects."""
    kubectl = world.cluster.kubectl
    install_crd(world)
    service = f"v1.{GROUP}"
    try:
        with_widget(world, WIDGET)
        nobody = {"service": {"namespace": "default", "name": "nobody"}, "insecureSkipTLSVerify": True}
        ours = {"labels": {"kube-aggregator.kubernetes.io/automanaged": None}}
        patch = json.dumps({"metadata": ours, "spec": nobody})
        kubectl("patch", "apiservice", service, "--type=merge", f"--patch={patch}")
        raw = f"/apis/{GROUP}/v1"
        until(
            lambda: "ServiceUnavailable" in _said(world, "get", "--raw", raw), "a group without a server", 60
        )
        operator.stop()
        operator.start()
        world.api.delete("Sync", world.namespace, "app")
        sync = world.until("Sync", "app", says("ApiUnavailable", GROUP))
        left = [(group["kind"], group["names"]) for group in sync["status"]["inventory"]]
        assert ("Widget", ["w"]) in left
        kubectl("delete", "apiservice", service)  # the server makes its own again
        until(lambda: '"APIResourceList"' in _said(world, "get", "--raw", raw), "the group's own server", 60)
        world.until("Sync", "app", lambda o: o is None)
        assert world.seek("Widget", "w") is None
    finally:
        kubectl("delete", "apiservice", service, "--ignore-not-found")
        until(
            lambda: '"APIResourceList"' in _said(world, "get", "--raw", f"/apis/{GROUP}/v1"), "its server", 60
        )
        remove_crd(world)


def test_a_crd_that_goes_while_a_deletion_waits_for_its_objects(world: World, operator: Operator) -> None:
    kubectl, nothing = world.cluster.kubectl, '--patch={"metadata":{"finalizers":null}}'
    held = {**WIDGET, "metadata": {"name": "w", "finalizers": ["example.org/hold"]}}
    install_crd(world)
    try:
        with_widget(world, held)
        world.api.delete("Sync", world.namespace, "app")
        world.until("Sync", "app", says("Deleting", "example.org/hold"))
        # At once, and not when its objects are gone: of their end there is no event.
        kubectl("delete", "crd", f"widgets.{GROUP}", "--wait=false")
        kubectl("patch", "crd", f"widgets.{GROUP}", "--type=merge", nothing)
        world.until("Sync", "app", lambda o: o is None)
        assert world.seek("ConfigMap", "a") is None
    finally:
        install_crd(world)  # with what is left of them
        release = ("patch", "widget", "w", "-n", world.target, "--type=merge", nothing)
        # A new kind can be read a moment before it can be written.
        until(lambda: "ServiceUnavailable" not in _said(world, *release), "Widgets that can be written", 60)
        remove_crd(world)


@pytest.mark.parametrize("missing", ["sources", "syncs"])
def test_discovery_that_has_not_heard_of_our_own_kinds(
    world: World, operator: Operator, proxy: ApiProxy, missing: str
) -> None:
    """The list of a group's kinds is read once when the watches begin; it may come from a server that is behind."""

    def without(answer: Reply) -> Reply:
        document = json.loads(answer.body)
        kept = [r for r in document["resources"] if not r["name"].startswith(missing)]
        return replace(answer, body=json.dumps({**document, "resources": kept}).encode())

    operator.stop()
    before = operator.logged()
    with proxy.on(lambda r: r.path == OURS, alter(without), times=1):
        operator.start()
        operator.says(f"does not list {missing}", before)
    ready(world)
    for plural in ("sources", "syncs"):
        proxy.wait_for(lambda r, p=plural: r.is_watch and r.path == f"{OURS}/{p}" and not r.ended)  # type: ignore[misc]
    world.sync(suspend=True)
    world.until("Sync", "app", says("Suspended"))
    world.source(suspend=True)
    world.until("Source", "src", says("Suspended"))


def _said(world: World, *command: str) -> str:
    try:
        return world.cluster.kubectl(*command)
    except KubectlError as error:
        return str(error)
