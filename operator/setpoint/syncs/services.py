"""The parts that reconciles share; made once in `controllers`."""

from __future__ import annotations

from dataclasses import dataclass

from setpoint.kube.client import Cluster
from setpoint.kube.event_recorder import EventRecorder
from setpoint.render.renderer import Renderer
from setpoint.runtime.metrics import Metrics
from setpoint.settings import Settings
from setpoint.sources.reconciler import Sources
from setpoint.store.claims import Claims
from setpoint.store.index import Store
from setpoint.store.status_writer import StatusWriter
from setpoint.watch.informers import Informers
from setpoint.watch.pods import PodInformers


@dataclass(frozen=True, slots=True)
class Parts:
    """What a reconcile works with."""

    settings: Settings
    cluster: Cluster
    informers: Informers
    pods: PodInformers
    store: Store
    claims: Claims
    sources: Sources
    renderer: Renderer
    writer: StatusWriter
    recorder: EventRecorder
    metrics: Metrics
    secret_key: bytes
