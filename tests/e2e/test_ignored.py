"""Ignored paths into lists: what somebody else set stays with the element that has it, wherever Git puts that."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from tests.e2e.conftest import World
from tests.e2e.test_sync import ready_at
from tests.kit.api import Json, is_ready
from tests.kit.cluster.base import KubectlError

pytestmark = pytest.mark.cluster

POD = "/spec/template/spec"


def deployment(*containers: Json, **spec: Any) -> str:
    """A Deployment without pods, as this is about its manifest."""
    labels = {"app": "shopfront"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": list(containers), **spec}}
    whole = {"replicas": 0, "selector": {"matchLabels": labels}, "template": pod}
    return json.dumps(
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shopfront"}, "spec": whole}
    )


def container(name: str, tag: int, **more: Any) -> Json:
    return {"name": name, "image": f"registry.example.org/{name}:{tag}", **more}


def containers(obj: Json) -> Json:
    return {c["name"]: c for c in obj["spec"]["template"]["spec"]["containers"]}


def start(world: World, manifest: str, *paths: str, kind: str = "Deployment") -> None:
    sha = world.repo.commit({"app.yaml": manifest}, "First")
    world.source()
    world.sync(ignore=[{"target": {"kind": kind}, "paths": list(paths)}])
    world.until("Sync", "app", ready_at(sha))


def commit(world: World, manifest: str) -> Json:
    sha = world.repo.commit({"app.yaml": manifest}, "Next")
    return world.until("Sync", "app", ready_at(sha))


def patch(world: World, *operations: Json) -> None:
    """Change it as another program does, which is no person."""
    world.cluster.kubectl(
        "patch", "deployment/shopfront", "-n", world.target, "--type=json", "--field-manager=updater",
        f"--patch={json.dumps(operations)}",
    )  # fmt: skip


def test_no_container_gets_the_image_of_another_one(world: World) -> None:
    start(world, deployment(container("app", 1)), f"{POD}/containers/0/image")
    patch(
        world, {"op": "replace", "path": f"{POD}/containers/0/image", "value": "registry.example.org/app:2"}
    )
    commit(world, deployment(container("app", 1), priorityClassName=""))
    assert containers(world.get("Deployment", "shopfront"))["app"]["image"] == "registry.example.org/app:2"
    commit(world, deployment(container("proxy", 5), container("app", 1)))
    found = containers(world.get("Deployment", "shopfront"))
    assert found["proxy"]["image"] == "registry.example.org/proxy:5"
    assert found["app"]["image"] == "registry.example.org/app:1"  # by the letter of the index


def test_what_a_path_names_is_kept_wherever_it_stands(world: World) -> None:
    env = [{"name": "LEVEL", "value": "info"}, {"name": "COLOR", "value": "green"}]
    ports: list[Json] = [
        {"containerPort": 53, "name": "tcp"},
        {"containerPort": 53, "protocol": "UDP", "name": "udp"},
    ]
    start(
        world,
        deployment(container("app", 1, env=env, ports=ports)),
        f"{POD}/containers/[name=app]/image",
        f"{POD}/containers/[name=app]/env/[name=LEVEL]/value",
        f"{POD}/containers/[name=app]/ports/[containerPort=53,protocol=TCP]/name",
    )  # fmt: skip
    patch(
        world,
        {"op": "replace", "path": f"{POD}/containers/0/image", "value": "registry.example.org/app:2"},
        {"op": "replace", "path": f"{POD}/containers/0/env/0/value", "value": "debug"},
        {"op": "replace", "path": f"{POD}/containers/0/env/1/value", "value": "red"},
        {"op": "replace", "path": f"{POD}/containers/0/ports/0/name", "value": "dns"},
        {"op": "replace", "path": f"{POD}/containers/0/ports/1/name", "value": "dns-udp"},
    )
    first = [{"name": "FIRST", "value": "1"}]
    # All that is not ignored is put back, and in Git everything changes its place.
    commit(
        world,
        deployment(container("proxy", 5), container("app", 1, env=first + env[::-1], ports=ports[::-1])),
    )
    app = containers(world.get("Deployment", "shopfront"))["app"]
    assert app["image"] == "registry.example.org/app:2"
    assert {e["name"]: e["value"] for e in app["env"]} == {"FIRST": "1", "COLOR": "green", "LEVEL": "debug"}
    assert {p["protocol"]: p["name"] for p in app["ports"]} == {"TCP": "dns", "UDP": "udp"}
    # An element that leaves Git goes, with what was ignored of it.
    commit(world, deployment(container("app", 1, env=first, ports=ports[1:])))
    app = containers(world.get("Deployment", "shopfront"))["app"]
    assert (app["env"], app["image"]) == (first, "registry.example.org/app:2")
    assert [p["name"] for p in app["ports"]] == ["udp"]


def test_a_list_without_keys_is_git_s_where_it_changes_and_a_warning_says_so(world: World) -> None:
    start(
        world, deployment(container("app", 1, args=["--level=info", "--color"])), f"{POD}/containers/0/args/0"
    )
    patch(world, {"op": "replace", "path": f"{POD}/containers/0/args/0", "value": "--level=debug"})
    commit(world, deployment(container("app", 2, args=["--level=info", "--color"])))
    app = containers(world.get("Deployment", "shopfront"))["app"]
    assert (app["image"], app["args"]) == ("registry.example.org/app:2", ["--level=debug", "--color"])
    commit(world, deployment(container("app", 2, args=["--new", "--level=info", "--color"])))
    assert containers(world.get("Deployment", "shopfront"))["app"]["args"] == [
        "--new",
        "--level=info",
        "--color",
    ]
    event = world.announced("ApiWarning")
    assert f"{POD}/containers/0/args/0 is ignored, but its list has no keys" in event["message"]


def test_an_injector_keeps_its_bundle_when_a_webhook_is_put_in_front(world: World) -> None:
    name = world.namespace

    def hooks(*labels: str) -> str:
        client = {"service": {"name": "hooks", "namespace": world.target}}
        one = {
            "clientConfig": client,
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "failurePolicy": "Ignore",
        }
        each = [{"name": f"{label}.example.org", **one} for label in labels]
        head = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration"}
        return json.dumps({**head, "metadata": {"name": name}, "webhooks": each})

    def bundles() -> Json:
        text = world.cluster.kubectl("get", "validatingwebhookconfiguration", name, "-o", "json")
        return {h["name"]: h["clientConfig"].get("caBundle") for h in json.loads(text)["webhooks"]}

    start(world, hooks("a"), "/webhooks/0/clientConfig/caBundle", kind="ValidatingWebhookConfiguration")
    operation = {"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": "Q0E="}
    world.cluster.kubectl(
        "patch", "validatingwebhookconfiguration", name, "--type=json", "--field-manager=injector",
        f"--patch={json.dumps([operation])}",
    )  # fmt: skip
    commit(world, hooks("b", "a"))
    assert bundles() == {"a.example.org": "Q0E=", "b.example.org": None}


def test_what_somebody_else_set_stays_when_its_parent_leaves_git(world: World) -> None:
    head = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
    start(
        world, json.dumps({**head, "data": {"color": "green", "size": "1"}}), "/data/color", kind="ConfigMap"
    )
    world.api.merge("ConfigMap", world.target, "a", {"data": {"color": "blue"}})
    commit(world, json.dumps({**head, "data": {"color": "green", "size": "2"}}))
    assert world.get("ConfigMap", "a")["data"] == {"color": "blue", "size": "2"}
    sync = commit(world, json.dumps(head))
    assert is_ready(sync)
    assert world.get("ConfigMap", "a")["data"] == {"color": "blue"}


def test_a_key_with_a_default_of_its_own_and_another_version_of_the_kind(world: World) -> None:
    group, name = f"{world.namespace}.example.org", "tasks"

    def version(label: str) -> Json:
        mode = {"type": "string", "default": "Slow"}
        fields = {"name": {"type": "string"}, "mode": mode, "size": {"type": "integer"}}
        items = {"type": "object", "required": ["name"], "properties": fields}
        steps = {"type": "array", "items": items, "x-kubernetes-list-type": "map"}
        steps["x-kubernetes-list-map-keys"] = ["name", "mode"]
        schema = {"openAPIV3Schema": {"type": "object", "properties": {"steps": steps}}}
        return {"name": label, "served": True, "storage": label == "v1", "schema": schema}

    def task(label: str, *steps: Json) -> str:
        head = {"apiVersion": f"{group}/{label}", "kind": "Task", "metadata": {"name": "a"}}
        return json.dumps({**head, "steps": list(steps)})

    def sizes() -> Json:
        text = world.cluster.kubectl("get", f"{name}.{group}", "a", "-n", world.target, "-o", "json")
        return {f"{s['name']}-{s['mode']}": s["size"] for s in json.loads(text)["steps"]}

    names = {"kind": "Task", "plural": name, "singular": "task", "listKind": "TaskList"}
    spec = {"group": group, "scope": "Namespaced", "names": names, "versions": [version("v1"), version("v2")]}
    head = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
    world.repo.commit(
        {"crd.yaml": json.dumps({**head, "metadata": {"name": f"{name}.{group}"}, "spec": spec})}, "CRD"
    )
    one, fast = {"name": "x", "size": 1}, {"name": "x", "mode": "Fast", "size": 1}
    start(world, task("v1", one, fast), "/steps/0/size", kind="Task")
    theirs = task("v1", {**one, "mode": "Slow", "size": 7}, {**fast, "size": 8})
    world.until("Sync", "app", is_ready)
    applied(world, theirs)
    world.until("Sync", "app", lambda o: is_ready(o) and o["status"]["summary"]["corrected"] == 1)
    assert sizes() == {"x-Slow": 7, "x-Fast": 1}
    commit(world, task("v1", fast, one))
    assert sizes() == {"x-Slow": 1, "x-Fast": 1}
    applied(world, theirs)
    world.until("Sync", "app", lambda o: is_ready(o) and o["status"]["summary"]["corrected"] == 2)
    assert sizes() == {"x-Slow": 1, "x-Fast": 8}
    commit(world, task("v2", {**fast, "size": 2}, {**one, "size": 2}, {"name": "y", "size": 2}))
    assert sizes() == {"x-Slow": 2, "x-Fast": 8, "y-Slow": 2}


def applied(world: World, manifest: str) -> None:
    """Apply a manifest as another program does, and again for as long as admission does not know its kind."""
    deadline = time.monotonic() + 60
    while True:
        try:
            world.cluster.kubectl(
                "apply", "--server-side", "--force-conflicts", "--field-manager=updater", "-n", world.target, "-f", "-",
                input=manifest,
            )  # fmt: skip
        except KubectlError as error:
            if "There can be a delay" not in str(error) or time.monotonic() > deadline:
                raise
        else:
            return
