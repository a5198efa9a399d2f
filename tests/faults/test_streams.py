"""Watches that end, err, fall silent or lose their connection: whatever was missed meanwhile is found."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.e2e.api import says
from tests.e2e.conftest import World
from tests.e2e.test_sync import ready_at
from tests.faults.operators import Operator
from tests.faults.steps import commit, converged, drift, enforced, ready
from tests.servers.apiproxy import ApiProxy
from tests.servers.apirules import Hold, Request, reply

pytestmark = pytest.mark.cluster

GONE = b'{"kind":"Status","apiVersion":"v1","code":410,"reason":"Expired","message":"too old"}'
ERRORS = {
    "410": b'{"type":"ERROR","object":' + GONE + b"}\n",
    "500": b'{"type":"ERROR","object":{"kind":"Status","code":500,"reason":"InternalError","message":"no"}}\n',
    "half a line": b'{"type":"MODIFIED","obj\n',
}


@pytest.fixture(scope="module")
def variables() -> dict[str, str]:
    return {"SETPOINT_WATCH_SILENCE": "5s"}


def of_objects(request: Request) -> bool:
    """Watches of ConfigMaps."""
    return request.is_watch and request.path.endswith("/configmaps")


def of_ours(request: Request) -> bool:
    """Watches of Sources and Syncs."""
    return request.is_watch and "/setpoint.dev/" in request.path


@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize("match", [of_objects, of_ours])
def test_an_error_inside_a_stream(
    world: World, proxy: ApiProxy, name: str, match: Callable[[Request], bool]
) -> None:
    ready(world)
    proxy.wait_for(lambda r: match(r) and not r.ended)
    assert proxy.inject(ERRORS[name], match) > 0
    enforced(world)
    converged(world, commit(world, "2"), "2")
    world.sync(suspend=True)
    world.until("Sync", "app", lambda o: o and "suspended" in str(o["status"]["conditions"]))


def unseen(world: World, proxy: ApiProxy, plural: str, change: Callable[[], None]) -> None:
    """Have a change fall between a watch of Sources or Syncs that is too old, and the list that follows it."""
    hold = Hold()
    proxy.wait_for(lambda r: of_ours(r) and r.path.endswith(plural) and not r.ended)
    with proxy.on(lambda r: r.path.endswith(f"/v1alpha1/{plural}") and not r.is_watch, hold, times=1):
        assert proxy.inject(ERRORS["410"], lambda r: of_ours(r) and r.path.endswith(plural)) == 1
        assert hold.arrived.wait(30)
        change()
        hold.release()


def test_a_source_that_went_while_nobody_watched(world: World, proxy: ApiProxy) -> None:
    """A list says what is there; of what is gone nobody tells."""
    ready(world)

    def remove() -> None:
        world.api.delete("Source", world.namespace, "src")
        world.until("Source", "src", lambda o: o is None)

    unseen(world, proxy, "sources", remove)
    world.until("Sync", "app", says("SourceNotFound"))


def test_a_sync_that_went_while_nobody_watched(world: World, proxy: ApiProxy) -> None:
    """Somebody took its finalizer away; what it held is free for others."""
    sha = ready(world)

    def remove() -> None:
        world.api.merge("Sync", world.namespace, "app", {"metadata": {"finalizers": None}})
        world.api.delete("Sync", world.namespace, "app")
        world.until("Sync", "app", lambda o: o is None)

    unseen(world, proxy, "syncs", remove)
    world.sync("next")
    world.until("Sync", "next", ready_at(sha))
    enforced(world)


def test_watches_that_are_gone(world: World, proxy: ApiProxy, operator: Operator) -> None:
    ready(world)
    before = operator.metric("setpoint_api_requests_total", verb="watch", code="410")
    with proxy.on(of_objects, reply(410, GONE), times=2):
        proxy.cut_open(of_objects)
        drift(world)
        proxy.wait_for(lambda r: of_objects(r) and r.status == 410)
    enforced(world)
    assert operator.metric("setpoint_api_requests_total", verb="watch", code="410") > before


def test_streams_that_go_silent(world: World, proxy: ApiProxy) -> None:
    ready(world)
    proxy.wait_for(lambda r: of_objects(r) and not r.ended)
    assert proxy.mute_open()
    enforced(world)
    converged(world, commit(world, "2"), "2")


def test_connections_that_are_cut(world: World, proxy: ApiProxy) -> None:
    ready(world)
    proxy.cut_open(lambda _request: True)
    enforced(world)
    converged(world, commit(world, "2"), "2")


def test_connections_that_are_half_open(world: World, proxy: ApiProxy, operator: Operator) -> None:
    ready(world)
    with proxy.half_open() as dead:
        enforced(world)
        converged(world, commit(world, "2"), "2")
        assert dead.hits > 0
        assert operator.metric("setpoint_leader") == 1
