"""Fields that a controller owns by contract: they are left to it, nobody fights, and Git's part is told once."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from tests.e2e.conftest import World, config
from tests.e2e.test_exported import notes
from tests.e2e.test_sync import ready_at
from tests.kit.api import Json
from tests.kit.servers.apiproxy import ApiProxy

pytestmark = pytest.mark.cluster
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
