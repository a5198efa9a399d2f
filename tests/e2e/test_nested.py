"""A Sync that is an object of another Sync: what a commit that drops it may take along, and what a person may."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.e2e.conftest import World, config
from tests.kit.api import Json, condition, is_ready, says
from tests.kit.pods import UnderTest
from tests.kit.servers.apiproxy import ApiProxy
from tests.kit.servers.apirules import Hold

pytestmark = pytest.mark.cluster

ALLOW = {"setpoint.dev/prune": "allow"}
DROPPED = "setpoint.dev/dropped-by"
OWNER, LABEL = "setpoint.dev/owner", "setpoint.dev/sync"


def is_synced(obj: Json | None) -> bool:
    """Return whether a Sync is as in Git; a claim that nobody uses stays pending, so none of these is healthy."""
    c = condition(obj, "Synced")
    return c.get("status") == "True" and c.get("observedGeneration") == (obj or {})["metadata"]["generation"]


def synced_at(sha: str) -> Callable[[Json | None], bool]:
    return lambda o: is_synced(o) and (o or {})["status"]["applied"]["revision"].endswith(sha)


def manifest(world: World, name: str, path: str, namespace: str = "", *, allow: bool = False) -> str:
    """Return a Sync as a file of Git."""
    source = {"name": "src", "namespace": world.namespace}
    spec = {"source": source, "path": path, "serviceAccountName": "deployer", "targetNamespace": world.target}
    meta: Json = {"name": name, "namespace": namespace or world.namespace}
    if allow:
        meta["annotations"] = ALLOW
    head = {"apiVersion": "setpoint.dev/v1alpha1", "kind": "Sync"}
    return json.dumps({**head, "metadata": meta, "spec": spec})


def extra(world: World) -> str:
    return f"{world.namespace}-x"


def content(world: World) -> dict[str, str]:
    """Return what a nested Sync has: two ConfigMaps, a claim and a Namespace."""
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    head = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "claim"}}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": extra(world)}}
    return {
        "app/a.yaml": config("a"),
        "app/b.yaml": config("b"),
        "app/claim.yaml": json.dumps({**head, "spec": claim}),
        "app/namespace.yaml": json.dumps(namespace),
    }


@pytest.fixture
def house(world: World) -> Iterator[World]:
    """A World whose Namespace of the content goes with it, and whose Source the target namespace may use."""
    world.source(allowedNamespaces=[world.target])
    yield world
    world.api.discard("Namespace", None, extra(world))


def start(world: World, *, allow: bool = False, **spec: Any) -> None:
    """Make a Sync `root` that has a ConfigMap of its own and the Sync `app`."""
    files = {"root/own.yaml": config("own"), "root/app.yaml": manifest(world, "app", "app", allow=allow)}
    sha = world.repo.commit({**files, **content(world)}, "First")
    world.sync("root", path="root", **spec)
    for name in ("root", "app"):
        world.until("Sync", name, synced_at(sha))


def uids(world: World) -> list[str]:
    """Return the uids of all that a nested Sync has; none of it may be on its way out."""
    found = [world.get("ConfigMap", "a"), world.get("ConfigMap", "b")]
    found += [world.get("PersistentVolumeClaim", "claim"), world.api.get("Namespace", None, extra(world))]
    assert all("deletionTimestamp" not in o["metadata"] for o in found)
    return [o["metadata"]["uid"] for o in found]


def annotate(world: World, name: str) -> None:
    """Say of a Sync, as a person, that a commit may delete it."""
    world.cluster.kubectl("annotate", "sync", name, "-n", world.namespace, "setpoint.dev/prune=allow")


def is_kept(world: World) -> None:
    """Check that what is protected stays without our marks, and that nothing else does."""
    for name in ("a", "b"):
        assert world.seek("ConfigMap", name) is None
    claim, namespace = (
        world.get("PersistentVolumeClaim", "claim"),
        world.api.get("Namespace", None, extra(world)),
    )
    for obj in (claim, namespace):
        meta = obj["metadata"]
        assert "deletionTimestamp" not in meta
        assert OWNER not in (meta.get("annotations") or {})
        assert LABEL not in (meta.get("labels") or {})
    said = [e["message"] for e in world.events("Orphaned")]
    assert any(f"Namespace/{extra(world)}" in text and "PersistentVolumeClaim/" in text for text in said)


def test_a_nested_sync_that_is_dropped_is_kept_until_a_person_allows_it(house: World) -> None:
    world = house
    start(world, pruneLimit=4)
    before = uids(world)
    world.repo.commit({"root/app.yaml": None}, "Drop the Sync")
    world.until("Sync", "root", says("Refused", "setpoint.dev/prune: allow"))
    world.api.merge("ConfigMap", world.target, "a", {"data": {"k": "hand"}})
    world.until("ConfigMap", "a", lambda o: o is not None and not o.get("data"))  # it goes on
    assert uids(world) == before
    annotate(world, "app")
    # One and its four objects, of two and its four.
    world.until("Sync", "root", says("Refused", "would delete 5 of 6 objects (limit 4)"))
    assert uids(world) == before
    world.sync("root", path="root", pruneLimit=5)
    world.until("Sync", "app", lambda o: o is None)
    world.announced("Orphaned")
    is_kept(world)
    world.until("Sync", "root", is_synced)


def test_a_nested_sync_that_comes_back_was_never_away(house: World) -> None:
    world = house
    start(world)
    before, uid = uids(world), world.api.get("Sync", world.namespace, "app")["metadata"]["uid"]
    world.repo.commit({"root/app.yaml": None}, "Drop the Sync")
    world.until("Sync", "root", says("Refused"))
    world.repo.commit({"root/app.yaml": manifest(world, "app", "app")}, "It is back")
    for name in ("root", "app"):
        world.until("Sync", name, is_synced)
    assert uids(world) == before
    assert world.api.get("Sync", world.namespace, "app")["metadata"]["uid"] == uid


@pytest.mark.parametrize("folder", ["app", "moved"])
def test_a_renamed_sync_is_empty_when_it_goes(house: World, folder: str) -> None:
    world = house
    start(world)
    before = uids(world)
    files: dict[str, str | None] = {
        "root/app.yaml": None,
        "root/new.yaml": manifest(world, "new", folder),
    }
    if folder != "app":  # the folder is renamed with it
        files |= dict.fromkeys(content(world))
        files |= {p.replace("app/", f"{folder}/"): text for p, text in content(world).items()}
    sha = world.repo.commit(files, "Rename")
    world.until("Sync", "app", lambda o: o is None)
    for name in ("root", "new"):
        world.until("Sync", name, synced_at(sha))
    assert uids(world) == before
    assert world.events("Orphaned") == []


def guest(world: World) -> None:
    """Let the target namespace have Syncs: its account may all."""
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "deployer"}}
    world.api.create("ServiceAccount", world.target, account)
    binding = (f"{world.target}-deployer", "--clusterrole=cluster-admin")
    world.cluster.kubectl(
        "create", "clusterrolebinding", *binding, f"--serviceaccount={world.target}:deployer"
    )


def test_a_sync_that_moves_to_another_namespace_is_empty_when_it_goes(house: World) -> None:
    world = house
    guest(world)
    start(world)
    before = uids(world)
    sha = world.repo.commit({"root/app.yaml": manifest(world, "app", "app", world.target)}, "Move")
    world.until("Sync", "app", lambda o: o is None)
    world.until("Sync", "root", synced_at(sha))
    world.until("Sync", "app", synced_at(sha), namespace=world.target)
    assert uids(world) == before
    world.api.delete("Sync", world.target, "app")
    world.until("Sync", "app", lambda o: o is None, namespace=world.target)


def test_an_emptied_folder_takes_no_nested_sync_whatever_it_allows(house: World) -> None:
    world = house
    start(world, allow=True, pruneLimit="100%")
    before = uids(world)
    world.repo.commit({"root/app.yaml": None, "root/own.yaml": None, "root/.keep": ""}, "Empty the folder")
    world.until("Sync", "root", says("Refused", "would delete all 6 objects"))
    assert uids(world) == before


@pytest.mark.parametrize("allow", [True, False], ids=["allowed", "kept"])
def test_what_is_protected_stays_through_three_levels(house: World, allow: bool) -> None:
    world = house
    files = {
        "root/own.yaml": config("own"),
        "root/mid.yaml": manifest(world, "mid", "mid", allow=True),
        "mid/own.yaml": config("mid"),
        "mid/app.yaml": manifest(world, "app", "app", allow=allow),
    }
    sha = world.repo.commit({**files, **content(world)}, "First")
    world.sync("root", path="root")
    for name in ("root", "mid", "app"):
        world.until("Sync", name, synced_at(sha))
    before = uids(world)
    world.repo.commit({"root/mid.yaml": None}, "Drop the Sync in the middle")
    if allow:
        world.until("Sync", "root", says("Refused", "would delete 7 of 8 objects"))
        assert uids(world) == before
        world.sync("root", path="root", pruneLimit=7)
    world.until("Sync", "mid", lambda o: o is None)
    world.until("Sync", "root", is_synced)
    assert world.seek("ConfigMap", "mid") is None
    if allow:
        world.until("Sync", "app", lambda o: o is None)
        world.announced("Orphaned")
        is_kept(world)
        return
    app = world.until("Sync", "app", is_synced)
    assert not {OWNER, DROPPED} & (app["metadata"].get("annotations") or {}).keys()
    assert uids(world) == before
    world.announced("Orphaned", "mid")
    assert any("Sync/app" in e["message"] for e in world.events("Orphaned"))


def held(world: World, proxy: ApiProxy, operator: UnderTest) -> None:
    """Kill the operator after it marked the Sync and before it deleted it."""
    path, hold = world.api.path("Sync", world.namespace, "app"), Hold()
    with proxy.on(lambda r: r.method == "DELETE" and r.path == path, hold):
        world.repo.commit({"root/app.yaml": None}, "Drop the Sync")
        assert hold.arrived.wait(30)
        meta = world.api.get("Sync", world.namespace, "app")["metadata"]
        assert DROPPED in meta["annotations"]
        assert "deletionTimestamp" not in meta
        operator.stop(signal.SIGKILL)
        hold.release()
    assert "deletionTimestamp" not in world.api.get("Sync", world.namespace, "app")["metadata"]


def test_a_kill_between_mark_and_deletion_deletes_no_more(
    house: World, proxy: ApiProxy, operator: UnderTest
) -> None:
    world = house
    start(world, allow=True, pruneLimit=5)
    held(world, proxy, operator)
    operator.start()
    world.until("Sync", "app", lambda o: o is None)
    world.announced("Orphaned")
    is_kept(world)
    world.until("Sync", "root", is_synced)


def test_a_mark_goes_when_the_sync_is_back(house: World, proxy: ApiProxy, operator: UnderTest) -> None:
    world = house
    start(world, allow=True, pruneLimit=5)
    before = uids(world)
    held(world, proxy, operator)
    world.repo.commit({"root/app.yaml": manifest(world, "app", "app", allow=True)}, "It is back")
    operator.start()
    world.until("Sync", "app", lambda o: o and DROPPED not in o["metadata"]["annotations"])
    assert uids(world) == before


def test_a_mark_of_before_changes_nothing_for_who_is_deleted_by_a_person(
    house: World, proxy: ApiProxy, operator: UnderTest
) -> None:
    world = house
    start(world, allow=True, pruneLimit=5)
    held(world, proxy, operator)
    world.api.delete("Sync", world.namespace, "root")
    operator.start()
    world.until("Sync", "root", lambda o: o is None)
    assert world.seek("PersistentVolumeClaim", "claim") is None


@pytest.mark.parametrize("name", ["root", "app"])
def test_a_person_who_deletes_a_sync_means_all_of_it(house: World, name: str) -> None:
    world = house
    start(world)
    if name == "app":
        world.repo.commit({"root/app.yaml": None}, "Drop the Sync")
        world.until("Sync", "root", says("Refused"))
    world.api.delete("Sync", world.namespace, name)
    world.until("Sync", "app", lambda o: o is None)
    assert [world.seek("ConfigMap", n) for n in ("a", "b")] == [None, None]
    assert world.seek("PersistentVolumeClaim", "claim") is None
    world.api.until("Namespace", None, extra(world), lambda o: o is None)
    assert world.events("Orphaned") == []


def test_what_a_nested_sync_waits_for_is_its_own_affair(world: World) -> None:
    """It waits for a dependency beyond its parent's time, then it is suspended, then it fails."""
    world.source(allowedNamespaces=[world.target])
    child = json.loads(manifest(world, "app", "app"))
    child["spec"]["dependsOn"] = [{"name": "nobody"}]
    files = {"root/app.yaml": json.dumps(child), "app/a.yaml": config("a")}
    sha = world.repo.commit(files, "First")
    world.sync("root", path="root", timeout="1s")
    world.until("Sync", "app", says("DependencyNotReady"))
    world.until("Sync", "root", lambda o: synced_at(sha)(o) and condition(o, "Reconciling"))
    assert condition(world.api.get("Sync", world.namespace, "root"))["reason"] == "Progressing"
    child["spec"]["suspend"] = True
    sha = world.repo.commit({"root/app.yaml": json.dumps(child)}, "Suspend it")
    world.until("Sync", "root", lambda o: synced_at(sha)(o) and is_ready(o))
    del child["spec"]["dependsOn"], child["spec"]["suspend"]
    sha = world.repo.commit({"root/app.yaml": json.dumps(child), "app/a.yaml": "a: [b"}, "Break it")
    root = world.until("Sync", "root", lambda o: synced_at(sha)(o) and says("Degraded")(o))
    assert "Sync" in condition(root)["message"]
