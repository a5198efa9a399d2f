"""Manifests as `kubectl get -o yaml` writes them: what the API server owns is left out, and said once."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from tests.e2e.conftest import World, config
from tests.kit.api import Json, condition, is_ready
from tests.kit.cluster.processes import until

pytestmark = pytest.mark.cluster


def deployment() -> Json:
    labels = {"app": "web"}
    container = {"name": "main", "image": "registry.example.org/web:1", "ports": [{"containerPort": 8080}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def service() -> Json:
    ports = [{"port": 80, "targetPort": 8080}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": ports},
    }


def exported(world: World) -> str:
    """Make the objects by hand, and give what `kubectl get -o yaml` prints of them, all fields shown."""
    for obj in (deployment(), service()):
        world.api.create(obj["kind"], world.target, obj)
    world.until("Deployment", "web", lambda o: o and o.get("status", {}).get("observedGeneration") == 1)
    return world.cluster.kubectl(
        "get", "deployment/web", "service/web", "-n", world.target, "-o", "yaml", "--show-managed-fields"
    )


def notes(world: World, reason: str) -> list[Json]:
    return [
        e
        for e in world.events(reason)
        if e["regarding" if "regarding" in e else "involvedObject"]["name"] == "app"
    ]


def told(world: World, reason: str) -> int:
    """Return how often an Event of this reason was recorded."""
    return sum(event.get("count") or 1 for event in notes(world, reason))


def ready_at(sha: str) -> Any:
    return lambda o: is_ready(o) and (o["status"].get("applied") or {}).get("revision", "").endswith(sha)


def test_an_export_is_adopted_and_what_is_not_a_persons_is_told_once(world: World) -> None:
    text = exported(world)
    assert "managedFields" in text
    assert "resourceVersion" in text
    sha = world.repo.commit({"shop/web.yaml": text}, "Export")
    world.source()
    world.sync()
    world.until("Sync", "app", ready_at(sha))
    note = world.announced("ServerFields")
    assert note["message"].startswith("shop/web.yaml:")
    assert "metadata.resourceVersion" in note["message"]
    assert "status" in note["message"]
    # Somebody writes the object, so that what Git has of it is old; Git's next commit still goes through.
    world.api.merge(
        "Deployment", world.target, "web", {"metadata": {"labels": {"hand": "1"}}}, manager="tool"
    )
    changed = text.replace("revisionHistoryLimit: 10", "revisionHistoryLimit: 3")
    sha = world.repo.commit({"shop/web.yaml": changed}, "Shorter history")
    world.until("Sync", "app", ready_at(sha))
    assert world.get("Deployment", "web")["spec"]["revisionHistoryLimit"] == 3
    # One for each commit; an Event is posted a moment after the status that it is about.
    until(lambda: told(world, "ServerFields") >= 2, "the Event of the second commit", 60)
    assert told(world, "ServerFields") == 2
    assert not notes(world, "Drift")


def test_an_export_is_made_anew_where_it_is_gone(world: World) -> None:
    text = exported(world)
    for kind in ("Deployment", "Service"):
        world.api.delete(kind, world.target, "web")
        world.until(kind, "web", lambda o: o is None)
    sha = world.repo.commit({"web.yaml": text}, "Export")
    world.source()
    world.sync()
    world.until("Sync", "app", ready_at(sha))
    assert world.get("Deployment", "web")["metadata"]["uid"] not in text


def test_empty_ones_go_without_a_word(world: World) -> None:
    text = yaml.safe_dump(
        {
            **json.loads(config("a", k="1")),
            "metadata": {"name": "a", "creationTimestamp": None, "managedFields": [], "uid": ""},
        }
    )
    made = {**deployment(), "status": {"conditions": [], "replicas": 0}}
    made["spec"]["template"]["metadata"]["creationTimestamp"] = None
    sha = world.repo.commit({"a.yaml": text, "b.yaml": json.dumps(made)}, "Empty")
    world.source()
    world.sync()
    world.until("Sync", "app", ready_at(sha))
    assert not notes(world, "ServerFields")
    assert not notes(world, "ApiWarning")
    assert not notes(world, "Drift")


def owned(uid: str, owner: str = "owner") -> str:
    obj = json.loads(config("child", k="1"))
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": owner, "uid": uid}
    obj["metadata"]["ownerReferences"] = [reference]
    return json.dumps(obj)


def test_an_owner_that_is_not_there_is_refused_and_one_that_is_there_passes(world: World) -> None:
    owner = world.api.create("ConfigMap", world.target, json.loads(config("owner", k="1")))
    world.repo.commit({"child.yaml": owned("6f1d9a52-0000-4000-8000-000000000000")}, "Old owner")
    world.source()
    world.sync()
    sync = world.until("Sync", "app", lambda o: condition(o).get("reason") == "OwnerMissing")
    assert "child.yaml:1" in condition(sync)["message"]
    assert "ConfigMap/owner" in condition(sync)["message"]
    assert world.seek("ConfigMap", "child") is None
    sha = world.repo.commit({"child.yaml": owned(owner["metadata"]["uid"])}, "Its owner")
    world.until("Sync", "app", ready_at(sha))
    assert world.get("ConfigMap", "child")["metadata"]["ownerReferences"][0]["name"] == "owner"


def test_equal_documents_are_one_and_unequal_ones_an_error(world: World) -> None:
    one = config("a", k="1")
    sha = world.repo.commit({"a.yaml": f"{one}\n---\n{one}\n", "b.yaml": one}, "Concatenated")
    world.source()
    world.sync()
    sync = world.until("Sync", "app", ready_at(sha))
    assert sync["status"]["summary"]["objects"] == 1
    note = world.announced("Duplicate")
    assert "a.yaml:3" in note["message"]
    world.repo.commit({"b.yaml": config("a", k="2")}, "Another content")
    sync = world.until("Sync", "app", lambda o: condition(o).get("reason") == "RenderFailed")
    assert "already defined" in condition(sync)["message"]
