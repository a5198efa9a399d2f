"""The API server answers with errors, late, or half: every such answer is told, and nothing is lost by it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
from tests.e2e.conftest import World, config
from tests.e2e.test_sync import ready_at
from tests.faults.operators import Operator
from tests.faults.steps import commit, converged, drift, enforced, ready
from tests.kit.api import Json, condition, is_ready, says
from tests.kit.cluster.processes import until
from tests.kit.servers.apiproxy import ApiProxy
from tests.kit.servers.apirules import Match, Reply, Request, alter, delay, reply

pytestmark = pytest.mark.cluster


def refusal(code: int, reason: str, message: str) -> bytes:
    """An error as the API server words it."""
    body = {"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "reason": reason}
    return json.dumps({**body, "message": message}).encode()


def objects(world: World) -> Callable[[Request], bool]:
    """The requests about managed objects, made on behalf of the Sync."""
    return lambda r: f"/namespaces/{world.target}/" in r.path and not r.is_watch


def own(world: World) -> Callable[[Request], bool]:
    """Writes of the statuses that the operator tells by."""
    return lambda r: f"/namespaces/{world.namespace}/" in r.path and r.path.endswith("/status")


ERRORS = {
    "500": (500, refusal(500, "InternalError", "etcdserver: leader changed"), {}, "leader changed"),
    "503": (503, b"upstream connect error", {"Content-Type": "text/plain"}, "upstream connect error"),
    "429": (429, refusal(429, "TooManyRequests", "slow down"), {"Retry-After": "1"}, "too many requests"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_about_every_object_is_said_and_outlived(
    world: World, proxy: ApiProxy, operator: Operator, name: str
) -> None:
    code, body, headers, words = ERRORS[name]
    ready(world)
    before = operator.refused(code)
    with proxy.on(objects(world), reply(code, body, {"Content-Type": "application/json", **headers})):
        sha = commit(world, "2")
        sync = world.until("Sync", "app", says("ApiUnavailable", words))
        assert "stays enforced" in condition(sync)["message"]
        world.announced("ApiUnavailable")
        assert operator.refused(code) > before
        assert world.get("ConfigMap", "a")["data"] == {"k": "1"}
    converged(world, sha, "2")
    enforced(world, "2")


def test_a_server_that_asks_for_patience_gets_it(world: World, proxy: ApiProxy) -> None:
    ready(world)
    headers = {"Content-Type": "application/json", "Retry-After": "8"}
    with proxy.on(objects(world), reply(429, refusal(429, "TooManyRequests", "slow down"), headers)):
        sha = commit(world, "2")
        world.until("Sync", "app", says("ApiUnavailable", "too many requests"))
    converged(world, sha, "2")


def test_a_storm_of_conflicts_is_said_and_outlived(world: World, proxy: ApiProxy, operator: Operator) -> None:
    ready(world)
    conflict = refusal(409, "Conflict", "the object has been modified; please apply your changes")
    with proxy.on(lambda r: objects(world)(r) and r.method == "PATCH", reply(409, conflict)):
        sha = commit(world, "2")
        world.until("Sync", "app", says("ApplyFailed", "somebody else changed it"))
    converged(world, sha, "2")
    before = operator.refused(409)
    with proxy.on(own(world), reply(409, conflict), times=5) as storm:
        sha = commit(world, "3")
        converged(world, sha, "3")
        assert storm.hits == 5
    assert operator.refused(409) - before == 5
    enforced(world, "3")


def test_half_an_answer_is_no_answer(world: World, proxy: ApiProxy) -> None:
    ready(world)
    half = alter(lambda answer: Reply(answer.status, answer.body[: len(answer.body) // 2], answer.headers))
    with proxy.on(objects(world), half):
        sha = commit(world, "2")
        world.until("Sync", "app", says("ApiUnavailable", "not JSON"))
    converged(world, sha, "2")
    enforced(world, "2")


def test_statuses_that_cannot_be_written_are_told_by_log_and_metric_and_written_later(
    world: World, proxy: ApiProxy, operator: Operator
) -> None:
    ready(world)
    before, said = operator.refused(503), operator.logged()
    with proxy.on(own(world), reply(503, b"no")):
        # An object that is new would have to stand in the inventory first.
        sha = world.repo.commit({"a.yaml": config("a", k="2")}, "Second")
        world.until("ConfigMap", "a", lambda o: o and o["data"] == {"k": "2"})
        operator.says("cannot write the status of a Sync", said)
        operator.says("cannot write the status of a Source", said)
        assert operator.refused(503) > before
        enforced(world, "2")
    world.until("Sync", "app", ready_at(sha))
    source = world.until("Source", "src", lambda o: o and o["status"]["revision"].endswith(sha))
    assert condition(source)["status"] == "True"


def test_a_kind_that_was_forbidden_for_a_moment_is_watched_soon(world: World, proxy: ApiProxy) -> None:
    """An API server that has just started knows no rights yet."""
    limits = {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "l"}}
    limits["spec"] = {"limits": [{"type": "Container", "default": {"cpu": "1"}}]}
    of_limits: Match = lambda r: r.path == "/api/v1/limitranges"  # noqa: E731
    with proxy.on(of_limits, reply(403, refusal(403, "Forbidden", "no"))):
        sha = world.repo.commit({"l.yaml": json.dumps(limits)}, "First")
        world.source()
        world.sync()
        world.until("Sync", "app", ready_at(sha))
    proxy.wait_for(lambda r: of_limits(r) and r.is_watch and r.status == 200)
    path = f"/api/v1/namespaces/{world.target}/limitranges"
    world.api.request("DELETE", f"{path}/l").close()
    until(lambda: bool(world.api.find(path)), "the object again", 60)


@pytest.fixture
def longer_lease(operator: Operator) -> Iterator[None]:
    """What is not sure to be answered before the lease ends is not sent: it has to be longer than a few answers."""
    operator.vary(SETPOINT_LEASE_DURATION="60s")
    yield
    operator.vary(SETPOINT_LEASE_DURATION="30s")


@pytest.mark.slow
@pytest.mark.usefixtures("longer_lease")
def test_five_seconds_for_each_answer_only_make_it_slow(
    world: World, proxy: ApiProxy, operator: Operator
) -> None:
    ready(world)
    with proxy.on(lambda _request: True, delay(5)):
        sha = commit(world, "2")
        drift(world)
        converged(world, sha, "2", seconds=240)
        assert operator.metric("setpoint_leader") == 1
    enforced(world, "2")


def test_what_left_git_stays_known_while_nothing_can_be_asked_about_it(world: World, proxy: ApiProxy) -> None:
    ready(world)
    converged(world, commit(world, "2"), "2")
    answer = reply(500, refusal(500, "InternalError", "etcdserver: leader changed"))
    with proxy.on(lambda r: r.path.endswith("/configmaps/a"), answer):
        world.api.delete("ConfigMap", world.target, "a")
        world.until("Sync", "app", says("ApiUnavailable", "ConfigMap/"))
        sha = world.repo.commit({"a.yaml": None, "b.yaml": None, "c.yaml": config("c")}, "Others")
        told = says("ApiUnavailable")
        sync = world.until(
            "Sync", "app", lambda o: told(o) and o["status"]["desired"]["revision"].endswith(sha)
        )
        assert names_of(sync) == {"a", "b", "c"}
    world.until("Sync", "app", lambda o: is_ready(o) and names_of(o) == {"c"})
    assert world.seek("ConfigMap", "b") is None


def names_of(sync: Json | None) -> set[str]:
    """Return the names in the inventory of a Sync."""
    return {n for group in ((sync or {}).get("status") or {}).get("inventory") or [] for n in group["names"]}
