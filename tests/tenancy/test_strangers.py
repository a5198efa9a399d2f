"""What a tenant tries at objects that its account may not write: the other tenant notices nothing, and it learns nothing."""

from __future__ import annotations

import json

import pytest
from tests.e2e.conftest import config
from tests.e2e.test_sync import ready_at
from tests.kit.api import Json, condition, is_ready, says
from tests.kit.servers.apiproxy import ApiProxy
from tests.tenancy.conftest import Tenant

pytestmark = pytest.mark.cluster

HOLD = "test.example.org/hold"
CONTINUE = {"onError": "Continue"}


def of(namespace: str, name: str, wave: int = 0) -> str:
    """Return a ConfigMap of a namespace as a file of Git."""
    meta = {"name": name, "namespace": namespace, "annotations": {"setpoint.dev/wave": str(wave)}}
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"by": "stranger"}})


def namespace(name: str) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})


def deployment(name: str, home: str = "") -> str:
    """Return a Deployment whose pods never run here."""
    labels = {"app": name}
    pod = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "c", "image": "registry.example.org/c"}]},
    }
    meta = {"name": name, **({"namespace": home} if home else {})}
    spec = {"selector": {"matchLabels": labels}, "template": pod}
    return json.dumps({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec})


def has(status: Json, name: str) -> bool:
    """Whether an inventory has an object of this name."""
    return any(name in group["names"] for group in status.get("inventory") or ())


def refused(o: Json | None) -> bool:
    return condition(o).get("reason") == "Forbidden"


class Scene:
    """Both tenants, after the stranger has tried everything and the owner has made all that is its own."""

    def __init__(self, owner: Tenant, stranger: Tenant) -> None:
        self.owner, self.stranger = owner, stranger
        self.names: tuple[str, ...] = ()
        self.before: dict[str, Json] = {}
        self.made, self.behind = f"{owner.namespace}-made", f"{owner.namespace}-behind"

    def first(self) -> None:
        """The stranger lists what the owner does not have yet: there, and in Namespaces that it makes itself."""
        there = self.owner.target
        self.stranger.may_make_namespaces()
        self.stranger.repo.commit(
            {
                "early/first.yaml": of(there, "first"),
                "early/mine.yaml": config("mine-early"),
                "maker/namespace.yaml": namespace(self.made),
                "maker/y.yaml": of(self.made, "made-y"),
                "behind/namespace.yaml": namespace(self.behind),
                "behind/never.yaml": deployment("never"),
                "behind/y.yaml": of(self.behind, "behind-y", wave=5),
            },
            "Before the other",
        )
        for name in ("early", "maker", "behind"):
            self.stranger.sync(name, **CONTINUE)
        for name in ("early", "maker"):
            self.stranger.until("Sync", name, refused)
        self.stranger.until("ConfigMap", "mine-early", lambda o: o is not None)
        for name in (self.made, self.behind):
            self.stranger.api.until("Namespace", None, name, lambda o: o is not None)
            self.owner.admit(name)

    def second(self) -> None:
        """The owner makes what is its own."""
        files = {f"{name}/{name}.yaml": config(name) for name in ("kept", "ended", "base", "first")}
        files |= {"dropped/d1.yaml": config("d1"), "dropped/d2.yaml": config("d2")}
        files |= {"sick/web.yaml": deployment("web")}
        files |= {
            f"{n}/y.yaml": of(n, f"{n[len(self.owner.namespace) + 1 :]}-y") for n in (self.made, self.behind)
        }
        sha = self.owner.repo.commit(files, "What is mine")
        self.names = ("kept", "ended", "base", "first", "dropped", self.made, self.behind)
        for name in (*self.names, "sick"):
            self.owner.sync(name)
        self.owner.until("Sync", "sick", lambda o: "web" in condition(o).get("message", ""))
        for name in self.names:
            self.owner.until("Sync", name, ready_at(sha))

    def third(self) -> None:
        """The stranger wants what the owner has, and hangs on to its Syncs."""
        there = self.owner.target
        wanted = {f"thief/{name}.yaml": of(there, name) for name in ("kept", "ended", "d1")}
        wanted |= {"abort/kept.yaml": of(there, "kept"), "abort/mine.yaml": config("mine-abort")}
        wanted |= {"thief/web.yaml": deployment("web", there), "thief/mine.yaml": config("mine-thief")}
        self.stranger.repo.commit({**wanted, "leech/mine.yaml": config("mine-leech")}, "What is not mine")
        self.stranger.sync("thief", **CONTINUE)
        self.stranger.sync("abort")
        for name in ("base", "sick"):
            on = [{"name": name, "namespace": self.owner.namespace}]
            self.stranger.sync(f"leech-{name}", path="leech", dependsOn=on, targetNamespace=there)
        for name in ("thief", "abort"):
            self.stranger.until("Sync", name, refused)
        self.stranger.until("Sync", "leech-base", refused)
        self.stranger.until("Sync", "leech-sick", says("DependencyNotReady"))


@pytest.fixture(scope="module")
def scene(owner: Tenant, stranger: Tenant, proxy: ApiProxy) -> Scene:
    """All attacks wait together."""
    made = Scene(owner, stranger)
    made.first()
    made.second()
    made.before = {o["metadata"]["name"]: o for o in owner.api.list("Sync", owner.namespace)}
    made.third()
    return made


def test_the_owner_is_not_even_told(scene: Scene) -> None:
    """Neither contested nor woken: what is stored of its Syncs is what was there before."""
    for name in scene.names:
        now = scene.owner.api.get("Sync", scene.owner.namespace, name)
        assert is_ready(now)
        assert now["metadata"]["resourceVersion"] == scene.before[name]["metadata"]["resourceVersion"]
        assert not now["status"].get("differences")
    for name in ("kept", "ended", "base", "first", "d1"):
        assert scene.owner.get("ConfigMap", name).get("data", {}).get("by") != "stranger"


def test_nothing_is_claimed_that_may_not_be_written(scene: Scene) -> None:
    for name in ("first", "made-y", "kept", "ended", "d1", "web"):
        for sync in ("early", "maker", "thief", "abort"):
            status = scene.stranger.status(sync)
            assert not has(status, name), (sync, name)
            assert not any(name in g["names"] for g in status.get("wants") or ()), (sync, name)
    for sync, name in (("early", "mine-early"), ("thief", "mine-thief")):
        assert has(scene.stranger.status(sync), name), "what it may write is its own"


def test_what_is_there_and_what_is_not_look_the_same(scene: Scene) -> None:
    """The stranger is told of its own rights, and of nothing else."""
    told = scene.stranger.told()
    for word in (
        "belongs to",
        "Contested",
        "not available",
        *(f"{scene.owner.namespace}/{n}" for n in ("kept", "ended", "dropped", "first")),
    ):
        assert word not in told, word
    differences = scene.stranger.status("thief")["differences"]
    rows = {d["name"]: d for d in differences}
    assert rows.keys() >= {"kept", "ended", "d1", "web"}
    for name in ("kept", "ended", "d1", "web"):
        assert rows[name]["reason"] == "Forbidden"
        assert "health" not in rows[name], rows[name]
        assert "may not patch" in rows[name]["message"]
    sick = condition(scene.stranger.api.get("Sync", scene.stranger.namespace, "leech-sick"))["message"]
    assert "web" not in sick
    assert "rogressing" not in sick


def test_what_the_owner_drops_and_ends_goes(scene: Scene) -> None:
    """Nothing is lent to who may not write it, and no Sync of another namespace holds a deletion."""
    owner, stranger = scene.owner, scene.stranger
    for name in ("leech-base", "thief"):
        stranger.api.merge(
            "Sync", stranger.namespace, name, {"metadata": {"finalizers": ["setpoint.dev/finalizer", HOLD]}}
        )
        stranger.api.delete("Sync", stranger.namespace, name)
    sha = owner.repo.commit({"dropped/d1.yaml": None}, "Drop one")
    for name in ("ended", "base"):
        owner.api.delete("Sync", owner.namespace, name)
    owner.until("Sync", "dropped", ready_at(sha))
    for name in ("ended", "base"):
        owner.until("Sync", name, lambda o: o is None)
    for name in ("d1", "ended", "base"):
        assert owner.seek("ConfigMap", name) is None
    held = [stranger.api.get("Sync", stranger.namespace, name) for name in ("leech-base", "thief")]
    assert all(o["metadata"]["finalizers"] for o in held), "the stranger's Syncs are still there"
    for name in ("leech-base", "thief"):
        stranger.api.merge("Sync", stranger.namespace, name, {"metadata": {"finalizers": None}})


def test_a_sync_whose_inventory_names_what_is_not_its_own_ends(scene: Scene) -> None:
    """As an older version wrote it: the account may neither read nor write it, and is gone."""
    stranger, owner = scene.stranger, scene.owner
    stranger.sync("legacy", path="not-there", serviceAccountName="gone")
    stranger.until("Sync", "legacy", says("PathNotFound"))
    names = ["kept", "nowhere"]
    groups = [{"apiVersion": "v1", "kind": "ConfigMap", "namespace": owner.target, "names": names}]
    path = f"{stranger.api.path('Sync', stranger.namespace, 'legacy')}/status"
    body = {"status": {"inventory": groups}}
    stranger.api.request("PATCH", path, body, "application/merge-patch+json").close()
    stranger.api.delete("Sync", stranger.namespace, "legacy")
    stranger.until("Sync", "legacy", lambda o: o is None)
    assert owner.get("ConfigMap", "kept")
    assert f"{owner.namespace}/kept" not in stranger.told()
