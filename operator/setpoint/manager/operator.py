"""The operator's process: connection, probes and lease, from start to end (shell)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import socket
from collections.abc import AsyncIterator
from functools import partial
from typing import Self

from setpoint import __version__
from setpoint.kube.client import Cluster
from setpoint.kube.leader_election import LeaderElection
from setpoint.kube.retry import until_stopped
from setpoint.manager.cluster_identity import ClusterIdentity, read_identity
from setpoint.manager.controllers import Controllers, build
from setpoint.runtime.loop_holds import HoldMeter
from setpoint.runtime.metrics import Metrics, served
from setpoint.settings import Settings

log = logging.getLogger(__name__)


class Operator:
    """One operator process. In order: `running`, `lead`, `identify`, `working`."""

    def __init__(
        self,
        settings: Settings,
        connection: Cluster,
        cluster: Cluster,
        metrics: Metrics,
        lease: LeaderElection | None,
    ) -> None:
        """Use `running`, which also ends what it starts. `cluster` is the fenced view of `connection`."""
        self.settings, self.cluster, self.telemetry, self.lease = settings, cluster, metrics, lease
        self._connection = connection
        self._works = self._waits = False
        self._losing: asyncio.Task[None] | None = None

    @classmethod
    @contextlib.asynccontextmanager
    async def running(
        cls, settings: Settings, kubeconfig: str | None, stop: asyncio.Event
    ) -> AsyncIterator[Self]:
        """Connect, and close everything at the end, also after a failure."""
        telemetry = Metrics()
        holder = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        lease = (
            LeaderElection(settings.namespace, settings.lease_name, holder, settings.lease_duration)
            if settings.leader_election
            else None
        )
        connection = await Cluster.connect(
            kubeconfig,
            user_agent=f"setpoint/{__version__}",
            request_timeout=settings.request_timeout,
            field_validation="Strict" if settings.strict_fields else "Warn",
            watch_silence=settings.watch_silence,
            count=telemetry.api_request,
        )
        cluster = connection.fenced(lease.fence) if lease else connection
        operator = cls(settings, connection, cluster, telemetry, lease)
        meter = HoldMeter.of(asyncio.get_running_loop())
        telemetry.holds(meter)
        try:
            async with served(
                telemetry, settings.metrics_port, settings.probe_port, lambda: True, lambda: operator.ready
            ):
                await until_stopped(connection.discover, "the list of kinds that the API server serves", stop)
                yield operator
        finally:
            await operator.close()
            meter.close()

    async def lead(self, stop: asyncio.Event) -> None:
        """Wait until this process holds the lease or must stop; losing the lease later stops everything."""
        if self.lease is None:
            return
        self._waits = True
        waiting = asyncio.create_task(self.lease.acquire(self._connection))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        self._waits = False
        for task in (waiting, stopping):
            task.cancel()
        await asyncio.gather(waiting, stopping, return_exceptions=True)
        if not waiting.cancelled():
            waiting.result()  # whoever failed to take the lease must not go on as if it had
        if not stop.is_set():
            self._losing = asyncio.create_task(self._stop_when_lost(stop))

    async def _stop_when_lost(self, stop: asyncio.Event) -> None:
        if self.lease is not None:
            await self.lease.lost.wait()
            log.error("the lease was lost; shutting down")
            stop.set()

    @property
    def ready(self) -> bool:
        """Whether it works, or waits for the lease and hears from the API server about it."""
        return self._works or (self._waits and self.lease is not None and self.lease.reachable())

    @property
    def lost(self) -> bool:
        """Whether the lease was lost."""
        return self.lease is not None and self.lease.lost.is_set()

    async def identify(self, stop: asyncio.Event) -> ClusterIdentity | None:
        """Read what must be known before the first reconcile; None if it is to stop."""
        read = partial(read_identity, self.settings, self.cluster)
        return await until_stopped(read, "the cluster id and the HMAC key", stop)

    @contextlib.asynccontextmanager
    async def working(self, identity: ClusterIdentity, stop: asyncio.Event) -> AsyncIterator[Controllers]:
        """Read all Sources and Syncs, then run the controllers until the end of the block."""
        controllers = build(self.settings, self.cluster, identity, self.telemetry)
        try:
            await until_stopped(controllers.resync.relist, "the list of Sources and Syncs", stop)
            self._measure(controllers)
            if not stop.is_set():  # else claims may be incomplete
                controllers.start()
                self._works = True
            yield controllers
        finally:
            self._works = False
            await controllers.close()

    def _measure(self, controllers: Controllers) -> None:
        queues, lease = controllers.queues, self.lease
        self.telemetry.queue("source", lambda: len(queues.sources), queues.sources.longest_wait)
        self.telemetry.queue("sync", lambda: len(queues.syncs), queues.syncs.longest_wait)
        self.telemetry.tasks("operator", asyncio.get_running_loop())
        self.telemetry.leader(lambda: lease is None or lease.fence.remaining() > 0)

    async def close(self) -> None:
        """Close in order, after all work has stopped: wait for answers to writes, then release the lease and the connections."""
        if self._losing is not None:
            self._losing.cancel()
            await asyncio.gather(self._losing, return_exceptions=True)
        if self.lease is not None:
            await self.cluster.settled()
            await self.lease.release(self._connection)
        await self._connection.close()
