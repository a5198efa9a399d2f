"""Fields that a controller owns by contract: they are left to it, nobody fights, and Git's part is told once."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import pytest
from tests.e2e.conftest import World, config
from tests.e2e.test_exported import notes
from tests.e2e.test_nested import synced_at
from tests.e2e.test_sync import ready_at
from tests.kit.api import Json
from tests.kit.servers.apiproxy import ApiProxy
from tests.kit.servers.apirules import Hold, Request

pytestmark = pytest.mark.cluster
NODE = "volume.kubernetes.io/selected-node"
RBAC = "rbac.authorization.k8s.io/v1"
READ = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}
LIST = {"apiGroups": [""], "resources": ["services"], "verbs": ["list"]}


@pytest.fixture
def house(world: World) -> Iterator[World]:
    """A World whose objects without a namespace go with it."""
    yield world
    for kind in ("ClusterRole", "ValidatingWebhookConfiguration"):
        for name in ("whole", "part", "hook"):
            world.api.discard(kind, None, f"{world.namespace}-{name}")
    group = f"{world.namespace}.example.org"
    for name in (
        f"persistentvolume/{world.namespace}-disk",
        f"apiservice/v9.{group}",
        f"crd/gadgets.{group}",
    ):
        world.cluster.kubectl("delete", name, "--ignore-not-found", "--wait=false")


def role(world: World, name: str, **rest: object) -> str:
    meta: Json = {
        "name": f"{world.namespace}-{name}",
        **({} if name == "whole" else {"labels": label(world)}),
    }
    return json.dumps({"apiVersion": RBAC, "kind": "ClusterRole", "metadata": meta, **rest})


def label(world: World) -> Json:
    return {f"{world.namespace}.example.org/part": "yes"}


def whole(world: World, *rules: Json) -> str:
    return role(
        world, "whole", aggregationRule={"clusterRoleSelectors": [{"matchLabels": label(world)}]}, rules=rules
    )


def rules(world: World) -> list[Json]:
    return list(world.api.get("ClusterRole", None, f"{world.namespace}-whole").get("rules") or [])


def corrected(sync: Json) -> int:
    return int(sync["status"]["summary"]["corrected"])


def test_the_rules_of_an_aggregated_role_are_the_controllers(house: World, proxy: ApiProxy) -> None:
    world, name = house, f"{house.namespace}-whole"
    files = {"whole.yaml": whole(world), "part.yaml": role(world, "part", rules=[READ])}
    sha = world.repo.commit(files, "First")
    world.source()
    world.sync()
    world.until("Sync", "app", ready_at(sha))
    world.api.until("ClusterRole", None, name, lambda o: o and o["rules"] == [READ])
    # More rules, and rules in Git that are not the controller's: the role is filled by it alone.
    sha = world.repo.commit(
        {"whole.yaml": whole(world, LIST), "part.yaml": role(world, "part", rules=[READ, LIST])}, "More"
    )
    world.until("Sync", "app", ready_at(sha))
    world.api.until("ClusterRole", None, name, lambda o: o and o["rules"] == [READ, LIST])
    assert world.announced("ControllerFields")["message"].endswith("/rules")
    # A run that surely came after all of this.
    sha = world.repo.commit({"a.yaml": config("a")}, "Another")
    sync = world.until("Sync", "app", ready_at(sha))
    assert rules(world) == [READ, LIST]
    assert corrected(sync) == 0
    assert not sync["status"].get("driftLog")
    assert not notes(world, "Drift")
    assert len([r for r in proxy.writes if r.path.endswith(f"/clusterroles/{name}")]) <= 2


def hook(world: World, *names: str) -> str:
    meta = {
        "name": f"{world.namespace}-hook",
        "annotations": {"cert-manager.io/inject-ca-from": f"{world.namespace}/ca"},
    }
    rule = {
        "apiGroups": ["x.example.org"],
        "apiVersions": ["v1"],
        "operations": ["CREATE"],
        "resources": ["y"],
    }
    service = {"service": {"name": "hook", "namespace": world.namespace}, "caBundle": "Cg=="}
    hooks = [
        {
            "name": f"{name}.example.org",
            "clientConfig": service,
            "rules": [rule],
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        }
        for name in names
    ]
    head = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration"}
    return json.dumps({**head, "metadata": meta, "webhooks": hooks})


def test_a_bundle_beside_an_injector_stays(house: World) -> None:
    world, kind, name = house, "ValidatingWebhookConfiguration", f"{house.namespace}-hook"
    sha = world.repo.commit({"hook.yaml": hook(world, "one")}, "First")
    world.source()
    world.sync()
    world.until("Sync", "app", ready_at(sha))
    inject = [{"op": "replace", "path": "/webhooks/0/clientConfig/caBundle", "value": "cmVhbA=="}]
    world.cluster.kubectl(
        "patch", kind, name, "--type=json", f"--patch={json.dumps(inject)}", "--field-manager=cainjector"
    )
    sha = world.repo.commit({"hook.yaml": hook(world, "new", "one")}, "Another in front")
    sync = world.until("Sync", "app", ready_at(sha))
    found = world.api.get(kind, None, name)["webhooks"]
    assert [w["clientConfig"]["caBundle"] for w in found] == ["Cg==", "cmVhbA=="]
    assert corrected(sync) == 0
    assert not notes(world, "ControllerFields")


def placeholders(world: World) -> dict[str, str]:
    """Give what an injector of CA bundles fills in besides webhooks, and what other controllers write."""
    group, disk = f"{world.namespace}.example.org", f"{world.namespace}-disk"
    injected = {"annotations": {"cert-manager.io/inject-ca-from": f"{world.namespace}/ca"}}
    service = {"name": "server", "namespace": world.namespace}
    names = {"kind": "Gadget", "plural": "gadgets", "singular": "gadget", "listKind": "GadgetList"}
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    client = {"service": service, "caBundle": "Cg=="}
    hook = {"conversionReviewVersions": ["v1"], "clientConfig": client}
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"gadgets.{group}", **injected},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": names,
            "conversion": {"strategy": "Webhook", "webhook": hook},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }
    labels = {"app": "web"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": "web:1"}]}}
    web = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "annotations": {"deployment.kubernetes.io/revision": "7"}},
        "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": pod},
    }
    marks = {
        "pv.kubernetes.io/bind-completed": "yes",
        "pv.kubernetes.io/bound-by-controller": "yes",
        NODE: "away",
    }
    size, gone = {"storage": "1Gi"}, "6f1d9a52-0000-4000-8000-000000000000"
    shape = {"accessModes": ["ReadWriteOnce"], "storageClassName": "by-hand"}
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": disk, "annotations": {"pv.kubernetes.io/bound-by-controller": "yes"}},
        "spec": {
            **shape,
            "capacity": size,
            "hostPath": {"path": "/disk"},
            "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": world.target,
                "name": "data",
                "uid": gone,
                "resourceVersion": "1",
            },
        },
    }
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "annotations": marks},
        "spec": {**shape, "resources": {"requests": size}, "volumeName": disk},
    }
    robot = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot"}}
    account = {"kubernetes.io/service-account.name": "robot", "kubernetes.io/service-account.uid": gone}
    token = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "token", "annotations": account},
        "type": "kubernetes.io/service-account-token",
        "data": {"ca.crt": "Cg=="},
    }
    its = {"batch.kubernetes.io/controller-uid": gone}
    once = {"restartPolicy": "Never", "containers": [{"name": "once", "image": "once:1"}]}
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "once"},
        "spec": {
            "suspend": True,
            "selector": {"matchLabels": its},
            "template": {"metadata": {"labels": {**its, "controller-uid": gone}}, "spec": once},
        },
    }
    return {f"{n}.yaml": json.dumps(o) for n, o in enumerate((crd, web, volume, claim, robot, token, job))}


def test_what_controllers_write_stays_whatever_an_export_says(house: World) -> None:
    world, group, disk = house, f"{house.namespace}.example.org", f"{house.namespace}-disk"
    sha = world.repo.commit(placeholders(world), "First")
    world.source()
    world.sync()
    # The placeholder of a CRD is no bundle, so it is not healthy before it is injected.
    world.until("Sync", "app", synced_at(sha))
    # The volume and the claim of the export are bound anew, to each other.
    claim = world.until("PersistentVolumeClaim", "data", lambda o: o["status"].get("phase") == "Bound")
    volume = json.loads(world.cluster.kubectl("get", "persistentvolume", disk, "-o", "json"))
    assert (volume["status"]["phase"], volume["spec"]["claimRef"]["uid"]) == (
        "Bound",
        claim["metadata"]["uid"],
    )
    bundle = base64.b64encode(world.cluster.ca.read_bytes()).decode()
    path = "/spec/conversion/webhook/clientConfig/caBundle"
    inject = json.dumps([{"op": "replace", "path": path, "value": bundle}])
    world.cluster.kubectl(
        "patch", "crd", f"gadgets.{group}", "--type=json", f"--patch={inject}", "--field-manager=cainjector"
    )
    # A commit that changes each of them, and a check of everything.
    files = {
        name: text.replace('"metadata": {', '"metadata": {"labels": {"step": "2"}, ', 1)
        for name, text in placeholders(world).items()
    }
    sha = world.repo.commit(files, "Second")
    world.until("Sync", "app", ready_at(sha))
    world.ask("Sync", "app", "again")
    sync = world.until("Sync", "app", lambda o: ready_at(sha)(o) and o["status"].get("requested") == "again")
    assert corrected(sync) == 0
    assert not sync["status"].get("driftLog")
    crd = world.api.get("CustomResourceDefinition", None, f"gadgets.{group}")
    assert crd["spec"]["conversion"]["webhook"]["clientConfig"]["caBundle"] == bundle
    annotations = world.get("Deployment", "web")["metadata"]["annotations"]
    assert annotations["deployment.kubernetes.io/revision"] == "1"
    after = world.get("PersistentVolumeClaim", "data")
    assert (after["status"]["phase"], after["metadata"]["labels"]) == (
        "Bound",
        {**after["metadata"]["labels"], "step": "2"},
    )
    assert NODE not in after["metadata"]["annotations"]
    # The token controller would have deleted the Secret, and the API server refused the Job.
    token, robot = world.get("Secret", "token"), world.get("ServiceAccount", "robot")
    uid = token["metadata"]["annotations"]["kubernetes.io/service-account.uid"]
    assert uid == robot["metadata"]["uid"]
    assert base64.b64decode(token["data"]["ca.crt"]) == world.cluster.ca.read_bytes()
    job = json.loads(world.cluster.kubectl("get", "job", "once", "-n", world.target, "-o", "json"))
    own = {"batch.kubernetes.io/controller-uid": job["metadata"]["uid"]}
    assert (job["spec"]["selector"], job["metadata"]["labels"]["step"]) == ({"matchLabels": own}, "2")
    told = world.announced("ControllerFields")["message"]
    assert "claimRef" in told or "pv.kubernetes.io" in told or "revision" in told


def test_the_bundle_of_an_api_service_stays(house: World) -> None:
    """Nobody serves it, so that it is never healthy; that makes no difference to whose its bundle is."""
    world, name = house, f"v9.{house.namespace}.example.org"

    def service(step: str) -> str:
        meta = {
            "name": name,
            "labels": {"step": step},
            "annotations": {"cert-manager.io/inject-ca-from": f"{world.namespace}/ca"},
        }
        spec = {
            "group": f"{world.namespace}.example.org",
            "version": "v9",
            "groupPriorityMinimum": 10,
            "versionPriority": 10,
            "service": {"name": "nobody", "namespace": world.namespace},
            "caBundle": "Cg==",
        }
        head = {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService"}
        return json.dumps({**head, "metadata": meta, "spec": spec})

    def live() -> Json:
        found: Json = json.loads(world.cluster.kubectl("get", "apiservice", name, "-o", "json"))
        return found

    sha = world.repo.commit({"service.yaml": service("1")}, "First")
    world.source()
    world.sync()
    world.until("Sync", "app", synced_at(sha))
    bundle = base64.b64encode(world.cluster.ca.read_bytes()).decode()
    inject = json.dumps([{"op": "replace", "path": "/spec/caBundle", "value": bundle}])
    world.cluster.kubectl(
        "patch", "apiservice", name, "--type=json", f"--patch={inject}", "--field-manager=cainjector"
    )
    sha = world.repo.commit({"service.yaml": service("2")}, "Second")
    sync = world.until("Sync", "app", synced_at(sha))
    assert live()["metadata"]["labels"]["step"] == "2"
    assert live()["spec"]["caBundle"] == bundle
    assert corrected(sync) == 0
    assert not sync["status"].get("driftLog")
    assert not notes(world, "ControllerFields")


def test_what_a_controller_writes_during_a_check_is_no_drift(world: World, proxy: ApiProxy) -> None:
    """Between the look at the object and its dry run: what both show is of one state, or it would be a difference."""

    def checks(request: Request) -> bool:
        return request.is_dry_run and request.path == world.api.path("ConfigMap", world.target, "a")

    def meanwhile(value: str, **data: str) -> Json:
        hold = Hold()
        with proxy.on(checks, hold, times=1):
            world.ask("Sync", "app", value)
            assert hold.arrived.wait(60)
            world.api.merge("ConfigMap", world.target, "a", {"data": data}, manager="some-controller")
            hold.release()
            return world.until("Sync", "app", lambda o: o and o["status"].get("requested") == value)

    sha = world.repo.commit({"a.yaml": config("a", k="1", ignored="1")}, "First")
    world.source()
    rule = {"target": {"kind": "ConfigMap"}, "paths": ["/data/ignored"]}
    world.sync(ignore=[rule])
    world.until("Sync", "app", ready_at(sha))
    for value in ("2", "3"):
        sync = meanwhile(value, more=value, ignored=value)
        assert corrected(sync) == 0
        assert not sync["status"].get("driftLog")
        assert world.get("ConfigMap", "a")["data"] == {"k": "1", "more": value, "ignored": value}
    assert not notes(world, "Drift")
