"""What left Git stays as long as a pod uses it, or something that wants pods; all else goes with the commit.

No node takes these pods, so that only the tests say how they are.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from tests.e2e.conftest import World, config
from tests.e2e.test_sync import ready_at
from tests.kit.api import Json, condition, is_ready
from tests.kit.pods import UnderTest
from tests.kit.servers.apiproxy import ApiProxy
from tests.kit.servers.apirules import reply

pytestmark = pytest.mark.cluster

ONE_OF_EACH = {"pods": 1, "replicasets": 1, "statefulsets": 1, "jobs": 1}
DENIED = b'{"kind":"Status","code":403,"reason":"Forbidden","message":"no"}'


def spec(**names: Any) -> Json:
    container = {"name": "main", "image": "registry.example.org/web:1", **names}
    return {"schedulerName": "nobody", "containers": [container]}


def using(*maps: str) -> Json:
    return spec(envFrom=[{"configMapRef": {"name": name}} for name in maps])


def deployment(name: str, pod: Json, **more: Any) -> str:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": pod}
    whole = {"selector": {"matchLabels": labels}, "template": template, **more}
    return json.dumps(
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": whole}
    )


def stateful(name: str, pod: Json, **strategy: Any) -> str:
    made = json.loads(deployment(name, pod, serviceName=name, replicas=1, updateStrategy=strategy))
    return json.dumps({**made, "kind": "StatefulSet"})


def service(name: str) -> str:
    whole = {"selector": {"app": name}, "ports": [{"port": 80}]}
    return json.dumps({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": whole})


def runs(world: World, app: str) -> None:
    """Play the kubelet for one pod of an app: the one that is not ready, as soon as there is one."""
    set_status(world, next_pod(world, app), {"phase": "Running", "conditions": ready()})


def ready() -> list[Json]:
    now = "2026-01-01T00:00:00Z"
    return [{"type": t, "status": "True", "lastTransitionTime": now} for t in ("Ready", "ContainersReady")]


def set_status(world: World, pod: str, status: Json) -> None:
    path = f"{world.api.path('Pod', world.target, pod)}/status"
    world.api.request("PATCH", path, {"status": status}, "application/merge-patch+json").close()


def pods_of(world: World, app: str) -> list[Json]:
    return [
        p for p in world.api.list("Pod", world.target) if p["metadata"].get("labels", {}).get("app") == app
    ]


def next_pod(world: World, app: str) -> str:
    def has_new(_: Json | None) -> bool:
        return any(p["status"]["phase"] == "Pending" for p in pods_of(world, app))

    world.until("Deployment", app, lambda o: o and o["status"].get("unavailableReplicas") and has_new(o))
    return str(next(p["metadata"]["name"] for p in pods_of(world, app) if p["status"]["phase"] == "Pending"))


def at(sha: str) -> Any:
    """Tell whether a commit is applied, healthy or not."""

    def fits(sync: Json | None) -> bool:
        status = (sync or {}).get("status") or {}
        synced = condition(sync, "Synced") if sync and status.get("conditions") else {}
        applied = (status.get("applied") or {}).get("revision", "")
        return bool(applied.endswith(sha) and synced.get("status") == "True")

    return fits


def kept(sync: Json) -> dict[str, str]:
    """Return what left Git and stays, with what is said of it."""
    found = sync["status"].get("differences") or []
    return {d["name"]: d["message"] for d in found if d["reason"] == "PruneWaiting"}


def gone(world: World, kind: str, name: str) -> None:
    world.until(kind, name, lambda o: o is None)


def start(world: World, files: dict[str, str], **spec: Any) -> str:
    sha = world.repo.commit(files, "First")
    world.source(interval="1h")
    world.sync(interval="1h", **spec)
    world.until("Sync", "app", at(sha))
    return sha


def commit(world: World, files: dict[str, str | None]) -> Json:
    sha = world.repo.commit(files, "Next")
    world.ask("Source", "src", sha)
    return world.until("Sync", "app", at(sha))


def test_config_of_a_rollout_that_hangs_stays_until_it_is_complete(
    world: World, proxy: ApiProxy, operator: UnderTest
) -> None:
    first = {"a.yaml": config("web-1", k="1"), "web.yaml": deployment("web", using("web-1"), replicas=1)}
    sha = start(world, {**first, "front.yaml": service("front")})
    runs(world, "web")
    world.until("Sync", "app", ready_at(sha))
    proxy.clear()
    sync = commit(
        world,
        {
            "a.yaml": config("web-2", k="2"),
            "web.yaml": deployment("web", using("web-2"), replicas=1),
            "front.yaml": None,
        },
    )
    # A Service that was dropped goes at once, whatever hangs.
    gone(world, "Service", "front")
    assert world.seek("ConfigMap", "web-1")
    (message,) = kept(sync).values()
    user = message.partition("stays while ReplicaSet/")[2]
    assert f"{world.target}/web-" in user
    sync = world.until("Sync", "app", lambda o: o and condition(o)["reason"] == "Progressing")
    assert (
        f"ConfigMap/{world.target}/web-1 is no longer in Git and stays while ReplicaSet/"
        in condition(sync)["message"]
    )
    assert sync["status"]["leaving"] == [
        {"apiVersion": "v1", "kind": "ConfigMap", "namespace": world.target, "names": ["web-1"]}
    ]
    assert sync["status"]["summary"] == {**sync["status"]["summary"], "objects": 2, "synced": 2}
    assert asked(world, proxy) == ONE_OF_EACH
    # A restart forgets the watches, and knows again who uses it.
    operator.stop()
    operator.start()
    world.ask("Sync", "app", "again")
    world.until("Sync", "app", lambda o: o and o["status"].get("requested") == "again")
    assert world.seek("ConfigMap", "web-1")
    runs(world, "web")
    gone(world, "ConfigMap", "web-1")
    sync = world.until("Sync", "app", lambda o: is_ready(o) and not o["status"].get("leaving"))
    assert kept(sync) == {}
    assert "no longer in Git" not in condition(sync)["message"]


def asked(world: World, proxy: ApiProxy) -> Counter[str]:
    """How often users were listed in the target namespace."""
    found = [r.path.rpartition("/")[2] for r in proxy.requests if world.target in r.path and r.is_read]
    return Counter(kind for kind in found if kind in (*ONE_OF_EACH, "controllerrevisions"))


def pod(name: str, used: str) -> Json:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": using(used)}


def test_users_that_git_does_not_know(world: World, proxy: ApiProxy) -> None:
    """A Job that runs and a stranger's Pod keep what they use; a ReplicaSet without pods keeps nothing."""
    files = {f"{n}.yaml": config(n, k="1") for n in ("job", "pod", "idle", "nobody", "stays")}
    start(world, files)
    template = {"spec": {**using("job"), "restartPolicy": "Never"}}
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "nightly-1"},
        "spec": {"template": template},
    }
    labels = {"app": "idle"}
    old = {"metadata": {"labels": labels}, "spec": using("idle")}
    idle = {"replicas": 0, "selector": {"matchLabels": labels}, "template": old}
    replica_set = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {"name": "idle-1"},
        "spec": idle,
    }
    api, where = world.api, f"namespaces/{world.target}"
    api.request("POST", f"/apis/batch/v1/{where}/jobs", job).close()
    api.request("POST", f"/apis/apps/v1/{where}/replicasets", replica_set).close()
    api.create("Pod", world.target, pod("stranger", "pod"))
    proxy.clear()
    sync = commit(world, {"job.yaml": None, "pod.yaml": None, "idle.yaml": None, "nobody.yaml": None})
    gone(world, "ConfigMap", "idle")
    gone(world, "ConfigMap", "nobody")
    assert {name: text.rpartition("while ")[2] for name, text in kept(sync).items()} == {
        "job": f"Job/{world.target}/nightly-1 uses it",
        "pod": f"Pod/{world.target}/stranger uses it",
    }
    assert is_ready(sync)
    assert asked(world, proxy) == ONE_OF_EACH
    assert len([r for r in proxy.requests if world.target in r.path and not r.is_watch]) <= 25
    set_status(world, "stranger", {"phase": "Succeeded"})
    gone(world, "ConfigMap", "pod")
    api.request("DELETE", f"/apis/batch/v1/{where}/jobs/nightly-1?propagationPolicy=Background").close()
    gone(world, "ConfigMap", "job")
    # Once nothing stays nothing is watched, and a commit that drops nothing asks nobody.
    world.until("Sync", "app", lambda o: is_ready(o) and not o["status"].get("leaving"))
    proxy.clear()
    commit(world, {"stays.yaml": config("stays", k="2")})
    assert asked(world, proxy) == {}


def evict(world: World, pod: str) -> None:
    """Let a pod fail, and stay until `release`, so that there is time to look at the moment without one."""
    finalized = {"metadata": {"finalizers": ["example.org/held"]}}
    world.api.merge("Pod", world.target, pod, finalized)
    set_status(world, pod, {"phase": "Failed", "reason": "Evicted"})


def release(world: World, pod: str) -> str:
    """Let an evicted pod go; returns of which revision the one is that takes its place."""
    before = world.get("Pod", pod)["metadata"]["uid"]
    world.api.merge("Pod", world.target, pod, {"metadata": {"finalizers": None}})
    made = world.until("Pod", pod, lambda o: o and o["metadata"]["uid"] != before)
    return str(made["metadata"]["labels"]["controller-revision-hash"])


def test_config_of_the_revision_that_a_stateful_set_makes_pods_of_stays(world: World) -> None:
    """Below a partition an evicted pod comes again as it was, so its ConfigMap stays; with OnDelete it does not."""
    below: Json = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}
    strategies: dict[str, Json] = {"below": below, "deleted": {"type": "OnDelete"}}

    def at_config(number: int) -> dict[str, str | None]:
        files: dict[str, str | None] = {}
        for name, strategy in strategies.items():
            files[f"{name}-set.yaml"] = stateful(name, using(f"{name}-{number}"), **strategy)
            files[f"{name}-{number}.yaml"] = config(f"{name}-{number}", k="1")
            files[f"{name}-{number - 1}.yaml"] = None
        return files

    start(world, {name: text for name, text in at_config(1).items() if text})
    for name in strategies:
        pod = world.until("Pod", f"{name}-0", lambda o: o is not None)
        assert [c["envFrom"][0]["configMapRef"]["name"] for c in pod["spec"]["containers"]] == [f"{name}-1"]
        evict(world, f"{name}-0")
    sync = commit(world, at_config(2))
    gone(world, "ConfigMap", "deleted-1")
    sync = world.until("Sync", "app", lambda o: o and list(kept(o)) == ["below-1"])
    assert kept(sync)["below-1"].endswith(f"stays while StatefulSet/{world.target}/below uses it")
    sets = {name: world.get("StatefulSet", name)["status"] for name in strategies}
    assert release(world, "below-0") == sets["below"]["currentRevision"]
    assert release(world, "deleted-0") == sets["deleted"]["updateRevision"]
    assert world.seek("ConfigMap", "below-1")
    # The partition goes, the old pod with it, and the new one is ready. One that is not ready would be waited for.
    set_status(world, "below-0", {"phase": "Running", "conditions": ready()})
    below["rollingUpdate"] = {"partition": 0}
    old = world.get("Pod", "below-0")["metadata"]["uid"]
    commit(world, {"below-set.yaml": stateful("below", using("below-2"), **below)})
    world.until("Pod", "below-0", lambda o: o and o["metadata"]["uid"] != old)
    set_status(world, "below-0", {"phase": "Running", "conditions": ready()})
    gone(world, "ConfigMap", "below-1")
    world.until("Sync", "app", lambda o: o and not kept(o))


def test_all_goes_with_the_sync(world: World) -> None:
    start(world, {"a.yaml": config("a", k="1"), "b.yaml": config("b", k="1")})
    for name in ("a", "b"):
        world.api.create("Pod", world.target, pod(f"user-{name}", name))
    assert set(kept(commit(world, {"a.yaml": None}))) == {"a"}
    world.api.delete("Sync", world.namespace, "app")
    world.until("Sync", "app", lambda o: o is None)
    assert (world.seek("ConfigMap", "a"), world.seek("ConfigMap", "b")) == (None, None)


def refused(world: World, *plurals: str) -> Any:
    """Return which requests are refused: those for what uses objects in the target namespace."""
    return lambda r: world.target in r.path and r.path.rpartition("/")[2] in plurals


def test_where_pods_may_not_be_read_the_rollout_decides(world: World, proxy: ApiProxy) -> None:
    files = {"a.yaml": config("web-1", k="1"), "b.yaml": config("other", k="1")}
    files["c.yaml"] = config("theirs", k="1")
    world.api.create("Pod", world.target, pod("stranger", "theirs"))
    sha = start(world, {**files, "web.yaml": deployment("web", using("web-1"), replicas=1)})
    runs(world, "web")
    world.until("Sync", "app", ready_at(sha))
    # A refusal that passes tells nothing: what a stranger uses is not deleted for it.
    with proxy.on(refused(world, "pods"), reply(403, DENIED)):
        sync = commit(world, {"c.yaml": None})
        assert kept(sync)["theirs"].startswith("is no longer in Git and stays until it is known who uses it")
    world.ask("Sync", "app", "again")
    world.until("Sync", "app", lambda o: o and "Pod/" in kept(o).get("theirs", ""))
    world.api.delete("Pod", world.target, "stranger")
    gone(world, "ConfigMap", "theirs")
    # One that lasts does, and then the rollout decides.
    with proxy.on(refused(world, "pods", "replicasets", "statefulsets"), reply(403, DENIED)):
        new = {"a.yaml": config("web-2", k="1"), "web.yaml": deployment("web", using("web-2"), replicas=1)}
        sync = commit(world, {**new, "b.yaml": None})
        assert world.seek("ConfigMap", "other")
        gone(world, "ConfigMap", "other")
        sync = world.until("Sync", "app", lambda o: o and set(kept(o)) == {"web-1"})
        assert list(kept(sync).values()) == [
            f"is no longer in Git and stays while Deployment/{world.target}/web uses it"
        ]
        assert world.seek("ConfigMap", "web-1")
        runs(world, "web")
        gone(world, "ConfigMap", "web-1")
