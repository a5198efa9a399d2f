"""Serves metrics and probes over HTTP (shell).

One table has the names and labels; the docs are generated from it. Reasons in labels are those of `api.reasons`, so
their number is bounded. Only `setpoint_ready` and `setpoint_objects` have one series per object, removed with it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder

from setpoint.api.reasons import Problem, Reason
from setpoint.runtime.loop_holds import HoldMeter
from setpoint.wall.messages import PROCESSES, Stats

M = TypeVar("M", Counter, Gauge, Histogram)


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: its Prometheus type, what it counts and its labels."""

    name: str
    type: type[Counter] | type[Gauge] | type[Histogram]
    help: str
    labels: tuple[str, ...] = ()


METRICS = (
    Metric(
        "setpoint_reconciles_total",
        Counter,
        "Reconciles that ended, by kind and by the reason of Ready afterwards.",
        ("kind", "reason"),
    ),
    Metric("setpoint_reconcile_duration_seconds", Histogram, "How long a reconcile took.", ("kind",)),
    Metric(
        "setpoint_fetches_total",
        Counter,
        "Checks of Git remotes, by result (success or a reason).",
        ("result",),
    ),
    Metric("setpoint_writes_total", Counter, "Objects created or changed."),
    Metric(
        "setpoint_corrections_total", Counter, "Changes by others that were put back, by kind.", ("kind",)
    ),
    Metric("setpoint_objects", Gauge, "Objects that a Sync manages.", ("namespace", "name")),
    Metric(
        "setpoint_ready",
        Gauge,
        "Whether a Source or Sync is Ready (1) or not (0).",
        ("kind", "namespace", "name"),
    ),
    Metric(
        "setpoint_api_requests_total",
        Counter,
        "Requests to the API server, by verb and HTTP code (0: no answer).",
        ("verb", "code"),
    ),
    Metric(
        "setpoint_events_dropped_total",
        Counter,
        "Events that were not recorded: too many at once, or refused.",
    ),
    Metric("setpoint_queue_depth", Gauge, "Keys that wait for a worker.", ("queue",)),
    Metric(
        "setpoint_queue_wait_seconds",
        Gauge,
        "How long the key has waited for a worker that waits longest.",
        ("queue",),
    ),
    Metric(
        "setpoint_worker_up",
        Gauge,
        "Whether the worker, which reads repositories and renders, is there; a process without the lease asks for none.",
    ),
    Metric(
        "setpoint_worker_deaths_total",
        Counter,
        "How often the worker went away: its process died, or its connection ended.",
    ),
    Metric(
        "setpoint_worker_memory_bytes",
        Gauge,
        "Memory that processes of the worker take, by kind: "
        + ", ".join(f"`{kind}`" for kind in PROCESSES)
        + ".",
        ("kind",),
    ),
    Metric("setpoint_worker_processes", Gauge, "Processes of the worker, by the same kinds.", ("kind",)),
    Metric(
        "setpoint_worker_child_deaths_total",
        Counter,
        "How often a process that reads commits died of its work, or was ended as it took too much.",
    ),
    Metric(
        "setpoint_worker_longest_wait_seconds",
        Gauge,
        "How long what waits longest has waited for a process that reads commits.",
    ),
    Metric("setpoint_leader", Gauge, "Whether this process holds the lease."),
    Metric(
        "setpoint_tasks",
        Gauge,
        "Asynchronous tasks that exist, by event loop: `operator`, and `watch` of Sources and Syncs.",
        ("loop",),
    ),
    Metric(
        "setpoint_loop_longest_hold_seconds",
        Gauge,
        "For how long the operator's event loop was held at most, so that nobody else had a turn: in the last `minute`, or since the `start`.",
        ("over",),
    ),
    Metric(
        "setpoint_loop_longest_busy_hold_seconds",
        Gauge,
        "The same, but only as far as the process had the CPU: without what it waited for the machine, or for its limit of CPU.",
        ("over",),
    ),
)


class Metrics:
    """The metrics of one operator, in a registry of its own. Each method is one thing that happened."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._counters = {m.name: self._made(m, Counter) for m in METRICS if m.type is Counter}
        self._gauges = {m.name: self._made(m, Gauge) for m in METRICS if m.type is Gauge}
        self._histograms = {m.name: self._made(m, Histogram) for m in METRICS if m.type is Histogram}
        self._child_deaths = 0
        """Those that the worker told of last."""

    def _made(self, metric: Metric, kind: Callable[..., M]) -> M:
        return kind(metric.name, metric.help, metric.labels, registry=self.registry)

    def reconciled(self, kind: str, reason: str, seconds: float) -> None:
        """A reconcile ended."""
        self._counters["setpoint_reconciles_total"].labels(kind, reason).inc()
        self._histograms["setpoint_reconcile_duration_seconds"].labels(kind).observe(seconds)

    def fetched(self, result: str) -> None:
        """A remote was asked; `result` is `success` or a reason."""
        self._counters["setpoint_fetches_total"].labels(result).inc()

    def written(self, count: int) -> None:
        """Objects were created or changed."""
        self._counters["setpoint_writes_total"].inc(count)

    def corrected(self, kind: str) -> None:
        """Somebody's change of an object was put back."""
        self._counters["setpoint_corrections_total"].labels(kind).inc()

    def api_request(self, verb: str, code: int) -> None:
        """The API server answered; code 0 when it did not."""
        self._counters["setpoint_api_requests_total"].labels(verb, code).inc()

    def worker(self, up: Callable[[], bool]) -> None:
        """Report whether the worker is there, read with each scrape."""
        self._gauges["setpoint_worker_up"].set_function(up)

    def worker_died(self) -> None:
        """The worker went away, and with it all of its processes and who waited for them."""
        self._counters["setpoint_worker_deaths_total"].inc()
        self._worker_is(Stats({}, {}, 0, 0.0))

    def worker_told(self, stats: Stats) -> None:
        """The worker told of its processes. It counts their deaths from its own start: of fewer than before, all are new."""
        before = self._child_deaths if self._child_deaths <= stats.deaths else 0
        self._counters["setpoint_worker_child_deaths_total"].inc(stats.deaths - before)
        self._child_deaths = stats.deaths
        self._worker_is(stats)

    def _worker_is(self, stats: Stats) -> None:
        memory, processes = (
            self._gauges["setpoint_worker_memory_bytes"],
            self._gauges["setpoint_worker_processes"],
        )
        for kind in PROCESSES:
            memory.labels(kind).set(stats.memory.get(kind, 0))
            processes.labels(kind).set(stats.processes.get(kind, 0))
        self._gauges["setpoint_worker_longest_wait_seconds"].set(stats.longest_wait)

    def event_dropped(self) -> None:
        """An Event was not recorded."""
        self._counters["setpoint_events_dropped_total"].inc()

    def objects(self, namespace: str, name: str, count: int) -> None:
        """A Sync manages so many objects."""
        self._gauges["setpoint_objects"].labels(namespace, name).set(count)

    def ready(self, kind: str, namespace: str, name: str, *, ready: bool) -> None:
        """A Source or Sync is Ready, or not."""
        self._gauges["setpoint_ready"].labels(kind, namespace, name).set(ready)

    def forget(self, kind: str, namespace: str, name: str) -> None:
        """A Source or Sync is gone, and its series with it."""
        with contextlib.suppress(KeyError):
            self._gauges["setpoint_ready"].remove(kind, namespace, name)
        if kind == "Sync":
            with contextlib.suppress(KeyError):
                self._gauges["setpoint_objects"].remove(namespace, name)

    def queue(self, name: str, depth: Callable[[], int], wait: Callable[[], float]) -> None:
        """Report the depth of a queue, and its longest wait, both read with each scrape."""
        self._gauges["setpoint_queue_depth"].labels(name).set_function(depth)
        self._gauges["setpoint_queue_wait_seconds"].labels(name).set_function(wait)

    def tasks(self, name: str, loop: asyncio.AbstractEventLoop) -> None:
        """Report the number of tasks of an event loop, read with each scrape."""
        self._gauges["setpoint_tasks"].labels(name).set_function(lambda: len(asyncio.all_tasks(loop)))

    def holds(self, meter: HoldMeter) -> None:
        """Report the longest holds of the event loop, read with each scrape."""
        longest = self._gauges["setpoint_loop_longest_hold_seconds"]
        longest.labels("minute").set_function(meter.recent)
        longest.labels("start").set_function(lambda: meter.ever)
        busiest = self._gauges["setpoint_loop_longest_busy_hold_seconds"]
        busiest.labels("minute").set_function(meter.recent_busy)
        busiest.labels("start").set_function(lambda: meter.ever_busy)

    def leader(self, holds: Callable[[], bool]) -> None:
        """Report whether this process holds the lease, read with each scrape."""
        self._gauges["setpoint_leader"].set_function(holds)


@contextlib.asynccontextmanager
async def served(
    metrics: Metrics,
    metrics_port: int,
    probe_port: int,
    healthy: Callable[[], bool],
    ready: Callable[[], bool],
    *,
    host: str | None = None,
) -> AsyncIterator[None]:
    """Serve `/metrics` on one port, `/healthz` and `/readyz` on another (0: not at all), inside.

    Raises Problem(InvalidSpec), which names the setting, if a port is not available. `host` None listens on all addresses.
    """
    async with contextlib.AsyncExitStack() as stack:
        for setting, port, routes in (
            ("SETPOINT_METRICS_PORT", metrics_port, _metrics(metrics)),
            ("SETPOINT_PROBE_PORT", probe_port, _probes(healthy, ready)),
        ):
            if port:
                app = web.Application()
                app.add_routes(routes)
                runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1)
                stack.push_async_callback(runner.cleanup)
                await runner.setup()
                try:
                    await web.TCPSite(runner, host, port).start()
                except OSError as error:
                    raise Problem(
                        Reason.InvalidSpec, f"{setting}: {error.strerror}; choose another port"
                    ) from error
        yield


def _metrics(telemetry: Metrics) -> list[web.RouteDef]:
    async def metrics(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(telemetry.registry), headers={"Content-Type": content_type})

    return [web.get("/metrics", metrics)]


def _probes(healthy: Callable[[], bool], ready: Callable[[], bool]) -> list[web.RouteDef]:
    def probe(holds: Callable[[], bool]) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(_request: web.Request) -> web.Response:
            good = holds()
            return web.Response(status=200 if good else 503, text="ok" if good else "not ready")

        return answer

    return [web.get("/healthz", probe(healthy)), web.get("/readyz", probe(ready))]
