"""Starts the operator on kopf; its handlers turn events into keys (the only importer of kopf).

`on.event` alone writes nothing to our objects; queue, finalizer and status are our own. Another program's
finalizers stay untouched, because kopf's own is given a name of ours that nothing ever sets.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import kopf
from kopf._cogs.structs.references import Insights

from setpoint.api import names
from setpoint.kube.retry import until_stopped
from setpoint.manager.operator import Operator
from setpoint.runtime.logs import configure
from setpoint.runtime.malloc import separate_large_blocks
from setpoint.settings import Settings
from setpoint.store.resync import Resync

log = logging.getLogger(__name__)

RESTART_SECONDS = 1.0
LONGEST_RESTART_SECONDS = 10.0
WATCHED = frozenset({"sources", "syncs"})
YOUNG_OBJECTS = 10_000
"""Containers that may be made before cycles are looked for among them; Python's 700 are one reconcile."""


class _NoDiffBase(kopf.AnnotationsDiffBaseStorage):
    """No essence of a body: kopf makes one for changes that no handler asks for, with five deep copies an event."""

    def build(self, *, body: kopf.Body, extra_fields: Any = None) -> Any:
        """Return nothing: only `on.event` is used, so there is nothing to compare."""

    def fetch(self, *, body: kopf.Body) -> Any:
        """Find nothing: nothing was ever stored."""


def registry_for(
    operator: Operator, resync: Resync, loop: asyncio.AbstractEventLoop, stop: threading.Event
) -> kopf.OperatorRegistry:
    """Return a kopf registry whose handlers hand each event's body to `resync`, in the operator's own loop.

    `stop` is kopf's stop flag; it is set as soon as kopf ends, for whatever reason.
    """
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def _login(**_: Any) -> kopf.ConnectionInfo:
        answer = asyncio.run_coroutine_threadsafe(operator.cluster.login(), loop)
        return kopf.ConnectionInfo(**await asyncio.wrap_future(answer))

    @kopf.on.startup(registry=registry)
    async def _startup(settings: kopf.OperatorSettings, **_: Any) -> None:
        operator.telemetry.tasks("watch", asyncio.get_running_loop())
        settings.persistence.finalizer = f"{names.GROUP}/never-set-by-kopf"
        settings.persistence.diffbase_storage = _NoDiffBase(prefix=names.GROUP)
        settings.posting.enabled = False
        settings.peering.standalone = True
        settings.scanning.disabled = True
        settings.watching.server_timeout = 600
        settings.watching.chunk_size = 500
        settings.watching.inactivity_timeout = operator.settings.watch_silence
        settings.networking.request_timeout = 30
        # Else kopf sends SIGKILL to the whole process when a watch has died and its end takes longer.
        settings.process.ultimate_exiting_timeout = None

    @kopf.on.cleanup(registry=registry)
    def _cleanup(**_: Any) -> None:
        # Kopf's end waits five seconds for the task that waits for the flag, and its loop for that task's thread.
        stop.set()

    @kopf.on.event(names.GROUP, names.VERSION, "sources", registry=registry)
    async def _source(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002 - kopf's name
        loop.call_soon_threadsafe(resync.event, type, dict(body))

    @kopf.on.event(names.GROUP, names.VERSION, "syncs", registry=registry)
    async def _sync(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002 - kopf's name
        loop.call_soon_threadsafe(resync.event, type, dict(body))

    return registry


def _watch(registry: kopf.OperatorRegistry, namespaces: tuple[str, ...], stop: threading.Event) -> bool:
    """Run kopf in a thread and loop of its own: when it ends it cancels every task of its loop, ours too if shared.

    True if it watched all that it is for.
    """
    return bool(_runner()(_kopf(registry, namespaces, stop)))


async def _kopf(registry: kopf.OperatorRegistry, namespaces: tuple[str, ...], stop: threading.Event) -> bool:
    insights = Insights()
    checking = asyncio.create_task(_complete(insights, stop))
    try:
        await kopf.operator(
            registry=registry,
            insights=insights,
            clusterwide=not namespaces,
            namespaces=namespaces,
            standalone=True,
            stop_flag=stop,
        )
        return checking.result() if checking.done() else True
    finally:
        checking.cancel()


async def _complete(insights: Insights, stop: threading.Event) -> bool:
    """Return whether kopf watches all that it is for, and else end it: it looks once for what is served, and never again.

    Discovery may be behind: a CRD that was just made, an API server of several that has not heard of it.
    """
    missing = WATCHED
    try:
        await insights.ready_resources.wait()
        missing = WATCHED - {resource.plural for resource in insights.watched_resources}
    finally:
        if missing:
            stop.set()
    if missing:
        log.warning("the API server does not list %s yet; retrying", ", ".join(sorted(missing)))
    return not missing


async def watch(operator: Operator, resync: Resync, stop: asyncio.Event) -> None:
    """Run kopf's watches until `stop`; a watch that dies (kopf ends then) is started again, and all is listed anew."""
    pause = RESTART_SECONDS
    while not stop.is_set():
        pause = (
            RESTART_SECONDS
            if await _watched(operator, resync, stop)
            else min(LONGEST_RESTART_SECONDS, pause * 2)
        )
        if not stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause)
            await until_stopped(resync.relist, "the list of Sources and Syncs", stop)


async def _watched(operator: Operator, resync: Resync, stop: asyncio.Event) -> bool:
    """Run kopf's watches until they end or `stop`; False if some could not even begin."""
    flag = threading.Event()
    registry = registry_for(operator, resync, asyncio.get_running_loop(), flag)
    running = asyncio.create_task(
        asyncio.to_thread(_watch, registry, operator.settings.watch_namespaces, flag)
    )
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
    flag.set()
    stopping.cancel()
    try:
        return await running
    except Exception:
        log.exception("the watch of Sources and Syncs failed unexpectedly; restarting it")
        return True


async def serve(settings: Settings, kubeconfig: str | None) -> int:
    """Run the operator until a signal: 0 after a clean stop, 1 if the lease was lost."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with Operator.running(settings, kubeconfig, stop) as operator:
        await operator.lead(stop)
        identity = await operator.identify(stop)
        if identity is not None:
            async with operator.working(identity, stop) as controllers:
                await watch(operator, controllers.resync, stop)
    return 1 if operator.lost else 0


def main(settings: Settings, kubeconfig: str | None) -> int:
    """Run the operator; what `python -m setpoint run` calls."""
    configure(settings.log_level, settings.log_format)
    _spare_the_collector()
    separate_large_blocks()
    return int(_runner()(serve(settings, kubeconfig)))


def _spare_the_collector() -> None:
    """Make the garbage collector run less often, and skip what was imported.

    The state of the cluster is in containers that live long; collecting them again and again took 7 % of an install's CPU.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 5, 5)


def _runner() -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """Return a runner for a coroutine in an event loop of its own."""
    try:
        import uvloop  # noqa: PLC0415 - optional on platforms without it
    except ImportError:
        return asyncio.run
    return uvloop.run
