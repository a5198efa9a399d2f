"""Builds all parts of a working operator, once and in order, and closes them in order (shell)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from setpoint.api.hosts import HostRules
from setpoint.kube.client import Cluster
from setpoint.kube.event_recorder import EventRecorder
from setpoint.manager.cluster_identity import ClusterIdentity
from setpoint.manager.wakeups import Wakeups
from setpoint.manager.wiring import wired
from setpoint.manager.worker_connection import ConnectedWorker
from setpoint.manager.worker_process import worker_of
from setpoint.objects.identity import SyncKey
from setpoint.runtime.malloc import TrimTimer
from setpoint.runtime.metrics import Metrics
from setpoint.runtime.workqueue import Controller, Result, WorkQueue
from setpoint.settings import Settings
from setpoint.sources.reconciler import Sources
from setpoint.sources.reporter import SourceReporter
from setpoint.store.claims import Claims
from setpoint.store.index import Store
from setpoint.store.resync import Resync
from setpoint.store.status_writer import StatusWriter
from setpoint.syncs.dispatcher import Dispatcher
from setpoint.syncs.reconciler import Syncs
from setpoint.watch.informers import Informers
from setpoint.watch.pods import PodInformers
from setpoint.watch.storage import StorageClasses


@dataclass(frozen=True, slots=True)
class Queues:
    """The queues of Sources, of Syncs, and of looks for deleted ones."""

    sources: WorkQueue[SyncKey]
    syncs: WorkQueue[SyncKey]
    looks: WorkQueue[str]


@dataclass(frozen=True, slots=True)
class Shared:
    """The parts that hold connections, processes or tasks, and are closed at the end."""

    returns: TrimTimer
    informers: Informers
    pods: PodInformers
    storage: StorageClasses
    recorder: EventRecorder
    worker: ConnectedWorker

    async def close(self) -> None:
        """Close all parts; Events are written last."""
        self.returns.close()
        await self.informers.close()
        await self.pods.close()
        await self.storage.close()
        await self.recorder.close()
        await self.worker.close()


class Controllers:
    """The controllers of Sources, of Syncs, and of looks. Fill the queues by `resync` first, then `start`."""

    def __init__(
        self,
        queues: Queues,
        store: Store,
        resync: Resync,
        dispatcher: Dispatcher,
        work: tuple[Controller[Any], ...],
        shared: Shared,
    ) -> None:
        self.queues, self.store, self.resync = queues, store, resync
        self._dispatcher, self._work, self._shared = dispatcher, work, shared
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Work on what the queues hold, until `close`."""
        self._dispatcher.started(asyncio.get_running_loop().time())
        self._tasks = [asyncio.create_task(controller.run()) for controller in self._work]

    async def close(self) -> None:
        """Stop the work, then close the parts that it used."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._shared.close()


def build(settings: Settings, cluster: Cluster, identity: ClusterIdentity, metrics: Metrics) -> Controllers:
    """Build all parts, without starting any."""
    queues = Queues(WorkQueue(namespace=_namespace), WorkQueue(namespace=_namespace), WorkQueue())
    store, claims = Store(), Claims()
    fleet = Dispatcher(store, claims, identity.cluster_id, queues.syncs)
    hosts = HostRules(api=identity.api_places)  # the rest the worker knows by its settings
    shared = _shared(settings, cluster, metrics, fleet, queues.syncs, hosts)
    writer = StatusWriter(cluster, store)
    sources = Sources(
        cluster,
        shared.worker,
        store,
        SourceReporter(writer, shared.recorder, metrics),
        fleet,
        queues.sources,
        queues.syncs,
        allow_file=settings.allow_file_urls,
    )
    syncs = wired(
        settings,
        cluster=cluster,
        informers=shared.informers,
        pods=shared.pods,
        storage=shared.storage,
        store=store,
        claims=claims,
        sources=sources,
        worker=shared.worker,
        writer=writer,
        recorder=shared.recorder,
        metrics=metrics,
        secret_key=identity.secret_key,
        digest_key=identity.digest_key,
        dispatcher=fleet,
    )
    store.subscribe(Wakeups(store, fleet, sources, queues.sources, queues.syncs).changed)
    resync = Resync(cluster, store, queues.looks, settings.watch_namespaces)

    work = _work(settings, queues, sources, syncs, resync, shared)
    return Controllers(queues, store, resync, fleet, work, shared)


def _namespace(key: SyncKey) -> str:
    return key.namespace


def _work(
    settings: Settings, queues: Queues, sources: Sources, syncs: Syncs, resync: Resync, shared: Shared
) -> tuple[Controller[Any], ...]:
    async def reconcile(key: SyncKey) -> Result:
        shared.returns.worked()
        return await syncs.reconcile(key)

    return (
        Controller(queues.sources, sources.reconcile, workers=settings.fetch_concurrency),
        Controller(queues.syncs, reconcile, workers=settings.workers),
        Controller(queues.looks, resync.look, workers=1),
    )


def _shared(
    settings: Settings,
    cluster: Cluster,
    metrics: Metrics,
    dispatcher: Dispatcher,
    syncs: WorkQueue[SyncKey],
    hosts: HostRules,
) -> Shared:
    people = frozenset(settings.people_managers)
    return Shared(
        returns=TrimTimer(),
        informers=Informers(cluster, people, dispatcher.live_changed, settings.watch_namespaces),
        pods=PodInformers(cluster, syncs),
        storage=StorageClasses(cluster, syncs),
        recorder=EventRecorder(cluster, metrics),
        worker=worker_of(settings, hosts, metrics),
    )
