"""The parts that reconciles share; made once in `controllers`."""

from __future__ import annotations

from dataclasses import dataclass

from setpoint.kube.client import Cluster
from setpoint.kube.event_recorder import EventRecorder
from setpoint.objects.identity import SyncKey
from setpoint.render.renderer import Renderer
from setpoint.runtime.metrics import Metrics
from setpoint.runtime.workqueue import WorkQueue
from setpoint.settings import Settings
from setpoint.sources.reconciler import Sources
from setpoint.store.claims import Claims
from setpoint.store.index import Store
from setpoint.store.status_writer import StatusWriter
from setpoint.watch.informers import Informers
from setpoint.watch.pods import PodInformers
from setpoint.watch.storage import StorageClasses


@dataclass(frozen=True, slots=True)
class Parts:
    """What a reconcile works with."""

    settings: Settings
    cluster: Cluster
    informers: Informers
    pods: PodInformers
    storage: StorageClasses
    store: Store
    claims: Claims
    sources: Sources
    renderer: Renderer
    writer: StatusWriter
    recorder: EventRecorder
    metrics: Metrics
    secret_key: bytes
    source_queue: WorkQueue[SyncKey]
