"""One object that three Syncs have in Git: one owns it, two wait, and it is handed on without ever being deleted."""

from __future__ import annotations

import signal
from typing import Any

import pytest
from tests.e2e.conftest import World, config
from tests.e2e.test_sync import ready_at
from tests.kit.api import Json, condition, is_ready, says
from tests.kit.pods import UnderTest
from tests.kit.servers.apiproxy import ApiProxy
from tests.kit.servers.apirules import Hold

pytestmark = pytest.mark.cluster
NAMES = ("one", "two", "three")


def shared(name: str) -> dict[str, str]:
    """Return the folder of a Sync: the object that all want, and one of its own."""
    return {f"{name}/x.yaml": config("x", by=name), f"{name}/own.yaml": config(f"own-{name}")}


def three(world: World) -> str:
    """Make the three Syncs, the first of which owns `x`; returns its uid."""
    files = [shared(name) for name in NAMES]
    sha = world.repo.commit(files[0] | files[1] | files[2], "All three")
    world.source()
    world.sync("one", path="one")
    world.until("Sync", "one", ready_at(sha))
    for name in NAMES[1:]:
        world.sync(name, path=name)
        world.until("Sync", name, waits_for(world, "one"))
    return uid(world)


def uid(world: World) -> str:
    found = world.get("ConfigMap", "x")
    return str(found["metadata"]["uid"])


def waits_for(world: World, owner: str) -> Any:
    """Return a check that a Sync waits, and says for whom."""
    return says("Contested", f"ConfigMap/{world.target}/x belongs to Sync {world.namespace}/{owner}")


def owner(world: World) -> str:
    """Return the Sync that the object names as its owner."""
    found = world.get("ConfigMap", "x")
    named: str = found["metadata"]["annotations"]["setpoint.dev/owner"].split(" ")[0]
    return named.removeprefix(f"{world.namespace}/")


def changes(sync: Json | None) -> tuple[str, str]:
    """Return what moves when Ready does."""
    ready = condition(sync)
    return ready["status"], ready["lastTransitionTime"]


def test_the_owner_is_untouched_and_both_others_name_it(world: World) -> None:
    three(world)
    one = world.until("Sync", "one", lambda o: o and o["status"].get("differences"))
    assert is_ready(one)
    assert [(d["name"], d["sync"]) for d in one["status"]["differences"]] == [("x", "Contested")]
    for name in NAMES[1:]:
        status = world.status(name)
        assert status["summary"]["synced"] == 1
        found = [(d["name"], d["sync"], d["reason"]) for d in status["differences"]]
        assert found == [("x", "Contested", "Contested")]
        assert world.seek("ConfigMap", f"own-{name}") is not None
    before = changes(one)
    world.api.merge("ConfigMap", world.target, "x", {"data": {"by": "hand"}})
    world.until("Sync", "one", lambda o: o["status"]["summary"]["corrected"] == 1)
    assert world.get("ConfigMap", "x")["data"] == {"by": "one"}
    assert changes(world.until("Sync", "one", is_ready)) == before


def test_it_goes_from_one_to_the_next_and_never_away(world: World) -> None:
    first = three(world)
    sha = world.repo.commit({"one/x.yaml": None}, "One lets go")
    world.until("Sync", "one", ready_at(sha))
    world.until("ConfigMap", "x", lambda o: o["data"]["by"] != "one")
    second = owner(world)
    third = next(name for name in NAMES[1:] if name != second)
    world.until("Sync", second, is_ready)
    world.until("Sync", third, waits_for(world, second))
    assert (uid(world), world.get("ConfigMap", "x")["data"]) == (first, {"by": second})
    sha = world.repo.commit({f"{second}/x.yaml": None}, "The second lets go")
    world.until("Sync", second, ready_at(sha))
    world.until("Sync", third, is_ready)
    assert (uid(world), world.get("ConfigMap", "x")["data"]) == (first, {"by": third})
    assert owner(world) == third
    for name in ("one", second):
        assert world.until("Sync", name, is_ready)["status"]["summary"]["objects"] == 1


def test_a_sync_that_goes_leaves_it_to_one_who_waits(world: World) -> None:
    three(world)
    world.api.delete("Sync", world.namespace, "one")
    world.until("Sync", "one", lambda o: o is None)
    world.until("ConfigMap", "x", lambda o: o and o["data"]["by"] != "one")
    second = owner(world)
    world.until("Sync", second, is_ready)
    world.until("Sync", next(name for name in NAMES[1:] if name != second), waits_for(world, second))


def moved(world: World) -> tuple[str, str]:
    """Have `one` let go of the object; returns who has it then, and who waits."""
    sha = world.repo.commit({"one/x.yaml": None}, "One lets go")
    world.until("Sync", "one", ready_at(sha))
    world.until("ConfigMap", "x", lambda o: o["data"]["by"] != "one")
    second = owner(world)
    world.until("Sync", second, is_ready)
    return second, next(name for name in NAMES[1:] if name != second)


def again(world: World) -> str:
    """Commit what has all evaluated once more."""
    files = {f"{name}/own.yaml": config(f"own-{name}", k="2") for name in NAMES}
    return world.repo.commit(files, "All are evaluated again")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_a_restart_changes_no_owner(world: World, operator: UnderTest, number: int) -> None:
    first = three(world)
    second, third = moved(world)
    operator.stop(number)
    operator.start()
    sha = again(world)
    world.until("Sync", second, ready_at(sha))
    world.until("Sync", third, waits_for(world, second))
    assert (owner(world), uid(world)) == (second, first)


def test_an_end_before_the_former_owner_has_told_it_changes_none_either(
    world: World, operator: UnderTest, proxy: ApiProxy
) -> None:
    """Two inventories have it then; and when the one lets go, the other is late to say so."""
    first = three(world)
    inventory = world.status("one")["inventory"]
    second, third = moved(world)
    operator.stop()
    path = f"{world.api.path('Sync', world.namespace, 'one')}/status"
    body = {"status": {"inventory": inventory}}
    world.api.request("PATCH", path, body, "application/merge-patch+json").close()
    sha, hold = again(world), Hold()
    late = f"{world.api.path('Sync', world.namespace, second)}/status"
    with proxy.on(lambda r: r.method == "PATCH" and r.path == late, hold):
        operator.start()
        world.until("Sync", "one", ready_at(sha))
        assert hold.arrived.wait(60)
        world.ask("Sync", third, "again")
        world.until("Sync", third, lambda o: o["status"].get("requested") == "again")
        assert owner(world) == second
        hold.release()
    world.until("Sync", second, ready_at(sha))
    world.until("Sync", third, waits_for(world, second))
    assert (owner(world), uid(world)) == (second, first)
    assert world.status("one")["summary"]["objects"] == 1
