"""Watches that end, err, fall silent or lose their connection: whatever was missed meanwhile is found."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.e2e.conftest import World
from tests.faults.operators import Operator
from tests.faults.steps import commit, converged, drift, enforced, ready
from tests.servers.apiproxy import ApiProxy
from tests.servers.apirules import Request, reply

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
