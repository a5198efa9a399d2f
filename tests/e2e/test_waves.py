"""Waves that would wait in a circle: what waits for its users holds no wave; what does not, does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.e2e.conftest import World, config
from tests.kit.api import Json, condition, is_ready

pytestmark = pytest.mark.cluster

DEFAULT = "storageclass.kubernetes.io/is-default-class"


def storage_class(name: str, mode: str, **annotations: str) -> Json:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name, "annotations": annotations},
        "provisioner": "disks.example.org",
        "volumeBindingMode": mode,
    }


def claim(name: str, of: str | None) -> Json:
    spec: Json = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": spec if of is None else {**spec, "storageClassName": of},
    }


def mounting(name: str, volume: str) -> Json:
    return {
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": volume}}],
        "containers": [
            {
                "name": name,
                "image": "registry.example.org/reader:1",
                "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            }
        ],
    }


def deployment(name: str, pod: Json, wave: str) -> Json:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "annotations": {"setpoint.dev/wave": wave}},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def later(name: str) -> str:
    """Give a ConfigMap of wave 1."""
    obj = json.loads(config(name, k="1"))
    obj["metadata"]["annotations"] = {"setpoint.dev/wave": "1"}
    return json.dumps(obj)


def commit(world: World, *objects: Json, **files: str) -> str:
    made = {f"{n}.yaml": json.dumps(obj) for n, obj in enumerate(objects)}
    return world.repo.commit({**made, **{f"{k}.yaml": v for k, v in files.items()}}, "Waves")


def differ(*names: str) -> Any:
    """Tell whether just these objects are not as they should be."""

    def fits(sync: Json | None) -> bool:
        found = ((sync or {}).get("status") or {}).get("differences") or []
        return {d["name"] for d in found} == set(names)

    return fits


@pytest.fixture
def late(world: World) -> Iterator[str]:
    """A class that binds at first consumer, and that is not of Git."""
    name = f"late-{world.namespace}"
    world.api.create("StorageClass", None, storage_class(name, "WaitForFirstConsumer"))
    yield name
    world.api.delete("StorageClass", None, name)


def test_a_claim_of_a_class_of_the_same_commit_does_not_hold_its_consumer(world: World) -> None:
    of = f"bugs-late-{world.namespace}"
    reader = deployment("reader", mounting("main", "library"), "1")
    sha = commit(world, storage_class(of, "WaitForFirstConsumer"), claim("library", of), reader)
    world.source()
    world.sync()
    world.until("Deployment", "reader", lambda o: o is not None)
    # A volume that cannot be had still keeps the Sync from being Healthy, once a Pod wants it.
    sync = world.until("Sync", "app", differ("library", "reader"))
    assert sync["status"]["applied"]["revision"].endswith(sha)
    assert condition(sync, "Healthy")["status"] == "False"


def test_a_claim_of_the_default_class_does_not_hold_its_consumer(world: World) -> None:
    name = f"default-{world.namespace}"
    world.api.create("StorageClass", None, storage_class(name, "WaitForFirstConsumer", **{DEFAULT: "true"}))
    try:
        commit(world, claim("library", None), deployment("reader", mounting("main", "library"), "1"))
        world.source()
        world.sync()
        world.until("Deployment", "reader", lambda o: o is not None)
    finally:
        world.api.delete("StorageClass", None, name)


def test_a_team_that_may_not_read_classes_gets_on_too(world: World, late: str) -> None:
    world.account("team", "edit")
    commit(world, claim("library", late), deployment("reader", mounting("main", "library"), "1"))
    world.source()
    world.sync(serviceAccountName="team")
    world.until("Deployment", "reader", lambda o: o is not None)


def test_a_claim_that_binds_at_once_holds_its_wave(world: World) -> None:
    of = f"soon-{world.namespace}"
    commit(world, storage_class(of, "Immediate"), claim("library", of), later=later("later"))
    world.source()
    world.sync()
    sync = world.until("Sync", "app", lambda o: o and "wave 0" in condition(o).get("message", ""))
    assert f"PersistentVolumeClaim/{world.target}/library" in condition(sync)["message"]
    assert world.seek("ConfigMap", "later") is None


def test_a_claim_that_no_pod_mounts_is_healthy_until_one_does(world: World, late: str) -> None:
    sha = commit(world, claim("library", late))
    world.source()
    world.sync()
    sync = world.until("Sync", "app", is_ready)
    assert sync["status"]["healthy"]["revision"].endswith(sha)
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "reader"},
        "spec": mounting("main", "library"),
    }
    world.api.create("Pod", world.target, pod)
    sync = world.until("Sync", "app", differ("library"))
    assert condition(sync, "Healthy")["status"] == "False"
    world.api.request(
        "DELETE", f"{world.api.path('Pod', world.target, 'reader')}?gracePeriodSeconds=0"
    ).close()
    world.until("Sync", "app", is_ready)


def test_what_waits_for_an_address_or_a_target_holds_no_wave(world: World) -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "front"},
        "spec": {"type": "LoadBalancer", "selector": {"app": "web"}, "ports": [{"port": 80}]},
    }
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    autoscaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web"},
        "spec": {"scaleTargetRef": target, "maxReplicas": 2},
    }
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "web"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}},
    }
    sha = commit(world, service, autoscaler, budget, later=later("later"))
    world.source()
    world.sync()
    world.until("ConfigMap", "later", lambda o: o is not None)
    sync = world.until(
        "Sync", "app", lambda o: o and (o["status"].get("applied") or {}).get("revision", "").endswith(sha)
    )
    assert condition(sync, "Healthy")["status"] == "False"


def test_a_pod_comes_with_what_it_must_not_be_without(world: World) -> None:
    """The API server refuses a Pod whose ServiceAccount or class is not there, so its dry run has to wait for them."""
    name = world.namespace
    account: Json = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "mine"}}
    rank = {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": name},
        "value": 10,
    }
    runtime = {
        "apiVersion": "node.k8s.io/v1",
        "kind": "RuntimeClass",
        "metadata": {"name": name},
        "handler": "x",
    }
    containers = [{"name": "one", "image": "registry.example.org/one:1"}]
    spec = {
        "serviceAccountName": "mine",
        "priorityClassName": name,
        "runtimeClassName": name,
        "containers": containers,
    }
    pod: Json = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one"}, "spec": spec}
    files = {f"{o['kind']}.json": json.dumps(o) for o in (account, rank, runtime, pod)}
    sha = world.repo.commit(files, "All at once")
    world.source()
    world.sync()
    world.until("Sync", "app", lambda o: condition(o, "Synced").get("status") == "True")
    assert world.status()["applied"]["revision"].endswith(sha)
    assert world.get("Pod", "one")["spec"]["priority"] == 10
