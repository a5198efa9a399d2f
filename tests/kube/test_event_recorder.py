"""Events as a person finds them: told once, counted when repeated, and never in the way."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from prometheus_client import generate_latest
from tests.kit.servers.apiproxy import ApiProxy
from tests.kit.servers.apirules import Hold, reply
from tests.kube.objects import Json, config_map, kind

from setpoint.kube.client import Cluster
from setpoint.kube.errors import Fenced
from setpoint.kube.event_recorder import BURST, LONGEST, EventRecorder
from setpoint.runtime.metrics import Metrics

pytestmark = pytest.mark.cluster


@pytest.fixture
async def telemetry() -> Metrics:
    return Metrics()


@pytest.fixture
async def about(api: Cluster, namespace: str) -> Json:
    """An object that events are about."""
    return (await api.apply(kind(api, "v1", "ConfigMap"), config_map(namespace, "web"))).object


async def found(api: Cluster, namespace: str) -> list[Json]:
    items, _ = await api.list(kind(api, "v1", "Event"), namespace=namespace)
    ours = [e for e in items if e.get("reportingComponent") == "setpoint"]
    return sorted(ours, key=lambda e: str(e["message"]))


def dropped(metrics: Metrics) -> float:
    value = metrics.registry.get_sample_value("setpoint_events_dropped_total")
    return value or 0.0


async def test_an_event_says_what_happened_and_repeats_are_counted(
    api: Cluster, telemetry: Metrics, about: Json, namespace: str
) -> None:
    events = EventRecorder(api, telemetry)
    for _ in range(3):
        events.record(about, "Warning", "Degraded", "Deployment/web: ImagePullBackOff")
    events.record(about, "Normal", "Applied", "x" * 5000)
    await events._queue.join()
    await events.close()
    first, second = await found(api, namespace)
    assert (first["type"], first["reason"], first["message"]) == (
        "Warning",
        "Degraded",
        "Deployment/web: ImagePullBackOff",
    )
    assert first["count"] == 3
    assert first["involvedObject"]["uid"] == about["metadata"]["uid"]
    assert first["involvedObject"]["name"] == "web"
    assert first["firstTimestamp"] <= first["lastTimestamp"]
    assert (second["count"], len(second["message"])) == (1, LONGEST)
    assert dropped(telemetry) == 0


async def test_a_warning_from_a_namespace_that_goes_is_about_the_namespace(
    api: Cluster, telemetry: Metrics, namespace: str
) -> None:
    held = config_map(namespace, "held")
    held["metadata"]["finalizers"] = ["example.org/hold"]
    about = (await api.apply(kind(api, "v1", "ConfigMap"), held)).object
    of = kind(api, "v1", "Namespace")
    live = await api.get(of, "", namespace)
    assert live is not None
    await api.delete(of, "", namespace, uid=live["metadata"]["uid"])
    events = EventRecorder(api, telemetry)
    events.record(about, "Warning", "Orphaned", "3 objects stay")
    events.record(about, "Normal", "Pruned", "1 object deleted")
    await events._queue.join()
    await events.close()
    assert await found(api, namespace) == []
    (event,) = [e for e in await found(api, "default") if e["involvedObject"]["name"] == namespace]
    assert (event["type"], event["reason"]) == ("Warning", "Orphaned")
    assert event["involvedObject"]["kind"] == "Namespace"
    assert event["message"] == f"ConfigMap {namespace}/held: 3 objects stay"
    assert dropped(telemetry) == 1
    release = [{"op": "remove", "path": "/metadata/finalizers"}]
    await api.patch(kind(api, "v1", "ConfigMap"), namespace, "held", release)


async def test_an_event_that_expired_is_made_anew(
    api: Cluster, telemetry: Metrics, about: Json, namespace: str
) -> None:
    events = EventRecorder(api, telemetry)
    events.record(about, "Normal", "Applied", "again")
    await events._queue.join()
    of = kind(api, "v1", "Event")
    (old,) = await found(api, namespace)
    await api.delete(of, namespace, old["metadata"]["name"], uid=old["metadata"]["uid"])
    events.record(about, "Normal", "Applied", "again")
    await events._queue.join()
    await events.close()
    (new,) = await found(api, namespace)
    assert new["metadata"]["uid"] != old["metadata"]["uid"]
    assert new["count"] == 1


async def test_who_says_too_much_is_cut_short_and_others_are_not(
    api: Cluster, telemetry: Metrics, about: Json, namespace: str
) -> None:
    other = (await api.apply(kind(api, "v1", "ConfigMap"), config_map(namespace, "other"))).object
    events = EventRecorder(api, telemetry)
    for number in range(BURST + 10):
        events.record(about, "Normal", "Applied", f"a {number:02}")
    events.record(other, "Normal", "Applied", "z")
    await events._queue.join()
    await events.close()
    messages = [e["message"] for e in await found(api, namespace)]
    assert messages == [*(f"a {n:02}" for n in range(BURST)), "z"]
    assert dropped(telemetry) == 10


async def test_a_failure_is_counted_and_the_next_one_is_posted(
    proxied: Cluster, api: Cluster, api_proxy: ApiProxy, telemetry: Metrics, about: Json, namespace: str
) -> None:
    events = EventRecorder(proxied, telemetry)
    api_proxy.on(lambda r: r.path.endswith("/events"), reply(403, b"{}"), times=1)
    events.record(about, "Normal", "Applied", "one")
    events.record(about, "Normal", "Applied", "two")
    await events._queue.join()
    await events.close()
    assert [e["message"] for e in await found(api, namespace)] == ["two"]
    assert dropped(telemetry) == 1
    assert b"setpoint_events_dropped_total 1.0" in generate_latest(telemetry.registry)


async def test_what_cannot_be_an_event_takes_no_other_with_it(
    api: Cluster, telemetry: Metrics, about: Json, namespace: str
) -> None:
    events = EventRecorder(api, telemetry)
    events.record(about, "Normal", "Applied", "not UTF-8: \udcff")
    events.record(about, "Normal", "Applied", "two")
    await events._queue.join()
    await events.close()
    assert [e["message"] for e in await found(api, namespace)] == ["two"]
    assert dropped(telemetry) == 1


async def test_who_does_not_lead_says_nothing(
    api: Cluster, telemetry: Metrics, about: Json, namespace: str
) -> None:
    class Closed:
        def __call__(self) -> None:
            raise Fenced

        def remaining(self) -> float:
            return 0.0

    events = EventRecorder(api.fenced(Closed()), telemetry)
    events.record(about, "Normal", "Applied", "one")
    events.record(about, "Normal", "Applied", "two")
    await events._queue.join()
    await events.close()
    assert await found(api, namespace) == []
    assert dropped(telemetry) == 2


async def test_recording_never_waits(
    proxied: Cluster, api_proxy: ApiProxy, telemetry: Metrics, about: Json
) -> None:
    """The server does not answer at all: recording returns, the rest is dropped, and closing ends."""
    api_proxy.on(lambda r: r.path.endswith("/events"), Hold())
    events = EventRecorder(proxied, telemetry)
    uids: list[Any] = [{**about, "metadata": {**about["metadata"], "uid": str(n)}} for n in range(1100)]
    for number, body in enumerate(uids):
        events.record(body, "Normal", "Applied", f"{number}")
    await asyncio.to_thread(api_proxy.wait_for, lambda r: r.path.endswith("/events"))
    assert dropped(telemetry) == 100
    await events.close()
