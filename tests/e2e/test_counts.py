"""What each change costs, in requests that the operator makes: exact where it is exact. Times are never asserted."""

from __future__ import annotations

from collections import Counter

import pytest
from tests.e2e.conftest import World, config
from tests.e2e.test_sync import ready_at
from tests.kit.api import is_ready
from tests.kit.servers.apiproxy import ApiProxy

pytestmark = pytest.mark.cluster


def spent(world: World, proxy: ApiProxy) -> Counter[str]:
    """Requests about one target namespace: reads, dry runs and writes."""
    about = [r for r in proxy.requests if world.target in r.path and not r.is_watch]
    return Counter("read" if r.is_read else "dry run" if r.is_dry_run else "write" for r in about)


def test_a_commit_that_changes_one_object_costs_one_dry_run_and_one_write(
    world: World, proxy: ApiProxy
) -> None:
    files = {f"{n}.yaml": config(n, k="1") for n in "abcd"}
    sha = world.repo.commit(files, "First")
    world.source(interval="1h")
    world.sync()
    world.until("Sync", "app", ready_at(sha))
    proxy.clear()
    sha = world.repo.commit({"b.yaml": config("b", k="2")}, "Second")
    world.ask("Source", "src", "second")
    world.until("Sync", "app", ready_at(sha))
    # The live object is read for the plan, the prediction is asked for, and it is written.
    assert spent(world, proxy) == {"read": 1, "dry run": 1, "write": 1}


def test_a_check_that_was_asked_for_looks_at_each_object_once_and_writes_none(
    world: World, proxy: ApiProxy
) -> None:
    sha = world.repo.commit({"a.yaml": config("a", k="1")}, "First")
    world.source(interval="1h")
    world.sync()
    world.until("Sync", "app", ready_at(sha))
    proxy.clear()
    world.ask("Sync", "app", "now")
    world.until("Sync", "app", lambda o: is_ready(o) and o["status"].get("requested") == "now")
    assert spent(world, proxy) == {"read": 1, "dry run": 1}


def test_a_deleted_object_comes_back_with_one_dry_run_and_one_write(world: World, proxy: ApiProxy) -> None:
    sha = world.repo.commit({"a.yaml": config("a", k="1"), "b.yaml": config("b", k="1")}, "First")
    world.source(interval="1h")
    world.sync()
    world.until("Sync", "app", ready_at(sha))
    proxy.clear()
    world.api.delete("ConfigMap", world.target, "a")
    world.until("Sync", "app", lambda o: is_ready(o) and o["status"]["summary"]["corrected"] == 1)
    assert spent(world, proxy) == {"dry run": 1, "write": 1}
