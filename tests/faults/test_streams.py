"""Watches that end, err, fall silent or lose their connection: whatever was missed meanwhile is found."""

from __future__ import annotations

import pytest
from tests.e2e.conftest import World
from tests.faults.steps import commit, converged, enforced, ready
from tests.servers.apiproxy import ApiProxy
from tests.servers.apirules import Request

pytestmark = pytest.mark.cluster

ERRORS = {
    "410": b'{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old"}}\n',
    "500": b'{"type":"ERROR","object":{"kind":"Status","code":500,"reason":"InternalError","message":"no"}}\n',
    "half a line": b'{"type":"MODIFIED","obj\n',
}


@pytest.fixture(scope="module")
def variables() -> dict[str, str]:
    return {"SETPOINT_WATCH_SILENCE": "5s"}


def of_objects(request: Request) -> bool:
    """Watches of ConfigMaps."""
    return request.is_watch and request.path.endswith("/configmaps")


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_inside_a_stream(world: World, proxy: ApiProxy, name: str) -> None:
    ready(world)
    proxy.wait_for(lambda r: of_objects(r) and not r.ended)
    assert proxy.inject(ERRORS[name], of_objects) > 0
    enforced(world)
    converged(world, commit(world, "2"), "2")
    world.sync(suspend=True)
    world.until("Sync", "app", lambda o: o and "suspended" in str(o["status"]["conditions"]))


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
