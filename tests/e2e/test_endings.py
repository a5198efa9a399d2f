"""A Sync ends at an awkward moment: nothing of it stays, or everything does and an Event says so."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.e2e.conftest import OperatorProcess, World, config
from tests.e2e.test_sync import ready_at
from tests.kit.api import SECONDS, Api, Json, condition, is_ready, says
from tests.kit.chart import install
from tests.kit.cluster.base import Cluster
from tests.kit.cluster.local import LocalCluster
from tests.kit.cluster.operator import SYSTEM
from tests.kit.servers.apiproxy import ApiProxy
from tests.kit.servers.apirules import Action, Alter, Hold, Match, Reply, Request, cut
from tests.kit.servers.githttp import GitHttp

pytestmark = pytest.mark.cluster

NAMES = ("a", "b", "c")


def configs(world: World) -> list[str]:
    """Return the ConfigMaps of the target namespace that are not Kubernetes' own."""
    found = [o["metadata"]["name"] for o in world.api.list("ConfigMap", world.target)]
    return [name for name in found if name != "kube-root-ca.crt"]


def orphaned(events: list[Json], sync: str = "") -> list[str]:
    """Return the messages of Events that say a Sync's objects stay."""
    return [e["message"] for e in events if e["reason"] == "Orphaned" and sync in e["message"]]


# --- while it is applying


def lost(hold: Hold) -> Action:
    """Keep requests, and lose their answers in the end: the server did what was asked."""

    async def action(request: Request) -> Reply | Alter | None:
        await hold(request)
        return await cut(after=True)(request)

    return action


def at_objects(world: World) -> Match:
    """Match requests for the ConfigMaps of a target namespace."""
    return lambda r: r.method == "PATCH" and f"/namespaces/{world.target}/configmaps/" in r.path


def at_status(world: World) -> Match:
    """Match status writes of a World's Sync."""
    return lambda r: r.method == "PATCH" and r.path.endswith(f"{world.namespace}/syncs/app/status")


MOMENTS: dict[str, Callable[[World, Request], bool]] = {
    "checking": lambda world, r: at_objects(world)(r) and r.is_dry_run,
    "claiming": lambda world, r: at_status(world)(r),
    "writing": lambda world, r: at_objects(world)(r) and r.is_write,
}


@pytest.mark.parametrize("answer", ["held", "lost"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_sync_deleted_while_it_applies_leaves_nothing(
    world: World, proxy: ApiProxy, moment: str, answer: str
) -> None:
    world.repo.commit({f"{n}.yaml": config(n) for n in NAMES}, "First")
    world.source()
    world.until("Source", "src", is_ready)
    hold = Hold()
    action: Action = hold if answer == "held" else lost(hold)
    with proxy.on(lambda r: MOMENTS[moment](world, r), action, times=1):
        world.sync()
        assert hold.arrived.wait(30)
        world.api.delete("Sync", world.namespace, "app")
        # The finalizer holds it.
        world.until("Sync", "app", lambda o: o is not None and "deletionTimestamp" in o["metadata"])
        hold.release()
        world.until("Sync", "app", lambda o: o is None)
    assert configs(world) == []
    assert orphaned(world.events("Orphaned")) == []
    # A Sync after it finds the place empty, and nothing of the first comes back.
    world.repo.commit({"next/n.yaml": config("n")}, "Next")
    world.sync("next", path="next")
    world.until("Sync", "next", is_ready)
    assert configs(world) == ["n"]


def test_a_sync_made_again_while_it_goes_takes_its_place(world: World, proxy: ApiProxy) -> None:
    sha = world.repo.commit({f"{n}.yaml": config(n) for n in NAMES}, "First")
    world.source()
    world.sync()
    first = world.until("Sync", "app", is_ready)
    hold = Hold()
    deletes = f"/namespaces/{world.target}/configmaps/"
    with proxy.on(lambda r: r.method == "DELETE" and deletes in r.path, hold, times=1):
        world.api.delete("Sync", world.namespace, "app")
        assert hold.arrived.wait(30)
        hold.release()
        world.until("Sync", "app", lambda o: o is None)
    world.sync()
    second = world.until("Sync", "app", ready_at(sha))
    assert second["metadata"]["uid"] != first["metadata"]["uid"]
    assert configs(world) == [*NAMES]


def test_a_sync_made_again_before_its_end_is_known_is_not_lost(world: World, proxy: ApiProxy) -> None:
    """The answer to the last write about the old one comes after the news of the new one."""
    sha = world.repo.commit({f"{n}.yaml": config(n) for n in NAMES}, "First")
    world.source()
    world.sync()
    world.until("Sync", "app", is_ready)
    hold = Hold(after=True)
    own = world.api.path("Sync", world.namespace, "app")
    with proxy.on(lambda r: r.method == "PATCH" and r.path == own, hold, times=1):
        world.api.delete("Sync", world.namespace, "app")
        assert hold.arrived.wait(30)
        world.until("Sync", "app", lambda o: o is None)
        world.sync()
        world.sync("later", path="nowhere")
        world.until("Sync", "later", says("PathNotFound"))  # news of both came by one watch, in this order
        hold.release()
    world.until("Sync", "app", ready_at(sha))
    world.api.delete("ConfigMap", world.target, NAMES[0])
    world.until("ConfigMap", NAMES[0], lambda o: o is not None)


# --- when its namespace, or its account, goes


def powerless(world: World, account: str) -> None:
    """Ask the API server until it lets an account delete nothing: it hears of a lost right by a watch, and reports no event."""
    where = {"verb": "delete", "resource": "configmaps", "namespace": world.target}
    user = f"system:serviceaccount:{world.namespace}:{account}"
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview"}
    body = {**review, "spec": {"user": user, "resourceAttributes": where}}
    deadline = time.monotonic() + SECONDS
    while True:
        with world.api.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", body) as answer:
            if not json.load(answer)["status"]["allowed"]:
                return
        assert time.monotonic() < deadline, f"{user} may still delete"


def test_a_terminating_namespace_prunes_what_its_sync_has_elsewhere(world: World) -> None:
    world.repo.commit({f"{n}.yaml": config(n) for n in NAMES}, "First")
    world.source()
    world.sync()
    world.until("Sync", "app", is_ready)
    world.api.delete("Namespace", None, world.namespace)
    world.until("Sync", "app", lambda o: o is None)
    assert configs(world) == []
    world.api.until("Namespace", None, world.namespace, lambda o: o is None)


def test_a_terminating_namespace_without_identity_orphans(world: World) -> None:
    world.repo.commit({f"{n}.yaml": config(n) for n in NAMES}, "First")
    world.source()
    world.sync()
    world.until("Sync", "app", is_ready)
    world.cluster.kubectl("delete", "clusterrolebinding", f"{world.namespace}-deployer")
    powerless(world, "deployer")
    world.api.delete("Namespace", None, world.namespace)
    world.until("Sync", "app", lambda o: o is None)
    assert configs(world) == [*NAMES]
    # No Event can be made in a namespace that is going, so it is about the namespace, and stands in `default`.
    world.api.until("Namespace", None, world.namespace, lambda o: o is None)
    world.api.announced("default", "Orphaned", world.namespace)
    said = orphaned(world.api.list("Event", "default"), f"{world.namespace}/app")
    assert len(said) == 1
    assert "3 objects stay in the cluster" in said[0]


def test_who_waits_for_the_end_of_another_goes_on_however_that_ends(world: World) -> None:
    held = json.loads(config("held"))
    held["metadata"]["finalizers"] = ["example.org/hold"]
    sha = world.repo.commit({"base/a.yaml": config("a"), "top/held.yaml": json.dumps(held)}, "First")
    world.source()
    world.sync("base", path="base")
    world.sync("top", path="top", dependsOn=[{"name": "base"}])
    for name in ("base", "top"):
        world.until("Sync", name, ready_at(sha))
    for name in ("top", "base"):
        world.api.delete("Sync", world.namespace, name)
    world.until("Sync", "top", says("Deleting", "example.org/hold"))
    world.until("Sync", "base", says("Deleting", "top"))
    # What people do with a Sync that does not go.
    world.api.merge("Sync", world.namespace, "top", {"metadata": {"finalizers": None}})
    world.until("Sync", "base", lambda o: o is None)
    assert configs(world) == ["held"]
    world.api.merge("ConfigMap", world.target, "held", {"metadata": {"finalizers": None}})


def test_a_deletion_without_an_account_says_so_and_goes_on_when_it_is_back(world: World) -> None:
    world.repo.commit({f"{n}.yaml": config(n) for n in NAMES}, "First")
    world.source()
    world.account("leaver", None)
    binding = ("leaver", "--clusterrole=admin", f"--serviceaccount={world.namespace}:leaver")
    world.cluster.kubectl("create", "rolebinding", *binding, "-n", world.target)
    world.sync(serviceAccountName="leaver")
    world.until("Sync", "app", is_ready)
    world.cluster.kubectl("delete", "rolebinding", "leaver", "-n", world.target)
    powerless(world, "leaver")
    world.api.delete("ServiceAccount", world.namespace, "leaver")
    world.api.delete("Sync", world.namespace, "app")
    sync = world.until("Sync", "app", says("ServiceAccountNotFound", f"{world.namespace}/leaver"))
    assert "deletion" in condition(sync)["message"]
    assert len(sync["status"]["inventory"][0]["names"]) == len(NAMES)
    assert configs(world) == [*NAMES]
    assert orphaned(world.events("Orphaned")) == []
    world.account("leaver", None)
    world.until("Sync", "app", says("Forbidden", "leaver"))
    world.cluster.kubectl("create", "rolebinding", *binding, "-n", world.target)
    world.until("Sync", "app", lambda o: o is None)
    assert configs(world) == []


# --- when the CRD goes


@pytest.fixture
def own_proxy(local_cluster: LocalCluster) -> Iterator[ApiProxy]:
    """Between an operator and a cluster of its own."""
    with ApiProxy(local_cluster) as between:
        yield between


@pytest.fixture
def own_world(local_cluster: LocalCluster, own_proxy: ApiProxy, tmp_path: Path) -> Iterator[World]:
    """A World with a cluster and an operator of its own, which must survive it."""
    install(local_cluster)
    token = local_cluster.service_account_token(SYSTEM, "setpoint")
    operator = OperatorProcess(own_proxy.kubeconfig(token), tmp_path)
    with GitHttp(tmp_path / "git") as git:
        operator.start()
        try:
            yield World(local_cluster, Api(local_cluster), git)
            assert operator.running, f"the operator ended: {operator.log.read_text()[-3000:]}"
        finally:
            operator.stop()


def crds(cluster: Cluster) -> str:
    """Return the manifests of our CRDs as they are in the cluster, to make them again."""
    found = json.loads(cluster.kubectl("get", "crd", "-o", "json"))["items"]
    ours = [c for c in found if c["spec"]["group"] == "setpoint.dev"]
    bare = [{**c, "metadata": {"name": c["metadata"]["name"]}, "status": None} for c in ours]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": bare})


def lists_syncs(request: Request) -> bool:
    """Lists of all Syncs."""
    return request.path.endswith("/setpoint.dev/v1alpha1/syncs") and request.is_read


@pytest.mark.parametrize("away", ["short", "long"])
def test_a_crd_that_goes_takes_no_object_with_it(own_world: World, own_proxy: ApiProxy, away: str) -> None:
    world = own_world
    sha = world.repo.commit({f"{n}.yaml": config(n, k="1") for n in NAMES}, "First")
    world.source()
    world.sync()
    world.until("Sync", "app", is_ready)
    uids = [world.get("ConfigMap", n)["metadata"]["uid"] for n in NAMES]
    manifests = crds(world.cluster)
    world.api.delete("CustomResourceDefinition", None, "syncs.setpoint.dev")
    world.api.until("CustomResourceDefinition", None, "syncs.setpoint.dev", lambda o: o is None)
    assert [world.get("ConfigMap", n)["metadata"]["uid"] for n in NAMES] == uids
    world.announced("Orphaned")
    said = orphaned(world.events("Orphaned"))
    assert ["CRD" in text for text in said] == [True]
    if away == "long":
        # The watch has ended by then, and whoever begins it again cannot list either.
        own_proxy.wait_for(lambda r: lists_syncs(r) and r.status == 404)
    # Whoever installs again finds the same objects held again.
    world.cluster.kubectl("apply", "-f", "-", input=manifests)
    world.cluster.kubectl("wait", "--for=condition=Established", "crd/syncs.setpoint.dev")
    world.sync()
    world.until("Sync", "app", ready_at(sha))
    assert [world.get("ConfigMap", n)["metadata"]["uid"] for n in NAMES] == uids
    world.api.merge("ConfigMap", world.target, "a", {"data": {"k": "hand"}})
    world.until("ConfigMap", "a", lambda o: o["data"] == {"k": "1"})
