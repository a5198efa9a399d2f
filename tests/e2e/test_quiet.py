"""Nothing is written when nothing changed; a restart writes nothing; everything is event-driven."""

from __future__ import annotations

import signal

import pytest
from tests.e2e.conftest import World, config
from tests.e2e.test_sync import ready_at
from tests.kit.api import condition, is_ready, says
from tests.kit.pods import UnderTest
from tests.kit.servers.apiproxy import ApiProxy
from tests.kit.servers.apirules import Request

pytestmark = pytest.mark.cluster


def is_lease(request: Request) -> bool:
    return "/leases" in request.path


def told(proxy: ApiProxy) -> list[tuple[str, str, str]]:
    """Return what the operator asked of the API server besides watches and its lease."""
    kept = [r for r in proxy.requests if not r.is_watch and not is_lease(r) and "/syncs/warm" not in r.path]
    return [(r.method, r.path, r.query) for r in kept]


def test_an_install_costs_few_requests(world: World, proxy: ApiProxy) -> None:
    files = {f"{n}.yaml": config(n, k="1") for n in "abcd"}
    sha = world.repo.commit(files, "First")
    world.source()
    world.until("Source", "src", is_ready)
    world.sync("warm", path=".", suspend=True)
    world.until("Sync", "warm", says("Suspended"))
    proxy.clear()
    world.sync()
    world.until("Sync", "app", ready_at(sha))
    # Requests of this Sync alone: Syncs of earlier tests may still be on their way out.
    about = [r for r in told(proxy) if world.namespace in r[1]]
    events = [r for r in about if "/events" in r[1]]
    mine = [r for r in about if "/events" not in r[1]]
    # finalizer, 4 dry runs, inventory, 4 applies, status; a watch per new kind is listed at most once
    assert len([r for r in mine if r[0] != "GET"]) == 11, mine
    assert len(mine) + len(events) <= 14, mine


def test_a_commit_that_touches_nothing_of_a_sync_writes_nothing_to_it(world: World, proxy: ApiProxy) -> None:
    sha = world.repo.commit({"app/a.yaml": config("a", k="1"), "other/x.yaml": config("x")}, "First")
    world.source()
    world.sync(path="app")
    before = world.until("Sync", "app", ready_at(sha))
    proxy.clear()
    world.repo.commit({"other/x.yaml": config("x", k="2")}, "Elsewhere")
    world.until("Source", "src", lambda o: o and o["status"]["commit"]["subject"] == "Elsewhere")
    assert [r for r in told(proxy) if world.target in r[1]] == []
    now = world.api.get("Sync", world.namespace, "app")
    assert now["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    world.ask("Sync", "app", "after")
    sync = world.until("Sync", "app", lambda o: o and o["status"].get("requested") == "after")
    assert sync["status"]["applied"] == before["status"]["applied"]
    assert sync["status"]["desired"]["revision"].endswith(sha)
    writes = [r for r in proxy.writes if world.target in r.path and not r.is_dry_run]
    assert writes == []


def test_commits_reach_whom_they_touch_by_whatever_way(world: World) -> None:
    """A base beside the folder, a file that was missing, a step back: after commits that were told and not run for."""
    files = {"base/kustomization.yaml": "resources: [c.yaml]\n", "base/c.yaml": config("base", k="1")}
    files |= {"app/kustomization.yaml": "resources: [../base]\n", "other/x.yaml": config("x", k="1")}
    sha = world.repo.commit(files, "First")
    world.source(interval="1h")
    for name in ("app", "other"):
        world.sync(name, path=name)
        world.until("Sync", name, ready_at(sha))

    def step(files: dict[str, str | None], name: str) -> None:
        sha = world.repo.commit(files, f"For {name}")
        world.ask("Source", "src", sha)
        world.until("Sync", name, ready_at(sha))

    step({"other/x.yaml": config("x", k="2")}, "other")
    step({"base/c.yaml": config("base", k="2")}, "app")
    assert world.get("ConfigMap", "base")["data"] == {"k": "2"}
    step({"other/deep/y.yaml": config("y", k="1")}, "other")
    step({"app/kustomization.yaml": "resources: [../base]\nnamePrefix: my-\n"}, "app")
    world.until("ConfigMap", "base", lambda o: o is None)
    world.repo.reset(sha)
    world.ask("Source", "src", "back")
    world.until("Sync", "other", ready_at(sha))
    world.until("Sync", "app", ready_at(sha))
    assert world.get("ConfigMap", "base")["data"] == {"k": "1"}
    world.until("ConfigMap", "y", lambda o: o is None)


def test_a_noisy_neighbour_costs_nothing(world: World, proxy: ApiProxy) -> None:
    """A controller that touches fields of its own is no drift: no read, no write, no status."""
    sha = world.repo.commit({"a.yaml": config("a", k="1")}, "First")
    world.source(interval="1h")
    world.sync()
    world.until("Sync", "app", ready_at(sha))
    proxy.clear()
    for number in range(5):
        body = {"metadata": {"annotations": {"example.org/beat": str(number)}}}
        world.api.merge("ConfigMap", world.target, "a", body, manager="some-controller")
    world.api.merge("ConfigMap", world.target, "a", {"data": {"k": "x"}})
    world.until("Sync", "app", lambda o: o and o["status"]["summary"]["corrected"] == 1)
    about = [r for r in told(proxy) if "/configmaps" in r[1] and world.target in r[1]]
    assert [m for m, _, _ in about] == ["GET", "PATCH", "PATCH"]
    assert world.get("ConfigMap", "a")["metadata"]["annotations"]["example.org/beat"] == "4"


def test_a_restart_writes_nothing(world: World, operator: UnderTest, proxy: ApiProxy) -> None:
    sha = world.repo.commit({"a.yaml": config("a", k="1"), "b.yaml": config("b", k="1")}, "First")
    world.source()
    world.sync()
    before = world.until("Sync", "app", ready_at(sha))
    operator.stop(signal.SIGTERM)
    proxy.clear()
    operator.start()
    world.ask("Source", "src", "again")
    world.until("Source", "src", lambda o: o and o["status"].get("requested") == "again")
    sha = world.repo.commit({"b.yaml": config("b", k="2")}, "Second")
    world.until("Sync", "app", ready_at(sha))
    touched = [
        (r.path.rsplit("/", 1)[-1], "read" if r.is_read else "dry run" if r.is_dry_run else "write")
        for r in proxy.requests
        if "/configmaps/" in r.path and world.target in r.path and not r.is_watch
    ]
    # That is the commit; the restart itself has no part in it.
    assert touched == [("b", "read"), ("b", "dry run"), ("b", "write")]
    assert before["status"]["applied"]["ownership"]


def test_a_killed_operator_repairs_what_it_left(world: World, operator: UnderTest) -> None:
    sha = world.repo.commit({"a.yaml": config("a", k="1")}, "First")
    world.source()
    world.sync()
    world.until("Sync", "app", ready_at(sha))
    operator.stop(signal.SIGKILL)
    world.api.merge("ConfigMap", world.target, "a", {"data": {"k": "meanwhile"}})
    operator.start()
    world.until("ConfigMap", "a", lambda o: o and o["data"] == {"k": "1"})
    sync = world.until("Sync", "app", lambda o: is_ready(o) and o["status"]["summary"]["corrected"] == 1)
    assert condition(sync, "Synced")["status"] == "True"
