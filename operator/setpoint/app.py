"""The running operator: makes the parts, feeds the queues, ends them in order (shell)."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import os
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, Self

from setpoint import __version__, names, source_status
from setpoint.allocator import Returns
from setpoint.claims import Claims
from setpoint.cluster import Cluster, Kind
from setpoint.cluster_errors import ApiError
from setpoint.events import Events
from setpoint.footprint import Changes
from setpoint.gaps import Gaps
from setpoint.git import Git
from setpoint.lease import Lease
from setpoint.live import Live, LiveChange
from setpoint.objects import SyncKey
from setpoint.parts import Parts
from setpoint.persisting import persisted
from setpoint.podwatch import PodWatch
from setpoint.queue import Controller, WorkQueue
from setpoint.reasons import Problem, Reason
from setpoint.reconcile import Syncs
from setpoint.render import Renderer
from setpoint.settings import Settings
from setpoint.sources import Sources
from setpoint.status_writer import StatusWriter
from setpoint.store import Body, Store, dependency_keys, key_of
from setpoint.telemetry import Telemetry, served

log = logging.getLogger(__name__)


class Operator:
    """One operator process: a cluster, two queues, and what they share."""

    def __init__(
        self,
        settings: Settings,
        connection: Cluster,
        cluster: Cluster,
        telemetry: Telemetry,
        lease: Lease | None,
    ) -> None:
        """Use `running`, which also ends what it starts. `cluster` is the fenced view of `connection`."""
        self.settings, self.cluster, self.telemetry, self.lease = settings, cluster, telemetry, lease
        self._connection = connection
        self.store, self.claims = Store(), Claims()
        self.source_queue, self.sync_queue = WorkQueue[SyncKey](), WorkQueue[SyncKey]()
        self._works = self._waits = False
        self._tasks: list[asyncio.Task[None]] = []
        cache = Path(settings.cache_dir)
        self.git = Git(cache / "git", cache_limit=settings.cache_size)
        self.events = Events(cluster, telemetry)
        self.live = Live(
            cluster, frozenset(settings.people_managers), self._live_changed, settings.watch_namespaces
        )
        self.pods = PodWatch(cluster, self.sync_queue)
        self._returns = Returns()
        writer = StatusWriter(cluster, self._written)
        self.sources = Sources(
            cluster,
            self.git,
            self.store,
            writer,
            self.events,
            telemetry,
            self._moved,
            self.source_queue,
            self.sync_queue,
            allow_file=settings.allow_file_urls,
        )
        renderer = Renderer(
            Path(settings.kustomize),
            cache / "render",
            concurrency=settings.render_concurrency,
            timeout=settings.render_timeout,
            memory_limit=settings.render_memory,
        )
        self._writer, self._renderer = writer, renderer
        looks = WorkQueue[str]()
        self.gaps = Gaps(cluster, self.store, self._gone, looks, settings.watch_namespaces)
        self._syncs: Syncs | None = None
        self._controllers: tuple[Controller[Any], ...] = (
            Controller(self.source_queue, self.sources.reconcile, workers=settings.fetch_concurrency),
            Controller(self.sync_queue, self._reconcile, workers=settings.workers),
            Controller(looks, self.gaps.look, workers=1),
        )

    @classmethod
    @contextlib.asynccontextmanager
    async def running(
        cls, settings: Settings, kubeconfig: str | None, stop: asyncio.Event
    ) -> AsyncIterator[Self]:
        """Connect, and close everything at the end, also after a failure."""
        telemetry = Telemetry()
        holder = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        lease = (
            Lease(settings.namespace, settings.lease_name, holder, settings.lease_duration)
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
        try:
            async with served(
                telemetry, settings.metrics_port, settings.probe_port, lambda: True, lambda: operator.ready
            ):
                await persisted(connection.discover, "what the API server serves", stop)
                yield operator
        finally:
            await operator.close()

    async def lead(self, stop: asyncio.Event) -> None:
        """Wait until this process holds the lease, or is told to stop; losing it later stops everything."""
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
            self._tasks.append(asyncio.create_task(self._stop_when_lost(stop)))

    async def _stop_when_lost(self, stop: asyncio.Event) -> None:
        if self.lease is not None:
            await self.lease.lost.wait()
            log.error("the lease was lost; this process ends")
            stop.set()

    @property
    def ready(self) -> bool:
        """Whether it works, or waits for the lease and hears from the API server about it."""
        return self._works or (self._waits and self.lease is not None and self.lease.reachable())

    @property
    def lost(self) -> bool:
        """Whether the lease was lost."""
        return self.lease is not None and self.lease.lost.is_set()

    async def start(self, stop: asyncio.Event) -> None:
        """Read what must be known before the first reconcile, then let the queues run; nothing if it is to stop."""
        known = await persisted(self._gathered, "what must be known at the start", stop)
        if known is None:
            return
        cluster_id, secret_key = known
        self._syncs = Syncs(
            Parts(
                self.settings,
                self.cluster,
                self.live,
                self.pods,
                self.store,
                self.claims,
                self.sources,
                self._renderer,
                self._writer,
                self.events,
                self.telemetry,
                cluster_id,
                secret_key,
                self.sync_queue,
                self.source_queue,
            )
        )
        await persisted(self.relist, "the list of Sources and Syncs", stop)
        self.telemetry.depth("source", lambda: len(self.source_queue))
        self.telemetry.depth("sync", lambda: len(self.sync_queue))
        self.telemetry.tasks("operator", asyncio.get_running_loop())
        lease = self.lease
        self.telemetry.leader(lambda: lease is None or lease.fence.remaining() > 0)
        for controller in self._controllers:
            self._tasks.append(asyncio.create_task(controller.run()))
        self._works = True

    async def _gathered(self) -> tuple[str, bytes]:
        return await self._cluster_id(), await self._secret_key()

    async def _cluster_id(self) -> str:
        if self.settings.cluster_id:
            return self.settings.cluster_id
        kind = self.cluster.kind("v1", "Namespace")
        found = await self.cluster.get(kind, "", "kube-system") if kind else None
        if found is None:
            raise Problem(
                Reason.ApiUnavailable, "namespace kube-system cannot be read; set SETPOINT_CLUSTER_ID"
            )
        return str(found["metadata"]["uid"])

    async def _secret_key(self) -> bytes:
        """Give the key under which values of Secrets are shown; a random one where the chart's Secret is absent."""
        kind = self.cluster.kind("v1", "Secret")
        try:
            found = (
                await self.cluster.get(kind, self.settings.namespace, self.settings.hmac_secret)
                if kind and self.settings.hmac_secret
                else None
            )
        except ApiError as error:
            if error.transient:
                raise
            log.warning(
                "the HMAC key cannot be read (%s); values of Secrets are hashed under a new key", error.status
            )
            found = None
        data = (found or {}).get("data") or {}
        return base64.b64decode(data["key"]) if data.get("key") else secrets.token_bytes(32)

    async def relist(self) -> None:
        """Read all Sources and Syncs: claims must be complete before the first write, and gaps leave nothing stale."""
        sources = await self._relisted(
            "Source", self.store.sources, self.store.drop_source, self.source_queue
        )
        syncs = await self._relisted("Sync", self.store.syncs, self.store.drop_sync, self.sync_queue)
        if missing := [name for name, served in (("Sources", sources), ("Syncs", syncs)) if not served]:
            message = (
                f"{' and '.join(missing)} are not served: is a CRD gone, or the chart not installed yet?"
            )
            raise ApiError(503, "NotServed", message)

    async def _relisted(
        self,
        name: str,
        known: Mapping[SyncKey, Body],
        drop: Callable[[SyncKey], None],
        queue: WorkQueue[SyncKey],
    ) -> bool:
        """Take in all Sources, or all Syncs, and let go of what is gone; False if they are not served."""
        kind = self.cluster.kind(names.API_VERSION, name)
        seen = await self._listed(kind) if kind is not None else None
        served = seen is not None
        if seen is None:
            # The server may have just started, the chart may be being installed, or the CRD is gone.
            await self.cluster.discover()
            gone = not self.cluster.kind(names.API_VERSION, name)
            # Without their CRD there are no Sources. What a Sync holds is not let go of so lightly.
            seen = set() if gone and name == "Source" else set(known)
        for key in set(known) - seen:
            drop(key)
            queue.add(key)
        return served

    async def _listed(self, kind: Kind) -> set[SyncKey] | None:
        """Take in all Sources, or all Syncs; gives their keys, None if the server knows no such kind (any more)."""
        keys = set()
        for namespace in self.settings.watch_namespaces or (None,):
            try:
                objects, _ = await self.cluster.list(kind, namespace=namespace)
            except ApiError as error:
                if error.status == 404:
                    return None
                raise
            for body in objects:
                keys.add(key_of(body))
                self._event("ADDED", body)
        return keys

    # --- what wakes whom

    def source_event(self, kind: str | None, body: Body) -> None:
        """Take one watch event of a Source; its kind is None for one that was listed."""
        key = key_of(body)
        old = self.store.sources.get(key)
        if kind is None:
            self.gaps.listed()
        if kind == "DELETED":
            self.store.drop_source(key, body["metadata"]["uid"])
            self._wake_users(key)
        elif not self._changed(old, body) or not self.store.put_source(body):
            return
        else:
            self._tell_users(key, old, body)
        self.sources.give_up(key)
        self.source_queue.add(key)

    def _tell_users(self, key: SyncKey, old: Body | None, body: Body) -> None:
        """Wake the Syncs of a Source that was changed; of its status those wait alone that have nothing from it."""
        if old is None or source_status.replaced(old, body):
            self._wake_users(key)
        elif self._syncs is not None and source_status.retold(old, body):
            for user in self._syncs.unsettled(key):
                self.sync_queue.add(user)

    def _wake_users(self, key: SyncKey) -> None:
        for user in self.store.users(key):
            self.sync_queue.add(user)

    def sync_event(self, kind: str | None, body: Body) -> None:
        """Take one watch event of a Sync; its kind is None for one that was listed."""
        key = key_of(body)
        if kind is None:
            self.gaps.listed()
        if kind == "DELETED":
            self.store.drop_sync(key, body["metadata"]["uid"])
            # Whatever took its finalizer away: what it depends on may wait for its end.
            for other in dependency_keys(body):
                self.sync_queue.add(other)
        elif not self._changed(self.store.syncs.get(key), body) or not self.store.put_sync(body):
            return
        elif self._syncs is not None:
            self._syncs.seen(body)
        self.sync_queue.add(key)

    @staticmethod
    def _changed(old: Body | None, new: Body) -> bool:
        """Tell whether an event brings news: our own status writes come back as events too."""
        return old is None or old["metadata"].get("resourceVersion") != new["metadata"].get("resourceVersion")

    def _gone(self, body: Body) -> None:
        self._event("DELETED", body)

    def _event(self, kind: str, body: Body) -> None:
        (self.source_event if body["kind"] == "Source" else self.sync_event)(kind, body)

    def _live_changed(self, change: LiveChange) -> None:
        if self._syncs is not None:
            self._syncs.changed(change.oid, change.before, change.after)

    def _moved(self, key: SyncKey, before: str, after: str, changes: Changes) -> None:
        if self._syncs is not None:
            self._syncs.moved(key, before, after, changes)

    def _written(self, body: Body) -> None:
        if not self.store.has(body):
            return  # it was deleted before the answer came, and no watch would tell of that again
        if body["kind"] == "Sync":
            self.store.put_sync(body)
            return
        key = key_of(body)
        old = self.store.sources.get(key)
        if self.store.put_source(body):
            self._tell_users(key, old, body)

    async def _reconcile(self, key: SyncKey) -> Any:
        assert self._syncs is not None  # noqa: S101 - the queues start after it is made
        self._returns.worked()
        try:
            return await self._syncs.reconcile(key)
        finally:
            self.sources.ran(key)

    async def close(self) -> None:
        """End in order: no new work, then Events, answers to what was written, lease and connections."""
        self._works = False
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._returns.close()
        await self.live.close()
        await self.pods.close()
        await self.events.close()
        self._renderer.close()
        await self.git.close()
        if self.lease is not None:
            await self.cluster.settled()
            await self.lease.release(self._connection)
        await self._connection.close()
