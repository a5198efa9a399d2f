"""What was applied last stays enforced after a restart, whatever the cache, Git or the rights have lost."""

from __future__ import annotations

import json

import pytest
from tests.e2e.conftest import World, config
from tests.e2e.test_sync import ready_at
from tests.kit.api import is_ready, says
from tests.kit.pods import UnderTest
from tests.kit.servers.apiproxy import ApiProxy
from tests.kit.servers.apirules import reply

pytestmark = pytest.mark.cluster

DENIED = b'{"kind":"Status","code":403,"reason":"Forbidden","message":"no"}'


def restart_without_cache(operator: UnderTest) -> None:
    operator.stop()
    operator.forget_cache()
    operator.start()


def reverted(world: World, name: str) -> None:
    """Change an object by hand and see it put back."""
    world.api.merge("ConfigMap", world.target, name, {"data": {"k": "by hand"}})
    world.until("ConfigMap", name, lambda o: o and o["data"] == {"k": "1"})


def test_a_broken_commit_after_a_restart_leaves_the_last_good_one_enforced(
    world: World, operator: UnderTest
) -> None:
    sha = world.repo.commit({"a.yaml": config("a", k="1")}, "Good")
    world.source()
    world.sync()
    world.until("Sync", "app", ready_at(sha))
    world.repo.commit({"a.yaml": "a: [\n"}, "Broken")
    world.until("Sync", "app", says("RenderFailed"))
    restart_without_cache(operator)
    reverted(world, "a")
    sync = world.until("Sync", "app", lambda o: o and o["status"]["summary"].get("corrected") == 1)
    assert says("RenderFailed")(sync)
    assert sync["status"]["applied"]["revision"].endswith(sha)


def test_a_suspended_source_after_a_restart_is_enforced(world: World, operator: UnderTest) -> None:
    sha = world.repo.commit({"a.yaml": config("a", k="1")}, "First")
    world.source()
    world.sync()
    world.until("Sync", "app", ready_at(sha))
    world.source(suspend=True)
    world.until("Source", "src", says("Suspended"))
    world.repo.commit({"a.yaml": config("a", k="2")}, "Not wanted yet")
    restart_without_cache(operator)
    reverted(world, "a")
    assert world.until("Sync", "app", ready_at(sha))
    world.source(suspend=False)
    world.until("ConfigMap", "a", lambda o: o and o["data"] == {"k": "2"})


def test_a_ref_that_vanished_before_a_restart_leaves_the_last_commit_enforced(
    world: World, operator: UnderTest
) -> None:
    sha = world.repo.commit({"a.yaml": config("a", k="1")}, "First")
    world.source()
    world.sync()
    world.until("Sync", "app", ready_at(sha))
    world.source(ref={"branch": "gone"})
    world.until("Source", "src", says("RefNotFound"))
    restart_without_cache(operator)
    reverted(world, "a")
    assert world.until("Source", "src", says("RefNotFound", "stays enforced"))


def test_what_was_corrected_is_logged_although_the_first_try_to_write_it_failed(
    world: World, proxy: ApiProxy
) -> None:
    sha = world.repo.commit({"a.yaml": config("a", k="1")}, "First")
    world.source()
    world.sync()
    world.until("Sync", "app", ready_at(sha))
    status = f"{world.api.path('Sync', world.namespace, 'app')}/status"
    conflict = reply(409, b'{"kind":"Status","code":409,"reason":"Conflict","message":"moved"}')
    with proxy.on(lambda r: r.path == status, conflict, times=1) as rule:
        reverted(world, "a")
        sync = world.until("Sync", "app", lambda o: o and o["status"]["summary"].get("corrected") == 1)
        assert rule.hits == 1
    assert [entry["manager"] for entry in sync["status"]["driftLog"]] == ["kubectl-edit"]
    world.announced("Drift")
    assert len(world.events("Drift")) == 1


def test_a_kind_that_may_not_be_watched_is_held_by_request_and_interval(
    world: World, proxy: ApiProxy
) -> None:
    limits = {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "l"}}
    limits["spec"] = {"limits": [{"type": "Container", "default": {"cpu": "1"}}]}
    rule = proxy.on(lambda r: r.path == "/api/v1/limitranges", reply(403, DENIED))
    sha = world.repo.commit({"l.yaml": json.dumps(limits), "a.yaml": config("a", k="1")}, "First")
    world.source()
    world.sync()
    with rule:
        world.until("Sync", "app", ready_at(sha))
        path = f"/api/v1/namespaces/{world.target}/limitranges/l"
        world.api.request("DELETE", path).close()
        world.ask("Sync", "app", "now")
        world.until("Sync", "app", lambda o: is_ready(o) and o["status"].get("requested") == "now")
        with world.api.request("GET", path) as answer:
            assert json.load(answer)["metadata"]["name"] == "l"
        reverted(world, "a")
