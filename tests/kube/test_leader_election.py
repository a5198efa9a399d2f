"""Leader election between two processes' worth of leases, on a real Lease; each has a clock of its own."""

from __future__ import annotations

import asyncio
from datetime import datetime

import pytest
from tests.kit.servers.apiproxy import ApiProxy
from tests.kit.servers.apirules import Hold, Request, cut, delay, reply
from tests.kube.objects import Json, gone, kind

from setpoint.kube.client import Cluster
from setpoint.kube.errors import ApiError, Fenced
from setpoint.kube.leader_election import SAFE_SHARE, LeaderElection

pytestmark = pytest.mark.cluster
NAME = "setpoint"


class Clock:
    """A clock that a test moves; it does not pass by itself."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def record(api: Cluster, namespace: str) -> Json:
    found = await api.get(kind(api, "coordination.k8s.io/v1", "Lease"), namespace, NAME)
    assert found is not None
    spec: Json = found["spec"]
    return spec


async def attempt(lease: LeaderElection, api: Cluster) -> bool:
    """One try, as `acquire` makes them again and again."""
    return await lease._attempt(api)


async def test_the_first_gets_it_and_the_second_waits_a_full_lease_of_its_own_clock(
    api: Cluster, namespace: str
) -> None:
    first = LeaderElection(namespace, NAME, "one", 15, clock=Clock())
    clock = Clock()
    second = LeaderElection(namespace, NAME, "two", 15, clock=clock)
    assert await attempt(first, api)
    assert first.fence.remaining() == 15 * SAFE_SHARE
    first.fence()
    assert (await record(api, namespace))["leaseTransitions"] == 0

    assert not await attempt(second, api)
    with pytest.raises(Fenced):
        second.fence()
    clock.now += 14
    assert await attempt(first, api), "a renewal starts the wait anew"
    clock.now += 2
    assert not await attempt(second, api)
    clock.now += 15
    assert not await attempt(second, api), "exactly a lease is not more than a lease"
    clock.now += 0.1
    assert await attempt(second, api)
    spec = await record(api, namespace)
    assert (spec["holderIdentity"], spec["leaseTransitions"], spec["leaseDurationSeconds"]) == ("two", 1, 15)
    assert not await attempt(first, api), "and the first has lost it"


async def test_a_record_from_the_past_is_not_trusted(api: Cluster, namespace: str) -> None:
    """The other's clock may be wrong: what counts is how long the record stayed the same here."""
    of = kind(api, "coordination.k8s.io/v1", "Lease")
    spec = {"holderIdentity": "old", "leaseDurationSeconds": 10, "renewTime": "2001-01-01T00:00:00.000000Z"}
    manifest = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"namespace": namespace, "name": NAME},
        "spec": spec,
    }
    await api.create(of, manifest)
    clock = Clock()
    lease = LeaderElection(namespace, NAME, "new", 15, clock=clock)
    assert not await attempt(lease, api)
    clock.now += 10.1
    assert await attempt(lease, api), "the record's own duration counts"


async def test_only_one_of_many_gets_it(api: Cluster, namespace: str) -> None:
    leases = [LeaderElection(namespace, NAME, f"holder-{n}", 15) for n in range(8)]
    won = await asyncio.gather(*(attempt(lease, api) for lease in leases))
    assert sum(won) == 1
    holder = leases[won.index(True)].holder
    assert (await record(api, namespace))["holderIdentity"] == holder


async def test_a_release_lets_the_next_in_at_once(api: Cluster, namespace: str) -> None:
    first, second = LeaderElection(namespace, NAME, "one", 15), LeaderElection(namespace, NAME, "two", 15)
    await first.acquire(api)
    assert not await attempt(second, api)
    await first.release(api)
    with pytest.raises(Fenced):
        first.fence()
    assert (await record(api, namespace))["holderIdentity"] == ""
    assert await attempt(second, api)
    assert not first.lost.is_set(), "given up is not lost"


def is_lease_watch(request: Request) -> bool:
    return request.is_watch and "/leases" in request.path


async def waits(lease: LeaderElection, via: Cluster, proxy: ApiProxy) -> asyncio.Task[None]:
    """Start to acquire; returns when the record is watched."""
    task = asyncio.create_task(lease.acquire(via))
    await asyncio.to_thread(proxy.wait_for, lambda r: is_lease_watch(r) and r.status == 200)
    return task


async def test_who_waits_is_told_of_a_release_and_polls_nothing(
    proxied: Cluster, api: Cluster, api_proxy: ApiProxy, namespace: str
) -> None:
    """With a lease this long, and a clock that stands still, nothing but the event can bring it."""
    first = LeaderElection(namespace, NAME, "one", 3000)
    second = LeaderElection(namespace, NAME, "two", 3000, clock=Clock())
    assert await attempt(first, api)
    task = await waits(second, proxied, api_proxy)
    for _ in range(3):
        assert await attempt(first, api)
    first._renewal = asyncio.create_task(asyncio.sleep(0))
    await first.release(api)
    async with asyncio.timeout(60):
        await task
    of_lease = [("WATCH" if r.is_watch else r.method) for r in api_proxy.requests if "/leases" in r.path]
    assert of_lease == ["GET", "WATCH", "GET", "PATCH"]
    spec = await record(api, namespace)
    assert (spec["holderIdentity"], spec["leaseTransitions"]) == ("two", 1)
    await second.release(api)


async def test_who_waits_sees_a_renewal_and_takes_what_is_not_renewed(
    proxied: Cluster, api: Cluster, api_proxy: ApiProxy, namespace: str
) -> None:
    """A takeover comes a lease after the last renewal that was seen, and not before."""
    first, second = LeaderElection(namespace, NAME, "one", 6), LeaderElection(namespace, NAME, "two", 6)
    await first.acquire(api)
    task = await waits(second, proxied, api_proxy)
    before = (await record(api, namespace))["renewTime"]
    async with asyncio.timeout(60):
        while (renewed := (await record(api, namespace))["renewTime"]) == before:
            await asyncio.sleep(0.1)
    assert first._renewal is not None
    first._renewal.cancel()  # as if it had been killed
    async with asyncio.timeout(60):
        await task
    spec = await record(api, namespace)
    assert spec["holderIdentity"] == "two"
    waited = datetime.fromisoformat(spec["acquireTime"]) - datetime.fromisoformat(renewed)
    assert waited.total_seconds() > 6
    asked = [r.method for r in api_proxy.requests if "/leases" in r.path and not r.is_watch]
    assert asked == ["GET", "GET", "PATCH"], "nothing was asked while it was renewed"
    await second.release(api)


async def test_who_cannot_watch_asks_now_and_then(
    proxied: Cluster, api: Cluster, api_proxy: ApiProxy, namespace: str
) -> None:
    first, second = LeaderElection(namespace, NAME, "one", 3), LeaderElection(namespace, NAME, "two", 3)
    await first.acquire(api)
    api_proxy.on(is_lease_watch, reply(403, b"{}"))
    task = asyncio.create_task(second.acquire(proxied))
    await asyncio.to_thread(api_proxy.wait_for, lambda r: is_lease_watch(r) and r.ended, 2)
    await first.release(api)
    async with asyncio.timeout(60):
        await task
    await second.release(api)


async def test_an_attempt_without_an_answer_gets_another_beside_it(
    proxied: Cluster, api: Cluster, api_proxy: ApiProxy, namespace: str
) -> None:
    """A server that was away may answer nothing that it was asked before, and all that it is asked afterwards."""
    lease, never = LeaderElection(namespace, NAME, "one", 3), Hold()
    with api_proxy.on(lambda r: "leases" in r.path, never, times=1):
        async with asyncio.timeout(60):  # the request itself would be waited for longer
            await lease.acquire(proxied)
    assert never.arrived.is_set()
    lease.fence()
    await lease.release(api)


async def test_an_answer_that_is_older_than_our_own_write_is_no_news(api: Cluster, namespace: str) -> None:
    """Of two attempts at once, one wins; what the other had read before must not end the leadership."""
    lease = LeaderElection(namespace, NAME, "one", 15)
    assert await attempt(LeaderElection(namespace, NAME, "", 15), api), "a record that nobody holds"
    won = await asyncio.gather(*(attempt(lease, api) for _ in range(8)))
    assert any(won)
    assert lease._record is not None
    assert lease._record.holder == "one"
    assert await attempt(lease, api)


async def test_a_record_that_is_deleted_under_who_waits_is_taken_a_lease_later(
    proxied: Cluster, api: Cluster, api_proxy: ApiProxy, namespace: str
) -> None:
    first, second = LeaderElection(namespace, NAME, "one", 3), LeaderElection(namespace, NAME, "two", 3)
    assert await attempt(first, api)
    task = await waits(second, proxied, api_proxy)
    await gone(api, kind(api, "coordination.k8s.io/v1", "Lease"), namespace, NAME)
    async with asyncio.timeout(60):
        await task
    assert first.fence.remaining() < 0
    assert (await record(api, namespace))["holderIdentity"] == "two"
    await second.release(api)


async def test_a_release_counts_though_the_last_renewal_lost_its_answer(
    proxied: Cluster, api: Cluster, api_proxy: ApiProxy, namespace: str
) -> None:
    lease = LeaderElection(namespace, NAME, "one", 15)
    await lease.acquire(proxied)
    api_proxy.on(lambda r: r.method == "PATCH", cut(after=True), times=1)
    assert not await attempt(lease, proxied)
    await lease.release(proxied)
    assert (await record(api, namespace))["holderIdentity"] == ""


async def test_a_deleted_record_is_not_free_for_who_knew_its_holder(api: Cluster, namespace: str) -> None:
    clock = Clock()
    first, second = (
        LeaderElection(namespace, NAME, "one", 15),
        LeaderElection(namespace, NAME, "two", 15, clock=clock),
    )
    assert await attempt(first, api)
    assert not await attempt(second, api)
    await gone(api, kind(api, "coordination.k8s.io/v1", "Lease"), namespace, NAME)
    assert not await attempt(second, api)
    clock.now += 15.1
    assert await attempt(second, api)


async def test_a_renewal_is_one_request(proxied: Cluster, api_proxy: ApiProxy, namespace: str) -> None:
    lease = LeaderElection(namespace, NAME, "one", 15)
    assert await attempt(lease, proxied)
    await asyncio.to_thread(api_proxy.wait_for, lambda r: r.method == "POST" and r.ended)
    api_proxy.clear()
    for _ in range(3):
        assert await attempt(lease, proxied)
    assert [r.method for r in api_proxy.requests] == ["PATCH"] * 3
    spec = await record(proxied, namespace)
    assert spec["leaseTransitions"] == 0
    assert spec["renewTime"] > spec["acquireTime"]


async def test_a_renewal_whose_answer_was_lost_is_found_out(
    proxied: Cluster, api_proxy: ApiProxy, namespace: str
) -> None:
    lease = LeaderElection(namespace, NAME, "one", 15)
    assert await attempt(lease, proxied)
    api_proxy.on(lambda r: r.method == "PATCH", cut(after=True), times=1)
    assert not await attempt(lease, proxied)
    assert await attempt(lease, proxied), "the record is newer than we knew, and still ours"


async def test_who_cannot_renew_stops_writing_and_says_so(
    proxied: Cluster, api: Cluster, api_proxy: ApiProxy, namespace: str
) -> None:
    lease = LeaderElection(namespace, NAME, "one", 6)
    await lease.acquire(proxied)
    writer = proxied.fenced(lease.fence)
    of = kind(api, "v1", "ConfigMap")
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": namespace, "name": "c"}}
    await writer.apply(of, body)
    api_proxy.on(lambda r: "leases" in r.path, reply(503, b"{}"))
    async with asyncio.timeout(60):
        await lease.lost.wait()
    with pytest.raises(Fenced):
        await writer.apply(of, body)
    await lease.release(api)
    assert (await record(api, namespace))["holderIdentity"] == "one", "what is lost is not ours to release"


async def test_who_waits_is_reachable_for_as_long_as_the_api_server_answers(
    proxied: Cluster, api: Cluster, api_proxy: ApiProxy, namespace: str
) -> None:
    clock = Clock()
    first, second = (
        LeaderElection(namespace, NAME, "one", 15),
        LeaderElection(namespace, NAME, "two", 15, clock=clock),
    )
    assert await attempt(first, api)
    assert not second.reachable(), "it has not asked yet"
    assert not await attempt(second, proxied)
    assert second.reachable()
    rule = api_proxy.on(lambda r: "leases" in r.path, reply(503, b"{}"))
    clock.now += 20
    assert not await attempt(second, proxied)
    assert second.reachable(), "one failure is not an outage"
    clock.now += 20
    assert not second.reachable()
    rule.remove()
    assert await attempt(first, api), "the other still holds it"
    assert not await attempt(second, proxied)
    assert second.reachable()


async def test_who_is_robbed_stops_writing_at_once(api: Cluster, namespace: str) -> None:
    lease = LeaderElection(namespace, NAME, "one", 1.5)
    await lease.acquire(api)
    change = [{"op": "replace", "path": "/spec/holderIdentity", "value": "somebody"}]
    await api.patch(kind(api, "coordination.k8s.io/v1", "Lease"), namespace, NAME, change)
    async with asyncio.timeout(60):
        await lease.lost.wait()
    assert lease.fence.remaining() < 0
    await lease.release(api)
    assert (await record(api, namespace))["holderIdentity"] == "somebody"


async def test_it_is_renewed_for_as_long_as_it_is_held(api: Cluster, namespace: str) -> None:
    lease = LeaderElection(namespace, NAME, "one", 6)
    await lease.acquire(api)
    first = (await record(api, namespace))["renewTime"]
    async with asyncio.timeout(60):
        while (await record(api, namespace))["renewTime"] == first:
            await asyncio.sleep(0.1)
    lease.fence()
    await lease.release(api)


async def test_it_is_renewed_although_each_answer_takes_a_quarter_of_it(
    proxied: Cluster, api: Cluster, api_proxy: ApiProxy, namespace: str
) -> None:
    lease = LeaderElection(namespace, NAME, "one", 20)
    api_proxy.on(lambda r: "leases" in r.path, delay(5))
    await lease.acquire(proxied)
    renewed = await asyncio.to_thread(
        api_proxy.wait_for, lambda r: r.method == "PATCH" and r.status == 200, 2
    )
    assert len(renewed) == 2
    assert not lease.lost.is_set()
    lease.fence()
    await lease.release(api)


async def test_it_is_renewed_over_a_new_connection_when_the_old_one_is_dead(
    proxied: Cluster, api: Cluster, api_proxy: ApiProxy, namespace: str
) -> None:
    lease = LeaderElection(namespace, NAME, "one", 15)
    await lease.acquire(proxied)
    first = (await record(api, namespace))["renewTime"]
    with api_proxy.half_open() as dead:
        async with asyncio.timeout(60):
            while (await record(api, namespace))["renewTime"] == first:
                await asyncio.sleep(0.1)
        assert dead.hits == 1
    assert not lease.lost.is_set()
    lease.fence()
    await lease.release(api)


async def test_an_error_that_nobody_thought_of_ends_the_leadership(api: Cluster, namespace: str) -> None:
    lease = LeaderElection(namespace, NAME, "one", 1.5)
    await lease.acquire(api)
    lease._take = None  # type: ignore[assignment, method-assign]
    async with asyncio.timeout(60):
        await lease.lost.wait()
    with pytest.raises(Fenced):
        lease.fence()


async def test_a_cluster_without_leases_is_an_error_not_a_leader(api: Cluster, namespace: str) -> None:
    connection = Cluster(api._transport)
    lease = LeaderElection(namespace, NAME, "one", 15)
    assert not await attempt(lease, connection)
    with pytest.raises(ApiError):
        await lease._take(connection)
