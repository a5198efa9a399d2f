"""Watches that end, err, fall silent or lose their connection: whatever was missed meanwhile is found."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.e2e.conftest import World, config
from tests.faults.operators import Operator
from tests.faults.steps import commit, converged, corrected, drift, enforced, ready
from tests.kit.api import is_ready, says
from tests.kit.cluster.processes import until
from tests.kit.servers.apiproxy import ApiProxy
from tests.kit.servers.apirules import Hold, Request, reply

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
    # A watch may be between two connections: what is told then is lost.
    until(lambda: proxy.inject(ERRORS[name], match) > 0, "an open watch", 60)
    enforced(world)
    converged(world, commit(world, "2"), "2")
    world.sync(suspend=True)
    world.until("Sync", "app", says("Suspended"))


def unseen(world: World, proxy: ApiProxy, plural: str, change: Callable[[], None]) -> None:
    """Have a change fall between a watch of Sources or Syncs that is too old, and the list that follows it."""
    hold = Hold()

    def expired() -> bool:
        # A watch may be between two connections: what is told then is lost.
        told = proxy.inject(ERRORS["410"], lambda r: of_ours(r) and r.path.endswith(plural))
        return hold.arrived.wait(2 if told else 0.1)

    with proxy.on(lambda r: lists(r, plural) and r.user_agent.startswith("kopf"), hold, times=1):
        try:
            until(expired, f"a new list of {plural}", 60)
            change()
        finally:
            hold.release()


def lists(request: Request, plural: str) -> bool:
    """Lists of Sources or Syncs."""
    return request.path.endswith(f"/v1alpha1/{plural}") and request.is_read


def looks(request: Request) -> bool:
    """Lists of Sources and Syncs by which the operator finds what is gone."""
    return request.user_agent.startswith("setpoint") and (
        lists(request, "sources") or lists(request, "syncs")
    )


def remove_source(world: World) -> None:
    world.api.delete("Source", world.namespace, "src")
    world.until("Source", "src", lambda o: o is None)


def test_a_source_that_went_while_nobody_watched(world: World, proxy: ApiProxy) -> None:
    """A list says what is there; of what is gone nobody tells."""
    ready(world)
    world.source("other")
    world.until("Source", "other", is_ready)
    unseen(world, proxy, "sources", lambda: remove_source(world))
    world.until("Sync", "app", says("SourceNotFound"))


def test_a_source_that_went_unnoticed_is_noticed_with_the_next_commit(world: World, proxy: ApiProxy) -> None:
    ready(world)
    with proxy.on(looks, reply(500)):
        unseen(world, proxy, "sources", lambda: remove_source(world))
        commit(world, "2")
        world.until("Sync", "app", says("SourceNotFound"))
    # What was applied stays, and nothing comes from a Source that nobody has.
    assert world.get("ConfigMap", "a")["data"] == {"k": "1"}


def test_a_sync_that_went_while_nobody_watched(world: World, proxy: ApiProxy) -> None:
    """Somebody took its finalizer away: nobody enforces its objects any more, and another Sync may have them."""
    ready(world)
    world.repo.commit({"other/b.yaml": config("b", k="1")}, "Of another Sync")
    world.sync(exclude=["other/**"])
    world.sync("other", path="other")
    world.until("Sync", "other", is_ready)
    world.until("Sync", "app", is_ready)

    def remove() -> None:
        world.api.merge("Sync", world.namespace, "app", {"metadata": {"finalizers": None}})
        world.api.delete("Sync", world.namespace, "app")
        world.until("Sync", "app", lambda o: o is None)
        proxy.clear()

    unseen(world, proxy, "syncs", remove)
    proxy.wait_for(lambda r: looks(r) and r.path.endswith("syncs") and r.ended)
    drift(world)
    world.api.merge("ConfigMap", world.target, "b", {"data": {"k": "by hand"}})
    world.until("ConfigMap", "b", lambda o: o and o["data"] == {"k": "1"})
    assert world.get("ConfigMap", "a")["data"] == {"k": "by hand"}
    world.sync("next", exclude=["other/**"])
    world.until("Sync", "next", is_ready)
    corrected(world)


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
    until(lambda: bool(proxy.mute_open(of_objects)), "an open watch", 60)
    proxy.mute_open()
    enforced(world)
    converged(world, commit(world, "2"), "2")


def test_connections_that_are_cut(world: World, proxy: ApiProxy) -> None:
    ready(world)
    proxy.cut_open(lambda _request: True)
    enforced(world)
    converged(world, commit(world, "2"), "2")


def test_connections_that_are_half_open(world: World, proxy: ApiProxy, operator: Operator) -> None:
    ready(world)
    until(lambda: any(of_objects(r) and not r.ended for r in proxy.watches), "an open watch", 60)
    with proxy.half_open() as dead:
        enforced(world)
        converged(world, commit(world, "2"), "2")
        # The first watch that is silent for too long makes all connections new, so that no request need meet the
        # rule; but all that goes on goes on elsewhere.
        proxy.wait_for(lambda r: of_objects(r) and r.status == 200 and not dead.match(r))
        assert operator.metric("setpoint_leader") == 1
