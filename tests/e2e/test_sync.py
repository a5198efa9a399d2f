"""The main path: a Sync holds a real cluster to a Git commit."""

from __future__ import annotations

import pytest
from tests.e2e.conftest import World, config
from tests.kit.api import condition, is_ready, says
from tests.kit.chart import until_attributed
from tests.kit.cluster import versions

pytestmark = pytest.mark.cluster


def ready_at(sha: str):  # type: ignore[no-untyped-def]
    return lambda o: is_ready(o) and (o["status"].get("applied") or {}).get("revision", "").endswith(sha)


def test_a_commit_is_applied_changed_and_pruned(world: World) -> None:
    sha = world.repo.commit({"a.yaml": config("a", k="1"), "b.yaml": config("b", k="1")}, "First")
    world.source()
    world.sync()
    sync = world.until("Sync", "app", ready_at(sha))
    assert condition(sync)["message"] == "2/2 healthy"
    assert sync["status"]["summary"] == {
        "objects": 2,
        "synced": 2,
        "healthy": 2,
        "drifted": 0,
        "corrected": 0,
    }
    assert world.get("ConfigMap", "a")["data"] == {"k": "1"}
    sha = world.repo.commit({"a.yaml": config("a", k="2"), "b.yaml": None}, "Second")
    world.until("Sync", "app", ready_at(sha))
    assert world.get("ConfigMap", "a")["data"] == {"k": "2"}
    world.until("ConfigMap", "b", lambda o: o is None)


def test_drift_is_corrected_by_the_watch_and_logged(world: World) -> None:
    sha = world.repo.commit({"a.yaml": config("a", k="1")}, "First")
    world.source()
    world.sync()
    world.until("Sync", "app", ready_at(sha))
    world.api.merge("ConfigMap", world.target, "a", {"data": {"k": "hand", "extra": "1"}})
    world.until("ConfigMap", "a", lambda o: o and o["data"] == {"k": "1"})
    sync = world.until("Sync", "app", lambda o: o and len(o["status"].get("driftLog", [])) == 1)
    entry = sync["status"]["driftLog"][0]
    assert (entry["name"], entry["manager"]) == ("a", "kubectl-edit")
    assert {op["path"] for op in entry["patch"]} >= {"/data/k"}
    if versions.lacking("MutatingAdmissionPolicy"):
        assert "user" not in entry
    world.api.delete("ConfigMap", world.target, "a")
    world.until("Sync", "app", lambda o: o and o["status"]["summary"]["corrected"] == 2)
    assert world.get("ConfigMap", "a")["data"] == {"k": "1"}


@pytest.mark.needs("MutatingAdmissionPolicy")
def test_the_user_of_a_manual_change_is_named(world: World) -> None:
    sha = world.repo.commit({"a.yaml": config("a", k="1")}, "First")
    world.source()
    world.sync()
    world.until("Sync", "app", ready_at(sha))
    until_attributed(world.cluster)
    change = ("patch", "configmap", "a", "-n", world.target, "--type=merge", '--patch={"data":{"k":"hand"}}')
    world.cluster.kubectl(*change, "--as=ana", "--as-group=system:masters")
    sync = world.until("Sync", "app", lambda o: len(o["status"].get("driftLog", [])) == 1)
    entry = sync["status"]["driftLog"][0]
    assert (entry["name"], entry["manager"], entry["user"]) == ("a", "kubectl-patch", "ana")


def test_a_broken_commit_changes_nothing_and_says_where(world: World) -> None:
    sha = world.repo.commit({"a.yaml": config("a", k="1")}, "First")
    world.source()
    world.sync()
    world.until("Sync", "app", ready_at(sha))
    world.repo.commit({"b.yaml": "apiVersion: v1\nkind: ConfigMap\n\tmetadata: {}\n"}, "Broken")
    sync = world.until("Sync", "app", says("RenderFailed", "b.yaml:3"))
    assert "stays enforced" in condition(sync)["message"]
    world.api.merge("ConfigMap", world.target, "a", {"data": {"k": "hand"}})
    world.until("ConfigMap", "a", lambda o: o and o["data"] == {"k": "1"})
    sha = world.repo.commit({"b.yaml": None}, "Revert")
    world.until("Sync", "app", is_ready)


def test_deleting_a_sync_deletes_its_objects(world: World) -> None:
    sha = world.repo.commit({"a.yaml": config("a", k="1")}, "First")
    world.source()
    world.sync()
    world.until("Sync", "app", ready_at(sha))
    world.api.delete("Sync", world.namespace, "app")
    world.until("Sync", "app", lambda o: o is None)
    assert world.seek("ConfigMap", "a") is None
