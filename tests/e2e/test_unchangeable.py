"""Fields that may not change, in the words of many kinds: each is named as such, and what is live stays."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from tests.e2e.conftest import World, config
from tests.kit.api import Json, condition, says

pytestmark = pytest.mark.cluster


@pytest.fixture
def house(world: World) -> Iterator[World]:
    """A World whose objects without a namespace go with it."""
    yield world
    for kind, name in CLUSTER_WIDE:
        world.cluster.kubectl(
            "delete", kind, f"{world.namespace}-{name}", "--ignore-not-found", "--wait=false"
        )


CLUSTER_WIDE = (
    ("storageclass", "parameters"),
    ("storageclass", "provisioner"),
    ("storageclass", "policy"),
    ("csidriver", "driver"),
    ("runtimeclass", "handler"),
    ("ingressclass", "controller"),
    ("priorityclass", "value"),
    ("persistentvolume", "source"),
    ("persistentvolume", "disk"),
)


def synced_at(sha: str):  # type: ignore[no-untyped-def]
    """Tell whether all is applied; a claim without a volume is not healthy, and no fault of ours."""
    return lambda o: (
        condition(o, "Synced").get("status") == "True"
        and (o["status"].get("applied") or {}).get("revision", "").endswith(sha)
    )


def claim(name: str, size: str, **spec: object) -> Json:
    wanted = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}, **spec}
    return made("v1", "PersistentVolumeClaim", name, spec=wanted)


def made(api_version: str, kind: str, name: str, **fields: object) -> Json:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, **fields}


def pod(image: str, **more: object) -> Json:
    return {
        "metadata": {"labels": {"app": "a"}},
        "spec": {"containers": [{"name": "a", "image": image}], **more},
    }


def objects(world: World, number: int) -> list[Json]:
    """Give one object of each kind; with another number, what may not change is another thing."""
    prefix, storage = f"{world.namespace}-", "storage.k8s.io/v1"
    image, size, other = f"a:{number}", f"{3 - number}Gi", f"example.org/{number}"
    selected = {"selector": {"matchLabels": {"app": "a"}}, "replicas": 0}
    disk = {"capacity": {"storage": "2Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "by-hand"}
    driver = "disks.example.org"
    return [
        made(storage, "StorageClass", f"{prefix}parameters", provisioner=driver, parameters={"tier": other}),
        made(storage, "StorageClass", f"{prefix}provisioner", provisioner=other),
        made(
            storage,
            "StorageClass",
            f"{prefix}policy",
            provisioner=driver,
            reclaimPolicy=("Delete", "Retain")[number - 1],
            volumeBindingMode=("Immediate", "WaitForFirstConsumer")[number - 1],
        ),
        made(storage, "CSIDriver", f"{prefix}driver", spec={"attachRequired": number == 1}),
        made("node.k8s.io/v1", "RuntimeClass", f"{prefix}handler", handler=f"h{number}"),
        made("networking.k8s.io/v1", "IngressClass", f"{prefix}controller", spec={"controller": other}),
        made("scheduling.k8s.io/v1", "PriorityClass", f"{prefix}value", value=number),
        made("v1", "PersistentVolume", f"{prefix}source", spec={**disk, "hostPath": {"path": f"/{number}"}}),
        made(
            "v1",
            "PersistentVolume",
            f"{prefix}disk",
            spec={
                **disk,
                "hostPath": {"path": "/disk"},
                "claimRef": {"namespace": world.target, "name": "bound"},
                "persistentVolumeReclaimPolicy": "Retain",
            },
        ),
        claim("bound", size, storageClassName="by-hand", volumeName=f"{prefix}disk"),
        claim("pending", size, storageClassName="nobodys"),
        made("batch/v1", "Job", "job", spec={"suspend": True, "template": pod(image, restartPolicy="Never")}),
        made(
            "apps/v1",
            "StatefulSet",
            "db",
            spec={
                **selected,
                "serviceName": "db",
                "template": pod("a"),
                "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim("", size)["spec"]}],
            },
        ),
        made("v1", "ConfigMap", "sealed", immutable=True, data={"k": other}),
        made("v1", "Secret", "sealed", immutable=True, stringData={"k": other}),
        made("v1", "Secret", "typed", type=other, stringData={"k": "1"}),
        made(
            "rbac.authorization.k8s.io/v1",
            "RoleBinding",
            "role",
            roleRef={
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": ("view", "edit")[number - 1],
            },
        ),
        made(
            "discovery.k8s.io/v1", "EndpointSlice", "slice", addressType=f"IPv{number * 2 + 2}", endpoints=[]
        ),
    ]


def test_what_may_not_change_is_named_for_each_kind(house: World) -> None:
    world = house

    def commit(number: int, beside: str) -> str:
        files = {f"{n:02}.yaml": json.dumps(obj) for n, obj in enumerate(objects(world, number))}
        return world.repo.commit({**files, "beside.yaml": config("beside", k=beside)}, f"Number {number}")

    sha = commit(1, "1")
    world.source()
    world.sync()
    world.until("Sync", "app", synced_at(sha))
    world.until("PersistentVolumeClaim", "bound", lambda o: o["status"]["phase"] == "Bound")
    commit(2, "2")
    sync = world.until("Sync", "app", says("Immutable"))
    told = {f"{d['kind']}/{d['name']}": d for d in sync["status"]["differences"] if d["sync"] == "Failed"}
    assert {name: d["reason"] for name, d in told.items()} == dict.fromkeys(wanted(world), "Immutable")
    said = {name: d["message"] for name, d in told.items()}
    assert "cannot shrink" in said["PersistentVolumeClaim/bound"]
    assert "cannot shrink" in said["PersistentVolumeClaim/pending"]
    assert "volumeClaimTemplates" in said["StatefulSet/db"]
    assert all(": " in text and ".yaml:1: " in text for text in said.values())
    assert world.get("ConfigMap", "beside")["data"] == {"k": "1"}
    assert world.get("PersistentVolumeClaim", "bound")["spec"]["resources"]["requests"] == {"storage": "2Gi"}
    # The remedy for all of them at once: change them back.
    sha = commit(1, "3")
    world.until("Sync", "app", synced_at(sha))
    assert world.get("ConfigMap", "beside")["data"] == {"k": "3"}


def wanted(world: World) -> set[str]:
    """Give the objects that may not change; a volume stays as it is when its claim shrinks."""
    every = {f"{o['kind']}/{o['metadata']['name']}" for o in objects(world, 1)}
    return every - {f"PersistentVolume/{world.namespace}-disk"}
