"""Objects that cannot go because of finalizers: the status names both, and the rest goes on meanwhile."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from tests.e2e.conftest import World, config
from tests.e2e.test_sync import ready_at
from tests.kit.api import Json, condition, says

pytestmark = pytest.mark.cluster
SLOW, SLOWER = "example.org/slow", "example.org/slower"
BOTH = f"is being deleted, waits for finalizers {SLOW}, {SLOWER}"


class House(World):
    """A World with a ConfigMap and an object without a namespace, which finalizers may hold."""

    @property
    def role(self) -> str:
        return f"{self.namespace}-role"

    def config(self, *finalizers: str, k: str = "1") -> str:
        meta = {"name": "held", "finalizers": [*finalizers]}
        return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"k": k}})

    def cluster_role(self, *finalizers: str) -> str:
        meta = {"name": self.role, "finalizers": [*finalizers]}
        head = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole"}
        return json.dumps({**head, "metadata": meta, "rules": []})

    def hold(self, *finalizers: str) -> None:
        """Set the finalizers of both, as far as they are there."""
        for kind, namespace, name in (("ConfigMap", self.target, "held"), ("ClusterRole", None, self.role)):
            if self.api.seek(kind, namespace, name):
                body = {"metadata": {"finalizers": [*finalizers] or None}}
                self.api.merge(kind, namespace, name, body, manager="its-controller")

    def said(self, sync: Json | None, name: str) -> str:
        """Return what the status says of an object."""
        found = ((sync or {}).get("status") or {}).get("differences") or []
        return next((d["message"] for d in found if d["name"] == name), "")


@pytest.fixture
def house(world: World) -> Iterator[House]:
    made = House.__new__(House)
    made.__dict__.update(world.__dict__)
    yield made
    made.hold()
    made.api.discard("ClusterRole", None, made.role)


def test_what_left_git_and_cannot_go_holds_up_nobody(house: House) -> None:
    world = house
    files = {"held.yaml": world.config(SLOW, SLOWER), "role.yaml": world.cluster_role(SLOW, SLOWER)}
    rest = {f"{n}.yaml": config(n, k="1") for n in ("stays", "a", "b", "c", "d", "e")}
    sha = world.repo.commit({**files, **rest}, "First")
    world.source()
    world.sync()
    world.until("Sync", "app", ready_at(sha))
    world.repo.commit({"held.yaml": None, "role.yaml": None, "stays.yaml": config("stays", k="2")}, "Drop")
    sync = world.until("Sync", "app", lambda o: says("PruneWaiting", BOTH)(o) and world.said(o, world.role))
    assert "ConfigMap/" in condition(sync)["message"]
    assert world.get("ConfigMap", "stays")["data"] == {"k": "2"}
    # Later commits are applied, too, and hand edits are corrected.
    sha = world.repo.commit({"stays.yaml": config("stays", k="3"), "new.yaml": config("new")}, "Third")
    world.until("ConfigMap", "stays", lambda o: o["data"] == {"k": "3"})
    world.until("ConfigMap", "new", lambda o: o is not None)
    world.api.merge("ConfigMap", world.target, "a", {"data": {"k": "hand"}})
    world.until("ConfigMap", "a", lambda o: o["data"] == {"k": "1"})
    # One finalizer goes: the other one is still named.
    world.hold(SLOWER)
    world.until("Sync", "app", lambda o: world.said(o, "held").endswith(f"waits for finalizers {SLOWER}"))
    assert "deletionTimestamp" in world.get("ConfigMap", "held")["metadata"]
    # Objects go in reverse order: the next one begins when this one is gone, and holds up nobody either.
    world.api.merge("ConfigMap", world.target, "held", {"metadata": {"finalizers": None}})
    world.until("Sync", "app", says("PruneWaiting", f"ClusterRole/{world.role} is being deleted"))
    world.hold()
    world.until("Sync", "app", ready_at(sha))
    assert world.seek("ConfigMap", "held") is None
    assert world.api.seek("ClusterRole", None, world.role) is None


def test_what_git_wants_and_cannot_go_is_said_and_made_again(house: House) -> None:
    world = house
    files = {
        "held.yaml": world.config(),
        "role.yaml": world.cluster_role(),
        "other.yaml": config("other", k="1"),
    }
    sha = world.repo.commit(files, "First")
    world.source()
    world.sync()
    world.until("Sync", "app", ready_at(sha))
    world.hold(SLOW, SLOWER)
    world.api.delete("ConfigMap", world.target, "held")
    world.api.delete("ClusterRole", None, world.role)
    world.until("Sync", "app", lambda o: says("Progressing", BOTH)(o) and "2 of 3" in condition(o)["message"])
    # A commit that does not touch them is applied, and so is the rest of one that does.
    world.repo.commit({"other.yaml": config("other", k="2")}, "Second")
    world.until("ConfigMap", "other", lambda o: o["data"] == {"k": "2"})
    files = {"held.yaml": world.config(k="3"), "other.yaml": config("other", k="3")}
    sha = world.repo.commit({**files, "later.yaml": later()}, "Third")
    world.until("ConfigMap", "other", lambda o: o["data"] == {"k": "3"})
    sync = world.until("Sync", "app", says("Waiting", BOTH))
    assert condition(sync)["message"].startswith(
        f"waits: ConfigMap/{world.target}/held {BOTH}; it is created"
    )
    assert not condition(sync, "Stalled")
    assert world.seek("ConfigMap", "later") is None
    assert world.get("ConfigMap", "held")["data"] == {"k": "1"}
    world.hold()
    world.until("Sync", "app", ready_at(sha))
    assert world.get("ConfigMap", "held")["data"] == {"k": "3"}
    assert world.api.get("ClusterRole", None, world.role)
    assert world.seek("ConfigMap", "later")


def later() -> str:
    """Give a ConfigMap of the next wave."""
    obj = json.loads(config("later"))
    obj["metadata"]["annotations"] = {"setpoint.dev/wave": "1"}
    return json.dumps(obj)
