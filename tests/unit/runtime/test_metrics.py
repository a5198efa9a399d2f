"""Metrics and probes as a scraper and a kubelet see them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

import aiohttp
import pytest
from prometheus_client import generate_latest
from tests.kit.cluster.workspace import Workspace
from tests.kit.servers.closed import closed_port

from setpoint.api.reasons import Problem
from setpoint.runtime.loop_holds import HoldMeter
from setpoint.runtime.metrics import METRICS, Metrics, served
from setpoint.wall.messages import PROCESSES, Stats


def text(metrics: Metrics) -> str:
    return generate_latest(metrics.registry).decode()


def everything(metrics: Metrics) -> None:
    """Have everything happen once."""
    metrics.reconciled("Sync", "Succeeded", 0.2)
    metrics.fetched("success")
    metrics.written(3)
    metrics.corrected("Deployment")
    metrics.api_request("apply", 200)
    metrics.event_dropped()
    metrics.objects("team", "shop", 12)
    metrics.ready("Sync", "team", "shop", ready=True)
    metrics.queue("sync", lambda: 4, lambda: 2.5)
    metrics.worker(lambda: True)
    metrics.worker_told(Stats({"reader": 7}, {"reader": 1}, 2, 1.5))
    metrics.leader(lambda: True)
    loop = asyncio.new_event_loop()
    loop.close()
    metrics.holds(HoldMeter(loop))
    metrics.tasks("operator", loop)


def test_every_metric_of_the_table_can_happen_and_no_other() -> None:
    telemetry = Metrics()
    everything(telemetry)
    shown = text(telemetry)
    assert {m.name for m in METRICS} == {
        name if kind != "counter" else name.removesuffix("_total") + "_total"
        for name, kind in re.findall(r"^# TYPE (setpoint_\w+) (\w+)$", shown, re.MULTILINE)
        if not name.endswith("_created")
    }
    for metric in METRICS:
        assert re.search(rf"^{metric.name}(_count|_bucket)?(\{{.*\}})? [0-9.]+$", shown, re.MULTILINE), (
            metric.name
        )
    for line in (
        'setpoint_reconciles_total{kind="Sync",reason="Succeeded"} 1.0',
        'setpoint_api_requests_total{code="200",verb="apply"} 1.0',
        'setpoint_ready{kind="Sync",name="shop",namespace="team"} 1.0',
        'setpoint_queue_depth{queue="sync"} 4.0',
        "setpoint_writes_total 3.0",
        "setpoint_leader 1.0",
    ):
        assert line in shown


def test_what_is_gone_leaves_no_series() -> None:
    telemetry = Metrics()
    everything(telemetry)
    telemetry.forget("Sync", "team", "shop")
    telemetry.forget("Sync", "team", "never-seen")
    telemetry.forget("Source", "team", "shop")
    assert 'namespace="team"' not in text(telemetry)


def shown_of_worker(telemetry: Metrics) -> dict[str, float]:
    """Return what is told of the worker's processes, but for what is 0."""
    lines = re.findall(r"^setpoint_worker_(\S+) (\S+)$", text(telemetry), re.MULTILINE)
    return {name: float(value) for name, value in lines if float(value) and "created" not in name}


def test_what_the_worker_tells_is_shown_until_it_tells_otherwise() -> None:
    telemetry = Metrics()
    telemetry.worker_told(Stats({"reader": 2**40, "broker": 3}, {"reader": 2, "broker": 1}, 2, 1.5))
    assert shown_of_worker(telemetry) == {
        'memory_bytes{kind="reader"}': 2**40,
        'memory_bytes{kind="broker"}': 3,
        'processes{kind="reader"}': 2,
        'processes{kind="broker"}': 1,
        "child_deaths_total": 2,
        "longest_wait_seconds": 1.5,
    }
    telemetry.worker_told(Stats({"broker": 4}, {"broker": 1}, 5, 0.0))
    assert shown_of_worker(telemetry) == {
        'memory_bytes{kind="broker"}': 4,
        'processes{kind="broker"}': 1,
        "child_deaths_total": 5,
    }
    # A worker that is gone has no processes, and the next one counts from the beginning.
    telemetry.worker_died()
    assert shown_of_worker(telemetry) == {"deaths_total": 1, "child_deaths_total": 5}
    for deaths in (1, 1, 3):
        telemetry.worker_told(Stats({}, {}, deaths, 0.0))
    assert shown_of_worker(telemetry) == {"deaths_total": 1, "child_deaths_total": 8}
    kinds = re.findall(r'^setpoint_worker_processes\{kind="(\w+)"\}', text(telemetry), re.MULTILINE)
    assert sorted(kinds) == sorted(PROCESSES), "each kind is there, with 0 where there is none"


def test_two_operators_in_one_process_do_not_share() -> None:
    first, second = Metrics(), Metrics()
    first.written(3)
    assert "setpoint_writes_total 0.0" in text(second)


@asynccontextmanager
async def serving(telemetry: Metrics, state: dict[str, bool]) -> AsyncIterator[tuple[str, str]]:
    with closing(Workspace()) as workspace:
        metrics, probes = workspace.port(), workspace.port()
        healthy, ready = (lambda: state["healthy"]), (lambda: state["ready"])
        async with served(telemetry, metrics, probes, healthy, ready, host="127.0.0.1"):
            yield f"http://127.0.0.1:{metrics}", f"http://127.0.0.1:{probes}"


async def test_over_http() -> None:
    telemetry, state = Metrics(), {"healthy": True, "ready": False}
    everything(telemetry)
    async with serving(telemetry, state) as (metrics, probes), aiohttp.ClientSession() as session:

        async def status(url: str) -> int:
            async with session.get(url) as answer:
                return answer.status

        assert await status(f"{probes}/healthz") == 200
        assert await status(f"{probes}/readyz") == 503
        state.update(healthy=False, ready=True)
        assert await status(f"{probes}/healthz") == 503
        assert await status(f"{probes}/readyz") == 200
        assert await status(f"{probes}/metrics") == 404, "the ports do not show each other's paths"
        async with session.get(f"{metrics}/metrics") as answer:
            assert answer.headers["Content-Type"].startswith("text/plain")
            assert "setpoint_writes_total 3.0" in await answer.text()
        openmetrics = {"Accept": "application/openmetrics-text; version=1.0.0"}
        async with session.get(f"{metrics}/metrics", headers=openmetrics) as answer:
            assert (await answer.text()).endswith("# EOF\n")


async def test_a_port_that_is_taken_is_an_error() -> None:
    with (
        closed_port() as port,
        pytest.raises(Problem, match=r"SETPOINT_PROBE_PORT: .*already in use; choose"),
    ):
        async with served(Metrics(), 0, port, lambda: True, lambda: True, host="127.0.0.1"):
            pytest.fail("it went on without probes")
