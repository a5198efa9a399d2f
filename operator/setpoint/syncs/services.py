"""The parts that reconciles share; made once in `controllers`."""

from __future__ import annotations

from dataclasses import dataclass

from setpoint.kube.client import Cluster
from setpoint.kube.event_recorder import Events
from setpoint.objects.identity import SyncKey
from setpoint.render.renderer import Renderer
from setpoint.runtime.metrics import Telemetry
from setpoint.runtime.workqueue import WorkQueue
from setpoint.settings import Settings
from setpoint.sources.reconciler import Sources
from setpoint.store.claims import Claims
from setpoint.store.index import Store
from setpoint.store.status_writer import StatusWriter
from setpoint.watch.informers import Live
from setpoint.watch.pods import PodWatch


@dataclass(frozen=True, slots=True)
class Parts:
    """What a reconcile works with."""

    settings: Settings
    cluster: Cluster
    live: Live
    pods: PodWatch
    store: Store
    claims: Claims
    sources: Sources
    renderer: Renderer
    writer: StatusWriter
    events: Events
    telemetry: Telemetry
    secret_key: bytes
    source_queue: WorkQueue[SyncKey]
